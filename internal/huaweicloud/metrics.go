package huaweicloud

import (
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts the exchanges of all clients that share it. A nil *Metrics counts
// nothing.
type Metrics struct {
	calls   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

// NewMetrics registers gatewright_remote_calls_total{service,operation,code}
// and gatewright_remote_call_seconds{service,operation}. The code is the HTTP
// status; 2xx answers that carry an error count as error_in_answer, and
// exchanges without an answer as no_answer or, when nothing was sent, not_sent.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewright_remote_calls_total",
			Help: "Requests to Huawei Cloud services, by service, operation and result code.",
		}, []string{"service", "operation", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gatewright_remote_call_seconds",
			Help:    "Duration of requests to Huawei Cloud services.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"service", "operation"}),
	}
	r.MustRegister(m.calls, m.seconds)
	return m
}

func (m *Metrics) observe(service, operation string, failure *Error, took time.Duration) {
	if m == nil {
		return
	}
	operation = strings.ReplaceAll(operation, " ", "_")
	m.calls.WithLabelValues(service, operation, resultCode(failure)).Inc()
	m.seconds.WithLabelValues(service, operation).Observe(took.Seconds())
}

func resultCode(failure *Error) string {
	switch {
	case failure == nil:
		return "200"
	case failure.kind == kindNotSent:
		return "not_sent"
	case failure.kind == kindNoAnswer:
		return "no_answer"
	case failure.Status < 300:
		return "error_in_answer"
	}
	return strconv.Itoa(failure.Status)
}
