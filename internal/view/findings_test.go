package view_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/golden"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

// withFindings is open with two more runs: one whose findings are kept, and one that shares
// its execution.
func withFindings(t *testing.T) *store.Store {
	t.Helper()
	s := open(t)
	found := []codecheck.Finding{
		{ID: "d1", Fingerprint: "f1", Severity: "critical", Rule: "G.SEC.01", RuleID: "123", Path: "cmd/main.go", Line: 7, Message: "key in code", Baseline: codecheck.BaselineNew},
		{ID: "d2", Fingerprint: "f2", Severity: "major", Rule: "G.SEC.01", RuleID: "123", Path: `src\a b\c#1?.go`, Line: 3, Message: "<b>\u202e\x1b[31m", Baseline: codecheck.BaselineUnchanged},
		{ID: "d3", Fingerprint: "f3", Severity: "minor", Rule: "gofmt", Path: "/root.go", Message: "format", Baseline: codecheck.BaselineUnchanged},
		{ID: "d4", Fingerprint: "f4", Severity: "suggestion", Path: "../../etc/passwd", Line: 1, Baseline: codecheck.BaselineNew},
		{ID: "d5", Fingerprint: "f5", Severity: "suggestion", Rule: "gofmt", Path: "c:/x.go", Line: 1, Message: "a colon"},
	}
	if err := s.SaveFindings(t.Context(), "d1-abc", found); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *store.Tx) error {
		run, err := tx.Run(t.Context(), "0c-abc")
		if err != nil {
			return err
		}
		run.Findings = &codecheck.FindingsState{RunID: "d1-abc", Count: len(found), Complete: true, BaselineRunID: "0c-abc"}
		for id, rule := range map[string]string{"d1-abc": "keeps", "d2-abc": "shares"} {
			run.ID, run.Rule, run.CreatedAt = id, rule, noon.Add(time.Hour)
			if _, _, err := tx.AddRun(t.Context(), run); err != nil {
				return err
			}
		}
		return nil
	})
	return s
}

func update(t *testing.T, s *store.Store, fn func(*store.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func findings(t *testing.T, s *store.Store, id string) (run codecheck.Run, found view.Findings, err error) {
	t.Helper()
	_ = s.View(t.Context(), func(tx *store.Tx) error {
		run, found, err = view.FindFindings(t.Context(), tx, id)
		return nil
	})
	return run, found, err
}

func TestFindings(t *testing.T) {
	s := withFindings(t)
	_, kept, err := findings(t, s, "d1")
	if err != nil {
		t.Fatal(err)
	}
	golden.JSON(t, "testdata/findings.golden", kept)
	_, shared, err := findings(t, s, "d2-abc")
	if err != nil || shared.KeptWith != "d1-abc" || len(shared.Findings) != len(kept.Findings) {
		t.Errorf("a run that shares an execution shows %d findings of %q, error %v", len(shared.Findings), shared.KeptWith, err)
	}
	_, none, err := findings(t, s, "0d-abc")
	if err != nil || none.Complete || none.Note != "its findings were not read; it is queued" || none.Findings == nil {
		t.Errorf("a queued run shows %+v, error %v", none, err)
	}
	for id, want := range map[string]string{"0e-abc": "0e-abc is not a run", "zz": `no delivery, run or release has an id that begins with "zz"`} {
		if _, _, err := findings(t, s, id); err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %s", id, err, want)
		}
	}
	// What was kept with another run can be gone.
	if err := s.SaveFindings(t.Context(), "d1-abc", nil); err != nil {
		t.Fatal(err)
	}
	if _, gone, err := findings(t, s, "d2-abc"); err != nil || gone.Complete || !strings.Contains(gone.Note, "removed") {
		t.Errorf("removed findings show as %+v, error %v", gone, err)
	}
}

// TestSARIF holds the SARIF log of a run, and that it is one by the schema of SARIF 2.1.0.
func TestSARIF(t *testing.T) {
	s := withFindings(t)
	for id, name := range map[string]string{"d1-abc": "findings", "0d-abc": "none"} {
		run, found, err := findings(t, s, id)
		if err != nil {
			t.Fatal(err)
		}
		report := view.NewSARIF(run, found)
		if err := report.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		golden.JSON(t, "testdata/sarif/"+name+".golden", report)
		text, err := json.Marshal(report)
		if err != nil {
			t.Fatal(err)
		}
		again, err := sarif.FromBytes(text)
		if err != nil || len(again.Runs) != 1 || len(again.Runs[0].Results) != len(found.Findings) {
			t.Errorf("%s: read back: error %v", name, err)
		}
		if err := again.Validate(); err != nil {
			t.Errorf("%s, read back: %v", name, err)
		}
	}
}
