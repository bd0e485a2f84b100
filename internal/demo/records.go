package demo

import (
	"context"
	"slices"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

// Records is everything in a demo's database, oldest first, as `show` prints it.
type Records struct{ view.Details }

// Records reads the database.
func (d *Demo) Records(ctx context.Context) (r Records, err error) {
	err = d.Store().View(ctx, func(tx *store.Tx) (err error) {
		r.Details, err = view.All(ctx, tx, 1000)
		return err
	})
	return r, err
}

// Decided reports whether every delivery is decided.
func (r Records) Decided() bool {
	return !slices.ContainsFunc(r.Deliveries, func(d view.DeliveryDetail) bool { return d.State == event.DeliveryReceived })
}

// Checked reports whether every delivery is decided and every run has ended.
func (r Records) Checked() bool {
	return r.Decided() && !slices.ContainsFunc(r.Runs, func(run view.RunDetail) bool { return !run.State.Ended() })
}

// Ended reports whether every delivery, run and release has ended: nothing more
// happens until the next delivery.
func (r Records) Ended() bool {
	return r.Checked() && !slices.ContainsFunc(r.Releases, func(rel view.ReleaseDetail) bool { return !rel.State.Ended() })
}

// Told reports whether everything has ended and the git hosts were told so.
func (r Records) Told() bool { return r.Ended() && r.Judged() }

// Obeyed reports whether every command in a comment was carried out or refused, and answered.
func (r Records) Obeyed() bool {
	return !slices.ContainsFunc(r.Deliveries, func(d view.DeliveryDetail) bool {
		return d.Command != nil && d.Command.State != store.CommandEnded
	})
}

// Judged reports whether every run has ended, and the git hosts were told all there is to tell.
func (r Records) Judged() bool {
	return r.Checked() && !slices.ContainsFunc(r.Runs, func(run view.RunDetail) bool {
		return slices.ContainsFunc(run.Reports, func(told view.Report) bool { return told.Waits && !told.GivenUp })
	})
}
