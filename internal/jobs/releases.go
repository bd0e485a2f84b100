package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// errNotAllowed is returned by the commit of an intent when what allowed the release no
// longer does.
var errNotAllowed = errors.New("what allowed the release no longer does")

// errUncertainHead is returned by the commit of an intent while the newest commit of the
// branch is uncertain.
var errUncertainHead = errors.New("the newest commit is uncertain")

// uncertainWait is how often a release looks whether the head is certain again.
const uncertainWait = 30 * time.Second

// actRelease starts a pipeline or decides a checkpoint: prepare, confirm the commit, commit
// the intent, send, save the answer. It reads run, verdict and head before it looks at the
// pipeline, and again in the transaction that commits the intent.
func (q *Queue) actRelease(ctx context.Context, args actReleaseArgs) (time.Duration, error) {
	b, err := q.loadRelease(ctx, args.ReleaseID)
	switch {
	case err != nil:
		return 0, err
	case b.release.State == release.Held:
		return q.hold(ctx, b)
	case b.release.State != release.Starting:
		return 0, nil
	}
	if b.release.JustSent(q.now(), answerTimeout) {
		return staleWait, nil
	}
	if b.release.Intent == nil && b.release.Withdrawn == "" {
		// Where its starter is sending, there may be an execution to refuse.
		sending := b.needsStarter() && b.starter.Unanswered()
		if reason := b.notAllowed(); reason != "" && !sending && !b.withdraw(reason) {
			return q.endRelease(ctx, b, release.Refused, reason)
		}
		// After its deadline it waits for no decision more: Prepare ends it.
		if b.needsStarter() || b.needsDecision() && q.now().Before(b.release.Deadline) {
			return q.waitForOthers(ctx, b)
		}
		if b.starter != nil {
			if b.starter.ExecutionID == "" && b.starter.State.Ended() {
				state := release.Failed
				if b.starter.State == release.Refused {
					state = release.Refused
				}
				return q.endRelease(ctx, b, state, "release "+b.starter.ID+", which starts the pipeline, ended without an execution, as "+string(b.starter.State)+": "+b.starter.Reason)
			}
			if b.starter.State == release.Stopped {
				// Its execution may look as if it had only paused.
				return q.endRelease(ctx, b, release.Stopped, "release "+b.starter.ID+", whose execution it decides, was stopped: "+b.starter.Reason)
			}
			b.takeExecution()
		}
		// A start is held before its pipeline is looked at, a decision once its checkpoint waits.
		if b.release.Plan.Action == rules.ReleaseStart {
			switch kept, err := q.kept(ctx, b); {
			case err != nil:
				return 0, err
			case kept:
				return q.hold(ctx, b)
			}
		}
	}
	b.release.Known = b.known()
	next, send, wait, err := q.prepareRelease(ctx, &b)
	if err == nil && send {
		if err = q.commitRelease(ctx, &b, next); err != nil {
			return q.afterRefusedIntent(ctx, b, next, err)
		}
		next, wait, err = q.send(ctx, b.release)
	}
	if next.Withdrawn != "" && next.State == release.Succeeded {
		next.State, next.Reason = release.Refused, next.Withdrawn+"; its checkpoint was refused"
	}
	return q.saveReleaseStep(ctx, b, next, wait, err)
}

// send sends what the committed intent of a release announces. A release may have two jobs,
// for instance because two people approved it: the other one waits for answerTimeout until
// this step has saved the answer.
func (q *Queue) send(ctx context.Context, r release.Release) (release.Release, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	return q.opts.Releaser.Send(ctx, r)
}

// waitForOthers marks a release as waiting for the record that it depends on. It waits for its
// starter, which may be held for long, however long that takes.
func (q *Queue) waitForOthers(ctx context.Context, b basis) (time.Duration, error) {
	if b.needsStarter() && !q.now().Before(b.release.Deadline) {
		next := b.release
		if next.Deadline = b.starter.Deadline.Add(next.Plan.Timeout); q.now().Before(next.Deadline) {
			return q.saveReleaseStep(ctx, b, next, soon, nil)
		}
	}
	return q.waitFor(ctx, b, func(tx *transaction) (string, error) {
		if b.needsDecision() {
			return tx.LockOldestUndecided(ctx, b.run.Event.Connection, b.run.StartedAt)
		}
		starter, err := tx.LockRelease(ctx, b.starter.ID)
		if starter.Record.ExecutionID != "" || starter.Record.State.Ended() {
			return "", err
		}
		return starter.Record.ID, err
	})
}

// waitFor marks a release as waiting for the record that lock finds and locks. Its job is
// done then: whoever changes that record inserts a new one. When there is nothing to
// wait for any more, the step is repeated.
func (q *Queue) waitFor(ctx context.Context, b basis, lock func(*transaction) (id string, err error)) (wait time.Duration, err error) {
	err = q.update(ctx, func(tx *transaction) error {
		other, err := lock(tx)
		if err != nil {
			return err
		}
		if other == "" {
			wait = soon
			return nil
		}
		return tx.ReleaseWaits(ctx, b.release.ID, other)
	})
	return wait, err
}

// maxTaken is how many releases of a pipeline are looked at for what they have begun
// since another one looked at it: those that acted within the minute of one step.
const maxTaken = 50

// commitRelease saves a release with its intent, before anything is sent, if it is still
// allowed in that same transaction. No other release of the pipeline is without an
// answer then.
func (q *Queue) commitRelease(ctx context.Context, b *basis, next release.Release) error {
	var version store.Version
	err := q.update(ctx, func(tx *transaction) error {
		version = b.version
		if next.Withdrawn == "" {
			now, err := readBasis(ctx, tx.Tx, next.ID, tx.LockHead)
			if err != nil {
				return err
			}
			if now.needsDecision() || now.notAllowed() != "" {
				return errNotAllowed
			}
			if now.head.Uncertain && now.release.Plan.Action != rules.ReleaseRefuse {
				return errUncertainHead
			}
			if k, err := q.keeps(ctx, tx.Tx, now); err != nil {
				return err
			} else if k.keeps {
				return errHeld
			}
		}
		// From here on no other release can act on the pipeline: what they have begun is known.
		if err := tx.SaveRelease(ctx, next, &version); err != nil {
			return err
		}
		if next.Withdrawn == "" {
			if err := claimReleased(ctx, tx, *b); err != nil {
				return err
			}
		}
		taken, err := tx.ExecutionsOf(ctx, next.Plan.Pipeline, next.ID, maxTaken)
		if err != nil {
			return err
		}
		intent := *next.Intent
		intent.Taken, next.Intent = taken, &intent
		return q.saveRelease(ctx, tx, b.release, next, &version)
	})
	if err == nil {
		b.release, b.version = next, version
	}
	return err
}

// commitOperation saves a release with the intent of an operation on its execution, before
// that is sent, if it is still allowed in that same transaction.
func (q *Queue) commitOperation(ctx context.Context, b *basis, next release.Release) error {
	err := q.update(ctx, func(tx *transaction) error {
		if next.Operation.Action.Releases() {
			now, err := readBasis(ctx, tx.Tx, next.ID, tx.LockHead)
			switch {
			case err != nil:
				return err
			case now.notAllowed() != "":
				return errNotAllowed
			case now.head.Uncertain:
				return errUncertainHead
			}
			if h, err := q.closed(ctx, tx.Tx, now); err != nil {
				return err
			} else if h.Window+h.Freeze != "" {
				return errHeld
			}
		}
		return q.saveRelease(ctx, tx, b.release, next, &b.version)
	})
	if err == nil {
		b.release = next
	}
	return err
}

// claimReleased notes for good that the release acts for its commit. It fails when another
// one has done so since the basis was read.
func claimReleased(ctx context.Context, tx *transaction, b basis) error {
	if b.release.Plan.Action == rules.ReleaseRefuse {
		return nil
	}
	_, claimed, err := tx.ClaimReleased(ctx, b.release)
	if err == nil && !claimed && b.once() {
		return errNotAllowed
	}
	return err
}

// afterRefusedIntent ends a step whose intent, that of next, could not be committed. While
// another release's action on the pipeline has no answer, this one waits for it. An action on
// the execution that has to wait stays ordered, and has until its deadline.
func (q *Queue) afterRefusedIntent(ctx context.Context, b basis, next release.Release, refusal error) (time.Duration, error) {
	followed := b.release.State.Followed()
	if followed {
		next = next.TakenBack()
	} else {
		next = b.release
	}
	switch {
	case errors.Is(refusal, errNotAllowed):
		// The next step reads why and acts on it.
		return soon, nil
	case errors.Is(refusal, errHeld) && followed:
		return q.holdOperation(ctx, b, next)
	case errors.Is(refusal, errHeld):
		return q.hold(ctx, b)
	case errors.Is(refusal, errUncertainHead):
		next.Reason = fmt.Sprintf("waits until the newest commit of %q is known: a push went back to an earlier one, and may be an old push that was sent again", b.run.Event.Branch)
		return q.saveReleaseStep(ctx, b, next, uncertainWait, nil)
	case !errors.Is(refusal, store.ErrPipelineBusy):
		return afterRefusedSave(refusal)
	}
	return q.waitFor(ctx, b, func(tx *transaction) (string, error) {
		return tx.LockUnanswered(ctx, b.release.Plan.Pipeline, b.release.ID)
	})
}

// followRelease looks at a started pipeline until it has ended, and takes the actions on
// its execution that the rule or a person wants: it commits the intent of each and sends it.
func (q *Queue) followRelease(ctx context.Context, args followReleaseArgs) (time.Duration, error) {
	b, err := q.loadRelease(ctx, args.ReleaseID)
	if err != nil || !b.release.State.Followed() {
		return 0, err
	}
	if b.release.JustSent(q.now(), answerTimeout) {
		return staleWait, nil
	}
	b.release.Known = b.known()
	next, send, wait, err := q.lookAtRelease(ctx, b.release)
	if err == nil && send {
		next, send, wait, err = q.confirmOperation(ctx, b.release, next, wait)
	}
	if err == nil && send {
		if err = q.commitOperation(ctx, &b, next); err != nil {
			return q.afterRefusedIntent(ctx, b, next, err)
		}
		next, wait, err = q.send(ctx, b.release)
	}
	return q.saveReleaseStep(ctx, b, next, wait, err)
}

// lookAtRelease follows a release for one step. Where its execution failed it looks once
// more, with the checkpoints that we refuse.
func (q *Queue) lookAtRelease(ctx context.Context, r release.Release) (next release.Release, send bool, wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	next, send, wait, err = q.opts.Releaser.Follow(ctx, r)
	failed := next.State == release.Failed || r.Operation == nil && next.Operation != nil && next.Operation.Action != rules.ReleaseStop
	if err != nil || !failed {
		return next, send, wait, err
	}
	if r, err = q.withRefused(ctx, r); err != nil {
		return next, false, 0, err
	}
	return q.opts.Releaser.Follow(ctx, r)
}

// withRefused is r with the checkpoints of its execution that we refuse among those that
// wait: it may have waited there and ended between two steps, and then it was refused and
// did not fail. The decision may belong to the release that r continues.
func (q *Queue) withRefused(ctx context.Context, r release.Release) (release.Release, error) {
	err := q.store.View(ctx, func(tx *store.Tx) error {
		releases, err := tx.ReleasesOf(ctx, r.RunID)
		for _, other := range releases {
			refuses := other.Intent != nil && other.Intent.Action == rules.ReleaseRefuse
			ofIt := other.ExecutionID == r.ExecutionID && other.Plan.Pipeline == r.Plan.Pipeline
			if refuses && ofIt && !slices.Contains(r.Waiting, other.Plan.Task) {
				r.Waiting = append(slices.Clone(r.Waiting), other.Plan.Task)
			}
		}
		return err
	})
	return r, err
}

// saveReleaseStep saves what a step made of a release and says when the same job is to
// be called again.
func (q *Queue) saveReleaseStep(ctx context.Context, b basis, next release.Release, wait time.Duration, failure error) (time.Duration, error) {
	before := b.release
	if failure != nil && !final(failure) {
		if next.Reason == before.Reason {
			next.Reason = "waits to try again: " + failure.Error()
		}
		// An intent that was taken back is saved, and what the release waits for. That it
		// could not be saved is of no importance: the step is repeated, and looks for the
		// effect of an intent before anything else.
		if next.Reason != before.Reason || next.Unanswered() != before.Unanswered() {
			_ = q.save(ctx, func(ctx context.Context, tx *transaction) error {
				return q.saveRelease(ctx, tx, before, next, &b.version)
			})
		}
		return 0, failure
	}
	if failure != nil {
		next = before
		next.State, next.Reason, next.Operation = release.Failed, failure.Error(), nil
		if before.Unanswered() {
			// The action may have been sent, and a person must look at its effect.
			next.State = release.Unknown
		}
	}
	if next.State.Ended() && next.FinishedAt.IsZero() {
		next.FinishedAt = q.now().UTC()
	}
	err := q.save(ctx, func(ctx context.Context, tx *transaction) error {
		return q.saveRelease(ctx, tx, before, next, &b.version)
	})
	if err != nil {
		return afterRefusedSave(err)
	}
	if next.State.Ended() || before.State == release.Starting && next.State.Followed() {
		// The job of the new state goes on, if there is one.
		return 0, nil
	}
	return max(wait, soon), nil
}

func (q *Queue) endRelease(ctx context.Context, b basis, state release.State, reason string) (time.Duration, error) {
	next := b.release
	next.State, next.Reason = state, reason
	return q.saveReleaseStep(ctx, b, next, 0, nil)
}
