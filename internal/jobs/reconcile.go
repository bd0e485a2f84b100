package jobs

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
)

// reconcileBatch bounds the jobs that one transaction inserts, and the deliveries that
// one sweep reads.
const reconcileBatch = 500

// reconcileArgs: give a job to every record that should have one.
type reconcileArgs struct{}

func (reconcileArgs) Kind() string { return "reconcile" }

// InsertOpts keeps it apart from remote calls and decisions.
func (reconcileArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: maintenanceQueue} }

// reconcile finds records that have not ended, were not saved for a while and have no
// job, and gives each the job of its state: a job can be missing after a fault that
// nobody foresaw. A record past its deadline is ended by its job.
func (q *Queue) reconcile(ctx context.Context, _ reconcileArgs) (time.Duration, error) {
	if err := q.logAudit(ctx, false); err != nil {
		return 0, err
	}
	if err := q.announceFound(ctx); err != nil {
		return 0, err
	}
	// Also where the limit was just changed or removed.
	if _, err := q.placeRuns(ctx, placeRunsArgs{}); err != nil {
		return 0, err
	}
	if err := q.reviewHolds(ctx); err != nil {
		return 0, err
	}
	var missing []river.InsertManyParams
	err := q.store.View(ctx, func(tx *store.Tx) (err error) {
		missing, err = q.missingJobs(ctx, tx)
		return err
	})
	if err != nil {
		return 0, err
	}
	for batch := range slices.Chunk(missing, reconcileBatch) {
		if err := q.update(ctx, func(tx *transaction) error { tx.jobs = batch; return nil }); err != nil {
			return 0, err
		}
		for _, job := range batch {
			q.log.Warn("orphaned record re-enqueued", append(idFields(job.Args), zap.String(event.LogOperation, job.Args.Kind()))...)
		}
	}
	return 0, nil
}

// missingJobs returns the jobs that the queue should have and has not.
func (q *Queue) missingJobs(ctx context.Context, tx *store.Tx) (jobs []river.InsertManyParams, err error) {
	since := q.now().Add(-q.opts.ReconcileAfter)
	deliveries, err := tx.StaleDeliveries(ctx, since, reconcileBatch)
	if err != nil {
		return nil, err
	}
	// All of them: those that poll slowly are stale and have their job, and would take
	// the places of those that have none.
	runs, err := tx.StaleRuns(ctx, since, math.MaxInt32)
	if err != nil {
		return nil, err
	}
	releases, err := tx.StaleReleases(ctx, since, math.MaxInt32)
	if err != nil {
		return nil, err
	}
	commands, err := tx.StaleCommands(ctx, since, reconcileBatch)
	if err != nil {
		return nil, err
	}
	evidence, err := tx.EvidenceToMake(ctx, since, reconcileBatch)
	if err != nil {
		return nil, err
	}
	notices, err := tx.WaitingNotices(ctx, since, reconcileBatch)
	if err != nil || len(deliveries)+len(runs)+len(releases)+len(commands)+len(evidence)+len(notices) == 0 {
		return nil, err
	}
	for _, key := range notices {
		jobs = append(jobs, noticeJob(key))
	}
	for _, id := range evidence {
		jobs = append(jobs, evidenceJob(id))
	}
	for _, c := range commands {
		jobs = append(jobs, river.InsertManyParams{Args: obeyArgs{Key: c.Key(), Announced: c.DeliveryID}})
	}
	// The jobs are read after the records: a step saves its record together with the
	// job that goes on, so that no record is missed between the two reads.
	withJob, err := tx.RecordsWithJobs(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range deliveries {
		// Also where it has a job: others in the same job may keep it from being decided.
		// One more job is enough, until that has ended.
		jobs = append(jobs, river.InsertManyParams{Args: decideArgs{DeliveryIDs: []string{id}}, InsertOpts: &river.InsertOpts{UniqueOpts: untilEnded()}})
	}
	for id, state := range runs {
		if !withJob[id] {
			jobs = append(jobs, river.InsertManyParams{Args: runJob(id, state)})
		}
	}
	for id, state := range releases {
		if job := releaseJob(id, state); state != release.Held && job != nil && !withJob[id] {
			jobs = append(jobs, river.InsertManyParams{Args: job})
		}
	}
	return jobs, nil
}

// untilEnded allows no second job with the same arguments before the first has ended.
func untilEnded() river.UniqueOpts {
	return river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled,
	}}
}
