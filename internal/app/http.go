package app

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/webhook"
)

// newHandler is the HTTP surface: webhooks, health and metrics.
func newHandler(endpoint *webhook.Handler, health *health, registry *prometheus.Registry, metrics bool, log *zap.Logger) http.Handler {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = errorHandler(log)
	e.Use(middleware.RecoverWithConfig(middleware.RecoverConfig{
		LogErrorFunc: func(c echo.Context, err error, stack []byte) error {
			log.Error("request panicked", zap.String(event.LogOperation, c.Path()), zap.Error(err), zap.ByteString("stack", stack))
			return errors.New("internal error")
		},
	}))
	endpoint.Register(e)
	e.Match([]string{http.MethodGet, http.MethodHead}, "/healthz", health.live)
	e.Match([]string{http.MethodGet, http.MethodHead}, "/readyz", health.readyz)
	if metrics {
		e.GET("/metrics", echo.WrapHandler(promhttp.HandlerFor(registry, promhttp.HandlerOpts{
			Registry: registry, ErrorHandling: promhttp.ContinueOnError, ErrorLog: zap.NewStdLog(log), MaxRequestsInFlight: 4,
		})))
	}
	return e
}

// problem is the body of every refusal.
type problem struct {
	Error   string `json:"error"`
	Message string `json:"message"`
}

// errorHandler answers a request that no handler answered: the client gets a code and
// a sentence, the log gets the cause.
func errorHandler(log *zap.Logger) echo.HTTPErrorHandler {
	return func(err error, c echo.Context) {
		if c.Response().Committed {
			return
		}
		status, answer := http.StatusInternalServerError, problem{"internal", "internal error; the log of gatewright has the cause"}
		var known *echo.HTTPError
		if errors.As(err, &known) {
			status = known.Code
		}
		switch status {
		case http.StatusNotFound:
			answer = problem{"not_found", "no such page; webhooks go to POST /webhooks/{connection}"}
		case http.StatusMethodNotAllowed:
			answer = problem{"method_not_allowed", "this address takes another method; webhooks are sent with POST"}
		case http.StatusInternalServerError:
			log.Error("request failed", zap.String(event.LogOperation, c.Path()), zap.Error(err))
		default:
			answer = problem{http.StatusText(status), http.StatusText(status)}
		}
		if err := c.JSON(status, answer); err != nil {
			log.Debug("response not sent", zap.Error(err))
		}
	}
}

// health answers the probes.
type health struct {
	store *store.Store
	ready atomic.Bool
}

// pingTimeout bounds the query with which a probe tests the database.
const pingTimeout = 2 * time.Second

// live says that the process runs and nothing else, so that a broken database does
// not make the cluster restart a process that only has to wait.
func (h *health) live(c echo.Context) error {
	return c.JSON(http.StatusOK, map[string]string{"status": "ok"})
}

// readyz says whether webhooks can be taken: the service runs, its rules are
// loaded (it does not start without) and the database takes writes.
func (h *health) readyz(c echo.Context) error {
	if !h.ready.Load() {
		return c.JSON(http.StatusServiceUnavailable, problem{"not_ready", "starting or stopping"})
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), pingTimeout)
	defer cancel()
	if err := h.store.Writable(ctx); err != nil {
		return c.JSON(http.StatusServiceUnavailable, problem{"database", "the database does not take writes"})
	}
	return c.JSON(http.StatusOK, map[string]string{"status": "ready"})
}
