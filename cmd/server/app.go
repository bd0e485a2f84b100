package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/webhook"
)

// app is the whole service, put together: what `serve` and `demo` run.
type app struct {
	cfg      *config.Config
	log      *zap.Logger
	registry *prometheus.Registry
	store    *store.Store
	queue    *jobs.Queue
	handler  http.Handler
	health   *health
}

// newApp opens the database and wires the service to it. Nothing listens and
// nothing works yet; close it, or run it, which closes it.
func newApp(ctx context.Context, cfg *config.Config, policy *rules.Policy, log *zap.Logger) (a *app, err error) {
	a = &app{cfg: cfg, log: log, registry: prometheus.NewRegistry()}
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registerBuild(a.registry, policy, time.Now())

	a.store, err = store.Open(ctx, storeOptions(cfg.Store))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.store.Close())
		}
	}()
	checker, releaser, err := newRemote(cfg, a.store, a.registry, log)
	if err != nil {
		return nil, err
	}
	connections := webhookConnections(cfg)
	a.queue, err = jobs.New(ctx, jobs.Options{
		Store:    a.store,
		Parse:    parser(connections),
		Policy:   func() *rules.Policy { return policy },
		Checker:  checker,
		Releaser: releaser,
		Log:      log,
		Metrics:  jobs.NewMetrics(a.registry),

		Retention:        cfg.Store.Retention,
		PayloadRetention: cfg.Store.PayloadRetention,
	})
	if err != nil {
		return nil, err
	}
	a.registry.MustRegister(jobs.NewStanding(a.store, time.Now))
	endpoint, err := webhook.New(webhook.Options{
		Connections: connections,
		Inbox:       a.queue,
		MaxBody:     int64(cfg.HTTP.MaxBody),
		Log:         log,
		Metrics:     webhook.NewMetrics(a.registry),
	})
	if err != nil {
		return nil, err
	}
	a.health = &health{store: a.store}
	a.handler = newHandler(endpoint, a.health, a.registry, cfg.Telemetry.Metrics, log)
	return a, nil
}

// storeOptions say which database the configuration names.
func storeOptions(c config.Store) store.Options {
	if c.Postgres == nil {
		return store.Options{SQLite: c.SQLite.Path}
	}
	return store.Options{Postgres: c.Postgres.DSN.Value(), Connections: c.Postgres.MaxConnections}
}

// newRemote makes the two clients of Huawei Cloud and what they share.
func newRemote(cfg *config.Config, memory codecheck.Memory, registry prometheus.Registerer, log *zap.Logger) (*codecheck.Checker, *release.Operator, error) {
	h := cfg.HuaweiCloud
	roots, err := h.RootCAs()
	if err != nil {
		return nil, nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	transport.IdleConnTimeout = 30 * time.Second
	transport.MaxIdleConnsPerHost = h.MaxConcurrent
	client := &http.Client{Transport: transport}
	metrics := huaweicloud.NewMetrics(registry)

	auth, projectID, err := newAuth(h, client, metrics, log)
	if err != nil {
		return nil, nil, err
	}
	service := func(name, endpoint string) (*huaweicloud.Client, error) {
		return huaweicloud.New(huaweicloud.Options{
			Service: name, Endpoint: endpoint, Auth: auth, HTTP: client, Timeout: h.Timeout,
			MaxConcurrent: h.MaxConcurrent, Log: log, Metrics: metrics,
		})
	}
	checkClient, err := service("codecheck", h.Endpoints.CodeCheck)
	if err != nil {
		return nil, nil, err
	}
	releaseClient, err := service("servicestage", h.Endpoints.ServiceStage)
	if err != nil {
		return nil, nil, err
	}
	checker, err := codecheck.New(codecheck.Options{
		Client:     checkClient,
		Memory:     memory,
		Dialect:    string(h.Dialect),
		RepoType:   repoType(cfg),
		DefaultRef: defaultRef(cfg),
		Poll:       codecheck.Interval{Min: h.Poll.Min, Max: h.Poll.Max},
		Log:        log,
		Metrics:    codecheck.NewMetrics(registry),
	})
	if err != nil {
		return nil, nil, err
	}
	operator, err := release.New(release.Options{
		Client:    releaseClient,
		ProjectID: projectID,
		Poll:      release.Poll{Min: h.ReleasePoll.Min, Max: h.ReleasePoll.Max},
		Log:       log,
		Metrics:   release.NewMetrics(registry),
	})
	if err != nil {
		return nil, nil, err
	}
	return checker, operator, nil
}

// newAuth makes what authorises the calls, and what knows the IAM project.
func newAuth(h config.HuaweiCloud, client *http.Client, metrics *huaweicloud.Metrics, log *zap.Logger) (huaweicloud.Authenticator, func(context.Context) (string, error), error) {
	configured := func(context.Context) (string, error) {
		if h.ProjectID == "" {
			return "", errors.New("find project id: write the IAM region project's id as huaweicloud.project_id")
		}
		return h.ProjectID, nil
	}
	if key := h.Auth.AccessKey; key != nil {
		signer, err := huaweicloud.NewSigner(huaweicloud.SignerOptions{
			AccessKey: key.ID.Value(), SecretKey: key.Secret.Value(),
			SecurityToken: key.SecurityToken.Value(), ProjectID: key.ProjectID,
		})
		return signer, configured, err
	}
	password := h.Auth.Password
	tokens, err := huaweicloud.NewTokenSource(huaweicloud.TokenOptions{
		Endpoint: h.Endpoints.IAM, Domain: password.Domain, User: password.User, Password: password.Password.Value(),
		ProjectName: password.Project, HTTP: client, Timeout: h.Timeout, Log: log, Metrics: metrics,
	})
	if err != nil {
		return nil, nil, err
	}
	if h.ProjectID != "" {
		return tokens, configured, nil
	}
	return tokens, tokens.ProjectID, nil
}

// repoType says what CodeArts Check calls the host of a connection.
func repoType(cfg *config.Config) func(string) string {
	return func(connection string) string {
		c, _ := cfg.Connection(connection)
		return c.RepoType
	}
}

// defaultRef says which ref finds the merge requests of a connection.
func defaultRef(cfg *config.Config) func(string) codecheck.Ref {
	return func(connection string) codecheck.Ref {
		c, _ := cfg.Connection(connection)
		return codecheck.Ref(webhook.DefaultRef(event.Host(c.Kind)))
	}
}

// connectionKinds are the kinds of git hosts that the server file can name.
func connectionKinds() []config.Kind {
	var kinds []config.Kind
	for _, kind := range webhook.Kinds() {
		kinds = append(kinds, config.Kind(kind))
	}
	return kinds
}

func webhookConnections(cfg *config.Config) []webhook.Connection {
	var connections []webhook.Connection
	for _, c := range cfg.Connections {
		connections = append(connections, webhookConnection(c))
	}
	return connections
}

func webhookConnection(c config.Connection) webhook.Connection {
	return webhook.Connection{
		Name: c.Name, Host: event.Host(c.Kind), Secrets: values(c.Secrets), SigningTokens: values(c.SigningTokens),
		Mode: c.Mode, MaxAge: c.MaxAge,
	}
}

func values(secrets []config.Secret) []string {
	var texts []string
	for _, secret := range secrets {
		texts = append(texts, secret.Value())
	}
	return texts
}

// parser reads stored deliveries by the connection that took them.
func parser(connections []webhook.Connection) func(event.Delivery) (event.Event, error) {
	byName := map[string]webhook.Connection{}
	for _, c := range connections {
		byName[c.Name] = c
	}
	return func(d event.Delivery) (event.Event, error) {
		connection, known := byName[d.Connection]
		if !known {
			// The connection was taken out of the configuration meanwhile; the
			// delivery was verified when it came.
			connection = webhook.Connection{Name: d.Connection, Host: d.Host}
		}
		return webhook.Parse(connection, d.Header, d.Body)
	}
}

// run serves on l and works until ctx is done, then stops cleanly: no new
// connection, what is in flight finishes within the grace, the rest stays
// durable. The database is closed when it returns.
func (a *app) run(ctx context.Context, l net.Listener) error {
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
	a.health.ready.Store(true)
	a.log.Info("serving", zap.String(event.LogAddr, l.Addr().String()))

	var serveErr error
	select {
	case serveErr = <-served:
	case <-ctx.Done():
	}
	return errors.Join(serveErr, a.stop(server))
}

func (a *app) stop(server *http.Server) error {
	a.health.ready.Store(false)
	a.log.Info("stopping")
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
	a.log.Info("stopped")
	return err
}
