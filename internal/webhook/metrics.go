package webhook

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewright/gatewright/internal/event"
)

// outcome is what became of a request at the door, as the metrics say it.
type outcome string

const (
	outcomeAccepted          outcome = "accepted"
	outcomeDuplicate         outcome = "duplicate"
	outcomePing              outcome = "ping"
	outcomeUnauthorized      outcome = "unauthorized"
	outcomeTooLarge          outcome = "too_large"
	outcomeNotJSON           outcome = "not_json"
	outcomeUnknownConnection outcome = "unknown_connection"
	outcomeUnavailable       outcome = "unavailable"
	// outcomeAborted: the body ended before its end.
	outcomeAborted outcome = "aborted"
)

// Metrics counts what comes to the door.
type Metrics struct {
	deliveries *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	bytes      *prometheus.HistogramVec
}

// NewMetrics registers the door's metrics:
//
//   - gatewright_deliveries_total{connection,event,outcome}: requests. event is
//     push (a tag too, on GitHub), tag, merge_request, comment, ping or other;
//     outcome is accepted, duplicate, ping, unauthorized, too_large, not_json,
//     unavailable, aborted or, with an empty connection, unknown_connection.
//   - gatewright_delivery_seconds{connection}: from the request to its answer.
//   - gatewright_delivery_bytes{connection}: the sizes of the bodies.
//
// It panics when the metrics are registered already.
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

// prepare makes the series of a connection, so that they stand at 0 before the
// first failure.
func (m *Metrics) prepare(connection string) {
	for _, name := range []string{"push", "tag", "merge_request", "comment", "ping", "other"} {
		for _, o := range []outcome{
			outcomeAccepted, outcomeDuplicate, outcomePing, outcomeUnauthorized,
			outcomeTooLarge, outcomeNotJSON, outcomeUnavailable, outcomeAborted,
		} {
			m.deliveries.WithLabelValues(connection, name, string(o))
		}
	}
	m.seconds.WithLabelValues(connection)
	m.bytes.WithLabelValues(connection)
}

// eventLabel reduces the event that the headers announce to a few known words:
// a stranger can write anything into a header.
func eventLabel(host event.Host, header http.Header) string {
	if isPing(host, header) {
		return "ping"
	}
	switch name := eventName(host, header); host {
	case event.GitHub:
		switch name {
		case "push":
			return "push"
		case "pull_request", "pull_request_review":
			return "merge_request"
		case "issue_comment", "pull_request_review_comment", "commit_comment":
			return "comment"
		}
	case event.GitLab, event.Gitee:
		switch giteeHookName(name) {
		case "push_hooks":
			return "push"
		case "tag_push_hooks":
			return "tag"
		case "merge_request_hooks":
			return "merge_request"
		case "note_hooks", "confidential_note_hooks":
			return "comment"
		}
	}
	return "other"
}
