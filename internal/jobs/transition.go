package jobs

import (
	"context"
	"fmt"
	"slices"

	"github.com/riverqueue/river"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
)

// This file is the only place where a delivery, a run or a release changes its state.
// What must follow a change is written in the same transaction: the job of the new
// state, the jobs of the records that waited for this one, and later reports and audit
// entries. Log lines and metrics follow the commit, so that a change that was not
// committed, or was made twice, is counted once.

// endDelivery writes what became of a delivery.
func (q *Queue) endDelivery(ctx context.Context, tx *transaction, e evaluation, r result) error {
	if err := tx.EndDelivery(ctx, e.delivery.ID, r.state, r.reason, store.SaidBy(e.event, r.decision), r.decision); err != nil {
		return err
	}
	tx.changed = append(tx.changed, e.delivery.ID)
	q.reportDecision(tx, e, r)
	tx.AfterCommit(func() {
		q.opts.Metrics.observeDecision(e.delivery, r, q.now())
		q.logDelivery(e, r)
	})
	return nil
}

// addRun stores a new run with its job. When the same rule checks, or has checked, the
// commit already, added is false and id is the other run's.
func (q *Queue) addRun(ctx context.Context, tx *transaction, run codecheck.Run) (id string, added bool, err error) {
	id, added, err = tx.AddRun(ctx, run)
	if err != nil || !added {
		return id, added, err
	}
	return id, true, q.runChanged(ctx, tx, codecheck.Run{}, run)
}

// saveRun writes a run that a step has changed; the error is that of [store.Tx.SaveRun].
func (q *Queue) saveRun(ctx context.Context, tx *transaction, before, run codecheck.Run, version *store.Version) error {
	if err := tx.SaveRun(ctx, run, version); err != nil {
		return err
	}
	// Others wait for its end, or for the task that it has had.
	if run.State.Ended() || before.OccupiedTask() != "" && run.OccupiedTask() != before.OccupiedTask() {
		tx.changed = append(tx.changed, run.ID)
	}
	tx.placeFreed = tx.placeFreed || run.OccupiedTask() == ""
	if run.State == before.State {
		return nil
	}
	return q.runChanged(ctx, tx, before, run)
}

// runChanged writes what follows a run's new state.
func (q *Queue) runChanged(ctx context.Context, tx *transaction, before, run codecheck.Run) (err error) {
	switch run.State {
	case codecheck.Queued, codecheck.Running:
		tx.enqueue(runJob(run.ID, run.State))
	case codecheck.Passed, codecheck.Failed:
		err = q.addReleases(ctx, tx, run)
	}
	if err != nil {
		return err
	}
	q.reportRun(tx, run)
	tx.AfterCommit(func() {
		if run.State.Ended() && !before.State.Ended() {
			q.opts.Metrics.observeRunEnd(run)
		}
		q.logRun(run)
	})
	return nil
}

// addRelease stores a new release with its job, unless its run has one at that place
// already.
func (q *Queue) addRelease(ctx context.Context, tx *transaction, r release.Release) error {
	added, err := tx.AddRelease(ctx, r)
	if err != nil || !added {
		return err
	}
	return q.releaseChanged(ctx, tx, release.Release{}, r)
}

// saveRelease writes a release that a step has changed; the error is that of
// [store.Tx.SaveRelease].
func (q *Queue) saveRelease(ctx context.Context, tx *transaction, before, r release.Release, version *store.Version) error {
	r.Known = release.Known{}
	if err := tx.SaveRelease(ctx, r, version); err != nil {
		return err
	}
	if before.Intent != nil && before.State == release.Starting && r.Intent == nil {
		if err := tx.UnclaimReleased(ctx, r.ID); err != nil {
			return err
		}
	}
	return q.releaseChanged(ctx, tx, before, r)
}

// releaseChanged writes what follows a release's new state.
func (q *Queue) releaseChanged(ctx context.Context, tx *transaction, before, r release.Release) (err error) {
	if err := auditRelease(ctx, tx, before, r); err != nil {
		return err
	}
	if job := releaseJob(r.ID, r.State); job != nil && (before.ID == "" || job.Kind() != releaseJob(r.ID, before.State).Kind()) {
		tx.enqueue(job)
	}
	if r.State == release.Expired && r.ExecutionID != "" && r.After == "" {
		tx.enqueue(watchReleaseArgs{ReleaseID: r.ID})
	}
	// Others wait for its end, its execution, or the answer that frees the pipeline.
	if r.State.Ended() || r.ExecutionID != before.ExecutionID || (before.Unanswered() && !r.Unanswered()) {
		tx.changed = append(tx.changed, r.ID)
	}
	if r.State != before.State || r.State == release.Held && r.Reason != before.Reason {
		q.reportRelease(tx, r)
	}
	q.announceRelease(tx, before, r)
	if r.Hold != nil && r.State.Ended() && r.Untouched() {
		if err := q.voidAll(ctx, tx, r.ID, fmt.Sprintf("the release ended as %s: %s", r.State, r.Reason)); err != nil {
			return err
		}
	}
	tx.AfterCommit(func() {
		q.opts.Metrics.observeAction(before, r)
		if r.State == before.State {
			return
		}
		if r.State.Ended() {
			q.opts.Metrics.observeReleaseEnd(r)
		}
		q.logRelease(r)
	})
	return nil
}

// runJob is the job that an active run needs.
func runJob(id string, state codecheck.State) river.JobArgs {
	if state == codecheck.Running {
		return pollRunArgs{RunID: id}
	}
	return startRunArgs{RunID: id}
}

// releaseJob is the job that a release in a state needs; nil for one that has ended.
func releaseJob(id string, state release.State) river.JobArgs {
	switch state {
	case release.Held, release.Starting:
		return actReleaseArgs{ReleaseID: id}
	case release.Running, release.AwaitingApproval, release.Paused:
		return followReleaseArgs{ReleaseID: id}
	}
	return nil
}

func (q *Queue) logDelivery(e evaluation, r result) {
	fields := []zap.Field{
		zap.String(event.LogDelivery, e.delivery.ID), zap.String(event.LogConnection, e.delivery.Connection),
		zap.String(event.LogState, string(r.state)), zap.String(event.LogReason, r.reason),
	}
	if e.event.Kind != "" {
		fields = append(fields, zap.String(event.LogEvent, string(e.event.Kind)),
			zap.String(event.LogRepository, e.event.Repository.FullName), zap.String(event.LogSHA, e.event.HeadSHA))
	}
	q.log.Log(levelOf(r.state == event.DeliveryFailed), "delivery "+string(r.state), fields...)
}

func (q *Queue) logRun(run codecheck.Run) {
	q.log.Log(levelOf(run.State == codecheck.Errored), "run "+string(run.State),
		zap.String(event.LogRun, run.ID), zap.String(event.LogDelivery, run.DeliveryID), zap.String(event.LogConnection, run.Event.Connection),
		zap.String(event.LogRepository, run.Event.Repository.FullName), zap.String(event.LogSHA, run.Event.HeadSHA),
		zap.String(event.LogRule, run.Rule), zap.String(event.LogTask, run.Task.ID), zap.String(event.LogExecution, run.ExecID),
		zap.String(event.LogState, string(run.State)), zap.String(event.LogReason, run.Reason))
}

func (q *Queue) logRelease(r release.Release) {
	q.log.Log(levelOf(slices.Contains(release.AttentionStates(), r.State)), "release "+string(r.State),
		zap.String(event.LogRelease, r.ID), zap.String(event.LogRun, r.RunID), zap.String(event.LogConnection, r.Event.Connection),
		zap.String(event.LogRepository, r.Event.Repository.FullName), zap.String(event.LogSHA, r.Event.HeadSHA),
		zap.String(event.LogRule, r.Rule), zap.String(event.LogPipeline, r.Plan.Pipeline), zap.String(event.LogExecution, r.ExecutionID),
		zap.String(event.LogState, string(r.State)), zap.String(event.LogReason, r.Reason))
}

// levelOf is the level of a line about a change of state: error when someone must look.
func levelOf(attention bool) zapcore.Level {
	if attention {
		return zap.ErrorLevel
	}
	return zap.InfoLevel
}
