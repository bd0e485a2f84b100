// Package view is what a person or a program is shown of deliveries, runs and
// releases: the models behind `list`, `show` and their JSON. The JSON is a contract,
// described in docs/json.md: a field keeps its name and meaning, an empty list is [], a
// time that has not come is null, a duration is a Go duration string. What only the
// steps need stays in the records.
package view

import (
	"cmp"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// Subject is what a record is about, in the words of the filters of a list.
type Subject struct {
	Connection string `json:"connection"`
	Repository string `json:"repository"`
	// Event is the kind: push, tag, merge_request, merge_group or comment.
	Event  event.Kind `json:"event"`
	Branch string     `json:"branch"`
	// Number is the merge request's; 0 for none.
	Number int    `json:"number"`
	Commit string `json:"commit"`
	Actor  string `json:"actor"`
}

func subjectOf(ev event.Event) Subject {
	return Subject{
		Connection: ev.Connection, Repository: ev.Repository.FullName, Event: ev.Kind,
		Branch: ev.Branch, Number: ev.Number, Commit: ev.HeadSHA, Actor: ev.Sender,
	}
}

// Delivery is one delivery and what became of it.
type Delivery struct {
	ID string `json:"id"`
	Subject
	// Host is the kind of the connection, HostEvent and HostID the host's own names of
	// the event and the delivery.
	Host      event.Host          `json:"host"`
	HostEvent string              `json:"host_event"`
	HostID    string              `json:"host_id"`
	State     event.DeliveryState `json:"state"`
	Reason    string              `json:"reason"`
	// Rules are those that matched.
	Rules []string `json:"rules"`
	// Recovered says how we heard of it, if not by its webhook: compared (it was read from the host) or
	// redelivered (the host was asked to send it again); empty otherwise.
	Recovered      event.Recovery `json:"recovered"`
	PayloadRemoved bool           `json:"payload_removed"`
	ReceivedAt     time.Time      `json:"received_at"`
	// DecidedAt is when it reached its state; null while it waits.
	DecidedAt *time.Time `json:"decided_at"`
}

// DeliveryDetail is a delivery with its decision and its runs.
type DeliveryDetail struct {
	Delivery
	// Decision is null where the rules were not asked.
	Decision *rules.Decision `json:"decision"`
	Runs     []DeliveryRun   `json:"runs"`
	// Command is the one in its comment; null without one.
	Command *Command `json:"command"`
	// History is what was done to it.
	History []Action `json:"history"`
}

// DeliveryRun is a run of a delivery with its releases.
type DeliveryRun struct {
	Run
	Releases []Release `json:"releases"`
}

// NewDelivery is the view of a stored delivery.
func NewDelivery(d store.Delivery) Delivery {
	view := Delivery{
		ID: d.ID,
		Subject: Subject{
			Connection: d.Connection, Repository: d.Said.Repository, Event: d.Said.Kind,
			Branch: d.Said.Branch, Number: d.Said.Number, Commit: d.Said.SHA, Actor: d.Said.Actor,
		},
		Host: d.Host, HostEvent: d.Event, HostID: d.HostID, State: d.State, Reason: d.Reason,
		Rules: list(d.Said.Rules), Recovered: d.Recovered, PayloadRemoved: d.PayloadRemoved, ReceivedAt: d.ReceivedAt,
	}
	if d.State != event.DeliveryReceived {
		view.DecidedAt = moment(d.UpdatedAt)
	}
	return view
}

// NewDeliveryDetail is the whole view of a stored delivery, with its runs, the releases
// of each by the run's id, and what was done to it.
func NewDeliveryDetail(d store.Delivery, runs []codecheck.Run, releases map[string][]release.Release, actions []store.Action) DeliveryDetail {
	detail := DeliveryDetail{Delivery: NewDelivery(d), Decision: d.Decision, Runs: []DeliveryRun{}, History: newHistory(actions)}
	for _, run := range runs {
		detail.Runs = append(detail.Runs, DeliveryRun{NewRun(run), newReleases(releases[run.ID])})
	}
	return detail
}

// Run is one run.
type Run struct {
	ID         string `json:"id"`
	DeliveryID string `json:"delivery_id"`
	// RerunOf is the run that this one repeats; empty for none.
	RerunOf string `json:"rerun_of"`
	Subject
	SourceBranch string `json:"source_branch"`
	// Recovered is that of its delivery.
	Recovered event.Recovery  `json:"recovered"`
	Rule      string          `json:"rule"`
	State     codecheck.State `json:"state"`
	Reason    string          `json:"reason"`
	// Account is the account of Huawei Cloud; empty: the server file's huaweicloud.
	Account string `json:"account"`
	// Scan is full or incremental; Ref what was sent as `ref`, and RefReason why.
	Scan      rules.Scan      `json:"scan"`
	Ref       codecheck.Ref   `json:"ref"`
	RefReason string          `json:"ref_reason"`
	RefsTried []codecheck.Ref `json:"refs_tried"`
	Task      Task            `json:"task"`
	// ExecutionID is CodeArts Check's id; SharesRunID the run whose execution this one
	// is judged from.
	ExecutionID string   `json:"execution_id"`
	SharesRunID string   `json:"shares_run_id"`
	Supersedes  []string `json:"supersedes"`
	// InLine is where the run stands in the line for a place of huaweicloud.max_runs; null
	// when it waits for none.
	InLine *InLine `json:"in_line"`
	// StartsAt is before when it waits for a newer commit; null without a debounce.
	StartsAt *time.Time `json:"starts_at"`
	// Verdict is null while there is none.
	Verdict   *codecheck.Verdict `json:"verdict"`
	Counts    *codecheck.Counts  `json:"counts"`
	NewCounts *codecheck.Counts  `json:"new_counts"`
	// NewCountsFrom says who counted new defects: summary or findings; empty: nobody.
	NewCountsFrom codecheck.NewCountsSource `json:"new_counts_from"`
	ReceivedAt    time.Time                 `json:"received_at"`
	CreatedAt     time.Time                 `json:"created_at"`
	StartedAt     *time.Time                `json:"started_at"`
	FinishedAt    *time.Time                `json:"finished_at"`
	Deadline      time.Time                 `json:"deadline"`
	// Took is the time from the receipt of the delivery to the end; empty before.
	Took string `json:"took"`
}

// InLine is a place in a line: from 1 on, and how many wait in all.
type InLine struct {
	Place int `json:"place"`
	Of    int `json:"of"`
}

// Task is the CodeArts Check task of a run.
type Task struct {
	ID       string           `json:"id"`
	Name     string           `json:"name"`
	URL      string           `json:"url"`
	Branch   string           `json:"branch"`
	ParentID string           `json:"parent_id"`
	Origin   codecheck.Origin `json:"origin"`
	// Remark says what was not certain when the task was found; empty when it was.
	Remark string `json:"remark"`
	// Languages says which languages a task that was created for the run checks, where the rule
	// names none; empty otherwise.
	Languages string `json:"languages"`
}

// Action is what a person did to a run, release or delivery, or, as a remark, what was learned of
// it after its end.
type Action struct {
	ID         string           `json:"id"`
	RecordKind store.RecordKind `json:"record_kind"`
	RecordID   string           `json:"record_id"`
	Name       store.ActionName `json:"name"`
	Actor      string           `json:"actor"`
	Reason     string           `json:"reason"`
	// Details: of a resolution succeeded or failed, of a rerun, an approval and a
	// refusal the id of the record that carries it out, of an ok and a break_glass the commit; empty otherwise.
	Details string    `json:"details"`
	At      time.Time `json:"at"`
}

// NewAction is the view of a stored action.
func NewAction(a store.Action) Action {
	return Action{ID: a.ID, RecordKind: a.Kind, RecordID: a.RecordID, Name: a.Name, Actor: a.Actor, Reason: a.Reason, Details: a.Details, At: a.At}
}

func newHistory(actions []store.Action) []Action {
	history := []Action{}
	for _, a := range actions {
		history = append(history, NewAction(a))
	}
	return history
}

// RunDetail is a run with what was asked for, its defects, its releases, and what was
// done to it.
type RunDetail struct {
	Run
	Check rules.Check `json:"check"`
	// Defects are the most severe of the findings, and Findings says what is kept of all
	// of them; null before they were read.
	Defects  []codecheck.Defect `json:"defects"`
	Findings *FindingsState     `json:"findings"`
	Releases []Release          `json:"releases"`
	// Reports are what the git host is told of the commit, and on the merge request.
	Reports []Report `json:"reports"`
	History []Action `json:"history"`
}

// Report is what a git host is told: the status of a commit, or a comment.
type Report struct {
	// Kind is status or comment.
	Kind string `json:"kind"`
	// Pipeline is the pipeline whose releases a status is of; empty for that of the checks.
	Pipeline string `json:"pipeline"`
	// State is what the host was told last, such as success, or "written" of a comment; empty
	// before it was told anything.
	State string `json:"state"`
	// Writes counts how often it was told something.
	Writes int `json:"writes"`
	// Waits: something newer is still to be told. Problem says why it is not, or why it was
	// refused; empty without one.
	Waits   bool   `json:"waits"`
	Problem string `json:"problem"`
	// GivenUp: it could not be told for 24 hours, and nothing tries any more.
	GivenUp   bool      `json:"given_up"`
	UpdatedAt time.Time `json:"updated_at"`
}

// NewReports are the views of stored reports.
func NewReports(stored []store.Outgoing) []Report {
	views := []Report{}
	for _, o := range stored {
		kind := "status"
		if o.SHA == "" {
			kind = "comment"
		}
		views = append(views, Report{Kind: kind, Pipeline: o.Pipeline, State: o.State, Writes: o.Writes,
			Waits: o.Version > o.Done, Problem: o.Problem, GivenUp: o.GivenUp, UpdatedAt: o.UpdatedAt})
	}
	return views
}

// NewRun is the view of a stored run.
func NewRun(r codecheck.Run) Run {
	view := Run{
		ID: r.ID, DeliveryID: r.DeliveryID, RerunOf: r.RerunOf, Subject: subjectOf(r.Event), SourceBranch: r.Event.SourceBranch, Recovered: r.Event.Recovered,
		Rule: r.Rule, State: r.State, Reason: r.Reason,
		Account: r.Check.Account, Scan: r.Check.Scan, Ref: r.Ref, RefReason: r.RefReason, RefsTried: list(r.RefsTried),
		Task:        Task{ID: r.Task.ID, Name: r.Task.Name, URL: r.Task.URL, Branch: r.Task.Branch, ParentID: r.Task.ParentID, Origin: r.Origin, Remark: r.TaskRemark, Languages: languages(r.Languages)},
		ExecutionID: r.ExecID, SharesRunID: r.SharesRunID, Supersedes: list(r.Supersedes), StartsAt: moment(r.StartsAt),
		Verdict: r.Verdict, NewCounts: r.NewCounts, NewCountsFrom: r.NewCountsFrom,
		ReceivedAt: r.ReceivedAt, CreatedAt: r.CreatedAt, StartedAt: moment(r.StartedAt), FinishedAt: moment(r.FinishedAt), Deadline: r.Deadline,
		Took: took(r.ReceivedAt, r.FinishedAt),
	}
	if r.Verdict != nil {
		view.Counts = &r.Counts
	}
	return view
}

// NewRunDetail is the whole view of a stored run.
func NewRunDetail(r codecheck.Run, releases []release.Release, reports []store.Outgoing, actions []store.Action) RunDetail {
	detail := RunDetail{Run: NewRun(r), Check: r.Check, Defects: list(r.Defects), Releases: newReleases(releases), Reports: NewReports(reports), History: newHistory(actions)}
	detail.Check.Languages = list(detail.Check.Languages)
	if f := r.Findings; f != nil {
		detail.Findings = &FindingsState{KeptWith: f.RunID, Count: f.Count, Complete: f.Complete, BaselineRunID: f.BaselineRunID, Note: f.Note}
	}
	return detail
}

func newReleases(releases []release.Release) []Release {
	views := []Release{}
	for _, r := range releases {
		views = append(views, NewRelease(r))
	}
	return views
}

// ReleaseDetail is a release with what was done to it.
type ReleaseDetail struct {
	Release
	// Approvals are what people said of it, the oldest first, with what does not count any more.
	Approvals []Approval `json:"approvals"`
	History   []Action   `json:"history"`
}

// Release is one release.
type Release struct {
	ID    string `json:"id"`
	RunID string `json:"run_id"`
	// Place is that in the rule's list of releases, from 0; the decision of a person has
	// one behind those.
	Place int `json:"place"`
	// RerunOf is the release that this one repeats; empty for none.
	RerunOf string `json:"rerun_of"`
	// Continues is the ended release on whose execution this one acts, because a person
	// asked for it; empty for none.
	Continues string `json:"continues"`
	// DecidedBy is the person whose decision of the checkpoint this is; empty for the
	// rule's own.
	DecidedBy string `json:"decided_by"`
	Subject
	Rule string `json:"rule"`
	// Account is the account of Huawei Cloud; empty: the server file's huaweicloud.
	Account string `json:"account"`
	// Target is the service that has the pipeline: servicestage or codearts_pipeline.
	Target   rules.ReleaseTarget `json:"target"`
	Pipeline string              `json:"pipeline"`
	// PipelineName is what the server file calls the pipeline; empty for none.
	PipelineName string              `json:"pipeline_name"`
	Action       rules.ReleaseAction `json:"action"`
	// Checkpoint is the task that is approved or refused; empty for a start.
	Checkpoint string `json:"checkpoint"`
	// Select are the stages and tasks that a start is limited to; empty means all.
	Select []rules.Select `json:"select"`
	// StartedBy is the release that starts the execution whose checkpoint this one
	// decides.
	StartedBy string        `json:"started_by_release_id"`
	State     release.State `json:"state"`
	Reason    string        `json:"reason"`
	// Withdrawn says why an approval was turned into a refusal; empty otherwise.
	Withdrawn   string `json:"withdrawn"`
	ExecutionID string `json:"execution_id"`
	// OtherExecutionIDs are further ids that the service answered to actions on it.
	OtherExecutionIDs []string `json:"other_execution_ids"`
	// Operation is the action on the execution that is ordered and not finished; null for
	// none.
	Operation *release.Operation `json:"operation"`
	// PipelineStatus is what the service said last; null before.
	PipelineStatus *Status `json:"pipeline_status"`
	// Waiting are the checkpoints that wait for approval.
	Waiting []string `json:"waiting"`
	// WaitsForPersonSince is since when the pipeline waits for a person; null when it
	// does not.
	WaitsForPersonSince *time.Time `json:"waits_for_person_since"`
	// Hold is what keeps or kept it from acting; null where nothing did.
	Hold *Hold `json:"hold"`

	Actions    []release.Action `json:"actions"`
	CreatedAt  time.Time        `json:"created_at"`
	StartedAt  *time.Time       `json:"started_at"`
	FinishedAt *time.Time       `json:"finished_at"`
	Deadline   time.Time        `json:"deadline"`
	// Took is the time from the creation to the end; empty before.
	Took string `json:"took"`
}

// Status is a status of ServiceStage: its number and its documented name. The words of CodeArts
// Pipeline are shown as those that mean the same, or with a number below 0.
type Status struct {
	Code int    `json:"code"`
	Name string `json:"name"`
}

// NewRelease is the view of a stored release.
func NewRelease(r release.Release) Release {
	view := Release{
		ID: r.ID, RunID: r.RunID, Place: r.Index, RerunOf: r.RerunOf, Continues: r.Continues, DecidedBy: r.DecidedBy, Subject: subjectOf(r.Event), Rule: r.Rule,
		Account: r.Plan.Account, Target: r.Plan.Target.OrDefault(), Pipeline: r.Plan.Pipeline, PipelineName: r.Plan.PipelineName, Action: r.Plan.Action, Checkpoint: r.Plan.Task, Select: list(r.Plan.Select), StartedBy: r.After,
		State: r.State, Reason: r.Reason, Withdrawn: r.Withdrawn, ExecutionID: r.ExecutionID, OtherExecutionIDs: list(r.OtherIDs), Operation: r.Operation,
		Waiting: list(r.Waiting), WaitsForPersonSince: moment(r.WaitsForPersonSince), Hold: newHold(r.Hold), Actions: list(r.Actions),
		CreatedAt: r.CreatedAt, StartedAt: moment(r.StartedAt), FinishedAt: moment(r.FinishedAt), Deadline: r.Deadline,
		Took: took(r.CreatedAt, r.FinishedAt),
	}
	if r.Status != 0 {
		view.PipelineStatus = &Status{Code: r.Status, Name: release.Status(r.Status).Name()}
	}
	return view
}

// list is a list that is never null in JSON.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

// moment is a time, or nil for one that has not come.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// took is the time between two moments; empty when the second has not come.
func took(from, to time.Time) string {
	if from.IsZero() || to.IsZero() {
		return ""
	}
	return to.Sub(from).Round(time.Millisecond).String()
}

// languages says which languages were found out, and how.
func languages(l *codecheck.Languages) string {
	if l == nil {
		return ""
	}
	return strings.TrimPrefix(strings.Join(l.Names, ", ")+"; "+l.Reason, "; ")
}

// PipelineLabel is how a page calls the pipeline of a release: its name where it has one.
func (r Release) PipelineLabel() string { return cmp.Or(r.PipelineName, r.Pipeline) }
