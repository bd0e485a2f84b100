package view

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// Change is one push or merge request as one delivery announced it, from there to its releases.
type Change struct {
	Delivery Delivery `json:"delivery"`
	// Decision is null where the rules were not asked.
	Decision *rules.Decision `json:"decision"`
	// Command is the one in its comment; null without one.
	Command *Command `json:"command"`
	// Runs are those of the delivery, with the reruns, the oldest first.
	Runs []RunDetail `json:"runs"`
	// Releases are those of the runs, the oldest first.
	Releases []ReleaseDetail `json:"releases"`
	Reports  []Report        `json:"reports"`
	// History is what people did to any of the records, the oldest first.
	History []Action `json:"history"`
	// Spans are the parts of the timeline, the earliest first.
	Spans []Span `json:"spans"`
	// From and To are what the timeline covers: to now, where something has not ended.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// SpanKind says what a part of a timeline is.
type SpanKind string

// The kinds.
const (
	SpanDelivery   SpanKind = "delivery"
	SpanDecision   SpanKind = "decision"
	SpanTask       SpanKind = "task"
	SpanRun        SpanKind = "run"
	SpanGate       SpanKind = "gate"
	SpanReport     SpanKind = "report"
	SpanHold       SpanKind = "hold"
	SpanApproval   SpanKind = "approval"
	SpanRelease    SpanKind = "release"
	SpanCheckpoint SpanKind = "checkpoint"
	SpanAction     SpanKind = "action"
)

// SpanKinds lists the kinds in the order in which a timeline shows what begins at the same time.
func SpanKinds() []SpanKind {
	return []SpanKind{SpanDelivery, SpanDecision, SpanTask, SpanRun, SpanGate, SpanReport, SpanHold, SpanApproval, SpanRelease, SpanCheckpoint, SpanAction}
}

// Party is whom a part of a timeline waited for.
type Party string

// The parties.
const (
	ForUs         Party = "gatewright"
	ForHost       Party = "host"      // the git host
	ForCodeCheck  Party = "codecheck" // CodeArts Check
	ForPipeline   Party = "pipeline"  // ServiceStage or CodeArts Pipeline
	ForPerson     Party = "person"
	ForWindow     Party = "window" // a window that is closed, or a freeze
	ForPlace      Party = "place"  // another run's place or task
	ForNewer      Party = "newer"  // a newer commit (debounce)
	ForOther      Party = "other"  // another release of the pipeline
	ForNobody     Party = "nobody" // it took no time
	ForSharedRun  Party = "shared" // the run whose execution it shares
	ForTheStarter Party = "starter"
)

// Span is one part of a timeline.
type Span struct {
	Kind SpanKind `json:"kind"`
	// Name is of the rule, the pipeline, the action; empty for none.
	Name string `json:"name"`
	// RecordID is the delivery, run or release that it belongs to; empty for a report.
	RecordID string    `json:"record_id"`
	From     time.Time `json:"from"`
	// To is null while it goes on, and From for what took no time.
	To *time.Time `json:"to"`
	// WaitsFor is whom it waited for, or waits.
	WaitsFor Party `json:"waits_for"`
	// State is that of the record, the verdict, or what came of the action.
	State string `json:"state"`
	Text  string `json:"text"`
}

// Took is how long it took, to now where it goes on.
func (s Span) Took(now time.Time) time.Duration {
	if s.To == nil {
		return max(now.Sub(s.From), 0)
	}
	return max(s.To.Sub(s.From), 0)
}

// FindDelivery returns the id of the delivery that caused a record: id is that of a delivery, run
// or release, or begins it. record is the full id. The errors are those of [Find].
func FindDelivery(ctx context.Context, tx *store.Tx, id string) (delivery, record string, err error) {
	delivery, err = deliveryOf(ctx, tx, id)
	if !errors.Is(err, store.ErrNotFound) {
		return delivery, id, err
	}
	if id, err = fullID(ctx, tx, id); err != nil {
		return "", "", err
	}
	delivery, err = deliveryOf(ctx, tx, id)
	return delivery, id, err
}

// deliveryOf returns the id of the delivery of the record with this id, or store.ErrNotFound.
func deliveryOf(ctx context.Context, tx *store.Tx, id string) (string, error) {
	d, err := tx.DeliveryWithoutBody(ctx, id)
	if err == nil || !errors.Is(err, store.ErrNotFound) {
		return d.ID, err
	}
	run, err := tx.Run(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		var r release.Release
		if r, err = tx.Release(ctx, id); err != nil {
			return "", err
		}
		run, err = tx.Run(ctx, r.RunID)
	}
	return run.DeliveryID, err
}

// NewChange reads the change that a delivery announced, as of a time. store.ErrNotFound where there
// is no such delivery.
func NewChange(ctx context.Context, tx *store.Tx, deliveryID string, now time.Time) (Change, error) {
	d, err := tx.DeliveryWithoutBody(ctx, deliveryID)
	if err != nil {
		return Change{}, err
	}
	c := Change{Delivery: NewDelivery(d), Decision: d.Decision, Runs: []RunDetail{}, Releases: []ReleaseDetail{}, Reports: []Report{}, History: []Action{}}
	if err := c.readHistory(ctx, tx, d.ID); err != nil {
		return Change{}, err
	}
	command, found, err := tx.CommandOf(ctx, d.ID)
	if found {
		view := NewCommand(command)
		c.Command = &view
	}
	if err != nil {
		return Change{}, err
	}
	runs, err := tx.RunsOf(ctx, d.ID)
	if err != nil {
		return Change{}, err
	}
	for _, run := range runs {
		if err := c.readRun(ctx, tx, run); err != nil {
			return Change{}, err
		}
	}
	slices.SortStableFunc(c.History, func(a, b Action) int { return a.At.Compare(b.At) })
	c.addSpans(d, runs)
	c.From, c.To = c.Delivery.ReceivedAt, c.Delivery.ReceivedAt
	for _, s := range c.Spans {
		if end := s.From.Add(s.Took(now)); end.After(c.To) {
			c.To = end
		}
	}
	return c, nil
}

// readRun adds a run with its releases, the reports of its commit, and what was done to each.
func (c *Change) readRun(ctx context.Context, tx *store.Tx, run codecheck.Run) error {
	releases, err := tx.ReleasesOf(ctx, run.ID)
	if err != nil {
		return err
	}
	detail, err := runDetail(ctx, tx, run, releases)
	if err != nil {
		return err
	}
	if err := standInLine(ctx, tx, &detail.Run); err != nil {
		return err
	}
	c.Runs, c.Reports = append(c.Runs, detail), detail.Reports
	c.History = append(c.History, detail.History...)
	for _, r := range releases {
		detail, err := releaseDetail(ctx, tx, r)
		if err != nil {
			return err
		}
		c.Releases, c.History = append(c.Releases, detail), append(c.History, detail.History...)
	}
	return nil
}

func (c *Change) readHistory(ctx context.Context, tx *store.Tx, id string) error {
	actions, err := tx.ActionsOf(ctx, id)
	c.History = append(c.History, newHistory(actions)...)
	return err
}

// addSpans makes the timeline.
func (c *Change) addSpans(d store.Delivery, runs []codecheck.Run) {
	c.Spans = []Span{point(SpanDelivery, string(d.Host), d.ID, d.ReceivedAt, "", d.Event)}
	decision := Span{Kind: SpanDecision, RecordID: d.ID, From: d.ReceivedAt, To: c.Delivery.DecidedAt, WaitsFor: ForUs, State: string(d.State), Text: d.Reason}
	switch {
	case d.State == event.DeliveryReceived && d.Reason != "":
		decision.WaitsFor = ForHost
	case d.Decision != nil && d.Decision.NeedsTrust != nil && len(runs) == 0:
		decision.WaitsFor = ForPerson
	case d.Replayed:
		decision.Text += " (decided again)"
	}
	c.Spans = append(c.Spans, decision)
	for _, run := range runs {
		c.Spans = append(c.Spans, runSpans(run)...)
	}
	for _, r := range c.Releases {
		c.Spans = append(c.Spans, releaseSpans(r)...)
		for _, a := range r.Approvals {
			c.Spans = append(c.Spans, point(SpanApproval, a.Person, r.ID, a.At, string(a.State), strings.TrimSpace(a.Reason+" "+a.Voided)))
		}
	}
	for _, r := range c.Reports {
		if r.Writes > 0 || r.GivenUp {
			name := r.Kind
			if i := slices.IndexFunc(c.Releases, func(rel ReleaseDetail) bool { return rel.Pipeline == r.Pipeline }); i >= 0 {
				name = c.Releases[i].PipelineLabel()
			}
			c.Spans = append(c.Spans, point(SpanReport, name, "", r.UpdatedAt, r.State, r.Problem))
		}
	}
	for _, a := range c.History {
		if a.Actor != store.Gatewright {
			c.Spans = append(c.Spans, point(SpanAction, string(a.Name), a.RecordID, a.At, "", a.Actor+": "+a.Reason))
		}
	}
	order := SpanKinds()
	slices.SortStableFunc(c.Spans, func(a, b Span) int {
		return cmp.Or(a.From.Compare(b.From), slices.Index(order, a.Kind)-slices.Index(order, b.Kind))
	})
}

// point is a part that took no time.
func point(kind SpanKind, name, id string, at time.Time, state, text string) Span {
	return Span{Kind: kind, Name: name, RecordID: id, From: at, To: moment(at), WaitsFor: ForNobody, State: state, Text: text}
}

// runSpans are the parts of a run: the search for its task, the scan, the gate.
func runSpans(r codecheck.Run) (spans []Span) {
	from, end := r.CreatedAt, r.FinishedAt
	began := r.StartedAt
	if began.IsZero() {
		began = end
	}
	if !r.StartsAt.IsZero() && r.StartsAt.After(from) {
		quiet := r.StartsAt
		if !began.IsZero() && began.Before(quiet) {
			quiet = began
		}
		spans = append(spans, Span{Kind: SpanTask, Name: r.Rule, RecordID: r.ID, From: from, To: moment(quiet), WaitsFor: ForNewer, State: string(r.State), Text: "debounce"})
		from = quiet
	}
	task := Span{Kind: SpanTask, Name: r.Rule, RecordID: r.ID, From: from, To: moment(began), WaitsFor: ForCodeCheck, State: string(r.State), Text: r.Task.Name}
	switch {
	case r.SharesRunID != "":
		task.WaitsFor, task.Text = ForSharedRun, r.SharesRunID
	case began.IsZero():
		task.Text = r.Reason
	case r.Origin != "":
		task.Text += ", " + string(r.Origin)
	}
	spans = append(spans, task)
	if !r.StartedAt.IsZero() {
		spans = append(spans, Span{Kind: SpanRun, Name: r.Rule, RecordID: r.ID, From: r.StartedAt, To: moment(end), WaitsFor: ForCodeCheck, State: string(r.State), Text: r.Reason})
	}
	if r.Verdict != nil && !end.IsZero() {
		state := string(codecheck.Failed)
		if r.Verdict.Passed {
			state = string(codecheck.Passed)
		}
		spans = append(spans, point(SpanGate, r.Rule, r.ID, end, state, strings.Join(r.Verdict.Reasons, ", ")))
	}
	return spans
}

// heldUntil is when a release was not held any more: with its first request to the pipeline, its end, or, while it has
// not sent one, the newest approval; nil while it is held.
func heldUntil(r ReleaseDetail) *time.Time {
	switch {
	case r.State == release.Held:
		return nil
	case len(r.Actions) > 0:
		return moment(r.Actions[0].At)
	case r.StartedAt != nil:
		return r.StartedAt
	case r.FinishedAt != nil:
		return r.FinishedAt
	case len(r.Approvals) > 0:
		return moment(r.Approvals[len(r.Approvals)-1].At)
	}
	return r.Hold.Since
}

// releaseSpans are the parts of a release: what it waits for before it acts, its execution, and
// the wait for a person.
func releaseSpans(r ReleaseDetail) (spans []Span) {
	began := r.StartedAt
	if began == nil {
		began = r.FinishedAt
	}
	span := func(kind SpanKind, from time.Time, to *time.Time, party Party) Span {
		return Span{Kind: kind, Name: r.PipelineLabel(), RecordID: r.ID, From: from, To: to, WaitsFor: party, State: string(r.State), Text: r.Reason}
	}
	from := r.CreatedAt
	if h := r.Hold; h != nil && h.Since != nil {
		held := span(SpanHold, *h.Since, heldUntil(r), ForPerson)
		if h.Missing == 0 && (h.Wanted == 0 || r.State == release.Held) {
			held.WaitsFor = ForWindow
		}
		spans = append(spans, held)
		if held.To == nil || r.State.Ended() && r.StartedAt == nil {
			return spans
		}
		from = *held.To
	}
	before := span(SpanRelease, from, began, ForPipeline)
	switch {
	case r.StartedBy != "":
		before.Kind, before.WaitsFor = SpanCheckpoint, ForTheStarter
	case r.State == release.Starting:
		before.WaitsFor = ForOther
	}
	if r.Checkpoint != "" {
		before.Kind, before.Name = SpanCheckpoint, r.Checkpoint
		if r.DecidedBy != "" {
			before.Text = r.DecidedBy + ": " + before.Text
		}
	}
	spans = append(spans, before)
	// What began the release is where the next part begins.
	for _, a := range r.Actions[min(1, len(r.Actions)):] {
		spans = append(spans, point(SpanAction, string(a.Name), r.ID, a.At, string(a.Result), strings.TrimPrefix(a.By+": "+a.Reason, ": ")))
	}
	if r.StartedAt == nil {
		return spans
	}
	kind := SpanRelease
	if r.Checkpoint != "" {
		kind = SpanCheckpoint
	}
	ran := span(kind, *r.StartedAt, r.FinishedAt, ForPipeline)
	if r.Checkpoint != "" {
		ran.Name = r.Checkpoint
	}
	if waits := r.WaitsForPersonSince; waits != nil && !waits.Before(*r.StartedAt) {
		ran.To = waits
		spans = append(spans, span(SpanCheckpoint, *waits, r.FinishedAt, ForPerson))
	}
	return append(spans, ran)
}
