package webhook_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/webhook"
)

func TestReceive(t *testing.T) {
	github, gitlab, gitee, gitea := connection(event.GitHub), connection(event.GitLab), connection(event.Gitee), connection(event.Gitea)
	stranger := webhook.Connection{Host: event.GitHub, Secrets: []string{"guess"}}
	next := webhook.Connection{Host: event.Gitee, Secrets: []string{"the next secret"}}
	githubHeader := func(name string) http.Header {
		return headers("Content-Type", "application/json", "X-GitHub-Event", name, "X-GitHub-Delivery", "d1")
	}
	giteeHeader := func() http.Header {
		return headers("Content-Type", "application/json", "X-Gitee-Event", "Push Hook", "X-Gitee-Ping", "false")
	}
	const form = "application/x-www-form-urlencoded"
	for _, tc := range []struct {
		name    string
		path    string
		sign    webhook.Connection
		header  http.Header
		body    string
		later   time.Duration // the server's clock, after signing
		status  int
		code    string // of the answer: error or status
		metric  string
		stored  int
		chunked bool
	}{
		{name: "accepted", path: "/webhooks/the-github", sign: github, header: githubHeader("push"), body: `{}`, status: 202, code: "accepted", metric: "the-github push accepted", stored: 1},
		{name: "form", path: "/webhooks/the-github", sign: github, header: headers("Content-Type", form, "X-GitHub-Event", "push"), body: "payload=%7B%7D", status: 202, code: "accepted", metric: "the-github push accepted", stored: 1},
		{name: "form with charset", path: "/webhooks/the-github", sign: github, header: headers("Content-Type", form+"; charset=utf-8", "X-GitHub-Event", "push"), body: "payload=%7B%7D", status: 202, code: "accepted", metric: "the-github push accepted", stored: 1},
		{name: "gitlab", path: "/webhooks/the-gitlab", sign: gitlab, header: headers("X-Gitlab-Event", "Merge Request Hook"), body: `{}`, status: 202, code: "accepted", metric: "the-gitlab merge_request accepted", stored: 1},
		{name: "gitee", path: "/webhooks/the-gitee", sign: gitee, header: giteeHeader(), body: `{}`, status: 202, code: "accepted", metric: "the-gitee push accepted", stored: 1},
		{name: "second secret", path: "/webhooks/the-gitee", sign: next, header: giteeHeader(), body: `{}`, status: 202, code: "accepted", metric: "the-gitee push accepted", stored: 1},
		{name: "gitea", path: "/webhooks/the-gitea", sign: gitea, header: headers("Content-Type", "application/json", "X-Gitea-Event", "push"), body: `{}`, status: 202, code: "accepted", metric: "the-gitea push accepted", stored: 1},
		{name: "gitea, a form", path: "/webhooks/the-gitea", sign: gitea, header: headers("Content-Type", form, "X-Gitea-Event", "pull_request"), body: "payload=%7B%7D", status: 202, code: "accepted", metric: "the-gitea merge_request accepted", stored: 1},
		{name: "forgejo", path: "/webhooks/the-gitea", sign: gitea, header: headers("X-Forgejo-Event", "issue_comment", "X-GitHub-Event", "push"), body: `{}`, status: 202, code: "accepted", metric: "the-gitea comment accepted", stored: 1},
		{name: "gogs", path: "/webhooks/the-gitea", sign: gitea, header: headers("X-Gogs-Event", "push"), body: `{}`, status: 202, code: "accepted", metric: "the-gitea push accepted", stored: 1},
		{name: "gitea, JSON sent as a form", path: "/webhooks/the-gitea", sign: gitea, header: headers("Content-Type", form, "X-Gitea-Event", "push"), body: `{"a":"payload=%7B%7D"}`, status: 400, code: "not_json", metric: "the-gitea push not_json"},
		{name: "gitea, form that is not a form", path: "/webhooks/the-gitea", sign: gitea, header: headers("Content-Type", form, "X-Gitea-Event", "push"), body: "payload=%zz", status: 400, code: "not_json", metric: "the-gitea push not_json"},
		{name: "gitea, form too large", path: "/webhooks/the-gitea", sign: gitea, header: headers("Content-Type", form, "X-Gitea-Event", "push"), body: "payload=%22" + strings.Repeat("x", maxBody) + "%22", status: 413, code: "too_large", metric: "the-gitea push too_large"},
		{name: "unwanted event", path: "/webhooks/the-github", sign: github, header: githubHeader("gardening"), body: `{}`, status: 202, code: "accepted", metric: "the-github other accepted", stored: 1},
		{name: "unreadable as its event", path: "/webhooks/the-github", sign: github, header: githubHeader("push"), body: `[1]`, status: 202, code: "accepted", metric: "the-github push accepted", stored: 1},

		{name: "unknown connection", path: "/webhooks/other", sign: github, header: githubHeader("push"), body: `{}`, status: 404, code: "unknown_connection", metric: " other unknown_connection"},
		{name: "too large", path: "/webhooks/the-github", sign: github, header: githubHeader("push"), body: strings.Repeat(" ", maxBody+1), status: 413, code: "too_large", metric: "the-github push too_large"},
		{name: "too large, chunked", path: "/webhooks/the-github", sign: github, header: githubHeader("push"), body: strings.Repeat(" ", maxBody+1), chunked: true, status: 413, code: "too_large", metric: "the-github push too_large"},
		{name: "just not too large, chunked", path: "/webhooks/the-github", sign: github, header: githubHeader("push"), body: strings.Repeat(" ", maxBody-2) + "{}", chunked: true, status: 202, code: "accepted", metric: "the-github push accepted", stored: 1},
		{name: "bad signature", path: "/webhooks/the-github", sign: stranger, header: githubHeader("push"), body: `{}`, status: 401, code: "unauthorized", metric: "the-github push unauthorized"},
		{name: "bad signature of no JSON", path: "/webhooks/the-github", sign: stranger, header: githubHeader("push"), body: `{`, status: 401, code: "unauthorized", metric: "the-github push unauthorized"},
		{name: "bad signature of a ping", path: "/webhooks/the-github", sign: stranger, header: githubHeader("ping"), body: `{}`, status: 401, code: "unauthorized", metric: "the-github ping unauthorized"},
		{name: "stale", path: "/webhooks/the-gitee", sign: gitee, header: giteeHeader(), body: `{}`, later: 61 * time.Minute, status: 401, code: "unauthorized", metric: "the-gitee push unauthorized"},
		{name: "stale signing token", path: "/webhooks/the-gitlab", sign: gitlab, header: headers("X-Gitlab-Event", "Push Hook"), body: `{}`, later: 6 * time.Minute, status: 401, code: "unauthorized", metric: "the-gitlab push unauthorized"},
		{name: "not JSON", path: "/webhooks/the-github", sign: github, header: githubHeader("push"), body: `{"a":`, status: 400, code: "not_json", metric: "the-github push not_json"},
		{name: "empty", path: "/webhooks/the-github", sign: github, header: githubHeader("push"), body: ``, status: 400, code: "not_json", metric: "the-github push not_json"},
		{name: "form without payload", path: "/webhooks/the-github", sign: github, header: headers("Content-Type", form, "X-GitHub-Event", "push"), body: "load=%7B%7D", status: 400, code: "not_json", metric: "the-github push not_json"},
		{name: "malformed form", path: "/webhooks/the-github", sign: github, header: headers("Content-Type", form, "X-GitHub-Event", "push"), body: "payload=%zz", status: 400, code: "not_json", metric: "the-github push not_json"},
		{name: "JSON sent as a form", path: "/webhooks/the-github", sign: github, header: headers("Content-Type", form, "X-GitHub-Event", "push"), body: `{"commits":[{"message":"x&payload=%7B%7D"}]}`, status: 400, code: "not_json", metric: "the-github push not_json"},
		{name: "form with another field", path: "/webhooks/the-github", sign: github, header: headers("Content-Type", form, "X-GitHub-Event", "push"), body: "payload=%7B%7D&x=1", status: 400, code: "not_json", metric: "the-github push not_json"},
		{name: "form with payload twice", path: "/webhooks/the-github", sign: github, header: headers("Content-Type", form, "X-GitHub-Event", "push"), body: "payload=%7B%7D&payload=%7B%7D", status: 400, code: "not_json", metric: "the-github push not_json"},
		{name: "form sent as JSON", path: "/webhooks/the-github", sign: github, header: githubHeader("push"), body: "payload=%7B%7D", status: 400, code: "not_json", metric: "the-github push not_json"},
		{name: "two content types", path: "/webhooks/the-github", sign: github, header: http.Header{"Content-Type": {"application/json", form}, "X-Github-Event": {"push"}}, body: `{}`, status: 400, code: "not_json", metric: "the-github push not_json"},
		{name: "broken content type", path: "/webhooks/the-github", sign: github, header: headers("Content-Type", form+"; =", "X-GitHub-Event", "push"), body: "payload=%7B%7D", status: 400, code: "not_json", metric: "the-github push not_json"},
		{name: "other content type", path: "/webhooks/the-github", sign: github, header: headers("Content-Type", "text/plain", "X-GitHub-Event", "push"), body: `{}`, status: 400, code: "not_json", metric: "the-github push not_json"},
		{name: "old gitee hook", path: "/webhooks/the-gitee", sign: gitee, header: headers("Content-Type", form, "X-Gitee-Event", "Push Hook"), body: "hook=%7B%7D", status: 400, code: "not_json", metric: "the-gitee push not_json"},

		{name: "github ping", path: "/webhooks/the-github", sign: github, header: githubHeader("ping"), body: `{"zen":"x"}`, status: 200, code: "ping", metric: "the-github ping ping"},
		{name: "gitee ping", path: "/webhooks/the-gitee", sign: gitee, header: headers("X-Gitee-Event", "push_hooks", "X-Gitee-Ping", "true"), body: `{}`, status: 200, code: "ping", metric: "the-gitee ping ping"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := startServer(t)
			header, body := d.signed(t, tc.sign, tc.header, tc.body)
			if tc.chunked {
				body = io.MultiReader(body) // its length is not known
			}
			d.now = d.now.Add(tc.later)
			status, answer, _ := d.post(t, tc.path, header, body)
			if status != tc.status || answer["error"]+answer["status"] != tc.code {
				t.Errorf("answer is %d %v, want %d %s", status, answer, tc.status, tc.code)
			}
			if status >= 400 && answer["message"] == "" {
				t.Error("the refusal does not say what to do")
			}
			d.wantCounted(t, tc.metric)
			if len(d.inbox.deliveries) != tc.stored {
				t.Errorf("%d deliveries stored, want %d", len(d.inbox.deliveries), tc.stored)
			}
			if log := d.log.String(); !strings.Contains(log, `"msg"`) || strings.Contains(log, secret) {
				t.Errorf("log is %s", log)
			}
		})
	}
}

// TestStoredDelivery: what is stored is the body byte for byte, the headers worth
// keeping and no secret.
func TestStoredDelivery(t *testing.T) {
	d := startServer(t)
	header := headers("Content-Type", "application/json", "User-Agent", "GitLab/19.1.0", "X-Gitlab-Event", "Push Hook",
		"Idempotency-Key", "k1", "Authorization", "Bearer x", "Cookie", "a=b", "X-Custom", "custom secret")
	const body = "{ \"object_kind\":\"push\" ,\"é\":1}\n"
	header, reader := d.signed(t, connection(event.GitLab), header, body)
	status, answer, _ := d.post(t, "/webhooks/the-gitlab", header, reader)
	if status != http.StatusAccepted {
		t.Fatalf("status is %d", status)
	}
	got := d.inbox.deliveries[0]
	if id, err := uuid.Parse(got.ID); err != nil || id.Version() != 7 || got.ID != answer["delivery"] {
		t.Errorf("id is %q, answered %q", got.ID, answer["delivery"])
	}
	want := event.Delivery{
		ID: got.ID, Connection: "the-gitlab", Host: event.GitLab, HostID: "k1", Event: "Push Hook", ReceivedAt: d.now,
		Key: fmt.Sprintf("k1 sha256:%x", sha256.Sum256([]byte("Push Hook"+body))),
		Header: map[string][]string{
			"Content-Type": {"application/json"}, "User-Agent": {"GitLab/19.1.0"}, "X-Gitlab-Event": {"Push Hook"},
			"Idempotency-Key": {"k1"}, "Webhook-Id": {"k1"}, "Webhook-Timestamp": {"1767225600"},
		},
		Body: []byte(body),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("delivery (-want +got):\n%s", diff)
	}
}

// TestGiteePasswordIsNotStored: the password that Gitee repeats in the body is
// not stored, however it is spelled, and the body still parses.
func TestGiteePasswordIsNotStored(t *testing.T) {
	body, err := os.ReadFile("testdata/gitee/push.json")
	if err != nil {
		t.Fatal(err)
	}
	const password = `sec"ret/&é`
	for name, spelled := range map[string]string{
		"plain":   `"sec\"ret/&é"`,
		"escaped": `"sec\u0022ret\/\u0026\u00e9"`,
	} {
		t.Run(name, func(t *testing.T) {
			d := startServer(t)
			sent := strings.Replace(string(body), `"password": ""`, `"password": `+spelled, 1)
			header := headers("X-Gitee-Token", password, "X-Gitee-Event", "Push Hook", "X-Gitee-Timestamp", "1767225600000")
			if status, answer, _ := d.post(t, "/webhooks/gitee-password", header, strings.NewReader(sent)); status != http.StatusAccepted {
				t.Fatalf("status is %d %v", status, answer)
			}
			got := d.inbox.deliveries[0]
			if string(got.Body) != string(body) {
				t.Errorf("stored body is %s", got.Body)
			}
			if strings.Contains(fmt.Sprint(got), "ret/") || strings.Contains(d.log.String(), "ret/") {
				t.Error("the password was stored or logged")
			}
			ev, err := webhook.Parse(webhook.Connection{Host: event.Gitee}, got.Header, got.Body)
			if err != nil || ev.Branch != "main" {
				t.Errorf("parsed %+v, error %v", ev, err)
			}
		})
	}
}

// TestGiteaSecretIsNotStored: the secret that Gitea before 1.14 repeats in the JSON is not
// stored, in whichever way it came, and the body still parses.
func TestGiteaSecretIsNotStored(t *testing.T) {
	body, err := os.ReadFile("testdata/gitea/push_before_1_14.json")
	if err != nil {
		t.Fatal(err)
	}
	sent := strings.Replace(string(body), "an old secret", secret, 1)
	stored := strings.Replace(string(body), "an old secret", "", 1)
	for name, tc := range map[string]struct{ contentType, sent, stored string }{
		"JSON":   {"application/json", sent, stored},
		"a form": {"application/x-www-form-urlencoded", "payload=" + url.QueryEscape(sent), "payload=" + url.QueryEscape(stored)},
	} {
		t.Run(name, func(t *testing.T) {
			d := startServer(t)
			header, reader := d.signed(t, connection(event.Gitea), headers("Content-Type", tc.contentType, "X-Gitea-Event", "push"), tc.sent)
			if status, answer, _ := d.post(t, "/webhooks/the-gitea", header, reader); status != http.StatusAccepted {
				t.Fatalf("status is %d %v", status, answer)
			}
			got := d.inbox.deliveries[0]
			if string(got.Body) != tc.stored {
				t.Errorf("stored body is %s", got.Body)
			}
			if ev, err := webhook.Parse(webhook.Connection{Host: event.Gitea}, got.Header, got.Body); err != nil || ev.Branch != "main" {
				t.Errorf("parsed %+v, error %v", ev, err)
			}
		})
	}
}

// TestDeliveryKeys: the same delivery has the same key, another has another.
func TestDeliveryKeys(t *testing.T) {
	github, gitlab, gitee, gitea := connection(event.GitHub), connection(event.GitLab), connection(event.Gitee), connection(event.Gitea)
	const a, b = `{"n":1}`, `{"n":2}`
	for _, tc := range []struct {
		name          string
		c             webhook.Connection
		first, second http.Header
		bodies        [2]string
		duplicate     bool
	}{
		{"github id", github, headers("X-GitHub-Delivery", "d1", "X-GitHub-Event", "push"), headers("X-GitHub-Delivery", "d1", "X-GitHub-Event", "push"), [2]string{a, a}, true},
		{"github id, other body", github, headers("X-GitHub-Delivery", "d1", "X-GitHub-Event", "push"), headers("X-GitHub-Delivery", "d1", "X-GitHub-Event", "push"), [2]string{a, b}, false},
		{"github id, other event", github, headers("X-GitHub-Delivery", "d1", "X-GitHub-Event", "gardening"), headers("X-GitHub-Delivery", "d1", "X-GitHub-Event", "push"), [2]string{a, a}, false},
		{"github other id", github, headers("X-GitHub-Delivery", "d1", "X-GitHub-Event", "push"), headers("X-GitHub-Delivery", "d2", "X-GitHub-Event", "push"), [2]string{a, a}, false},
		{"github no id", github, headers("X-GitHub-Event", "push"), headers("X-GitHub-Event", "push"), [2]string{a, a}, true},
		{"github no id, other body", github, headers("X-GitHub-Event", "push"), headers("X-GitHub-Event", "push"), [2]string{a, b}, false},
		{"github endless id", github, headers("X-GitHub-Delivery", strings.Repeat("d", 129), "X-GitHub-Event", "push"), headers("X-GitHub-Delivery", strings.Repeat("d", 129), "X-GitHub-Event", "push"), [2]string{a, b}, false},
		{"gitlab key", gitlab, headers("Idempotency-Key", "k"), headers("Idempotency-Key", "k"), [2]string{a, a}, true},
		{"gitlab key, other body", gitlab, headers("Idempotency-Key", "k"), headers("Idempotency-Key", "k"), [2]string{a, b}, false},
		{"gitlab signed id counts", gitlab, headers("Idempotency-Key", "k", "webhook-id", "w"), headers("Idempotency-Key", "other", "webhook-id", "w"), [2]string{a, a}, true},
		{"gitlab no id", gitlab, headers("X-Gitlab-Event", "Push Hook"), headers("X-Gitlab-Event", "Push Hook"), [2]string{a, a}, true},
		{"gitlab no id, other event", gitlab, headers("X-Gitlab-Event", "Push Hook"), headers("X-Gitlab-Event", "Note Hook"), [2]string{a, a}, false},
		{"gitee body", gitee, headers("X-Gitee-Event", "Push Hook"), headers("X-Gitee-Event", "Push Hook"), [2]string{a, a}, true},
		{"gitea id", gitea, headers("X-Gitea-Delivery", "d1", "X-Gitea-Event", "push"), headers("X-Gitea-Delivery", "d1", "X-Gitea-Event", "push"), [2]string{a, a}, true},
		{"gitea id, other body", gitea, headers("X-Gitea-Delivery", "d1", "X-Gitea-Event", "push"), headers("X-Gitea-Delivery", "d1", "X-Gitea-Event", "push"), [2]string{a, b}, false},
		{"gitea id, other event", gitea, headers("X-Gitea-Delivery", "d1", "X-Gitea-Event", "push"), headers("X-Gitea-Delivery", "d1", "X-Gitea-Event", "pull_request"), [2]string{a, a}, false},
		{"gitea other id", gitea, headers("X-Gitea-Delivery", "d1", "X-Gitea-Event", "push"), headers("X-Gitea-Delivery", "d2", "X-Gitea-Event", "push"), [2]string{a, a}, false},
		{"gitea no id", gitea, headers("X-Gitea-Event", "push"), headers("X-Gitea-Event", "push"), [2]string{a, a}, true},
		{"forgejo id", gitea, headers("X-Forgejo-Delivery", "d1", "X-Gitea-Delivery", "x", "X-Forgejo-Event", "push"), headers("X-Forgejo-Delivery", "d1", "X-Gitea-Delivery", "y", "X-Forgejo-Event", "push"), [2]string{a, a}, true},
		{"gitee other body", gitee, headers("X-Gitee-Event", "Push Hook"), headers("X-Gitee-Event", "Push Hook"), [2]string{a, b}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := startServer(t)
			header, body := d.signed(t, tc.c, tc.first, tc.bodies[0])
			if status, answer, _ := d.post(t, "/webhooks/"+tc.c.Name, header, body); status != http.StatusAccepted {
				t.Fatalf("first answer is %d %v", status, answer)
			}
			header, body = d.signed(t, tc.c, tc.second, tc.bodies[1])
			status, answer, _ := d.post(t, "/webhooks/"+tc.c.Name, header, body)
			if duplicate := status == http.StatusOK && answer["status"] == "duplicate"; duplicate != tc.duplicate {
				t.Errorf("second answer is %d %v", status, answer)
			}
		})
	}
}

// TestUnavailable: what could not be stored is not acknowledged, and the
// stranger is not told why.
func TestUnavailable(t *testing.T) {
	d := startServer(t)
	d.inbox.err = errors.New("open /var/lib/secret-path: disk full")
	header, body := d.signed(t, connection(event.GitHub), headers("X-GitHub-Event", "push"), `{}`)
	status, answer, answered := d.post(t, "/webhooks/the-github", header, body)
	if status != http.StatusServiceUnavailable || answer["error"] != "unavailable" || answered.Get("Retry-After") == "" {
		t.Errorf("answer is %d %v %v", status, answer, answered)
	}
	if strings.Contains(answer["message"], "secret-path") {
		t.Errorf("message is %q", answer["message"])
	}
	if !strings.Contains(d.log.String(), "disk full") {
		t.Errorf("log is %s", d.log.String())
	}
	d.wantCounted(t, "the-github push unavailable")
}

// TestAborted: a sender that goes away in the middle of its body leaves
// nothing behind.
func TestAborted(t *testing.T) {
	d := startServer(t)
	conn := d.begin(t, 100, "{")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if status := readStatus(t, conn); status != http.StatusBadRequest || len(d.inbox.deliveries) != 0 {
		t.Errorf("status is %d, %d stored", status, len(d.inbox.deliveries))
	}
	d.wantCounted(t, "the-github other aborted")
}

// TestTooLargeIsNotRead: a body that is announced as too large is
// refused before any of it arrived. (Of less than 256 KiB net/http itself reads
// the rest before it answers.)
func TestTooLargeIsNotRead(t *testing.T) {
	d := startServer(t)
	conn := d.begin(t, 1<<20, "")
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if status := readStatus(t, conn); status != http.StatusRequestEntityTooLarge {
		t.Errorf("status is %d", status)
	}
}

func TestOtherMethod(t *testing.T) {
	d := startServer(t)
	response, err := d.Client().Get(d.URL + "/webhooks/the-github")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("status is %d", response.StatusCode)
	}
}

// TestNewMetrics: every outcome of a connection stands at 0 from the start, and
// no label is left to the sender.
func TestNewMetrics(t *testing.T) {
	d := startServer(t)
	const perConnection = 7 * 10
	if got, want := len(d.deliveries(t)), 5*perConnection+1; got != want {
		t.Fatalf("%d series at the start, want %d", got, want)
	}
	for _, name := range []string{"a", "b", "c"} {
		header, body := d.signed(t, connection(event.GitHub), headers("X-GitHub-Event", name), `{}`)
		d.post(t, "/webhooks/the-github", header, body)
		d.post(t, "/webhooks/unknown-"+name, header, strings.NewReader(`{}`))
	}
	if got, want := len(d.deliveries(t)), 5*perConnection+1; got != want {
		t.Errorf("%d series after strange events, want %d", got, want)
	}
}

// TestNewRefuses: a handler that could not authenticate a sender is not made,
// and says everything that is wrong at once.
func TestNewRefuses(t *testing.T) {
	ok := connection(event.GitHub)
	change := func(f func(c *webhook.Connection)) webhook.Connection {
		c := ok
		f(&c)
		return c
	}
	for _, tc := range []struct {
		name        string
		connections []webhook.Connection
		want        string
	}{
		{"no secret", []webhook.Connection{change(func(c *webhook.Connection) { c.Secrets = nil })}, "no secret"},
		{"empty secret", []webhook.Connection{change(func(c *webhook.Connection) { c.Secrets = []string{"a", ""} })}, "secret 2 is empty"},
		{"blank secret", []webhook.Connection{change(func(c *webhook.Connection) { c.Secrets = []string{" \n"} })}, "secret 1 is empty"},
		{"name twice", []webhook.Connection{ok, ok}, "used twice"},
		{"no name", []webhook.Connection{change(func(c *webhook.Connection) { c.Name = "" })}, "name must be"},
		{"upper-case name", []webhook.Connection{change(func(c *webhook.Connection) { c.Name = "GitHub" })}, "name must be"},
		{"long name", []webhook.Connection{change(func(c *webhook.Connection) { c.Name = strings.Repeat("a", 64) })}, "name must be"},
		{"unknown host", []webhook.Connection{change(func(c *webhook.Connection) { c.Host = "svn" })}, `unknown host "svn"`},
		{"signing token elsewhere", []webhook.Connection{change(func(c *webhook.Connection) { c.SigningTokens = []string{signingToken} })}, "no signing tokens"},
		{"mode elsewhere", []webhook.Connection{change(func(c *webhook.Connection) { c.Mode = webhook.ModeSign })}, "no modes"},
		{"unknown mode", []webhook.Connection{change(func(c *webhook.Connection) { c.Host, c.Mode = event.Gitee, "plain" })}, `unknown mode "plain"`},
		{"signing token without prefix", []webhook.Connection{change(func(c *webhook.Connection) { c.Host, c.SigningTokens = event.GitLab, []string{"dGVzdA=="} })}, `must start with "whsec_"`},
		{"short signing token", []webhook.Connection{change(func(c *webhook.Connection) { c.Host, c.SigningTokens = event.GitLab, []string{"whsec_dGVzdA=="} })}, "24 to 64 bytes"},
		{"negative age", []webhook.Connection{change(func(c *webhook.Connection) { c.MaxAge = -1 })}, "is negative"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := webhook.New(webhook.Options{Connections: tc.connections, Inbox: &inbox{}})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want one that holds %q", err, tc.want)
			}
			if err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "dGVzd")) {
				t.Errorf("error shows a secret: %v", err)
			}
		})
	}
	_, err := webhook.New(webhook.Options{MaxBody: -1, Connections: []webhook.Connection{{Name: "a"}, {Name: "B", Host: event.GitLab}}})
	if err == nil || strings.Count(err.Error(), "\n") != 5 {
		t.Errorf("not all complaints at once: %v", err)
	}
	for maxBody, want := range map[int64]bool{0: true, webhook.LargestBody: true, webhook.LargestBody + 1: false} {
		_, err := webhook.New(webhook.Options{Connections: []webhook.Connection{ok}, Inbox: &inbox{}, MaxBody: maxBody})
		if (err == nil) != want {
			t.Errorf("body limit %d: %v", maxBody, err)
		}
	}
}

// TestSetDeliveryID: a recorded delivery that got a new id is not taken for a
// redelivery, although its signature covered the old one.
func TestSetDeliveryID(t *testing.T) {
	for _, c := range []webhook.Connection{connection(event.GitHub), connection(event.GitLab), connection(event.Gitea)} {
		d := startServer(t)
		recorded := headers("X-GitHub-Event", "push", "X-GitHub-Delivery", "old", "X-Gitlab-Event", "Push Hook",
			"Idempotency-Key", "old", "webhook-id", "old", "webhook-timestamp", "1", "webhook-signature", "v1,old")
		if c.Host == event.Gitea {
			recorded = headers("X-Forgejo-Event", "push", "X-Forgejo-Delivery", "old", "X-Gitea-Event", "push", "X-Gitea-Delivery", "old", "X-Gitea-Signature", "old")
		}
		for _, id := range []string{"new", "newer"} {
			header := recorded.Clone()
			webhook.SetDeliveryID(c.Host, header, id)
			header, body := d.signed(t, c, header, `{}`)
			if status, answer, _ := d.post(t, "/webhooks/"+c.Name, header, body); status != http.StatusAccepted {
				t.Errorf("%s: delivery %q is answered %d %v", c.Name, id, status, answer)
			}
		}
		for i, id := range []string{"new", "newer"} {
			if got := d.inbox.deliveries[i].HostID; got != id {
				t.Errorf("%s: the id is %q, want %q", c.Name, got, id)
			}
		}
	}
}

// TestHosts: each kind of host is known by its name, and one that is not has no
// default.
func TestHosts(t *testing.T) {
	for i, kind := range webhook.Kinds() {
		if host := webhook.Hosts()[i]; kind.Name != string(host) || webhook.DefaultRef(host) == "" {
			t.Errorf("kind %q is host %q with the ref %q", kind.Name, host, webhook.DefaultRef(host))
		}
	}
	if ref := webhook.DefaultRef("svn"); ref != "" {
		t.Errorf("an unknown host has the ref %q", ref)
	}
	header := headers("X-GitHub-Delivery", "old")
	if webhook.SetDeliveryID("svn", header, "new"); header.Get("X-GitHub-Delivery") != "old" {
		t.Error("an unknown host got an id")
	}
}

// TestRepoTypes: what CodeArts Check calls the hosts.
func TestRepoTypes(t *testing.T) {
	repoTypes := map[string]func(string) string{}
	for _, kind := range webhook.Kinds() {
		repoTypes[kind.Name] = kind.RepoType
	}
	for _, tc := range []struct{ kind, url, want string }{
		{"github", "https://github.example.com", "GitHub"},
		{"gitee", "https://gitee.com", "Gitee"},
		{"gitea", "https://codeberg.org", "GitPub"},
		{"gitlab", "https://GitLab.com", "gitlab"},
		{"gitlab", "https://git.example.com/gitlab.com", "self_gitlab"},
		{"gitlab", "%", "self_gitlab"},
	} {
		if got := repoTypes[tc.kind](tc.url); got != tc.want {
			t.Errorf("%s at %s is %s, want %s", tc.kind, tc.url, got, tc.want)
		}
	}
}
