package hooks

import (
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/forge"
)

// TestAddresses: which webhooks are ours, and what is shown of an address.
func TestAddresses(t *testing.T) {
	c := Connection{Name: "github", URL: "https://gate.example.com/base/webhooks/github", FormerURL: "https://old.example.com:8443/webhooks/github"}
	for raw, want := range map[string]address{
		"https://gate.example.com/base/webhooks/github":        addressOurs,
		"http://GATE.example.com:80/base/webhooks/github/":     addressOurs,
		"https://gate.example.com:443/base/webhooks/github?x=": addressOurs,
		"https://old.example.com:8443/webhooks/github":         addressOurs,
		"https://gate.example.com:8443/base/webhooks/github":   addressSimilar,
		"https://staging.example.com/webhooks/github":          addressSimilar,
		"https://gate.example.com/webhooks/github":             addressSimilar,
		"https://gate.example.com/base/webhooks/github-2":      addressOther,
		"https://gate.example.com/base/webhooks/":              addressOther,
		"https://ci.example.com/hook":                          addressOther,
		"":                                                     addressOther,
		"::":                                                   addressOther,
		"https://old.example.com/webhooks/gitlab":              addressOther,
	} {
		if got := c.addressOf(raw); got != want {
			t.Errorf("%s: %d, want %d", raw, got, want)
		}
	}
	for raw, want := range map[string]string{
		"https://user:password@gate.example.com:8443/webhooks/x?token=t#f": "https://gate.example.com:8443/webhooks/x",
		"http://[::1]:8080/webhooks/x":                                     "http://[::1]:8080/webhooks/x",
		"no address":                                                       "",
	} {
		if got := shown(raw); got != want {
			t.Errorf("%s is shown as %s", raw, got)
		}
	}
}

// TestProblems: one thing after another is wrong with a webhook.
func TestProblems(t *testing.T) {
	c := Connection{Name: "gitee", URL: "https://gate.example.com/webhooks/gitee", Mode: "sign", Kind: forge.HookKind{Needed: []string{"push", "tag"}, Useful: []string{"merge_group"}}}
	good := forge.Hook{ID: "1", URL: c.URL, Active: true, Events: []string{"tag", "push", "star"}, Mode: "sign"}
	if problems := c.problems(good); len(problems) > 0 {
		t.Errorf("a good one: %q", problems)
	}
	if remarks := strings.Join(c.remarks(good), " "); !strings.Contains(remarks, "does not send merge_group") {
		t.Errorf("remarks %q", remarks)
	}
	for want, change := range map[string]func(*forge.Hook){
		"its address is not https://gate": func(h *forge.Hook) { h.URL = "http://gate.example.com/webhooks/gitee" },
		"it is switched off":              func(h *forge.Hook) { h.Active = false },
		"switched it off for good":        func(h *forge.Hook) { h.Stopped = "for good" },
		"it does not send push":           func(h *forge.Hook) { h.Events = []string{"tag"} },
		"its content type is a form":      func(h *forge.Hook) { h.Form = true },
		"does not verify the certificate": func(h *forge.Hook) { h.Insecure = true },
		"it has no secret":                func(h *forge.Hook) { h.WithoutSecret = true },
		"its mode is password":            func(h *forge.Hook) { h.Mode = "password" },
		"to some branches only":           func(h *forge.Hook) { h.Narrowed = "it sends pushes to some branches only" },
	} {
		bad := good
		change(&bad)
		if problems := c.problems(bad); len(problems) != 1 || !strings.Contains(problems[0], want) {
			t.Errorf("%s: %q", want, problems)
		}
	}
	good.Events = []string{"*"}
	if problems := c.problems(good); len(problems) > 0 {
		t.Errorf("one that sends everything: %q", problems)
	}
	good.LastStatus = 401
	if remarks := strings.Join(c.remarks(good), " "); !strings.Contains(remarks, "answered with 401") {
		t.Errorf("remarks %q", remarks)
	}
	// Where there is no TLS, nothing is to be verified.
	c.URL, good.URL, good.Insecure = "http://127.0.0.1:8080/webhooks/gitee", "http://127.0.0.1:8080/webhooks/gitee", true
	if problems := c.problems(good); len(problems) > 0 {
		t.Errorf("on the loopback: %q", problems)
	}
}

// TestFirstSecret: a webhook gets the first secret that may speak of its repository.
func TestFirstSecret(t *testing.T) {
	only := func(name string) func(string) bool { return func(repository string) bool { return repository == name } }
	every := func(string) bool { return true }
	c := Connection{Name: "github", Secrets: []Secret{{"for the shop", only("acme/shop")}, {"for all", every}}}
	for repository, want := range map[string]string{"acme/shop": "for the shop", "acme/api": "for all", "": "for all"} {
		if s, err := (Target{Connection: c, Repository: repository}).settings(); err != nil || s.Secret != want {
			t.Errorf("%q: %q, error %v", repository, s.Secret, err)
		}
	}
	c.Secrets = c.Secrets[:1]
	if _, err := (Target{Connection: c, Organization: "acme"}).settings(); err == nil {
		t.Error("a secret of one repository is given to an organisation")
	}
}
