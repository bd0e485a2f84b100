package codecheck

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts where the tasks of runs came from. A nil *Metrics counts nothing.
type Metrics struct {
	lookups *prometheus.CounterVec
}

// NewMetrics registers gatewright_task_lookups_total{origin}.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewright_task_lookups_total",
			Help: "Tasks that runs needed, by where they came from.",
		}, []string{"origin"}),
	}
	r.MustRegister(m.lookups)
	for _, origin := range []Origin{Found, Created, Remembered, Given} {
		m.lookups.WithLabelValues(string(origin))
	}
	return m
}

func (m *Metrics) countLookup(origin Origin) {
	if m != nil {
		m.lookups.WithLabelValues(string(origin)).Inc()
	}
}
