package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

type fields map[string]any

// userLinks and repositoryLinks are what GitHub's users and repositories link to,
// in each of the many places of a payload where they stand.
var (
	userLinks = strings.Fields(`followers following/{/other_user} gists/{/gist_id} starred/{/owner}{/repo}
		subscriptions orgs repos events/{/privacy} received_events`)
	repositoryLinks = strings.Fields(`forks keys/{/key_id} collaborators/{/collaborator} teams hooks issues/events/{/number}
		events assignees/{/user} branches/{/branch} tags git/blobs/{/sha} git/tags/{/sha} git/refs/{/sha} git/trees/{/sha}
		statuses/{sha} languages stargazers contributors subscribers subscription commits/{/sha} git/commits/{/sha}
		comments/{/number} issues/comments/{/number} contents/{+path} compare/{base}...{head} merges {archive_format}{/ref}
		downloads issues/{/number} pulls/{/number} milestones/{/number} notifications{?since,all,participating}
		labels/{/name} releases/{/id} deployments`)
)

func links(base string, paths []string) fields {
	object := fields{}
	for _, path := range paths {
		name := strings.Trim(strings.NewReplacer("/", "_", "{", "", "}", "", ".", "", "?", "_", "+", "", ",", "_").Replace(path), "_")
		object[name+"_url"] = base + "/" + path
	}
	return object
}

func githubUser(login string, id int) fields {
	user := links("https://api.github.com/users/"+login, userLinks)
	user["login"], user["id"], user["type"], user["site_admin"] = login, id, "User", false
	user["node_id"], user["avatar_url"] = fmt.Sprintf("MDQ6VXNlcj%08d", id), fmt.Sprintf("https://avatars1.githubusercontent.com/u/%d?v=4", id)
	user["url"], user["html_url"] = "https://api.github.com/users/"+login, "https://github.com/"+login
	return user
}

func githubRepository(name string) fields {
	full := "acme/" + name
	r := links("https://api.github.com/repos/"+full, repositoryLinks)
	r["id"], r["node_id"], r["name"], r["full_name"], r["private"] = 135493233, "MDEwOlJlcG9zaXRvcnkxMzU0OTMyMzM=", name, full, true
	r["owner"], r["description"], r["default_branch"] = githubUser("acme", 21031067), "The service behind the shop: carts, discounts and orders.", "main"
	r["html_url"], r["clone_url"], r["git_url"] = "https://github.com/"+full, "https://github.com/"+full+".git", "git://github.com/"+full+".git"
	r["ssh_url"], r["svn_url"] = "git@github.com:"+full+".git", "https://github.com/"+full
	r["created_at"], r["updated_at"], r["pushed_at"] = "2018-05-30T20:18:04Z", "2018-05-30T20:18:50Z", now()
	r["size"], r["stargazers_count"], r["watchers_count"], r["forks_count"], r["open_issues_count"] = 512, 12, 12, 3, 1
	r["has_issues"], r["has_projects"], r["has_wiki"], r["has_pages"], r["archived"], r["disabled"] = true, true, true, false, false, false
	return r
}

// now is a host's time of a change that was just made.
func now() string { return time.Now().UTC().Format(time.RFC3339) }

// description is a text of about 4 KB.
func description() string {
	var b strings.Builder
	for i := range 48 {
		fmt.Fprintf(&b, "%d. An order of %d or more gets a discount of %d per cent, and its tests say so.\n", i+1, 100+37*i, 3+i%7)
	}
	return b.String()
}

// pullRequest is GitHub's delivery of an opened pull request, as large as they are:
// about 24 KB.
func pullRequest(repository, head string, number int) []byte {
	side := func(ref, sha string) fields {
		return fields{"label": "acme:" + ref, "ref": ref, "sha": sha, "user": githubUser("acme", 21031067), "repo": githubRepository(repository)}
	}
	at := now()
	request := links(fmt.Sprintf("https://api.github.com/repos/acme/%s/pulls/%d", repository, number),
		strings.Fields("commits comments review_comments statuses issue diff patch"))
	request["number"], request["id"], request["state"], request["locked"], request["draft"] = number, 191568743+number, "open", false, false
	request["title"], request["user"], request["body"] = "Add a discount", githubUser("mona", 583231), description()
	request["created_at"], request["updated_at"], request["closed_at"], request["merged_at"] = at, at, nil, nil
	request["assignees"], request["requested_reviewers"], request["labels"] = []any{githubUser("lena", 583232)}, []any{githubUser("wei", 583233)}, []any{}
	request["head"], request["base"] = side("feature/discount", head), side("main", "1111111111111111111111111111111111111111")
	request["author_association"], request["merged"], request["mergeable"], request["mergeable_state"] = "CONTRIBUTOR", false, nil, "unknown"
	request["comments"], request["commits"], request["additions"], request["deletions"], request["changed_files"] = 0, 1, 120, 14, 5
	return marshal(fields{
		"action": "opened", "number": number, "pull_request": request,
		"repository": githubRepository(repository), "sender": githubUser("mona", 583231),
	})
}

// placeholder is used in a payload for a commit, and for the end of its branch's name.
const placeholder = "0000000000000000000000000000000000c0ffee"

// branchPush is GitHub's delivery of the first push to a branch, as large as they are:
// about 7 KB.
func branchPush(repository string) []byte {
	person := fields{"name": "Mona", "email": "mona@example.com", "username": "mona"}
	commit := fields{
		"id": placeholder, "tree_id": placeholder, "distinct": true, "message": "Add a discount", "timestamp": "2018-05-30T20:18:30Z",
		"url": "https://github.com/acme/" + repository + "/commit/" + placeholder, "author": person, "committer": person,
		"added": []any{"discount.go", "discount_test.go"}, "removed": []any{}, "modified": []any{"cart.go", "order.go"},
	}
	return marshal(fields{
		"ref": "refs/heads/topic-" + placeholder, "before": strings.Repeat("0", 40), "after": placeholder,
		"created": true, "deleted": false, "forced": false, "base_ref": nil,
		"compare": "https://github.com/acme/" + repository + "/compare/topic-" + placeholder,
		"commits": []any{commit}, "head_commit": commit, "repository": githubRepository(repository),
		"pusher": person, "sender": githubUser("mona", 583231),
	})
}

// push is GitHub's delivery of the last push to a branch.
func (b *branch) push(before string) []byte {
	full := "acme/" + b.repository
	return marshal(fields{
		"ref": "refs/heads/" + b.name, "before": before, "after": b.head(b.pushes),
		"created": false, "deleted": false, "forced": false, "commits": []any{},
		"repository": fields{
			"id": b.id, "name": b.repository, "full_name": full, "private": true, "owner": fields{"login": "acme"},
			"clone_url": "https://github.com/" + full + ".git", "ssh_url": "git@github.com:" + full + ".git", "default_branch": "main",
		},
		"pusher": fields{"name": "mona"}, "sender": fields{"login": "mona", "id": 11},
	})
}

func marshal(object fields) []byte {
	text, err := json.Marshal(object)
	if err != nil {
		// Texts, numbers and booleans always marshal.
		panic("marshal payload: " + err.Error())
	}
	return text
}
