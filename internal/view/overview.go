package view

import (
	"context"
	"slices"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
)

// What an overview shows at most, and of which time.
const (
	overviewRecords = 20
	// overviewPast is the time of its plots, overviewPart that of one bar.
	overviewPast = time.Hour
	overviewPart = 5 * time.Minute
	// overviewDeliveries and overviewRuns are what the plots are made of at most: the newest.
	overviewDeliveries = 20_000
	overviewRuns       = 200
	// overviewUntried is how long a run without a verdict is shown as one that needs a person.
	overviewUntried = 24 * time.Hour
)

// Overview is what somebody must know who looks for the first time tonight.
type Overview struct {
	// At is the time of the overview.
	At time.Time `json:"at"`
	// Needs are the records that need a person now, the most urgent kind first.
	Needs []Need `json:"needs"`
	// MoreNeeds: there are more of some kind than the list shows.
	MoreNeeds bool `json:"more_needs"`
	// Waiting counts the deliveries of the last hour that are not decided.
	Waiting int `json:"waiting"`
	// OldestWaiting is when the oldest delivery that is not decided was received; null for none.
	OldestWaiting *time.Time `json:"oldest_waiting"`
	// Runs and Releases are in flight, the oldest first; the counts are of all of them.
	Runs         []Run     `json:"runs"`
	RunCount     int       `json:"run_count"`
	Releases     []Release `json:"releases"`
	ReleaseCount int       `json:"release_count"`
	LastHour     LastHour  `json:"last_hour"`
	// Connections are those that received, report or are asked; by their names.
	Connections []ConnectionActivity `json:"connections"`
}

// NeedKind says why something needs a person.
type NeedKind string

// The kinds, the most urgent first.
const (
	NeedUnknown  NeedKind = "unknown"  // a release whose effect is not known
	NeedHeld     NeedKind = "held"     // a release that a rule holds
	NeedApproval NeedKind = "approval" // a checkpoint
	NeedPaused   NeedKind = "paused"   // an execution that somebody paused
	NeedFailed   NeedKind = "failed"   // a release
	NeedExpired  NeedKind = "expired"  // a release that nobody decided in time
	NeedTrust    NeedKind = "trust"    // the commit of a fork
	NeedErrored  NeedKind = "errored"  // a run without a verdict
	NeedVerdict  NeedKind = "verdict"  // a branch or merge request without a verdict
)

// NeedKinds lists the kinds, the most urgent first.
func NeedKinds() []NeedKind {
	return []NeedKind{NeedUnknown, NeedHeld, NeedApproval, NeedPaused, NeedFailed, NeedExpired, NeedTrust, NeedErrored, NeedVerdict}
}

// Need is something that needs a person.
type Need struct {
	Kind NeedKind `json:"kind"`
	// ID is that of the delivery, run or release; empty for a commit of which there is none.
	ID string `json:"id"`
	Subject
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	// Until is when it ends by itself; null for never.
	Until *time.Time `json:"until"`
	// Hold is what a held release waits for; null for others.
	Hold *Hold `json:"hold"`
}

// LastHour is what the plots of an overview show.
type LastHour struct {
	From time.Time `json:"from"`
	// Parts are the parts of the hour, the oldest first.
	Parts []HourPart `json:"parts"`
	// Verdicts are the runs that were created in the hour and have one, the oldest first.
	Verdicts []HourVerdict `json:"verdicts"`
	// Partial: only the newest deliveries and runs were read.
	Partial bool `json:"partial"`
}

// HourPart is what was received in a part of an hour.
type HourPart struct {
	From time.Time `json:"from"`
	// Deliveries are counted by their states.
	Deliveries map[event.DeliveryState]int `json:"deliveries"`
	// Slowest is the longest wait for a decision.
	Slowest Duration `json:"slowest"`
}

// Total is how many deliveries were received.
func (p HourPart) Total() (n int) {
	for _, count := range p.Deliveries {
		n += count
	}
	return n
}

// HourVerdict is the verdict of a run.
type HourVerdict struct {
	RunID  string    `json:"run_id"`
	At     time.Time `json:"at"`
	Took   Duration  `json:"took"`
	Passed bool      `json:"passed"`
}

// Duration is a time that something took, in JSON as Go writes it, such as 1m30s.
type Duration struct{ time.Duration }

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// ConnectionActivity is what a connection does.
type ConnectionActivity struct {
	Name string `json:"name"`
	// Deliveries are those of the last hour, Failed those of them that could not be read, and
	// LastDelivery is when the newest was received; null without one.
	Deliveries   int        `json:"deliveries"`
	Failed       int        `json:"failed"`
	LastDelivery *time.Time `json:"last_delivery"`
	// ReportsWaiting are statuses and comments that are not written yet, since ReportsSince;
	// ReportsGivenUp those that could not be.
	ReportsWaiting int        `json:"reports_waiting"`
	ReportsSince   *time.Time `json:"reports_since"`
	ReportsGivenUp int        `json:"reports_given_up"`
	// HostProblems counts the repositories about which the host could not be asked.
	HostProblems int `json:"host_problems"`
}

// NewOverview reads an overview as of a time. A branch or merge request needs a verdict once it has
// had none for missingAfter.
func NewOverview(ctx context.Context, tx *store.Tx, now time.Time, missingAfter time.Duration) (o Overview, err error) {
	o.At = now.UTC()
	for _, read := range []func(context.Context, *store.Tx, *Overview) error{
		readNeeds(missingAfter), readInFlight, readLastHour, readConnections,
	} {
		if err := read(ctx, tx, &o); err != nil {
			return Overview{}, err
		}
	}
	return o, nil
}

// readNeeds reads what needs a person, of each kind at most overviewRecords.
func readNeeds(missingAfter time.Duration) func(context.Context, *store.Tx, *Overview) error {
	return func(ctx context.Context, tx *store.Tx, o *Overview) error {
		o.Needs = []Need{}
		waiting, err := tx.Releases(ctx, store.Filter{
			States: []string{string(release.Held), string(release.AwaitingApproval), string(release.Paused)}, OldestFirst: true, Limit: overviewRecords + 1,
		})
		if err != nil {
			return err
		}
		kinds := map[release.State]NeedKind{release.Held: NeedHeld, release.AwaitingApproval: NeedApproval, release.Paused: NeedPaused,
			release.Unknown: NeedUnknown, release.Failed: NeedFailed, release.Expired: NeedExpired}
		need := func(r release.Release) {
			n := Need{Kind: kinds[r.State], ID: r.ID, Subject: subjectOf(r.Event), Reason: r.Reason, Since: r.CreatedAt}
			switch {
			case r.State.Ended():
				n.Since = r.FinishedAt
			default:
				n.Until = moment(r.Deadline)
				if r.State == release.Held {
					n.Hold = newHold(r.Hold)
				}
				switch {
				case n.Hold != nil && n.Hold.Since != nil:
					n.Since = *n.Hold.Since
				case !r.WaitsForPersonSince.IsZero():
					n.Since = r.WaitsForPersonSince
				}
			}
			o.Needs = append(o.Needs, n)
		}
		for _, r := range o.cut(waiting) {
			need(r)
		}
		for _, state := range release.AttentionStates() {
			unresolved, err := tx.Unresolved(ctx, state, overviewRecords+1)
			if err != nil {
				return err
			}
			for _, r := range o.cut(unresolved) {
				need(r)
			}
		}
		forks, err := tx.AwaitingTrust(ctx, overviewRecords)
		if err != nil {
			return err
		}
		for _, d := range forks {
			o.Needs = append(o.Needs, Need{Kind: NeedTrust, ID: d.ID, Subject: NewDelivery(d).Subject, Reason: d.Reason, Since: d.UpdatedAt})
		}
		runs, err := tx.Untried(ctx, o.At.Add(-overviewUntried), overviewRecords+1)
		if err != nil {
			return err
		}
		o.MoreNeeds = o.MoreNeeds || len(runs) > overviewRecords
		for _, run := range runs[:min(len(runs), overviewRecords)] {
			o.Needs = append(o.Needs, Need{Kind: NeedErrored, ID: run.ID, Subject: subjectOf(run.Event), Reason: run.Reason, Since: run.FinishedAt})
		}
		missing, err := MissingVerdicts(ctx, tx, o.At.Add(-missingAfter), store.Filter{Limit: overviewRecords})
		if err != nil {
			return err
		}
		for _, m := range missing.Items {
			o.Needs = append(o.Needs, Need{Kind: NeedVerdict, ID: m.RunID, Reason: m.Reason, Since: m.Since, Subject: Subject{
				Connection: m.Connection, Repository: m.Repository, Event: m.Event, Branch: m.Branch, Number: m.Number, Commit: m.Commit,
			}})
		}
		order := NeedKinds()
		slices.SortStableFunc(o.Needs, func(a, b Need) int { return slices.Index(order, a.Kind) - slices.Index(order, b.Kind) })
		return nil
	}
}

// cut leaves out what is too much, and says so.
func (o *Overview) cut(releases []release.Release) []release.Release {
	o.MoreNeeds = o.MoreNeeds || len(releases) > overviewRecords
	return releases[:min(len(releases), overviewRecords)]
}

// readInFlight reads what has not ended.
func readInFlight(ctx context.Context, tx *store.Tx, o *Overview) error {
	oldest, err := tx.OldestUndecided(ctx)
	if err != nil {
		return err
	}
	o.OldestWaiting = moment(oldest)
	runs, err := Runs(ctx, tx, store.Filter{States: []string{string(codecheck.Queued), string(codecheck.Starting), string(codecheck.Running)}, OldestFirst: true, Limit: overviewRecords})
	if err != nil {
		return err
	}
	o.Runs, o.RunCount = runs.Items, len(runs.Items)
	if runs.Next != "" {
		if o.RunCount, err = tx.CountActiveRuns(ctx); err != nil {
			return err
		}
	}
	releases, err := Releases(ctx, tx, store.Filter{States: []string{string(release.Starting), string(release.Running)}, OldestFirst: true, Limit: overviewRecords})
	if err != nil {
		return err
	}
	o.Releases, o.ReleaseCount = releases.Items, len(releases.Items)
	if releases.Next != "" {
		o.ReleaseCount, err = tx.CountMovingReleases(ctx)
	}
	return err
}

// readLastHour reads what the plots show.
func readLastHour(ctx context.Context, tx *store.Tx, o *Overview) error {
	// The parts begin at whole ones, so that a bar does not change as time goes by.
	from := o.At.Add(-overviewPast).Truncate(overviewPart).Add(overviewPart)
	hour := LastHour{From: from, Parts: []HourPart{}, Verdicts: []HourVerdict{}}
	for at := from; !at.After(o.At); at = at.Add(overviewPart) {
		hour.Parts = append(hour.Parts, HourPart{From: at, Deliveries: map[event.DeliveryState]int{}})
	}
	arrivals, err := tx.Arrivals(ctx, from, overviewPart, overviewDeliveries)
	if err != nil {
		return err
	}
	total := 0
	for _, a := range arrivals {
		if total += a.Count; a.State == event.DeliveryReceived {
			o.Waiting += a.Count
		}
		// The clock of another replica may be ahead.
		part := &hour.Parts[min(a.Part, len(hour.Parts)-1)]
		part.Deliveries[a.State] += a.Count
		part.Slowest = Duration{max(part.Slowest.Duration, a.Slowest)}
		c := o.connection(a.Connection)
		c.Deliveries += a.Count
		if a.State == event.DeliveryFailed {
			c.Failed += a.Count
		}
		if c.LastDelivery == nil || c.LastDelivery.Before(a.Newest) {
			c.LastDelivery = &a.Newest
		}
	}
	runs, err := tx.Runs(ctx, store.Filter{States: []string{string(codecheck.Passed), string(codecheck.Failed)}, Since: from, Limit: overviewRuns})
	if err != nil {
		return err
	}
	for _, run := range slices.Backward(runs) {
		hour.Verdicts = append(hour.Verdicts, HourVerdict{RunID: run.ID, At: run.FinishedAt, Took: Duration{run.FinishedAt.Sub(run.ReceivedAt)}, Passed: run.State == codecheck.Passed})
	}
	hour.Partial = total >= overviewDeliveries || len(runs) >= overviewRuns
	o.LastHour = hour
	return nil
}

// readConnections reads what connections have to tell, and what they were not told.
func readConnections(ctx context.Context, tx *store.Tx, o *Overview) error {
	reports, err := tx.CountReports(ctx)
	if err != nil {
		return err
	}
	for name, counts := range reports {
		c := o.connection(name)
		c.ReportsWaiting, c.ReportsGivenUp, c.ReportsSince = counts.Waiting, counts.GivenUp, moment(counts.Oldest)
	}
	problems, err := tx.CountHostProblems(ctx)
	if err != nil {
		return err
	}
	for name, n := range problems {
		o.connection(name).HostProblems = n
	}
	if o.Connections == nil {
		o.Connections = []ConnectionActivity{}
	}
	return nil
}

// connection is the entry of a connection, made where there is none.
func (o *Overview) connection(name string) *ConnectionActivity {
	i, found := slices.BinarySearchFunc(o.Connections, name, func(c ConnectionActivity, name string) int {
		switch {
		case c.Name < name:
			return -1
		case c.Name > name:
			return 1
		}
		return 0
	})
	if !found {
		o.Connections = slices.Insert(o.Connections, i, ConnectionActivity{Name: name})
	}
	return &o.Connections[i]
}
