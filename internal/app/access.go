package app

import (
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/dashboard"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/webhook"
)

// newAccess makes what lets people and programs in, as dashboard of the server file says.
func newAccess(cfg *config.Config, inForce func() *config.Config, s *store.Store, registry prometheus.Registerer, log *zap.Logger) (*access.Service, error) {
	d := cfg.Dashboard
	stylesheet, icon := dashboard.Look()
	opts := access.Options{
		Store: s, People: people(inForce), Settings: func() access.Settings { return accessSettings(inForce()) },
		URL: d.URL, Idle: d.Session.Idle, Absolute: d.Session.Absolute,
		Clients: privateClients(cfg.HTTP, d), Claims: s, Log: log, Metrics: access.NewMetrics(registry), Stylesheet: stylesheet, Icon: icon,
	}
	if o := d.Auth.OIDC; o != nil {
		opts.OIDC = &access.ProviderOptions{
			Issuer: o.Issuer, ClientID: o.ClientID, ClientSecret: func() string { return accessSettings(inForce()).ClientSecret },
			Scopes: o.Scopes, GroupsClaim: o.GroupsClaim, NameClaim: o.NameClaim, Hosts: o.Hosts, Leeway: o.ClockLeeway, CA: o.CA(),
		}
	}
	if p := d.Auth.Proxy; p != nil {
		opts.Proxy = &access.Proxy{UserHeader: p.UserHeader, GroupsHeader: p.GroupsHeader, NameHeader: p.NameHeader, Trusted: config.Prefixes(p.TrustedProxies)}
	}
	if none := d.Auth.None; none != nil {
		opts.Local = &access.Local{Person: none.Person}
	}
	return access.New(opts)
}

// privateClients says which address a request of the private address came from: the proxies in front are those of
// webhooks, and an authenticating one.
func privateClients(c config.HTTP, d config.Dashboard) webhook.Clients {
	proxies := config.Prefixes(c.TrustedProxies)
	if d.Auth.Proxy != nil {
		proxies = append(proxies, config.Prefixes(d.Auth.Proxy.TrustedProxies)...)
	}
	return webhook.Clients{Proxies: proxies}
}

// accessSettings are those of a configuration that a reload changes.
func accessSettings(cfg *config.Config) access.Settings {
	r := cfg.Dashboard.Roles
	s := access.Settings{
		Roles:      map[access.Role][]string{access.Viewer: r.Viewer, access.Operator: r.Operator, access.Approver: r.Approver, access.Admin: r.Admin},
		PublicView: cfg.Dashboard.PublicView,
	}
	if o := cfg.Dashboard.Auth.OIDC; o != nil {
		s.ClientSecret = o.ClientSecret.Value()
	}
	return s
}

// withoutLogin reports whether a request is for what probes and Prometheus read, which says nothing of
// a repository.
func withoutLogin(c echo.Context) bool {
	return slices.Contains([]string{"/healthz", "/readyz", "/metrics"}, c.Path()) || strings.HasPrefix(c.Path(), dashboard.AssetPath)
}
