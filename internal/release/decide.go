package release

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gatewright/gatewright/internal/rules"
)

// decide sends the approval or the refusal of a checkpoint that waits, once. It
// waits for the execution to come to the checkpoint.
func (o *Operator) decide(ctx context.Context, s service, r Release, save func(context.Context, Release) error) (Release, time.Duration, error) {
	if o.expired(r) {
		return o.finish(r, Failed, fmt.Sprintf("the deadline passed before checkpoint %q could be decided; last: %s", r.Plan.Task, r.Reason))
	}
	if r.After != "" && r.ExecutionID == "" {
		return o.wait(r, fmt.Sprintf("waits for release %s to start its execution", r.After))
	}
	v, err := look(ctx, s, r.Plan.Pipeline)
	if err != nil {
		return o.lookFailed(ctx, r, err)
	}
	if !v.listed {
		return o.finish(r, Failed, fmt.Sprintf("pipeline %s is not among the project's %d pipelines", r.Plan.Pipeline, v.pipelines))
	}
	newest, ok := v.newest()
	if !ok {
		return o.wait(r, "waits for the execution to appear in the records")
	}
	if r.ExecutionID == "" {
		if status := v.status(string(newest.ID), true); status.Ended() || status == StatusInitial {
			return o.finish(r, Failed, fmt.Sprintf("the pipeline has no execution under way: execution %s is %s", newest.ID, status))
		}
		r.ExecutionID = string(newest.ID)
		if err := save(ctx, r); err != nil {
			return r, 0, fmt.Errorf("save execution of checkpoint %q: %w", r.Plan.Task, err)
		}
	}
	if other, over := v.overtaken(r.ExecutionID); over {
		return o.finish(r, Failed, fmt.Sprintf("execution %s took over from execution %s before checkpoint %q was decided",
			other.ID, r.ExecutionID, r.Plan.Task))
	}
	if string(newest.ID) != r.ExecutionID {
		return o.wait(r, fmt.Sprintf("waits for execution %s to appear in the records", r.ExecutionID))
	}
	status := v.status(r.ExecutionID, false)
	if status.Ended() {
		return o.finish(r, Failed, fmt.Sprintf("execution %s ended before checkpoint %q was decided: %s", r.ExecutionID, r.Plan.Task, status))
	}

	tasks, err := s.tasks(ctx, r.Plan.Pipeline)
	if err != nil {
		return o.lookFailed(ctx, r, err)
	}
	checkpoint, found := findTask(tasks, r.Plan.Task)
	if len(tasks) > 0 && !found {
		return o.finish(r, Failed, fmt.Sprintf("the pipeline has no task %q; it has %s", r.Plan.Task, quoted(tasks)))
	}
	r.Status = int(status)
	told := checkpoint.Status != StatusNone
	if !waits(checkpoint.Status, status) {
		return o.wait(r, fmt.Sprintf("waits for checkpoint %q (%s) of execution %s (%s)", r.Plan.Task, checkpoint.Status, r.ExecutionID, status))
	}

	return o.sendDecision(ctx, s, r, o.intend(r, newest, v.pipeline), save, told)
}

// waits reports whether a checkpoint can be decided. A waiting task in an
// execution that neither moves nor waits for approval is left alone: it is being
// stopped or undone. Where the details carry no status of the task, the
// execution's decides.
func waits(checkpoint, execution Status) bool {
	if checkpoint == StatusNone {
		return execution == StatusToBeApproved
	}
	return checkpoint == StatusToBeApproved &&
		(execution == StatusToBeApproved || execution == StatusReleasing || execution == StatusNone)
}

// sendDecision commits the intent and sends the decision. told says that the
// details showed the checkpoint itself waiting; without that the execution may
// wait at another one.
func (o *Operator) sendDecision(ctx context.Context, s service, before, r Release, save func(context.Context, Release) error, told bool) (Release, time.Duration, error) {
	if err := save(ctx, r); err != nil {
		return before, 0, fmt.Errorf("save intent to decide checkpoint %q: %w", r.Plan.Task, err)
	}
	got, err := s.decide(ctx, r.Plan.Pipeline, approvalBody{
		TaskName: r.Plan.Task, ApprovalType: r.Intent.Action, Message: message(r),
	})
	switch {
	case err == nil:
		return o.decided(o.settled(r, outcomeAccepted, string(got.ID), ""), "")
	case notSent(err):
		return o.decisionRefused(ctx, r, save, err, told)
	}
	return o.wait(r, fmt.Sprintf("the answer to %s was lost; looking at checkpoint %q: %s", r.Intent.Action, r.Plan.Task, err))
}

// decisionRefused is for a decision that certainly had no effect. When the
// execution may have waited at another checkpoint, ours is tried again.
func (o *Operator) decisionRefused(ctx context.Context, r Release, save func(context.Context, Release) error, refusal error, told bool) (Release, time.Duration, error) {
	r = o.takenBack(r, refusal)
	if err := save(ctx, r); err != nil {
		return r, 0, fmt.Errorf("take back intent to decide checkpoint %q: %w", r.Plan.Task, err)
	}
	if retryable(refusal) {
		return r, 0, refusal
	}
	if !told && !hopeless(refusal) {
		return o.wait(r, fmt.Sprintf("waits for checkpoint %q: %s", r.Plan.Task, refusal))
	}
	return o.finish(r, Failed, fmt.Sprintf("the service refused to decide checkpoint %q: %s", r.Plan.Task, refusal))
}

// settleDecision looks for the effect of a decision whose answer is not known.
// It never sends, not even when the checkpoint still waits: the first request
// may yet take effect, and a second one would then decide the same checkpoint
// twice, or the next one of the same name.
func (o *Operator) settleDecision(ctx context.Context, s service, r Release) (Release, time.Duration, error) {
	v, err := look(ctx, s, r.Plan.Pipeline)
	if err != nil {
		return o.lookFailed(ctx, r, err)
	}
	if other, over := v.overtaken(r.ExecutionID); over {
		return o.finish(o.settled(r, outcomeUnknown, "", "another execution took over"), Unknown,
			fmt.Sprintf("the answer to %s was lost, and execution %s took over from execution %s before its effect could be seen",
				r.Intent.Action, other.ID, r.ExecutionID))
	}
	tasks, err := s.tasks(ctx, r.Plan.Pipeline)
	if err != nil {
		return o.lookFailed(ctx, r, err)
	}
	checkpoint, _ := findTask(tasks, r.Plan.Task)
	switch verdict := verdictOf(checkpoint.Status, v.status(r.ExecutionID, false)); {
	case verdict == r.Intent.Action:
		return o.decided(o.settled(r, outcomeAdopted, "", "the answer was lost; the checkpoint shows the decision"),
			"; seen at the checkpoint after the answer was lost")
	case verdict == approvalRefuse:
		return o.finish(o.settled(r, outcomeRefused, "", "the checkpoint was refused by somebody else"), Refused,
			fmt.Sprintf("checkpoint %q of execution %s was refused by somebody else", r.Plan.Task, r.ExecutionID))
	case verdict == approvalAgree:
		return o.finish(o.settled(r, outcomeRefused, "", "the checkpoint was approved by somebody else"), Failed,
			fmt.Sprintf("checkpoint %q of execution %s was approved by somebody else before it could be refused", r.Plan.Task, r.ExecutionID))
	case o.settling(r):
		return o.wait(r, fmt.Sprintf("the answer to %s was lost; looking at checkpoint %q (%s)", r.Intent.Action, r.Plan.Task, checkpoint.Status))
	}
	return o.finish(o.settled(r, outcomeUnknown, "", "no effect was seen"), Unknown,
		fmt.Sprintf("the answer to %s of checkpoint %q, sent at %s, was lost and no effect was seen within %s (checkpoint: %s); it is not sent again",
			r.Intent.Action, r.Plan.Task, stamp(r.Intent.SentAt), o.options.SettleFor, checkpoint.Status))
}

// verdictOf says how a checkpoint that waited was decided: agree, refuse, or
// empty when that cannot be told. Where the details carry no status of the
// task, the execution's tells: only an agreed checkpoint lets it go on. A failed
// execution tells nothing then, because it can have failed after an approval.
func verdictOf(checkpoint, execution Status) string {
	switch checkpoint {
	case StatusSucceeded, StatusReleasing:
		return approvalAgree
	case StatusFailed:
		return approvalRefuse
	case StatusNone:
		if execution == StatusSucceeded || execution == StatusReleasing {
			return approvalAgree
		}
	}
	return ""
}

// decided ends r: what it was asked to do is done, whichever way.
func (o *Operator) decided(r Release, how string) (Release, time.Duration, error) {
	verb := "approved"
	if r.Intent.Action == approvalRefuse {
		verb = "refused"
	}
	r.StartedAt = r.Intent.SentAt
	return o.finish(r, Succeeded, fmt.Sprintf("checkpoint %q %s in execution %s%s", r.Plan.Task, verb, r.ExecutionID, how))
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

// findTask returns the task with this name, and among several the one that waits.
func findTask(tasks []task, name string) (task, bool) {
	found := slices.DeleteFunc(slices.Clone(tasks), func(t task) bool { return t.Name != name })
	if len(found) == 0 {
		return task{}, false
	}
	if i := slices.IndexFunc(found, func(t task) bool { return t.Status == StatusToBeApproved }); i >= 0 {
		return found[i], true
	}
	return found[0], true
}
