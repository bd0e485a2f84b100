package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/webhook"
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

// TestAccounts: the numbers of who wrote a merge request and who acted are kept where the connection
// accepts nothing but signed bodies, and left out where whoever knows the secret can write them. A
// comment keeps them, because it is read back from its host.
func TestAccounts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gatewright.yaml")
	write(t, file, `connections:
  - {name: github, kind: github, secrets: [{env: A}]}
  - {name: gitea, kind: gitea, url: "https://git.quarry.example", secrets: [{env: B}]}
  - {name: gitee, kind: gitee, secrets: [{env: C}]}
  - {name: gitlab-token, kind: gitlab, url: "https://gitlab.quarry.example", secrets: [{env: D}]}
  - {name: gitlab-both, kind: gitlab, url: "https://gitlab.quarry.example", secrets: [{env: E}], signing_tokens: [{env: SIGNING}]}
  - {name: gitlab-signed, kind: gitlab, url: "https://gitlab.quarry.example", signing_tokens: [{env: SIGNED}]}
huaweicloud: {region: cn-north-4, auth: {access_key: {id: {env: A}, secret: {env: A}}}}
`)
	cfg, err := LoadConfig(file, func(name string) (string, bool) {
		switch name {
		case "SIGNING":
			return "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q=", true
		case "SIGNED":
			return "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3U=", true
		}
		return "a-secret-that-is-long-enough-" + name, true
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ connection, delivery, author, sender string }{
		{"github", "github/push", "51", "51"}, {"github", "github/pr_opened", "51", "51"},
		{"gitea", "gitea/push", "51", "51"}, {"gitea", "gitea/pr_closed", "51", "51"},
		{"gitlab-signed", "gitlab/push", "51", "51"}, {"gitlab-signed", "gitlab/mr_open_by_another", "51", "77"},
		{"gitlab-token", "gitlab/push", "", ""}, {"gitlab-token", "gitlab/mr_open_by_another", "", ""},
		{"gitlab-both", "gitlab/push", "", ""}, {"gitlab-token", "gitlab/command_on_mr", "51764", "51764"},
		{"gitee", "gitee/push", "", ""}, {"gitee", "gitee/pr_merge", "", ""}, {"gitee", "gitee/note_on_pr", "51", "51"},
	} {
		c, _ := cfg.Connection(tc.connection)
		base := filepath.Join("../webhook/testdata", tc.delivery)
		body, err := os.ReadFile(base + ".json")
		if err != nil {
			t.Fatal(err)
		}
		headers, err := os.Open(base + ".headers")
		if err != nil {
			t.Fatal(err)
		}
		header, err := webhook.ReadHeaders(headers)
		_ = headers.Close()
		if err != nil {
			t.Fatal(err)
		}
		ev, err := Read(c, event.Delivery{Connection: c.Name, Host: event.Host(c.Kind), Header: header, Body: body})
		if err != nil || ev.AuthorID != tc.author || ev.SenderID != tc.sender {
			t.Errorf("%s by %s: %q is of %q, sent by %q, error %v", tc.delivery, tc.connection, ev.Kind, ev.AuthorID, ev.SenderID, err)
		}
	}
}
