package main

import (
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/test/harness"
)

// fields are the members of a JSON object.
type fields map[string]any

const none = "0000000000000000000000000000000000000000"

// hostOf is the kind of host of the harness's connections.
func hostOf(connection string) event.Host {
	switch connection {
	case "gitlab":
		return event.GitLab
	case "gitee":
		return event.Gitee
	case "gitea":
		return event.Gitea
	}
	return event.GitHub
}

// push is a push to a branch as the host of the repository sends it, and the name of
// its event.
func push(r harness.Repository, branch, before, after string) (name string, payload fields) {
	switch hostOf(r.Connection) {
	case event.GitLab:
		return "Push Hook", fields{
			"object_kind": "push", "event_name": "push", "before": before, "after": after, "checkout_sha": after,
			"ref": "refs/heads/" + branch, "user_id": 21, "user_username": "lena", "project_id": r.ID,
			"project": fields{
				"id": r.ID, "path_with_namespace": r.FullName, "web_url": web(r), "git_http_url": r.URL,
				"git_ssh_url": "git@gitlab.com:" + r.FullName + ".git", "default_branch": "main", "visibility_level": 0,
			},
			"commits": []any{}, "total_commits_count": 0,
		}
	case event.Gitee:
		project := fields{
			"id": r.ID, "full_name": r.FullName, "path_with_namespace": r.FullName, "html_url": web(r), "git_http_url": r.URL,
			"clone_url": r.URL, "git_ssh_url": "git@gitee.com:" + r.FullName + ".git", "private": true, "default_branch": "main",
		}
		return "Push Hook", fields{
			"hook_name": "push_hooks", "ref": "refs/heads/" + branch, "before": before, "after": after, "created": before == none, "deleted": false,
			"commits": []any{}, "head_commit": fields{"id": after, "message": "Change\n"},
			"sender": fields{"login": "wei"}, "repository": project, "project": project,
		}
	case event.Gitea:
		return "push", fields{
			"ref": "refs/heads/" + branch, "before": before, "after": after, "commits": []any{}, "total_commits": 0,
			"head_commit": fields{"id": after, "message": "Change\n"},
			"repository": fields{
				"id": r.ID, "full_name": r.FullName, "html_url": web(r), "clone_url": r.URL, "private": true,
				"ssh_url": "git@gitea.com:" + r.FullName + ".git", "default_branch": "main",
			},
			"pusher": fields{"id": 51, "login": "noor"}, "sender": fields{"id": 51, "login": "noor"},
		}
	}
	return "push", fields{
		"ref": "refs/heads/" + branch, "before": before, "after": after, "created": before == none, "deleted": false, "forced": false,
		"commits": []any{}, "head_commit": fields{"id": after, "message": "Change"},
		"repository": fields{
			"id": r.ID, "full_name": r.FullName, "html_url": web(r), "clone_url": r.URL, "private": true,
			"ssh_url": "git@github.com:" + r.FullName + ".git", "default_branch": "main",
		},
		"pusher": fields{"name": "mona"}, "sender": fields{"login": "mona", "id": 11},
	}
}

// web is the address of a repository's page.
func web(r harness.Repository) string { return r.URL[:len(r.URL)-len(".git")] }

// about is the object of a payload that describes its repository.
func about(r harness.Repository, payload fields) fields {
	if repository, found := payload["repository"].(fields); found {
		return repository
	}
	return payload["project"].(fields)
}

// addressMember is the member of that object with the http clone address.
func addressMember(r harness.Repository) string {
	switch hostOf(r.Connection) {
	case event.GitHub, event.Gitea:
		return "clone_url"
	}
	return "git_http_url"
}
