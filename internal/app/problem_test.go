package app

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/webhook"
)

// inboxFunc is an Inbox that ends in the way a test wants.
type inboxFunc func() error

func (f inboxFunc) Accept(context.Context, event.Delivery) (string, bool, error) {
	return "", false, f()
}

// TestProblems: every error answer has the same shape, whoever made it: the router,
// the webhook endpoint, a probe, or the recovery from a panic.
func TestProblems(t *testing.T) {
	connection := webhook.Connection{Name: "lab", Host: event.GitLab, Secrets: []string{"hush"}}
	endpoint := func(accept inboxFunc) http.Handler {
		h, err := webhook.New(webhook.Options{Connections: []webhook.Connection{connection}, Inbox: accept, MaxBody: 64})
		if err != nil {
			t.Fatal(err)
		}
		return newPublicHandler(h, zap.NewNop())
	}
	stored := endpoint(func() error { return nil })
	for name, tc := range map[string]struct {
		handler            http.Handler
		method, path, body string
		status             int
		code               string
	}{
		"no route":           {stored, "GET", "/secrets", "", 404, "not_found"},
		"wrong method":       {stored, "PUT", "/webhooks/lab", "", 405, "method_not_allowed"},
		"unknown connection": {stored, "POST", "/webhooks/nobody", "{}", 404, "unknown_connection"},
		"not JSON":           {stored, "POST", "/webhooks/lab", "{", 400, "not_json"},
		"too large":          {stored, "POST", "/webhooks/lab", strings.Repeat(" ", 65), 413, "too_large"},
		"not stored":         {endpoint(func() error { return errors.New("disk full") }), "POST", "/webhooks/lab", "{}", 503, "unavailable"},
		"panic":              {endpoint(func() error { panic("a bug") }), "POST", "/webhooks/lab", "{}", 500, "internal"},
		"not ready":          {newPrivateHandler(&health{}, nil, zap.NewNop()), "GET", "/readyz", "", 503, "not_ready"},
	} {
		t.Run(name, func(t *testing.T) {
			request := httptest.NewRequest(tc.method, tc.path, strings.NewReader(tc.body))
			request.Header.Set("X-Gitlab-Token", "hush")
			answer := httptest.NewRecorder()
			tc.handler.ServeHTTP(answer, request)
			wantProblem(t, answer, tc.status, tc.code)
		})
	}
	// What only middleware makes.
	for status, code := range map[int]string{
		http.StatusRequestEntityTooLarge: "too_large", http.StatusUnsupportedMediaType: "bad_request", http.StatusBadGateway: "internal",
	} {
		answer := httptest.NewRecorder()
		errorHandler(zap.NewNop())(echo.NewHTTPError(status), echo.New().NewContext(httptest.NewRequest("GET", "/", nil), answer))
		wantProblem(t, answer, status, code)
	}
}

func wantProblem(t *testing.T, answer *httptest.ResponseRecorder, status int, code string) {
	t.Helper()
	var problem map[string]string
	if err := json.Unmarshal(answer.Body.Bytes(), &problem); err != nil {
		t.Fatalf("status %d: %v", answer.Code, err)
	}
	if answer.Code != status || problem["error"] != code || problem["message"] == "" || len(problem) != 2 {
		t.Errorf("answer is %d %v, want %d, error %q and a message", answer.Code, problem, status, code)
	}
}

// TestLargestBody: a form of the largest size that the webhook endpoint accepts can
// be read back from the database.
func TestLargestBody(t *testing.T) {
	const largest = 3 * webhook.LargestBody
	s, err := store.Open(t.Context(), store.Options{SQLite: filepath.Join(t.TempDir(), "gatewright.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	packed, err := s.Pack(event.Delivery{ID: "large", Connection: "hub", Host: event.GitHub, Key: "large", ReceivedAt: time.Now(), Body: make([]byte, largest)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.AddDeliveries(t.Context(), []store.Packed{packed})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.View(t.Context(), func(tx *store.Tx) error {
		d, err := tx.Delivery(t.Context(), "large")
		if len(d.Body) != largest {
			t.Errorf("a body of %d bytes is read back as %d", largest, len(d.Body))
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}
