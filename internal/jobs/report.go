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
	"slices"
	"sync"
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
	// Remaining is how many requests the host takes until reset, where that is known.
	Remaining(connection string) (requests int, reset time.Time, known bool)
	// FileURL is the address of a line of a file at a commit; "" where there is none.
	FileURL(connection, repository, sha, path string, line int) string
}

const (
	reportQueue = "reports"
	// reportWorkers is how many hosts are told something at the same time, reportsAtOnce
	// those of one connection, so that a host that does not answer leaves room for others.
	reportWorkers, reportsAtOnce = 16, 10
	// claimReport is longer than the job that writes a report may take.
	claimReport = remoteTimeout + saveTimeout + 10*time.Second
	// giveUpReport is how long a report is tried to be written.
	giveUpReport = 24 * time.Hour
	// roomForEnds is how many of the host's requests are kept for how things ended.
	roomForEnds = 200
	// refusedPause is for how long a host hears nothing that has refused the token.
	refusedPause = time.Minute
	// reportTurn is the wait of a report whose connection has no turn left.
	reportTurn = 200 * time.Millisecond
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

// reportIgnored notes that a rule asks for no check of a commit, or for none until somebody vouches for
// it.
func (q *Queue) reportIgnored(tx *transaction, e evaluation, r result) {
	if r.decision == nil || r.decision.Outcome != rules.Ignored || e.event.HeadSHA == "" {
		return
	}
	wanted := reportOf(e.event, e.delivery.ID)
	switch {
	case r.state == event.DeliveryIgnored && waits(r.decision):
		wanted.NeedsTrust = true
	case r.state == event.DeliveryDecided:
		wanted.Ignored = r.reason
	default:
		return
	}
	q.want(tx, wanted)
}

func reportOf(ev event.Event, deliveryID string) store.Report {
	return store.Report{Connection: ev.Connection, Repository: ev.Repository, SHA: ev.HeadSHA, Ref: reportedRef(ev), Number: ev.Number, DeliveryID: deliveryID}
}

// reportedRef is the branch or tag that has the commit: of a merge request the source branch.
func reportedRef(ev event.Event) string {
	if ev.Number > 0 {
		return ev.SourceBranch
	}
	return ev.Branch
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
// ones wait for each other, and adds their jobs.
func (tx *transaction) wantReports(ctx context.Context) error {
	for _, key := range slices.Sorted(maps.Keys(tx.reports)) {
		if err := tx.Want(ctx, tx.reports[key]); err != nil {
			return err
		}
		tx.enqueue(writeReportArgs{Key: key})
	}
	return nil
}

// writeReport tells a host what a report says now. One job does so at a time for each
// report: another that finds it claimed leaves it to the one that has it, which looks at the
// end whether something has changed. So no older word follows a newer one. A job whose process
// died begins once more, and has its claim still.
func (q *Queue) writeReport(ctx context.Context, args writeReportArgs) (time.Duration, error) {
	connection := store.ConnectionOfReport(args.Key)
	settings, told := q.reportSettings(connection)
	if !told || q.opts.Reporter == nil {
		return 0, q.update(ctx, func(tx *transaction) error { return tx.ForgetReport(ctx, args.Key) })
	}
	if wait := q.telling.take(connection, q.now()); wait > 0 {
		return wait, nil
	}
	var pause time.Time
	defer func() { q.telling.giveBack(connection, pause) }()
	o, claimed, err := q.store.ClaimReport(ctx, args.Key, args.job, q.now().Add(claimReport))
	if err != nil || !claimed {
		return 0, err
	}
	failure := q.tell(ctx, settings, &o)
	var wait time.Duration
	wait, pause = q.settle(&o, failure)
	newer := false
	err = q.save(ctx, func(ctx context.Context, tx *transaction) (err error) {
		newer, err = tx.SaveReport(ctx, o, args.job)
		return err
	})
	switch {
	case err != nil:
		return 0, err
	case wait > 0:
		return wait, nil
	case newer:
		return soon, nil
	}
	return 0, nil
}

// tell writes a report where what it says is not what the host was told last.
func (q *Queue) tell(ctx context.Context, settings report.Settings, o *store.Outgoing) error {
	if o.SHA == "" {
		return q.tellComment(ctx, settings, o)
	}
	status, received, said, err := q.statusOf(ctx, settings, o.Report)
	if err != nil || !said {
		return err
	}
	written := digest(status)
	if written == o.Written {
		return nil
	}
	if left, _, known := q.opts.Reporter.Remaining(o.Connection); known && left < roomForEnds && !report.Final(status.State) {
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

// statusOf is what the status of a commit says by the records as they are now. received is
// when the commit was announced to its newest run; zero without one.
func (q *Queue) statusOf(ctx context.Context, settings report.Settings, r store.Report) (status forge.Status, received time.Time, said bool, err error) {
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
		if status, said = settings.Check(runs, r.Ignored, r.NeedsTrust); !said || !report.Final(status.State) {
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
	return status, received, said, err
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

// settle notes how the writing ended, and says how long to wait before it is tried again; 0
// when it is not. What is refused for good may be written after the next change. pause is until
// when the host wants to hear nothing of any report, or takes nothing with this token.
func (q *Queue) settle(o *store.Outgoing, failure error) (wait time.Duration, pause time.Time) {
	waited := q.now().Sub(o.WantedAt)
	outcome := reportWritten
	switch {
	case failure == nil:
		o.Done, o.Problem = o.Version, ""
		q.telling.refuse(o.Connection, false)
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
		wait = min(max(waited/4, 2*time.Second), 10*time.Minute)
		var said *forge.Error
		if errors.As(failure, &said) && (said.RetryAfter() > 0 || said.Forbidden()) {
			wait = max(wait, min(cmp.Or(said.RetryAfter(), refusedPause), time.Hour))
			pause = q.now().Add(wait)
		}
		if said != nil && q.telling.refuse(o.Connection, said.Forbidden()) {
			q.log.Warn("git host takes no reports with this token", q.reportFields(*o, failure)...)
		}
		o.DueAt = q.now().Add(wait)
	}
	q.opts.Metrics.observeReport(o.Report, outcome)
	return wait, pause
}

func (q *Queue) reportFields(o store.Outgoing, failure error) []zap.Field {
	return []zap.Field{zap.String(event.LogConnection, o.Connection), zap.String(event.LogRepository, o.Repository.FullName),
		zap.String(event.LogSHA, o.SHA), zap.String(event.LogReport, o.Key()), zap.Error(failure)}
}

// turns bounds how many jobs of one connection run at the same time in this process, and lets
// all of them pause when its host says so.
type turns struct {
	most  int
	mutex sync.Mutex
	of    map[string]*turn
}

type turn struct {
	taken int
	until time.Time
	// refused: that the token may not write is logged, and nothing was written since.
	refused bool
}

func newTurns(most int) *turns { return &turns{most: most, of: map[string]*turn{}} }

// take takes a turn, which giveBack ends, or says how long to wait for one.
func (t *turns) take(connection string, now time.Time) (wait time.Duration) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.of[connection] == nil {
		t.of[connection] = &turn{}
	}
	of := t.of[connection]
	switch {
	case now.Before(of.until):
		return of.until.Sub(now)
	case of.taken >= t.most:
		return reportTurn
	}
	of.taken++
	return 0
}

// giveBack ends a turn. Nothing is told before until.
func (t *turns) giveBack(connection string, until time.Time) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	of := t.of[connection]
	of.taken--
	if until.After(of.until) {
		of.until = until
	}
}

// refuse notes whether the host refuses the token, and reports whether that is news.
func (t *turns) refuse(connection string, refused bool) (news bool) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	news = refused && !t.of[connection].refused
	t.of[connection].refused = refused
	return news
}
