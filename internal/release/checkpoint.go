package release

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/rules"
)

// shortestWait is for a release that only has to be saved before it goes on.
const shortestWait = time.Millisecond

// prepareDecision returns r with the intent to decide its checkpoint, once that
// waits.
func (o *Operator) prepareDecision(ctx context.Context, s service, r Release) (Release, time.Duration, error) {
	switch {
	case o.expired(r) && !r.WaitsForPersonSince.IsZero():
		return o.end(r, Expired, fmt.Sprintf("nobody acted in time, and checkpoint %q could not be decided; last: %s", r.Plan.Task, r.Reason))
	case o.expired(r):
		return o.end(r, Failed, fmt.Sprintf("the deadline passed before checkpoint %q could be decided; last: %s", r.Plan.Task, r.Reason))
	}
	if r.After != "" && r.ExecutionID == "" {
		return o.wait(r, fmt.Sprintf("waits for release %s to start its execution", r.After))
	}
	now, err := s.look(ctx, r)
	if err != nil {
		return o.readFailed(ctx, r, err)
	}
	if !now.listed {
		return o.end(r, Failed, fmt.Sprintf("pipeline %s is not among the project's %d pipelines", r.Plan.Pipeline, now.pipelines))
	}
	newest, ok := now.newest()
	if !ok {
		return o.wait(r, "waits for the execution to appear in the records")
	}
	if r.ExecutionID == "" {
		return o.bindExecution(r, string(newest.ID), now)
	}
	if other, newer := now.newerThan(r.executions()...); newer {
		return o.end(r, Failed, fmt.Sprintf("execution %s took over from execution %s before checkpoint %q was decided",
			other.ID, r.ExecutionID, r.Plan.Task))
	}
	if !now.actsOn(r.executions()) {
		return o.wait(r, fmt.Sprintf("waits for execution %s to appear in the records", r.ExecutionID))
	}
	if status := now.status(now.latest(r.executions()), false); status.Ended() {
		if r.Known.StarterGoesOn {
			return o.wait(r, fmt.Sprintf("waits for checkpoint %q: execution %s is %s, and release %s may go on with it", r.Plan.Task, r.ExecutionID, status, r.After))
		}
		return o.end(r, Failed, fmt.Sprintf("execution %s ended before checkpoint %q was decided: %s", r.ExecutionID, r.Plan.Task, status))
	}
	return o.awaitCheckpoint(ctx, s, r, newest, now)
}

// awaitCheckpoint goes on from prepareDecision with the details of the execution,
// the newest one, that r is bound to.
func (o *Operator) awaitCheckpoint(ctx context.Context, s service, r Release, newest record, now snapshot) (Release, time.Duration, error) {
	tasks, err := tasksOf(ctx, s, r)
	if err != nil {
		return o.readFailed(ctx, r, err)
	}
	checkpoint, found := findTask(tasks, r)
	if len(tasks) > 0 && !found {
		return o.end(r, Failed, fmt.Sprintf("the pipeline has no task %q; it has %s", r.Plan.Task, quoted(tasks)))
	}
	if names := waitingAt(tasks, r.Plan.Task); len(names) > 1 {
		return o.end(r, Failed, fmt.Sprintf("%q may be any of the checkpoints that wait now: %s; write which one", r.Plan.Task, strings.Join(names, ", ")))
	}
	status := now.status(now.latest(r.executions()), false)
	r.Status = int(status)
	if !waitsForDecision(checkpoint.Status, status) {
		// Another checkpoint may wait for a person first.
		r = o.waitsForPerson(r, status)
		return o.wait(r, fmt.Sprintf("waits for checkpoint %q (%s) of execution %s (%s)", r.Plan.Task, checkpoint.Status, r.ExecutionID, status))
	}
	r = o.withIntent(r, newest, now.pipeline)
	r.Intent.CheckpointSeen, r.Intent.CheckpointID = checkpoint.Status != StatusNone, checkpoint.ID
	return r, 0, nil
}

// bindExecution returns r bound to the execution that is under way. It is saved
// before anything else: a later step must not take another execution for it.
func (o *Operator) bindExecution(r Release, id string, now snapshot) (Release, time.Duration, error) {
	if status := now.status(id, true); status.Ended() || status == StatusInitial {
		return o.end(r, Failed, fmt.Sprintf("the pipeline has no execution under way: execution %s is %s", id, status))
	}
	r.ExecutionID = id
	r.Reason = fmt.Sprintf("decides checkpoint %q of execution %s", r.Plan.Task, id)
	return r, shortestWait, nil
}

// waitsForDecision reports whether a checkpoint can be decided. A waiting task in
// an execution that neither moves nor waits for approval is left alone: it is
// being stopped or undone. Where the details carry no status of the task, the
// execution's decides.
func waitsForDecision(checkpoint, execution Status) bool {
	if checkpoint == StatusNone {
		return execution == StatusToBeApproved
	}
	return checkpoint == StatusToBeApproved &&
		(execution == StatusToBeApproved || execution == StatusReleasing || execution == StatusNone)
}

// sendDecision decides the checkpoint.
func (o *Operator) sendDecision(ctx context.Context, s service, r Release) (Release, time.Duration, error) {
	got, err := s.act(ctx, r)
	switch {
	case err == nil:
		return o.decided(withResult(r, ResultAccepted, string(got.ID), ""), "")
	case notSent(err):
		return o.decisionRefused(r, err)
	}
	return o.wait(r, fmt.Sprintf("the answer to %s was lost; looking at checkpoint %q: %s", r.Intent.Action, r.Plan.Task, err))
}

// decisionRefused is for a decision that certainly had no effect. When the
// execution may have waited at another checkpoint, ours is tried again.
func (o *Operator) decisionRefused(r Release, refusal error) (Release, time.Duration, error) {
	if retryable(refusal) {
		return o.waitAfter(withoutIntent(r), refusal)
	}
	checkpointSeen := r.Intent.CheckpointSeen
	r = withRefusal(r, refusal)
	if !checkpointSeen && !permanent(refusal) {
		return o.wait(r, fmt.Sprintf("waits for checkpoint %q: %s", r.Plan.Task, refusal))
	}
	return o.end(r, Failed, fmt.Sprintf("the service refused to decide checkpoint %q: %s", r.Plan.Task, refusal))
}

// findDecision looks for the effect of a decision whose answer is not known. It
// never sends, not even when the checkpoint still waits: the first request may
// yet take effect, and a second one would then decide the same checkpoint twice,
// or the next one of the same name.
func (o *Operator) findDecision(ctx context.Context, s service, r Release) (Release, time.Duration, error) {
	now, err := s.look(ctx, r)
	if err != nil {
		return o.readFailed(ctx, r, err)
	}
	if other, newer := now.newerThan(r.executions()...); newer {
		return o.end(withResult(r, ResultUnknown, "", "another execution took over"), Unknown,
			fmt.Sprintf("the answer to %s was lost, and execution %s took over from execution %s before its effect could be seen",
				r.Intent.Action, other.ID, r.ExecutionID))
	}
	tasks, err := tasksOf(ctx, s, r)
	if err != nil {
		return o.readFailed(ctx, r, err)
	}
	checkpoint, _ := findTask(tasks, r)
	switch found := decisionOf(checkpoint.Status, now.status(now.latest(r.executions()), false)); {
	case found == r.Intent.Action:
		return o.decided(withResult(r, ResultAdopted, "", "the answer was lost; the checkpoint shows the decision"),
			"; seen at the checkpoint after the answer was lost")
	case found == rules.ReleaseRefuse:
		return o.end(withResult(r, ResultRefused, "", "the checkpoint was refused by somebody else"), Refused,
			fmt.Sprintf("checkpoint %q of execution %s was refused by somebody else", r.Plan.Task, r.ExecutionID))
	case found == rules.ReleaseApprove:
		return o.end(withResult(r, ResultRefused, "", "the checkpoint was approved by somebody else"), Failed,
			fmt.Sprintf("checkpoint %q of execution %s was approved by somebody else before it could be refused", r.Plan.Task, r.ExecutionID))
	case o.effectMayShow(r):
		return o.wait(r, fmt.Sprintf("the answer to %s was lost; looking at checkpoint %q (%s)", r.Intent.Action, r.Plan.Task, checkpoint.Status))
	}
	return o.end(withResult(r, ResultUnknown, "", "no effect was seen"), Unknown,
		fmt.Sprintf("the answer to %s of checkpoint %q, sent at %s, was lost and no effect was seen within %s (checkpoint: %s); it is not sent again",
			r.Intent.Action, r.Plan.Task, formatTime(r.Intent.SentAt), o.options.EffectTimeout, checkpoint.Status))
}

// decisionOf says how a checkpoint that waited was decided; empty when that
// cannot be told. Where the details carry no status of the task, the execution's
// tells: only an approved checkpoint lets it go on. A failed execution tells
// nothing then, because it can have failed after an approval.
func decisionOf(checkpoint, execution Status) rules.ReleaseAction {
	switch checkpoint {
	case StatusSucceeded, StatusReleasing:
		return rules.ReleaseApprove
	case StatusFailed:
		return rules.ReleaseRefuse
	case StatusNone:
		if execution == StatusSucceeded || execution == StatusReleasing {
			return rules.ReleaseApprove
		}
	}
	return ""
}

// decided ends r: its checkpoint is decided as asked. how is added to the reason.
func (o *Operator) decided(r Release, how string) (Release, time.Duration, error) {
	verb := "approved"
	if r.Intent.Action == rules.ReleaseRefuse {
		verb = "refused"
	}
	r.StartedAt = r.Intent.SentAt
	return o.end(r, Succeeded, fmt.Sprintf("checkpoint %q %s in execution %s%s", r.Plan.Task, verb, r.ExecutionID, how))
}

// message is what goes with the decision: the rule's own, or one that says which
// check stands behind it.
func message(r Release) string {
	if r.Plan.Message != "" {
		return r.Plan.Message
	}
	verdict := "passed"
	if r.Plan.Action == rules.ReleaseRefuse {
		verdict = "failed"
	}
	commit := r.Event.HeadSHA
	return fmt.Sprintf("Gatewright: gate %s, run %s, commit %s", verdict, r.RunID, commit[:min(len(commit), 7)])
}

// findTask returns the task that r decides about: the one that its intent names, or the one
// with the name in its plan, and among several the one that waits.
func findTask(tasks []task, r Release) (task, bool) {
	found := slices.DeleteFunc(slices.Clone(tasks), func(t task) bool {
		if r.Intent != nil && r.Intent.CheckpointID != "" {
			return t.ID != r.Intent.CheckpointID
		}
		return !t.called(r.Plan.Task)
	})
	if len(found) == 0 {
		return task{}, false
	}
	if i := slices.IndexFunc(found, func(t task) bool { return t.Status == StatusToBeApproved }); i >= 0 {
		return found[i], true
	}
	return found[0], true
}

// waitingAt are the checkpoints that wait and are not told apart by a name, quoted. Where the
// service knows them by their names it decides which one is meant.
func waitingAt(tasks []task, name string) []string {
	var names []string
	for _, t := range tasks {
		if t.Status == StatusToBeApproved && t.ID != "" && t.called(name) {
			names = append(names, fmt.Sprintf("%q", t.Name))
		}
	}
	return names
}
