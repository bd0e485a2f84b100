package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// startRun brings a run to its execution at CodeArts Check.
func (q *Queue) startRun(ctx context.Context, args startRunArgs) (time.Duration, error) {
	run, err := q.loadRun(ctx, args.RunID)
	if err != nil || (run.State != codecheck.Queued && run.State != codecheck.Starting) {
		return 0, err
	}
	next, wait, err := q.opts.Checker.Start(ctx, run, func(ctx context.Context, run codecheck.Run) error {
		return q.store.Update(ctx, func(tx *store.Tx) error { return tx.SaveRun(ctx, run) })
	})
	if errors.Is(err, store.ErrEnded) {
		// The run was superseded before anything was sent.
		return 0, nil
	}
	return q.saveStep(ctx, run, next, wait, err)
}

// pollRun looks at an execution, and when it is over saves the verdict with the
// releases that it allows.
func (q *Queue) pollRun(ctx context.Context, args pollRunArgs) (time.Duration, error) {
	run, err := q.loadRun(ctx, args.RunID)
	if err != nil || run.State != codecheck.Running {
		return 0, err
	}
	next, wait, err := q.opts.Checker.Poll(ctx, run)
	return q.saveStep(ctx, run, next, wait, err)
}

// saveStep saves what a step made of a run and says when the same job is to be
// called again.
func (q *Queue) saveStep(ctx context.Context, run, next codecheck.Run, wait time.Duration, err error) (time.Duration, error) {
	if err != nil && !final(err) {
		return 0, err
	}
	if err != nil {
		next = run
		next.State, next.Reason, next.FinishedAt = codecheck.Errored, err.Error(), q.now().UTC()
	}
	if err := q.saveRun(ctx, next); err != nil {
		return 0, err
	}
	if next.State != run.State && next.State != codecheck.Starting {
		// The job of the new state goes on.
		return 0, nil
	}
	return max(wait, time.Millisecond), nil
}

// saveRun writes a run with the job or the releases that follow from its state.
// A run that ended meanwhile stays as it ended; its execution is then stopped.
func (q *Queue) saveRun(ctx context.Context, run codecheck.Run) error {
	var releases []release.Release
	superseded := false
	err := q.store.Update(ctx, func(tx *store.Tx) error {
		before, err := tx.LockRun(ctx, run.ID)
		if err != nil {
			return err
		}
		if before.State.Ended() {
			superseded = true
			if run.ExecID == "" || run.State.Ended() {
				return nil
			}
			return q.enqueue(ctx, tx, stopRunArgs{RunID: run.ID, ExecID: run.ExecID})
		}
		if err := tx.SaveRun(ctx, run); err != nil {
			return err
		}
		if run.State == before.State {
			return nil
		}
		switch run.State {
		case codecheck.Queued:
			return q.enqueue(ctx, tx, startRunArgs{RunID: run.ID})
		case codecheck.Running:
			return q.enqueue(ctx, tx, pollRunArgs{RunID: run.ID})
		case codecheck.Passed, codecheck.Failed:
			releases, err = q.addReleases(ctx, tx, run)
			return err
		}
		return nil
	})
	if err != nil || superseded {
		return err
	}
	q.logRun(run)
	if run.State.Ended() {
		q.opts.Metrics.observeVerdict(run)
	}
	for _, r := range releases {
		q.logRelease(r)
	}
	return nil
}

// addReleases saves a release for each entry of the rule whose condition the
// verdict meets. When the branch has moved on since the run began, what was
// checked may be another commit: then the release is refused, and says so.
func (q *Queue) addReleases(ctx context.Context, tx *store.Tx, run codecheck.Run) ([]release.Release, error) {
	now := q.now().UTC()
	head, err := tx.Head(ctx, run.Event.Line())
	if err != nil {
		return nil, err
	}
	started := map[string]string{}
	var releases []release.Release
	for i, plan := range run.Releases {
		if wants := plan.Action != rules.ReleaseRefuse; wants != (run.State == codecheck.Passed) {
			continue
		}
		r := release.Release{
			ID: q.opts.NewID(), RunID: run.ID, Index: i, Rule: run.Rule, Plan: plan, Event: run.Event,
			State: release.Starting, CreatedAt: now, Deadline: now.Add(plan.Timeout),
			After: started[plan.Pipeline],
		}
		if plan.Action == rules.ReleaseStart {
			started[plan.Pipeline] = r.ID
		}
		if moved := moved(run.Event, head); moved != "" {
			r.State, r.Reason, r.FinishedAt = release.Refused, moved, now
		}
		added, err := tx.AddRelease(ctx, r)
		if err != nil {
			return nil, err
		}
		if !added {
			continue
		}
		if !r.State.Ended() {
			if err := q.enqueue(ctx, tx, actReleaseArgs{ReleaseID: r.ID}); err != nil {
				return nil, err
			}
		}
		releases = append(releases, r)
	}
	return releases, nil
}

// moved says why a commit is no longer the one to release; empty when it is.
func moved(ev event.Event, head string) string {
	if head == "" || head == ev.HeadSHA {
		return ""
	}
	return fmt.Sprintf("%q moved on to commit %s, so what was checked may not be commit %s", ev.Branch, short(head), short(ev.HeadSHA))
}

// stopRun stops the execution of a run that was superseded.
func (q *Queue) stopRun(ctx context.Context, args stopRunArgs) (time.Duration, error) {
	run, err := q.loadRun(ctx, args.RunID)
	if err != nil {
		return 0, err
	}
	run.ExecID = args.ExecID
	if err := q.opts.Checker.Stop(ctx, run); err != nil && !final(err) && q.now().Before(run.Deadline) {
		return 0, err
	}
	return 0, nil
}

func (q *Queue) loadRun(ctx context.Context, id string) (run codecheck.Run, err error) {
	err = q.store.View(ctx, func(tx *store.Tx) (err error) {
		run, err = tx.Run(ctx, id)
		return err
	})
	return run, err
}

func (q *Queue) logRun(run codecheck.Run) {
	fields := []zap.Field{
		zap.String(event.LogRun, run.ID), zap.String(event.LogDelivery, run.DeliveryID), zap.String(event.LogConnection, run.Event.Connection),
		zap.String(event.LogRepository, run.Event.Repository.FullName), zap.String(event.LogSHA, run.Event.HeadSHA),
		zap.String(event.LogRule, run.Rule), zap.String(event.LogState, string(run.State)), zap.String(event.LogReason, run.Reason),
	}
	switch run.State {
	case codecheck.Errored:
		q.log.Error("run errored", fields...)
	case codecheck.Running:
		q.log.Debug("run goes on", fields...)
	default:
		q.log.Info("run changed", fields...)
	}
}
