package view

import (
	"context"
	"errors"

	"github.com/gatewright/gatewright/internal/store"
)

// Done is what came of an order of a person.
type Done struct {
	// Action is what was noted; null for an order that notes nothing.
	Action   *Action   `json:"action"`
	Runs     []Run     `json:"runs"`
	Releases []Release `json:"releases"`
	// Deliveries are the ids of those that are decided again.
	Deliveries []string `json:"deliveries"`
}

// NewDone reads the action that was noted, and the records that are new or were changed by it, or that it
// is about, by their ids.
func NewDone(ctx context.Context, tx *store.Tx, action string, runs, releases, deliveries []string) (Done, error) {
	done := Done{Runs: []Run{}, Releases: []Release{}, Deliveries: list(deliveries)}
	if action != "" {
		noted, err := noted(ctx, tx, action, releases)
		if err != nil {
			return done, err
		}
		done.Action = &noted
	}
	for _, id := range runs {
		run, err := tx.Run(ctx, id)
		if err != nil {
			return done, err
		}
		done.Runs = append(done.Runs, NewRun(run))
	}
	for _, id := range releases {
		r, err := tx.Release(ctx, id)
		if err != nil {
			return done, err
		}
		done.Releases = append(done.Releases, NewRelease(r))
	}
	return done, nil
}

// noted reads an action. What a person says of a held release is noted as an approval.
func noted(ctx context.Context, tx *store.Tx, id string, releases []string) (Action, error) {
	a, err := tx.Action(ctx, id)
	if !errors.Is(err, store.ErrNotFound) {
		return NewAction(a), err
	}
	for _, release := range releases {
		approvals, err := tx.ApprovalsOf(ctx, release)
		if err != nil {
			return Action{}, err
		}
		for _, said := range approvals {
			if said.ID != id {
				continue
			}
			name := store.ActionApprove
			if said.Refuses {
				name = store.ActionRefuse
			}
			return Action{ID: id, RecordKind: store.RecordRelease, RecordID: release, Name: name, Actor: said.Person, Reason: said.Reason, At: said.At}, nil
		}
	}
	return Action{}, err
}
