package app

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/config"
)

// Listeners are the two addresses of a service.
type Listeners struct {
	// Public is for webhooks; Private is for health and metrics.
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

// newServer makes the server of one address; by TLS when files is not nil. It speaks
// HTTP/1.1 only, in which a timeout of a connection is one of its request.
func newServer(handler http.Handler, c config.HTTP, files *config.TLS, log *zap.Logger) (*http.Server, error) {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: c.HeaderTimeout,
		ReadTimeout:       c.ReadTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          zap.NewStdLog(log),
		Protocols:         new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	if files == nil {
		return server, nil
	}
	var err error
	server.TLSConfig, err = newTLSConfig(*files, log)
	return server, err
}

// serve serves until the server is shut down or closed; that it was is no error.
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
