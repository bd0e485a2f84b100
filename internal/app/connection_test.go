package app

import (
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/event"
)

// push is a GitHub push to acme/shop.
func push(scope ...string) event.Delivery {
	return event.Delivery{
		Connection: "hub", Host: event.GitHub, Scope: scope, Header: map[string][]string{"X-Github-Event": {"push"}},
		Body: []byte(`{"ref": "refs/heads/main", "after": "1f2e3d4c5b6a79880f1e2d3c4b5a69788796a5b4",
"repository": {"id": 1, "full_name": "Acme/Shop", "html_url": "https://github.com/acme/shop"}}`),
	}
}

// TestRead holds which repositories a connection and a secret may speak of, and that
// nothing but the reason is left of a delivery about another one: it moves no head.
func TestRead(t *testing.T) {
	for _, tc := range []struct {
		name        string
		connection  []string
		secret      []string
		wantIgnored string
	}{
		{"no scope", nil, nil, ""},
		{"both include it", []string{"acme/*", "!acme/depot"}, []string{"acme/SHOP"}, ""},
		{"not the connection", []string{"other/*"}, []string{"acme/*"}, `the connection is for other repositories: repository "Acme/Shop" does not match "other/*"`},
		{"excluded by the connection", []string{"!acme/*"}, nil, `the connection is for other repositories: repository "Acme/Shop" is excluded by "!acme/*"`},
		{"not the secret", []string{"acme/*"}, []string{"acme/web", "acme/api"}, `the secret that verified it is for other repositories: repository "Acme/Shop" matches none of "acme/web", "acme/api"`},
		{"a secret that verifies nothing", nil, []string{"!**"}, `the secret that verified it is for other repositories: repository "Acme/Shop" is excluded by "!**"`},
		{"a stored pattern that is not valid", nil, []string{"acme/["}, `the secret that verified it is for other repositories: "acme/[" is not a pattern`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ev, err := Read(config.Connection{Name: "hub", Kind: string(event.GitHub), URL: "https://github.com", Repositories: tc.connection}, push(tc.secret...))
			if err != nil {
				t.Fatal(err)
			}
			if ev.IgnoredReason != tc.wantIgnored {
				t.Errorf("ignored: %q, want %q", ev.IgnoredReason, tc.wantIgnored)
			}
			if ev.Connection != "hub" || ev.SetsHead() != (tc.wantIgnored == "") {
				t.Errorf("event: %+v", ev)
			}
		})
	}
}

// TestRemovedConnection: without its connection nothing says which host a delivery
// must be about.
func TestRemovedConnection(t *testing.T) {
	if ev, err := parser(nil)(push()); err == nil || !strings.Contains(err.Error(), `"hub": this connection is not configured any more`) {
		t.Errorf("event %+v, error %v", ev, err)
	}
}
