package access

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/gatewright/gatewright/internal/webhook"
)

// The limits of what strangers send and providers answer.
const (
	// maxFailures is how often a client may fail to prove who it is within failureWindow.
	maxFailures   = 20
	failureWindow = time.Minute
	// maxClients bounds the memory of clients that failed.
	maxClients = 4096
	// maxClaims and maxClaim bound the groups of a person, maxName what is shown of anybody.
	maxClaims = 500
	maxClaim  = 256
	maxName   = 200
)

// limiter counts the failures of clients. It is safe for concurrent use.
type limiter struct {
	now func() time.Time

	mu      sync.Mutex
	clients map[netip.Prefix]failures
}

// failures of one client since a time.
type failures struct {
	count int
	since time.Time
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, clients: map[netip.Prefix]failures{}}
}

// allows reports whether a client may try again.
func (l *limiter) allows(client netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.clients[webhook.ShareOf(client)]
	return f.count < maxFailures || l.now().Sub(f.since) >= failureWindow
}

// failed counts a failure. Where too many clients have failed one of them is forgotten, of those
// whose time is over before others.
func (l *limiter) failed(client netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	share, now := webhook.ShareOf(client), l.now()
	f, known := l.clients[share]
	if now.Sub(f.since) >= failureWindow {
		f = failures{since: now}
	}
	if !known && len(l.clients) >= maxClients {
		l.forget(now)
	}
	f.count++
	l.clients[share] = f
}

func (l *limiter) forget(now time.Time) {
	for client, f := range l.clients {
		if now.Sub(f.since) >= failureWindow {
			delete(l.clients, client)
		}
	}
	for client := range l.clients {
		if len(l.clients) < maxClients {
			return
		}
		delete(l.clients, client)
	}
}

// printable is text from outside, fit for a log line and a page: on one line, without control
// characters, and not long.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, " "))
	if runes := []rune(strings.TrimSpace(text)); len(runes) > maxName {
		return string(runes[:maxName]) + "…"
	}
	return strings.TrimSpace(text)
}

// bounded are the groups that somebody has: not empty, not too long and not too many.
func bounded(claims []string) []string {
	claims = slices.DeleteFunc(claims, func(c string) bool {
		return strings.TrimSpace(c) == "" || len(c) > maxClaim || strings.ContainsFunc(c, unicode.IsControl)
	})
	return claims[:min(len(claims), maxClaims)]
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}
