package webhook

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewright/gatewright/internal/event"
)

// outcome is how a webhook request ended, as the metrics and the logs say it.
type outcome string

const (
	outcomeAccepted          outcome = "accepted"
	outcomeDuplicate         outcome = "duplicate"
	outcomePing              outcome = "ping"
	outcomeUnauthorized      outcome = "unauthorized"
	outcomeTooLarge          outcome = "too_large"
	outcomeNotJSON           outcome = "not_json"
	outcomeUnknownConnection outcome = "unknown_connection"
	// outcomeNotAllowed: the client's address is not in the connection's allow list.
	outcomeNotAllowed outcome = "not_allowed"
	// outcomeUnavailable: the database did not take it; outcomeOverloaded: too many
	// bodies are being received.
	outcomeUnavailable outcome = "unavailable"
	outcomeOverloaded  outcome = "overloaded"
	// outcomeAborted: the sender went away before the end of its body, or was too slow.
	outcomeAborted outcome = "aborted"
)

// Metrics counts the webhook requests.
type Metrics struct {
	deliveries *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	bytes      *prometheus.HistogramVec
}

// NewMetrics registers the metrics of the webhook endpoint:
//
//   - gatewright_deliveries_total{connection,event,outcome}: requests. event is
//     push (a tag too, on GitHub), tag, merge_request, merge_group, comment, ping or other;
//     outcome is accepted, duplicate, ping, unauthorized, not_allowed, too_large,
//     not_json, unavailable, overloaded, aborted or, with an empty connection, unknown_connection.
//   - gatewright_delivery_seconds{connection}: from the request to its answer.
//   - gatewright_delivery_bytes{connection}: the sizes of the bodies.
//
// It panics when they have been registered before.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewright_deliveries_total",
			Help: "Webhook requests by connection, event and outcome.",
		}, []string{"connection", "event", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gatewright_delivery_seconds",
			Help:    "Time from a webhook request to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}, []string{"connection"}),
		bytes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gatewright_delivery_bytes",
			Help:    "Size of the bodies of webhook requests.",
			Buckets: prometheus.ExponentialBuckets(1<<10, 4, 8),
		}, []string{"connection"}),
	}
	registerer.MustRegister(m.deliveries, m.seconds, m.bytes)
	return m
}

// prepare creates the series of a connection, so that they are 0 before the first
// failure.
func (m *Metrics) prepare(connection string) {
	labels := []string{labelPing, labelOther}
	for _, kind := range event.Kinds() {
		labels = append(labels, string(kind))
	}
	for _, label := range labels {
		for _, o := range []outcome{
			outcomeAccepted, outcomeDuplicate, outcomePing, outcomeUnauthorized,
			outcomeNotAllowed, outcomeTooLarge, outcomeNotJSON, outcomeUnavailable, outcomeOverloaded, outcomeAborted,
		} {
			m.deliveries.WithLabelValues(connection, label, string(o))
		}
	}
	m.seconds.WithLabelValues(connection)
	m.bytes.WithLabelValues(connection)
}

// The event labels of what is not one of event.Kinds.
const (
	labelPing  = "ping"
	labelOther = "other"
)

// eventLabel reduces the event that the headers announce to a few known words:
// a stranger can write anything into a header.
func eventLabel(h host, header http.Header) string {
	if h.isPing(header) {
		return labelPing
	}
	if kind := h.kind(h.eventName(header)); kind != "" {
		return string(kind)
	}
	return labelOther
}
