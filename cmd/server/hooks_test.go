package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/doctor"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/hooks"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/webhook"
)

// withPublicURL gives the server file of a demo its own address.
func withPublicURL(text string) string {
	return strings.Replace(text, "${HTTP}", `public_url: "http://${ADDR}", ${HTTP}`, 1)
}

// hooked is a service whose webhooks are registered at the stand-in's hosts.
type hooked struct {
	apptest.Service
	t *testing.T
}

func startHooked(t *testing.T, change func(string) string) hooked {
	t.Helper()
	return hooked{apptest.OnSQLiteWith(t, demo.Options{Server: func(text string) string {
		if text = withPublicURL(text); change != nil {
			text = change(text)
		}
		return text
	}}), t}
}

// hooks runs a command on webhooks and returns its entries.
func (h hooked) hooks(code int, args ...string) []hooks.Entry {
	h.t.Helper()
	got, stdout, stderr := gatewright(h.t, h.Service, append([]string{"hooks"}, append(args, "--json")...)...)
	var answer struct {
		OK       bool
		Webhooks []hooks.Entry
	}
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || got != code || answer.OK != (code == command.OK) {
		h.t.Fatalf("hooks %v: exit code %d, want %d; error %v\n%s%s", args, got, code, err, stdout, stderr)
	}
	h.secretsHidden(stdout + stderr)
	return answer.Webhooks
}

// secretsHidden fails when a secret is printed.
func (h hooked) secretsHidden(text string) {
	h.t.Helper()
	for name, secret := range h.Secrets {
		if strings.Contains(text, secret) {
			h.t.Errorf("%s is printed:\n%s", name, text)
		}
	}
}

// one is the only entry.
func (h hooked) one(entries []hooks.Entry) hooks.Entry {
	h.t.Helper()
	if len(entries) != 1 {
		h.t.Fatalf("%d webhooks: %+v", len(entries), entries)
	}
	return entries[0]
}

// push lets a host announce a push to a branch that no rule names, and returns what its webhooks were answered.
func (h hooked) push(host event.Host) []standin.HostDelivery {
	h.t.Helper()
	sent, err := h.announce(h.t.Context(), host)
	if err != nil {
		h.t.Fatal(err)
	}
	return sent
}

func (h hooked) announce(ctx context.Context, host event.Host) ([]standin.HostDelivery, error) {
	payload, err := h.World.Payload(host, "push", demo.Change{Branch: "topic", Before: h.World.Parent, SHA: h.World.Clean})
	if err != nil {
		return nil, err
	}
	return h.Standin.Deliver(ctx, standin.HostEvent{Host: string(host), Repository: "acme/shop", Event: "push", Payload: payload})
}

// change sends a request to a host's API at the stand-in, as a person would change something there.
func (h hooked) change(host event.Host, method, path, body string) string {
	h.t.Helper()
	base := map[event.Host]string{event.GitHub: "/api/v3", event.GitLab: "/api/v4", event.Gitee: "/api/v5", event.Gitea: "/api/v1"}[host]
	request, err := http.NewRequestWithContext(h.t.Context(), method, h.Endpoint()+base+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	token := h.Secrets["DEMO_"+strings.ToUpper(string(host))+"_API"]
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Private-Token", token)
	request.Header.Set("Authorization", map[bool]string{true: "token ", false: "Bearer "}[host == event.Gitea]+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		h.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 300 {
		h.t.Fatalf("%s %s: %d %s %v", method, path, response.StatusCode, answer, err)
	}
	return string(answer)
}

// hooksPath is where a host has the webhooks of the demo's repository.
func hooksPath(host event.Host) string {
	if host == event.GitLab {
		return "/projects/acme%2Fshop/hooks"
	}
	return "/repos/acme/shop/hooks"
}

// broken is the body of a webhook with nearly everything wrong that the host lets one have.
func broken(host event.Host, address string) string {
	switch host {
	case event.GitHub:
		return `{"active":false,"events":["push","star"],"config":{"url":"` + address + `","content_type":"form","insecure_ssl":"1"}}`
	case event.GitLab:
		return `{"url":"` + address + `","push_events":true,"enable_ssl_verification":false,"push_events_branch_filter":"release/*"}`
	case event.Gitee:
		return `{"url":"` + address + `","push_events":true,"encryption_type":0}`
	}
	return `{"type":"gitea","active":false,"events":["push","create"],"branch_filter":"main","config":{"url":"` + address + `","content_type":"form"}}`
}

// TestHooks: on each host a webhook is made, accepted by our own endpoint, found again, and removed; a
// broken one is mended and a second one removed.
func TestHooks(t *testing.T) {
	for _, host := range webhook.Hosts() {
		t.Run(string(host), func(t *testing.T) {
			t.Parallel()
			h := startHooked(t, nil)
			of := []string{"--connection", string(host)}
			repository := append(of, "--repository", "acme/shop")
			if e := h.one(h.hooks(command.No, append([]string{"check"}, of...)...)); e.State != hooks.Missing || e.Repository != "acme/shop" || e.URL != h.Base()+"/webhooks/"+string(host) {
				t.Errorf("before: %+v", e)
			}
			if e := h.one(h.hooks(command.OK, append([]string{"install"}, of...)...)); e.State != hooks.OK || e.Done != "made" || len(e.Problems) > 0 {
				t.Errorf("install: %+v", e)
			}
			if sent := h.push(host); len(sent) != 1 || sent[0].Status != http.StatusAccepted {
				t.Errorf("a push after install: %+v", sent)
			}
			made := h.one(h.hooks(command.OK, append([]string{"check"}, repository...)...))
			if e := h.one(h.hooks(command.OK, append([]string{"install"}, repository...)...)); e.Done != "renewed" || e.ID != made.ID {
				t.Errorf("install again: %+v", e)
			}

			// Somebody else's webhook is not ours, whatever its address has in it.
			h.change(host, http.MethodPost, hooksPath(host), broken(host, "https://ci.example.com/hook?token=hidden"))
			// A second one of ours, and one of another server.
			h.change(host, http.MethodPost, hooksPath(host), broken(host, h.Base()+"/webhooks/"+string(host)+"/"))
			h.change(host, http.MethodPost, hooksPath(host), broken(host, "https://old.example.com/webhooks/"+string(host)))
			states := map[hooks.State]int{}
			for _, e := range h.hooks(command.No, append([]string{"check"}, repository...)...) {
				states[e.State]++
				if strings.Contains(e.URL, "ci.example.com") {
					t.Errorf("another's webhook is shown: %+v", e)
				}
			}
			if states[hooks.OK] != 1 || states[hooks.Duplicate] != 1 || states[hooks.Elsewhere] != 1 {
				t.Errorf("with a second one: %v", states)
			}
			entries := h.hooks(command.OK, append([]string{"install", "--old-url", "https://old.example.com/"}, repository...)...)
			if len(entries) != 3 || entries[0].ID != made.ID || entries[1].Done != "removed" || entries[2].Done != "removed" {
				t.Errorf("install removes those that do the same: %+v", entries)
			}
			h.one(h.hooks(command.OK, append([]string{"check"}, repository...)...))

			// The only one is broken.
			h.hooks(command.OK, append([]string{"remove"}, repository...)...)
			h.change(host, http.MethodPost, hooksPath(host), broken(host, h.Base()+"/webhooks/"+string(host)+"/"))
			e := h.one(h.hooks(command.No, append([]string{"check"}, repository...)...))
			if e.State != hooks.Wrong || len(e.Problems) < 3 {
				t.Errorf("broken: %+v", e)
			}
			if e := h.one(h.hooks(command.OK, append([]string{"install"}, repository...)...)); e.Done != "mended" || e.State != hooks.OK || len(e.Problems) < 3 {
				t.Errorf("mended: %+v", e)
			}
			// The other's webhook is told too where the host lets it be on; it is not on this machine.
			if sent := h.push(host); len(sent) == 0 || sent[len(sent)-1].Status != http.StatusAccepted {
				t.Errorf("a push after mending: %+v", sent)
			}
			h.hooks(command.OK, append([]string{"remove"}, repository...)...)
			if e := h.one(h.hooks(command.No, append([]string{"remove"}, repository...)...)); e.State != hooks.Missing {
				t.Errorf("remove again: %+v", e)
			}
			if left := h.Standin.Hooks(); len(left) != 1 || !strings.Contains(left[0].URL, "ci.example.com") {
				t.Errorf("left over: %+v", left)
			}
		})
	}
}

// TestHooksOfOrganization: a webhook of the organisation stands in for those of its repositories.
func TestHooksOfOrganization(t *testing.T) {
	t.Parallel()
	h := startHooked(t, nil)
	for _, host := range []event.Host{event.GitHub, event.GitLab, event.Gitea} {
		of := []string{"--connection", string(host)}
		h.hooks(command.OK, append([]string{"install"}, of...)...)
		if e := h.one(h.hooks(command.OK, append([]string{"install", "--organization", "acme"}, of...)...)); e.Done != "made" || e.Organization != "acme" {
			t.Errorf("%s: %+v", host, e)
		}
		if e := h.one(h.hooks(command.No, append([]string{"check"}, of...)...)); e.State != hooks.Duplicate {
			t.Errorf("%s with both: %+v", host, e)
		}
		entries := h.hooks(command.OK, append([]string{"install"}, of...)...)
		if len(entries) != 2 || entries[0].Organization != "acme" || entries[1].Done != "removed" {
			t.Errorf("%s: %+v", host, entries)
		}
		if e := h.one(h.hooks(command.OK, append([]string{"check"}, of...)...)); e.Organization != "acme" || e.Repository != "acme/shop" {
			t.Errorf("%s with that of the organisation: %+v", host, e)
		}
		if sent := h.push(host); len(sent) != 1 || sent[0].Status != http.StatusAccepted {
			t.Errorf("%s: a push: %+v", host, sent)
		}
		if e := h.one(h.hooks(command.OK, append([]string{"rotate"}, of...)...)); e.Done != "renewed" || e.Organization != "acme" {
			t.Errorf("%s: rotate: %+v", host, e)
		}
		h.hooks(command.OK, append([]string{"remove", "--organization", "acme"}, of...)...)
	}
	if e := h.one(h.hooks(command.No, "install", "--connection", "gitee", "--organization", "acme")); !strings.Contains(e.Error, "Gitee has no webhooks of organisations") {
		t.Errorf("gitee: %+v", e)
	}
}

// TestHooksKeep: what somebody has added to a webhook stays when it is mended.
func TestHooksKeep(t *testing.T) {
	t.Parallel()
	h := startHooked(t, nil)
	for host, kept := range map[event.Host]struct{ body, want string }{
		event.GitHub: {`{"active":true,"events":["push","pull_request_review"],"config":{"url":"ADDRESS","content_type":"json","secret":"x"}}`, `"pull_request_review"`},
		event.GitLab: {`{"url":"ADDRESS","push_events":true,"confidential_note_events":true,"issues_events":true}`, `"issues_events":true`},
		event.Gitee:  {`{"url":"ADDRESS","push_events":true,"issues_events":true}`, `"issues_events":true`},
		event.Gitea:  {`{"type":"gitea","active":true,"events":["push","release"],"authorization_header":"Basic cHJveHk=","config":{"url":"ADDRESS","content_type":"json"}}`, `"authorization_header":"Basic cHJveHk="`},
	} {
		h.change(host, http.MethodPost, hooksPath(host), strings.Replace(kept.body, "ADDRESS", h.Base()+"/webhooks/"+string(host), 1))
		if e := h.one(h.hooks(command.OK, "install", "--connection", string(host))); e.Done != "mended" {
			t.Errorf("%s: %+v", host, e)
		}
		if shown := h.change(host, http.MethodGet, hooksPath(host), ""); !strings.Contains(shown, kept.want) {
			t.Errorf("%s: no %s in %s", host, kept.want, shown)
		}
		if sent := h.push(host); len(sent) != 1 || sent[0].Status != http.StatusAccepted {
			t.Errorf("%s: a push: %+v", host, sent)
		}
	}
}

// TestHooksDivided: two webhooks of GitHub with one config share the events. It takes no two of one config with
// the same event, so that the second is removed before the first gets all of them (specs/githosts.md 1.6).
func TestHooksDivided(t *testing.T) {
	t.Parallel()
	h := startHooked(t, nil)
	for _, events := range []string{`"push"`, `"pull_request","issue_comment"`} {
		h.change(event.GitHub, http.MethodPost, hooksPath(event.GitHub),
			`{"events":[`+events+`],"config":{"url":"`+h.Base()+`/webhooks/github","content_type":"json","insecure_ssl":"0","secret":"another"}}`)
	}
	entries := h.hooks(command.OK, "install", "--connection", "github")
	if len(entries) != 2 || entries[0].Done != "mended" || entries[0].State != hooks.OK || entries[1].Done != "removed" {
		t.Errorf("install: %+v", entries)
	}
	if sent := h.push(event.GitHub); len(sent) != 1 || sent[0].Status != http.StatusAccepted {
		t.Errorf("a push: %+v", sent)
	}
	// There is room for twenty webhooks of an event.
	h.hooks(command.OK, "remove", "--connection", "github", "--repository", "acme/shop")
	for i := range 20 {
		h.change(event.GitHub, http.MethodPost, hooksPath(event.GitHub), fmt.Sprintf(`{"events":["push"],"config":{"url":"https://ci.example.com/%d","content_type":"json"}}`, i))
	}
	if e := h.one(h.hooks(command.No, "install", "--connection", "github")); !strings.Contains(e.Error, "the host takes no more webhooks here: delete one that is not needed") {
		t.Errorf("the 21st: %+v", e)
	}
}

// TestHooksSigningToken: a connection of GitLab with a signing token alone gets a webhook that signs.
func TestHooksSigningToken(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "signing-token")
	const token = "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q="
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	h := startHooked(t, func(text string) string {
		return strings.Replace(text, "secrets: [{env: DEMO_GITLAB_TOKEN}]", "signing_tokens: [{file: "+file+"}]", 1)
	})
	if e := h.one(h.hooks(command.OK, "install", "--connection", "gitlab")); e.Done != "made" {
		t.Errorf("install: %+v", e)
	}
	if shown := h.change(event.GitLab, http.MethodGet, hooksPath(event.GitLab), ""); !strings.Contains(shown, `"signing_token_present":true`) || !strings.Contains(shown, `"token_present":false`) {
		t.Errorf("the webhook: %s", shown)
	}
	if sent := h.push(event.GitLab); len(sent) != 1 || sent[0].Status != http.StatusAccepted {
		t.Errorf("a push: %+v", sent)
	}
}

// TestHooksDisabled: a webhook that GitLab has disabled is told, and install makes another one, because no change makes
// it good again (specs/githosts.md 2.6).
func TestHooksDisabled(t *testing.T) {
	t.Parallel()
	h := startHooked(t, nil)
	of := []string{"--connection", "gitlab"}
	first := h.one(h.hooks(command.OK, append([]string{"install"}, of...)...))
	if err := h.Standin.SetSwitches(map[string]string{"hook_deliveries": "fail"}); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		h.push(event.GitLab)
	}
	if err := h.Standin.SetSwitches(map[string]string{"hook_deliveries": "sent"}); err != nil {
		t.Fatal(err)
	}
	if sent := h.push(event.GitLab); len(sent) != 0 {
		t.Fatalf("it is not disabled: %+v", sent)
	}
	if e := h.one(h.hooks(command.No, append([]string{"check"}, of...)...)); e.State != hooks.Wrong || !strings.Contains(strings.Join(e.Problems, " "), "the host has switched it off until ") {
		t.Errorf("check: %+v", e)
	}
	entries := h.hooks(command.OK, append([]string{"install"}, of...)...)
	if len(entries) != 2 || entries[0].Done != "mended" || entries[0].ID == first.ID || entries[1].ID != first.ID || entries[1].Done != "removed" {
		t.Errorf("install: %+v", entries)
	}
	if sent := h.push(event.GitLab); len(sent) != 1 || sent[0].Status != http.StatusAccepted {
		t.Errorf("a push after it: %+v", sent)
	}
}

// TestHooksRotate replaces the secrets of all hosts while deliveries arrive: none is lost, the metric tells when the old
// ones were last used, and check says that they may go.
func TestHooksRotate(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := map[event.Host]string{event.GitHub: "DEMO_GITHUB_SECRET", event.GitLab: "DEMO_GITLAB_TOKEN", event.Gitee: "DEMO_GITEE_SECRET", event.Gitea: "DEMO_GITEA_SECRET"}
	secret := func(host event.Host, which string) string { return filepath.Join(folder, string(host)+"-"+which) }
	h := startHooked(t, func(text string) string {
		for host, name := range old {
			write(string(host)+"-old", "the-old-secret-of-"+string(host))
			write(string(host)+"-new", "the-new-secret-of-"+string(host))
			text = strings.Replace(text, "[{env: "+name+"}]", "[{file: "+secret(host, "old")+"}]", 1)
		}
		return text
	})
	serverFile := func(from, to string) {
		t.Helper()
		text, err := os.ReadFile(h.ServerFile())
		if err != nil {
			t.Fatal(err)
		}
		changed := string(text)
		for host := range old {
			list := func(names string) string {
				var files []string
				for name := range strings.SplitSeq(names, " ") {
					files = append(files, "{file: "+secret(host, name)+"}")
				}
				return "[" + strings.Join(files, ", ") + "]"
			}
			changed = strings.Replace(changed, list(from), list(to), 1)
		}
		if changed == string(text) {
			t.Fatal("nothing changed in the server file")
		}
		if err := os.WriteFile(h.ServerFile(), []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	metric := func(name string) string {
		response, err := http.Get(h.Private() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		page, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(string(page), "\n") {
			if value, found := strings.CutPrefix(line, name+" "); found {
				return value
			}
		}
		return ""
	}
	h.hooks(command.OK, "install")

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var deliveries sync.WaitGroup
	var mu sync.Mutex
	arrived, lost := map[event.Host]int{}, []string{}
	for host := range old {
		deliveries.Go(func() {
			pace := time.NewTicker(50 * time.Millisecond)
			defer pace.Stop()
			for ctx.Err() == nil {
				<-pace.C
				sent, err := h.announce(context.WithoutCancel(ctx), host)
				mu.Lock()
				if err != nil || len(sent) != 1 || sent[0].Status/100 != 2 {
					lost = append(lost, fmt.Sprintf("%s: %+v %v", host, sent, err))
				}
				arrived[host]++
				mu.Unlock()
			}
		})
	}
	more := func() {
		t.Helper()
		mu.Lock()
		before := map[event.Host]int{}
		for host, n := range arrived {
			before[host] = n
		}
		mu.Unlock()
		apptest.WaitFor(t, "more deliveries", func() bool {
			mu.Lock()
			defer mu.Unlock()
			for host := range old {
				if arrived[host] < before[host]+3 {
					return false
				}
			}
			return true
		})
	}
	more()
	serverFile("old", "new old")
	h.Hangup()
	apptest.WaitFor(t, "two secrets are in force", func() bool {
		return metric(`gatewright_webhook_secret_used_total{connection="gitea",secret="2"}`) != ""
	})
	more()
	if used := metric(`gatewright_webhook_secret_used_total{connection="github",secret="1"}`); used != "0" {
		t.Errorf("the new secret of GitHub was used %s times before rotate", used)
	}
	for _, e := range h.hooks(command.OK, "rotate") {
		if e.Done != "renewed" {
			t.Errorf("rotate: %+v", e)
		}
	}
	more()
	stopped := map[event.Host]string{}
	for host := range old {
		used := fmt.Sprintf(`gatewright_webhook_secret_used_total{connection=%q,secret="1"}`, host)
		apptest.WaitFor(t, "the new secret is used", func() bool { value := metric(used); return value != "" && value != "0" })
		stopped[host] = metric(fmt.Sprintf(`gatewright_webhook_secret_used_total{connection=%q,secret="2"}`, host))
	}
	more()
	for host, before := range stopped {
		if now := metric(fmt.Sprintf(`gatewright_webhook_secret_used_total{connection=%q,secret="2"}`, host)); now != before || now == "0" {
			t.Errorf("%s: the old secret was used %s times, and then %s", host, before, now)
		}
		if last := metric(fmt.Sprintf(`gatewright_webhook_secret_last_used_timestamp_seconds{connection=%q,secret="2"}`, host)); last == "" || last == "0" {
			t.Errorf("%s: the old secret was last used at %q", host, last)
		}
	}
	// The server saves what was used when it stops.
	stop()
	deliveries.Wait()
	h.Halt(t)
	code, stdout, _ := gatewright(t, h.Service, "hooks", "check", "--unused", "0s")
	for _, want := range []string{"secret 1 of connection github: last used at ", "secret 2 of connection gitee: last used at ", "; it may be removed\n"} {
		if code != command.OK || !strings.Contains(stdout, want) {
			t.Errorf("exit code %d, no %q in\n%s", code, want, stdout)
		}
	}
	if _, stdout, _ := gatewright(t, h.Service, "hooks", "check"); strings.Contains(stdout, "may be removed") {
		t.Errorf("a secret that was just used may be removed:\n%s", stdout)
	}
	if len(lost) > 0 {
		t.Errorf("%d deliveries were lost, the first: %s", len(lost), lost[0])
	}
}

// TestHooksRefused: what goes wrong at a host is told with what to do.
func TestHooksRefused(t *testing.T) {
	t.Parallel()
	h := startHooked(t, nil)
	rights := map[event.Host]string{
		event.GitHub: "Webhooks: write", event.GitLab: "role Maintainer", event.Gitee: "scopes projects and hook", event.Gitea: "scope write:repository",
	}
	for _, test := range []struct {
		switches map[string]string
		fault    standin.Fault
		want     string
		right    bool
	}{
		{map[string]string{"hook_rights": "forbidden"}, standin.Fault{}, "the host refuses the token: give the connection ", true},
		{map[string]string{"hook_rights": "hidden"}, standin.Fault{}, "has no such repository or organisation, or the token may not see its webhooks: give the connection ", true},
		{nil, standin.Fault{Kind: standin.FaultDropped}, "no answer", false},
		{nil, standin.Fault{Kind: standin.FaultStatus, Status: 502}, "the host cannot answer", false},
	} {
		usual := map[string]string{"hook_rights": "granted"}
		if test.switches != nil {
			usual = test.switches
		}
		if err := h.Standin.SetSwitches(usual); err != nil {
			t.Fatal(err)
		}
		var faults standin.Faults
		if test.fault.Kind != "" {
			faults.Faults = append(faults.Faults, test.fault)
		}
		if err := h.Standin.SetFaults(faults); err != nil {
			t.Fatal(err)
		}
		for host, right := range rights {
			for _, work := range []string{"check", "list", "install", "rotate", "remove"} {
				e := h.one(h.hooks(command.No, work, "--connection", string(host), "--repository", "acme/shop"))
				if e.State != hooks.Unchecked || !strings.Contains(e.Error, test.want) || test.right && !strings.Contains(e.Error, right) {
					t.Errorf("%s at %s: %+v", work, host, e)
				}
			}
		}
	}
	if err := h.Standin.SetFaults(standin.Faults{}); err != nil {
		t.Fatal(err)
	}
	code, stdout, _ := gatewright(t, h.Service, "doctor", "--json")
	var answer struct{ Findings []doctor.Finding }
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, f := range answer.Findings {
		if strings.HasPrefix(f.Subject, "webhook of connection ") && f.State == doctor.Wrong && strings.Contains(f.Advice, "gatewright hooks install") {
			found++
		}
	}
	if code != command.No || found != 4 {
		t.Errorf("doctor without webhooks: exit code %d\n%s", code, stdout)
	}
	if err := h.Standin.SetSwitches(map[string]string{"hook_rights": "forbidden"}); err != nil {
		t.Fatal(err)
	}
	if code, stdout, _ := gatewright(t, h.Service, "doctor"); code != command.OK || !strings.Contains(stdout, "unchecked  webhook of connection github: acme/shop: read webhooks: the host refuses the token") {
		t.Errorf("doctor without the right: exit code %d\n%s", code, stdout)
	}
}

// TestHooksUsage: what cannot be understood is told with what to write.
func TestHooksUsage(t *testing.T) {
	t.Parallel()
	h := startHooked(t, nil)
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"hooks"}, command.Usage, "list, check, install, rotate or remove"},
		{[]string{"hooks", "mend"}, command.Usage, "unknown command"},
		{[]string{"hooks", "check", "--unused", "-1h"}, command.Usage, "--unused: write a time such as 168h"},
		{[]string{"hooks", "check", "--connection", "svn"}, command.Usage, "it has github, gitlab, gitee, gitea"},
		{[]string{"hooks", "check", "--repository", "acme/shop"}, command.Usage, "say whose it is with --connection"},
		{[]string{"hooks", "check", "--connection", "github", "--repository", "acme/shop", "--organization", "acme"}, command.Usage, "one of --repository and --organization"},
		{[]string{"hooks", "remove", "--connection", "github"}, command.Usage, "--repository or --organization"},
		{[]string{"hooks", "install", "--connection", "github", "--old-url", "old.example.com"}, command.Usage, "--old-url"},
		{[]string{"hooks", "check", "--connection", "github", "--repository", "../x"}, command.No, "cannot be the name"},
		{[]string{"hooks", "check", "--connection", "github", "--repository", "acme/nothing"}, command.No, "has no such repository"},
		{[]string{"hooks", "check", "--connection", "github", "--repository", "acme"}, command.No, "is not owner/name"},
	} {
		args := test.args
		code, stdout, stderr := runCommand(t, h.Secrets, append(args, map[bool][]string{true: nil, false: {"--config", h.ServerFile()}}[len(args) < 3]...)...)
		if code != test.code || !strings.Contains(stdout+stderr, test.want) {
			t.Errorf("%v: exit code %d, want %d; no %q in\n%s%s", args, code, test.code, test.want, stdout, stderr)
		}
	}
	plain := apptest.OnSQLite(t)
	code, stdout, _ := gatewright(t, plain, "hooks", "check")
	if code != command.No || !strings.Contains(stdout, "http.public_url: the address at which the git hosts reach this server is missing; write http: {public_url: https://…}") {
		t.Errorf("without public_url: exit code %d\n%s", code, stdout)
	}
}
