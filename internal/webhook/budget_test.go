package webhook_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"net/http/httptest"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/webhook"
)

// TestBudget fills one connection's share with a body that does not end: the same
// connection is refused for now, another one is not, and when the body ends the
// first is accepted again.
func TestBudget(t *testing.T) {
	const largest = 100_000
	handler, err := webhook.New(webhook.Options{
		Connections: []webhook.Connection{
			{Name: "one", Host: event.GitLab, Secrets: []string{"hush"}},
			{Name: "two", Host: event.GitLab, Secrets: []string{"hush"}},
		},
		Inbox: &inbox{}, MaxBody: largest, MaxInFlight: 1, // the least: six bodies
	})
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	handler.Register(e)
	server := httptest.NewServer(e)
	defer server.Close()
	post := func(connection string, body io.Reader) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/webhooks/"+connection, body)
		if err != nil {
			t.Error(err)
			return 0
		}
		request.Header.Set("X-Gitlab-Token", "hush")
		request.Header.Set("X-Gitlab-Event", "Push Hook")
		response, err := server.Client().Do(request)
		if err != nil {
			// The body was broken off below.
			return 0
		}
		defer response.Body.Close()
		if response.StatusCode == http.StatusServiceUnavailable && response.Header.Get("Retry-After") == "" {
			t.Error("refused for now without saying when to come again")
		}
		return response.StatusCode
	}
	// Each writes 90,000 bytes and then waits: what arrived is held. A share holds
	// three such bodies, so the fourth is over it.
	var writers []*io.PipeWriter
	answers := make(chan int, 8)
	part := bytes.Repeat([]byte(" "), 90_000)
	for len(writers) < 8 {
		r, w := io.Pipe()
		writers = append(writers, w)
		go func() { answers <- post("one", r) }()
		go func() {
			// Of a request that was refused nobody reads the rest.
			_, _ = w.Write(part)
		}()
	}
	refused := <-answers
	if refused != http.StatusServiceUnavailable {
		t.Errorf("over its share the connection was answered %d", refused)
	}
	if status := post("two", strings.NewReader(`{}`)); status != http.StatusAccepted {
		t.Errorf("the other connection was answered %d", status)
	}
	for _, w := range writers {
		w.CloseWithError(io.ErrUnexpectedEOF)
	}
	for range len(writers) - 1 {
		<-answers
	}
	// The requests may end a moment after their clients.
	status, ended := 0, time.Now().Add(time.Minute)
	for status = post("one", strings.NewReader(`{}`)); status == http.StatusServiceUnavailable && time.Now().Before(ended); {
		status = post("one", strings.NewReader(`{}`))
	}
	if status != http.StatusAccepted && status != http.StatusOK {
		t.Errorf("with nothing in flight the connection was answered %d", status)
	}
}
