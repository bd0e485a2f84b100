// Package app puts the service together from its configuration, runs it and stops
// it. Both programs and the end-to-end tests use it; it is the only place that knows
// how the other packages are connected.
package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/jobs"
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
	cfg     *config.Config
	log     *zap.Logger
	store   *store.Store
	queue   *jobs.Queue
	handler http.Handler
	health  *health
	reloads *reloader
}

// New opens the database and connects the packages. Nothing listens and no job runs
// yet. Call Run, which closes the service when it returns, or Close.
func New(ctx context.Context, opts Options) (a *App, err error) {
	cfg, log := opts.Config, opts.Log
	registry := newRegistry(opts.Version)
	a = &App{cfg: cfg, log: log}
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
	if a.reloads.remote, err = newRemote(cfg, a.store, registry, log); err != nil {
		return nil, err
	}
	if a.queue, err = a.newQueue(ctx, connections, registry); err != nil {
		return nil, err
	}
	registry.MustRegister(jobs.NewStateCollector(a.store, time.Now))
	a.reloads.endpoint, err = webhook.New(webhook.Options{
		Connections: connections,
		Inbox:       a.queue,
		MaxBody:     int64(cfg.HTTP.MaxBody),
		Log:         log,
		Metrics:     webhook.NewMetrics(registry),
	})
	if err != nil {
		return nil, err
	}
	a.health = &health{store: a.store, reloads: a.reloads}
	a.handler = newHandler(a.reloads.endpoint, a.health, registry, cfg.Telemetry.Metrics, log)
	return a, nil
}

// newQueue makes the queue with the clients that its jobs call.
func (a *App) newQueue(ctx context.Context, connections []webhook.Connection, registry prometheus.Registerer) (*jobs.Queue, error) {
	return jobs.New(ctx, jobs.Options{
		Store:    a.store,
		Parse:    parser(connections),
		Policy:   a.reloads.current,
		Checker:  a.reloads.remote.checker,
		Releaser: a.reloads.remote.operator,
		Log:      a.log,
		Metrics:  jobs.NewMetrics(registry),

		Retention:        a.cfg.Store.Retention,
		PayloadRetention: a.cfg.Store.PayloadRetention,
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

// Run serves on l and works until ctx is done, then stops cleanly: no new
// connection, what is in flight finishes within http.shutdown_grace, the rest stays
// durable. The database is closed when it returns.
func (a *App) Run(ctx context.Context, l net.Listener) error {
	if err := a.queue.Start(ctx); err != nil {
		return errors.Join(err, l.Close(), a.store.Close())
	}
	server := &http.Server{
		Handler:           a.handler,
		ReadHeaderTimeout: a.cfg.HTTP.HeaderTimeout,
		ReadTimeout:       a.cfg.HTTP.ReadTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          zap.NewStdLog(a.log),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	ctx, cancel := context.WithCancel(ctx)
	var reloading sync.WaitGroup
	reloading.Go(func() { a.reloads.run(ctx) })
	a.health.ready.Store(true)
	a.log.Info("service started", zap.String(event.LogAddr, l.Addr().String()))

	var serveErr error
	select {
	case serveErr = <-served:
	case <-ctx.Done():
	}
	cancel()
	reloading.Wait()
	return errors.Join(serveErr, a.stop(server))
}

func (a *App) stop(server *http.Server) error {
	a.health.ready.Store(false)
	a.log.Info("service stopping")
	grace, cancel := context.WithTimeout(context.Background(), a.cfg.HTTP.ShutdownGrace)
	defer cancel()
	// Both at once, so that a slow request does not use up the time of the jobs,
	// and no new job begins meanwhile.
	drained := make(chan error, 1)
	go func() {
		err := server.Shutdown(grace)
		if err != nil {
			err = errors.Join(fmt.Errorf("stop serving: %w", err), server.Close())
		}
		drained <- err
	}()
	err := a.queue.Stop(grace)
	err = errors.Join(<-drained, err, a.queue.Close(), a.store.Close())
	a.log.Info("service stopped")
	return err
}
