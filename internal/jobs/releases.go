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

// errForbidden is returned by the save of an intent when, at that very moment, what
// allows the release no longer does.
var errForbidden = errors.New("what allowed the release no longer does")

// actRelease starts a pipeline or decides a checkpoint. It reads run, verdict and
// commit again before it looks at the pipeline, and once more in the transaction
// that commits the intent.
func (q *Queue) actRelease(ctx context.Context, args actReleaseArgs) (time.Duration, error) {
	s, err := q.loadRelease(ctx, args.ReleaseID)
	if err != nil || s.release.State != release.Starting {
		return 0, err
	}
	// After its deadline it waits for nothing more: Prepare ends it.
	late := !q.now().Before(s.release.Deadline)
	if s.release.Intent == nil && s.release.Withdrawn == "" {
		if reason := s.forbidden(); reason != "" && !s.withdraw(reason) {
			return q.endRelease(ctx, s, release.Refused, reason)
		}
		if s.unread && s.release.Withdrawn == "" && !late {
			return turnWait, nil
		}
		if s.parent != nil && s.parent.ExecutionID == "" {
			if s.parent.State.Ended() {
				return q.endRelease(ctx, s, release.Failed, "the release that starts the pipeline has no execution, it ended "+string(s.parent.State)+": "+s.parent.Reason)
			}
			if !late {
				return turnWait, nil
			}
		}
		if s.parent != nil {
			s.release.ExecutionID = s.parent.ExecutionID
		}
	}
	last := s.release
	next, send, wait, err := q.opts.Releaser.Prepare(ctx, s.release)
	if send {
		err = q.store.Update(ctx, func(tx *store.Tx) error {
			if next.Withdrawn == "" {
				now, err := standingOf(ctx, tx, next.ID, tx.LockHead)
				if err != nil {
					return err
				}
				if now.unread || now.forbidden() != "" {
					return errForbidden
				}
			}
			return tx.SaveRelease(ctx, next, &s.version)
		})
		if err == nil {
			last = next
			next, wait, err = q.opts.Releaser.Send(ctx, next)
		}
	}
	if errors.Is(err, store.ErrBusy) || errors.Is(err, errForbidden) {
		return turnWait, nil
	}
	if next.Withdrawn != "" && next.State == release.Succeeded {
		next.State, next.Reason = release.Refused, next.Withdrawn+"; its checkpoint was refused"
	}
	return q.saveReleaseStep(ctx, s, last, next, wait, err)
}

// followRelease looks at a started pipeline until it has ended.
func (q *Queue) followRelease(ctx context.Context, args followReleaseArgs) (time.Duration, error) {
	s, err := q.loadRelease(ctx, args.ReleaseID)
	if err != nil || (s.release.State != release.Running && s.release.State != release.AwaitingApproval) {
		return 0, err
	}
	next, wait, err := q.opts.Releaser.Follow(ctx, s.release)
	return q.saveReleaseStep(ctx, s, s.release, next, wait, err)
}

// standing is a release with what allows it, as it stands now.
type standing struct {
	release release.Release
	version store.Version
	run     codecheck.Run
	// parent starts the pipeline whose checkpoint this release decides; nil
	// when there is none.
	parent *release.Release
	// head is the newest known state of the run's branch, tag or merge request.
	head      store.Head
	headKnown bool
	// unread: a delivery that came before the check was asked for has no decision
	// yet. It may tell of a newer commit, and then that is what was checked.
	unread bool
}

func (q *Queue) loadRelease(ctx context.Context, id string) (s standing, err error) {
	err = q.store.View(ctx, func(tx *store.Tx) (err error) {
		s, err = standingOf(ctx, tx, id, tx.Head)
		return err
	})
	return s, err
}

func standingOf(ctx context.Context, tx *store.Tx, id string, head func(context.Context, string) (store.Head, bool, error)) (s standing, err error) {
	if s.release, s.version, err = tx.ReleaseAt(ctx, id); err != nil {
		return s, err
	}
	if s.run, err = tx.Run(ctx, s.release.RunID); err != nil {
		return s, err
	}
	if s.release.After != "" {
		parent, err := tx.Release(ctx, s.release.After)
		if err != nil {
			return s, err
		}
		s.parent = &parent
	}
	if s.unread, err = tx.Undecided(ctx, s.run.Event.Connection, s.run.StartedAt); err != nil {
		return s, err
	}
	s.head, s.headKnown, err = head(ctx, s.run.Event.Line())
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
	case s.headKnown:
		return moved(s.run.Event, s.head)
	}
	return ""
}

// withdraw turns an approval that is no longer allowed into a refusal, when the
// execution that waits is our own: left waiting, it would keep the pipeline from the
// newer commit until somebody looks.
func (s *standing) withdraw(reason string) bool {
	ours := s.parent != nil && s.parent.ExecutionID != "" && !s.parent.State.Ended()
	if !ours || s.release.Plan.Action != rules.ReleaseApprove {
		return false
	}
	s.release.Withdrawn, s.release.ExecutionID = reason, s.parent.ExecutionID
	s.release.Plan.Action, s.release.Plan.Message = rules.ReleaseRefuse, reason
	return true
}

// saveReleaseStep saves what a step made of a release and says when the same job
// is to be called again. last is the release as it was saved last.
func (q *Queue) saveReleaseStep(ctx context.Context, s standing, last, next release.Release, wait time.Duration, err error) (time.Duration, error) {
	switch {
	case errors.Is(err, store.ErrEnded):
		return 0, nil
	case errors.Is(err, store.ErrStale):
		return staleWait, nil
	case err != nil && !final(err):
		// What it waits for is shown; that this could not be saved does not matter.
		if reason := "waits to try again: " + err.Error(); reason != last.Reason {
			last.Reason = reason
			_ = q.saveRelease(ctx, s.release, last, &s.version)
		}
		return 0, err
	case err != nil:
		// When an action may have been sent, its effect is unknown and a person
		// must look.
		next = last
		next.State, next.Reason = release.Failed, err.Error()
		if last.Intent != nil && last.State == release.Starting {
			next.State = release.Unknown
		}
	}
	err = q.saveRelease(ctx, s.release, next, &s.version)
	switch {
	case errors.Is(err, store.ErrStale):
		return staleWait, nil
	case errors.Is(err, store.ErrEnded):
		return 0, nil
	case err != nil:
		return 0, err
	case next.State.Ended() || (s.release.State == release.Starting && next.State != release.Starting):
		return 0, nil
	}
	return max(wait, time.Millisecond), nil
}

func (q *Queue) endRelease(ctx context.Context, s standing, state release.State, reason string) (time.Duration, error) {
	next := s.release
	next.State, next.Reason = state, reason
	return q.saveReleaseStep(ctx, s, s.release, next, 0, nil)
}

// saveRelease writes a release with the job that follows from its state.
func (q *Queue) saveRelease(ctx context.Context, before, r release.Release, version *store.Version) error {
	ctx, cancel := saving(ctx)
	defer cancel()
	if r.State.Ended() && r.FinishedAt.IsZero() {
		r.FinishedAt = q.now().UTC()
	}
	err := q.store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.SaveRelease(ctx, r, version); err != nil {
			return err
		}
		if before.State == release.Starting && (r.State == release.Running || r.State == release.AwaitingApproval) {
			return q.enqueue(ctx, tx, followReleaseArgs{ReleaseID: r.ID})
		}
		return nil
	})
	if err == nil && before.State != r.State {
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
