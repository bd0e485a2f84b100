package view

import (
	"context"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/store"
)

// FindingsState says what is kept of a run's findings.
type FindingsState struct {
	// KeptWith is the run with which they are kept: this one, or the one whose execution
	// it shares.
	KeptWith string `json:"kept_with"`
	Count    int    `json:"count"`
	// Complete says that every open finding was read.
	Complete bool `json:"complete"`
	// BaselineRunID is the run that they were compared with; empty: they were not.
	BaselineRunID string `json:"baseline_run_id"`
	// Note says why they are not complete or not compared, or why there are none.
	Note string `json:"note"`
}

// Findings are the findings of a run that are kept.
type Findings struct {
	RunID string `json:"run_id"`
	FindingsState
	Findings []codecheck.Finding `json:"findings"`
}

// FindFindings returns a run and its findings. id is as Find takes it, and must be a run's.
func FindFindings(ctx context.Context, tx *store.Tx, id string) (codecheck.Run, Findings, error) {
	run, err := FindRun(ctx, tx, id)
	if err != nil {
		return codecheck.Run{}, Findings{}, err
	}
	found := Findings{RunID: run.ID, FindingsState: FindingsState{KeptWith: run.ID, Note: "its findings were not read; it is " + string(run.State)}}
	switch state := run.Findings; {
	case state != nil:
		found.KeptWith, found.Count, found.Complete = state.RunID, state.Count, state.Complete
		found.BaselineRunID, found.Note = state.BaselineRunID, state.Note
	case run.Reading != nil:
		found.Note = "its findings are being read"
	}
	kept, err := tx.Findings(ctx, found.KeptWith)
	if err != nil {
		return run, Findings{}, err
	}
	if run.Findings != nil && len(kept) != found.Count {
		found.Complete, found.Note = false, "the findings that run "+found.KeptWith+" kept were removed with it"
	}
	found.Findings, found.Count = list(kept), len(kept)
	return run, found, nil
}
