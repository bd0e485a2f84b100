package webhook_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/webhook"
)

// TestSecretUses: each delivery counts for the secret that proved it, also for a ping, and a refused one for none; a
// secret keeps its count when a reload gives it another place.
func TestSecretUses(t *testing.T) {
	const otherToken = "whsec_b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyb3Q="
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	connections := []webhook.Connection{
		{Name: "github", Host: event.GitHub, Secrets: []string{"new", "old"}},
		{Name: "gitlab", Host: event.GitLab, Secrets: []string{"new", "old"}, SigningTokens: []string{signingToken, otherToken}},
		{Name: "gitee", Host: event.Gitee, Secrets: []string{"new", "old"}},
		{Name: "password", Host: event.Gitee, Mode: webhook.ModePassword, Secrets: []string{"new", "old"}},
		{Name: "gitea", Host: event.Gitea, Secrets: []string{"new"}},
	}
	handler, err := webhook.New(webhook.Options{Connections: connections, Inbox: &inbox{}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	handler.Register(e)
	server := httptest.NewServer(e)
	defer server.Close()
	send := func(name, secret, token string, want int) {
		t.Helper()
		for _, c := range connections {
			if c.Name != name {
				continue
			}
			c.Secrets, c.SigningTokens = nil, nil
			if secret != "" {
				c.Secrets = []string{secret}
			}
			if token != "" {
				c.SigningTokens = []string{token}
			}
			header := headers("X-GitHub-Event", "ping", "X-Gitlab-Event", "Push Hook", "X-Gitee-Event", "Push Hook", "Idempotency-Key", "1")
			if c.Host == event.Gitea {
				header = headers("X-Gitea-Event", "push", "X-Gitea-Delivery", "1")
			}
			body, err := webhook.Sign(c, header, []byte(`{"ref":"refs/heads/main"}`), now)
			if err != nil {
				t.Fatal(err)
			}
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/webhooks/"+name, strings.NewReader(string(body)))
			if err != nil {
				t.Fatal(err)
			}
			request.Header = header
			request.Header.Set("Content-Type", "application/json")
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode/100 != want/100 {
				t.Errorf("%s with %q %q: %d", name, secret, token, response.StatusCode)
			}
		}
	}
	counts := func() map[string]int64 {
		counts := map[string]int64{}
		for _, use := range handler.SecretUses() {
			counts[use.Connection+" "+use.Label] = use.Count
			if (use.Count > 0) != use.Last.Equal(now) || strings.Contains(use.String()+use.ID, "new") {
				t.Errorf("%+v", use)
			}
		}
		return counts
	}
	for _, name := range []string{"github", "gitlab", "gitee", "password"} {
		send(name, "old", "", http.StatusOK)
		send(name, "old", "", http.StatusOK)
		send(name, "new", "", http.StatusOK)
		send(name, "another", "", http.StatusUnauthorized)
	}
	send("gitea", "new", "", http.StatusOK)
	send("gitlab", "", signingToken, http.StatusOK)
	// What is signed is held to the signing token, whatever else was sent.
	send("gitlab", "new", otherToken, http.StatusOK)
	want := map[string]int64{
		"github 1": 1, "github 2": 2, "gitlab 1": 1, "gitlab 2": 2, "gitlab signing_1": 1, "gitlab signing_2": 1,
		"gitee 1": 1, "gitee 2": 2, "password 1": 1, "password 2": 2, "gitea 1": 1,
	}
	if diff := cmp.Diff(want, counts()); diff != "" {
		t.Errorf("uses (-want +got):\n%s", diff)
	}
	if err := handler.Replace([]webhook.Connection{{Name: "github", Host: event.GitHub, Secrets: []string{"newest", "new", "old"}}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{"github 1": 0, "github 2": 1, "github 3": 2}, counts()); diff != "" {
		t.Errorf("uses after a reload (-want +got):\n%s", diff)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(handler)
	page := `
		# HELP gatewright_webhook_secret_last_used_timestamp_seconds When each webhook secret of a connection last proved a delivery, in seconds since 1970; 0 for never.
		# TYPE gatewright_webhook_secret_last_used_timestamp_seconds gauge
		gatewright_webhook_secret_last_used_timestamp_seconds{connection="github",secret="1"} 0
		gatewright_webhook_secret_last_used_timestamp_seconds{connection="github",secret="2"} 1.7672256e+09
		gatewright_webhook_secret_last_used_timestamp_seconds{connection="github",secret="3"} 1.7672256e+09
		# HELP gatewright_webhook_secret_used_total Deliveries that each webhook secret of a connection has proved, by its place in the list (signing_1 for signing tokens).
		# TYPE gatewright_webhook_secret_used_total counter
		gatewright_webhook_secret_used_total{connection="github",secret="1"} 0
		gatewright_webhook_secret_used_total{connection="github",secret="2"} 1
		gatewright_webhook_secret_used_total{connection="github",secret="3"} 2
	`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(page)); err != nil {
		t.Error(err)
	}
}
