package app_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/storetest"
)

// connect opens a connection from a loopback address of its own.
func connect(t *testing.T, base, from string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// closed reports whether the server closes a connection on which nothing was sent, within
// a time.
func closed(t *testing.T, conn net.Conn, within time.Duration) bool {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	_, err := conn.Read(make([]byte, 1))
	timeout, ok := err.(net.Error)
	return err != nil && (!ok || !timeout.Timeout())
}

// TestConnectionShare: one address cannot take all connections, unless it is a trusted
// proxy's.
func TestConnectionShare(t *testing.T) {
	t.Parallel()
	d := apptest.Start(t, storetest.Database{Name: "sqlite"}, demo.Options{HTTP: "header_timeout: 1h, read_timeout: 1h, max_connections: 64, trusted_proxies: [127.0.0.3]"})
	for range 8 {
		connect(t, d.Base(), "127.0.0.2")
	}
	for range 20 {
		connect(t, d.Base(), "127.0.0.3")
	}
	if !closed(t, connect(t, d.Base(), "127.0.0.2"), 30*time.Second) {
		t.Error("an address has more connections than its share")
	}
	if closed(t, connect(t, d.Base(), "127.0.0.3"), time.Second) {
		t.Error("a trusted proxy has a share")
	}
	if sent := d.Push(t, event.GitLab, uuid.NewString(), demo.Change{Branch: "scratch", SHA: d.World.Clean}); sent.Status != http.StatusAccepted {
		t.Errorf("a genuine delivery is answered %d", sent.Status)
	}
	if !strings.Contains(scrape(t, d), `gatewright_connections_refused_total{address="public"} 1`) {
		t.Error("the refused connection was not counted")
	}
}

// TestUnreadMetrics: clients that ask for the metrics over and over and read nothing
// leave them to others, and do not hold up the end of the service, nor does a body that
// does not arrive.
func TestUnreadMetrics(t *testing.T) {
	t.Parallel()
	d := apptest.Start(t, storetest.Database{Name: "sqlite"}, demo.Options{})
	for range 6 {
		conn := connect(t, d.Private(), "127.0.0.2")
		if err := conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		// The server stops to read when its answers are not read.
		_, _ = io.WriteString(conn, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 20000))
	}
	for range 3 {
		scrape(t, d)
	}
	conn := connect(t, d.Base(), "127.0.0.2")
	if _, err := fmt.Fprintf(conn, "POST /webhooks/github HTTP/1.1\r\nHost: x\r\nX-Hub-Signature-256: sha256=%064d\r\nContent-Length: 100\r\n\r\n{", 0); err != nil {
		t.Fatal(err)
	}
	if err := d.StopService(); err != nil {
		t.Errorf("the service did not stop by itself: %v", err)
	}
}

func scrape(t *testing.T, d apptest.Service) string {
	t.Helper()
	response, err := http.Get(d.Private() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("metrics are answered %d: %v", response.StatusCode, err)
	}
	return string(text)
}
