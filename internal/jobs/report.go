package jobs

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/report"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// Reporter is what the jobs tell the git hosts by; see [forge.Forge].
type Reporter interface {
	SetStatus(ctx context.Context, t forge.Target, s forge.Status, handle string) (newHandle string, err error)
	SaveComment(ctx context.Context, t forge.Target, marker, body, id string) (newID string, err error)
	// Remaining is how many requests the host takes until reset, where that is known, and Limit how many it
	// takes between two resets; 0 where it does not say.
	Remaining(connection string) (requests int, reset time.Time, known bool)
	Limit(connection string) int
	// FileURL is the address of a line of a file at a commit; "" where there is none.
	FileURL(connection, repository, sha, path string, line int) string
}

const (
	// giveUpReport is how long a report is tried to be written.
	giveUpReport = 24 * time.Hour
	// roomForEnds is how many of the host's requests are kept for how things ended, but not more than a
	// tenth of what it takes.
	roomForEnds = 200
	// refusedPause is for how long a host hears nothing that has refused the token.
	refusedPause = time.Minute
)

// reportRun notes what a run's new state may change at its host.
func (q *Queue) reportRun(tx *transaction, run codecheck.Run) {
	if run.State == codecheck.Starting {
		return // it says what queued said
	}
	r := reportOf(run.Event, run.DeliveryID)
	q.want(tx, r)
	if run.Event.Number > 0 && run.State.Ended() && run.State != codecheck.Superseded {
		r.SHA = ""
		q.want(tx, r)
	}
}

// reportRelease notes what a release's new state may change at its host.
func (q *Queue) reportRelease(tx *transaction, r release.Release) {
	wanted := reportOf(r.Event, "")
	wanted.Pipeline = r.Plan.Pipeline
	q.want(tx, wanted)
}

// reportDecision notes that a rule asks for no check of a commit, or for none until somebody vouches for
// it, or that its merge request ended.
func (q *Queue) reportDecision(tx *transaction, e evaluation, r result) {
	wanted := reportOf(e.event, e.delivery.ID)
	switch {
	case e.event.HeadSHA == "":
		return
	case e.event.Number > 0 && e.event.EndsRef(), r.state == event.DeliveryIgnored && waits(r.decision):
	case r.state == event.DeliveryDecided && r.decision != nil && r.decision.Outcome == rules.Ignored:
		wanted.Ignored = r.reason
	default:
		return
	}
	q.want(tx, wanted)
}

func reportOf(ev event.Event, deliveryID string) store.Report {
	return store.Report{Connection: ev.Connection, Repository: ev.Repository, SHA: ev.HeadSHA, Ref: ev.CommitRef(), Number: ev.Number, DeliveryID: deliveryID}
}

// want notes a report where its connection is told such.
func (q *Queue) want(tx *transaction, r store.Report) {
	settings, told := q.reportSettings(r.Connection)
	if !told || r.SHA != "" && !settings.Statuses || r.SHA == "" && !settings.Comments() {
		return
	}
	if tx.reports == nil {
		tx.reports = map[string]store.Report{}
	}
	tx.reports[r.Key()] = r
}

// reportSettings says what a connection is told; told is false when nothing is.
func (q *Queue) reportSettings(connection string) (s report.Settings, told bool) {
	if q.opts.Report == nil {
		return s, false
	}
	s = q.opts.Report(connection)
	return s, s.Statuses || s.Comments()
}

// wantReports notes the reports, in one order, so that transactions which note the same
// ones wait for each other.
func (q *Queue) wantReports(ctx context.Context, tx *transaction) error {
	for _, key := range slices.Sorted(maps.Keys(tx.reports)) {
		if err := tx.Want(ctx, tx.reports[key]); err != nil {
			return err
		}
	}
	if len(tx.reports) > 0 {
		tx.AfterCommit(q.outbox.look)
	}
	return nil
}

// tell writes a report where what it says is not what the host was told last.
func (q *Queue) tell(ctx context.Context, settings report.Settings, o *store.Outgoing) error {
	if o.SHA == "" {
		return q.tellComment(ctx, settings, o)
	}
	status, received, needsTrust, said, err := q.statusOf(ctx, settings, o.Report)
	if err != nil || !said {
		return err
	}
	written := digest(status)
	if written == o.Written {
		return nil
	}
	ended := o.State != "" && report.Final(forge.StatusState(o.State))
	if !report.Final(status.State) && !ended && !needsTrust && q.fewRequestsLeft(o.Connection) {
		return nil // the end will be told
	}
	handle, err := q.opts.Reporter.SetStatus(ctx, targetOf(o.Report), status, o.Handle)
	if err != nil {
		return err
	}
	o.State, o.Written, o.Handle = string(status.State), written, handle
	if o.Writes++; o.Writes == 1 && !received.IsZero() {
		q.opts.Metrics.firstWord.Observe(q.now().Sub(received).Seconds())
	}
	return nil
}

// fewRequestsLeft reports whether the host takes so few more requests that they are kept for how things ended.
func (q *Queue) fewRequestsLeft(connection string) bool {
	left, _, known := q.opts.Reporter.Remaining(connection)
	return known && left < keptForEnds(q.opts.Reporter.Limit(connection))
}

// keptForEnds is how many requests are kept for ends of what a host takes, which is 0 where it does not say.
func keptForEnds(limit int) int { return min(roomForEnds, cmp.Or(limit, assumedLimit)/10) }

// statusOf is what the status of a commit says by the records as they are now. received is
// when the commit was announced to its newest run; zero without one. needsTrust: it waits for somebody
// who vouches for it.
func (q *Queue) statusOf(ctx context.Context, settings report.Settings, r store.Report) (status forge.Status, received time.Time, needsTrust, said bool, err error) {
	err = q.store.View(ctx, func(tx *store.Tx) error {
		if r.Pipeline != "" {
			releases, err := tx.ReleasesOfCommit(ctx, r.Connection, r.Repository.ID, r.SHA, r.Pipeline)
			status, said = settings.Release(releases)
			return err
		}
		runs, err := tx.RunsOfCommit(ctx, r.Connection, r.Repository.ID, r.SHA)
		if err != nil {
			return err
		}
		if len(runs) > 0 {
			received = runs[len(runs)-1].ReceivedAt
		}
		if needsTrust, err = tx.TrustAwaited(ctx, r.Connection, r.Repository.ID, r.SHA); err != nil {
			return err
		}
		if status, said = settings.Check(runs, r.Ignored, needsTrust); !said || !report.Final(status.State) {
			return nil
		}
		for i := len(runs) - 1; i >= 0 && len(status.Annotations) == 0; i-- {
			if runs[i].State == codecheck.Failed {
				findings, err := tx.Findings(ctx, runs[i].FindingsKeptWith())
				if err != nil {
					return err
				}
				status.Annotations = report.Annotations(findings)
			}
		}
		return nil
	})
	return status, received, needsTrust, said, err
}

// tellComment writes the comment on a merge request.
func (q *Queue) tellComment(ctx context.Context, settings report.Settings, o *store.Outgoing) error {
	c := report.Commented{Findings: map[string][]codecheck.Finding{}, FileURL: func(sha, path string, line int) string {
		return q.opts.Reporter.FileURL(o.Connection, o.Repository.FullName, sha, path, line)
	}}
	err := q.store.View(ctx, func(tx *store.Tx) (err error) {
		if c.Runs, err = tx.LatestRuns(ctx, event.Event{Connection: o.Connection, Repository: o.Repository, Number: o.Number}.RefKey()); err != nil {
			return err
		}
		for _, run := range c.Runs {
			kept := run.FindingsKeptWith()
			if c.Findings[kept], err = tx.Findings(ctx, kept); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	body, said := settings.CommentFor(c, o.Handle != "")
	written := digest(body)
	if !said || written == o.Written {
		return nil
	}
	id, err := q.opts.Reporter.SaveComment(ctx, targetOf(o.Report), report.Marker, body, o.Handle)
	if err != nil {
		return err
	}
	o.State, o.Written, o.Handle = "written", written, id
	o.Writes++
	return nil
}

func targetOf(r store.Report) forge.Target {
	return forge.Target{Connection: r.Connection, Repository: r.Repository, SHA: r.SHA, Ref: r.Ref, Number: r.Number}
}

// digest tells two values apart.
func digest(v any) string {
	data, _ := json.Marshal(v) // texts and numbers alone
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// settle notes how the writing ended, and when it is tried again. What is refused for good may
// be written after the next change. The host pauses when it wants to hear nothing of any report,
// or does not know the token; what the token may not do in one repository delays that report alone.
func (q *Queue) settle(o *store.Outgoing, failure error, host *turn) {
	waited := q.now().Sub(o.WantedAt)
	outcome := reportWritten
	switch {
	case failure == nil:
		o.Done, o.Problem = o.Version, ""
		delete(host.refused, o.Repository.ID)
	case final(failure):
		outcome = reportRefused
		if o.Problem != failure.Error() {
			q.log.Warn("git host refused a report", q.reportFields(*o, failure)...)
		}
		o.Done, o.Problem = o.Version, failure.Error()
	case waited > giveUpReport:
		outcome = reportGivenUp
		o.GivenUp, o.Problem = true, fmt.Sprintf("given up after %s: %s", giveUpReport, failure)
		q.log.Error("report given up", q.reportFields(*o, failure)...)
	default:
		outcome = reportRetried
		o.Problem = failure.Error()
		wait := min(max(waited/4, 2*time.Second), 10*time.Minute)
		var said *forge.Error
		if errors.As(failure, &said) && (said.RetryAfter() > 0 || said.Forbidden()) {
			pause := min(cmp.Or(said.RetryAfter(), refusedPause), time.Hour)
			if wait = max(wait, pause); said.RetryAfter() > 0 || said.Status == http.StatusUnauthorized {
				host.until = q.now().Add(pause)
			}
		}
		if said != nil && said.Forbidden() && !host.refused[o.Repository.ID] {
			host.refused[o.Repository.ID] = true
			q.log.Warn("git host takes no reports with this token", q.reportFields(*o, failure)...)
		}
		o.DueAt = q.now().Add(wait)
	}
	q.opts.Metrics.observeReport(o.Report, outcome)
}

func (q *Queue) reportFields(o store.Outgoing, failure error) []zap.Field {
	return []zap.Field{zap.String(event.LogConnection, o.Connection), zap.String(event.LogRepository, o.Repository.FullName),
		zap.String(event.LogSHA, o.SHA), zap.String(event.LogReport, o.Key()), zap.Error(failure)}
}
