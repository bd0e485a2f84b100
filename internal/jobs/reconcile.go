package jobs

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
)

// reconcileBatch bounds what one transaction takes up, and how many deliveries one
// sweep looks at.
const reconcileBatch = 500

// reconcileArgs: give a job to every record that should have one.
type reconcileArgs struct{}

func (reconcileArgs) Kind() string { return "reconcile" }

// reconcile finds records that have not ended, that nobody has touched for a while
// and that no job is coming for, and gives each the job of its state: a job may be
// missing after a fault that nobody thought of. A record past its deadline is ended
// by its job; a release that is held has none, and is ended here.
func (q *Queue) reconcile(ctx context.Context, _ reconcileArgs) (time.Duration, error) {
	var lost []river.InsertManyParams
	var held []string
	err := q.store.View(ctx, func(tx *store.Tx) (err error) {
		lost, held, err = q.lost(ctx, tx)
		return err
	})
	if err != nil {
		return 0, err
	}
	if len(lost) > 0 {
		q.log.Warn("records that nobody touched for a while get a job", zap.Int("found", len(lost)), zap.String(event.LogOperation, reconcileArgs{}.Kind()))
	}
	for batch := range slices.Chunk(lost, reconcileBatch) {
		if err := q.store.Update(ctx, func(tx *store.Tx) error { return q.insert(ctx, tx, batch) }); err != nil {
			return 0, err
		}
	}
	for _, id := range held {
		if err := q.endHeld(ctx, id); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// lost are the jobs that are missing, and the ids of the releases that are held.
func (q *Queue) lost(ctx context.Context, tx *store.Tx) (jobs []river.InsertManyParams, held []string, err error) {
	since := q.now().Add(-q.opts.ReconcileAfter)
	deliveries, err := tx.StaleDeliveries(ctx, since, reconcileBatch)
	if err != nil {
		return nil, nil, err
	}
	// All of them: those that wait for their turn are stale and have their job, and
	// would take the places of those that have none.
	runs, err := tx.StaleRuns(ctx, since, math.MaxInt32)
	if err != nil {
		return nil, nil, err
	}
	releases, err := tx.StaleReleases(ctx, since, math.MaxInt32)
	if err != nil || len(deliveries)+len(runs)+len(releases) == 0 {
		return nil, nil, err
	}
	// The jobs are read after the records: a step saves its record together with the
	// job that goes on, so that none falls between the two looks.
	coming, err := tx.JobsComing(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, id := range deliveries {
		// Also where a job is coming: it may be kept from this one by others that it
		// decides. One job more is enough, until that has ended.
		jobs = append(jobs, river.InsertManyParams{Args: decideArgs{DeliveryIDs: []string{id}}, InsertOpts: &river.InsertOpts{UniqueOpts: untilEnded()}})
	}
	for id, state := range runs {
		if !coming[id] {
			jobs = append(jobs, river.InsertManyParams{Args: runJob(id, state)})
		}
	}
	for id, state := range releases {
		switch {
		case state == release.Held:
			held = append(held, id)
		case !coming[id]:
			jobs = append(jobs, river.InsertManyParams{Args: releaseJob(id, state)})
		}
	}
	return jobs, held, nil
}

// endHeld ends a release that nobody let go before its deadline.
func (q *Queue) endHeld(ctx context.Context, id string) error {
	s, err := q.loadRelease(ctx, id)
	if err != nil || s.release.State != release.Held || q.now().Before(s.release.Deadline) {
		return err
	}
	_, err = q.endRelease(ctx, s, release.Failed, "the deadline passed while it was held")
	return err
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

// untilEnded lets no second job with the same arguments in before the first has ended.
func untilEnded() river.UniqueOpts {
	return river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled,
	}}
}
