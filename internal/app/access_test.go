package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/store"
)

// routeActions says what each route of the private address takes: an action of the table of roles, or that it is
// open to everybody. A route without a line here fails TestRoutes.
var routeActions = map[string]access.Action{
	"GET /healthz": open, "HEAD /healthz": open, "GET /readyz": open, "HEAD /readyz": open, "GET /metrics": open,
	"GET /login": open, "GET /auth/start": open, "GET /auth/callback": open, "POST /logout": open,
}

const open access.Action = "open to everybody"

// TestRoutes walks every route of the private address with every role, and without one.
func TestRoutes(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{SQLite: filepath.Join(t.TempDir(), "gatewright.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cfg := &config.Config{Dashboard: config.Dashboard{Auth: config.DashboardAuth{Proxy: &config.AuthProxy{
		UserHeader: "X-User", GroupsHeader: "X-Groups", NameHeader: "X-Name", TrustedProxies: []config.CIDR{{Prefix: prefix("192.0.2.1/32")}},
	}}, Roles: config.Roles{Viewer: []string{"viewer"}, Operator: []string{"operator"}, Approver: []string{"approver"}, Admin: []string{"admin"}}}}
	service, err := newAccess(cfg, func() *config.Config { return cfg }, s, prometheus.NewRegistry(), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	e := newPrivateHandler(&health{}, http.NotFoundHandler(), zap.NewNop(), func(e *echo.Echo) { service.Register(e, withoutLogin) })
	for _, route := range e.Routes() {
		name := route.Method + " " + route.Path
		action, known := routeActions[name]
		if !known {
			t.Errorf("%s has no line in routeActions: say which action it takes", name)
			continue
		}
		for _, role := range append(access.Roles(), "", "nobody") {
			request := httptest.NewRequest(route.Method, route.Path, nil)
			if role != "nobody" {
				request.Header.Set("X-User", "bob")
				request.Header.Set("X-Groups", string(role))
			}
			answer := httptest.NewRecorder()
			e.ServeHTTP(answer, request)
			may := action == open || (access.User{Roles: []access.Role{role}}).May(action)
			refused := answer.Code == http.StatusUnauthorized || answer.Code == http.StatusForbidden
			if may == refused {
				t.Errorf("%s as %q: %d", name, role, answer.Code)
			}
		}
	}
}

// TestGroupsOfRoles: a claim gives a role by the group that names it, or by its own name where no group has that.
func TestGroupsOfRoles(t *testing.T) {
	cfg := &config.Config{
		People: config.People{{Name: "ann", OIDC: "id1"}},
		Groups: config.Groups{"leads": {People: []string{"ann"}}, "ops": {Claim: "platform"}},
	}
	p := people(func() *config.Config { return cfg })
	for _, tc := range []struct {
		person string
		claims []string
		want   string
	}{
		{"ann", nil, "[leads]"},
		{"", []string{"leads"}, "[]"}, // the provider does not say who is a lead
		{"", []string{"platform"}, "[ops platform]"},
		{"", []string{"developers"}, "[developers]"},
	} {
		if got := fmt.Sprint(p.GroupsOf(tc.person, tc.claims)); got != tc.want {
			t.Errorf("%q with %v: %s, want %s", tc.person, tc.claims, got, tc.want)
		}
	}
	if p.PersonOf("id1") != "ann" || p.PersonOf("") != "" || p.PersonOf("ann") != "" {
		t.Error("people are found by other than their subject")
	}
}

// TestStreamOutlivesTimeouts: an answer that sets its own deadlines goes on after those of the private address.
func TestStreamOutlivesTimeouts(t *testing.T) {
	const timeout = time.Second
	e := newPrivateHandler(&health{}, nil, zap.NewNop(), func(e *echo.Echo) {
		e.GET("/stream", func(c echo.Context) error {
			control := http.NewResponseController(c.Response())
			if err := control.SetReadDeadline(time.Time{}); err != nil {
				return err
			}
			if err := control.SetWriteDeadline(time.Time{}); err != nil {
				return err
			}
			timer := time.NewTimer(3 * timeout)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-c.Request().Context().Done():
				return c.Request().Context().Err()
			}
			return c.String(http.StatusOK, "still here")
		})
	})
	server, err := newPrivateServer(e, config.HTTP{HeaderTimeout: timeout}, config.Dashboard{}, newConnectionMetric(prometheus.NewRegistry()), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	server.ReadTimeout, server.WriteTimeout = timeout, timeout
	test := httptest.NewUnstartedServer(nil)
	test.Config = server
	test.Start()
	defer test.Close()
	resp, err := test.Client().Get(test.URL + "/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the stream answers %d", resp.StatusCode)
	}
}

func prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }
