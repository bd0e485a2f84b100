package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/store"
)

// errNoPlace is of a run that lost its place before it could use it.
var errNoPlace = errors.New("the run has no place any more")

// waitForPlace reports whether a run may ask for an execution now. If not, it is put in line,
// without a job: placeRuns inserts that. Past its deadline a run waits for nothing, because
// its step ends it.
func (q *Queue) waitForPlace(ctx context.Context, v *store.Versioned[codecheck.Run]) (placed bool, err error) {
	if !q.now().Before(v.Record.Deadline) {
		return true, nil
	}
	next := v.Record
	err = q.update(ctx, func(tx *transaction) error {
		if placed, err = tx.HasPlace(ctx, next.ID); err != nil || placed {
			return err
		}
		limit, places := q.opts.MaxRuns[next.Check.Account], "places"
		if limit == 1 {
			places = "place"
		}
		next.Reason = fmt.Sprintf("waits for one of %d %s (max_runs)", limit, places)
		if err := q.saveRun(ctx, tx, v.Record, next, &v.Version); err != nil {
			return err
		}
		return tx.WaitForPlace(ctx, next.ID)
	})
	return placed, err
}

// giveUpPlace gives up the place of a run that does not use it: it waits for something else,
// and takes another place when it can go on.
func (q *Queue) giveUpPlace(ctx context.Context, id string) error {
	return q.save(ctx, func(ctx context.Context, tx *transaction) error {
		given, err := tx.GiveUpPlace(ctx, id)
		tx.placeFreed = tx.placeFreed || given
		return err
	})
}

// placeRuns gives the free places to the runs that are first in the line of their account.
func (q *Queue) placeRuns(ctx context.Context, _ placeRunsArgs) (time.Duration, error) {
	var accounts []string
	err := q.store.View(ctx, func(tx *store.Tx) (err error) {
		accounts, err = tx.AccountsInLine(ctx)
		return err
	})
	for _, account := range accounts {
		err = errors.Join(err, q.placeRunsOf(ctx, account))
	}
	return 0, err
}

func (q *Queue) placeRunsOf(ctx context.Context, account string) error {
	for again := true; again; {
		err := q.update(ctx, func(tx *transaction) error {
			granted, more, err := tx.GrantPlace(ctx, account, q.opts.MaxRuns[account])
			for id, state := range granted {
				tx.enqueue(runJob(id, state))
			}
			again = more
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// quietFor is how long a run still waits for a newer commit.
func (q *Queue) quietFor(run codecheck.Run) time.Duration {
	wait := run.StartsAt.Sub(q.now())
	if run.StartsAt.IsZero() || run.Check.Debounce == nil || wait > run.Check.Debounce.Quiet {
		// In the last case the clock was set back since.
		return 0
	}
	return max(wait, 0)
}

// endStale ends a run that is superseded only while it has no execution, when it has none any
// more and there is a newer commit.
func (q *Queue) endStale(ctx context.Context, v *store.Versioned[codecheck.Run]) (ended bool, err error) {
	if !v.Record.Check.LetFinish {
		return false, nil
	}
	err = q.update(ctx, func(tx *transaction) error {
		head, known, err := tx.LockHead(ctx, v.Record.Event.RefKey())
		if err != nil || !known {
			return err
		}
		reason := staleReason(v.Record.Event, head)
		if ended = reason != ""; !ended {
			return nil
		}
		_, err = q.supersede(ctx, tx, *v, head, reason)
		return err
	})
	if errors.Is(err, store.ErrEnded) || errors.Is(err, store.ErrStale) {
		return true, nil
	}
	return ended, err
}
