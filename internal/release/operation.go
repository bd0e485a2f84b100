package release

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/rules"
)

// Operation is an action on the execution of a release, stop, retry, continue or
// rollback, from its order until its effect shows. ServiceStage takes it for the pipeline
// and not for an execution, so there it is sent only while the newest execution is ours.
type Operation struct {
	Action rules.ReleaseAction `json:"action"`
	// By is the person who ordered it; empty for the rule.
	By string `json:"by,omitempty"`
	// Reason is why it was ordered.
	Reason string `json:"reason"`
	// SentAt is committed before it is sent; zero before.
	SentAt time.Time `json:"sent_at,omitzero"`
	// Before is the status that the execution had before it was sent.
	Before int `json:"before,omitempty"`
	// Answered: the service accepted it, and its effect may not show yet.
	Answered bool `json:"answered,omitempty"`
	// Confirmed: the answer itself showed the effect. Then the old status is waited for no
	// longer than two looks: an execution that is retried may fail again between two.
	Confirmed bool `json:"confirmed,omitempty"`
}

// stopTime is how long an execution may take to stop at least, also after its deadline.
const stopTime = 10 * time.Minute

// allowedIn lists the statuses in which the service takes an action on an execution
// (specs/servicestage-release.md 2).
func allowedIn(action rules.ReleaseAction) []Status {
	switch action {
	case rules.ReleaseStop:
		return []Status{StatusReleasing, StatusToBeApproved, StatusSuspended}
	case rules.ReleaseRetry:
		return []Status{StatusFailed, StatusCanceled}
	case rules.ReleaseContinue:
		return []Status{StatusPaused}
	case rules.ReleaseRollback:
		return []Status{StatusSucceeded, StatusFailed}
	}
	return nil
}

// effectsOf lists the statuses that show the effect of an action.
func effectsOf(action rules.ReleaseAction) []Status {
	switch action {
	case rules.ReleaseStop:
		return []Status{StatusStopping, StatusPaused, StatusCanceled}
	case rules.ReleaseRetry:
		return []Status{StatusRestarting, StatusReleasing, StatusToBeApproved, StatusSucceeded}
	case rules.ReleaseContinue:
		return []Status{StatusRestarting, StatusReleasing, StatusToBeApproved, StatusSucceeded, StatusFailed}
	case rules.ReleaseRollback:
		return []Status{StatusRollingBack, StatusRolledBack, StatusRollbackFailed}
	}
	return nil
}

// becomesAllowed reports whether an execution in a status gets by itself into one in which
// the action may be taken.
func becomesAllowed(action rules.ReleaseAction, s Status) bool {
	return s == StatusNone || s == StatusStopping || s == StatusRestarting && action == rules.ReleaseStop
}

// Order returns r with the order to take an action on its execution; Follow carries it
// out. by is a person, or empty for the rule. The release has its whole time again, and for
// a stop at least ten minutes.
func (r Release) Order(action rules.ReleaseAction, by, reason string, now time.Time) Release {
	r.Operation = &Operation{Action: action, By: by, Reason: reason}
	r.Polls = 0
	switch until := now.Add(stopTime); {
	case action != rules.ReleaseStop && r.Plan.Timeout > 0:
		r.Deadline, r.WaitsForPersonSince = now.Add(r.Plan.Timeout), time.Time{}
	case action == rules.ReleaseStop && r.Deadline.Before(until):
		r.Deadline, r.WaitsForPersonSince = until, time.Time{}
	}
	r.Reason = fmt.Sprintf("%s is ordered: %s", action, reason)
	return r
}

// operate goes on with the operation of r. goOn is true when it is finished or was dropped:
// then r is to be followed as if it had none.
func (o *Operator) operate(r Release, now snapshot, status Status) (next Release, wait time.Duration, goOn bool) {
	other, overtaken := now.newerThan(r.executions()...)
	switch op := r.Operation; {
	case op.SentAt.IsZero():
		return o.prepareOperation(r, now, status)
	case !op.Answered:
		return o.findOperation(r, now, status)
	case status != StatusNone && int(status) != op.Before:
		return withoutOperation(r), 0, true
	case overtaken:
		next, wait, _ = o.end(r, Unknown, fmt.Sprintf("%s of execution %s was accepted, and execution %s appeared before its effect did: it is not known whether that is the one that goes on",
			op.Action, r.ExecutionID, other.ID))
		return next, wait, false
	case o.effectMayShow(r) && !(op.Confirmed && o.options.Now().Sub(op.SentAt) >= 2*o.options.Poll.Max):
		next, wait, _ = o.wait(r, fmt.Sprintf("%s of execution %s was accepted; its effect does not show yet (%s)", op.Action, r.ExecutionID, status))
		return next, wait, false
	case op.Action == rules.ReleaseRollback:
		next, wait, _ = o.end(r, Unknown, fmt.Sprintf("rollback of execution %s was accepted at %s, and no effect was seen within %s: it is %s",
			r.ExecutionID, formatTime(op.SentAt), o.options.EffectTimeout, Status(r.Status)))
		return next, wait, false
	}
	// What was retried may have failed again between two looks.
	return withoutOperation(r), 0, true
}

// prepareOperation returns r with the intent to send its operation, once the execution is
// in a status that allows it. What cannot be sent any more is dropped, and an entry says
// why.
func (o *Operator) prepareOperation(r Release, now snapshot, status Status) (next Release, wait time.Duration, goOn bool) {
	op := *r.Operation
	other, overtaken := now.newerThan(r.executions()...)
	allowed := slices.Contains(allowedIn(op.Action), status)
	switch {
	case !r.Plan.Target.Offers(op.Action):
		return o.notSent(r, fmt.Sprintf("%s has no %s", r.Plan.Target.Name(), op.Action))
	case op.Action.Releases() && r.Known.Outdated != "":
		return o.notSentAs(Refused, r, r.Known.Outdated)
	case overtaken:
		return o.notSent(r, fmt.Sprintf("execution %s of the pipeline is newer than ours, %s", other.ID, r.ExecutionID))
	case op.Action == rules.ReleaseStop && status == StatusPaused:
		next, wait, _ = o.end(r, Stopped, fmt.Sprintf("execution %s is paused already, so no stop was sent: %s", r.ExecutionID, op.Reason))
		return next, wait, false
	case !allowed && !becomesAllowed(op.Action, status):
		return o.notSent(r, fmt.Sprintf("execution %s is %s", r.ExecutionID, status))
	case o.expired(r):
		next, wait, _ = o.end(r, Failed, fmt.Sprintf("the deadline passed before %s could be sent to execution %s; last: %s", op.Action, r.ExecutionID, status))
		return next, wait, false
	case status == StatusNone:
		next, wait, _ = o.wait(r, fmt.Sprintf("%s waits for execution %s to appear in the records with its status", op.Action, r.ExecutionID))
		return next, wait, false
	case !allowed:
		next, wait, _ = o.wait(r, fmt.Sprintf("%s waits: execution %s is %s", op.Action, r.ExecutionID, status))
		return next, wait, false
	case !now.actsOn(r.executions()):
		next, wait, _ = o.wait(r, fmt.Sprintf("%s waits for execution %s to appear in the records", op.Action, r.ExecutionID))
		return next, wait, false
	}
	op.SentAt, op.Before = o.options.Now(), int(status)
	r.Operation, r.Polls = &op, 0
	r.Reason = fmt.Sprintf("%s is sent; its answer is not known yet", op.Action)
	r.Actions = append(slices.Clone(r.Actions), o.entry(r, ResultUnknown, ""))
	return r, 0, false
}

// entry is what is kept of the operation of r.
func (o *Operator) entry(r Release, result Result, detail string) Action {
	op := r.Operation
	at := op.SentAt
	if at.IsZero() {
		at = o.options.Now()
	}
	return Action{Name: op.Action, By: op.By, Reason: op.Reason, At: at, ExecutionID: r.ExecutionID, Result: result, Detail: detail}
}

// notSent drops the operation of r. A release that was made for it has failed then.
func (o *Operator) notSent(r Release, why string) (next Release, wait time.Duration, goOn bool) {
	return o.notSentAs(Failed, r, why)
}

// notSentAs is notSent for a release that ends in a state of its own.
func (o *Operator) notSentAs(end State, r Release, why string) (next Release, wait time.Duration, goOn bool) {
	r.Actions = append(slices.Clone(r.Actions), o.entry(r, ResultRefused, "not sent: "+why))
	action := r.Operation.Action
	r = withoutOperation(r)
	if r.Continues != "" && r.Untouched() {
		next, wait, _ = o.end(r, end, fmt.Sprintf("%s was not sent: %s", action, why))
		return next, wait, false
	}
	r.Reason = fmt.Sprintf("%s was not sent: %s", action, why)
	return r, 0, true
}

// findOperation looks for the effect of an operation whose answer is not known. It never
// sends.
func (o *Operator) findOperation(r Release, now snapshot, status Status) (next Release, wait time.Duration, goOn bool) {
	op := r.Operation
	other, overtaken := now.newerThan(r.executions()...)
	end := func(detail, reason string) (Release, time.Duration, bool) {
		next, wait, _ := o.end(withOperationResult(r, ResultUnknown, "", detail), Unknown, reason)
		return next, wait, false
	}
	switch {
	case overtaken:
		return end("another execution took over", fmt.Sprintf("the answer to %s was lost, and execution %s took over from execution %s before its effect could be seen",
			op.Action, other.ID, r.ExecutionID))
	case slices.Contains(effectsOf(op.Action), status):
		return withoutOperation(withOperationResult(r, ResultAdopted, "", "the answer was lost; the execution shows the effect")), 0, true
	case status != StatusNone && int(status) != op.Before:
		// It moved by itself, or somebody else moved it.
		return withoutOperation(withOperationResult(r, ResultUnknown, "", fmt.Sprintf("the answer was lost; the execution is %s", status))), 0, true
	case o.effectMayShow(r):
		next, wait, _ = o.wait(r, fmt.Sprintf("the answer to %s was lost; looking at execution %s (%s)", op.Action, r.ExecutionID, status))
		return next, wait, false
	case r.Continues == "" && (op.Action == rules.ReleaseStop || op.Action == rules.ReleaseContinue):
		// Where the execution stands is known: it is followed further.
		return withoutOperation(withOperationResult(r, ResultUnknown, "", "the answer was lost and no effect was seen")), 0, true
	}
	return end("no effect was seen", fmt.Sprintf("the answer to %s of execution %s, sent at %s, was lost and no effect was seen within %s (%s); it is not sent again",
		op.Action, r.ExecutionID, formatTime(op.SentAt), o.options.EffectTimeout, status))
}

// sendOperation sends the operation of r. The intent is committed, so that no other release
// can act on the pipeline; somebody else may have, and so the pipeline is read once more.
func (o *Operator) sendOperation(ctx context.Context, s service, r Release) (Release, time.Duration, error) {
	op := r.Operation
	now, err := s.look(ctx, r)
	if err != nil {
		return o.waitAfter(r.TakenBack(), err)
	}
	newest, _ := now.newest()
	status := now.status(now.latest(r.executions()), true)
	if !now.actsOn(r.executions()) || int(status) != op.Before {
		r = r.TakenBack()
		r.Reason = fmt.Sprintf("the pipeline moved before %s was sent: %s", op.Action, describe(newest))
		return r, shortestWait, nil
	}
	got, err := s.act(ctx, r)
	switch {
	case err == nil:
		r = withOperationResult(r, ResultAccepted, string(got.ID), "")
		answered := *op
		answered.Answered, answered.Confirmed = true, slices.Contains(effectsOf(op.Action), got.Status)
		r.Operation = &answered
		return o.wait(r, fmt.Sprintf("%s of execution %s was accepted", op.Action, r.ExecutionID))
	case notSent(err) && retryable(err):
		return o.waitAfter(r.TakenBack(), err)
	case notSent(err):
		r = withoutOperation(withOperationResult(r, ResultRefused, "", err.Error()))
		if r.Continues != "" && r.Untouched() {
			return o.end(r, Failed, fmt.Sprintf("the service refused the %s of execution %s: %s", op.Action, r.ExecutionID, err))
		}
		return o.wait(r, fmt.Sprintf("the service refused the %s of execution %s: %s", op.Action, r.ExecutionID, err))
	}
	return o.wait(r, fmt.Sprintf("the answer to %s was lost; looking for its effect: %s", op.Action, err))
}

// nextStep is what the rule wants done after another failure of the execution; false when
// all of it was done. A retry that was refused is not repeated. After a person's stop the
// rule does nothing more, also when the execution failed before that was sent.
func nextStep(r Release) (rules.ReleaseAction, bool) {
	retries, rolledBack := 0, false
	for _, a := range r.Actions {
		switch {
		case a.By != "" && a.Name == rules.ReleaseStop:
			return "", false
		case a.By != "":
		case a.Name == rules.ReleaseRetry && a.Result == ResultRefused:
			retries = r.Plan.Retries()
		case a.Name == rules.ReleaseRetry:
			retries++
		case a.Name == rules.ReleaseRollback:
			rolledBack = true
		}
	}
	switch {
	case retries < r.Plan.Retries() && r.Known.Outdated == "":
		return rules.ReleaseRetry, true
	case r.Plan.RollsBack() && !rolledBack:
		return rules.ReleaseRollback, true
	}
	return "", false
}

// mayStop reports whether the rule may stop the execution of r now: it does so once.
func mayStop(r Release, status Status) bool {
	tried := slices.ContainsFunc(r.Actions, func(a Action) bool { return a.Name == rules.ReleaseStop && a.By == "" })
	return !tried && (slices.Contains(allowedIn(rules.ReleaseStop), status) || status == StatusRestarting || status == StatusPaused)
}

// lastSent is the last action of r that may have had an effect; false when there is none.
func lastSent(r Release) (Action, bool) {
	for _, a := range slices.Backward(r.Actions) {
		if a.Result != ResultRefused {
			return a, true
		}
	}
	return Action{}, false
}

// BegunAt is when the execution of r was started, or retried last.
func (r Release) BegunAt() time.Time {
	at := r.StartedAt
	for _, a := range r.Actions {
		if a.Name == rules.ReleaseRetry && a.Result != ResultRefused && a.At.After(at) {
			at = a.At
		}
	}
	return at
}

// Untouched reports whether no action of r can have had an effect.
func (r Release) Untouched() bool {
	_, sent := lastSent(r)
	return !sent
}

// stopped returns the stop that r sent last; false when it sent something else since.
func (r Release) stopped() (Action, bool) {
	last, sent := lastSent(r)
	return last, sent && last.Name == rules.ReleaseStop
}

// remarks are what a reason adds of the operations that were not carried out: those of the
// rule, and a person's stop.
func remarks(r Release) string {
	var text strings.Builder
	for _, a := range r.Actions {
		ofRule := a.By == "" && (a.Name == rules.ReleaseRetry || a.Name == rules.ReleaseRollback)
		if (ofRule || a.By != "" && a.Name == rules.ReleaseStop) && a.Result != ResultAccepted && a.Result != ResultAdopted {
			fmt.Fprintf(&text, "; %s %s: %s", a.Name, a.Result, a.Detail)
		}
	}
	if r.Plan.Retries() > 0 && r.Known.Outdated != "" {
		text.WriteString("; not retried: " + r.Known.Outdated)
	}
	return text.String()
}

// withOperationResult returns r with the result of the operation that was sent last, and
// with the execution that the service named.
func withOperationResult(r Release, result Result, execution, detail string) Release {
	r.Actions = slices.Clone(r.Actions)
	last := &r.Actions[len(r.Actions)-1]
	last.Result, last.Detail = result, detail
	if execution != "" && !slices.Contains(r.executions(), execution) {
		r.OtherIDs = append(slices.Clone(r.OtherIDs), execution)
	}
	if execution != "" {
		last.ExecutionID = execution
	}
	return r
}

// withoutOperation returns r with nothing left to be done.
func withoutOperation(r Release) Release {
	r.Operation = nil
	return r
}

// TakenBack returns r, whose operation was about to be sent, with that ordered and not sent.
func (r Release) TakenBack() Release {
	op := *r.Operation
	op.SentAt, op.Before = time.Time{}, 0
	r.Operation = &op
	r.Actions = slices.Clone(r.Actions[:max(len(r.Actions)-1, 0)])
	return r
}

// executions are the ids under which the service may show the execution of r.
func (r Release) executions() []string { return append([]string{r.ExecutionID}, r.OtherIDs...) }
