package webhook_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/webhook"
)

// exchange sends raw bytes from an address and returns the answer.
func exchange(t *testing.T, server, from, request string) (status int, answer map[string]string) {
	t.Helper()
	conn := dialFrom(t, server, from)
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	// The test fails and does not hang when nothing is answered.
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, answer
}

// dialFrom connects from a loopback address of its own.
func dialFrom(t *testing.T, server, from string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// serve runs a handler behind real HTTP.
func serve(t *testing.T, opts webhook.Options) (addr string, h *webhook.Handler, log *lockedBuffer) {
	t.Helper()
	log = &lockedBuffer{}
	opts.Log = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(log), zap.InfoLevel))
	if opts.Inbox == nil {
		opts.Inbox = &inbox{}
	}
	h, err := webhook.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	h.Register(e)
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), h, log
}

// TestRefusedFromHeaders announces a body and sends none of it: what the headers tell is
// answered without the body, the sender is told nothing of the configuration, and the
// log tells the cause and the client's address.
func TestRefusedFromHeaders(t *testing.T) {
	t.Parallel()
	fenced := connection(event.GitHub)
	fenced.Name, fenced.Allow = "fenced", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	password := webhook.Connection{Name: "password", Host: event.Gitee, Mode: webhook.ModePassword, Secrets: []string{secret}}
	token := webhook.Connection{Name: "token", Host: event.GitLab, Secrets: []string{secret}}
	addr, _, log := serve(t, webhook.Options{BodyTimeout: time.Hour, Connections: []webhook.Connection{
		connection(event.GitHub), connection(event.GitLab), connection(event.Gitee), connection(event.Gitea), fenced, password, token,
	}})
	for _, tc := range []struct {
		name, connection, header string
		status                   int
		logged                   string
	}{
		{"unknown connection", "nobody", "", 404, "no connection has this name"},
		{"address not allowed", "fenced", "X-Hub-Signature-256: sha256=" + strings.Repeat("0", 64), 401, "allow list"},
		{"github, no signature", "the-github", "", 401, "X-Hub-Signature-256 is missing"},
		{"github, SHA-1", "the-github", "X-Hub-Signature-256: sha1=" + strings.Repeat("0", 40), 401, "does not start with sha256="},
		{"github, short", "the-github", "X-Hub-Signature-256: sha256=00", 401, "64 digits"},
		{"gitlab, no token", "token", "", 401, "X-Gitlab-Token is missing"},
		{"gitlab, wrong token", "token", "X-Gitlab-Token: guess", 401, "not this connection's secret"},
		{"gitlab, malformed signature", "the-gitlab", "Webhook-Signature: v1,AAAA", 401, "base64 of 32 bytes"},
		{"gitlab, old signature", "the-gitlab", "Webhook-Timestamp: 1\r\nWebhook-Signature: v1," + strings.Repeat("A", 43) + "=", 401, "signed time"},
		{"gitee, no token", "the-gitee", "", 401, "X-Gitee-Token is missing"},
		{"gitee, wrong signature", "the-gitee", "X-Gitee-Token: guess\r\nX-Gitee-Timestamp: 1", 401, "not a signature"},
		{"gitea, no signature", "the-gitea", "X-Gitea-Event: push", 401, "are missing"},
		{"gitea, empty signature", "the-gitea", "X-Gitea-Signature: ", 401, "X-Gitea-Signature is empty"},
		{"gitea, short", "the-gitea", "X-Forgejo-Signature: 00", 401, "64 digits"},
		{"gitea, a delivery of GitHub", "the-gitea", "X-Hub-Signature-256: sha256=" + strings.Repeat("0", 64), 401, "as in a delivery of GitHub"},
		{"github, a delivery of Forgejo", "the-github", "X-Forgejo-Event: push\r\nX-Hub-Signature-256: sha256=" + strings.Repeat("0", 64), 401, "the kind gitea"},
		{"gitee, wrong password", "password", "X-Gitee-Token: guess", 401, "not this connection's password"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.header != "" {
				tc.header += "\r\n"
			}
			before := len(log.String())
			status, answer := exchange(t, addr, "127.0.0.7", fmt.Sprintf("POST /webhooks/%s HTTP/1.1\r\nHost: x\r\n%sContent-Length: 1000000\r\n\r\n", tc.connection, tc.header))
			if status != tc.status {
				t.Errorf("status is %d, want %d", status, tc.status)
			}
			if len(answer) != 2 || strings.Contains(answer["message"], tc.logged) || strings.Contains(answer["message"], tc.connection) {
				t.Errorf("answer is %v", answer)
			}
			line := log.String()[before:]
			if !strings.Contains(line, tc.logged) || !strings.Contains(line, `"client":"127.0.0.7"`) || strings.Contains(line, secret) {
				t.Errorf("log is %s", line)
			}
		})
	}
}

// TestSlowAttackers: clients that announce as much as is allowed, over and over, and
// send all but the last byte keep nobody else from being heard.
func TestSlowAttackers(t *testing.T) {
	t.Parallel()
	const largest = 256 << 10
	addr, _, log := serve(t, webhook.Options{
		Connections: []webhook.Connection{connection(event.GitHub)}, MaxBody: largest, MaxInFlight: 8 << 20, BodyTimeout: time.Hour,
	})
	var attacks sync.WaitGroup
	for _, from := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"} {
		for range 10 {
			conn := dialFrom(t, addr, from)
			attacks.Go(func() {
				fmt.Fprintf(conn, "POST /webhooks/the-github HTTP/1.1\r\nHost: x\r\nX-Hub-Signature-256: sha256=%064d\r\nContent-Length: %d\r\n\r\n%s", 0, largest, strings.Repeat(" ", largest-1))
			})
		}
	}
	attacks.Wait()
	for end := time.Now().Add(30 * time.Second); !strings.Contains(log.String(), "overloaded"); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("the attackers have no more than their share")
		}
	}
	for range 100 {
		body := []byte(`{}`)
		header := headers("X-GitHub-Event", "push")
		if _, err := webhook.Sign(connection(event.GitHub), header, body, time.Now()); err != nil {
			t.Fatal(err)
		}
		status, answer := exchange(t, addr, "127.0.0.1", fmt.Sprintf("POST /webhooks/the-github HTTP/1.1\r\nHost: x\r\nX-GitHub-Event: push\r\nX-Hub-Signature-256: %s\r\nContent-Length: 2\r\n\r\n{}", header.Get("X-Hub-Signature-256")))
		if status != http.StatusAccepted && status != http.StatusOK {
			t.Fatalf("a genuine delivery is answered %d %v", status, answer)
		}
	}
}

// TestSlowBody: a body of which nothing more arrives is given up, long before the time
// that a whole body has.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	addr, _, _ := serve(t, webhook.Options{Connections: []webhook.Connection{connection(event.GitHub)}, BodyTimeout: time.Hour})
	if status, _ := exchange(t, addr, "127.0.0.1", fmt.Sprintf("POST /webhooks/the-github HTTP/1.1\r\nHost: x\r\nX-Hub-Signature-256: sha256=%064d\r\nContent-Length: 10\r\n\r\n{", 0)); status != http.StatusBadRequest {
		t.Errorf("status is %d", status)
	}
	addr, h, _ := serve(t, webhook.Options{Connections: []webhook.Connection{connection(event.GitHub)}, BodyTimeout: time.Hour})
	h.CutOff()
	if status, _ := exchange(t, addr, "127.0.0.1", fmt.Sprintf("POST /webhooks/the-github HTTP/1.1\r\nHost: x\r\nX-Hub-Signature-256: sha256=%064d\r\nContent-Length: 10\r\n\r\n{", 0)); status != http.StatusBadRequest {
		t.Errorf("status at the end of the service is %d", status)
	}
}

// TestSampledLog: what strangers cause does not fill the log, and hides nothing of what
// happens to a connection.
func TestSampledLog(t *testing.T) {
	t.Parallel()
	d := startServer(t)
	for i := range 500 {
		d.post(t, fmt.Sprintf("/webhooks/nobody-%d", i), http.Header{}, strings.NewReader("{}"))
	}
	d.post(t, "/webhooks/the-github", http.Header{}, strings.NewReader("{}"))
	log := d.log.String()
	if lines := strings.Count(log, "unknown_connection"); lines == 0 || lines > 200 {
		t.Errorf("500 requests made %d lines", lines)
	}
	if strings.Count(log, `"reason":"unauthorized"`) != 1 || strings.Contains(log, "nobody-") {
		t.Errorf("log is %s", log)
	}
}

// TestClients: who sent a request, by the proxies that are trusted.
func TestClients(t *testing.T) {
	clients := webhook.Clients{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}
	for name, tc := range map[string]struct {
		peer   string
		header http.Header
		want   string
	}{
		"direct":                     {"203.0.113.9:1234", nil, "203.0.113.9"},
		"direct, with a false claim": {"203.0.113.9:1234", headers("X-Forwarded-For", "198.51.100.1", "X-Real-IP", "198.51.100.1"), "203.0.113.9"},
		"mapped":                     {"[::ffff:203.0.113.9]:1234", nil, "203.0.113.9"},
		"one proxy":                  {"10.0.0.1:1", headers("X-Forwarded-For", "203.0.113.9"), "203.0.113.9"},
		"false claim, one proxy":     {"10.0.0.1:1", headers("X-Forwarded-For", "198.51.100.1, 203.0.113.9"), "203.0.113.9"},
		"two proxies":                {"10.0.0.1:1", headers("X-Forwarded-For", "198.51.100.1,203.0.113.9, 10.0.0.2"), "203.0.113.9"},
		"two headers":                {"10.0.0.1:1", http.Header{"X-Forwarded-For": {"198.51.100.1", "203.0.113.9:80"}}, "203.0.113.9"},
		"from inside":                {"10.0.0.1:1", headers("X-Forwarded-For", "10.0.0.3"), "10.0.0.3"},
		"garbage":                    {"10.0.0.1:1", headers("X-Forwarded-For", "198.51.100.1, what"), "10.0.0.1"},
		"real ip":                    {"10.0.0.1:1", headers("X-Real-IP", "2001:db8::1"), "2001:db8::1"},
		"forwarded":                  {"[fd00::1]:1", headers("Forwarded", `for=198.51.100.1, for="[2001:db8::2]:99";proto=https`), "2001:db8::2"},
		"silent proxy":               {"10.0.0.1:1", nil, "10.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := clients.Of(&http.Request{RemoteAddr: tc.peer, Header: tc.header}); got.String() != tc.want {
				t.Errorf("client is %s, want %s", got, tc.want)
			}
		})
	}
	for addr, want := range map[string]string{"203.0.113.9": "203.0.113.9/32", "2001:db8:1:2:3::4": "2001:db8:1:2::/64"} {
		if got := webhook.ShareOf(netip.MustParseAddr(addr)); got.String() != want {
			t.Errorf("the share of %s is that of %s, want %s", addr, got, want)
		}
	}
}
