package view

import (
	"context"

	"github.com/gatewright/gatewright/internal/store"
)

// Done is what came of an order of a person.
type Done struct {
	// Action is what was noted; null for a replay, which notes nothing.
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
		a, err := tx.Action(ctx, action)
		if err != nil {
			return done, err
		}
		noted := NewAction(a)
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
