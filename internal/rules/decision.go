package rules

import (
	"slices"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

// Outcome is the answer of the rules to an event, in one word.
type Outcome string

const (
	// Matched: at least one rule asks for a check.
	Matched Outcome = "matched"
	// Ignored: the deciding rule says `ignore: true`.
	Ignored Outcome = "ignored"
	// NoMatch: no rule matched.
	NoMatch Outcome = "no_match"
)

// Decision is the answer of the rules to one event, with the trace of the rules
// and clauses that were tried.
type Decision struct {
	Event   event.Event `json:"event"`
	Outcome Outcome     `json:"outcome"`
	// Reason is one sentence that says why the outcome is what it is.
	Reason string `json:"reason"`
	// Matches holds the rules that ask for a check, in the order of the file;
	// more than one only where a rule says `continue: true`.
	Matches []Match `json:"matches"`
	// Trace has one entry a rule, in the order of the file. Every rule that
	// matched is in it; Decide says which of the others may be left out.
	Trace []RuleTrace `json:"trace"`
	// Omitted is the number of rules that Trace leaves out.
	Omitted int `json:"omitted,omitempty"`
	// Files says which changed files were compared; nil where none were.
	Files *ComparedFiles `json:"files,omitempty"`
	// NeedsTrust is given where nothing is checked until somebody vouches for the commit of a fork.
	NeedsTrust *NeedsTrust `json:"needs_trust,omitempty"`
}

// Match is one rule that matched and what it asks for.
type Match struct {
	Rule     string    `json:"rule"`
	Check    Check     `json:"check"`
	Releases []Release `json:"releases"`
}

// Result is what became of one rule.
type Result string

const (
	// RuleMatched: every clause of the rule holds.
	RuleMatched Result = "matched"
	// RuleSkipped: a clause of the rule does not hold.
	RuleSkipped Result = "skipped"
	// RuleNotTried: a rule above matched and does not continue.
	RuleNotTried Result = "not_tried"
)

// RuleTrace says what became of one rule and why.
type RuleTrace struct {
	Rule   string `json:"rule"`
	Result Result `json:"result"`
	// Reason is the text that explain prints behind the rule's name.
	Reason string `json:"reason"`
	// File and Line say where the rule is.
	File string `json:"file"`
	Line int    `json:"line"`
	// Clauses are those that were tried, in the order of trying: up to and with
	// the first that does not hold.
	Clauses []Clause `json:"clauses"`
}

// Clause is one condition of a rule, as it was tried.
type Clause struct {
	// Field is the key in the rules file: on, connection, repository, branch …
	Field string `json:"field"`
	Holds bool   `json:"holds"`
	// Text says which values were compared, e.g.
	// `branch "main" matches "main"` or `event is push, rule wants merge_request`.
	Text string `json:"text"`
}

// Scan says how much of the code a check scans.
type Scan string

const (
	// ScanFull scans the whole branch.
	ScanFull Scan = "full"
	// ScanIncremental scans what a merge request changes.
	ScanIncremental Scan = "incremental"
)

// RefMode says which `ref` a run of a merge request's task sends.
type RefMode string

const (
	// RefAuto sends what the documents say for the host, and tries the other
	// once when the code could not be pulled.
	RefAuto RefMode = "auto"
	// RefPull and RefMergeRequest send that word; RefOmit sends none.
	RefPull         RefMode = "pull"
	RefMergeRequest RefMode = "merge_request"
	RefOmit         RefMode = "omit"
)

// Check is what a rule asks CodeArts Check to do, with the defaults filled in.
type Check struct {
	// ProjectID is the CodeArts project (32 hex digits), not the IAM project.
	ProjectID   string `json:"project_id"`
	ProjectName string `json:"project_name"`
	// Account is the account of Huawei Cloud; empty: the server file's huaweicloud.
	Account string `json:"account,omitempty"`
	// Scan is resolved for the event: incremental for merge requests and full
	// for the rest, unless the rule says otherwise.
	Scan Scan    `json:"scan"`
	Ref  RefMode `json:"ref"`
	// Languages are CodeArts Check's names; empty means that they are detected.
	Languages []string `json:"languages"`
	// TaskName is the name for a task that has to be created, with its
	// placeholders filled in but not yet made legal or unique.
	TaskName string `json:"task_name"`
	// AuthID is the id of the project's code-source extension point, which V3
	// wants for every repository outside CodeArts Repo.
	AuthID string `json:"auth_id,omitempty"`
	// CheckMode says what an incremental scan looks at; empty: the service decides.
	CheckMode CheckMode `json:"check_mode,omitempty"`
	// RepoType overrides the V3 `repo_type` that the host gives; empty: by host.
	RepoType string `json:"repo_type,omitempty"`
	// AuthType is the V3 `authType`; empty: the repo_type.
	AuthType string `json:"auth_type,omitempty"`
	// RuleSets are the rule sets of a task that has to be created; empty: the project's
	// default of each language.
	RuleSets []RuleSet `json:"rule_sets,omitempty"`
	// TaskID is the task that is run, or the full task of an incremental scan; empty: it
	// is found by repository and branch, or created.
	TaskID string `json:"task_id,omitempty"`
	// Repository says whose code a task scans; empty: its own.
	Repository RepositoryMode `json:"repository,omitempty"`
	// Supersede ends older runs of the same branch or merge request.
	Supersede bool `json:"supersede"`
	// LetFinish narrows Supersede to runs that have no execution yet.
	LetFinish bool `json:"let_finish,omitempty"`
	// Priority orders what waits for a free place (max_runs); empty: by the event.
	Priority Priority `json:"priority,omitempty"`
	// Debounce lets a run wait for a newer commit before it starts; nil does not.
	Debounce *Debounce `json:"debounce,omitempty"`
	// Timeout is how long a run may take from its creation to its end.
	Timeout time.Duration `json:"timeout"`
	Gate    Gate          `json:"gate"`
}

// Priority says which runs start first where not all can.
type Priority string

const (
	// PriorityHigh is the default of merge requests.
	PriorityHigh Priority = "high"
	// PriorityNormal is the default of everything else.
	PriorityNormal Priority = "normal"
	PriorityLow    Priority = "low"
)

// PriorityOf is the priority of the check for an event.
func (c Check) PriorityOf(ev event.Event) Priority {
	switch {
	case c.Priority != "":
		return c.Priority
	case ev.Number != 0:
		return PriorityHigh
	}
	return PriorityNormal
}

// Debounce says how long a run waits for a newer commit: until none came for Quiet, and not
// longer than Max after the first of a series. Both are above 0.
type Debounce struct{ Quiet, Max time.Duration }

// CheckMode says what an incremental scan looks at (specs/codearts-check.md 1.14).
type CheckMode string

const (
	// CheckChangedCode: the lines that the merge request changes.
	CheckChangedCode CheckMode = "changed_code"
	// CheckChangedFiles: the files that it changes.
	CheckChangedFiles CheckMode = "changed_files"
	// CheckFull: all of the code, as the merge request leaves it.
	CheckFull CheckMode = "full"
)

// RuleSet is the rule set that checks one language.
type RuleSet struct {
	Language string `json:"language"`
	// ID is the rule set's; empty: the project's default.
	ID string `json:"id,omitempty"`
}

// RepositoryMode says whose code a task scans.
type RepositoryMode string

const (
	// RepositoryOfTask: that of the task, which is how a rule says the default.
	RepositoryOfTask RepositoryMode = "task"
	// RepositoryTemporary: that of the event, named with each run. Only the 2023 edition
	// of CodeArts Check has it (`git_url`, `git_branch`).
	RepositoryTemporary RepositoryMode = "temporary"
)

// Gate is the thresholds that a run's open defects must not exceed. A nil limit
// allows any number.
type Gate struct {
	Critical   *int `json:"critical"`
	Major      *int `json:"major"`
	Minor      *int `json:"minor"`
	Suggestion *int `json:"suggestion"`
	// NewOnly compares these four with the counts of new defects only.
	NewOnly bool `json:"new_only"`
	// New limits the new defects, beside all open ones; nil does not.
	New *Limits `json:"new,omitempty"`
	// CodeArtsGate says what CodeArts Check's own `is_access` decides; empty is AccessShow.
	CodeArtsGate AccessMode `json:"codearts_gate,omitempty"`
}

// Limits are one limit for each severity. A nil limit allows any number.
type Limits struct {
	Critical   *int `json:"critical"`
	Major      *int `json:"major"`
	Minor      *int `json:"minor"`
	Suggestion *int `json:"suggestion"`
}

// All returns the limits of all open defects, or of the new ones where NewOnly.
func (g Gate) All() Limits { return Limits{g.Critical, g.Major, g.Minor, g.Suggestion} }

// ComparesNew reports whether the gate compares counts of new defects.
func (g Gate) ComparesNew() bool {
	limits := g.All()
	if !g.NewOnly {
		if g.New == nil {
			return false
		}
		limits = *g.New
	}
	return limits != Limits{}
}

// AccessMode says what `is_access` decides.
type AccessMode string

const (
	// AccessShow shows `is_access` beside our counts.
	AccessShow AccessMode = "show"
	// AccessRequire passes a run only when `is_access` says that it passed, too.
	AccessRequire AccessMode = "require"
)

// ReleaseAction says what a release does with its pipeline.
type ReleaseAction string

const (
	// ReleaseStart starts the pipeline when the verdict is passed.
	ReleaseStart ReleaseAction = "start"
	// ReleaseApprove approves a waiting checkpoint when the verdict is passed.
	ReleaseApprove ReleaseAction = "approve"
	// ReleaseRefuse refuses a waiting checkpoint when the verdict is failed.
	ReleaseRefuse ReleaseAction = "refuse"

	// The others act on an execution that a release has started. A rule does not write
	// them as its action, but says when they are taken; or a person orders them.

	// ReleaseStop stops the execution.
	ReleaseStop ReleaseAction = "stop"
	// ReleaseRetry lets a failed execution go on from the task that failed.
	ReleaseRetry ReleaseAction = "retry"
	// ReleaseContinue lets a paused execution go on.
	ReleaseContinue ReleaseAction = "continue"
	// ReleaseRollback undoes an execution that failed or succeeded.
	ReleaseRollback ReleaseAction = "rollback"
)

// ReleaseActions lists every action.
func ReleaseActions() []ReleaseAction {
	return []ReleaseAction{ReleaseStart, ReleaseApprove, ReleaseRefuse, ReleaseStop, ReleaseRetry, ReleaseContinue, ReleaseRollback}
}

// Decides reports whether the action decides a checkpoint.
func (a ReleaseAction) Decides() bool { return a == ReleaseApprove || a == ReleaseRefuse }

// Releases reports whether the action puts something into production, which needs a
// passed verdict for the newest commit.
func (a ReleaseAction) Releases() bool {
	return a == ReleaseStart || a == ReleaseApprove || a == ReleaseRetry || a == ReleaseContinue
}

// Reaction is what a rule wants done with an execution that it started.
type Reaction string

const (
	// ReactionLeave leaves it as it is.
	ReactionLeave Reaction = "leave"
	// ReactionStop stops it.
	ReactionStop Reaction = "stop"
)

// FailureStep is one thing that is done after an execution has failed.
type FailureStep struct {
	// Action is ReleaseRetry or ReleaseRollback.
	Action ReleaseAction `json:"action"`
	// Times is how often at most: 1 to 10 for a retry, 1 for a rollback.
	Times int `json:"times"`
}

// Release is one thing that a rule wants done with a pipeline after the verdict.
type Release struct {
	// Account is the account of Huawei Cloud; empty: the server file's huaweicloud.
	Account string `json:"account,omitempty"`
	// Target is the service that has the pipeline.
	Target ReleaseTarget `json:"target,omitempty"`
	// ProjectID is the CodeArts project of a pipeline of CodeArts Pipeline (32 hex digits);
	// empty for the others.
	ProjectID string `json:"project_id,omitempty"`
	// Pipeline is the id of a ServiceStage release task (UUID with dashes), or of a pipeline
	// of CodeArts Pipeline (32 letters and digits).
	Pipeline string `json:"pipeline"`
	// PipelineName is what the server file calls it; empty for none.
	PipelineName string        `json:"pipeline_name,omitempty"`
	Action       ReleaseAction `json:"action"`
	// Select narrows a start to these tasks; empty starts all.
	Select []Select `json:"select,omitempty"`
	// Task names the checkpoint to decide: the machine name, at CodeArts Pipeline the name
	// or the identifier of the step that is a manual review, or of its job. Only with approve
	// and refuse.
	Task string `json:"task,omitempty"`
	// Message goes with the approval; empty: one that names the run and commit.
	Message string `json:"message,omitempty"`
	// Timeout is how long the release may take from its creation to its end, not
	// counting the time for which it waits for a person: after that it begins again.
	Timeout time.Duration `json:"timeout"`
	// ApprovalTimeout is how long the release may wait for a person each time.
	ApprovalTimeout time.Duration `json:"approval_timeout"`
	// OnFailure is what is done after the execution has failed, one step after the other;
	// empty: nothing. Only with start, as are the other two.
	OnFailure []FailureStep `json:"on_failure,omitempty"`
	// OnDeadline is what is done when the release takes longer than it may, OnSuperseded
	// when its branch has a newer commit; empty means leave.
	OnDeadline   Reaction `json:"on_deadline,omitempty"`
	OnSuperseded Reaction `json:"on_superseded,omitempty"`
	// Hold is what the release waits for after the verdict, before it acts; nil: nothing.
	Hold *Hold `json:"hold,omitempty"`
}

// Retries is how often the rule retries a failed execution at most.
func (r Release) Retries() int {
	for _, step := range r.OnFailure {
		if step.Action == ReleaseRetry {
			return step.Times
		}
	}
	return 0
}

// RollsBack reports whether the rule rolls a failed execution back in the end.
func (r Release) RollsBack() bool {
	return slices.ContainsFunc(r.OnFailure, func(step FailureStep) bool { return step.Action == ReleaseRollback })
}

// Select names tasks of one stage of a pipeline, at CodeArts Pipeline jobs; there no tasks
// stand for the whole stage.
type Select struct {
	Stage string   `json:"stage"`
	Tasks []string `json:"tasks"`
}
