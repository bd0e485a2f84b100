package doctor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/doctor"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/webhook"
)

const serverFile = `
connections:
  - {name: hub, kind: github, secrets: [{env: SECRET}], token: {env: SECRET}}
  - {name: lab, kind: gitlab, secrets: [{env: SECRET_2}], token: {env: SECRET}}
  - {name: lab-2, kind: gitlab, secrets: [{env: SECRET_4}], token: {env: SECRET}}
  - {name: gitee, kind: gitee, secrets: [{env: SECRET_3}]}
huaweicloud:
  endpoints: {codecheck: "http://127.0.0.1:1", servicestage: "http://127.0.0.1:1"}
  auth: {access_key: {id: {env: SECRET}, secret: {env: SECRET}}}
`

const rulesFile = `
version: 1
defaults: {check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07}}}
rules:
  - {name: merge-requests, on: [merge_request], match: {connection: hub, repository: acme/shop, branch: main}, check: {}}
  - {name: pushes, on: [push], match: {connection: hub, repository: [acme/shop, acme/gone], branch: [main, "release/*"]}, check: {}}
  - {name: others, on: [push], match: {repository: "acme/*"}, check: {}}
  - {name: refused, on: [push], match: {connection: lab, repository: acme/refused, branch: refused}, check: {}}
  - {name: silent, on: [push], match: {connection: lab, repository: acme/silent, branch: silent}, check: {}}
`

// hosts answers what a git host answers.
type hosts func(event.Event) (string, error)

func (h hosts) Head(_ context.Context, ev event.Event) (string, error) { return h(ev) }

func (h hosts) CanReport(_ context.Context, ev event.Event) (bool, error) {
	if ev.Branch == "refused" {
		return true, errors.New("read rights: the token may not write here")
	}
	return ev.Branch == "main", nil
}

func (h hosts) RightToReport(string) string { return "a token with every right" }

// TestTokens holds what is read with the token of a connection: the branches that the
// rules name, each once.
func TestTokens(t *testing.T) {
	folder := t.TempDir()
	var kinds []config.Kind
	for _, kind := range webhook.Kinds() {
		kinds = append(kinds, config.Kind(kind))
	}
	cfg, complaints := config.Load(filepath.Join(folder, "gatewright.yaml"), []byte(serverFile), kinds,
		func(name string) (string, bool) { return "a-long-enough-secret of " + name, true }, os.ReadFile)
	if len(complaints) > 0 {
		t.Fatal(complaints)
	}
	policy, complaints := rules.Load(rules.Source{Name: "rules.yaml", Data: []byte(rulesFile)})
	if len(complaints) > 0 {
		t.Fatal(complaints)
	}
	findings := doctor.Examine(t.Context(), doctor.Options{
		Config: cfg, Policy: policy, Database: store.Options{SQLite: filepath.Join(folder, "gatewright.db")},
		Repository: func(_ config.Connection, name string) event.Repository { return event.Repository{FullName: name} },
		Hosts: hosts(func(ev event.Event) (string, error) {
			if ev.Connection == "lab" && ev.Repository.FullName == "acme/"+ev.Branch {
				return "1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c", nil
			}
			if ev.Connection == "hub" && ev.Kind == event.Push && ev.Branch == "main" && ev.Repository.FullName == "acme/shop" {
				return "1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c", nil
			}
			return "", errors.New("read branch: there is none (status 404)")
		}),
	})
	var got []string
	for _, f := range findings {
		if strings.HasPrefix(f.Subject, "token") || strings.HasPrefix(f.Subject, "reports") {
			got = append(got, string(f.State)+" "+f.Subject+": "+f.Detail)
		}
	}
	want := []string{
		"ok token of connection hub: acme/shop main: can be read, at 1f2e3d4c",
		"ok reports of connection hub: acme/shop: statuses and comments can be written",
		"wrong token of connection hub: acme/gone main: read branch: there is none (status 404)",
		"ok token of connection lab: acme/refused refused: can be read, at 1f2e3d4c",
		"wrong reports of connection lab: acme/refused: read rights: the token may not write here",
		"ok token of connection lab: acme/silent silent: can be read, at 1f2e3d4c",
		"unchecked reports of connection lab: acme/silent: the host does not tell whether statuses and comments can be written: that takes a token with every right",
		"unchecked token of connection lab-2: no rule names a repository and a branch of this connection without patterns, so there is nothing to read",
		"unchecked token of connection gitee: it has none, so nothing is read from this host, and nothing reported there",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}
