package app

import (
	"bytes"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/api"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/webhook"
)

// newPublicHandler serves webhooks and nothing else.
func newPublicHandler(endpoint *webhook.Handler, log *zap.Logger) http.Handler {
	e := newRouter(log)
	endpoint.Register(e)
	return e
}

// newPrivateHandler serves health and the metrics (nil: no metrics), and what routes add.
func newPrivateHandler(health *health, metrics http.Handler, log *zap.Logger, routes ...func(*echo.Echo)) *echo.Echo {
	e := newRouter(log)
	e.Match([]string{http.MethodGet, http.MethodHead}, "/healthz", health.live)
	e.Match([]string{http.MethodGet, http.MethodHead}, "/readyz", health.readyz)
	if metrics != nil {
		e.GET("/metrics", echo.WrapHandler(metrics))
	}
	for _, add := range routes {
		add(e)
	}
	return e
}

// metricsPage gathers the metrics for one request at a time and answers from memory, so
// that a client that does not read keeps its own connection busy and nothing else.
type metricsPage struct {
	gather http.Handler
	// gathering is full while metrics are gathered.
	gathering chan struct{}
	stopped   chan struct{}
}

func newMetricsPage(registry *prometheus.Registry, log *zap.Logger) *metricsPage {
	return &metricsPage{
		gather: promhttp.HandlerFor(registry, promhttp.HandlerOpts{
			Registry: registry, ErrorHandling: promhttp.ContinueOnError, ErrorLog: zap.NewStdLog(log),
		}),
		gathering: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
}

// stop waits until no metrics are gathered, and lets none be gathered any more: they come
// from the database, which is closed next.
func (p *metricsPage) stop() {
	close(p.stopped)
	p.gathering <- struct{}{}
}

func (p *metricsPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case p.gathering <- struct{}{}:
	case <-r.Context().Done():
		return
	case <-p.stopped:
		return
	}
	answer := &bufferedAnswer{header: w.Header(), status: http.StatusOK}
	func() {
		defer func() { <-p.gathering }()
		p.gather.ServeHTTP(answer, r)
	}()
	w.WriteHeader(answer.status)
	_, _ = w.Write(answer.body.Bytes())
}

type bufferedAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *bufferedAnswer) Header() http.Header         { return a.header }
func (a *bufferedAnswer) WriteHeader(status int)      { a.status = status }
func (a *bufferedAnswer) Write(p []byte) (int, error) { return a.body.Write(p) }

// newRouter is what both addresses have in common: the shape of an error answer, and
// the recovery from a panic.
func newRouter(log *zap.Logger) *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = errorHandler(log)
	e.Use(middleware.RecoverWithConfig(middleware.RecoverConfig{
		LogErrorFunc: func(c echo.Context, err error, stack []byte) error {
			log.Error("request panicked", zap.String(event.LogOperation, c.Path()), zap.Error(err), zap.ByteString("stack", stack))
			return errors.New("internal error")
		},
	}))
	return e
}

// errorHandler answers a request that no handler answered: the client gets a code and
// a sentence, the log gets the cause.
func errorHandler(log *zap.Logger) echo.HTTPErrorHandler {
	return func(err error, c echo.Context) {
		if c.Response().Committed {
			return
		}
		status := http.StatusInternalServerError
		var known *echo.HTTPError
		if errors.As(err, &known) {
			status = known.Code
		}
		if status >= http.StatusInternalServerError {
			log.Error("request failed", zap.String(event.LogOperation, c.Path()), zap.Error(err))
		}
		if err := problemOf(status).Send(c, status); err != nil {
			log.Debug("response not sent", zap.Error(err))
		}
	}
}

// problemOf describes an error status that no handler has described.
func problemOf(status int) webhook.Problem {
	switch {
	case status == http.StatusNotFound:
		return webhook.Problem{Code: "not_found", Message: "there is nothing here: webhooks go to POST /webhooks/{connection}, health and metrics have a private address"}
	case status == http.StatusMethodNotAllowed:
		return webhook.Problem{Code: "method_not_allowed", Message: "this address does not accept this method: webhooks are sent with POST"}
	case status == http.StatusRequestEntityTooLarge:
		return webhook.Problem{Code: "too_large", Message: "the request is too large: send less"}
	case status >= http.StatusInternalServerError:
		return webhook.Problem{Code: "internal", Message: "an internal error occurred: see the log of gatewright"}
	}
	return webhook.Problem{Code: "bad_request", Message: "the request is refused: " + strings.ToLower(http.StatusText(status))}
}

// health answers the probes.
type health struct {
	store   *store.Store
	reloads *reloader
	ready   atomic.Bool
}

// pingTimeout bounds the query with which a probe tests the database.
const pingTimeout = 2 * time.Second

// live says that the process runs and nothing else, so that a broken database does
// not make the cluster restart a process that only has to wait.
func (h *health) live(c echo.Context) error {
	return c.JSON(http.StatusOK, map[string]string{"status": "ok"})
}

// readyz says whether webhooks can be accepted: the service runs, its rules are
// loaded (it does not start without) and the database accepts writes. What else is
// wrong keeps nobody from sending webhooks, and is only told.
func (h *health) readyz(c echo.Context) error {
	ready, code, problem := h.ask(c.Request().Context())
	if problem != "" {
		return webhook.Problem{Code: code, Message: problem}.Send(c, http.StatusServiceUnavailable)
	}
	return c.JSON(http.StatusOK, ready)
}

func (h *health) readiness(pauses []huaweicloud.Pause) api.Health {
	config := h.reloads.state()
	r := api.Health{Status: "ready"}
	r.Config.Hash, r.Config.Loaded, r.Config.Restart = config.hash, config.loaded.UTC(), config.restart
	if config.rejected != "" {
		r.Degraded = append(r.Degraded, api.Degradation{What: "configuration", Reason: config.rejected, Since: config.failed.UTC()})
	}
	for _, name := range slices.Sorted(maps.Keys(h.reloads.accounts)) {
		if refusal, refused := h.reloads.accounts[name].credentials.Refused(); refused {
			if name != "" {
				refusal.Reason = "account " + name + ": " + refusal.Reason
			}
			r.Degraded = append(r.Degraded, api.Degradation{What: "credentials", Reason: refusal.Reason, Since: refusal.Since.UTC()})
		}
	}
	for _, p := range pauses {
		if p.InForce(time.Now()) {
			r.Degraded = append(r.Degraded, api.Degradation{What: p.What(), Since: p.Since,
				Reason: pausedText(p)})
		}
	}
	return r
}
