package demo

import (
	"context"
	"slices"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
)

// Records is everything in a demo's database, oldest first.
type Records struct {
	Deliveries []store.Delivery
	Runs       []codecheck.Run
	Releases   []release.Release
}

// Records reads the database.
func (d *Demo) Records(ctx context.Context) (r Records, err error) {
	oldestFirst := store.Filter{OldestFirst: true, Limit: 1000}
	err = d.Store().View(ctx, func(tx *store.Tx) (err error) {
		if r.Deliveries, err = tx.Deliveries(ctx, oldestFirst); err != nil {
			return err
		}
		if r.Runs, err = tx.Runs(ctx, oldestFirst); err != nil {
			return err
		}
		r.Releases, err = tx.Releases(ctx, oldestFirst)
		return err
	})
	return r, err
}

// Decided reports whether every delivery is decided.
func (r Records) Decided() bool {
	return !slices.ContainsFunc(r.Deliveries, func(d store.Delivery) bool { return d.State == event.DeliveryReceived })
}

// Checked reports whether every delivery is decided and every run has ended.
func (r Records) Checked() bool {
	return r.Decided() && !slices.ContainsFunc(r.Runs, func(run codecheck.Run) bool { return !run.State.Ended() })
}

// Ended reports whether every delivery, run and release has ended: nothing more
// happens until the next delivery.
func (r Records) Ended() bool {
	return r.Checked() && !slices.ContainsFunc(r.Releases, func(rel release.Release) bool { return !rel.State.Ended() })
}
