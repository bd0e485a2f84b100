package app

import (
	"context"

	"github.com/gatewright/gatewright/internal/dashboard"
)

// newDashboard makes the pages of the private address.
func (a *App) newDashboard(version string) (*dashboard.Dashboard, error) {
	return dashboard.New(dashboard.Options{
		Store:        a.store,
		Policy:       a.reloads.current,
		Read:         parser(a.cfg.Connections),
		Orders:       a.orders,
		Groups:       people(a.reloads.hosts.config).Groups,
		Service:      func(ctx context.Context) (dashboard.Service, error) { return a.service(ctx, version) },
		FileURL:      a.reloads.hosts.FileURL,
		MissingAfter: a.cfg.Recovery.MissingAfter,
		Log:          a.log,
	})
}

// service says how the service is.
func (a *App) service(ctx context.Context, version string) (dashboard.Service, error) {
	pauses, err := a.store.Pauses(ctx)
	if err != nil {
		return dashboard.Service{}, err
	}
	ready := a.health.readiness(pauses)
	s := dashboard.Service{Version: version, RulesHash: a.reloads.current().Hash(), ConfigHash: ready.Config.Hash, Loaded: ready.Config.Loaded}
	for _, d := range ready.Degraded {
		s.Problems = append(s.Problems, dashboard.Problem{What: d.What, Reason: d.Reason, Since: d.Since})
	}
	for _, c := range a.cfg.Connections {
		s.Connections = append(s.Connections, dashboard.Connection{Name: c.Name, Kind: string(c.Kind)})
	}
	for _, r := range []dashboard.Remote{
		{Name: "CodeArts Check", Address: a.cfg.HuaweiCloud.Endpoints.CodeCheck}, {Name: "ServiceStage", Address: a.cfg.HuaweiCloud.Endpoints.ServiceStage},
		{Name: "CodeArts Pipeline", Address: a.cfg.HuaweiCloud.Endpoints.Pipeline},
	} {
		if r.Address != "" {
			s.Remotes = append(s.Remotes, r)
		}
	}
	return s, nil
}
