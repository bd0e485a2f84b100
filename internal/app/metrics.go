package app

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/gatewright/gatewright/internal/store"
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

// pauseCollector tells which calls to Huawei Cloud are paused, and how long.
type pauseCollector struct {
	store  *store.Store
	paused *prometheus.Desc
}

func newPauseCollector(s *store.Store) *pauseCollector {
	return &pauseCollector{store: s, paused: prometheus.NewDesc("gatewright_remote_paused_seconds",
		"For how long all replicas send nothing more: with credentials that were refused (what is credentials), or to a service that asked for it.", []string{"what"}, nil)}
}

// Describe names what Collect sends.
func (c *pauseCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.paused }

// Collect reads the database. When it cannot, the scrape says so.
func (c *pauseCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), pingTimeout)
	defer cancel()
	pauses, err := c.store.Pauses(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.paused, err)
		return
	}
	left := map[string]float64{"credentials": 0, "iam": 0, "codecheck": 0, "servicestage": 0}
	for _, p := range pauses {
		if now := time.Now(); p.InForce(now) {
			left[p.What()] = max(left[p.What()], p.Until.Sub(now).Seconds())
		}
	}
	for what, seconds := range left {
		ch <- prometheus.MustNewConstMetric(c.paused, prometheus.GaugeValue, seconds, what)
	}
}
