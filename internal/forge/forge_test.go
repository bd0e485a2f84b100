package forge_test

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rogpeppe/go-internal/txtar"
	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
)

var update = flag.Bool("update", false, "write what was found into the case files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "a-token-that-no-error-shows"

// now is the clock of the cases; 1767225600 in a header is a minute later.
func now() time.Time { return time.Unix(1767225540, 0) }

// basePaths are where the cases serve each API.
var basePaths = map[event.Host]string{event.GitHub: "/api/v3", event.GitLab: "/sub/api/v4", event.Gitee: "/api/v5", event.Gitea: "/git/api/v1"}

// TestCases reads from each host as its case files say. A file has a part `read` (what is
// read, such as branch, the repository, the name), a part for each request that
// the host knows, with status, headers and body of its answer, and a part `want`.
func TestCases(t *testing.T) {
	eachCase(t, "testdata/*/*.txtar", 30, func(t *testing.T, c *hostCase) string { return c.run(t) })
}

// eachCase runs the case files of a pattern, at least so many, and compares what run says of each with its
// last part, which is want.
func eachCase(t *testing.T, pattern string, least int, run func(t *testing.T, c *hostCase) string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) < least {
		t.Fatalf("%d case files, error %v", len(files), err)
	}
	for _, file := range files {
		folder := filepath.Dir(file)
		t.Run(filepath.Base(folder)+"/"+strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := run(t, newCase(t, event.Host(filepath.Base(folder)), archive))
			want := &archive.Files[len(archive.Files)-1]
			if want.Name != "want" {
				t.Fatal("the last part is not want")
			}
			if *update {
				want.Data = []byte(got + "\n")
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got != strings.TrimSpace(string(want.Data)) {
				t.Errorf("got  %s\nwant %s", got, want.Data)
			}
		})
	}
}

// hostCase is a host that knows the requests of one case file.
type hostCase struct {
	host event.Host
	read string
	// answers are those of each request; the last one stays.
	answers map[string][]string
	// asked are the requests in order.
	asked []string
	// elsewhere counts the requests that another host got.
	elsewhere int
	url       string
}

func newCase(t *testing.T, host event.Host, archive *txtar.Archive) *hostCase {
	c := &hostCase{host: host, answers: map[string][]string{}}
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { c.elsewhere++ }))
	t.Cleanup(other.Close)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.serve(t, w, r) }))
	t.Cleanup(server.Close)
	c.url = server.URL + basePaths[host]
	for _, part := range archive.Files {
		switch part.Name {
		case "read":
			c.read = strings.TrimSpace(string(part.Data))
		case "want":
		default:
			answer := strings.NewReplacer("{API}", c.url, "{ROOT}", server.URL, "{ELSEWHERE}", other.URL).Replace(string(part.Data))
			c.answers[part.Name] = append(c.answers[part.Name], answer)
		}
	}
	return c
}

// serve answers a request that carries the token as its host wants it.
func (c *hostCase) serve(t *testing.T, w http.ResponseWriter, r *http.Request) {
	header, want := "Authorization", "Bearer "+token
	switch c.host {
	case event.GitLab:
		header, want = "Private-Token", token
	case event.Gitea:
		want = "token " + token
	}
	if got := r.Header.Get(header); got != want {
		t.Errorf("%s is %q", header, got)
	}
	path := strings.TrimPrefix(r.URL.EscapedPath(), basePaths[c.host])
	if r.URL.RawQuery != "" {
		path += "?" + r.URL.RawQuery
	}
	c.asked = append(c.asked, r.Method+" "+path)
	answers, known := c.answers[r.Method+" "+path]
	if !known {
		t.Errorf("the case does not know %s %s", r.Method, path)
		return
	}
	answer := answers[0]
	if len(answers) > 1 {
		c.answers[r.Method+" "+path] = answers[1:]
	}
	first, rest, _ := strings.Cut(answer, "\n")
	if first == "drop" {
		panic(http.ErrAbortHandler)
	}
	status, err := strconv.Atoi(first)
	if err != nil {
		t.Errorf("status: %v", err)
	}
	head, body, _ := strings.Cut(rest, "\n\n")
	lines, err := textproto.NewReader(bufio.NewReader(strings.NewReader(head + "\n\n"))).ReadMIMEHeader()
	if err != nil {
		t.Errorf("headers: %v", err)
	}
	for name, values := range lines {
		w.Header()[name] = values
	}
	w.WriteHeader(status)
	if before, after, huge := strings.Cut(body, "{HUGE}"); huge {
		body = before + string(bytes.Repeat([]byte("x"), 5<<20)) + after
	}
	_, _ = w.Write([]byte(body))
}

// run reads, and says what it got in one line.
func (c *hostCase) run(t *testing.T) string {
	words := strings.Fields(c.read)
	ev := event.Event{Connection: "c", Kind: event.Push, Repository: event.Repository{FullName: words[1]}, Branch: words[2]}
	switch words[0] {
	case "tag":
		ev.Kind = event.Tag
	case "merge_request":
		ev.Kind = event.MergeRequest
		ev.Number, _ = strconv.Atoi(words[2])
		ev.Branch = "main"
	}
	f := newForge(t, forge.Options{Connections: []forge.Connection{{Name: "c", Host: c.host, APIURL: c.url, Token: token}}})
	var text string
	var err error
	switch words[0] {
	case "files": // the repository, the number and its commit
		ev.Kind, ev.HeadSHA = event.MergeRequest, words[3]
		ev.Number, _ = strconv.Atoi(words[2])
		text, err = files(f.Files(t.Context(), ev))
	case "compare": // the repository and two commits
		ev.Before, ev.HeadSHA = words[2], words[3]
		text, err = files(f.Files(t.Context(), ev))
	case "request": // the repository and the number
		ev.Number, _ = strconv.Atoi(words[2])
		var request forge.MergeRequest
		request, err = f.MergeRequest(t.Context(), ev)
		text = fmt.Sprintf("%+v", request)
	case "member": // the repository, the number and the name of an account
		var may bool
		may, err = f.CanWrite(t.Context(), "c", ev.Repository, forge.User{ID: words[2], Login: words[3]})
		text = map[bool]string{true: "may write", false: "may not write"}[may]
	case "missed": // the repository and the address
		text, err = missed(f.Missed(t.Context(), forge.HookOwner{Connection: "c", Repository: words[1]}, words[2], now().Add(-48*time.Hour)))
	case "redeliver": // the repository, the webhook and the delivery
		text, err = "it is sent again", f.Redeliver(t.Context(), forge.HookOwner{Connection: "c", Repository: words[1]}, words[2], words[3])
	case "test": // the repository and the webhook
		text, err = "it is tested", f.TestHook(t.Context(), forge.HookOwner{Connection: "c", Repository: words[1]}, words[2])
	case "repository":
		var r event.Repository
		r, err = f.Repository(t.Context(), "c", words[1])
		text = fmt.Sprintf("%s %s %s, private %t, default branch %s", r.Host, r.ID, r.FullName, r.Private, r.DefaultBranch)
	case "requests_of": // the repository and a commit
		var list []forge.MergeRequestRef
		list, err = f.MergeRequestsOf(t.Context(), "c", words[1], words[2])
		text = "none"
		for i, r := range list {
			if text += "\n" + r.String(); i == 0 {
				text = r.String()
			}
		}
	case "branches":
		text, err = refs(f.Branches(t.Context(), "c", words[1]))
	case "merge_requests":
		text, err = refs(f.MergeRequests(t.Context(), "c", words[1]))
	default:
		text, err = f.Head(t.Context(), ev)
		text = "commit " + text
	}
	if c.elsewhere > 0 {
		t.Errorf("another host got %d requests", c.elsewhere)
	}
	if err == nil {
		return text
	}
	return failed(t, err)
}

// failed says in one line what an error is.
func failed(t *testing.T, err error) string {
	if strings.Contains(err.Error(), token) {
		t.Error("the error shows the token")
	}
	var failure *forge.Error
	if !errors.As(err, &failure) || failure != err {
		t.Fatalf("the error is a %T: %v", err, err)
	}
	if !failure.Retryable() {
		return "final: " + err.Error()
	}
	// Ports differ from run to run.
	text := err.Error()
	if before, _, found := strings.Cut(text, ": read tcp"); found {
		text = before
	}
	return fmt.Sprintf("retry after %s: %s", failure.RetryAfter(), text)
}

// files says what is known of changed files.
func files(f event.Files, err error) (string, error) {
	if !f.FromHost {
		return "the host was not asked", err
	}
	if f.Complete {
		return fmt.Sprintf("all of %q", f.Paths), err
	}
	return fmt.Sprintf("%q, and %s", f.Paths, f.Unknown), err
}

// missed says what webhooks could not deliver.
func missed(hooks []forge.MissedHook, registered bool, err error) (string, error) {
	text := fmt.Sprintf("%d webhooks", len(hooks))
	if !registered && err == nil {
		text = "no webhook is registered"
	}
	for _, hook := range hooks {
		text += fmt.Sprintf("\n%s stopped %q, %d a minute:", hook.ID, hook.Stopped, hook.PerMinute)
		for _, d := range hook.Failed {
			text += fmt.Sprintf(" %s of %s at %s;", d.ID, d.GUID, d.At.UTC().Format(time.RFC3339))
		}
	}
	return text, err
}

// refs says which branches or merge requests are listed.
func refs(r forge.Refs, err error) (string, error) {
	text := "complete"
	if !r.Complete {
		text = "cut short"
	}
	for i, ref := range r.List {
		if i == 3 {
			return fmt.Sprintf("%s\n… and %d more", text, len(r.List)-i), err
		}
		text += fmt.Sprintf("\n%d %s %.8s", ref.Number, ref.Branch, ref.SHA)
		if ref.Number > 0 {
			text += fmt.Sprintf(" from %s, fork %t, draft %t, by %s (%s) at %s: %q, labels %q", ref.SourceBranch, ref.Fork, ref.Draft, ref.Author, ref.AuthorID, ref.UpdatedAt, ref.Title, ref.Labels)
		}
	}
	return text, err
}

func newForge(t *testing.T, o forge.Options) *forge.Forge {
	t.Helper()
	o.Now = now
	f, err := forge.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.CloseIdle)
	return f
}

// TestEndless: a host that does not answer, and one that goes on answering, end with the
// time of the read.
func TestEndless(t *testing.T) {
	for name, begin := range map[string]bool{"no answer": false, "an answer without an end": true} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if begin {
					_, _ = w.Write([]byte(`{"name": "`))
					_ = http.NewResponseController(w).Flush()
				}
				<-r.Context().Done()
			}))
			defer server.Close()
			f := newForge(t, forge.Options{Timeout: 50 * time.Millisecond, Connections: []forge.Connection{{Name: "c", Host: event.Gitee, APIURL: server.URL, Token: token}}})
			_, err := f.Head(t.Context(), pushToMain())
			var failure *forge.Error
			if !errors.As(err, &failure) || !failure.Retryable() {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestRefusedTokens: a token counts as refused from an answer of 401 until the host takes it. What else fails says
// nothing of it.
func TestRefusedTokens(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{}`))
	}))
	defer server.Close()
	f := newForge(t, forge.Options{Timeout: time.Minute, Connections: []forge.Connection{{Name: "c", Host: event.Gitee, APIURL: server.URL, Token: token}}})
	for _, step := range []struct {
		status  int
		refused bool
	}{{403, false}, {401, true}, {500, true}, {404, true}, {200, false}, {404, false}} {
		status = step.status
		_, _ = f.Head(t.Context(), pushToMain())
		reason, refused := f.RefusedTokens()["c"]
		if refused != step.refused || strings.Contains(reason, token) {
			t.Errorf("after %d: refused %t, %q", step.status, refused, reason)
		}
	}
}

// TestMetrics: each request counts once, with the name of the read and its status.
func TestMetrics(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	registry := prometheus.NewRegistry()
	f := newForge(t, forge.Options{Metrics: forge.NewMetrics(registry), Connections: []forge.Connection{{Name: "c", Host: event.GitLab, APIURL: server.URL + "/api/v4", Token: token}}})
	ev := event.Event{Connection: "c", Kind: event.MergeRequest, Number: 7, Repository: event.Repository{FullName: "a/b"}}
	_, _ = f.Head(t.Context(), ev)
	server.Close()
	_, _ = f.Head(t.Context(), ev)
	want := `# HELP gatewright_forge_calls_total Requests to the APIs of git hosts, by connection, operation and result code.
# TYPE gatewright_forge_calls_total counter
gatewright_forge_calls_total{code="404",connection="c",operation="read_merge_request"} 1
gatewright_forge_calls_total{code="no_answer",connection="c",operation="read_merge_request"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "gatewright_forge_calls_total"); err != nil {
		t.Error(err)
	}
}

// TestCertificates: a host with a certificate of its own is trusted by the connection that
// names its authority, and by no other.
func TestCertificates(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(mainAnswer))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	for name, pool := range map[string]*x509.CertPool{"trusted": roots, "unknown": nil} {
		f := newForge(t, forge.Options{Connections: []forge.Connection{{Name: "c", Host: event.Gitee, APIURL: server.URL, Token: token, RootCAs: pool}}})
		_, err := f.Head(t.Context(), pushToMain())
		if (err == nil) != (pool != nil) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// TestProxy: requests go through the connection's proxy.
func TestProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host != "gitee.invalid" {
			t.Errorf("the proxy is asked for %q", r.URL.Host)
		}
		mainAnswer(w, r)
	}))
	defer proxy.Close()
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	f := newForge(t, forge.Options{Connections: []forge.Connection{{Name: "c", Host: event.Gitee, APIURL: "http://gitee.invalid/api/v5", Token: token, Proxy: address}}})
	if _, err := f.Head(t.Context(), pushToMain()); err != nil {
		t.Error(err)
	}
}

// mainAnswer is Gitee's answer about the branch main.
func mainAnswer(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write([]byte(`{"name": "main", "commit": {"sha": "1f2e3d4c5b6a79881726354453627180a1b2c3d4"}}`))
}

func pushToMain() event.Event {
	return event.Event{Connection: "c", Kind: event.Push, Branch: "main", Repository: event.Repository{FullName: "acme/api"}}
}

// TestGitHubLimit: after an answer that used up GitHub's limit nothing is sent until the limit
// is reset.
func TestGitHubLimit(t *testing.T) {
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests++
		w.Header().Set("X-RateLimit-Limit", "5000")
		w.Header().Set("X-RateLimit-Remaining", "0")
		w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10))
		_, _ = w.Write([]byte(`{"ref": "refs/heads/main", "object": {"type": "commit", "sha": "1f2e3d4c5b6a79881726354453627180a1b2c3d4"}}`))
	}))
	defer server.Close()
	f := newForge(t, forge.Options{Connections: []forge.Connection{{Name: "c", Host: event.GitHub, APIURL: server.URL, Token: token}}})
	if _, err := f.Head(t.Context(), pushToMain()); err != nil {
		t.Fatal(err)
	}
	_, err := f.Head(t.Context(), pushToMain())
	var failure *forge.Error
	if !errors.As(err, &failure) || !failure.Retryable() || failure.RetryAfter() != 10*time.Minute || requests != 1 {
		t.Errorf("after %d requests: %v", requests, err)
	}
}

// TestNewRefuses: a connection that could not be asked is told at the start, without its
// token.
func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]forge.Connection{
		"no token":     {Name: "c", Host: event.Gitee, APIURL: "https://gitee.com/api/v5"},
		"no address":   {Name: "c", Host: event.Gitee, Token: token},
		"unknown host": {Name: "c", Host: "svn", APIURL: "https://svn.example.com", Token: token},
	} {
		if _, err := forge.New(forge.Options{Connections: []forge.Connection{c}}); err == nil || strings.Contains(err.Error(), token) {
			t.Errorf("%s: error %v", name, err)
		}
		if text := fmt.Sprint(c); text != "c" {
			t.Errorf("%s: it prints as %q", name, text)
		}
	}
	f := newForge(t, forge.Options{})
	if _, err := f.Head(t.Context(), event.Event{Connection: "other"}); err == nil || !strings.Contains(err.Error(), "no API token") {
		t.Errorf("an unknown connection: %v", err)
	}
}
