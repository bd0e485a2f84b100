package standin_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/standin"
)

const asJSON = "application/json"

// receiver is a webhook endpoint that keeps what it is sent, and answers as it is told.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	got    []received
}

type received struct {
	header http.Header
	body   string
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{status: http.StatusOK}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, received{req.Header, string(body)})
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

func (r *receiver) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received(nil), r.got...)
}

func (r *receiver) last(t *testing.T) received {
	t.Helper()
	all := r.all()
	if len(all) == 0 {
		t.Fatal("nothing was delivered")
	}
	return all[len(all)-1]
}

// made makes a hook and returns its id.
func (c *client) made(path, body string) string {
	c.t.Helper()
	status, answer := c.host(http.MethodPost, path, asJSON, body, "")
	var hook struct{ ID json.Number }
	if err := json.Unmarshal([]byte(answer), &hook); status != http.StatusCreated || err != nil {
		c.t.Fatalf("POST %s: %d %s", path, status, answer)
	}
	return hook.ID.String()
}

// push lets the hosts' hooks know of a push to main.
func (c *client) push(host, repository string) []standin.HostDelivery {
	c.t.Helper()
	deliveries, err := c.server.Deliver(c.t.Context(), standin.HostEvent{Host: host, Repository: repository, Event: "push"})
	if err != nil {
		c.t.Fatal(err)
	}
	return deliveries
}

func mac(secret, message string) []byte {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(message))
	return m.Sum(nil)
}

// hookOf is the body with which each host takes a hook, and where.
func hookOf(host, address string) (path, body string) {
	switch host {
	case "github":
		return "/api/v3/repos/acme/shop/hooks", `{"name":"web","active":true,"events":["push"],"config":{"url":"` + address + `","content_type":"json","secret":"s3","insecure_ssl":"0"}}`
	case "gitlab":
		return "/api/v4/projects/acme%2Fshop/hooks", `{"url":"` + address + `","token":"s3","push_events":true,"enable_ssl_verification":true}`
	case "gitee":
		return "/api/v5/repos/acme/shop/hooks", `{"url":"` + address + `","password":"s3","encryption_type":1,"push_events":true}`
	}
	return "/api/v1/repos/acme/shop/hooks", `{"type":"gitea","active":true,"events":["push"],"config":{"url":"` + address + `","content_type":"json","secret":"s3"}}`
}

func hostKinds() []string { return []string{"github", "gitlab", "gitee", "gitea"} }

// TestHooksSign: each host proves what it delivers, in its own way (specs/githosts.md 1.1, 2.1, 3.1, 4.2).
func TestHooksSign(t *testing.T) {
	for _, host := range hostKinds() {
		t.Run(host, func(t *testing.T) {
			c, r := serve(t, sample(t)), newReceiver(t)
			path, body := hookOf(host, r.URL)
			c.made(path, body)
			sent := c.push(host, "acme/shop")
			if len(sent) != 1 || sent[0].Status != http.StatusOK {
				t.Fatalf("delivered %+v", sent)
			}
			until(t, "the delivery", func() bool { return len(r.all()) > 0 })
			var got received
			for _, one := range r.all() {
				if one.header.Get("X-GitHub-Event") != "ping" {
					got = one
				}
			}
			if !strings.Contains(got.body, `"ref":"refs/heads/main"`) {
				t.Errorf("body %s", got.body)
			}
			proof, want := "", ""
			switch host {
			case "github":
				proof, want = got.header.Get("X-Hub-Signature-256"), "sha256="+hex.EncodeToString(mac("s3", got.body))
			case "gitlab":
				proof, want = got.header.Get("X-Gitlab-Token"), "s3"
			case "gitee":
				proof, want = got.header.Get("X-Gitee-Token"), base64.StdEncoding.EncodeToString(mac("s3", got.header.Get("X-Gitee-Timestamp")+"\ns3"))
				if !strings.Contains(got.body, `"password":""`) || !strings.Contains(got.body, `"sign":"`) {
					t.Errorf("body %s", got.body)
				}
			case "gitea":
				proof, want = got.header.Get("X-Gitea-Signature"), hex.EncodeToString(mac("s3", got.body))
			}
			if proof != want || proof == "" {
				t.Errorf("proof %q, want %q", proof, want)
			}
		})
	}
}

// TestHooksSendForms: GitHub proves the form, Gitea the JSON in it (specs/githosts.md 1.1, 4.2).
func TestHooksSendForms(t *testing.T) {
	for host, proof := range map[string]string{"github": "X-Hub-Signature-256", "gitea": "X-Gitea-Signature"} {
		c, r := serve(t, sample(t)), newReceiver(t)
		path, body := hookOf(host, r.URL)
		c.made(path, strings.Replace(body, `"content_type":"json"`, `"content_type":"form"`, 1))
		c.push(host, "acme/shop")
		for _, got := range r.all() {
			form, err := url.ParseQuery(got.body)
			if err != nil || form.Get("payload") == "" {
				t.Fatalf("%s: body %s", host, got.body)
			}
			signed, prefix := got.body, "sha256="
			if host == "gitea" {
				signed, prefix = form.Get("payload"), ""
			}
			if want := prefix + hex.EncodeToString(mac("s3", signed)); got.header.Get(proof) != want {
				t.Errorf("%s: proof %q, want %q", host, got.header.Get(proof), want)
			}
		}
	}
}

// TestHooksRefuse: what the hosts refuse of hooks.
func TestHooksRefuse(t *testing.T) {
	c, r := serve(t, sample(t)), newReceiver(t)
	ids := map[string]string{}
	paths := map[string]string{}
	for _, host := range hostKinds() {
		path, body := hookOf(host, r.URL)
		ids[host], paths[host] = c.made(path, body), path
	}
	hub, lab, ee, ea := paths["github"], paths["gitlab"], paths["gitee"], paths["gitea"]
	for _, test := range []struct {
		send, body string
		status     int
		want       string
	}{
		{"POST " + hub, `{"config":{"url":"` + r.URL + `","content_type":"json","insecure_ssl":"0"},"events":["push","pull_request"]}`, 422, "Hook already exists on this repository"},
		{"POST " + hub, `{"config":{"url":"` + r.URL + `","content_type":"json"},"events":["pull_request"]}`, 201, `"secret"`},
		{"POST " + hub, `{"config":{"url":"x"}}`, 422, "scheme"},
		{"POST " + hub, `{"config":{"url":"` + r.URL + `/2"},"events":["merge_request"]}`, 422, "is not valid"},
		{"POST " + hub, `{}`, 422, "config is missing"},
		{"GET " + hub + "/1", "", 404, "Not Found"},
		{"PATCH " + hub + "/1", `{}`, 404, "Not Found"},
		{"DELETE " + hub + "/1", "", 404, "Not Found"},
		{"GET " + hub + "/" + ids["github"], "", 200, `"secret":"********"`},
		{"PATCH " + hub + "/" + ids["github"], `{"config":{"url":"` + r.URL + `/3","content_type":"json"}}`, 200, `"url":"` + r.URL + `/3"`},
		{"GET " + hub + "/" + ids["github"] + "/deliveries/1", "", 404, "Not Found"},
		{"GET /api/v3/repos/acme/nothing/hooks", "", 404, "Not Found"},
		{"GET /api/v3/orgs/nobody/hooks", "", 404, "Not Found"},
		{"POST " + lab, `{}`, 400, "url is missing"},
		{"POST " + lab, `{"url":"ftp://x"}`, 422, "Invalid url given"},
		{"POST " + lab + "/" + ids["gitlab"] + "/test/sideways", "", 400, "trigger"},
		{"GET " + lab + "/" + ids["gitlab"] + "/events?per_page=21", "", 400, "per_page"},
		{"POST " + lab + "/" + ids["gitlab"] + "/events/1/resend", "", 404, "Not Found"},
		{"GET " + lab + "/" + ids["gitlab"], "", 200, `"token_present":true`},
		{"PUT " + lab + "/" + ids["gitlab"], `{"url":"` + r.URL + `/4"}`, 200, `"token_present":false`},
		{"PATCH " + ee + "/" + ids["gitee"], `{"push_events":true}`, 400, "url is invalid"},
		{"GET " + ee + "/" + ids["gitee"], "", 200, `"password":"s3"`},
		{"GET " + ee + "/1", "", 404, "Hook Not Found"},
		{"POST " + ea, `{"config":{}}`, 422, "[Type]: Required"},
		{"POST " + ea, `{"type":"gitea","config":{"url":"` + r.URL + `"}}`, 422, "Missing config option: content_type"},
		{"POST " + ea, `{"type":"gitea","config":{"url":"` + r.URL + `","content_type":"json"}}`, 201, `"active":false`},
		{"GET " + ea + "/" + ids["gitea"], "", 200, `"config":{"content_type":"json"`},
		{"GET /api/v1/orgs/nobody/hooks", "", 404, "couldn't be found"},
	} {
		method, path, _ := strings.Cut(test.send, " ")
		status, answer := c.host(method, path, asJSON, test.body, "")
		if test.want == `"secret"` { // it was given none
			if strings.Contains(answer, test.want) {
				t.Errorf("%s: %s", test.send, answer)
			}
			continue
		}
		if status != test.status || !strings.Contains(answer, test.want) {
			t.Errorf("%s %s: %d %s, want %d %s", test.send, test.body, status, answer, test.status, test.want)
		}
	}
	for i := range 19 { // with the first one 20
		c.made(hub, fmt.Sprintf(`{"config":{"url":"%s/%d","content_type":"json"},"events":["release","push"]}`, r.URL, i+10))
	}
	if status, answer := c.host(http.MethodPost, hub, asJSON, `{"config":{"url":"`+r.URL+`/99"}}`, ""); status != 422 || !strings.Contains(answer, "cannot have more than 20 hooks") {
		t.Errorf("the 21st hook: %d %s", status, answer)
	}
	status, answer := c.host(http.MethodGet, hub+"?per_page=10&page=2", "", "", "")
	var list []any
	if err := json.Unmarshal([]byte(answer), &list); status != 200 || err != nil || len(list) != 10 {
		t.Errorf("second page: %d %v %d hooks", status, err, len(list))
	}
}

// TestOrganizationHooks are told of each repository of theirs.
func TestOrganizationHooks(t *testing.T) {
	for host, path := range map[string]string{"github": "/api/v3/orgs/acme/hooks", "gitlab": "/api/v4/groups/acme/hooks", "gitea": "/api/v1/orgs/acme/hooks"} {
		c, r := serve(t, sample(t)), newReceiver(t)
		_, body := hookOf(host, r.URL)
		id := c.made(path, body)
		for _, repository := range []string{"acme/shop", "acme/depot"} {
			if sent := c.push(host, repository); len(sent) != 1 || sent[0].Status != 200 {
				t.Errorf("%s: %s: %+v", host, repository, sent)
			}
		}
		c.host(http.MethodDelete, path+"/"+id, "", "", "")
		if sent := c.push(host, "acme/shop"); len(sent) != 0 {
			t.Errorf("%s: a hook that is gone was told: %+v", host, sent)
		}
	}
}

// TestGitHubRedelivers: deliveries are listed with a cursor, and sent again with the same GUID
// (specs/githosts.md 1.1, 1.6).
func TestGitHubRedelivers(t *testing.T) {
	c, r := serve(t, sample(t)), newReceiver(t)
	path, body := hookOf("github", r.URL)
	hook := path + "/" + c.made(path, body)
	until(t, "the ping", func() bool { return len(r.all()) == 1 })
	if ping := r.last(t); ping.header.Get("X-GitHub-Event") != "ping" || !strings.Contains(ping.body, `"zen"`) {
		t.Errorf("first delivery %+v", ping)
	}
	type row struct {
		ID         int64
		GUID       string
		Status     string
		StatusCode int `json:"status_code"`
		Event      string
		Redelivery bool
	}
	list := func(query string) (rows []row, link string) {
		res, raw := c.send(http.MethodGet, hook+"/deliveries"+query, "", map[string]string{"Authorization": "Bearer standin-api-token"})
		if err := json.Unmarshal(raw, &rows); err != nil {
			t.Fatalf("%v: %s", err, raw)
		}
		return rows, res.Header.Get("Link")
	}
	until(t, "the ping is noted", func() bool { rows, _ := list(""); return len(rows) == 1 })
	r.answer(http.StatusBadGateway)
	failed := c.push("github", "acme/shop")[0]
	if failed.Status != http.StatusBadGateway {
		t.Errorf("delivered %+v", failed)
	}
	want := row{failed.ID, failed.GUID, "Invalid HTTP Response: 502", 502, "push", false}
	first, link := list("?per_page=1")
	if diff := cmp.Diff([]row{want}, first); diff != "" || !strings.Contains(link, "cursor=") {
		t.Errorf("first page, link %q: %s", link, diff)
	}
	next, _, _ := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	address, err := url.Parse(next)
	if err != nil {
		t.Fatal(err)
	}
	if second, link := list("?" + address.RawQuery); len(second) != 1 || second[0].Event != "ping" || second[0].Status != "OK" || link != "" {
		t.Errorf("second page %+v, link %q", second, link)
	}
	if failures, _ := list("?status=failure"); len(failures) != 1 || failures[0].ID != failed.ID {
		t.Errorf("failures %+v", failures)
	}
	r.answer(http.StatusOK)
	if status, answer := c.host(http.MethodPost, fmt.Sprintf("%s/deliveries/%d/attempts", hook, failed.ID), "", "", ""); status != http.StatusAccepted || answer != "{}" {
		t.Errorf("redeliver: %d %s", status, answer)
	}
	until(t, "the redelivery", func() bool { return len(r.all()) == 3 })
	if guid := r.last(t).header.Get("X-GitHub-Delivery"); guid != failed.GUID {
		t.Errorf("sent again as %s, first %s", guid, failed.GUID)
	}
	until(t, "the redelivery in the list", func() bool { rows, _ := list(""); return len(rows) == 3 })
	if rows, _ := list(""); !rows[0].Redelivery || rows[0].GUID != failed.GUID || rows[0].StatusCode != 200 {
		t.Errorf("after it %+v", rows)
	}
	_, full := c.host(http.MethodGet, fmt.Sprintf("%s/deliveries/%d", hook, failed.ID), "", "", "")
	if !strings.Contains(full, `"X-Github-Delivery":"`+failed.GUID+`"`) || !strings.Contains(full, `"ref":"refs/heads/main"`) || !strings.Contains(full, "[REDACTED]") {
		t.Errorf("full delivery %s", full)
	}
	if status, _ := c.host(http.MethodPost, hook+"/pings", "", "", ""); status != http.StatusNoContent {
		t.Errorf("ping: %d", status)
	}
	if status, _ := c.host(http.MethodPost, hook+"/tests", "", "", ""); status != http.StatusNoContent {
		t.Errorf("test: %d", status)
	}
	until(t, "the ping and the test", func() bool { return len(r.all()) == 5 })
}

// TestGitLabDisables: four failures in a row disable a hook for a minute, forty for good; a test that succeeds
// makes it good again, and a change does not (specs/githosts.md 2.1, 2.6).
func TestGitLabDisables(t *testing.T) {
	now := time.Date(2026, time.March, 1, 9, 0, 0, 0, time.UTC)
	var mu sync.Mutex
	opts := sample(t)
	opts.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	pass := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
	c, r := serve(t, opts), newReceiver(t)
	path, body := hookOf("gitlab", r.URL)
	hook := path + "/" + c.made(path, body)
	status := func() string {
		_, answer := c.host(http.MethodGet, hook, "", "", "")
		var shown struct {
			Status string  `json:"alert_status"`
			Until  *string `json:"disabled_until"`
		}
		if err := json.Unmarshal([]byte(answer), &shown); err != nil {
			t.Fatal(err)
		}
		if shown.Until != nil {
			return shown.Status + " " + *shown.Until
		}
		return shown.Status
	}
	r.answer(http.StatusInternalServerError)
	for range 3 {
		c.push("gitlab", "acme/shop")
	}
	if got := status(); got != "executable" {
		t.Errorf("after three failures %s", got)
	}
	c.push("gitlab", "acme/shop")
	if got := status(); got != "temporarily_disabled 2026-03-01T09:01:00Z" {
		t.Errorf("after four failures %s", got)
	}
	if sent := c.push("gitlab", "acme/shop"); len(sent) != 0 {
		t.Errorf("a disabled hook was told: %+v", sent)
	}
	c.host(http.MethodPut, hook, asJSON, `{"token":"s4"}`, "")
	if got := status(); got != "temporarily_disabled 2026-03-01T09:01:00Z" {
		t.Errorf("after a change %s", got)
	}
	pass(time.Minute)
	c.push("gitlab", "acme/shop")
	if got := status(); got != "temporarily_disabled 2026-03-01T09:03:00Z" {
		t.Errorf("after five failures %s", got)
	}
	if code, answer := c.host(http.MethodPost, hook+"/test/push_events", "", "", ""); code != 422 {
		t.Errorf("a test that fails: %d %s", code, answer)
	}
	r.answer(http.StatusOK)
	if code, answer := c.host(http.MethodPost, hook+"/test/push_events", "", "", ""); code != 201 || status() != "executable" {
		t.Errorf("a test: %d %s, then %s", code, answer, status())
	}
	if len(c.push("gitlab", "acme/shop")) != 1 {
		t.Error("the hook is told nothing after its test")
	}
	r.answer(http.StatusInternalServerError)
	for range 40 {
		c.push("gitlab", "acme/shop")
		pass(25 * time.Hour)
	}
	if got := status(); got != "disabled" {
		t.Errorf("after forty failures %s", got)
	}
}

// TestGitLabResends: events are listed in pages, by status where they have one, and sent again with the same key,
// five times a minute (specs/githosts.md 2.6).
func TestGitLabResends(t *testing.T) {
	c, r := serve(t, sample(t)), newReceiver(t)
	path, body := hookOf("gitlab", r.URL)
	hook := path + "/" + c.made(path, body)
	if err := c.server.SetSwitches(map[string]string{"hook_deliveries": "fail", "gitlab_disables_hooks": "never"}); err != nil {
		t.Fatal(err)
	}
	lost := c.push("gitlab", "acme/shop")[0]
	if err := c.server.SetSwitches(map[string]string{"hook_deliveries": "sent"}); err != nil {
		t.Fatal(err)
	}
	r.answer(http.StatusInternalServerError)
	refused := c.push("gitlab", "acme/shop")[0]
	type row struct {
		ID      int64
		Trigger string
		Status  string            `json:"response_status"`
		Headers map[string]string `json:"request_headers"`
	}
	list := func(query string) (rows []row) {
		_, raw := c.host(http.MethodGet, hook+"/events"+query, "", "", "")
		if err := json.Unmarshal([]byte(raw), &rows); err != nil {
			t.Fatalf("%v: %s", err, raw)
		}
		return rows
	}
	rows := list("")
	if len(rows) != 2 || rows[0].ID != refused.ID || rows[0].Status != "500" || rows[1].Status != "internal error" || rows[1].Trigger != "push_hooks" {
		t.Errorf("events %+v", rows)
	}
	if rows[1].Headers["Idempotency-Key"] != lost.GUID || rows[1].Headers["X-Gitlab-Token"] != "[REDACTED]" {
		t.Errorf("headers %v", rows[1].Headers)
	}
	if rows := list("?status=server_failure,client_failure"); len(rows) != 1 || rows[0].ID != refused.ID {
		t.Errorf("failures %+v", rows)
	}
	if rows := list("?per_page=1&page=2"); len(rows) != 1 || rows[0].ID != lost.ID {
		t.Errorf("second page %+v", rows)
	}
	r.answer(http.StatusOK)
	for i := range 6 {
		status, answer := c.host(http.MethodPost, fmt.Sprintf("%s/events/%d/resend", hook, lost.ID), "", "", "")
		switch {
		case i < 5 && (status != http.StatusCreated || answer != `{"response_status":200}`):
			t.Errorf("resend %d: %d %s", i, status, answer)
		case i == 5 && status != http.StatusTooManyRequests:
			t.Errorf("the sixth resend: %d %s", status, answer)
		}
	}
	if key := r.last(t).header.Get("Idempotency-Key"); key != lost.GUID {
		t.Errorf("sent again as %s, first %s", key, lost.GUID)
	}
}

// TestHookTests: Gitee's test says that it is one, Gitea's is a push; and neither lists deliveries.
func TestHookTests(t *testing.T) {
	for _, host := range []string{"gitee", "gitea"} {
		c, r := serve(t, sample(t)), newReceiver(t)
		path, body := hookOf(host, r.URL)
		hook := path + "/" + c.made(path, body)
		if status, answer := c.host(http.MethodPost, hook+"/tests", "", "", ""); status != http.StatusNoContent {
			t.Errorf("%s: %d %s", host, status, answer)
		}
		until(t, "the test", func() bool { return len(r.all()) == 1 })
		if got := r.last(t).header.Get("X-Gitee-Ping"); host == "gitee" && got != "true" {
			t.Errorf("ping %q", got)
		}
		if status, _ := c.host(http.MethodGet, hook+"/deliveries", "", "", ""); status != http.StatusNotFound {
			t.Errorf("%s lists deliveries: %d", host, status)
		}
	}
}

// TestHooksStayHere: nothing is delivered to another machine, redirects are not followed, and a hook without a
// repository or an event of its own is told nothing.
func TestHooksStayHere(t *testing.T) {
	c, r := serve(t, sample(t)), newReceiver(t)
	path, body := hookOf("gitea", "http://192.0.2.1:9/")
	c.made(path, body)
	if sent := c.push("gitea", "acme/shop"); len(sent) != 1 || sent[0].Status != 0 {
		t.Errorf("delivered to another machine: %+v", sent)
	}
	path, body = hookOf("gitee", r.URL)
	c.made(path, body)
	r.answer(http.StatusFound)
	if sent := c.push("gitee", "acme/shop"); len(sent) != 1 || sent[0].Status != http.StatusFound {
		t.Errorf("a redirect: %+v", sent)
	}
	if sent := c.push("gitee", "acme/depot"); len(sent) != 0 {
		t.Errorf("another repository: %+v", sent)
	}
	for _, e := range []standin.HostEvent{
		{Host: "svn", Repository: "acme/shop", Event: "push"}, {Host: "gitee", Repository: "acme/nothing", Event: "push"},
		{Host: "gitee", Repository: "acme/shop", Event: "merge_group"}, {Host: "gitee", Repository: "acme/shop", Event: "comment"},
		{Host: "gitee", Repository: "acme/shop", Event: "push", Branch: "nothing"},
	} {
		if sent, err := c.server.Deliver(t.Context(), e); err == nil {
			t.Errorf("%+v: %+v", e, sent)
		}
	}
	res, raw := c.send(http.MethodPost, "/standin/events", `{"host":"gitee","repository":"acme/shop","event":"comment","payload":{"action":"comment"}}`, nil)
	if res.StatusCode != http.StatusOK || string(raw) != "[]\n" {
		t.Errorf("an event that no hook has: %d %s", res.StatusCode, raw)
	}
	_, raw = c.send(http.MethodGet, "/standin/hooks", "", nil)
	var hooks []standin.HostHook
	if err := json.Unmarshal(raw, &hooks); err != nil || len(hooks) != 2 || len(hooks[1].Deliveries) != 1 || hooks[1].Deliveries[0].Status != 302 || strings.Contains(string(raw), "s3") {
		t.Errorf("hooks %s (%v)", raw, err)
	}
}
