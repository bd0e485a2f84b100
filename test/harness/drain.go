package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
)

// Left is what has not come to its end: deliveries without a decision, runs and
// releases that have not ended, and what the git hosts are still to be told.
type Left struct{ Deliveries, Runs, Releases, Reports int }

// None reports whether everything has ended.
func (l Left) None() bool { return l == Left{} }

// drainEvery is how often Drain looks.
const drainEvery = 250 * time.Millisecond

// Drain waits until everything in the database has come to its end, for at most
// within, and returns what has not. Nobody sends meanwhile, and the servers that were
// started must go on. It attends, and reads the journal.
func (b *Bench) Drain(ctx context.Context, within time.Duration) (left Left, err error) {
	return b.Await(ctx, within, Left.None)
}

// Await is Drain, but for that it waits until enough says so of what is left.
func (b *Bench) Await(ctx context.Context, within time.Duration, enough func(Left) bool) (left Left, err error) {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	ticker := time.NewTicker(drainEvery)
	defer ticker.Stop()
	for {
		if err := b.Journal.Read(ctx); err != nil {
			return left, err
		}
		if left, err = b.Attend(ctx); err != nil || enough(left) {
			return left, err
		}
		select {
		case <-ctx.Done():
			return left, ctx.Err()
		case <-deadline.C:
			return left, nil
		case <-ticker.C:
		}
		for _, server := range b.servers {
			if server != nil && server.Gone() {
				return left, fmt.Errorf("drain: a server ended: %v", server.err)
			}
		}
	}
}

// Attend counts what is left, and does what the product leaves to people: it frees
// the pipelines on which an execution waits that no release will decide.
func (b *Bench) Attend(ctx context.Context) (left Left, err error) {
	var releases []release.Release
	err = b.Database.Look(ctx, func(s *store.Store) error {
		return s.View(ctx, func(tx *store.Tx) error {
			waiting, err := tx.Deliveries(ctx, store.Filter{States: []string{string(event.DeliveryReceived)}, Limit: all})
			if err != nil {
				return err
			}
			left.Deliveries = len(waiting)
			runs, err := tx.CountRuns(ctx)
			if err != nil {
				return err
			}
			for state, number := range runs {
				if !state.Ended() {
					left.Runs += number
				}
			}
			reports, err := tx.CountReports(ctx)
			if err != nil {
				return err
			}
			for _, of := range reports {
				left.Reports += of.Waiting + of.GivenUp
			}
			for _, state := range release.States() {
				if state.Ended() && state != release.Unknown {
					continue
				}
				list, err := tx.Releases(ctx, store.Filter{States: []string{string(state)}, Limit: all})
				if err != nil {
					return err
				}
				releases = append(releases, list...)
				if !state.Ended() {
					left.Releases += len(list)
				}
			}
			return nil
		})
	})
	if err != nil {
		return left, fmt.Errorf("look at database: %w", err)
	}
	return left, b.person.attend(ctx, releases)
}

// all is a limit that no proof reaches.
const all = 100_000_000

// Records is everything in the database, oldest first.
type Records struct {
	Deliveries []store.Delivery
	Runs       []codecheck.Run
	Releases   []release.Release
}

// Records reads everything.
func (d *Database) Records(ctx context.Context) (r Records, err error) {
	err = d.Look(ctx, func(s *store.Store) error {
		return s.View(ctx, func(tx *store.Tx) (err error) {
			var errs [3]error
			oldestFirst := store.Filter{OldestFirst: true, Limit: all}
			r.Deliveries, errs[0] = tx.Deliveries(ctx, oldestFirst)
			r.Runs, errs[1] = tx.Runs(ctx, oldestFirst)
			r.Releases, errs[2] = tx.Releases(ctx, oldestFirst)
			return errors.Join(errs[:]...)
		})
	})
	return r, err
}
