package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// basis is a release with what allows it to act, as stored at one moment.
type basis struct {
	release release.Release
	version store.Version
	run     codecheck.Run
	// starter is the release that starts the pipeline whose checkpoint this release
	// decides; nil when there is none.
	starter *release.Release
	// head is the newest known state of the run's branch, tag or merge request.
	head      store.Head
	headKnown bool
	// earlier is the release that took the same action for the same commit; nil when
	// none has, or when this one may take it again. It counts only while once holds: an
	// order makes another release of this one.
	earlier *store.Released
	// leftPaused are the executions of the pipeline that no release of ours follows any
	// more, for a start.
	leftPaused []string
	// undecided: a delivery that was received before the check was asked for has no
	// decision yet. It may announce a newer commit, and then that one was checked.
	undecided bool
	// runAgain is the run that repeats the run of a release that waits for approvals; empty for none.
	runAgain string
}

func (q *Queue) loadRelease(ctx context.Context, id string) (b basis, err error) {
	err = q.store.View(ctx, func(tx *store.Tx) (err error) {
		b, err = readBasis(ctx, tx, id, tx.Head)
		return err
	})
	return b, err
}

// readBasis reads a release with what allows it; head reads the head, and may lock it.
func readBasis(ctx context.Context, tx *store.Tx, id string, head func(context.Context, string) (store.Head, bool, error)) (b basis, err error) {
	v, err := tx.ReleaseAt(ctx, id)
	if err != nil {
		return b, err
	}
	b.release, b.version = v.Record, v.Version
	if b.run, err = tx.Run(ctx, b.release.RunID); err != nil {
		return b, err
	}
	if b.release.Plan.Hold != nil {
		if b.runAgain, err = tx.RerunAs(ctx, store.RecordRun, b.run.ID); err != nil {
			return b, err
		}
	}
	if b.release.After != "" {
		starter, err := tx.Release(ctx, b.release.After)
		if err != nil {
			return b, err
		}
		b.starter = &starter
	}
	if b.release.Plan.Action == rules.ReleaseStart && b.release.State == release.Starting {
		if b.leftPaused, err = tx.AbandonedExecutions(ctx, b.release.Plan.Pipeline, maxTaken); err != nil {
			return b, err
		}
	}
	if b.once() {
		if b.earlier, err = earlierRelease(ctx, tx, b.release); err != nil {
			return b, err
		}
	}
	if b.undecided, err = tx.Undecided(ctx, b.run.Event.Connection, b.run.StartedAt); err != nil {
		return b, err
	}
	b.head, b.headKnown, err = head(ctx, b.run.Event.RefKey())
	return b, err
}

// earlierRelease is what another release did for the same commit; nil for nothing. What has no
// answer yet may turn out to have had no effect: the pipeline is taken until that is known.
func earlierRelease(ctx context.Context, tx *store.Tx, r release.Release) (*store.Released, error) {
	earlier, known, err := tx.Released(ctx, r)
	if err != nil || !known || earlier.ReleaseID == r.ID {
		return nil, err
	}
	switch other, err := tx.Release(ctx, earlier.ReleaseID); {
	case errors.Is(err, store.ErrNotFound): // it was kept no longer
	case err != nil:
		return nil, err
	case other.Unanswered():
		return nil, nil
	}
	return &earlier, nil
}

// once reports whether the release must be the only one that takes its action for its
// commit. What a person orders need not: a rerun of it or of its run, and a decision. Nor
// need a refusal, which releases nothing, an action on an execution that was started, nor the approval of an execution that we started:
// its start is what happens once.
func (b basis) once() bool {
	ordered := b.release.RerunOf != "" || b.run.RerunOf != "" || b.release.DecidedBy != "" || b.release.Continues != ""
	return !ordered && b.release.Plan.Action != rules.ReleaseRefuse && b.starter == nil
}

// known is what the next step of the release must know.
func (b basis) known() release.Known {
	known := release.Known{Outdated: b.notAllowed(), Superseded: b.superseded(), LeftPaused: b.leftPaused}
	known.StarterGoesOn = b.starter != nil && !b.starter.State.Ended() && (b.starter.Plan.Retries() > 0 || b.starter.Continues != "")
	return known
}

// superseded says which newer commit the branch or merge request certainly has; empty for none.
func (b basis) superseded() string {
	head, ev := b.head, b.run.Event
	if b.headKnown && !head.Ended && !head.Uncertain && head.Branch == ev.Branch && head.SHA != ev.HeadSHA {
		return staleReason(ev, head)
	}
	return ""
}

// needsDecision reports that the release must wait for a delivery to be decided.
func (b basis) needsDecision() bool {
	return b.undecided && b.release.Withdrawn == "" && !b.refusedByPerson()
}

// refusedByPerson reports that a person refuses the checkpoint: that needs no verdict.
func (b basis) refusedByPerson() bool {
	return b.release.DecidedBy != "" && b.release.Plan.Action == rules.ReleaseRefuse
}

// needsStarter reports that the release must wait for the execution that its starter
// starts.
func (b basis) needsStarter() bool {
	return b.starter != nil && b.starter.ExecutionID == "" && !b.starter.State.Ended()
}

// notAllowed says why the release must not act; empty when it may. Nothing is released
// for a commit other than the one that was checked.
func (b basis) notAllowed() string {
	wanted := codecheck.Passed
	if b.release.Plan.Action == rules.ReleaseRefuse {
		wanted = codecheck.Failed
	}
	switch {
	case b.refusedByPerson() || b.release.Withdrawn != "": // neither needs a verdict
	case b.run.State != wanted || b.run.Verdict == nil || b.run.Verdict.Passed != (wanted == codecheck.Passed):
		return "run " + b.run.ID + " has no " + string(wanted) + " verdict"
	case b.runAgain != "" && b.release.Plan.Action != rules.ReleaseRefuse && b.release.Continues == "":
		return fmt.Sprintf("run %s was repeated as run %s, whose verdict counts", b.run.ID, b.runAgain)
	case b.run.Event.HeadSHA == "" || b.run.Event.HeadSHA != b.release.Event.HeadSHA:
		return "run " + b.run.ID + " checked another commit"
	case b.earlier != nil && b.once():
		return fmt.Sprintf("commit %s was released before, by release %s at %s, and is released again only when a person reruns that",
			short(b.release.Event.HeadSHA), b.earlier.ReleaseID, b.earlier.At.Format(time.RFC3339))
	case b.headKnown:
		return staleReason(b.run.Event, b.head)
	}
	return ""
}

// withdraw turns an approval that is not allowed any more into a refusal, when the
// execution that waits is our own: left waiting, it would block the pipeline for the
// newer commit until a person acts. Where the rule stops such an execution because of a
// newer commit, nothing needs to be refused.
func (b *basis) withdraw(reason string) bool {
	ours := b.starter != nil && b.starter.ExecutionID != "" && !b.starter.State.Ended()
	if !ours || b.release.Plan.Action != rules.ReleaseApprove || b.starter.Plan.OnSuperseded == rules.ReactionStop && b.superseded() != "" {
		return false
	}
	b.release.Withdrawn, b.release.ExecutionID = reason, b.starter.ExecutionID
	b.release.Plan.Action, b.release.Plan.Message = rules.ReleaseRefuse, reason
	return true
}

// takeExecution makes the release one of the execution that its starter started. Its time begins
// with that, and again with each retry of it.
func (b *basis) takeExecution() {
	b.release.ExecutionID, b.release.OtherIDs = b.starter.ExecutionID, b.starter.OtherIDs
	if until := b.starter.BegunAt().Add(b.release.Plan.Timeout); until.After(b.release.Deadline) {
		b.release.Deadline = until
	}
}
