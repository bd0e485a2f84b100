package main

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/webhook"
)

// mergeNumber is the number of each repository's one merge request.
const mergeNumber = 7

// repository is one repository on one host, with a pipeline of its own.
type repository struct {
	host event.Host
	// number tells it from the others; its name is made of it.
	number   int
	name     string
	pipeline string
}

func newRepository(number int) *repository {
	hosts := webhook.Hosts()
	return &repository{
		host: hosts[number%len(hosts)], number: number, name: fmt.Sprintf("acme/r%04d", number),
		pipeline: fmt.Sprintf("caf409b1-10df-483a-b14d-%012d", number),
	}
}

func (r *repository) url() string { return "https://" + string(r.host) + ".com/" + r.name + ".git" }

// change is one change of a repository: a push, or a merge request that was opened.
// However often it is announced, it is to be acted upon once.
type change struct {
	repository *repository
	kind       event.Kind
	branch     string
	before     string
	sha        string
	// at is the host's time of the change, which is the same in every
	// announcement.
	at string

	// acknowledged counts the announcements that were answered with 2xx; ids are
	// those that the server gave to the ones that were new to it.
	acknowledged int
	ids          []string
}

// headers are what the host sends with the change, under a delivery id, but for its
// signature.
func (c *change) headers(delivery string) http.Header {
	header := http.Header{"Content-Type": {"application/json"}}
	name := func(ofPush, ofMergeRequest string) string {
		if c.kind == event.Push {
			return ofPush
		}
		return ofMergeRequest
	}
	switch c.repository.host {
	case event.GitHub:
		header.Set("X-GitHub-Event", name("push", "pull_request"))
		header.Set("X-GitHub-Delivery", delivery)
	case event.GitLab:
		header.Set("X-Gitlab-Event", name("Push Hook", "Merge Request Hook"))
		header.Set("X-Gitlab-Instance", "https://gitlab.com")
		header.Set("Idempotency-Key", delivery)
	case event.Gitee:
		header.Set("X-Gitee-Event", name("Push Hook", "Merge Request Hook"))
		header.Set("X-Gitee-Ping", "false")
	case event.Gitea:
		for _, prefix := range []string{"X-Forgejo-", "X-Gitea-", "X-GitHub-"} {
			header.Set(prefix+"Event", name("push", "pull_request"))
			header.Set(prefix+"Delivery", delivery)
		}
	}
	return header
}

// body is the payload that the host sends. Gitee gives deliveries no id: there
// two announcements differ by the hook that sends them.
func (c *change) body(delivery string) ([]byte, error) {
	var payload object
	switch {
	case c.repository.host == event.GitHub && c.kind == event.Push:
		payload = c.githubPush()
	case c.repository.host == event.GitHub:
		payload = c.githubPull()
	case c.repository.host == event.GitLab && c.kind == event.Push:
		payload = c.gitlabPush()
	case c.repository.host == event.GitLab:
		payload = c.gitlabMerge()
	case c.repository.host == event.Gitee && c.kind == event.Push:
		payload = c.giteePush(delivery)
	case c.repository.host == event.Gitee:
		payload = c.giteePull(delivery)
	case c.kind == event.Push:
		payload = c.giteaPush()
	default:
		payload = c.giteaPull()
	}
	return json.Marshal(payload)
}

type object = map[string]any

const noCommit = "0000000000000000000000000000000000000000"

// old is the commit before, as hosts write it.
func (c *change) old() string {
	if c.before == "" {
		return noCommit
	}
	return c.before
}

func (c *change) githubRepository() object {
	r := c.repository
	return object{
		"id": r.number, "name": r.name[len("acme/"):], "full_name": r.name, "private": true, "default_branch": "main",
		"owner": object{"login": "acme"}, "html_url": "https://github.com/" + r.name,
		"clone_url": r.url(), "ssh_url": "git@github.com:" + r.name + ".git",
	}
}

func (c *change) githubPush() object {
	return object{
		"ref": "refs/heads/" + c.branch, "before": c.old(), "after": c.sha,
		"created": c.before == "", "deleted": false, "forced": false, "base_ref": nil, "commits": []object{},
		"head_commit": object{"id": c.sha, "message": "Change", "timestamp": c.at},
		"repository":  c.githubRepository(),
		"pusher":      object{"name": "mona"}, "sender": object{"login": "mona", "id": 11, "type": "User"},
	}
}

func (c *change) githubPull() object {
	repo := object{"id": c.repository.number, "full_name": c.repository.name}
	return object{
		"action": "opened", "number": mergeNumber, "repository": c.githubRepository(),
		"sender": object{"login": "mona", "id": 11, "type": "User"},
		"pull_request": object{
			"id": c.repository.number, "number": mergeNumber, "state": "open", "title": "Give a discount", "draft": false,
			"merged": false, "user": object{"login": "mona", "id": 11}, "labels": []object{}, "updated_at": c.at,
			"head": object{"ref": sourceBranch, "sha": c.sha, "repo": repo},
			"base": object{"ref": c.branch, "sha": c.old(), "repo": repo},
		},
	}
}

func (c *change) gitlabProject() object {
	r := c.repository
	return object{
		"id": r.number, "name": r.name[len("acme/"):], "path_with_namespace": r.name, "default_branch": "main",
		"visibility_level": 0, "web_url": "https://gitlab.com/" + r.name,
		"git_http_url": r.url(), "git_ssh_url": "git@gitlab.com:" + r.name + ".git",
	}
}

func (c *change) gitlabPush() object {
	return object{
		"object_kind": "push", "event_name": "push", "ref": "refs/heads/" + c.branch,
		"before": c.old(), "after": c.sha, "checkout_sha": c.sha, "user_id": 21, "user_username": "lena",
		"project_id": c.repository.number, "project": c.gitlabProject(), "commits": []object{}, "total_commits_count": 0,
	}
}

func (c *change) gitlabMerge() object {
	return object{
		"object_kind": "merge_request", "event_type": "merge_request", "labels": []object{}, "changes": object{},
		"user": object{"id": 21, "username": "lena"}, "project": c.gitlabProject(),
		"object_attributes": object{
			"id": c.repository.number, "iid": mergeNumber, "title": "Give a discount", "state": "opened", "action": "open",
			"draft": false, "work_in_progress": false, "source_branch": sourceBranch, "target_branch": c.branch,
			"source_project_id": c.repository.number, "target_project_id": c.repository.number, "author_id": 21,
			"updated_at": c.at, "last_commit": object{"id": c.sha, "message": "Give a discount"},
		},
	}
}

func (c *change) giteeProject() object {
	r := c.repository
	return object{
		"id": r.number, "full_name": r.name, "path_with_namespace": r.name, "namespace": "acme", "path": r.name[len("acme/"):],
		"name": r.name[len("acme/"):], "private": true, "default_branch": "main",
		"clone_url": r.url(), "git_http_url": r.url(), "ssh_url": "git@gitee.com:" + r.name + ".git",
		"git_ssh_url": "git@gitee.com:" + r.name + ".git", "html_url": "https://gitee.com/" + r.name,
	}
}

// giteeSigned are the members that Gitee's signature fills in.
func giteeSigned(payload object, hook, delivery string) object {
	payload["hook_id"], payload["hook_name"] = delivery, hook
	payload["password"], payload["timestamp"], payload["sign"] = "", "", ""
	return payload
}

func (c *change) giteePush(delivery string) object {
	wei := object{"name": "wei", "username": "wei", "login": "wei"}
	return giteeSigned(object{
		"ref": "refs/heads/" + c.branch, "before": c.old(), "after": c.sha, "created": c.before == "", "deleted": false,
		"total_commits_count": 1, "commits_more_than_ten": false, "commits": []object{},
		"head_commit": object{"id": c.sha, "message": "Change", "timestamp": c.at},
		"user_id":     31, "user_name": "wei", "pusher": wei, "sender": wei, "repository": c.giteeProject(),
	}, "push_hooks", delivery)
}

func (c *change) giteePull(delivery string) object {
	wei := object{"name": "wei", "username": "wei", "login": "wei"}
	repo := object{"id": c.repository.number}
	same := object{"project": object{"id": c.repository.number, "path_with_namespace": c.repository.name}}
	return giteeSigned(object{
		"action": "open", "action_desc": nil, "number": mergeNumber, "iid": mergeNumber, "title": "Give a discount", "state": "open",
		"source_branch": sourceBranch, "target_branch": c.branch, "source_repo": same, "target_repo": same,
		"author": wei, "sender": wei, "project": c.giteeProject(),
		"pull_request": object{
			"id": c.repository.number, "number": mergeNumber, "title": "Give a discount", "state": "open", "user": wei,
			"labels": []object{}, "merged": false, "updated_at": c.at,
			"head": object{"ref": sourceBranch, "sha": c.sha, "repo": repo},
			"base": object{"ref": c.branch, "sha": c.old(), "repo": repo},
		},
	}, "merge_request_hooks", delivery)
}

func (c *change) giteaRepository() object {
	r := c.repository
	return object{
		"id": r.number, "name": r.name[len("acme/"):], "full_name": r.name, "private": true, "default_branch": "main",
		"owner": object{"id": 510, "login": "acme"}, "html_url": "https://gitea.com/" + r.name,
		"clone_url": r.url(), "ssh_url": "git@gitea.com:" + r.name + ".git",
	}
}

func (c *change) giteaPush() object {
	noor := object{"id": 51, "login": "noor", "username": "noor"}
	return object{
		"ref": "refs/heads/" + c.branch, "before": c.old(), "after": c.sha, "commits": []object{}, "total_commits": 0,
		"head_commit": object{"id": c.sha, "message": "Change\n", "timestamp": c.at},
		"repository":  c.giteaRepository(), "pusher": noor, "sender": noor,
	}
}

func (c *change) giteaPull() object {
	noor := object{"id": 51, "login": "noor", "username": "noor"}
	side := func(ref, sha string) object {
		return object{"label": ref, "ref": ref, "sha": sha, "repo_id": c.repository.number, "repo": c.giteaRepository()}
	}
	return object{
		"action": "opened", "number": mergeNumber, "repository": c.giteaRepository(), "sender": noor, "commit_id": "", "review": nil,
		"pull_request": object{
			"id": c.repository.number, "number": mergeNumber, "state": "open", "title": "Give a discount", "draft": false,
			"merged": false, "user": noor, "labels": []object{}, "updated_at": c.at,
			"head": side(sourceBranch, c.sha), "base": side(c.branch, c.old()),
		},
	}
}

// newID is the id of a new delivery.
func newID() string { return uuid.NewString() }
