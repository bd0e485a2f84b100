package standin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
)

// hookRoute is one call about hooks.
type hookRoute struct {
	method, path, operation string
	answer                  func(*call, hosted) answer
}

// hookRoutes are calls about the hooks of what their paths name. Those that change something are writes, and
// all need the right to hooks.
func (g *gitHosts) hookRoutes(style hostStyle, calls []hookRoute) []route {
	var routes []route
	for _, r := range calls {
		answerTo := r.answer
		if r.method != http.MethodGet {
			answerTo = g.writes(answerTo)
		}
		allowed := func(c *call, r hosted) answer {
			switch {
			case g.opts.HookRights == HookRightsForbidden && r.byApp:
				return hostMessage(http.StatusForbidden, "Resource not accessible by integration")
			case g.opts.HookRights == HookRightsForbidden:
				return hostMessage(http.StatusForbidden, r.forbidden)
			case g.opts.HookRights == HookRightsHidden:
				return hostMessage(http.StatusNotFound, r.notFound)
			}
			r.noHook = map[string]string{"github": githubNotFound, "gitea": giteaNotFound, "gitlab": "404 Not Found", "gitee": "404 Hook Not Found"}[r.host]
			return answerTo(c, r)
		}
		made := g.route(r.method+" "+r.path, r.operation, style, allowed)
		if strings.Contains(r.path, "{organization}") {
			made.handle = func(c *call) answer { return g.serveOrganization(c, style, allowed) }
		}
		routes = append(routes, made)
	}
	return routes
}

// serveOrganization checks the token and that the organisation has a repository.
func (g *gitHosts) serveOrganization(c *call, style hostStyle, answerTo func(*call, hosted) answer) answer {
	r, refusal, ok := g.authorize(c, style)
	if !ok {
		return refusal
	}
	r.organization = c.http.PathValue("organization")
	if g.testedRepository(r) == "" {
		return hostMessage(http.StatusNotFound, style.notFound)
	}
	return answerTo(c, r)
}

// testedRepository is the repository of a hook's test: its own, or one of its organisation.
func (g *gitHosts) testedRepository(r hosted) string {
	if r.name != "" {
		return r.name
	}
	prefix := localKey(strings.TrimRight(g.hosts[r.host].URL, "/")+"/"+r.organization) + "/"
	found := ""
	for key := range g.repositories {
		name, ofHost := strings.CutPrefix(key, prefix)
		if !ofHost {
			name, ofHost = strings.CutPrefix(key, strings.ToLower(r.organization)+"/")
		}
		if full := r.organization + "/" + name; ofHost && (found == "" || full < found) {
			found = full
		}
	}
	return found
}

// eventNames are the words of an event: that of its header, and that of the hooks which are told of it.
func eventNames(host, event string) (name, subscription string, known bool) {
	words := map[string]map[string][2]string{
		"github": {"push": {"push", "push"}, "tag": {"push", "push"}, "merge_request": {"pull_request", "pull_request"}, "comment": {"issue_comment", "issue_comment"}},
		"gitlab": {"push": {"Push Hook", "push_events"}, "tag": {"Tag Push Hook", "tag_push_events"}, "merge_request": {"Merge Request Hook", "merge_requests_events"}, "comment": {"Note Hook", "note_events"}},
		"gitee":  {"push": {"Push Hook", "push_events"}, "tag": {"Tag Push Hook", "tag_push_events"}, "merge_request": {"Merge Request Hook", "merge_requests_events"}, "comment": {"Note Hook", "note_events"}},
		"gitea":  {"push": {"push", "push"}, "tag": {"push", "push"}, "merge_request": {"pull_request", "pull_request"}, "comment": {"issue_comment", "pull_request_comment"}},
	}
	if pair, found := words[host][event]; found {
		return pair[0], pair[1], true
	}
	return event, event, host == githubStyle().kind && slices.Contains(githubEvents(), event) && event != "*"
}

// announce makes what hooks are told of an event.
func (g *gitHosts) announce(e HostEvent) (announcement, error) {
	host, known := g.hosts[e.Host]
	if !known {
		return announcement{}, fmt.Errorf("there is no host %q", e.Host)
	}
	name, subscription, known := eventNames(e.Host, e.Event)
	if !known {
		return announcement{}, errors.New("unknown event: write push, tag, merge_request or comment")
	}
	address := strings.TrimRight(host.URL, "/") + "/" + e.Repository
	path, known := g.repositories.path(address)
	if !known {
		return announcement{}, errors.New("there is no such repository")
	}
	payload := []byte(e.Payload)
	switch {
	case len(payload) > 0:
	case e.Event != "push":
		return announcement{}, errors.New("give its payload: only that of a push is made here")
	default:
		var err error
		if payload, err = pushPayload(path, address, e); err != nil {
			return announcement{}, err
		}
	}
	return announcement{event: name, subscription: subscription, action: payloadAction(payload), payload: payload}, nil
}

// pushPayload is what a host says of a push to a branch, by what the branch has now.
func pushPayload(path, address string, e HostEvent) ([]byte, error) {
	repository, err := git.PlainOpen(path)
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	branch := e.Branch
	if branch == "" {
		branch = mainBranch
		if head, err := repository.Head(); err == nil && head.Name().IsBranch() {
			branch = head.Name().Short()
		}
	}
	ref, err := repository.Reference(plumbing.NewBranchReferenceName(branch), true)
	if err != nil {
		return nil, fmt.Errorf("there is no branch %q", branch)
	}
	commit, err := repository.CommitObject(ref.Hash())
	if err != nil {
		return nil, fmt.Errorf("read commit: %w", err)
	}
	before := e.Before
	if before == "" {
		before = plumbing.ZeroHash.String()
		if len(commit.ParentHashes) > 0 {
			before = commit.ParentHashes[0].String()
		}
	}
	ssh := "git@" + strings.Replace(strings.TrimPrefix(strings.TrimPrefix(address, "https://"), "http://"), "/", ":", 1) + ".git"
	owner, name, _ := strings.Cut(e.Repository, "/")
	sha, at := ref.Hash().String(), commit.Committer.When.UTC()
	person := map[string]any{"name": commit.Author.Name, "email": commit.Author.Email, "username": "ada", "login": "ada", "id": 61}
	last := map[string]any{"id": sha, "message": commit.Message, "timestamp": at, "url": address + "/commit/" + sha, "author": person, "committer": person, "added": []string{}, "removed": []string{}, "modified": []string{}}
	if e.Host == gitlabStyle().kind {
		return json.Marshal(map[string]any{
			"object_kind": "push", "event_name": "push", "before": before, "after": sha, "ref": ref.Name().String(), "checkout_sha": sha,
			"user_id": 61, "user_name": commit.Author.Name, "user_username": "ada", "project_id": repositoryID(e.Host, e.Repository),
			"project": map[string]any{
				"id": repositoryID(e.Host, e.Repository), "name": name, "web_url": address, "git_ssh_url": ssh, "git_http_url": address + ".git", "path_with_namespace": e.Repository,
				"default_branch": mainBranch, "visibility_level": 0,
			},
			"commits": []any{}, "total_commits_count": 0,
		})
	}
	id := repositoryID(e.Host, e.Repository)
	body := map[string]any{
		"ref": ref.Name().String(), "before": before, "after": sha, "commits": []any{}, "head_commit": last, "pusher": person, "sender": person,
		"repository": map[string]any{
			"id": id, "name": name, "full_name": e.Repository, "private": true, "owner": map[string]any{"id": 60, "name": owner, "login": owner, "username": owner},
			"html_url": address, "clone_url": address + ".git", "ssh_url": ssh, "default_branch": mainBranch,
		},
	}
	switch of := body["repository"].(map[string]any); e.Host {
	case githubStyle().kind:
		body["created"], body["deleted"], body["forced"] = strings.Trim(before, "0") == "", false, false
		body["compare"] = address + "/compare/" + before + "..." + sha
	case giteeStyle().kind:
		body["hook_name"], body["created"], body["deleted"] = "push_hooks", strings.Trim(before, "0") == "", false
		body["total_commits_count"], body["commits_more_than_ten"] = 0, false
		of["path_with_namespace"], of["namespace"], of["path"] = e.Repository, owner, name
		of["git_http_url"], of["git_ssh_url"] = address+".git", ssh
	default:
		body["total_commits"], body["compare_url"] = 0, address+"/compare/"+before+"..."+sha
	}
	return json.Marshal(body)
}
