package release

import (
	"fmt"
	"slices"
	"time"

	"github.com/gatewright/gatewright/internal/rules"
)

// Intent announces an action, with what we saw of the pipeline before it.
type Intent struct {
	SentAt time.Time           `json:"sent_at"`
	Action rules.ReleaseAction `json:"action"`
	// LastExecutionID is the newest execution in the records before ours.
	LastExecutionID string `json:"last_execution_id,omitempty"`
	// LastTriggerAt is the pipeline's last trigger time in milliseconds.
	LastTriggerAt int64 `json:"last_trigger_at,omitempty"`
	// Taken are the executions that other releases of the pipeline had begun when the
	// intent was committed, the newest ones. The look before the commit may be older than
	// they are; none of them is ours.
	Taken []string `json:"taken,omitempty"`
	// CheckpointSeen says that the details showed the checkpoint itself waiting.
	// Without that the execution may wait at another one.
	CheckpointSeen bool `json:"checkpoint_seen,omitempty"`
	// CheckpointID is what the service wants in the decision; empty where that is the name.
	CheckpointID string `json:"checkpoint_id,omitempty"`
	// Queued says that the service has put the start into a queue of its own: it shows when
	// others have ended.
	Queued bool `json:"queued,omitempty"`
}

// Action is one request that changed something, or tried to.
type Action struct {
	Name rules.ReleaseAction `json:"name"`
	Task string              `json:"task,omitempty"`
	// By is the person who ordered an action on the execution, and Reason why it was
	// ordered; By is empty for the rule's own.
	By          string    `json:"by,omitempty"`
	Reason      string    `json:"reason,omitempty"`
	At          time.Time `json:"at"`
	ExecutionID string    `json:"execution_id,omitempty"`
	Result      Result    `json:"result"`
	Detail      string    `json:"detail,omitempty"`
}

// Result is what came of an Action.
type Result string

const (
	// ResultAccepted: the service answered that it does what was asked.
	ResultAccepted Result = "accepted"
	// ResultAdopted: the answer was lost, and the pipeline showed the effect later.
	ResultAdopted Result = "adopted"
	// ResultRefused: the action certainly had no effect.
	ResultRefused Result = "refused"
	// ResultUnknown: whether the action had an effect is not known, or not yet.
	ResultUnknown Result = "unknown"
)

// Results lists every result of an action.
func Results() []Result {
	return []Result{ResultAccepted, ResultAdopted, ResultRefused, ResultUnknown}
}

// ActionResult returns the action whose result is known in after and was not yet
// in before, the version of the same release that was saved last; false when
// there is none. A request that never reached the service, or that it put off,
// has no result: it is sent again under another intent.
func ActionResult(before, after Release) (Action, bool) {
	if !before.Unanswered() || after.Unanswered() || len(after.Actions) == 0 {
		return Action{}, false
	}
	last := after.Actions[len(after.Actions)-1]
	return last, last.At.Equal(before.sentAt())
}

// Unanswered reports whether an action was announced whose result is not known.
func (r Release) Unanswered() bool {
	return r.State == Starting && r.Intent != nil || r.operationUnanswered()
}

func (r Release) operationUnanswered() bool {
	return r.Operation != nil && !r.Operation.SentAt.IsZero() && !r.Operation.Answered
}

// JustSent reports whether an intent was committed less than d ago, and neither an answer nor
// its loss was saved since: another step may be sending it.
func (r Release) JustSent(now time.Time, d time.Duration) bool {
	return r.Unanswered() && r.Polls == 0 && now.Sub(r.sentAt()).Abs() < d
}

// sentAt is when the action of an unanswered release was sent, or the operation that was
// answered last; unanswered is that action.
func (r Release) sentAt() time.Time {
	if r.Operation != nil {
		return r.Operation.SentAt
	}
	return r.Intent.SentAt
}

func (r Release) unanswered() rules.ReleaseAction {
	if r.Operation != nil {
		return r.Operation.Action
	}
	return r.Intent.Action
}

// withIntent returns r with the intent to send its action. Until an answer is
// known the action's result is unknown; the search for its effect begins with
// the shortest wait.
func (o *Operator) withIntent(r Release, last record, p pipeline) Release {
	now := o.options.Now()
	r.Intent = &Intent{
		SentAt:          now,
		Action:          r.Plan.Action,
		LastExecutionID: string(last.ID),
		LastTriggerAt:   int64(p.LastTriggerAt),
	}
	r.Polls = 0
	r.Reason = fmt.Sprintf("%s is sent; its answer is not known yet", r.Intent.Action)
	r.Actions = append(slices.Clone(r.Actions), Action{
		Name: r.Intent.Action, Task: r.Plan.Task, At: now, ExecutionID: r.ExecutionID, Result: ResultUnknown,
	})
	return r
}

// withResult returns r with the result of its last action, and with the
// execution that this began.
func withResult(r Release, result Result, execution, detail string) Release {
	r.Actions = slices.Clone(r.Actions)
	if len(r.Actions) == 0 { // an intent that was restored without its entry
		r.Actions = []Action{{Name: r.Intent.Action, Task: r.Plan.Task, At: r.Intent.SentAt}}
	}
	last := &r.Actions[len(r.Actions)-1]
	last.Result, last.Detail = result, detail
	if execution != "" {
		last.ExecutionID = execution
	}
	if r.ExecutionID == "" {
		r.ExecutionID = last.ExecutionID
	}
	return r
}

// withoutIntent returns r without its intent and the entry of its action, for a
// request that never reached the service or that it put off.
func withoutIntent(r Release) Release {
	r.Actions = slices.Clone(r.Actions[:max(len(r.Actions)-1, 0)])
	r.Intent = nil
	return r
}

// withRefusal returns r without its intent, for an action that the service
// refused. Of refusals in a row only the last leaves an entry.
func withRefusal(r Release, refusal error) Release {
	r = withResult(r, ResultRefused, "", refusal.Error())
	if n := len(r.Actions); n > 1 && r.Actions[n-2].Result == ResultRefused {
		r.Actions = slices.Delete(r.Actions, n-2, n-1)
	}
	r.Intent = nil
	return r
}
