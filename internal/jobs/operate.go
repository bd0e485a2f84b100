package jobs

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// Operations are the actions that a person can order on the execution of a release.
func Operations() []rules.ReleaseAction {
	return []rules.ReleaseAction{rules.ReleaseRetry, rules.ReleaseContinue, rules.ReleaseRollback, rules.ReleaseStop}
}

// operable lists the states of a release in which a person can order an action on its
// execution. In other states the service would certainly refuse it. Whether the execution
// is in the status for it is seen before it is sent.
func operable(action rules.ReleaseAction) []release.State {
	switch action {
	case rules.ReleaseStop:
		return []release.State{release.Running, release.AwaitingApproval, release.Paused, release.Failed, release.Expired, release.Unknown}
	case rules.ReleaseContinue:
		return []release.State{release.Paused, release.Stopped, release.Failed, release.Expired, release.Unknown}
	case rules.ReleaseRetry:
		return []release.State{release.Failed, release.Expired, release.Unknown}
	case rules.ReleaseRollback:
		return []release.State{release.Succeeded, release.Failed, release.Expired, release.Unknown}
	}
	return nil
}

// Operate orders stop, retry, continue or rollback of the execution of a release. A release
// that follows its execution carries it out itself. One that has ended stays as it is, and
// a new release that names it does: it takes its place, as a rerun would. It is sent once,
// and only while the newest execution of the pipeline is ours. Retry and continue need what
// a release needs: a passed verdict, and the newest commit of the branch.
func (in *Inserter) Operate(ctx context.Context, id string, action rules.ReleaseAction, o Order) (Done, error) {
	return in.order(ctx, o, store.ActionName(action), store.RecordRelease, id, func(tx *transaction, done *Done) (string, error) {
		// The head first and then the release, as when an intent is committed: two
		// transactions with the other order could wait for each other.
		b, err := readBasis(ctx, tx.Tx, id, tx.LockHead)
		if err != nil {
			return "", err
		}
		v, err := tx.LockRelease(ctx, id)
		if err != nil {
			return "", err
		}
		b.release = v.Record
		if err := mayOperate(b, action); err != nil {
			return "", err
		}
		now := in.queue.now().UTC()
		r := b.release
		if r.State.Ended() {
			if as, err := tx.RerunAs(ctx, store.RecordRelease, id); err != nil || as != "" {
				return "", cmp.Or(err, refuse("release %s repeats it already: order it on that one", as))
			}
			starters, err := releasesOfExecution(ctx, tx, r)
			if err != nil {
				return "", err
			}
			b.release = in.continued(r, action).Order(action, o.Actor, o.Reason, now)
			if err = in.addRepeated(ctx, tx, b.release, done); err == nil {
				err = in.moveDecisions(ctx, tx, starters, b.release)
			}
			if err == nil && action.Releases() {
				// Checkpoints that were not decided come still.
				err = in.repeatDecisions(ctx, tx, o, b, starters, done, func(d release.Release) bool { return d.State.Ended() && d.State != release.Succeeded })
			}
			return b.release.ID, err
		}
		next := r.Order(action, o.Actor, o.Reason, now)
		if err := in.queue.saveRelease(ctx, tx, v.Record, next, &v.Version); err != nil {
			return "", err
		}
		// Its job may wait for the next look. A second one does no harm.
		tx.enqueue(releaseJob(next.ID, next.State))
		done.Releases = []release.Release{next}
		return next.ID, nil
	})
}

// moveDecisions makes the rule's decisions of the checkpoints of starters that have not ended those of r, which continues
// their execution. One that may have been sent stays.
func (in *Inserter) moveDecisions(ctx context.Context, tx *transaction, starters []release.Release, r release.Release) error {
	releases, err := tx.ReleasesOf(ctx, r.RunID)
	if err != nil {
		return err
	}
	for _, decision := range releases {
		if !anyStarts(starters, decision) {
			continue
		}
		v, err := tx.LockRelease(ctx, decision.ID)
		if err != nil {
			return err
		}
		next := v.Record
		if next.State.Ended() || next.DecidedBy != "" || next.Intent != nil {
			continue
		}
		next.After = r.ID
		// r may wait for a window for as long as it has time.
		if until := r.Deadline.Add(next.Plan.Timeout); next.State == release.Starting && until.After(next.Deadline) {
			next.Deadline = until
		}
		if err := in.queue.saveRelease(ctx, tx, v.Record, next, &v.Version); err != nil {
			return err
		}
		// It waits for the end of the one before.
		tx.enqueue(releaseJob(next.ID, next.State))
	}
	return nil
}

// anyStarts reports whether a decision is about a checkpoint of the execution of starters.
func anyStarts(starters []release.Release, decision release.Release) bool {
	return slices.ContainsFunc(starters, func(r release.Release) bool { return r.ID == decision.After })
}

// mayOperate says why an action cannot be taken on the execution of a release; nil when it
// can.
func mayOperate(b basis, action rules.ReleaseAction) error {
	r := b.release
	switch {
	case !slices.Contains(Operations(), action):
		return refuse("%q is not an action on an execution", action)
	case r.Plan.Action.Decides() && r.After != "":
		return refuse("it decides a checkpoint: order it on release %s, whose execution that is", r.After)
	case r.Plan.Action.Decides():
		return refusal("it decides a checkpoint of an execution that Gatewright did not start")
	case r.ExecutionID == "":
		return refuse("it is %s and has no execution", r.State)
	case r.Operation != nil:
		return refuse("%s is ordered already and not finished: %s", r.Operation.Action, r.Operation.Reason)
	case !r.Plan.Target.Offers(action):
		return refuse("%s has no %s: what it can do with an execution is stop and retry", r.Plan.Target.Name(), action)
	case !slices.Contains(operable(action), r.State) && !leftAsItWas(r):
		return refuse("it is %s: %s is for a release that is %s", r.State, action, anyOf(operable(action)))
	}
	b.release.Plan.Action = action
	if action.Releases() {
		if reason := b.notAllowed(); reason != "" {
			return refusal(reason)
		}
	}
	return nil
}

// leftAsItWas reports whether r was to act on the execution of another release, and was
// refused before it sent anything: the execution may be in any status still.
func leftAsItWas(r release.Release) bool {
	return r.Continues != "" && r.State == release.Refused && r.Untouched()
}

// anyOf writes states as "failed, expired or unknown".
func anyOf(states []release.State) string {
	words := make([]string, len(states))
	for i, state := range states {
		words[i] = string(state)
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// continued is a new release that acts on the execution of one that has ended.
func (in *Inserter) continued(old release.Release, action rules.ReleaseAction) release.Release {
	now := in.queue.now().UTC()
	plan := old.Plan
	plan.Action, plan.Select, plan.OnFailure, plan.OnDeadline, plan.OnSuperseded = action, nil, nil, "", ""
	return release.Release{
		ID: in.queue.opts.NewID(), Continues: old.ID, RunID: old.RunID, Index: old.Index, Rule: old.Rule, Plan: plan, Event: old.Event,
		ExecutionID: old.ExecutionID, OtherIDs: slices.Clone(old.OtherIDs), Status: old.Status,
		State: release.Running, CreatedAt: now, StartedAt: old.StartedAt, Deadline: now.Add(plan.Timeout),
	}
}
