// Package codecheck speaks to CodeArts Check: it finds or creates the task for
// an event, runs it with the right ref, polls the run until its end, reads the
// defects and judges them by the gate.
package codecheck

import (
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
)

// State is where a run stands.
type State string

const (
	// Queued waits for its first step.
	Queued State = "queued"
	// Starting looks for its task, creates it, or waits for a free task.
	Starting State = "starting"
	// Running has an execution at CodeArts Check.
	Running State = "running"
	// Passed: the scan worked and no count exceeds the gate.
	Passed State = "passed"
	// Failed: the scan worked and the gate is exceeded.
	Failed State = "failed"
	// Errored: there is no verdict, because the scan or a call went wrong or the
	// deadline passed.
	Errored State = "errored"
	// Superseded: a newer commit of the same branch or merge request came.
	Superseded State = "superseded"
	// Stopped: somebody stopped the execution at CodeArts Check.
	Stopped State = "stopped"
)

// States lists every state of a run.
func States() []State {
	return []State{Queued, Starting, Running, Passed, Failed, Errored, Superseded, Stopped}
}

// Ended reports whether s is an end state.
func (s State) Ended() bool {
	switch s {
	case Queued, Starting, Running:
		return false
	}
	return true
}

// Origin says where a run's task came from.
type Origin string

const (
	// Found: the task stood in the project's list.
	Found Origin = "found"
	// Created: we created the task for this run.
	Created Origin = "created"
	// Remembered: an earlier run found or created it.
	Remembered Origin = "remembered"
	// Given: the rule names it.
	Given Origin = "given"
)

// Task is CodeArts Check's unit: one repository and branch, or one merge request
// of it.
type Task struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Account is the account of Huawei Cloud that it is in; see [rules.Check].
	Account string `json:"account,omitempty"`
	// URL and Branch are as the project's list or our creation has them.
	URL    string `json:"url"`
	Branch string `json:"branch"`
	// ParentID is the full task that an incremental task hangs under.
	ParentID string `json:"parent_id,omitempty"`
	// CheckMode is what an incremental task was told to look at; empty: nothing.
	CheckMode rules.CheckMode `json:"check_mode,omitempty"`
	// OfMergeGroup: it was created for the branch of a merge group, and is of no use after that.
	OfMergeGroup bool `json:"of_merge_group,omitempty"`
}

// Ref is the word that a run sends as `ref`; empty sends none.
type Ref string

// The two words that the API knows.
const (
	Pull         Ref = "pull"
	MergeRequest Ref = "merge_request"
)

// Counts are open defects by severity.
type Counts struct {
	Critical   int `json:"critical"`
	Major      int `json:"major"`
	Minor      int `json:"minor"`
	Suggestion int `json:"suggestion"`
}

// Defect is one finding.
type Defect struct {
	ID string `json:"id"`
	// Severity is critical, major, minor or suggestion.
	Severity string `json:"severity"`
	Rule     string `json:"rule"`
	Text     string `json:"text"`
	File     string `json:"file"`
	Line     int    `json:"line"`
}

// Run is one execution of a task for one commit, asked for by one rule.
type Run struct {
	ID         string          `json:"id"`
	DeliveryID string          `json:"delivery_id"`
	Rule       string          `json:"rule"`
	Event      event.Event     `json:"event"`
	Check      rules.Check     `json:"check"`
	Releases   []rules.Release `json:"releases,omitempty"`
	State      State           `json:"state"`
	// Reason says in a sentence why the run is in its state; for the operator.
	Reason string `json:"reason"`

	Task   Task   `json:"task"`
	Origin Origin `json:"task_origin,omitempty"`
	// TaskRemark says what was not certain when the task was found; empty when it was.
	TaskRemark string `json:"task_remark,omitempty"`
	// GoneTask is a task that the service no longer knew when it was used, with its
	// parent: neither is taken from what is remembered or was listed before.
	GoneTask *Task `json:"gone_task,omitempty"`
	// WantsLanguages says that a task is to be created for the run, and that Languages, which
	// are nil, are needed for it: the caller finds them out and sets them before it calls
	// Prepare again.
	WantsLanguages bool       `json:"wants_languages,omitempty"`
	Languages      *Languages `json:"languages,omitempty"`
	// ListSince is set while the run waits for the project's task list: a list must
	// have been begun after it to show that there is no task.
	ListSince time.Time `json:"list_since,omitzero"`

	// Ref is what was sent last, RefReason why, RefsTried every ref that was
	// sent, in order.
	Ref       Ref    `json:"ref"`
	RefReason string `json:"ref_reason"`
	RefsTried []Ref  `json:"refs_tried,omitempty"`
	// RefusedRef is a ref that the service refused before it did anything; none is sent
	// then.
	RefusedRef Ref `json:"refused_ref,omitempty"`

	// RerunOf is the id of the ended run that this one repeats, because a person asked
	// for it; empty otherwise.
	RerunOf string `json:"rerun_of,omitempty"`
	// SharesRunID is the id of a run of another rule that checks the same commit on
	// the same task: this run is judged from its counts, and runs nothing itself.
	SharesRunID string `json:"shares_run_id,omitempty"`
	// Supersedes are older runs whose executions must be stopped before this one
	// starts: the API stops whatever a task runs.
	Supersedes []string `json:"supersedes,omitempty"`
	// OlderStopped: they were stopped.
	OlderStopped bool `json:"older_stopped,omitempty"`
	// StartsAt is before when the run waits for a newer commit, and SeriesSince when the
	// first run of the series was created; zero without a debounce.
	StartsAt    time.Time `json:"starts_at,omitzero"`
	SeriesSince time.Time `json:"series_since,omitzero"`

	// Intent is committed before the request that starts the execution is sent.
	Intent *Intent `json:"intent,omitempty"`
	ExecID string  `json:"exec_id,omitempty"`

	Counts    Counts  `json:"counts"`
	NewCounts *Counts `json:"new_counts,omitempty"`
	// NewCountsFrom says who counted what is new; empty when nobody did.
	NewCountsFrom NewCountsSource `json:"new_counts_from,omitempty"`
	// Defects are the most severe of the findings.
	Defects []Defect `json:"defects,omitempty"`
	// Reading is how far the findings are read; nil before and after. Findings says what
	// is kept of them, and is nil before.
	Reading  *Reading       `json:"reading,omitempty"`
	Findings *FindingsState `json:"findings,omitempty"`
	Verdict  *Verdict       `json:"verdict,omitempty"`

	// Polls counts the looks at the execution's progress, Reads those at its
	// results.
	Polls int `json:"polls"`
	Reads int `json:"reads,omitempty"`
	// SeenRunning says that the progress of this execution was seen as running:
	// a later end is then its own and not that of the one before.
	SeenRunning bool `json:"seen_running,omitempty"`
	// LastSeen is when it was seen as running last, ScanTook how long it took, to the middle
	// of the time between that look and the next; zero before. Usual is when it is expected
	// to end, nil where nothing is known of that.
	LastSeen time.Time     `json:"last_seen,omitzero"`
	ScanTook time.Duration `json:"scan_took,omitempty"`
	Usual    *Usual        `json:"usual,omitempty"`

	Deadline time.Time `json:"deadline"`
	// ReceivedAt is when the delivery that caused the run was received, or when a person
	// asked for it again.
	ReceivedAt time.Time `json:"received_at,omitzero"`
	CreatedAt  time.Time `json:"created_at"`
	StartedAt  time.Time `json:"started_at,omitzero"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
}

// NewCountsSource says who counted new defects.
type NewCountsSource string

const (
	// NewFromSummary: CodeArts Check, in the summary of the execution.
	NewFromSummary NewCountsSource = "summary"
	// NewFromFindings: we, by comparing findings with those of an earlier run.
	NewFromFindings NewCountsSource = "findings"
)

// FindingsState says what is kept of a run's findings. They are not part of the run.
type FindingsState struct {
	// RunID is the run with which they are kept: that run, or the one whose execution it
	// shares.
	RunID string `json:"run_id"`
	Count int    `json:"count"`
	// Complete says that every open finding was read, as far as that can be known.
	Complete bool `json:"complete"`
	// BaselineRunID is the run that they were compared with; empty: they were not.
	BaselineRunID string `json:"baseline_run_id"`
	// Note says why they are not complete, or not compared; empty: neither.
	Note string `json:"note"`
}

// Intent is what we saw before we asked for an execution.
type Intent struct {
	SentAt time.Time `json:"sent_at"`
	// LastCheckTime is the task's time of the last check before ours, as sent.
	LastCheckTime string `json:"last_check_time"`
}

// FindingsKeptWith is the id of the run with which the findings of this one are kept: its own,
// or that of the run whose execution it shares.
func (run Run) FindingsKeptWith() string {
	if run.Findings != nil && run.Findings.RunID != "" {
		return run.Findings.RunID
	}
	return run.ID
}

// OccupiedTask is the id of the task that the run has an execution of, or is about to ask
// for one; empty when it has none. No two runs may occupy one task, whatever
// connections they came from: the service runs a task once at a time, stops whatever it
// runs, and in the 2023 dialect tells only of its latest execution.
func (run Run) OccupiedTask() string {
	if run.State == Running || run.State == Starting && run.Intent != nil {
		return run.Task.ID
	}
	return ""
}

// isGone reports whether a task is one that the service no longer knew.
func (run Run) isGone(taskID string) bool {
	return run.GoneTask != nil && (taskID == run.GoneTask.ID || taskID == run.GoneTask.ParentID)
}
