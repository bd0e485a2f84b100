// Package app puts the service together from its configuration, runs it and stops
// it. Both programs and the end-to-end tests use it; it is the only place that knows
// how the other packages are connected.
package app

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/api"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/dashboard"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/notify"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/webhook"
)

// Options say what the service is made of. All but Hangup are mandatory.
type Options struct {
	// Config and Policy are what Load returned for File and LookupEnv, with which they
	// are loaded again.
	Config    *config.Config
	Policy    *rules.Policy
	File      string
	LookupEnv LookupEnv
	// Hangup asks for a reload, as SIGHUP does.
	Hangup <-chan os.Signal
	Log    *zap.Logger
	// Version is the program's, for its metric gatewright_build_info.
	Version string
}

// App is the whole service.
type App struct {
	cfg    *config.Config
	log    *zap.Logger
	store  *store.Store
	queue  *jobs.Queue
	health *health
	api    *api.API
	// metrics is the page of the private address, asked for or not.
	metrics *metricsPage
	// public serves webhooks, private the rest: health, metrics, logins, and what people do.
	public, private *http.Server
	// pages are on the private address, too.
	pages *dashboard.Dashboard
	// started are the fields of the line that says that the service has started.
	started []zap.Field
	reloads *reloader
	secrets *secretUses
	// orders carries out what people and machines order.
	orders *orders
	// notifier sends notices.
	notifier *notify.Sender
}

// New opens the database and connects the packages. Nothing listens and no job runs
// yet. Call Run, which closes the service when it returns, or Close.
func New(ctx context.Context, opts Options) (a *App, err error) {
	cfg, log := opts.Config, opts.Log
	registry := newRegistry(opts.Version)
	a = &App{notifier: notify.NewSender(), cfg: cfg, log: log, started: startFields(opts)}
	if a.reloads, err = newReloader(opts, registry); err != nil {
		return nil, err
	}
	if a.store, err = store.Open(ctx, StoreOptions(cfg.Store)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.store.Close())
		}
	}()
	connections := webhookConnections(cfg)
	if a.reloads.hosts, err = newHosts(cfg, registry); err != nil {
		return nil, err
	}
	if a.reloads.accounts, err = newAccounts(cfg, rests{memory: a.store, findings: a.store, shared: a.store, login: a.reloads.hosts.login, registry: registry, log: log}); err != nil {
		return nil, err
	}
	if a.queue, err = a.newQueue(ctx, registry); err != nil {
		return nil, err
	}
	if a.orders, err = newOrders(a.store, people(a.reloads.hosts.config), a.reloads.current, log); err != nil {
		return nil, err
	}
	a.reloads.record = a.queue.RecordConfiguration
	registry.MustRegister(jobs.NewStateCollector(a.store, time.Now, cfg.Recovery.MissingAfter), newPauseCollector(a.store))
	a.reloads.endpoint, err = webhook.New(webhook.Options{
		Connections: connections,
		Inbox:       a.queue,
		Missed:      a.queue.Missed,
		MaxBody:     int64(cfg.HTTP.MaxBody),
		BodyTimeout: cfg.HTTP.ReadTimeout,
		Clients:     webhook.Clients{Proxies: config.Prefixes(cfg.HTTP.TrustedProxies)},
		Log:         log,
		Metrics:     webhook.NewMetrics(registry),
	})
	if err != nil {
		return nil, err
	}
	registry.MustRegister(a.reloads.endpoint)
	a.secrets = &secretUses{store: a.store, endpoint: a.reloads.endpoint, log: log}
	if err := a.secrets.restore(ctx); err != nil {
		return nil, err
	}
	a.health = &health{store: a.store, reloads: a.reloads}
	refused := newConnectionMetric(registry)
	if a.public, err = newPublicServer(a.reloads.endpoint, cfg.HTTP, refused, log); err != nil {
		return nil, err
	}
	var metrics http.Handler
	if a.metrics = newMetricsPage(registry, log); cfg.Telemetry.Metrics {
		metrics = a.metrics
	}
	allowed, err := newAccess(cfg, a.reloads.hosts.config, a.store, registry, log)
	if err != nil {
		return nil, err
	}
	if a.api, err = newAPI(cfg, opts.Version, a.store, a.reloads, a.health, a.orders, log); err != nil {
		return nil, err
	}
	if a.pages, err = a.newDashboard(opts.Version); err != nil {
		return nil, err
	}
	a.private, err = newPrivateServer(newPrivateHandler(a.health, metrics, log, func(e *echo.Echo) { allowed.Register(e, withoutLogin) }, a.api.Register, a.pages.Register), cfg.HTTP, cfg.Dashboard, refused, log)
	return a, err
}

// startFields say what has started, and with what it works.
func startFields(opts Options) []zap.Field {
	fields := []zap.Field{
		zap.String(event.LogVersion, opts.Version),
		zap.String(event.LogRulesHash, opts.Policy.Hash()),
		zap.String(event.LogStore, StoreOptions(opts.Config.Store).Name()),
		endpointsField(event.LogEndpoints, opts.Config.HuaweiCloud.Endpoints),
	}
	var others []zap.Field
	for _, name := range opts.Config.AccountNames()[1:] {
		others = append(others, endpointsField(name, opts.Config.Accounts[name].Endpoints))
	}
	if len(others) > 0 {
		fields = append(fields, zap.Dict(event.LogAccounts, others...))
	}
	return fields
}

func endpointsField(key string, e config.Endpoints) zap.Field {
	return zap.Dict(key, zap.String("iam", e.IAM), zap.String("codecheck", e.CodeCheck), zap.String("servicestage", e.ServiceStage), zap.String("pipeline", e.Pipeline))
}

// newQueue makes the queue with the clients that its jobs call.
func (a *App) newQueue(ctx context.Context, registry prometheus.Registerer) (*jobs.Queue, error) {
	maxRuns, keepTasks := map[string]int{}, map[string]bool{}
	for _, name := range a.cfg.AccountNames() {
		account, _ := a.cfg.Account(name)
		maxRuns[name], keepTasks[name] = account.MaxRuns, account.KeepMergeRequestTasks
	}
	missingAfter := a.cfg.Recovery.MissingAfter
	if a.cfg.Recovery.Interval == 0 {
		missingAfter = 0 // nobody compares
	}
	return jobs.New(ctx, jobs.Options{
		Store:    a.store,
		Parse:    parser(a.cfg.Connections),
		Policy:   a.reloads.current,
		Checker:  checkers{a.reloads.accounts},
		Releaser: operators{a.reloads.accounts},
		Log:      a.log,
		Metrics:  jobs.NewMetrics(registry),

		Forge:             a.reloads.hosts,
		Confirm:           a.reloads.hosts.confirm,
		Groups:            a.reloads.hosts.groups,
		People:            people(a.reloads.hosts.config),
		Conversation:      a.reloads.hosts,
		Commands:          a.reloads.hosts.commands,
		Reporter:          a.reloads.hosts,
		RefusedTokens:     a.reloads.hosts.RefusedTokens,
		Report:            a.reloads.hosts.report,
		Retention:         a.cfg.Store.Retention,
		PayloadRetention:  a.cfg.Store.PayloadRetention,
		AuditRetention:    a.cfg.Audit.Retention,
		Targets:           func() []notify.Target { return *a.reloads.targets.Load() },
		Notifier:          a.notifier,
		Dashboard:         a.cfg.Dashboard.URL,
		MissingAfter:      missingAfter,
		EvidenceKey:       func() ed25519.PrivateKey { return *a.reloads.evidenceKey.Load() },
		EvidenceRetention: a.cfg.Evidence.Retention,
		MaxEventAge:       a.cfg.MaxEventAge,
		MaxRuns:           maxRuns,
		KeepTasks:         keepTasks,
		Recovery:          a.reloads.hosts.recovery(a.cfg.Recovery),
	})
}

// StoreOptions say which database the configuration names.
func StoreOptions(c config.Store) store.Options {
	if c.Postgres == nil {
		return store.Options{SQLite: c.SQLite.Path}
	}
	return store.Options{Postgres: c.Postgres.DSN.Value(), Connections: c.Postgres.MaxConnections}
}

// Store is the service's database, for the demo and tests that show what is in it.
func (a *App) Store() *store.Store { return a.store }

// Close closes the database of a service that is not run.
func (a *App) Close() error { return a.store.Close() }

// Run serves on the listeners and works until ctx is done, then stops cleanly: no new
// connection, what is in flight finishes within http.shutdown_grace, the rest stays
// durable. The database is closed when it returns.
func (a *App) Run(ctx context.Context, l Listeners) error {
	if err := a.queue.Start(ctx); err != nil {
		return errors.Join(err, l.Close(), a.store.Close())
	}
	served := make(chan error)
	go func() { served <- serve(a.public, l.Public) }()
	go func() { served <- serve(a.private, l.Private) }()
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { a.reloads.run(ctx) })
	background.Go(func() { a.secrets.run(ctx) })
	background.Go(func() { a.api.Run(ctx) })
	a.health.ready.Store(true)
	a.log.Info("service started", append(a.started, zap.String(event.LogAddr, l.Public.Addr().String()), zap.String(event.LogPrivateAddr, l.Private.Addr().String()))...)

	serving := 2
	var errs []error
	select {
	case err := <-served:
		errs, serving = append(errs, err), 1
	case <-ctx.Done():
	}
	cancel()
	background.Wait()
	errs = append(errs, a.stop())
	for range serving {
		errs = append(errs, <-served)
	}
	return errors.Join(errs...)
}

func (a *App) stop() error {
	a.health.ready.Store(false)
	a.log.Info("service stopping")
	grace, cancel := context.WithTimeout(context.Background(), a.cfg.HTTP.ShutdownGrace)
	defer cancel()
	// Both at once, so that a slow request does not use up the time of the jobs,
	// and no new job begins meanwhile.
	drained := make(chan error, 1)
	go func() {
		err := a.public.Shutdown(grace)
		if err != nil {
			err = errors.Join(fmt.Errorf("stop serving: %w", err), a.public.Close())
		}
		drained <- err
	}()
	err := a.queue.Stop(grace)
	// The private address answers probes until the work is done, and only metrics that are being
	// gathered are waited for.
	err = errors.Join(<-drained, err)
	a.pages.Close()
	err = errors.Join(err, a.private.Close())
	a.metrics.stop()
	a.notifier.Close()
	err = errors.Join(err, a.queue.Close(), a.store.Close())
	a.log.Info("service stopped")
	return err
}
