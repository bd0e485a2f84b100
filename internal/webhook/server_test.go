package webhook_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/webhook"
)

// inbox keeps deliveries in memory and recognises them by connection and key.
type inbox struct {
	mu         sync.Mutex
	deliveries []event.Delivery
	err        error
}

func (b *inbox) Accept(_ context.Context, d event.Delivery) (string, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return "", false, b.err
	}
	for _, known := range b.deliveries {
		if known.Connection == d.Connection && known.Key == d.Key {
			return known.ID, true, nil
		}
	}
	b.deliveries = append(b.deliveries, d)
	return d.ID, false, nil
}

// testServer is a running server with the handler behind real HTTP.
type testServer struct {
	*httptest.Server
	inbox   *inbox
	metrics *prometheus.Registry
	log     *lockedBuffer
	now     time.Time
}

type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

const maxBody = 4096

func startServer(t *testing.T) *testServer {
	t.Helper()
	d := &testServer{inbox: &inbox{}, metrics: prometheus.NewRegistry(), log: &lockedBuffer{}, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	gitee := connection(event.Gitee)
	gitee.Secrets = []string{secret, "the next secret"}
	password := webhook.Connection{Name: "gitee-password", Host: event.Gitee, Mode: webhook.ModePassword, Secrets: []string{`sec"ret/&é`}}
	handler, err := webhook.New(webhook.Options{
		Connections: []webhook.Connection{connection(event.GitHub), connection(event.GitLab), gitee, password, connection(event.Gitea)},
		Inbox:       d.inbox,
		MaxBody:     maxBody,
		Log:         zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(d.log), zap.DebugLevel)),
		Metrics:     webhook.NewMetrics(d.metrics),
		Now:         func() time.Time { return d.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	handler.Register(e)
	d.Server = httptest.NewServer(e)
	t.Cleanup(d.Close)
	return d
}

// post sends a request and returns the status, the JSON answer and the headers.
func (d *testServer) post(t *testing.T, path string, header http.Header, body io.Reader) (int, map[string]string, http.Header) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	response, err := d.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer map[string]string
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatalf("status %d: %v", response.StatusCode, err)
	}
	return response.StatusCode, answer, response.Header
}

// signed returns the header, signed for the connection, and the body.
func (d *testServer) signed(t *testing.T, c webhook.Connection, header http.Header, body string) (http.Header, io.Reader) {
	t.Helper()
	out, err := webhook.Sign(c, header, []byte(body), d.now)
	if err != nil {
		t.Fatal(err)
	}
	return header, strings.NewReader(string(out))
}

// deliveries returns the counters of gatewright_deliveries_total, each by
// "connection event outcome".
func (d *testServer) deliveries(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := d.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counters := make(map[string]float64)
	for _, family := range families {
		if family.GetName() != "gatewright_deliveries_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetValue())
			}
			counters[strings.Join(labels, " ")] = metric.GetCounter().GetValue()
		}
	}
	return counters
}

// wantCounted checks that one request was counted, by these labels.
func (d *testServer) wantCounted(t *testing.T, labels string) {
	t.Helper()
	for found, value := range d.deliveries(t) {
		if want := map[bool]float64{true: 1}[found == labels]; value != want {
			t.Errorf("counter %q is %g, want %g", found, value, want)
		}
	}
	if _, ok := d.deliveries(t)[labels]; !ok {
		t.Errorf("there is no counter %q", labels)
	}
}

// begin sends the head of a request and the start of its body over a connection
// of its own.
func (d *testServer) begin(t *testing.T, contentLength int, body string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", d.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := fmt.Fprintf(conn, "POST /webhooks/the-github HTTP/1.1\r\nHost: x\r\nX-Hub-Signature-256: sha256=%064d\r\nContent-Length: %d\r\n\r\n%s", 0, contentLength, body); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

func readStatus(t *testing.T, conn net.Conn) int {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}
