package jobs

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// Metrics count what the jobs do.
type Metrics struct {
	together  prometheus.Histogram
	decisions *prometheus.CounterVec
	decided   prometheus.Histogram
	verdicts  *prometheus.HistogramVec
	jobs      *prometheus.HistogramVec
}

// NewMetrics registers the metrics of the jobs, each with the labels that it
// will have, so that they stand at zero before the first event.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		together: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "gatewright_deliveries_per_commit",
			Help:    "Deliveries that came at once and were stored by one commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 9),
		}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewright_decisions_total",
			Help: "Deliveries that were processed, by what became of them and by what the rules said.",
		}, []string{"state", "outcome"}),
		decided: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "gatewright_delivery_to_decision_seconds",
			Help:    "Time from the receipt of a delivery to its decision.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 5, 30, 120},
		}),
		verdicts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gatewright_push_to_verdict_seconds",
			Help:    "Time from the receipt of the delivery to the end of its run, by the run's end state.",
			Buckets: []float64{1, 5, 15, 30, 60, 120, 300, 600, 1200, 2700},
		}, []string{"state"}),
		jobs: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gatewright_job_seconds",
			Help:    "Time that one step of a job took, by kind and by whether it went well.",
			Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 5, 30, 60},
		}, []string{"kind", "outcome"}),
	}
	for _, outcome := range []rules.Outcome{rules.Matched, rules.Ignored, rules.NoMatch} {
		m.decisions.WithLabelValues(string(event.DeliveryDecided), string(outcome))
	}
	for _, state := range []event.DeliveryState{event.DeliveryIgnored, event.DeliveryDuplicate, event.DeliveryFailed} {
		m.decisions.WithLabelValues(string(state), "")
	}
	for _, state := range codecheck.States() {
		if state.Ended() {
			m.verdicts.WithLabelValues(string(state))
		}
	}
	registry.MustRegister(m.together, m.decisions, m.decided, m.verdicts, m.jobs)
	return m
}

func (m *Metrics) observeDecision(d store.Delivery, state event.DeliveryState, outcome rules.Outcome, now time.Time) {
	if state != event.DeliveryDecided {
		outcome = ""
	}
	m.decisions.WithLabelValues(string(state), string(outcome)).Inc()
	m.decided.Observe(now.Sub(d.ReceivedAt).Seconds())
}

func (m *Metrics) observeVerdict(run codecheck.Run) {
	m.verdicts.WithLabelValues(string(run.State)).Observe(run.FinishedAt.Sub(run.ReceivedAt).Seconds())
}

func (m *Metrics) observeJob(kind string, err error, took time.Duration) {
	outcome := "ok"
	if err != nil {
		outcome = "error"
	}
	m.jobs.WithLabelValues(kind, outcome).Observe(took.Seconds())
}

// Standing collects how many runs, releases and jobs are in each state, and how
// long the oldest delivery has waited, from the database at each scrape.
type Standing struct {
	store    *store.Store
	now      func() time.Time
	runs     *prometheus.Desc
	releases *prometheus.Desc
	jobs     *prometheus.Desc
	oldest   *prometheus.Desc
}

// scrapeTimeout bounds the queries of one scrape.
const scrapeTimeout = 5 * time.Second

// NewStanding makes the collector; register it on the registry that is scraped.
func NewStanding(s *store.Store, now func() time.Time) *Standing {
	return &Standing{
		store:    s,
		now:      now,
		runs:     prometheus.NewDesc("gatewright_runs", "Runs by state.", []string{"state"}, nil),
		releases: prometheus.NewDesc("gatewright_releases", "Releases by state.", []string{"state"}, nil),
		jobs:     prometheus.NewDesc("gatewright_jobs", "Jobs by state, as the queue has them.", []string{"state"}, nil),
		oldest:   prometheus.NewDesc("gatewright_oldest_undecided_delivery_seconds", "Age of the oldest delivery that waits for its decision; 0 when none waits.", nil, nil),
	}
}

// Describe names what Collect sends.
func (c *Standing) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.runs
	ch <- c.releases
	ch <- c.jobs
	ch <- c.oldest
}

// Collect reads the database. When it cannot, the scrape says so.
func (c *Standing) Collect(ch chan<- prometheus.Metric) {
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
		jobs, err := tx.CountJobs(ctx)
		if err != nil {
			return err
		}
		oldest, err := tx.OldestUndecided(ctx)
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
		for state, number := range jobs {
			gauge(c.jobs, float64(number), state)
		}
		age := time.Duration(0)
		if !oldest.IsZero() {
			age = c.now().Sub(oldest)
		}
		gauge(c.oldest, age.Seconds())
		return nil
	})
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.oldest, err)
	}
}
