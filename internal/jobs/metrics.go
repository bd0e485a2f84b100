package jobs

import (
	"cmp"
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/notify"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// Metrics count what the jobs do.
type Metrics struct {
	perCommit prometheus.Histogram
	decisions *prometheus.CounterVec
	decided   prometheus.Histogram
	runs      *prometheus.CounterVec
	verdicts  *prometheus.HistogramVec
	releases  *prometheus.CounterVec
	actions   *prometheus.CounterVec
	jobs      *prometheus.HistogramVec
	reports   *prometheus.CounterVec
	firstWord prometheus.Histogram
	recovered *prometheus.CounterVec
	commands  *prometheus.CounterVec
	notices   *prometheus.CounterVec
}

// NewMetrics registers the metrics of the jobs, each with the labels that it
// will have, so that they are zero before the first event.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		perCommit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "gatewright_deliveries_per_commit",
			Help:    "Deliveries that arrived at the same time and were stored by one commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 9),
		}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewright_decisions_total",
			Help: "Deliveries that were processed, by their state and by the outcome of the rules.",
		}, []string{"state", "outcome"}),
		decided: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "gatewright_delivery_to_decision_seconds",
			Help:    "Time from the receipt of a delivery to its decision.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 5, 30, 120},
		}),
		notices: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewright_notices_total",
			Help: "Attempts to send notices, by the event and by what came of them.",
		}, []string{"event", "outcome"}),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewright_runs_finished_total",
			Help: "Runs that reached an end state, by that state.",
		}, []string{"state"}),
		verdicts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gatewright_push_to_verdict_seconds",
			Help:    "Time from the receipt of the delivery to the end of its run, by the run's end state.",
			Buckets: []float64{1, 5, 15, 30, 60, 120, 300, 600, 1200, 2700},
		}, []string{"state"}),
		releases: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewright_releases_finished_total",
			Help: "Releases that reached an end state, by that state.",
		}, []string{"state"}),
		actions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewright_release_actions_total",
			Help: "Actions sent to ServiceStage, by action and result.",
		}, []string{"action", "result"}),
		jobs: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gatewright_job_seconds",
			Help:    "Duration of one step of a job, by kind and by whether it failed.",
			Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 5, 30, 60},
		}, []string{"kind", "outcome"}),
	}
	m.reports = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatewright_reports_total",
		Help: "Attempts to tell a git host something, by what: status or comment, and by outcome.",
	}, []string{"kind", "outcome"})
	m.firstWord = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "gatewright_push_to_status_seconds",
		Help:    "Time from the receipt of a delivery to the first status of its commit on the git host.",
		Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 15, 60, 600},
	})
	m.recovered = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatewright_recovered_deliveries_total",
		Help: "Deliveries that no webhook brought in its time, by connection and by how: compared (read from the host), redelivered (the host was asked to send it again).",
	}, []string{"connection", "how"})
	m.commands = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatewright_commands_total",
		Help: "Commands in comments on merge requests, by command and by what became of them.",
	}, []string{"command", "outcome"})
	m.initialize()
	registry.MustRegister(m.perCommit, m.decisions, m.decided, m.runs, m.verdicts, m.releases, m.actions, m.jobs, m.reports, m.firstWord, m.commands, m.recovered)
	return m
}

// initialize makes the series that an alert may watch before their first event.
func (m *Metrics) initialize() {
	for _, outcome := range []rules.Outcome{rules.Matched, rules.Ignored, rules.NoMatch} {
		m.decisions.WithLabelValues(string(event.DeliveryDecided), string(outcome))
	}
	for _, state := range []event.DeliveryState{event.DeliveryIgnored, event.DeliveryDuplicate, event.DeliveryFailed} {
		m.decisions.WithLabelValues(string(state), "")
	}
	for _, state := range codecheck.States() {
		if state.Ended() {
			m.runs.WithLabelValues(string(state))
			m.verdicts.WithLabelValues(string(state))
		}
	}
	for _, kind := range []string{reportStatus, reportComment} {
		for _, outcome := range []string{reportWritten, reportRefused, reportRetried, reportGivenUp} {
			m.reports.WithLabelValues(kind, outcome)
		}
	}
	for _, name := range append(Commands(), commandUnknown) {
		for _, outcome := range store.CommandOutcomes() {
			m.commands.WithLabelValues(name, string(outcome))
		}
	}
	for _, e := range notify.Events() {
		for _, outcome := range []string{noticeSent, noticeRetried, noticeGivenUp} {
			m.notices.WithLabelValues(string(e), outcome)
		}
	}
	for _, state := range release.EndStates() {
		m.releases.WithLabelValues(string(state))
	}
	for _, action := range rules.ReleaseActions() {
		for _, result := range release.Results() {
			m.actions.WithLabelValues(string(action), string(result))
		}
	}
}

// What becomes of the attempts to send notices.
const noticeSent, noticeRetried, noticeGivenUp = "sent", "retried", "given_up"

func (m *Metrics) observeNotice(event, outcome string) {
	m.notices.WithLabelValues(event, outcome).Inc()
}

// What reports are, and what becomes of the attempts to write them.
const (
	reportStatus, reportComment                                = "status", "comment"
	reportWritten, reportRefused, reportRetried, reportGivenUp = "written", "refused", "retried", "given_up"
)

func (m *Metrics) observeReport(r store.Report, outcome string) {
	kind := reportStatus
	if r.SHA == "" {
		kind = reportComment
	}
	m.reports.WithLabelValues(kind, outcome).Inc()
}

func (m *Metrics) observeDecision(d store.Delivery, r result, now time.Time) {
	var outcome rules.Outcome
	if r.state == event.DeliveryDecided {
		outcome = r.decision.Outcome
	}
	m.decisions.WithLabelValues(string(r.state), string(outcome)).Inc()
	if d.Recovered != event.NotRecovered {
		m.recovered.WithLabelValues(d.Connection, string(d.Recovered)).Inc()
	}
	m.decided.Observe(now.Sub(d.ReceivedAt).Seconds())
}

func (m *Metrics) observeRunEnd(run codecheck.Run) {
	m.runs.WithLabelValues(string(run.State)).Inc()
	m.verdicts.WithLabelValues(string(run.State)).Observe(run.FinishedAt.Sub(run.ReceivedAt).Seconds())
}

func (m *Metrics) observeReleaseEnd(r release.Release) {
	m.releases.WithLabelValues(string(r.State)).Inc()
}

// observeAction counts an action of a release whose result became known.
func (m *Metrics) observeAction(before, after release.Release) {
	if action, found := release.ActionResult(before, after); found {
		m.actions.WithLabelValues(string(action.Name), string(action.Result)).Inc()
	}
}

func (m *Metrics) observeJob(kind string, err error, took time.Duration) {
	outcome := "ok"
	if err != nil {
		outcome = "error"
	}
	m.jobs.WithLabelValues(kind, outcome).Observe(took.Seconds())
}

// StateCollector collects how many runs, releases and jobs are in each state, and how
// long the oldest delivery has waited, from the database at each scrape.
type StateCollector struct {
	store    *store.Store
	now      func() time.Time
	runs     *prometheus.Desc
	releases *prometheus.Desc
	jobs     *prometheus.Desc
	oldest   *prometheus.Desc
	// waiting and longest are of the runs that have no execution yet, places of those that
	// have one.
	waiting, longest, places *prometheus.Desc
	// without and withoutFor are of the branches without a verdict.
	without, withoutFor *prometheus.Desc
	// toldLate, untold and givenUp are of the reports that the hosts were not told yet.
	toldLate, untold, givenUp *prometheus.Desc
	// unresolved are the releases that a person must look at.
	unresolved *prometheus.Desc
	// missing are the refs without a verdict since missingAfter, problems the repositories that
	// cannot be read for recovery.
	missing, problems *prometheus.Desc
	missingAfter      time.Duration
}

// scrapeTimeout bounds the queries of one scrape.
const scrapeTimeout = 5 * time.Second

// NewStateCollector makes the collector; register it on the registry that is scraped. A verdict counts as
// missing after missingAfter.
func NewStateCollector(s *store.Store, now func() time.Time, missingAfter time.Duration) *StateCollector {
	return &StateCollector{
		missingAfter: missingAfter,
		missing: prometheus.NewDesc("gatewright_missing_verdicts",
			"Branches and open merge requests that a rule covers and whose commits have had no verdict for recovery.missing_after, by connection.", []string{"connection"}, nil),
		problems: prometheus.NewDesc("gatewright_recovery_problems",
			"Repositories whose host could not be asked about them when that was tried last, by connection.", []string{"connection"}, nil),
		store:    s,
		now:      now,
		runs:     prometheus.NewDesc("gatewright_runs", "Runs by state.", []string{"state"}, nil),
		releases: prometheus.NewDesc("gatewright_releases", "Releases by state.", []string{"state"}, nil),
		jobs:     prometheus.NewDesc("gatewright_jobs", "Jobs by state, as the queue has them.", []string{"state"}, nil),
		unresolved: prometheus.NewDesc("gatewright_unresolved_releases",
			"Releases that ended in a state after which a person must look at the pipeline, and that no person has resolved or repeated.", []string{"state"}, nil),
		waiting: prometheus.NewDesc("gatewright_waiting_runs",
			"Runs that wait, by what for: place (max_runs), task (another run has it), shared (the run whose execution it shares), quiet (debounce).", []string{"for"}, nil),
		longest: prometheus.NewDesc("gatewright_longest_wait_seconds",
			"Age of the oldest run that waits, by what for; 0 when none waits.", []string{"for"}, nil),
		places: prometheus.NewDesc("gatewright_used_places", "Runs that have an execution or are about to ask for one: what max_runs limits.", []string{"account"}, nil),
		without: prometheus.NewDesc("gatewright_refs_without_verdict",
			"Branches, tags and merge requests with an unfinished run, of which at least 3 runs were superseded since their last verdict.", nil, nil),
		withoutFor: prometheus.NewDesc("gatewright_longest_without_verdict_seconds",
			"Of those, how long ago the first of these runs was created; 0 when there is none.", nil, nil),
		untold:   prometheus.NewDesc("gatewright_waiting_reports", "Statuses and comments that a git host is still to be told, by connection.", []string{"connection"}, nil),
		toldLate: prometheus.NewDesc("gatewright_oldest_waiting_report_seconds", "For how long the oldest of them waits; 0 when none does.", []string{"connection"}, nil),
		givenUp:  prometheus.NewDesc("gatewright_given_up_reports", "Statuses and comments that could not be told for 24 hours, and that nothing has changed since.", []string{"connection"}, nil),
		oldest:   prometheus.NewDesc("gatewright_oldest_undecided_delivery_seconds", "Age of the oldest delivery that waits for its decision; 0 when none waits.", nil, nil),
	}
}

// Describe names what Collect sends.
func (c *StateCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.runs
	ch <- c.releases
	ch <- c.unresolved
	ch <- c.jobs
	ch <- c.oldest
	ch <- c.waiting
	ch <- c.longest
	ch <- c.places
	ch <- c.without
	ch <- c.withoutFor
	ch <- c.untold
	ch <- c.toldLate
	ch <- c.givenUp
	ch <- c.missing
	ch <- c.problems
}

// Collect reads the database. When it cannot, the scrape says so.
func (c *StateCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	err := c.store.View(ctx, func(tx *store.Tx) error {
		runs, err := tx.CountRuns(ctx)
		if err != nil {
			return err
		}
		releases, err := tx.CountReleases(ctx)
		if err != nil {
			return err
		}
		unresolved, err := tx.CountUnresolved(ctx)
		if err != nil {
			return err
		}
		jobs, err := tx.CountJobs(ctx)
		if err != nil {
			return err
		}
		oldest, err := tx.OldestUndecided(ctx)
		if err != nil {
			return err
		}
		waiting, err := tx.CountWaiting(ctx)
		if err != nil {
			return err
		}
		places, err := tx.UsedPlaces(ctx)
		if err != nil {
			return err
		}
		reports, err := tx.CountReports(ctx)
		if err != nil {
			return err
		}
		refs, first, err := tx.WithoutVerdict(ctx)
		if err != nil {
			return err
		}
		missing, err := tx.CountMissing(ctx, c.now().Add(-c.missingAfter))
		if err != nil {
			return err
		}
		problems, err := tx.CountHostProblems(ctx)
		if err != nil {
			return err
		}
		gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
		}
		for _, state := range codecheck.States() {
			gauge(c.runs, float64(runs[state]), string(state))
		}
		for _, state := range release.States() {
			gauge(c.releases, float64(releases[state]), string(state))
		}
		for _, state := range release.AttentionStates() {
			gauge(c.unresolved, float64(unresolved[state]), string(state))
		}
		for state, number := range jobs {
			gauge(c.jobs, float64(number), state)
		}
		age := time.Duration(0)
		if !oldest.IsZero() {
			age = c.now().Sub(oldest)
		}
		gauge(c.oldest, age.Seconds())
		for _, reason := range store.WaitReasons() {
			gauge(c.waiting, float64(waiting[reason].Count), reason)
			gauge(c.longest, c.since(waiting[reason].Oldest), reason)
		}
		places[""] += 0 // the account that there always is
		for account, used := range places {
			gauge(c.places, float64(used), cmp.Or(account, rules.MainAccount))
		}
		for connection, n := range reports {
			gauge(c.untold, float64(n.Waiting), connection)
			gauge(c.givenUp, float64(n.GivenUp), connection)
			late := 0.0
			if n.Waiting > 0 {
				late = c.now().Sub(n.Oldest).Seconds()
			}
			gauge(c.toldLate, late, connection)
		}
		for connection, n := range problems {
			gauge(c.problems, float64(n), connection)
			gauge(c.missing, float64(missing[connection]), connection)
		}
		gauge(c.without, float64(refs))
		gauge(c.withoutFor, c.since(first))
		return nil
	})
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.oldest, err)
	}
}

// since is how long ago a time in microseconds was, in seconds; 0 for none.
func (c *StateCollector) since(micros int64) float64 {
	if micros == 0 {
		return 0
	}
	return c.now().Sub(time.UnixMicro(micros)).Seconds()
}
