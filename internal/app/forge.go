package app

import (
	"context"
	"fmt"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/report"
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

// config is the configuration in force.
func (h *hosts) config() *config.Config { return h.current.Load().cfg }

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

// MergeRequest implements [jobs.Forge].
func (h *hosts) MergeRequest(ctx context.Context, ev event.Event) (forge.MergeRequest, error) {
	return h.current.Load().MergeRequest(ctx, ev)
}

// CanWrite implements [jobs.Forge].
func (h *hosts) CanWrite(ctx context.Context, connection string, r event.Repository, u forge.User) (bool, error) {
	return h.current.Load().CanWrite(ctx, connection, r, u)
}

// MergeRequestsOf implements [jobs.Forge].
func (h *hosts) MergeRequestsOf(ctx context.Context, connection, repository, sha string) ([]forge.MergeRequestRef, error) {
	return h.current.Load().MergeRequestsOf(ctx, connection, repository, sha)
}

// RefusedTokens are those of the connections in force; see [forge.Forge.RefusedTokens].
func (h *hosts) RefusedTokens() map[string]string { return h.current.Load().RefusedTokens() }

// SetStatus implements [jobs.Reporter].
func (h *hosts) SetStatus(ctx context.Context, t forge.Target, s forge.Status, handle string) (string, error) {
	return h.current.Load().SetStatus(ctx, t, s, handle)
}

// SaveComment implements [jobs.Reporter].
func (h *hosts) SaveComment(ctx context.Context, t forge.Target, marker, body, id string) (string, error) {
	return h.current.Load().SaveComment(ctx, t, marker, body, id)
}

// Account implements [jobs.Conversation].
func (h *hosts) Account(ctx context.Context, connection string) (string, error) {
	return h.current.Load().Account(ctx, connection)
}

// ReadComment implements [jobs.Conversation].
func (h *hosts) ReadComment(ctx context.Context, t forge.Target, id string) (forge.Comment, error) {
	return h.current.Load().ReadComment(ctx, t, id)
}

// React implements [jobs.Conversation].
func (h *hosts) React(ctx context.Context, t forge.Target, id string) (bool, error) {
	return h.current.Load().React(ctx, t, id)
}

// Remaining implements [jobs.Reporter].
func (h *hosts) Remaining(connection string) (requests int, reset time.Time, known bool) {
	return h.current.Load().Remaining(connection)
}

// Limit implements [jobs.Reporter].
func (h *hosts) Limit(connection string) int { return h.current.Load().Limit(connection) }

// FileURL implements [jobs.Reporter].
func (h *hosts) FileURL(connection, repository, sha, path string, line int) string {
	return h.current.Load().FileURL(connection, repository, sha, path, line)
}

// report says what a connection is told: nothing without an API token.
func (h *hosts) report(connection string) report.Settings {
	cfg := h.current.Load().cfg
	c, found := cfg.Connection(connection)
	if !found || !c.CallsHost() {
		return report.Settings{}
	}
	return report.Settings{
		Statuses: c.Report.Statuses == "on", Context: c.Report.Context, Comment: report.CommentMode(c.Report.Comment),
		Ignored: report.IgnoredMode(c.Report.Ignored), Language: c.Report.Language, Dashboard: cfg.Dashboard.URL,
		Commands: h.commands(connection).Prefix,
	}
}

// Repository implements [jobs.RefLister].
func (h *hosts) Repository(ctx context.Context, connection, fullName string) (event.Repository, error) {
	return h.current.Load().Repository(ctx, connection, fullName)
}

// Branches implements [jobs.RefLister].
func (h *hosts) Branches(ctx context.Context, connection, repository string) (forge.Refs, error) {
	return h.current.Load().Branches(ctx, connection, repository)
}

// MergeRequests implements [jobs.RefLister].
func (h *hosts) MergeRequests(ctx context.Context, connection, repository string) (forge.Refs, error) {
	return h.current.Load().MergeRequests(ctx, connection, repository)
}

// Missed implements [jobs.Redeliverer].
func (h *hosts) Missed(ctx context.Context, o forge.HookOwner, address string, since time.Time) (missed []forge.MissedHook, registered bool, err error) {
	return h.current.Load().Missed(ctx, o, address, since)
}

// HookKind implements [jobs.Redeliverer].
func (h *hosts) HookKind(connection string) forge.HookKind {
	return h.current.Load().HookKind(connection)
}

// Redeliver implements [jobs.Redeliverer].
func (h *hosts) Redeliver(ctx context.Context, o forge.HookOwner, hook, delivery string) error {
	return h.current.Load().Redeliver(ctx, o, hook, delivery)
}

// TestHook implements [jobs.Redeliverer].
func (h *hosts) TestHook(ctx context.Context, o forge.HookOwner, hook string) error {
	return h.current.Load().TestHook(ctx, o, hook)
}

// recovery says how to look for what no webhook told.
func (h *hosts) recovery(r config.Recovery) jobs.Recovery {
	return jobs.Recovery{
		Lister: h, Redeliverer: h, Every: time.Duration(r.Interval), Grace: r.Grace, Share: r.Share, Release: r.Release,
		Connections: func() []string {
			var names []string
			for _, c := range h.current.Load().cfg.Connections {
				if c.CallsHost() {
					names = append(names, c.Name)
				}
			}
			return names
		},
		InScope: func(connection, fullName string) bool {
			c, found := h.current.Load().cfg.Connection(connection)
			included, _ := inScope(event.Repository{FullName: fullName}, c.Repositories)
			return found && included
		},
		HookURL: func(connection string) string {
			public := h.current.Load().cfg.HTTP.PublicURL
			if public == "" {
				return ""
			}
			address, err := WebhookURL(public, connection)
			if err != nil {
				return ""
			}
			return address
		},
		Limit:     func(connection string) int { return h.current.Load().Limit(connection) },
		Remaining: h.Remaining,
	}
}

// newForge makes the clients of the git hosts whose connections have an API token or an App.
func newForge(cfg *config.Config, metrics *forge.Metrics) (*forge.Forge, error) {
	opts := forge.Options{Metrics: metrics}
	for _, c := range cfg.Connections {
		if !c.CallsHost() {
			continue
		}
		connection := forge.Connection{Name: c.Name, Host: event.Host(c.Kind), APIURL: c.APIURL, URL: c.URL, Token: c.Token.Value()}
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
	return jobs.Confirm{Runs: c.ConfirmsRuns(), Releases: c.ConfirmsReleases(), Asks: c.CallsHost()}
}

// groups are those of the server file that an account is in.
func (h *hosts) groups(connection, userID string) []string {
	return h.current.Load().cfg.GroupsOf(connection, userID)
}

// commands says which commands in comments are carried out on a connection.
func (h *hosts) commands(connection string) jobs.CommandSettings {
	cfg := h.current.Load().cfg
	c, found := cfg.Connection(connection)
	if !found || !cfg.HearsCommands(c) {
		return jobs.CommandSettings{}
	}
	return jobs.CommandSettings{Prefix: cfg.Commands.Before(), May: cfg.Commands.May()}
}
