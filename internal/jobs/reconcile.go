package jobs

import (
	"context"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
)

// reconcileBatch bounds what one sweep takes up of each sort of record.
const reconcileBatch = 500

// reconcileArgs: give a job to every record that should have one.
type reconcileArgs struct{}

func (reconcileArgs) Kind() string { return "reconcile" }

// reconcile finds records that have not ended and that nobody has touched for a
// while, and gives each the job of its state again: a job may be missing after a
// fault that nobody thought of. A job too many does no harm, because two steps
// cannot save the same record; and a record past its deadline is ended by its job.
func (q *Queue) reconcile(ctx context.Context, _ reconcileArgs) (time.Duration, error) {
	since := q.now().Add(-q.opts.ReconcileAfter)
	found := 0
	err := q.store.Update(ctx, func(tx *store.Tx) error {
		deliveries, err := tx.StaleDeliveries(ctx, since, reconcileBatch)
		if err != nil {
			return err
		}
		runs, err := tx.StaleRuns(ctx, since, reconcileBatch)
		if err != nil {
			return err
		}
		releases, err := tx.StaleReleases(ctx, since, reconcileBatch)
		if err != nil {
			return err
		}
		found = len(deliveries) + len(runs) + len(releases)
		var args []river.JobArgs
		for _, id := range deliveries {
			args = append(args, decideArgs{DeliveryIDs: []string{id}})
		}
		for id, state := range runs {
			args = append(args, runJob(id, state))
		}
		for id, state := range releases {
			args = append(args, releaseJob(id, state))
		}
		return q.enqueueOnce(ctx, tx, args)
	})
	if err == nil && found > 0 {
		q.log.Warn("records without a job were taken up", zap.Int("found", found), zap.String(event.LogOperation, reconcileArgs{}.Kind()))
	}
	return 0, err
}

// runJob is the job that a run in a state needs.
func runJob(id string, state codecheck.State) river.JobArgs {
	if state == codecheck.Running {
		return pollRunArgs{RunID: id}
	}
	return startRunArgs{RunID: id}
}

// releaseJob is the job that a release in a state needs.
func releaseJob(id string, state release.State) river.JobArgs {
	if state == release.Running || state == release.AwaitingApproval {
		return followReleaseArgs{ReleaseID: id}
	}
	return actReleaseArgs{ReleaseID: id}
}

// enqueueOnce inserts jobs that the reconciler has not inserted already, as long as
// those have not ended: one that has ended is no reason to leave its record alone.
func (q *Queue) enqueueOnce(ctx context.Context, tx *store.Tx, args []river.JobArgs) error {
	once := river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled,
	}}
	params := make([]river.InsertManyParams, len(args))
	for i := range args {
		params[i] = river.InsertManyParams{Args: args[i], InsertOpts: &river.InsertOpts{UniqueOpts: once}}
	}
	return q.insert(ctx, tx, params)
}
