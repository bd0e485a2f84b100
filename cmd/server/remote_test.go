package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
)

// tokenFile is a file with a token of a role.
func tokenFile(t *testing.T, d apptest.Service, role access.Role) string {
	t.Helper()
	text, stored, err := access.NewToken(string(role), role, "test", time.Now(), time.Now().Add(time.Hour))
	if err == nil {
		err = d.Store().AddToken(t.Context(), stored)
	}
	path := filepath.Join(t.TempDir(), "token")
	if err == nil {
		err = os.WriteFile(path, []byte(text+"\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRemote: a command says by the API what it says from the database, and does what its token may do.
func TestRemote(t *testing.T) {
	t.Parallel()
	d := apptest.OnSQLite(t)
	d.Push(t, event.GitHub, "1", demo.Change{Branch: "main", SHA: d.World.Parent})
	d.Push(t, event.GitHub, "2", demo.Change{Branch: "main", Before: d.World.Parent, SHA: d.World.Clean})
	r := d.Until(t, "it is released and told", func(r demo.Records) bool { return apptest.Released(r) && r.Told() })
	run := r.Runs[len(r.Runs)-1].ID
	operator, viewer := tokenFile(t, d, access.Operator), tokenFile(t, d, access.Viewer)
	remotely := func(token string, args ...string) (int, string, string) {
		t.Helper()
		return runCommand(t, nil, append(args, "--server", d.Private(), "--token-file", token)...)
	}
	for _, args := range [][]string{
		{"list", "deliveries"}, {"list", "deliveries", "--json"}, {"list", "runs", "--json", "--limit", "1"}, {"list", "runs", "--search", "acme"}, {"list", "releases", "--json"},
		{"list", "actions", "--json"}, {"list", "missing", "--json", "--after", "1m"}, {"list", "runs", "--actor", "nobody"},
		{"show", run}, {"show", run, "--json"}, {"show", run, "--findings", "--json"}, {"show", run, "--sarif"}, {"show", r.Deliveries[0].ID, "--json"}, {"show", r.Releases[0].ID, "--json"},
		{"replay", r.Deliveries[0].ID, "--dry-run", "--json"}, {"replay", "--since", "1h", "--dry-run"},
	} {
		wantCode, want, _ := runCommand(t, nil, append(args, "--db", d.SQLite())...)
		code, got, stderr := remotely(viewer, args...)
		if code != wantCode || got != want || want == "" {
			t.Errorf("%q: exit code %d, want %d\n%s%s\nwant:\n%s", args, code, wantCode, stderr, got, want)
		}
	}
	for _, test := range []struct {
		name, token string
		args        []string
		code        int
		want        string
	}{
		{"a viewer", viewer, []string{"rerun", "run", run, "--reason", "once more"}, command.No, "forbidden: you may not do this"},
		{"another kind", operator, []string{"rerun", "release", run, "--reason", "once more"}, command.No, run + " is a run and not a release"},
		{"an operator", operator, []string{"rerun", "run", run, "--reason", "once more"}, command.OK, "run " + run + ": noted rerun by "},
		{"again", operator, []string{"rerun", "run", run, "--reason", "once more"}, command.No, "repeats it already"},
		{"what takes a person", operator, []string{"approve", "release", r.Releases[0].ID, "--reason", "x"}, command.No, "forbidden: "},
		{"a replay", operator, []string{"replay", r.Deliveries[0].ID, "--reason", "new rules"}, command.OK, "1 replayed, 0 skipped"},
		{"an unknown id", operator, []string{"show", "ffff"}, command.No, "no delivery, run or release has an id that begins with"},
		{"a cursor of another list", operator, []string{"list", "runs", "--cursor", "AAAA"}, command.No, "cursor: this is not a cursor"},
	} {
		code, stdout, stderr := remotely(test.token, test.args...)
		if code != test.code || !strings.Contains(stdout+stderr, test.want) {
			t.Errorf("%s: exit code %d\n%s%s", test.name, code, stdout, stderr)
		}
	}
	code, _, stderr := runCommand(t, map[string]string{"GATEWRIGHT_TOKEN": "gwt_aaaaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbbbb"}, "list", "runs", "--server", d.Private(), "--token", "env")
	if code != command.No || !strings.Contains(stderr, "the server does not accept the token") || strings.Contains(stderr, "gwt_") {
		t.Errorf("with a wrong token: exit code %d, %s", code, stderr)
	}
}

// TestRemoteKeepsItsToken: a redirect is not followed with the token, and an answer of something else is not taken for one.
func TestRemoteKeepsItsToken(t *testing.T) {
	t.Parallel()
	asked := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer other.Close()
	answer := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	defer server.Close()
	list := func() string {
		code, _, stderr := runCommand(t, map[string]string{"GATEWRIGHT_TOKEN": "gwt_aaaaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbbbb"}, "list", "runs", "--server", server.URL)
		if code != command.No {
			t.Errorf("exit code %d", code)
		}
		return stderr
	}
	if stderr := list(); asked != 0 || !strings.Contains(stderr, "the token is not sent there") {
		t.Errorf("the other server was asked %d times: %s", asked, stderr)
	}
	answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }
	if stderr := list(); !strings.Contains(stderr, "does not answer as gatewright does") {
		t.Error(stderr)
	}
	answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	if stderr := list(); !strings.Contains(stderr, "answers 502 and does not say why") {
		t.Error(stderr)
	}
	answer = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusConflict)
		_, _ = w.Write([]byte(`{"error": "x", "message": "\u001b[2Jcleared"}`))
	}
	if stderr := list(); strings.Contains(stderr, "\x1b") || !strings.Contains(stderr, "cleared") {
		t.Errorf("%q", stderr)
	}
	answer = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error": "unauthorized", "message": "log in"}`))
	}
	if code, _, stderr := runCommand(t, nil, "list", "runs", "--server", server.URL); code != command.No || !strings.Contains(stderr, "the server wants a token: give --token-file, or set GATEWRIGHT_TOKEN") {
		t.Errorf("without a token: exit code %d, %s", code, stderr)
	}
	secure := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer secure.Close()
	code, _, stderr := runCommand(t, nil, "list", "runs", "--server", secure.URL)
	if code != command.No || !strings.Contains(stderr, "cannot be trusted") || !strings.Contains(stderr, "--ca") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
