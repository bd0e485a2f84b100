package app_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
)

// way is a way to the stand-in that notes what goes along it.
type way struct {
	mu     sync.Mutex
	target *url.URL
	paths  []string
}

func (w *way) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	w.mu.Lock()
	target := w.target
	w.paths = append(w.paths, request.Method+" "+request.URL.Path)
	w.mu.Unlock()
	(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is signed
	}}).ServeHTTP(answer, request)
}

// asked reports whether a path with this text went along.
func (w *way) asked(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.paths, func(path string) bool { return strings.Contains(path, text) })
}

const accountsRules = `
version: 1
defaults:
  check:
    project: {id: ${PROJECT}, name: demo}
    languages: [GO]
    create: {auth_id: 6f1d0c52-8a0e-4a57-9a4d-2f7d3c9be001}
    timeout: 2m
rules:
  - name: theirs
    on: [push]
    match: {connection: github, branch: main}
    check: {account: partner}
    release:
      - {account: huaweicloud, pipeline: shop, action: start, timeout: 2m}
      - {account: huaweicloud, pipeline: shop, action: approve, task: "${CHECKPOINT}", timeout: 2m}
  - name: ours
    on: [push]
    match: {connection: gitlab, branch: main}
    check: {}
    release:
      - {account: partner, pipeline: web, action: start, timeout: 2m}
`

// TestAccounts holds that each run and each release is asked of the account that its rule
// names, and of no other.
func TestAccounts(t *testing.T) {
	t.Parallel()
	partner := &way{}
	listener := httptest.NewServer(partner)
	defer listener.Close()
	s := startWithAccounts(t, listener.URL, accountsRules)
	target, err := url.Parse(s.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	partner.target = target

	s.Push(t, event.GitHub, "1", demo.Change{Branch: "main", Before: s.World.Parent, SHA: s.World.Clean})
	r := s.Until(t, "the checked commit is released", func(r demo.Records) bool { return len(r.Releases) == 2 && r.Ended() })
	if run := r.Runs[0]; run.State != codecheck.Passed || run.Account != "partner" {
		t.Errorf("the run of account %q ended %s: %s", run.Account, run.State, run.Reason)
	}
	for _, rel := range r.Releases {
		if rel.State != release.Succeeded || rel.Account != "" {
			t.Errorf("the release of account %q ended %s: %s", rel.Account, rel.State, rel.Reason)
		}
	}
	if !partner.asked("/v2/tasks/") || partner.asked("/pipelines/") {
		t.Errorf("the partner's account was asked for %q", partner.paths)
	}

	partner.mu.Lock()
	partner.paths = nil
	partner.mu.Unlock()
	s.Push(t, event.GitLab, "2", demo.Change{Branch: "main", Before: s.World.Parent, SHA: s.World.Clean})
	s.Until(t, "the second is released", func(r demo.Records) bool { return len(r.Releases) == 3 && r.Ended() })
	if partner.asked("/tasks/") || !partner.asked("/pipelines/") {
		t.Errorf("the partner's account was asked for %q", partner.paths)
	}
}

func startWithAccounts(t *testing.T, endpoint, rules string) apptest.Service {
	t.Helper()
	return apptest.OnSQLiteWith(t, demo.Options{Rules: rules, Server: func(text string) string {
		text = strings.Replace(text, `, web: "${FAILING_PIPELINE}"`, "", 1)
		return text + strings.ReplaceAll(`
accounts:
  partner:
    auth: {access_key: {id: {env: DEMO_ACCESS_KEY}, secret: {env: DEMO_SECRET_KEY}}}
    endpoints: {codecheck: "$URL", servicestage: "$URL"}
    project_id: ${REGION_PROJECT}
    pipelines: {web: "${FAILING_PIPELINE}"}
    poll: {min: 100ms, max: 500ms}
    release_poll: {min: 100ms, max: 500ms}
`, "$URL", endpoint)
	}})
}
