package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/event"
)

func newServe(env command.Environment) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Receive webhooks and do the work",
		Long: `Receives webhooks at POST /webhooks/{connection} of http.addr, decides them by the
rules, and runs the checks and the releases. http.private_addr serves /metrics,
/healthz and /readyz.

SIGHUP, and a change of the files, reload the rules and the secrets that come from
files. Files that are wrong change nothing; the log and /readyz say what is wrong.

SIGTERM and SIGINT stop it cleanly: it takes no new connection, finishes what is
in flight within http.shutdown_grace, and leaves the rest in the database, where
the next start continues it.`,
		Example: `  gatewright serve --config gatewright.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), path, env)
		},
	}
	cmd.Flags().StringVar(&path, "config", "gatewright.yaml", "the server file")
	return cmd
}

// serve logs what fails, in the format of the configuration, so that who collects the
// log can read it.
func serve(ctx context.Context, path string, env command.Environment) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	log, err := app.NewLog(app.LogSettings(path), env.Stderr)
	if err != nil {
		return err
	}
	cfg, policy, err := app.Load(path, env.LookupEnv)
	if err != nil {
		app.LogRejected(log, err)
		return command.ErrNo
	}
	app.LogWarnings(log, app.Warnings(cfg, policy))
	if err := run(ctx, app.Options{
		Config: cfg, Policy: policy, File: path, LookupEnv: env.LookupEnv, Hangup: hangup, Log: log, Version: version,
	}); err != nil {
		log.Error("service failed", zap.Error(err))
		return command.ErrNo
	}
	return nil
}

func run(ctx context.Context, opts app.Options) error {
	a, err := app.New(ctx, opts)
	if err != nil {
		return err
	}
	settings := opts.Config.HTTP
	l, err := app.Listen(settings)
	if err != nil {
		return errors.Join(err, a.Close())
	}
	stopProfiles, err := serveProfiles(settings.PprofAddr, opts.Log)
	if err != nil {
		return errors.Join(err, l.Close(), a.Close())
	}
	defer stopProfiles()
	return a.Run(ctx, l)
}

// serveProfiles serves Go's profiles on a loopback address when one is given.
func serveProfiles(addr string, log *zap.Logger) (stop func(), err error) {
	if addr == "" {
		return func() {}, nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for profiles: %w", err)
	}
	server := &http.Server{Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Minute, IdleTimeout: time.Minute}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("profiles server failed", zap.Error(err))
		}
	}()
	log.Info("profiles server started", zap.String(event.LogAddr, l.Addr().String()))
	return func() { _ = server.Close(); <-served }, nil
}
