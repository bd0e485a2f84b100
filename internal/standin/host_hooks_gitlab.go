package standin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// gitlabHookRoutes are GitLab's calls about hooks, of a project and of a group.
func (g *gitHosts) gitlabHookRoutes() []route {
	var routes []route
	for _, base := range []string{"/api/v4/projects/{project}/hooks", "/api/v4/groups/{organization}/hooks"} {
		routes = append(routes, g.hookRoutes(gitlabStyle(), []hookRoute{
			{"GET", base, "gitlab_hooks", g.gitlabListHooks},
			{"POST", base, "gitlab_create_hook", g.gitlabCreateHook},
			{"GET", base + "/{hook}", "gitlab_hook", g.gitlabGetHook},
			{"PUT", base + "/{hook}", "gitlab_edit_hook", g.gitlabEditHook},
			{"DELETE", base + "/{hook}", "gitlab_delete_hook", g.deleteHook},
			{"POST", base + "/{hook}/test/{trigger}", "gitlab_test_hook", g.gitlabTestHook},
			{"GET", base + "/{hook}/events", "gitlab_hook_events", g.gitlabListEvents},
			{"POST", base + "/{hook}/events/{delivery}/resend", "gitlab_resend", g.gitlabResend},
		})...)
	}
	return routes
}

// gitlabEvents are the switches of a hook.
func gitlabEvents() []string {
	return []string{
		"push_events", "tag_push_events", "merge_requests_events", "note_events", "confidential_note_events", "issues_events", "confidential_issues_events",
		"job_events", "pipeline_events", "wiki_page_events", "deployment_events", "releases_events", "feature_flag_events", "resource_access_token_events", "emoji_events",
	}
}

// gitlabHookInto changes a hook by the fields that are given; the text is what is wrong with them. A new address
// without a token takes the token away.
func gitlabHookInto(hook *hostHook, f url.Values) (wrong string) {
	if f.Has("url") {
		if !isWebURL(f.Get("url")) {
			return "Invalid url given"
		}
		if hook.URL != "" && hook.URL != f.Get("url") {
			hook.secret = ""
		}
		hook.URL = f.Get("url")
	}
	for _, name := range gitlabEvents() {
		on, err := strconv.ParseBool(f.Get(name))
		switch has := slices.Contains(hook.Events, name); {
		case !f.Has(name):
		case err != nil:
			return name + " is invalid"
		case on && !has:
			hook.Events = append(hook.Events, name)
		case !on && has:
			hook.Events = slices.DeleteFunc(hook.Events, func(other string) bool { return other == name })
		}
	}
	if f.Has("token") {
		hook.secret = f.Get("token")
	}
	if f.Has("signing_token") {
		hook.signingToken = f.Get("signing_token")
	}
	if f.Has("push_events_branch_filter") {
		hook.filter = f.Get("push_events_branch_filter")
	}
	if f.Has("enable_ssl_verification") {
		verifies, err := strconv.ParseBool(f.Get("enable_ssl_verification"))
		if err != nil {
			return "enable_ssl_verification is invalid"
		}
		hook.VerifiesTLS = verifies
	}
	return ""
}

// gitlab is a hook as GitLab shows it. The caller holds mu.
func (hook *hostHook) gitlab(now time.Time) map[string]any {
	shown := map[string]any{
		"id": hook.ID, "url": hook.URL, "name": nil, "description": nil, "created_at": hook.created, "project_id": 3001,
		"push_events_branch_filter": hook.filter, "branch_filter_strategy": "wildcard", "enable_ssl_verification": hook.VerifiesTLS,
		"repository_update_events": false, "alert_status": gitlabExecutable, "disabled_until": nil, "url_variables": []any{},
		"custom_webhook_template": nil, "custom_headers": []any{}, "token_present": hook.secret != "", "signing_token_present": hook.signingToken != "",
	}
	for _, name := range gitlabEvents() {
		shown[name] = slices.Contains(hook.Events, name)
	}
	if state := hook.disabled(now); state != "" {
		shown["alert_status"] = state
		if state == gitlabPaused {
			shown["disabled_until"] = hook.disabledUntil.UTC()
		}
	}
	return shown
}

func (g *gitHosts) gitlabListHooks(c *call, r hosted) answer {
	page, pageOK := c.number("page", 1, 1, 1<<20)
	perPage, perPageOK := c.number("per_page", 20, 1, 100)
	if r.missing || !pageOK || !perPageOK {
		return hostMessage(http.StatusNotFound, r.notFound)
	}
	g.hooks.mu.Lock()
	defer g.hooks.mu.Unlock()
	all := g.hooks.of(r)
	list := []map[string]any{}
	for _, hook := range hookPage(all, page, perPage) {
		list = append(list, hook.gitlab(g.hooks.now()))
	}
	return gitlabPage(ok(list), page, page*perPage < len(all))
}

// gitlabPage is an answer with the headers of its page.
func gitlabPage(a answer, page int, more bool) answer {
	a = a.with("X-Page", strconv.Itoa(page)).with("X-Next-Page", "")
	if more {
		a = a.with("X-Next-Page", strconv.Itoa(page+1))
	}
	return a
}

func (g *gitHosts) gitlabCreateHook(c *call, r hosted) answer {
	f := c.fields()
	if !f.Has("url") {
		return hostMessage(http.StatusBadRequest, "url is missing")
	}
	g.hooks.mu.Lock()
	defer g.hooks.mu.Unlock()
	if len(g.hooks.of(r)) >= maxGitLabHooks {
		return hostMessage(http.StatusUnprocessableEntity, fmt.Sprintf("Maximum number of project hooks (%d) exceeded", maxGitLabHooks))
	}
	hook := &hostHook{HostHook: HostHook{Active: true, JSON: true, VerifiesTLS: true, Events: []string{"push_events"}}}
	if wrong := gitlabHookInto(hook, f); wrong != "" {
		return hostMessage(http.StatusUnprocessableEntity, wrong)
	}
	g.hooks.add(r, hook)
	return c.acted("", created(hook.gitlab(g.hooks.now())))
}

func (g *gitHosts) gitlabGetHook(c *call, r hosted) answer {
	return g.withHook(c, r, func(hook *hostHook) answer { return ok(hook.gitlab(g.hooks.now())) })
}

// gitlabEditHook changes a hook. It does not make a disabled one good again (specs/githosts.md 2.6).
func (g *gitHosts) gitlabEditHook(c *call, r hosted) answer {
	return g.withHook(c, r, func(hook *hostHook) answer {
		changed := *hook
		changed.Events = slices.Clone(hook.Events)
		if wrong := gitlabHookInto(&changed, c.fields()); wrong != "" {
			return hostMessage(http.StatusUnprocessableEntity, wrong)
		}
		*hook = changed
		return c.acted("", ok(hook.gitlab(g.hooks.now())))
	})
}

// gitlabBusy counts a test or resend of a hook, and reports that there were too many in the last minute. The
// caller holds mu.
func (hook *hostHook) gitlabBusy(now time.Time) bool {
	hook.requests = slices.DeleteFunc(hook.requests, func(at time.Time) bool { return now.Sub(at) >= time.Minute })
	if len(hook.requests) >= gitlabPerMinute {
		return true
	}
	hook.requests = append(hook.requests, now)
	return false
}

func gitlabTooMany() answer {
	a := hostMessage(http.StatusTooManyRequests, "This endpoint has been requested too many times. Try again later.")
	a.body = map[string]any{"message": map[string]string{"error": "This endpoint has been requested too many times. Try again later."}}
	return a
}

// gitlabTestHook sends a push, whatever is asked for, also of a disabled hook; 422 when it fails.
func (g *gitHosts) gitlabTestHook(c *call, r hosted) answer {
	if !slices.Contains(gitlabEvents(), c.http.PathValue("trigger")) {
		return hostMessage(http.StatusBadRequest, "trigger does not have a valid value")
	}
	a, err := g.announce(HostEvent{Host: r.host, Repository: g.testedRepository(r), Event: "push"})
	if err != nil {
		return hostMessage(http.StatusUnprocessableEntity, "Ensure the project has at least one commit.")
	}
	hook, refusal := g.gitlabAsked(c, r)
	if hook == nil {
		return refusal
	}
	d := g.deliverNow(c.http.Context(), hook, a, "", true)
	if d == nil || !d.ok() {
		return hostMessage(http.StatusUnprocessableEntity, "Hook execution failed")
	}
	return c.acted("", created(map[string]string{"message": "201 Created"}))
}

// gitlabAsked finds the hook of a test or resend, and counts that.
func (g *gitHosts) gitlabAsked(c *call, r hosted) (hook *hostHook, refusal answer) {
	g.hooks.mu.Lock()
	defer g.hooks.mu.Unlock()
	switch hook = g.hooks.hook(c, r); {
	case hook == nil:
		return nil, hostMessage(http.StatusNotFound, r.noHook)
	case hook.gitlabBusy(g.hooks.now()):
		return nil, gitlabTooMany()
	}
	return hook, answer{}
}

// deliverNow delivers and waits for the end.
func (g *gitHosts) deliverNow(ctx context.Context, hook *hostHook, a announcement, guid string, test bool) *hookDelivery {
	return g.hooks.deliver(ctx, hook, a, guid, g.opts.HookDeliveries, g.opts.disablesHooks(hook.Host), test)
}

// deliverLater delivers in the background, with the switches as they are now.
func (g *gitHosts) deliverLater(hook *hostHook, a announcement, guid string) {
	mode, disables := g.opts.HookDeliveries, g.opts.disablesHooks(hook.Host)
	g.spawn.start(func(ctx context.Context) { g.hooks.deliver(ctx, hook, a, guid, mode, disables, true) })
}

func (d *hookDelivery) gitlab() map[string]any {
	status, code := "internal error", strconv.Itoa(d.Status)
	if d.Status != 0 {
		status = code
	}
	var data any = json.RawMessage(d.payload)
	if !json.Valid(d.payload) {
		data = nil
	}
	return map[string]any{
		"id": d.ID, "url": d.url, "trigger": strings.TrimSuffix(d.subscription, "_events") + "_hooks", "request_headers": flat(d.sent), "request_data": data,
		"response_headers": flat(d.answered), "response_body": d.answer, "execution_duration": d.took.Seconds(), "response_status": status,
		"created_at": d.At,
	}
}

// gitlabListEvents lists the newest first, of seven days, at most 20 a page. The filters by status know numbers
// only, so that one without an answer is in none of them.
func (g *gitHosts) gitlabListEvents(c *call, r hosted) answer {
	page, pageOK := c.number("page", 1, 1, 1<<20)
	perPage, perPageOK := c.number("per_page", 20, 1, 20)
	if !pageOK || !perPageOK {
		return hostMessage(http.StatusBadRequest, "per_page does not have a valid value")
	}
	return g.withHook(c, r, func(hook *hostHook) answer {
		var found []*hookDelivery
		for _, d := range slices.Backward(hook.deliveries) {
			if d.hasStatus(c.query("status")) && g.hooks.now().Sub(d.At) <= 7*24*time.Hour {
				found = append(found, d)
			}
		}
		list := []map[string]any{}
		for _, d := range hookPage(found, page, perPage) {
			list = append(list, d.gitlab())
		}
		return gitlabPage(ok(list), page, page*perPage < len(found))
	})
}

// hasStatus reports whether a delivery is one that a filter asks for.
func (d *hookDelivery) hasStatus(filter string) bool {
	for one := range strings.SplitSeq(filter, ",") {
		switch one {
		case "":
			return true
		case "successful":
			if d.ok() {
				return true
			}
		case "client_failure", "server_failure":
			if from := map[string]int{"client_failure": 400, "server_failure": 500}[one]; d.Status >= from && d.Status < from+100 {
				return true
			}
		case strconv.Itoa(d.Status):
			return true
		}
	}
	return false
}

// gitlabResend sends an event again with the same idempotency key, unless the hook has another address now.
func (g *gitHosts) gitlabResend(c *call, r hosted) answer {
	hook, refusal := g.gitlabAsked(c, r)
	if hook == nil {
		return refusal
	}
	g.hooks.mu.Lock()
	d := hook.delivery(c)
	moved := d != nil && d.url != hook.URL
	g.hooks.mu.Unlock()
	switch {
	case d == nil:
		return hostMessage(http.StatusNotFound, "404 Not Found")
	case moved:
		return hostMessage(http.StatusUnprocessableEntity, "The hook URL has changed. This log entry cannot be retried.")
	}
	again := g.deliverNow(c.http.Context(), hook, d.again(), d.GUID, true)
	if again == nil {
		return hostMessage(http.StatusUnprocessableEntity, "internal error")
	}
	return c.acted("", created(map[string]any{"response_status": again.Status}))
}
