package app

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
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
// its memory and goroutines, and its version.
func newRegistry(version string) *prometheus.Registry {
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatewright_build_info", Help: "1, with the version of this program.",
	}, []string{"version"})
	build.WithLabelValues(version).Set(1)

	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		build,
	)
	return registry
}
