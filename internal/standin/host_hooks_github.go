package standin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// githubHookRoutes are GitHub's calls about hooks, of a repository and of an organisation.
func (g *gitHosts) githubHookRoutes() []route {
	var routes []route
	for _, base := range []string{"/api/v3/repos/{owner}/{name}/hooks", "/api/v3/orgs/{organization}/hooks"} {
		routes = append(routes, g.hookRoutes(githubStyle(), []hookRoute{
			{"GET", base, "github_hooks", g.githubListHooks},
			{"POST", base, "github_create_hook", g.githubCreateHook},
			{"GET", base + "/{hook}", "github_hook", g.githubGetHook},
			{"PATCH", base + "/{hook}", "github_edit_hook", g.githubEditHook},
			{"DELETE", base + "/{hook}", "github_delete_hook", g.githubDeleteHook},
			{"POST", base + "/{hook}/pings", "github_ping_hook", g.githubPingHook},
			{"GET", base + "/{hook}/deliveries", "github_hook_deliveries", g.githubListDeliveries},
			{"GET", base + "/{hook}/deliveries/{delivery}", "github_hook_delivery", g.githubGetDelivery},
			{"POST", base + "/{hook}/deliveries/{delivery}/attempts", "github_redeliver", g.githubRedeliver},
		})...)
	}
	return append(routes, g.hookRoutes(githubStyle(), []hookRoute{
		{"POST", "/api/v3/repos/{owner}/{name}/hooks/{hook}/tests", "github_test_hook", g.githubTestHook},
	})...)
}

// githubEvents are those that a hook may have here; GitHub knows more.
func githubEvents() []string {
	return []string{
		"*", "branch_protection_rule", "check_run", "check_suite", "commit_comment", "create", "delete", "deployment", "fork", "issue_comment", "issues", "label",
		"member", "merge_group", "meta", "milestone", "ping", "public", "pull_request", "pull_request_review", "pull_request_review_comment", "push", "release",
		"repository", "star", "status", "watch", "workflow_job", "workflow_run",
	}
}

// githubHookFields is what a hook is written with.
type githubHookFields struct {
	Name   *string            `json:"name"`
	Active *bool              `json:"active"`
	Events *[]string          `json:"events"`
	Config *map[string]string `json:"config"`
}

// githubHookInvalid is GitHub's refusal of a hook.
func githubHookInvalid(message string) answer {
	a := hostMessage(http.StatusUnprocessableEntity, "Validation Failed")
	a.body = map[string]any{
		"message": "Validation Failed", "errors": []map[string]string{{"resource": "Hook", "code": "custom", "message": message}},
		"documentation_url": "https://docs.github.com/rest/repos/webhooks", "status": "422",
	}
	return a
}

// into changes a hook. A config replaces the former one whole: without a secret there is none.
func (f githubHookFields) into(hook *hostHook) (wrong string) {
	if f.Config != nil {
		config := *f.Config
		contentType := config["content_type"]
		if contentType == "" {
			contentType = "form"
		}
		switch {
		case !isWebURL(config["url"]):
			return "url is missing a scheme"
		case contentType != "json" && contentType != "form":
			return "content_type is not included in the list"
		}
		hook.URL, hook.JSON, hook.secret = config["url"], contentType == "json", config["secret"]
		hook.VerifiesTLS = config["insecure_ssl"] != "1"
	}
	if f.Events != nil {
		for _, name := range *f.Events {
			if !slices.Contains(githubEvents(), name) {
				return "The event \"" + name + "\" is not valid"
			}
		}
		hook.Events = slices.Clone(*f.Events)
	}
	if f.Active != nil {
		hook.Active = *f.Active
	}
	return ""
}

// githubClash is why a hook cannot be beside the others: one with the same config has an event of its, or
// an event has too many. The caller holds mu.
func (h *hostHooks) githubClash(r hosted, hook *hostHook) (wrong string) {
	of := map[string]int{}
	for _, other := range h.of(r) {
		if other.ID == hook.ID {
			continue
		}
		for _, name := range other.Events {
			of[name]++
			same := other.URL == hook.URL && other.JSON == hook.JSON && other.VerifiesTLS == hook.VerifiesTLS
			if same && slices.Contains(hook.Events, name) {
				return "Hook already exists on this " + strings.ToLower(r.owner())
			}
		}
	}
	for _, name := range hook.Events {
		if of[name] >= maxGitHubHooks {
			return fmt.Sprintf("The %q event cannot have more than %d hooks", name, maxGitHubHooks)
		}
	}
	return ""
}

// owner is GitHub's word for what a hook is of.
func (r hosted) owner() string {
	if r.organization != "" {
		return "Organization"
	}
	return "Repository"
}

// github is a hook as GitHub shows it. The caller holds mu.
func (hook *hostHook) github(r hosted) map[string]any {
	config := map[string]string{"url": hook.URL, "content_type": "form", "insecure_ssl": "1"}
	if hook.JSON {
		config["content_type"] = "json"
	}
	if hook.VerifiesTLS {
		config["insecure_ssl"] = "0"
	}
	if hook.secret != "" {
		config["secret"] = "********"
	}
	last := map[string]any{"code": nil, "status": "unused", "message": nil}
	if n := len(hook.deliveries); n > 0 {
		d := hook.deliveries[n-1]
		last = map[string]any{"code": d.Status, "status": "active", "message": d.githubStatus()}
	}
	address := "https://api.github.com/" + strings.Trim("repos/"+r.name, "/") + "/hooks/" + itoa(hook.ID)
	if r.organization != "" {
		address = "https://api.github.com/orgs/" + r.organization + "/hooks/" + itoa(hook.ID)
	}
	return map[string]any{
		"type": r.owner(), "id": hook.ID, "name": "web", "active": hook.Active, "events": slices.Clone(hook.Events), "config": config,
		"created_at": hook.created, "updated_at": hook.created, "url": address, "ping_url": address + "/pings", "deliveries_url": address + "/deliveries",
		"last_response": last,
	}
}

func (g *gitHosts) githubListHooks(c *call, r hosted) answer {
	page, pageOK := c.number("page", 1, 1, 1<<20)
	perPage, perPageOK := c.number("per_page", 30, 1, 100)
	if r.missing || !pageOK || !perPageOK {
		return hostMessage(http.StatusNotFound, githubNotFound)
	}
	g.hooks.mu.Lock()
	defer g.hooks.mu.Unlock()
	all := g.hooks.of(r)
	list := []map[string]any{}
	for _, hook := range hookPage(all, page, perPage) {
		list = append(list, hook.github(r))
	}
	a := githubAnswer(list)
	if page*perPage < len(all) {
		a = a.with("Link", c.next("page", fmt.Sprint(page+1)))
	}
	return a
}

// hookPage is a page of a list, counted from 1.
func hookPage[T any](all []T, page, perPage int) []T {
	first := min((page-1)*perPage, len(all))
	return all[first:min(first+perPage, len(all))]
}

// next is a Link header to the same call with another value of a parameter.
func (c *call) next(parameter, value string) string {
	address := *c.http.URL
	query := address.Query()
	query.Set(parameter, value)
	address.RawQuery = query.Encode()
	return fmt.Sprintf("<http://%s%s>; rel=\"next\"", c.http.Host, address.RequestURI())
}

func (g *gitHosts) githubCreateHook(c *call, r hosted) answer {
	var f githubHookFields
	if !c.object(&f) || f.Config == nil || f.Name != nil && *f.Name != "web" {
		return githubHookInvalid("config is missing")
	}
	if f.Events == nil || len(*f.Events) == 0 {
		f.Events = &[]string{"push"}
	}
	g.hooks.mu.Lock()
	defer g.hooks.mu.Unlock()
	hook := &hostHook{HostHook: HostHook{Active: true}}
	wrong := f.into(hook)
	if wrong == "" {
		wrong = g.hooks.githubClash(r, hook)
	}
	if wrong != "" {
		return githubHookInvalid(wrong)
	}
	g.hooks.add(r, hook)
	g.deliverLater(hook, hook.githubPing(r), "")
	return c.acted("", githubCreated(hook.github(r)))
}

// githubPing is what a new hook is told. The caller holds mu.
func (hook *hostHook) githubPing(r hosted) announcement {
	body := map[string]any{"zen": "Keep it logically awesome.", "hook_id": hook.ID, "hook": hook.github(r)}
	if r.organization == "" {
		body["repository"] = map[string]any{"id": 3001, "full_name": r.name}
	}
	payload, _ := json.Marshal(body) // maps of strings and numbers
	return announcement{event: "ping", subscription: "ping", payload: payload, ping: true}
}

// withHook lets a handler act on the hook that a request names, under mu.
func (g *gitHosts) withHook(c *call, r hosted, act func(*hostHook) answer) answer {
	g.hooks.mu.Lock()
	defer g.hooks.mu.Unlock()
	hook := g.hooks.hook(c, r)
	if hook == nil {
		return hostMessage(http.StatusNotFound, r.noHook)
	}
	return act(hook)
}

func (g *gitHosts) githubGetHook(c *call, r hosted) answer {
	return g.withHook(c, r, func(hook *hostHook) answer { return githubAnswer(hook.github(r)) })
}

func (g *gitHosts) githubEditHook(c *call, r hosted) answer {
	return g.withHook(c, r, func(hook *hostHook) answer {
		var f githubHookFields
		if !c.object(&f) {
			return hostMessage(http.StatusBadRequest, "Problems parsing JSON")
		}
		changed := *hook
		wrong := f.into(&changed)
		if wrong == "" {
			wrong = g.hooks.githubClash(r, &changed)
		}
		if wrong != "" {
			return githubHookInvalid(wrong)
		}
		*hook = changed
		return c.acted("", githubAnswer(hook.github(r)))
	})
}

func (g *gitHosts) githubDeleteHook(c *call, r hosted) answer { return g.deleteHook(c, r) }

// deleteHook removes a hook: 204.
func (g *gitHosts) deleteHook(c *call, r hosted) answer {
	return g.withHook(c, r, func(hook *hostHook) answer {
		g.hooks.remove(hook)
		return c.acted("", answer{status: http.StatusNoContent})
	})
}

func (g *gitHosts) githubPingHook(c *call, r hosted) answer {
	return g.withHook(c, r, func(hook *hostHook) answer {
		g.deliverLater(hook, hook.githubPing(r), "")
		return c.acted("", answer{status: http.StatusNoContent})
	})
}

// githubTestHook sends the latest push, when the hook has that event.
func (g *gitHosts) githubTestHook(c *call, r hosted) answer {
	a, err := g.announce(HostEvent{Host: r.host, Repository: r.name, Event: "push"})
	if err != nil {
		return hostMessage(http.StatusNotFound, githubNotFound)
	}
	return g.withHook(c, r, func(hook *hostHook) answer {
		if slices.Contains(hook.Events, "push") || slices.Contains(hook.Events, "*") {
			g.deliverLater(hook, a, "")
		}
		return c.acted("", answer{status: http.StatusNoContent})
	})
}

// githubStatus is GitHub's sentence about a delivery.
func (d *hookDelivery) githubStatus() string {
	switch {
	case d.ok():
		return "OK"
	case d.Status == 0:
		return "failed to connect to host"
	}
	return fmt.Sprintf("Invalid HTTP Response: %d", d.Status)
}

func (d *hookDelivery) github() map[string]any {
	var action any
	if d.action != "" {
		action = d.action
	}
	return map[string]any{
		"id": d.ID, "guid": d.GUID, "delivered_at": d.At, "redelivery": d.Redelivery, "duration": d.took.Seconds(), "status": d.githubStatus(),
		"status_code": d.Status, "event": d.name, "action": action, "installation_id": nil, "repository_id": 3001, "throttled_at": nil,
	}
}

// githubListDeliveries lists the newest first; the cursor is the id of the first one of a page.
func (g *gitHosts) githubListDeliveries(c *call, r hosted) answer {
	perPage, perPageOK := c.number("per_page", 30, 1, 100)
	if !perPageOK {
		return githubHookInvalid("per_page is not valid")
	}
	return g.withHook(c, r, func(hook *hostHook) answer {
		list, started := []map[string]any{}, c.query("cursor") == ""
		for _, d := range slices.Backward(hook.deliveries) {
			started = started || itoa(d.ID) == c.query("cursor")
			wanted := (c.query("status") != "failure" || !d.ok()) && (c.query("status") != "success" || d.ok())
			switch {
			case !started || !wanted || g.hooks.now().Sub(d.At) > githubDeliveryAge:
			case len(list) == perPage:
				return githubAnswer(list).with("Link", c.next("cursor", itoa(d.ID)))
			default:
				list = append(list, d.github())
			}
		}
		return githubAnswer(list)
	})
}

// githubDeliveryAge is how long GitHub keeps deliveries (specs/githosts.md 1.6).
const githubDeliveryAge = 3 * 24 * time.Hour

// delivery finds one of a hook; the caller holds mu.
func (hook *hostHook) delivery(c *call) *hookDelivery {
	for _, d := range hook.deliveries {
		if itoa(d.ID) == c.http.PathValue("delivery") {
			return d
		}
	}
	return nil
}

func (g *gitHosts) githubGetDelivery(c *call, r hosted) answer {
	return g.withHook(c, r, func(hook *hostHook) answer {
		d := hook.delivery(c)
		if d == nil {
			return hostMessage(http.StatusNotFound, githubNotFound)
		}
		full := d.github()
		full["url"] = d.url
		full["request"] = map[string]any{"headers": flat(d.sent), "payload": json.RawMessage(d.payload)}
		full["response"] = map[string]any{"headers": flat(d.answered), "payload": d.answer}
		return githubAnswer(full)
	})
}

// flat are headers with one value each, without proofs.
func flat(header http.Header) map[string]string {
	flat := map[string]string{}
	for name := range header {
		flat[name] = header.Get(name)
		if strings.Contains(name, "Token") || strings.Contains(name, "Signature") || name == "Authorization" {
			flat[name] = "[REDACTED]"
		}
	}
	return flat
}

// githubRedeliver sends a delivery again with the same GUID: 202, and it is done later.
func (g *gitHosts) githubRedeliver(c *call, r hosted) answer {
	return g.withHook(c, r, func(hook *hostHook) answer {
		d := hook.delivery(c)
		if d == nil {
			return hostMessage(http.StatusNotFound, githubNotFound)
		}
		g.deliverLater(hook, d.again(), d.GUID)
		a := githubAnswer(map[string]any{})
		a.status = http.StatusAccepted
		return c.acted("", a)
	})
}

// again is what a delivery announced.
func (d *hookDelivery) again() announcement {
	return announcement{event: d.name, subscription: d.subscription, action: d.action, payload: d.payload, ping: d.name == "ping"}
}
