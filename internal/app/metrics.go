package app

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/gatewright/gatewright/internal/rules"
)

// newConnectionMetric counts the connections that were closed at once, because too many
// are open; address is public or private.
func newConnectionMetric(registerer prometheus.Registerer) *prometheus.CounterVec {
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatewright_connections_refused_total", Help: "Connections that were closed at once, because too many were open.",
	}, []string{"address"})
	registerer.MustRegister(refused)
	return refused
}

// newRegistry makes the service's own registry, with what is known of the process:
// its memory and goroutines, its version, and the rules in force.
func newRegistry(version string, policy *rules.Policy, loaded time.Time) *prometheus.Registry {
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatewright_build_info", Help: "1, with the version of this program.",
	}, []string{"version"})
	build.WithLabelValues(version).Set(1)
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatewright_rules_info", Help: "1, with the hash of the rules in force.",
	}, []string{"hash"})
	info.WithLabelValues(policy.Hash()).Set(1)
	last := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gatewright_rules_last_load_timestamp_seconds", Help: "When the rules in force were loaded.",
	})
	last.Set(float64(loaded.Unix()))

	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		build, info, last,
	)
	return registry
}
