package app

import (
	"context"
	"fmt"
	"net/url"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/jobs"
)

// hosts are the clients of the git hosts with the tokens in force, which a reload
// replaces.
type hosts struct {
	metrics *forge.Metrics
	current atomic.Pointer[clients]
}

// clients are those of a configuration.
type clients struct {
	*forge.Forge
	cfg *config.Config
}

func newHosts(cfg *config.Config, registry prometheus.Registerer) (*hosts, error) {
	h := &hosts{metrics: forge.NewMetrics(registry)}
	made, err := newForge(cfg, h.metrics)
	h.replace(made, cfg)
	return h, err
}

func (h *hosts) replace(made *forge.Forge, cfg *config.Config) { h.current.Store(&clients{made, cfg}) }

// Head implements [jobs.Forge].
func (h *hosts) Head(ctx context.Context, ev event.Event) (string, error) {
	return h.current.Load().Head(ctx, ev)
}

// Languages implements [jobs.Forge].
func (h *hosts) Languages(ctx context.Context, ev event.Event) ([]string, error) {
	return h.current.Load().Languages(ctx, ev)
}

// Files implements [jobs.Forge].
func (h *hosts) Files(ctx context.Context, ev event.Event) (event.Files, error) {
	return h.current.Load().Files(ctx, ev)
}

// newForge makes the clients of the git hosts whose connections have an API token or an App.
func newForge(cfg *config.Config, metrics *forge.Metrics) (*forge.Forge, error) {
	opts := forge.Options{Metrics: metrics}
	for _, c := range cfg.Connections {
		if !c.CallsHost() {
			continue
		}
		connection := forge.Connection{Name: c.Name, Host: event.Host(c.Kind), APIURL: c.APIURL, Token: c.Token.Value()}
		if c.App != nil {
			connection.App = &forge.App{ID: c.App.ID, Installation: c.App.Installation, PrivateKey: c.App.Key()}
		}
		var err error
		if connection.RootCAs, err = c.RootCAs(); err != nil {
			return nil, err
		}
		if c.Proxy != "" {
			if connection.Proxy, err = url.Parse(c.Proxy); err != nil {
				return nil, fmt.Errorf("parse proxy of connection %q: %w", c.Name, err)
			}
		}
		opts.Connections = append(opts.Connections, connection)
	}
	return forge.New(opts)
}

// login is the account with which CodeArts Check reads the repositories of a connection.
func (h *hosts) login(connection string) codecheck.Login {
	c, _ := h.current.Load().cfg.Connection(connection)
	if c.Clone == nil {
		return codecheck.Login{}
	}
	return codecheck.Login{User: c.Clone.Username, Token: c.Clone.Token.Value()}
}

// confirm says for what the host of a connection is asked.
func (h *hosts) confirm(connection string) jobs.Confirm {
	c, _ := h.current.Load().cfg.Connection(connection)
	return jobs.Confirm{Runs: c.ConfirmsRuns(), Releases: c.ConfirmsReleases(), Files: c.Token.Set()}
}
