package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/webhook"
)

// nothingSecret is the webhook secret of serveNothing.
const nothingSecret = "bench"

// nothing stores nothing.
type nothing struct{}

func (nothing) Accept(_ context.Context, d event.Delivery) (id string, duplicate bool, err error) {
	return d.ID, false, nil
}

// serveNothing serves the real webhook endpoint, which reads, verifies and answers as
// in the server, and stores nothing: what durable accepts are compared with. It runs as
// a process of its own, as the real server does, until it is killed.
func serveNothing(addr string) error {
	// The server logs each delivery, so this does: without zap's sampling.
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.Lock(os.Stderr), zap.InfoLevel))
	endpoint, err := webhook.New(webhook.Options{
		Connections: []webhook.Connection{connection(nothingSecret)}, Inbox: nothing{}, Log: log,
	})
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	e := echo.New()
	e.Use(middleware.Recover())
	e.GET("/metrics", echo.WrapHandler(promhttp.HandlerFor(registry, promhttp.HandlerOpts{})))
	endpoint.Register(e)
	server := &http.Server{Addr: addr, Handler: e, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second}
	return server.ListenAndServe()
}

// startNothing runs this program as serveNothing and waits until it listens. It logs
// to a file, as the server does.
func startNothing(ctx context.Context) (addr string, stop func() error, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr = l.Addr().String()
	if err := l.Close(); err != nil {
		return "", nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	command := exec.CommandContext(ctx, self, "-serve-nothing", addr)
	log, err := os.CreateTemp("", "gatewright-bench-*.log")
	if err != nil {
		return "", nil, err
	}
	defer log.Close()
	command.Stderr = log
	if err := command.Start(); err != nil {
		return "", nil, errors.Join(fmt.Errorf("start comparison: %w", err), os.Remove(log.Name()))
	}
	stop = func() error {
		err := command.Process.Kill()
		// That it was killed is what it says.
		_ = command.Wait()
		return errors.Join(err, os.Remove(log.Name()))
	}
	for range 500 {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return addr, stop, conn.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	return "", nil, errors.Join(errors.New("start comparison: it does not listen"), stop())
}
