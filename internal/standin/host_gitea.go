package standin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// giteaNotFound is what Gitea says of anything that is not there, a repository too.
const giteaNotFound = "The target couldn't be found."

func giteaStyle() hostStyle {
	return hostStyle{"gitea", "Authorization", "token ", "user does not exist [uid: 0, name: ]", giteaNotFound, "user should have a permission to write to a repo", false, false}
}

// giteaBranch: the name keeps its slashes in the path.
func giteaBranch(c *call, r hosted) answer {
	name := c.http.PathValue("branch")
	hash, found := r.ref(c, "refs/heads/"+name)
	if !found {
		return hostMessage(http.StatusNotFound, giteaNotFound)
	}
	return ok(map[string]any{"name": name, "protected": false, "user_can_push": true, "user_can_merge": true, "commit": r.giteaCommit(hash)})
}

func (r hosted) giteaCommit(hash plumbing.Hash) map[string]any {
	commit := map[string]any{"id": hash.String()}
	if found, err := r.CommitObject(hash); err == nil {
		commit["message"], commit["timestamp"] = found.Message, found.Committer.When.UTC()
		commit["author"] = map[string]any{"name": found.Author.Name, "email": found.Author.Email, "username": ""}
	}
	return commit
}

// giteaRefs answers with every ref whose name begins as asked: with that one alone when there
// is no other, and with a list otherwise.
func giteaRefs(c *call, r hosted) answer {
	wanted := "refs/" + c.http.PathValue("ref")
	all, err := r.References()
	if err != nil {
		return hostMessage(http.StatusInternalServerError, "list refs")
	}
	var names []string
	err = all.ForEach(func(ref *plumbing.Reference) error {
		if name := ref.Name().String(); strings.HasPrefix(name, wanted) {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		return hostMessage(http.StatusInternalServerError, "list refs")
	}
	slices.Sort(names)
	refs := []map[string]any{}
	for _, name := range names {
		if hash, found := r.ref(c, name); found {
			object := map[string]any{"type": r.objectType(hash), "sha": hash.String(), "url": ""}
			refs = append(refs, map[string]any{"ref": name, "url": "", "object": object})
		}
	}
	c.entry.Ref = wanted
	switch {
	case len(refs) == 0:
		return hostMessage(http.StatusNotFound, giteaNotFound)
	case len(refs) == 1 && refs[0]["ref"] == wanted:
		return ok(refs[0])
	}
	return ok(refs)
}

// giteaTag: the object of an annotated tag is its commit, also of a tag of a tag.
func giteaTag(c *call, r hosted) answer {
	tag, err := r.TagObject(plumbing.NewHash(c.http.PathValue("sha")))
	if err != nil || r.missing {
		return hostMessage(http.StatusBadRequest, "object does not exist [id: "+c.http.PathValue("sha")+", rel_path: ]")
	}
	return ok(map[string]any{
		"tag": tag.Name, "sha": tag.Hash.String(), "message": tag.Message, "tagger": signature(tag.Tagger),
		"object": map[string]any{"type": "commit", "sha": r.peel(tag.Hash).String(), "url": ""},
	})
}

func giteaPull(c *call, r hosted) answer {
	number, head, found := r.mergeRequest(c, "refs/pull/%d/head")
	if !found {
		return hostMessage(http.StatusNotFound, giteaNotFound)
	}
	p := r.proposal(number)
	label, ref := p.sourceBranch, p.sourceBranch
	if p.WithoutBranch {
		label, ref = "", fmt.Sprintf("refs/pull/%d/head", number)
	}
	return ok(map[string]any{
		"id": 8000 + number, "number": number, "state": p.state("open"), "draft": false, "mergeable": true, "merged": false,
		"merge_commit_sha": nil, "user": p.account(),
		"head": map[string]any{"label": label, "ref": ref, "sha": head.String(), "repo_id": p.source(5101), "repo": p.repository(5101, r.name)},
		"base": map[string]any{"label": mainBranch, "ref": mainBranch, "repo_id": 5101},
	})
}

func giteaLanguages(c *call, r hosted) answer { return ok(r.languageSizes(c)) }

// giteaWrites are Gitea's calls that write, and what belongs to them.
func (g *gitHosts) giteaWrites() []route {
	const repository = "/api/v1/repos/{owner}/{name}"
	style := giteaStyle()
	return []route{
		g.route("POST "+repository+"/statuses/{sha}", "gitea_create_status", style, g.writes(giteaCreateStatus)),
		g.route("GET "+repository+"/git/commits/{sha}", "gitea_commit", style, giteaGetCommit),
		g.route("GET "+repository+"/issues/{number}/comments", "gitea_comments", style, giteaListComments),
		g.route("POST "+repository+"/issues/{number}/comments", "gitea_create_comment", style, g.writes(giteaCreateComment)),
		g.route("PATCH "+repository+"/issues/comments/{id}", "gitea_edit_comment", style, g.writes(giteaEditComment)),
		g.route("DELETE "+repository+"/issues/comments/{id}", "gitea_delete_comment", style, g.writes(giteaDeleteComment)),
		g.route("GET "+repository, "gitea_repository", style, giteaRepository),
		g.accountRoute("GET /api/v1/user", "gitea_user", style, giteaUser),
	}
}

// giteaFailed is how Gitea answers for a commit or a pull request that it does not have, where it
// does not look for it first.
func giteaFailed(what string) answer {
	return hostMessage(http.StatusInternalServerError, what+" does not exist")
}

func giteaCreateStatus(c *call, r hosted) answer {
	sha, f := c.http.PathValue("sha"), c.fields()
	switch {
	case !r.hasCommit(sha):
		return giteaFailed("GetCommit[" + sha + "]: object")
	case !slices.Contains([]string{"pending", "success", "error", "failure", "warning"}, f.Get("state")):
		return hostMessage(http.StatusInternalServerError, "CommitStatusState: invalid")
	}
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	// Without a context it is "default", and texts are trimmed.
	name := strings.TrimSpace(f.Get("context"))
	if name == "" {
		name = "default"
	}
	status := r.reports.status(r.host, r.name, sha, name)
	status.write(f.Get("state"), strings.TrimSpace(f.Get("description")), strings.TrimSpace(f.Get("target_url")))
	return c.acted(sha, created(map[string]any{
		"id": r.reports.id(), "status": status.State, "context": name, "description": status.Description, "target_url": status.URL,
		"creator": map[string]any{"id": hostAccount, "login": hostAccountName},
	}))
}

func giteaGetCommit(c *call, r hosted) answer {
	sha := c.http.PathValue("sha")
	if !r.hasCommit(sha) {
		return hostMessage(http.StatusNotFound, giteaNotFound)
	}
	return ok(map[string]any{"sha": sha, "url": "", "commit": r.giteaCommit(plumbing.NewHash(sha))})
}

func (c *HostComment) gitea() map[string]any {
	return c.times(map[string]any{
		"id": c.ID, "body": c.Text, "user": c.writer("username"), "pull_request_url": c.on("https://gitea.com", "pulls"), "issue_url": "",
	}, time.UTC, time.RFC3339)
}

// giteaListComments has no pages.
func giteaListComments(c *call, r hosted) answer {
	number, _, found := r.mergeRequest(c, "refs/pull/%d/head")
	if !found {
		return giteaFailed("issue")
	}
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	list := []map[string]any{}
	for _, comment := range r.reports.pageOf(r, number, 1, 1<<20) {
		list = append(list, comment.gitea())
	}
	return ok(list)
}

func giteaCreateComment(c *call, r hosted) answer {
	number, _, found := r.mergeRequest(c, "refs/pull/%d/head")
	body := c.fields().Get("body")
	switch {
	case body == "":
		return hostMessage(http.StatusUnprocessableEntity, "[Body]: Required")
	case !found:
		return giteaFailed("issue")
	}
	return c.acted("", created(r.reports.addComment(r, number, body).gitea()))
}

// giteaEditComment: somebody else's comment is refused without a word.
func giteaEditComment(c *call, r hosted) answer {
	body := c.fields().Get("body")
	if body == "" {
		return hostMessage(http.StatusUnprocessableEntity, "[Body]: Required")
	}
	edited, refusal := r.editComment(c, body, hostMessage(http.StatusNotFound, giteaNotFound), "")
	if edited == nil {
		return refusal
	}
	return c.acted("", ok(map[string]any{"id": edited["id"], "body": body, "user": map[string]any{"id": r.author()}}))
}

func giteaDeleteComment(c *call, r hosted) answer {
	return r.deleteComment(c, hostMessage(http.StatusNotFound, giteaNotFound))
}

func giteaRepository(_ *call, r hosted) answer {
	if r.missing {
		return hostMessage(http.StatusNotFound, giteaNotFound)
	}
	return ok(map[string]any{
		"id": repositoryID(r.host, r.name), "full_name": r.name, "private": false, "default_branch": mainBranch,
		"permissions": map[string]bool{"admin": !r.readsOnly, "push": !r.readsOnly, "pull": true},
	})
}

func giteaUser(*call, hosted) answer {
	return ok(map[string]any{"id": hostAccount, "login": hostAccountName, "username": hostAccountName})
}

// giteaPullFiles: a page has no more than 50 files, whatever is asked for.
func giteaPullFiles(c *call, r hosted) answer {
	list, found := r.mergeRequestFiles(c, "refs/pull/%d/head", 1<<20)
	page, pageOK := c.number("page", 1, 1, 1<<20)
	limit, limitOK := c.number("limit", 30, 1, 1<<20)
	if !found || !pageOK || !limitOK {
		return hostMessage(http.StatusNotFound, giteaNotFound)
	}
	limit = min(limit, 50)
	files := []map[string]any{}
	first := min((page-1)*limit, len(list.listed))
	for _, f := range list.listed[first:min(first+limit, len(list.listed))] {
		status := map[string]string{"added": "added", "removed": "deleted", "renamed": "renamed", "modified": "changed"}[f.status]
		file := map[string]any{"filename": f.path, "status": status, "additions": 1, "deletions": 0, "changes": 1}
		if f.status == "renamed" {
			file["previous_filename"] = f.old
		}
		files = append(files, file)
	}
	return ok(files)
}
