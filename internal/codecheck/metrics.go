package codecheck

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what became of runs and where their tasks came from.
type Metrics struct {
	finished *prometheus.CounterVec
	lookups  *prometheus.CounterVec
}

// NewMetrics registers gatewright_runs_finished_total{outcome}, where the
// outcome is the end state that a step reached, and
// gatewright_task_lookups_total{origin}.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		finished: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewright_runs_finished_total",
			Help: "Runs that reached an end state, by state.",
		}, []string{"outcome"}),
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewright_task_lookups_total",
			Help: "Tasks that runs needed, by where they came from.",
		}, []string{"origin"}),
	}
	r.MustRegister(m.finished, m.lookups)
	for _, state := range []State{Passed, Failed, Errored, Stopped} {
		m.finished.WithLabelValues(string(state))
	}
	for _, origin := range []Origin{Found, Created, Remembered} {
		m.lookups.WithLabelValues(string(origin))
	}
	return m
}
