package app

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/api"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/store"
)

// newAPI makes the API of the private address.
func newAPI(cfg *config.Config, version string, s *store.Store, reloads *reloader, h *health, orders access.Orders, log *zap.Logger) (*api.API, error) {
	return api.New(api.Options{
		Store: s, Orders: orders, Policy: reloads.current, Parse: parser(cfg.Connections), Health: h.tell, MissingAfter: cfg.Recovery.MissingAfter, Version: version, Log: log,
	})
}

// tell is what /readyz answers, for the API.
func (h *health) tell(ctx context.Context) (api.Health, bool, string) {
	ready, _, problem := h.ask(ctx)
	return ready, problem == "", problem
}

// ask says what works; problem, of the kind code, is why webhooks are not accepted, and empty where they are.
func (h *health) ask(ctx context.Context) (ready api.Health, code, problem string) {
	if !h.ready.Load() {
		return ready, "not_ready", "the service is starting or stopping: ask again later"
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	if err := h.store.Writable(ctx); err != nil {
		return ready, "database", "the database does not accept writes: see the log of the database"
	}
	pauses, err := h.store.Pauses(ctx)
	if err != nil {
		return ready, "database", "the database cannot be read: see the log of the database"
	}
	return h.readiness(pauses), "", ""
}

// pausedText says until when all replicas pause, and why.
func pausedText(p huaweicloud.Pause) string {
	return "all replicas pause until " + p.Until.Format(time.RFC3339) + ": " + p.Reason
}
