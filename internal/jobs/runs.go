package jobs

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

const (
	// turnWait is how long a record waits before it looks again whether it is its
	// turn: what it depends on has ended, or the pipeline that it needs is free.
	turnWait = 500 * time.Millisecond
	// staleWait is how long a step waits that found another one at work on its
	// record.
	staleWait = 5 * time.Second
	// saveTimeout bounds a save. A save outlives its step: an answer in hand is
	// not thrown away because the process is stopping.
	saveTimeout = 5 * time.Second
)

// saving is the context of a save.
func saving(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
}

// startRun brings a run to its execution at CodeArts Check.
func (q *Queue) startRun(ctx context.Context, args startRunArgs) (time.Duration, error) {
	run, version, err := q.loadRun(ctx, args.RunID)
	if err != nil || (run.State != codecheck.Queued && run.State != codecheck.Starting) {
		return 0, err
	}
	if run.SharesRunID != "" {
		return q.shareRun(ctx, run, version)
	}
	if err := q.stopSuperseded(ctx, run); err != nil && !final(err) && q.now().Before(run.Deadline) {
		return 0, err
	}
	next, send, wait, err := q.opts.Checker.Prepare(ctx, run)
	if err == nil && send {
		if err = q.store.Update(ctx, func(tx *store.Tx) error { return tx.SaveRun(ctx, next, &version) }); err == nil {
			next, wait, err = q.opts.Checker.Send(ctx, next)
		}
	}
	return q.saveStep(ctx, run, next, &version, wait, err)
}

// stopSuperseded stops the executions that stand in the way of a run. They are
// stopped before it starts, because the API stops whatever a task runs.
func (q *Queue) stopSuperseded(ctx context.Context, run codecheck.Run) error {
	for _, id := range run.Supersedes {
		older, _, err := q.loadRun(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err == nil {
			err = q.opts.Checker.Stop(ctx, older)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// shareRun judges a run from the counts of the run that it shares.
func (q *Queue) shareRun(ctx context.Context, run codecheck.Run, version store.Version) (time.Duration, error) {
	other, _, err := q.loadRun(ctx, run.SharesRunID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, err
	}
	next := run
	switch {
	case err == nil && !other.State.Ended() && q.now().Before(run.Deadline):
		return turnWait, nil
	case err == nil && other.Verdict != nil && (other.NewCounts != nil || !run.Check.Gate.NewOnly):
		next = run.JudgedLike(other)
		next.StartedAt, next.FinishedAt = other.StartedAt, q.now().UTC()
	case err == nil && other.State.Ended() && other.Verdict == nil:
		next.State, next.Reason, next.FinishedAt = codecheck.Errored, "run "+other.ID+", which checks the same commit, ended "+string(other.State)+": "+other.Reason, q.now().UTC()
	default:
		// There is nothing to share: it runs by itself.
		next.SharesRunID = ""
	}
	return q.saveStep(ctx, run, next, &version, time.Millisecond, nil)
}

// pollRun looks at an execution, and when it is over saves the verdict with the
// releases that it allows.
func (q *Queue) pollRun(ctx context.Context, args pollRunArgs) (time.Duration, error) {
	run, version, err := q.loadRun(ctx, args.RunID)
	if err != nil || run.State != codecheck.Running {
		return 0, err
	}
	next, wait, err := q.opts.Checker.Poll(ctx, run)
	return q.saveStep(ctx, run, next, &version, wait, err)
}

// saveStep saves what a step made of a run and says when the same job is to be
// called again.
func (q *Queue) saveStep(ctx context.Context, run, next codecheck.Run, version *store.Version, wait time.Duration, err error) (time.Duration, error) {
	switch {
	case errors.Is(err, store.ErrEnded):
		// The run was superseded before anything was sent.
		return 0, nil
	case errors.Is(err, store.ErrStale):
		return staleWait, nil
	case err != nil && !final(err):
		// What it waits for is shown; that this could not be saved does not matter.
		if next.Reason != run.Reason {
			_, _ = q.saveRun(ctx, run, next, version)
		}
		return 0, err
	case err != nil:
		next = run
		next.State, next.Reason, next.FinishedAt = codecheck.Errored, err.Error(), q.now().UTC()
	}
	saved, err := q.saveRun(ctx, run, next, version)
	switch {
	case errors.Is(err, store.ErrStale):
		return staleWait, nil
	case err != nil:
		return 0, err
	case !saved || (next.State != run.State && next.State != codecheck.Starting):
		// It has ended, or the job of the new state goes on.
		return 0, nil
	}
	return max(wait, time.Millisecond), nil
}

// saveRun writes a run with the job or the releases that follow from its state.
// saved is false for a run that ended meanwhile: it stays as it ended, and an
// execution that it has got is stopped.
func (q *Queue) saveRun(ctx context.Context, before, run codecheck.Run, version *store.Version) (saved bool, err error) {
	ctx, cancel := saving(ctx)
	defer cancel()
	var releases []release.Release
	err = q.store.Update(ctx, func(tx *store.Tx) (err error) {
		saved = true
		err = tx.SaveRun(ctx, run, version)
		if errors.Is(err, store.ErrEnded) {
			saved = false
			if run.ExecID == "" || run.State.Ended() || run.ExecID == before.ExecID {
				return nil
			}
			return q.enqueue(ctx, tx, stopRunArgs{RunID: run.ID, ExecID: run.ExecID})
		}
		if err != nil || run.State == before.State {
			return err
		}
		switch run.State {
		case codecheck.Queued:
			return q.enqueue(ctx, tx, startRunArgs{RunID: run.ID})
		case codecheck.Running:
			return q.enqueue(ctx, tx, pollRunArgs{RunID: run.ID})
		case codecheck.Passed, codecheck.Failed:
			releases, err = q.addReleases(ctx, tx, run)
		}
		return err
	})
	if err != nil || !saved {
		return saved, err
	}
	if run.State != before.State {
		q.logRun(run)
	}
	if run.State.Ended() {
		q.opts.Metrics.observeVerdict(run)
	}
	for _, r := range releases {
		q.logRelease(r)
	}
	return true, nil
}

// addReleases saves a release for each entry of the rule whose condition the
// verdict meets. When the branch has moved on since the run began, what was
// checked may be another commit: then the release is refused, and says so.
func (q *Queue) addReleases(ctx context.Context, tx *store.Tx, run codecheck.Run) ([]release.Release, error) {
	head, known, err := tx.Head(ctx, run.Event.Line())
	if err != nil {
		return nil, err
	}
	now := q.now().UTC()
	started := map[string]string{}
	var releases []release.Release
	for i, plan := range run.Releases {
		if onPassed := plan.Action != rules.ReleaseRefuse; onPassed != (run.State == codecheck.Passed) {
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
		if known {
			if reason := moved(run.Event, head); reason != "" {
				r.State, r.Reason, r.FinishedAt = release.Refused, reason, now
			}
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

// stopRun stops the execution of a run that was superseded.
func (q *Queue) stopRun(ctx context.Context, args stopRunArgs) (time.Duration, error) {
	run, _, err := q.loadRun(ctx, args.RunID)
	if err != nil {
		return 0, err
	}
	run.ExecID = args.ExecID
	if err := q.opts.Checker.Stop(ctx, run); err != nil && !final(err) && q.now().Before(run.Deadline) {
		return 0, err
	}
	return 0, nil
}

func (q *Queue) loadRun(ctx context.Context, id string) (run codecheck.Run, version store.Version, err error) {
	err = q.store.View(ctx, func(tx *store.Tx) (err error) {
		run, version, err = tx.RunAt(ctx, id)
		return err
	})
	return run, version, err
}

func (q *Queue) logRun(run codecheck.Run) {
	fields := []zap.Field{
		zap.String(event.LogRun, run.ID), zap.String(event.LogDelivery, run.DeliveryID), zap.String(event.LogConnection, run.Event.Connection),
		zap.String(event.LogRepository, run.Event.Repository.FullName), zap.String(event.LogSHA, run.Event.HeadSHA),
		zap.String(event.LogRule, run.Rule), zap.String(event.LogState, string(run.State)), zap.String(event.LogReason, run.Reason),
	}
	if run.State == codecheck.Errored {
		q.log.Error("run errored", fields...)
	} else {
		q.log.Info("run changed", fields...)
	}
}
