package standin

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// giteeHookRoutes are Gitee's calls about hooks: of a repository alone (specs/githosts.md 3.6).
func (g *gitHosts) giteeHookRoutes() []route {
	const base = "/api/v5/repos/{owner}/{name}/hooks"
	return g.hookRoutes(giteeStyle(), []hookRoute{
		{"GET", base, "gitee_hooks", g.giteeListHooks},
		{"POST", base, "gitee_create_hook", g.giteeCreateHook},
		{"GET", base + "/{hook}", "gitee_hook", g.giteeGetHook},
		{"PATCH", base + "/{hook}", "gitee_edit_hook", g.giteeEditHook},
		{"DELETE", base + "/{hook}", "gitee_delete_hook", g.deleteHook},
		{"POST", base + "/{hook}/tests", "gitee_test_hook", g.giteeTestHook},
	})
}

// giteeEvents are the switches of a hook.
func giteeEvents() []string {
	return []string{"push_events", "tag_push_events", "issues_events", "note_events", "merge_requests_events"}
}

func giteeHookInto(hook *hostHook, f url.Values) (wrong string) {
	if !isWebURL(f.Get("url")) {
		return "url is invalid" // also a change needs it
	}
	hook.URL = f.Get("url")
	if f.Has("encryption_type") {
		if f.Get("encryption_type") != "0" && f.Get("encryption_type") != "1" {
			return "encryption_type does not have a valid value"
		}
		hook.signs = f.Get("encryption_type") == "1"
	}
	if f.Has("password") {
		hook.secret = f.Get("password")
	}
	for _, name := range giteeEvents() {
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
	return ""
}

// gitee is a hook as Gitee shows it, with its password in the clear.
func (hook *hostHook) gitee() map[string]any {
	shown := map[string]any{
		"id": hook.ID, "url": hook.URL, "password": hook.secret, "encryption_type": 0, "project_id": 3001, "result": "", "result_code": nil,
		"created_at": hook.created,
	}
	if hook.signs {
		shown["encryption_type"] = 1
	}
	if n := len(hook.deliveries); n > 0 {
		shown["result"], shown["result_code"] = hook.deliveries[n-1].answer, hook.deliveries[n-1].Status
	}
	for _, name := range giteeEvents() {
		shown[name] = slices.Contains(hook.Events, name)
	}
	return shown
}

func (g *gitHosts) giteeListHooks(c *call, r hosted) answer {
	page, pageOK := c.number("page", 1, 1, 1<<20)
	perPage, perPageOK := c.number("per_page", 20, 1, 100)
	if r.missing || !pageOK || !perPageOK {
		return hostMessage(http.StatusNotFound, r.notFound)
	}
	g.hooks.mu.Lock()
	defer g.hooks.mu.Unlock()
	list := []map[string]any{}
	for _, hook := range hookPage(g.hooks.of(r), page, perPage) {
		list = append(list, hook.gitee())
	}
	return ok(list)
}

func (g *gitHosts) giteeCreateHook(c *call, r hosted) answer {
	g.hooks.mu.Lock()
	defer g.hooks.mu.Unlock()
	hook := &hostHook{HostHook: HostHook{Active: true, JSON: true, VerifiesTLS: true, Events: []string{"push_events"}}}
	if wrong := giteeHookInto(hook, c.fields()); wrong != "" {
		return hostMessage(http.StatusBadRequest, wrong)
	}
	g.hooks.add(r, hook)
	return c.acted("", created(hook.gitee()))
}

func (g *gitHosts) giteeGetHook(c *call, r hosted) answer {
	return g.withHook(c, r, func(hook *hostHook) answer { return ok(hook.gitee()) })
}

func (g *gitHosts) giteeEditHook(c *call, r hosted) answer {
	return g.withHook(c, r, func(hook *hostHook) answer {
		changed := *hook
		changed.Events = slices.Clone(hook.Events)
		if wrong := giteeHookInto(&changed, c.fields()); wrong != "" {
			return hostMessage(http.StatusBadRequest, wrong)
		}
		*hook = changed
		return c.acted("", ok(hook.gitee()))
	})
}

// giteeTestHook sends a push that says of itself that it is a test (specs/githosts.md 3.1).
func (g *gitHosts) giteeTestHook(c *call, r hosted) answer {
	a, err := g.announce(HostEvent{Host: r.host, Repository: r.name, Event: "push"})
	if err != nil {
		return hostMessage(http.StatusNotFound, r.notFound)
	}
	a.event, a.ping = "push_hooks", true
	return g.withHook(c, r, func(hook *hostHook) answer {
		g.deliverLater(hook, a, "")
		return c.acted("", answer{status: http.StatusNoContent})
	})
}

// giteaHookRoutes are Gitea's calls about hooks, of a repository and of an organisation.
func (g *gitHosts) giteaHookRoutes() []route {
	var routes []route
	for _, base := range []string{"/api/v1/repos/{owner}/{name}/hooks", "/api/v1/orgs/{organization}/hooks"} {
		routes = append(routes, g.hookRoutes(giteaStyle(), []hookRoute{
			{"GET", base, "gitea_hooks", g.giteaListHooks},
			{"POST", base, "gitea_create_hook", g.giteaCreateHook},
			{"GET", base + "/{hook}", "gitea_hook", g.giteaGetHook},
			{"PATCH", base + "/{hook}", "gitea_edit_hook", g.giteaEditHook},
			{"DELETE", base + "/{hook}", "gitea_delete_hook", g.deleteHook},
		})...)
	}
	return append(routes, g.hookRoutes(giteaStyle(), []hookRoute{
		{"POST", "/api/v1/repos/{owner}/{name}/hooks/{hook}/tests", "gitea_test_hook", g.giteaTestHook},
	})...)
}

// giteaHookFields is what a hook is written with.
type giteaHookFields struct {
	Type          string            `json:"type"`
	Config        map[string]string `json:"config"`
	Events        []string          `json:"events"`
	BranchFilter  string            `json:"branch_filter"`
	Authorization string            `json:"authorization_header"`
	Active        *bool             `json:"active"`
}

// giteaEventsOf are the events that a hook has for those asked for: pull_request stands for all that begin with
// it, and none for push.
func giteaEventsOf(asked []string) []string {
	if len(asked) == 0 {
		asked = []string{"push"}
	}
	var events []string
	for _, name := range []string{"create", "delete", "fork", "push", "repository", "release"} {
		if slices.Contains(asked, name) {
			events = append(events, name)
		}
	}
	for _, name := range []string{
		"pull_request", "pull_request_assign", "pull_request_label", "pull_request_milestone", "pull_request_comment",
		"pull_request_review_approved", "pull_request_review_rejected", "pull_request_review_comment", "pull_request_sync", "pull_request_review_request",
	} {
		review := strings.HasPrefix(name, "pull_request_review_") && slices.Contains(asked, "pull_request_review")
		only := name == "pull_request" && slices.Contains(asked, "pull_request_only")
		if slices.Contains(asked, name) || slices.Contains(asked, "pull_request") || review || only {
			events = append(events, name)
		}
	}
	return events
}

// into changes a hook: what config does not name stays, and the rest is replaced.
func (f giteaHookFields) into(hook *hostHook) (wrong string) {
	if contentType, given := f.Config["content_type"]; given {
		if contentType != "json" && contentType != "form" {
			return "Invalid content type"
		}
		hook.JSON = contentType == "json"
	}
	if address, given := f.Config["url"]; given {
		hook.URL = address
	}
	if secret, given := f.Config["secret"]; given {
		hook.secret = secret
	}
	if f.Active != nil {
		hook.Active = *f.Active
	}
	hook.Events, hook.filter, hook.header = giteaEventsOf(f.Events), f.BranchFilter, f.Authorization
	return ""
}

// gitea is a hook as Gitea shows it: without its secret.
func (hook *hostHook) gitea() map[string]any {
	config := map[string]string{"url": hook.URL, "content_type": "form"}
	if hook.JSON {
		config["content_type"] = "json"
	}
	return map[string]any{
		"id": hook.ID, "type": "gitea", "config": config, "events": slices.Clone(hook.Events), "active": hook.Active, "branch_filter": hook.filter,
		"authorization_header": hook.header, "created_at": hook.created, "updated_at": hook.created,
	}
}

// giteaListHooks: a page has no more than 50.
func (g *gitHosts) giteaListHooks(c *call, r hosted) answer {
	page, pageOK := c.number("page", 1, 1, 1<<20)
	limit, limitOK := c.number("limit", 30, 1, 1<<20)
	if r.missing || !pageOK || !limitOK {
		return hostMessage(http.StatusNotFound, giteaNotFound)
	}
	g.hooks.mu.Lock()
	defer g.hooks.mu.Unlock()
	list := []map[string]any{}
	for _, hook := range hookPage(g.hooks.of(r), page, min(limit, 50)) {
		list = append(list, hook.gitea())
	}
	return ok(list)
}

func (g *gitHosts) giteaCreateHook(c *call, r hosted) answer {
	var f giteaHookFields
	switch {
	case !c.object(&f) || f.Type == "":
		return hostMessage(http.StatusUnprocessableEntity, "[Type]: Required")
	case !slices.Contains([]string{"gitea", "gogs"}, f.Type):
		return hostMessage(http.StatusUnprocessableEntity, "Invalid hook type: "+f.Type)
	case f.Config["url"] == "":
		return hostMessage(http.StatusUnprocessableEntity, "Missing config option: url")
	case f.Config["content_type"] == "":
		return hostMessage(http.StatusUnprocessableEntity, "Missing config option: content_type")
	}
	g.hooks.mu.Lock()
	defer g.hooks.mu.Unlock()
	hook := &hostHook{HostHook: HostHook{VerifiesTLS: true}} // without active it is not
	if wrong := f.into(hook); wrong != "" {
		return hostMessage(http.StatusUnprocessableEntity, wrong)
	}
	g.hooks.add(r, hook)
	return c.acted("", created(hook.gitea()))
}

func (g *gitHosts) giteaGetHook(c *call, r hosted) answer {
	return g.withHook(c, r, func(hook *hostHook) answer { return ok(hook.gitea()) })
}

func (g *gitHosts) giteaEditHook(c *call, r hosted) answer {
	return g.withHook(c, r, func(hook *hostHook) answer {
		var f giteaHookFields
		if !c.object(&f) {
			return hostMessage(http.StatusUnprocessableEntity, "invalid JSON")
		}
		changed := *hook
		if wrong := f.into(&changed); wrong != "" {
			return hostMessage(http.StatusUnprocessableEntity, wrong)
		}
		*hook = changed
		return c.acted("", ok(hook.gitea()))
	})
}

func (g *gitHosts) giteaTestHook(c *call, r hosted) answer {
	a, err := g.announce(HostEvent{Host: r.host, Repository: r.name, Event: "push"})
	if err != nil {
		return hostMessage(http.StatusNotFound, giteaNotFound)
	}
	return g.withHook(c, r, func(hook *hostHook) answer {
		g.deliverLater(hook, a, "")
		return c.acted("", answer{status: http.StatusNoContent})
	})
}

// payloadAction is the action that a payload names.
func payloadAction(payload []byte) string {
	var body struct {
		Action     any `json:"action"`
		Attributes struct {
			Action any `json:"action"`
		} `json:"object_attributes"`
	}
	_ = json.Unmarshal(payload, &body) // what can be read of it
	for _, action := range []any{body.Action, body.Attributes.Action} {
		if text, isText := action.(string); isText {
			return text
		}
	}
	return ""
}
