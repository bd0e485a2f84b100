package webhook_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/webhook"
)

// TestScope holds that a delivery is stored with the scope of the secret that verified
// it, whichever of the connection's secrets that is.
func TestScope(t *testing.T) {
	const otherToken = "whsec_b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyb3Q="
	box := &inbox{}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	payments := map[string][]string{"for payments": {"acme/payments-*"}, otherToken: {"acme/web"}}
	connections := []webhook.Connection{
		{Name: "github", Host: event.GitHub, Secrets: []string{"for all", "for payments"}, Scopes: payments},
		{Name: "gitlab", Host: event.GitLab, Secrets: []string{"for all", "for payments"}, SigningTokens: []string{signingToken, otherToken}, Scopes: payments},
		{Name: "gitee", Host: event.Gitee, Secrets: []string{"for all", "for payments"}, Scopes: payments},
		{Name: "gitea", Host: event.Gitea, Secrets: []string{"for all", "for payments"}, Scopes: payments},
	}
	handler, err := webhook.New(webhook.Options{Connections: connections, Inbox: box, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	handler.Register(e)
	server := httptest.NewServer(e)
	defer server.Close()
	for _, tc := range []struct {
		connection, secret, token string
		want                      []string
	}{
		{"github", "for all", "", nil},
		{"github", "for payments", "", []string{"acme/payments-*"}},
		{"gitlab", "for all", "", nil},
		{"gitlab", "for payments", "", []string{"acme/payments-*"}},
		{"gitlab", "", signingToken, nil},
		{"gitlab", "", otherToken, []string{"acme/web"}},
		// What is signed is held to the signing token, whatever else was sent.
		{"gitlab", "for all", otherToken, []string{"acme/web"}},
		{"gitee", "for all", "", nil},
		{"gitee", "for payments", "", []string{"acme/payments-*"}},
		{"gitea", "for all", "", nil},
		{"gitea", "for payments", "", []string{"acme/payments-*"}},
	} {
		sender := webhook.Connection{Name: tc.connection, Host: event.Host(tc.connection)}
		if tc.secret != "" {
			sender.Secrets = []string{tc.secret}
		}
		if tc.token != "" {
			sender.SigningTokens = []string{tc.token}
		}
		header := headers("Content-Type", "application/json", "X-GitHub-Event", "push", "X-Gitlab-Event", "Push Hook", "X-Gitee-Event", "Push Hook")
		if tc.connection == "gitea" {
			header.Set("X-Gitea-Event", "push")
		}
		body, err := webhook.Sign(sender, header, []byte(`{"by":"`+tc.secret+tc.token+`"}`), now)
		if err != nil {
			t.Fatal(err)
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/webhooks/"+tc.connection, strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		request.Header = header
		response, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusAccepted {
			t.Fatalf("%+v: answered %d", tc, response.StatusCode)
		}
		if got := box.deliveries[len(box.deliveries)-1].Scope; !slices.Equal(got, tc.want) {
			t.Errorf("%+v: the scope is %q", tc, got)
		}
	}
	if got := webhook.Scope(connections[0], http.Header{}, nil, now); !slices.Equal(got, []string{"!**"}) {
		t.Errorf("the scope of what no secret verifies is %q", got)
	}
}
