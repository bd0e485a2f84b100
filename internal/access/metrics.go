package access

import "github.com/prometheus/client_golang/prometheus"

// Metrics count logins and refusals.
type Metrics struct {
	logins, refusals *prometheus.CounterVec
}

// NewMetrics registers the metrics of access:
//
//   - gatewright_logins_total{result}: logins by the OpenID provider. result is succeeded, refused (the
//     provider or the person said no, or what came back was not good) or unavailable (the provider did
//     not answer).
//   - gatewright_access_refused_total{reason}: requests that were refused. reason is token, session,
//     unauthorized (nobody is logged in), forbidden (the role does not have the action), cross_site or
//     limited (too many failures).
//
// It panics when they have been registered before.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewright_logins_total", Help: "Logins by the OpenID provider, by result.",
		}, []string{"result"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewright_access_refused_total", Help: "Requests of the private address that were refused, by reason.",
		}, []string{"reason"}),
	}
	for _, result := range []string{"succeeded", "refused", "unavailable"} {
		m.logins.WithLabelValues(result)
	}
	for _, reason := range []string{"token", "session", "unauthorized", "forbidden", "cross_site", "limited"} {
		m.refusals.WithLabelValues(reason)
	}
	registerer.MustRegister(m.logins, m.refusals)
	return m
}

func (m *Metrics) login(result string) { m.logins.WithLabelValues(result).Inc() }

// refuse counts a refusal; nil counts nothing.
func (m *Metrics) refuse(reason string) {
	if m != nil {
		m.refusals.WithLabelValues(reason).Inc()
	}
}
