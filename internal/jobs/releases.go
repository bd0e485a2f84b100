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

// turnWait is how long a release waits before it looks again whether it is its
// turn: the release that starts its pipeline has an execution, or the action of
// another one on the same pipeline has its answer.
const turnWait = 500 * time.Millisecond

// actRelease starts a pipeline or decides a checkpoint, after it has read again
// the run, the verdict and the commit that allow it.
func (q *Queue) actRelease(ctx context.Context, args actReleaseArgs) (time.Duration, error) {
	s, err := q.loadRelease(ctx, args.ReleaseID)
	if err != nil || s.release.State != release.Starting {
		return 0, err
	}
	if s.release.Intent == nil {
		if reason := s.forbidden(); reason != "" {
			return 0, q.endRelease(ctx, s.release, release.Refused, reason)
		}
		if s.parent != nil {
			if s.parent.ExecutionID == "" && s.parent.State.Ended() {
				return 0, q.endRelease(ctx, s.release, release.Failed, "the pipeline was not started: "+s.parent.Reason)
			}
			if s.parent.ExecutionID == "" {
				return turnWait, nil
			}
			s.release.ExecutionID = s.parent.ExecutionID
		}
	}
	next, wait, err := q.opts.Releaser.Act(ctx, s.release, func(ctx context.Context, r release.Release) error {
		return q.store.Update(ctx, func(tx *store.Tx) error { return tx.SaveRelease(ctx, r) })
	})
	if errors.Is(err, store.ErrBusy) {
		return turnWait, nil
	}
	return q.saveReleaseStep(ctx, s.release, next, wait, err)
}

// followRelease looks at a started pipeline until it has ended.
func (q *Queue) followRelease(ctx context.Context, args followReleaseArgs) (time.Duration, error) {
	s, err := q.loadRelease(ctx, args.ReleaseID)
	if err != nil || (s.release.State != release.Running && s.release.State != release.AwaitingApproval) {
		return 0, err
	}
	next, wait, err := q.opts.Releaser.Follow(ctx, s.release)
	return q.saveReleaseStep(ctx, s.release, next, wait, err)
}

// standing is a release with what allows it, as it stands now.
type standing struct {
	release release.Release
	run     codecheck.Run
	// parent starts the pipeline whose checkpoint this release decides; nil
	// when there is none.
	parent *release.Release
	// head is the newest known commit of the run's branch or merge request.
	head string
}

func (q *Queue) loadRelease(ctx context.Context, id string) (s standing, err error) {
	err = q.store.View(ctx, func(tx *store.Tx) (err error) {
		if s.release, err = tx.Release(ctx, id); err != nil {
			return err
		}
		if s.run, err = tx.Run(ctx, s.release.RunID); err != nil {
			return err
		}
		if s.release.After != "" {
			parent, err := tx.Release(ctx, s.release.After)
			if err != nil {
				return err
			}
			s.parent = &parent
		}
		s.head, err = tx.Head(ctx, s.run.Event.Line())
		return err
	})
	return s, err
}

// forbidden says why the release must not act; empty when it may. Nothing is
// released for another commit than the one that was checked.
func (s standing) forbidden() string {
	wanted := codecheck.Passed
	if s.release.Plan.Action == rules.ReleaseRefuse {
		wanted = codecheck.Failed
	}
	switch {
	case s.run.State != wanted || s.run.Verdict == nil || s.run.Verdict.Passed != (wanted == codecheck.Passed):
		return "run " + s.run.ID + " has no " + string(wanted) + " verdict"
	case s.run.Event.HeadSHA == "" || s.run.Event.HeadSHA != s.release.Event.HeadSHA:
		return "run " + s.run.ID + " checked another commit"
	}
	return moved(s.run.Event, s.head)
}

// saveReleaseStep saves what a step made of a release and says when the same job
// is to be called again.
func (q *Queue) saveReleaseStep(ctx context.Context, before, next release.Release, wait time.Duration, err error) (time.Duration, error) {
	if errors.Is(err, store.ErrEnded) {
		return 0, nil
	}
	if err != nil && !final(err) {
		return 0, err
	}
	if err != nil {
		return 0, q.giveUp(ctx, before.ID, err)
	}
	if err := q.saveRelease(ctx, next); err != nil {
		return 0, err
	}
	if next.State.Ended() || (before.State == release.Starting && next.State != release.Starting) {
		return 0, nil
	}
	return max(wait, time.Millisecond), nil
}

// giveUp ends a release whose step cannot succeed. When an action of it may have
// been sent, its effect is unknown and a person must look.
func (q *Queue) giveUp(ctx context.Context, id string, cause error) error {
	s, err := q.loadRelease(ctx, id)
	if err != nil {
		return err
	}
	state := release.Failed
	if s.release.Intent != nil && s.release.State == release.Starting {
		state = release.Unknown
	}
	return q.endRelease(ctx, s.release, state, cause.Error())
}

func (q *Queue) endRelease(ctx context.Context, r release.Release, state release.State, reason string) error {
	r.State, r.Reason = state, reason
	return q.saveRelease(ctx, r)
}

// saveRelease writes a release with the job that follows from its state.
func (q *Queue) saveRelease(ctx context.Context, r release.Release) error {
	if r.State.Ended() && r.FinishedAt.IsZero() {
		r.FinishedAt = q.now().UTC()
	}
	changed := false
	err := q.store.Update(ctx, func(tx *store.Tx) error {
		before, err := tx.LockRelease(ctx, r.ID)
		if err != nil {
			return err
		}
		changed = before.State != r.State
		if err := tx.SaveRelease(ctx, r); err != nil {
			return err
		}
		if before.State == release.Starting && (r.State == release.Running || r.State == release.AwaitingApproval) {
			return q.enqueue(ctx, tx, followReleaseArgs{ReleaseID: r.ID})
		}
		return nil
	})
	if errors.Is(err, store.ErrEnded) {
		return nil
	}
	if err == nil && changed {
		q.logRelease(r)
	}
	return err
}

func (q *Queue) logRelease(r release.Release) {
	fields := []zap.Field{
		zap.String(event.LogRelease, r.ID), zap.String(event.LogRun, r.RunID), zap.String(event.LogConnection, r.Event.Connection),
		zap.String(event.LogRepository, r.Event.Repository.FullName), zap.String(event.LogSHA, r.Event.HeadSHA), zap.String(event.LogRule, r.Rule),
		zap.String(event.LogPipeline, r.Plan.Pipeline), zap.String(event.LogExecution, r.ExecutionID),
		zap.String(event.LogState, string(r.State)), zap.String(event.LogReason, r.Reason),
	}
	switch r.State {
	case release.Unknown, release.Failed:
		q.log.Error("release needs a look", fields...)
	default:
		q.log.Info("release changed", fields...)
	}
}
