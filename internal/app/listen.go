package app

import (
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/webhook"
)

// Listeners are the two addresses of a service.
type Listeners struct {
	// Public is for webhooks; Private is for health, metrics, and people.
	Public, Private net.Listener
}

// Listen listens on both addresses.
func Listen(c config.HTTP) (l Listeners, err error) {
	if l.Public, err = net.Listen("tcp", c.Addr); err != nil {
		return Listeners{}, fmt.Errorf("listen: %w: choose another http.addr", err)
	}
	if l.Private, err = net.Listen("tcp", c.PrivateAddr); err != nil {
		return Listeners{}, errors.Join(fmt.Errorf("listen: %w: choose another http.private_addr", err), l.Public.Close())
	}
	return l, nil
}

// Close closes listeners on which no service runs.
func (l Listeners) Close() error { return errors.Join(l.Public.Close(), l.Private.Close()) }

// idleTimeout closes a connection on which no further request comes.
const idleTimeout = time.Minute

// newServer makes a server with what both addresses have in common. It speaks HTTP/1.1
// only, in which a timeout of a connection is one of its request.
func newServer(handler http.Handler, files *config.TLS, log *zap.Logger) (*http.Server, error) {
	server := &http.Server{
		Handler:        handler,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       stdlog.New(serverLog{webhook.Sampled(log)}, "", 0),
		Protocols:      new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	if files == nil {
		return server, nil
	}
	var err error
	server.TLSConfig, err = newTLSConfig(*files, log)
	return server, err
}

// newPublicServer is the server of webhooks. endpoint bounds the time in which a body
// arrives; the server's own limits are the last resort.
func newPublicServer(endpoint *webhook.Handler, c config.HTTP, refused *prometheus.CounterVec, log *zap.Logger) (*http.Server, error) {
	server, err := newServer(newPublicHandler(endpoint, log), c.TLS, log)
	if err != nil {
		return nil, err
	}
	server.ReadHeaderTimeout, server.ReadTimeout = c.HeaderTimeout, c.ReadTimeout
	// From the headers on: the body, the commit, the answer.
	server.WriteTimeout = c.ReadTimeout + 15*time.Second
	limit := &connectionLimit{
		most: c.MaxConnections, share: c.MaxConnections / 8, clients: webhook.Clients{Proxies: config.Prefixes(c.TrustedProxies)},
		strangers: webhook.Sampled(log), refused: refused.WithLabelValues("public"), byClient: map[netip.Prefix]int{},
	}
	server.ConnState = limit.track
	server.RegisterOnShutdown(endpoint.CutOff)
	return server, nil
}

// The limits of the private address, where probes and Prometheus ask small questions, and people have up to
// six connections a browser, often by a proxy in front. An answer that takes longer, such as a stream of
// events, sets deadlines of its own by http.ResponseController, for reading too.
const (
	privateTimeout     = 15 * time.Second
	privateConnections = 512
)

// newPrivateServer is the server of health, metrics, logins and what people do.
func newPrivateServer(handler http.Handler, c config.HTTP, d config.Dashboard, refused *prometheus.CounterVec, log *zap.Logger) (*http.Server, error) {
	server, err := newServer(handler, c.PrivateTLS, log)
	if err != nil {
		return nil, err
	}
	server.ReadHeaderTimeout, server.ReadTimeout, server.WriteTimeout = c.HeaderTimeout, privateTimeout, privateTimeout
	limit := &connectionLimit{
		most: privateConnections, share: privateConnections / 4, clients: privateClients(c, d),
		strangers: webhook.Sampled(log), refused: refused.WithLabelValues("private"), byClient: map[netip.Prefix]int{},
	}
	server.ConnState = limit.track
	return server, nil
}

// serverLog takes what net/http logs, such as a failed TLS handshake, which a stranger
// can cause as often as he likes.
type serverLog struct{ log *zap.Logger }

func (l serverLog) Write(p []byte) (int, error) {
	l.log.Warn("connection failed", zap.String(event.LogReason, strings.TrimSpace(string(p))))
	return len(p), nil
}

// serve serves until the server is shut down or closed; that it was is not an error.
func serve(server *http.Server, l net.Listener) (err error) {
	if server.TLSConfig == nil {
		err = server.Serve(l)
	} else {
		err = server.ServeTLS(l, "", "")
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve: %w", err)
}
