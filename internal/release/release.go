// Package release speaks to ServiceStage and CodeArts Pipeline: it starts release pipelines,
// decides their checkpoints and follows them to the end.
package release

import (
	"slices"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
)

// State is where a release stands.
type State string

const (
	// Held waits with us, for approvals, a window or the end of a freeze: see [Hold].
	Held State = "held"
	// Starting is on its way to its first action: it waits for a free pipeline
	// or for its checkpoint, or its action was sent and its answer is not known.
	Starting State = "starting"
	// Running has an execution that moves.
	Running State = "running"
	// AwaitingApproval has an execution that waits at a checkpoint.
	AwaitingApproval State = "awaiting_approval"
	// Paused has an execution that somebody else paused: a person can continue or stop it.
	Paused State = "paused"
	// Succeeded: the pipeline released, or the checkpoint was decided as asked.
	Succeeded State = "succeeded"
	// Failed: the pipeline or the call failed, or the deadline passed.
	Failed State = "failed"
	// Expired: nobody decided in time, and the execution may still wait.
	Expired State = "expired"
	// Refused: a checkpoint was refused, or the release was.
	Refused State = "refused"
	// Stopped: we stopped the execution, by rule or for a person. ServiceStage shows it as
	// paused, CodeArts Pipeline as canceled.
	Stopped State = "stopped"
	// RolledBack: the execution was undone.
	RolledBack State = "rolled_back"
	// Unknown: an action was sent and its effect is not known; a person must check.
	// It is never sent again.
	Unknown State = "unknown"
)

// ActiveStates lists the states that lead to another one: what a database query
// for releases that have not ended must name. Held is among them.
func ActiveStates() []State { return []State{Held, Starting, Running, AwaitingApproval, Paused} }

// EndStates lists the states that are final.
func EndStates() []State {
	return []State{Succeeded, Failed, Refused, Stopped, RolledBack, Expired, Unknown}
}

// AttentionStates lists the end states after which a person must look at the pipeline.
func AttentionStates() []State { return []State{Failed, Expired, Unknown} }

// States lists the states, in the order in which lists, filters and metrics show them.
func States() []State {
	return []State{Held, Starting, Running, AwaitingApproval, Paused, Succeeded, Failed, Refused, Stopped, RolledBack, Expired, Unknown}
}

// Followed reports whether a release in this state has an execution that is followed.
func (s State) Followed() bool { return s == Running || s == AwaitingApproval || s == Paused }

// Ended reports whether s is final. A state that is not known is.
func (s State) Ended() bool { return !slices.Contains(ActiveStates(), s) }

// Release is one pipeline that a verdict lets us start or decide.
type Release struct {
	ID    string `json:"id"`
	RunID string `json:"run_id"`
	// Index is the place in the rule's list of releases; (RunID, Index) is
	// unique, so that one verdict makes one release, unless a person asks for it again.
	// The decision of a person has a place behind those of the rule.
	Index int           `json:"index"`
	Rule  string        `json:"rule"`
	Plan  rules.Release `json:"plan"`
	// Event is the event whose commit was checked; HeadSHA is the commit.
	Event event.Event `json:"event"`
	// After is the id of the release of the same run that starts this one's
	// pipeline; then only a checkpoint of its execution is decided.
	After string `json:"after,omitempty"`

	// RerunOf is the id of the ended release that this one repeats, because a person
	// asked for it; empty otherwise.
	RerunOf string `json:"rerun_of,omitempty"`
	// Continues is the id of the ended release on whose execution this one acts, because a
	// person asked for it: the plan's action is stop, retry, continue or rollback. Empty
	// otherwise.
	Continues string `json:"continues,omitempty"`
	// DecidedBy is the person whose decision of the checkpoint this is; empty for the
	// rule's own.
	DecidedBy string `json:"decided_by,omitempty"`

	// Withdrawn says why an approval was turned into a refusal: its commit is no
	// longer the one to release, and the execution that waits would keep the
	// pipeline from the newer one. Empty otherwise.
	Withdrawn string `json:"withdrawn,omitempty"`

	State  State  `json:"state"`
	Reason string `json:"reason"`

	// Hold is what the release waited for before it acted; nil where nothing kept it.
	Hold *Hold `json:"hold,omitempty"`

	// Intent announces an action and is committed before that is sent. It stays
	// once the answer is known, and is gone when the service did not act.
	Intent *Intent `json:"intent,omitempty"`
	// ExecutionID is the execution that we started, or whose checkpoint we
	// decide; as text, whatever the service sent.
	ExecutionID string `json:"execution_id,omitempty"`
	// OtherIDs are further ids that the service answered to actions on that execution: it
	// does not say whether they are of the same one (specs/servicestage-release.md 2).
	OtherIDs []string `json:"other_execution_ids,omitempty"`
	// Operation is the action on the execution that is ordered or sent and not finished;
	// nil for none.
	Operation *Operation `json:"operation,omitempty"`
	// Status is the last status that the service sent, as a number of [Status]; 0: none yet.
	Status int `json:"status,omitempty"`
	// Waiting names the checkpoints that wait, as far as the service tells.
	Waiting []string `json:"waiting,omitempty"`
	// WaitingAlso are further names of those checkpoints, by their names in Waiting.
	WaitingAlso map[string][]string `json:"waiting_also,omitempty"`
	// Actions are the requests that were sent, the oldest first, and what came of
	// each.
	Actions []Action `json:"actions,omitempty"`

	// WaitsForPersonSince is since when the execution waits for a person, at a checkpoint
	// or paused; the deadline is then that of the wait. Zero otherwise.
	WaitsForPersonSince time.Time `json:"waits_for_person_since,omitzero"`

	// Known is what the caller tells the next step; it is not stored.
	Known Known `json:"known,omitzero"`

	Polls      int       `json:"polls"`
	Deadline   time.Time `json:"deadline"`
	CreatedAt  time.Time `json:"created_at"`
	StartedAt  time.Time `json:"started_at,omitzero"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
}

// WaitsAt returns the name in Waiting of the checkpoint that is called task, by that or by
// another of its names; false when none is.
func (r Release) WaitsAt(task string) (name string, waits bool) {
	for _, name := range r.Waiting {
		if name == task || slices.Contains(r.WaitingAlso[name], task) {
			return name, true
		}
	}
	return "", false
}

// Known is what a step must know and cannot see at the service.
type Known struct {
	// Outdated says why nothing may be released for the release's commit any more:
	// nothing is retried or continued then. Superseded says that its branch has a newer
	// commit. Both empty otherwise.
	Outdated   string `json:"outdated,omitempty"`
	Superseded string `json:"superseded,omitempty"`
	// LeftPaused are executions of the pipeline that releases of ours began and that none
	// follows any more: a start does not wait for one of them that is paused.
	LeftPaused []string `json:"left_paused,omitempty"`
	// StarterGoesOn: the release that starts the execution may retry it, or a person has ordered
	// something, so that its failure does not yet end the decision of a checkpoint.
	StarterGoesOn bool `json:"starter_goes_on,omitempty"`
}
