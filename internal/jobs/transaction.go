package jobs

import (
	"context"
	"fmt"

	"github.com/riverqueue/river"

	"github.com/gatewright/gatewright/internal/store"
)

// transaction is a transaction of the store with the jobs that it makes necessary. They
// are inserted by one statement, before the commit.
type transaction struct {
	*store.Tx
	jobs []river.InsertManyParams
	// changed are the ids of records for which others may have waited.
	changed []string
	// placeFreed: a run was saved that occupies no task, so that a place may be free now, or
	// put in line for one.
	placeFreed bool
	// reports are those that the changes of this transaction may make others, by their keys.
	reports map[string]store.Report
}

// enqueue adds jobs.
func (tx *transaction) enqueue(jobs ...river.JobArgs) {
	for _, args := range jobs {
		tx.jobs = append(tx.jobs, river.InsertManyParams{Args: args})
	}
}

// wakeWaiting wakes the runs and releases that wait for a record which was changed in this
// transaction, and adds their jobs.
func (tx *transaction) wakeWaiting(ctx context.Context) error {
	runs, releases, err := tx.Wake(ctx, tx.changed)
	for id, state := range runs {
		tx.enqueue(runJob(id, state))
	}
	for id, state := range releases {
		if job := releaseJob(id, state); job != nil {
			tx.enqueue(job)
		}
	}
	return err
}

// update runs fn in one transaction and inserts the jobs that it adds, and those of the
// records that waited for what it changed.
func (q *Queue) update(ctx context.Context, fn func(*transaction) error) error {
	return q.store.Update(ctx, func(tx *store.Tx) error {
		t := &transaction{Tx: tx}
		err := fn(t)
		if err == nil {
			err = t.wakeWaiting(ctx)
		}
		if err == nil {
			err = q.wantReports(ctx, t)
		}
		if t.placeFreed && q.limited {
			t.enqueue(placeRunsArgs{})
		}
		if err != nil || len(t.jobs) == 0 {
			return err
		}
		if err := q.engine.insert(ctx, tx, t.jobs); err != nil {
			return fmt.Errorf("enqueue %s: %w", t.jobs[0].Args.Kind(), err)
		}
		return nil
	})
}

// save is update for the answer of a remote call. It outlives its step: an answer in
// hand is not thrown away because the process is stopping.
func (q *Queue) save(ctx context.Context, fn func(context.Context, *transaction) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	return q.update(ctx, func(tx *transaction) error { return fn(ctx, tx) })
}
