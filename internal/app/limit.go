package app

import (
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/webhook"
)

// connectionLimit bounds the open connections of a server, and those of each client
// address, so that one client cannot take all of them. A trusted proxy has no share of
// its own, because it speaks for many clients.
type connectionLimit struct {
	most, share int
	clients     webhook.Clients
	// strangers is the sampled log.
	strangers *zap.Logger
	refused   prometheus.Counter

	mu       sync.Mutex
	open     int
	byClient map[netip.Prefix]int
}

// track is an http.Server's ConnState: a connection over the limit is closed before
// anything of it is read.
func (l *connectionLimit) track(conn net.Conn, state http.ConnState) {
	if state != http.StateNew && state != http.StateClosed {
		return
	}
	addr := webhook.PeerAddr(conn.RemoteAddr().String())
	if l.count(addr, state == http.StateNew) {
		return
	}
	l.refused.Inc()
	l.strangers.Warn("connection refused", zap.Stringer(event.LogClient, addr),
		zap.String(event.LogReason, "too many open connections: raise http.max_connections, or name the address in http.trusted_proxies if it is your proxy"))
	_ = conn.Close()
}

// count counts a connection that was opened or closed, and reports whether all of them
// are within the limit.
func (l *connectionLimit) count(addr netip.Addr, opened bool) bool {
	client := webhook.ShareOf(addr)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !opened {
		l.open--
		if l.byClient[client]--; l.byClient[client] == 0 {
			delete(l.byClient, client)
		}
		return true
	}
	l.open++
	l.byClient[client]++
	return l.open <= l.most && (l.byClient[client] <= l.share || l.clients.Trusted(addr))
}
