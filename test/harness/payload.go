package harness

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

// fields are the members of a JSON object.
type fields map[string]any

// body is what the host of a change's repository sends for it: a push, or a merge
// request that was opened or got new commits. The same change is always the same
// bytes.
func (c *Change) body() []byte {
	var object fields
	r := c.line.repository
	switch host, request := r.connection.host, c.line.request; {
	case host == event.GitHub && request:
		object = githubRequest(c, r)
	case host == event.GitHub:
		object = githubPush(c, r)
	case host == event.GitLab && request:
		object = gitlabRequest(c, r)
	case host == event.GitLab:
		object = gitlabPush(c, r)
	case host == event.Gitee && request:
		object = giteeRequest(c, r)
	case host == event.Gitee:
		object = giteePush(c, r)
	case request:
		object = giteaRequest(c, r)
	default:
		object = giteaPush(c, r)
	}
	text, err := json.Marshal(object)
	if err != nil {
		// Texts, numbers and booleans always marshal.
		panic("marshal payload: " + err.Error())
	}
	return text
}

// header are the headers that the host sends with the body, without the
// signature; id is the delivery's, which Gitee does not give.
func (c *Change) header(id string) http.Header {
	header := http.Header{"Content-Type": {"application/json"}}
	pick := func(push, request string) string {
		if c.line.request {
			return request
		}
		return push
	}
	switch c.line.repository.connection.host {
	case event.GitHub:
		header.Set("X-GitHub-Event", pick("push", "pull_request"))
		header.Set("X-GitHub-Delivery", id)
	case event.GitLab:
		header.Set("X-Gitlab-Event", pick("Push Hook", "Merge Request Hook"))
		header.Set("X-Gitlab-Instance", c.line.repository.connection.base)
		header.Set("Idempotency-Key", id)
	case event.Gitee:
		header.Set("X-Gitee-Event", pick("Push Hook", "Merge Request Hook"))
		header.Set("X-Gitee-Ping", "false")
	case event.Gitea:
		header.Set("X-Gitea-Event", pick("push", "pull_request"))
		header.Set("X-Gitea-Delivery", id)
		header.Set("X-GitHub-Event", pick("push", "pull_request"))
	}
	return header
}

// before is the commit that a push moved away from, as hosts write it.
func (c *Change) before() string {
	if c.Before == "" {
		return "0000000000000000000000000000000000000000"
	}
	return c.Before
}

// time is the host's time of the change.
func (c *Change) time() string { return c.made.Format(time.RFC3339) }

func githubRepository(r repository) fields {
	return fields{
		"id": r.id, "name": r.name, "full_name": r.fullName(), "private": true, "owner": fields{"name": "acme", "login": "acme"},
		"clone_url": r.url(), "ssh_url": "git@example.com:acme/" + r.name + ".git", "default_branch": released,
	}
}

func githubPush(c *Change, r repository) fields {
	return fields{
		"ref": "refs/heads/" + c.line.branch, "before": c.before(), "after": c.SHA, "created": c.Before == "", "deleted": false, "forced": false,
		"commits": []any{}, "head_commit": fields{"id": c.SHA, "message": "Change", "timestamp": c.time()},
		"repository": githubRepository(r), "pusher": fields{"name": "mona"}, "sender": fields{"login": "mona", "id": 11},
	}
}

func githubRequest(c *Change, r repository) fields {
	side := func(ref, sha string) fields {
		return fields{"ref": ref, "sha": sha, "repo": fields{"id": r.id, "full_name": r.fullName()}}
	}
	object := fields{
		"action": "opened", "number": mergeRequest, "repository": githubRepository(r), "sender": fields{"login": "mona", "id": 11},
		"pull_request": fields{
			"id": r.id, "number": mergeRequest, "state": "open", "title": "Add a discount", "draft": false, "merged": false,
			"user": fields{"login": "mona", "id": 11}, "labels": []any{}, "updated_at": c.time(),
			"head": side(c.line.branch, c.SHA), "base": side(released, "1111111111111111111111111111111111111111"),
		},
	}
	if c.Before != "" {
		object["action"], object["before"], object["after"] = "synchronize", c.Before, c.SHA
	}
	return object
}

func gitlabProject(r repository) fields {
	return fields{
		"id": r.id, "name": r.name, "path_with_namespace": r.fullName(), "git_http_url": r.url(),
		"git_ssh_url": "git@gitlab.com:acme/" + r.name + ".git", "default_branch": released, "visibility_level": 0,
	}
}

func gitlabPush(c *Change, r repository) fields {
	return fields{
		"object_kind": "push", "event_name": "push", "before": c.before(), "after": c.SHA, "checkout_sha": c.SHA,
		"ref": "refs/heads/" + c.line.branch, "user_id": 21, "user_username": "lena", "project_id": r.id,
		"project": gitlabProject(r), "commits": []any{}, "total_commits_count": 0,
	}
}

func gitlabRequest(c *Change, r repository) fields {
	attributes := fields{
		"id": r.id, "iid": mergeRequest, "title": "Add a discount", "state": "opened", "action": "open", "draft": false,
		"source_branch": c.line.branch, "target_branch": released, "source_project_id": r.id, "target_project_id": r.id,
		"author_id": 21, "updated_at": c.time(), "last_commit": fields{"id": c.SHA, "message": "Change"},
	}
	if c.Before != "" {
		attributes["action"], attributes["oldrev"] = "update", c.Before
	}
	return fields{
		"object_kind": "merge_request", "event_type": "merge_request", "user": fields{"id": 21, "username": "lena"},
		"project": gitlabProject(r), "object_attributes": attributes, "labels": []any{}, "changes": fields{},
	}
}

func giteeProject(r repository) fields {
	return fields{
		"id": r.id, "full_name": r.fullName(), "path_with_namespace": r.fullName(), "git_http_url": r.url(),
		"git_ssh_url": "git@gitee.com:acme/" + r.name + ".git", "private": true, "default_branch": released,
	}
}

func giteePush(c *Change, r repository) fields {
	return fields{
		"hook_name": "push_hooks", "ref": "refs/heads/" + c.line.branch, "before": c.before(), "after": c.SHA, "created": c.Before == "", "deleted": false,
		"commits": []any{}, "head_commit": fields{"id": c.SHA, "message": "Change\n", "timestamp": c.time()},
		"sender": fields{"login": "wei"}, "repository": giteeProject(r), "project": giteeProject(r),
	}
}

func giteeRequest(c *Change, r repository) fields {
	side := func(ref, sha string) fields {
		return fields{"ref": ref, "sha": sha, "repo": fields{"id": r.id}}
	}
	object := fields{
		"hook_name": "merge_request_hooks", "action": "open", "action_desc": nil, "number": mergeRequest, "title": "Add a discount", "state": "open",
		"source_branch": c.line.branch, "target_branch": released,
		"source_repo": fields{"project": fields{"id": r.id}}, "target_repo": fields{"project": fields{"id": r.id}},
		"author": fields{"login": "wei"}, "sender": fields{"login": "wei"}, "project": giteeProject(r),
		"pull_request": fields{
			"id": r.id, "number": mergeRequest, "title": "Add a discount", "state": "open", "user": fields{"login": "wei"}, "labels": []any{},
			"updated_at": c.time(), "head": side(c.line.branch, c.SHA), "base": side(released, "1111111111111111111111111111111111111111"),
		},
	}
	if c.Before != "" {
		object["action"], object["action_desc"] = "update", "source_branch_changed"
	}
	return object
}

func giteaRepository(r repository) fields {
	return fields{
		"id": r.id, "name": r.name, "full_name": r.fullName(), "private": true, "owner": fields{"id": 510, "login": "acme"},
		"html_url": strings.TrimSuffix(r.url(), ".git"), "clone_url": r.url(), "ssh_url": "git@gitea.com:acme/" + r.name + ".git", "default_branch": released,
	}
}

func giteaPush(c *Change, r repository) fields {
	noor := fields{"id": 51, "login": "noor"}
	return fields{
		"ref": "refs/heads/" + c.line.branch, "before": c.before(), "after": c.SHA, "commits": []any{}, "total_commits": 0,
		"head_commit": fields{"id": c.SHA, "message": "Change\n", "timestamp": c.time()},
		"repository":  giteaRepository(r), "pusher": noor, "sender": noor,
	}
}

func giteaRequest(c *Change, r repository) fields {
	noor := fields{"id": 51, "login": "noor"}
	side := func(ref, sha string) fields {
		return fields{"label": ref, "ref": ref, "sha": sha, "repo_id": r.id, "repo": giteaRepository(r)}
	}
	object := fields{
		"action": "opened", "number": mergeRequest, "repository": giteaRepository(r), "sender": noor, "commit_id": "",
		"pull_request": fields{
			"id": r.id, "number": mergeRequest, "state": "open", "title": "Add a discount", "draft": false, "merged": false, "user": noor,
			"labels": []any{}, "updated_at": c.time(), "head": side(c.line.branch, c.SHA), "base": side(released, "1111111111111111111111111111111111111111"),
		},
	}
	if c.Before != "" {
		object["action"] = "synchronized"
	}
	return object
}
