package forge

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts the requests of a Forge. A nil *Metrics counts nothing.
type Metrics struct {
	calls   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

// NewMetrics registers gatewright_forge_calls_total{connection,operation,code} and
// gatewright_forge_call_seconds{connection,operation}. The code is the HTTP status, or
// no_answer. A read can take more than one request.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewright_forge_calls_total",
			Help: "Requests to the APIs of git hosts, by connection, operation and result code.",
		}, []string{"connection", "operation", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gatewright_forge_call_seconds",
			Help:    "Duration of requests to the APIs of git hosts.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"connection", "operation"}),
	}
	r.MustRegister(m.calls, m.seconds)
	return m
}

func (m *Metrics) observe(connection, operation, code string, took time.Duration) {
	if m == nil {
		return
	}
	operation = strings.ReplaceAll(operation, " ", "_")
	m.calls.WithLabelValues(connection, operation, code).Inc()
	m.seconds.WithLabelValues(connection, operation).Observe(took.Seconds())
}
