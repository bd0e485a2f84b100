package standin

import (
	"cmp"
	"hash/fnv"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// listRoutes are the lists of branches and of open merge requests.
func (g *gitHosts) listRoutes() []route {
	const (
		github = "GET /api/v3/repos/{owner}/{name}"
		gitlab = "GET /api/v4/projects/{project}"
		gitee  = "GET /api/v5/repos/{owner}/{name}"
		gitea  = "GET /api/v1/repos/{owner}/{name}"
	)
	return []route{
		g.route(github+"/branches", "github_branches", githubStyle(), githubListBranches),
		g.route(github+"/pulls", "github_pulls", githubStyle(), githubListPulls),
		g.route(gitlab+"/repository/branches", "gitlab_branches", gitlabStyle(), gitlabListBranches),
		g.route(gitlab+"/merge_requests", "gitlab_merge_requests", gitlabStyle(), gitlabListMergeRequests),
		g.route(gitee+"/branches", "gitee_branches", giteeStyle(), giteeListBranches),
		g.route(gitee+"/pulls", "gitee_pulls", giteeStyle(), giteeListPulls),
		g.route(gitea+"/branches", "gitea_branches", giteaStyle(), giteaListBranches),
		g.route(gitea+"/pulls", "gitea_pulls", giteaStyle(), giteaListPulls),
	}
}

// repositoryID is a host's number of a repository.
func repositoryID(host, name string) int64 {
	first := map[string]int64{"github": 1001, "gitlab": 3001, "gitee": 5001, "gitea": 5101}[host]
	if strings.EqualFold(name, "acme/shop") {
		return first
	}
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(strings.ToLower(name))) // never fails
	return first + 10_000 + int64(sum.Sum32()%1_000_000)*10
}

// listedRef is a branch, or a merge request with its number.
type listedRef struct {
	name   string
	number int
	hash   plumbing.Hash
}

// branches are the repository's, by name.
func (r hosted) branches(c *call) []listedRef { return r.listed(c, "refs/heads/", "") }

// requests are the merge requests that are open, the newest first; before is where the host keeps
// their heads.
func (r hosted) requests(c *call, before string) []listedRef {
	list := slices.DeleteFunc(r.listed(c, before, "/head"), func(request listedRef) bool { return r.proposal(request.number).MergedSHA != "" })
	slices.Reverse(list)
	return list
}

func (r hosted) listed(c *call, before, after string) []listedRef {
	refs, err := r.References()
	if err != nil {
		return nil
	}
	list := []listedRef{}
	_ = refs.ForEach(func(ref *plumbing.Reference) error {
		name, isBefore := strings.CutPrefix(ref.Name().String(), before)
		name, isAfter := strings.CutSuffix(name, after)
		if !isBefore || !isAfter {
			return nil
		}
		if hash, there := r.ref(c, ref.Name().String()); there {
			number, _ := strconv.Atoi(name) // a branch has none
			list = append(list, listedRef{name, number, hash})
		}
		return nil
	})
	c.entry.Ref = ""
	slices.SortFunc(list, func(a, b listedRef) int {
		return cmp.Or(cmp.Compare(a.number, b.number), strings.Compare(a.name, b.name))
	})
	return list
}

// source is the branch that a merge request would merge: the one that has its commit.
func (r hosted) source(c *call, hash plumbing.Hash) string {
	for _, branch := range r.branches(c) {
		if branch.hash == hash && branch.name != mainBranch {
			return branch.name
		}
	}
	return featureBranch
}

// updatedAt is when a merge request was changed: now, because its commit is older than a webhook may be.
func (c *call) updatedAt() string { return c.entry.Time.UTC().Format("2006-01-02T15:04:05Z") }

// refPage answers with a page of a list, as a host does that takes at most most at once.
func refPage(c *call, list []listedRef, perPageName string, most int, answerTo func(page []listedRef, number int, more bool) answer) answer {
	page, pageOK := c.number("page", 1, 1, 1<<20)
	perPage, perPageOK := c.number(perPageName, 30, 1, 1<<20)
	if !pageOK || !perPageOK {
		return hostMessage(http.StatusBadRequest, "page is invalid")
	}
	perPage = min(perPage, most)
	first := min((page-1)*perPage, len(list))
	last := min(first+perPage, len(list))
	return answerTo(list[first:last], page, last < len(list))
}

// githubPage is a page with the header that names the next one.
func githubPage(c *call, body any, number int, more bool) answer {
	a := githubAnswer(body)
	if more {
		a = a.with("Link", c.next("page", strconv.Itoa(number+1)))
	}
	return a
}

func githubListBranches(c *call, r hosted) answer {
	if r.missing {
		return hostMessage(http.StatusNotFound, githubNotFound)
	}
	return refPage(c, r.branches(c), "per_page", 100, func(page []listedRef, number int, more bool) answer {
		list := []map[string]any{}
		for _, b := range page {
			list = append(list, map[string]any{"name": b.name, "protected": b.name == mainBranch, "commit": map[string]any{"sha": b.hash.String(), "url": ""}})
		}
		return githubPage(c, list, number, more)
	})
}

// pull is a pull request as GitHub, Gitee and Gitea list it.
func (r hosted) pull(c *call, request listedRef) map[string]any {
	repository := map[string]any{"id": repositoryID(r.host, r.name), "full_name": r.name}
	return map[string]any{
		"id": 2000 + request.number, "number": request.number, "state": "open", "title": "Add a discount", "draft": false, "updated_at": c.updatedAt(),
		"user": map[string]any{"id": 61, "login": "ada"}, "labels": []any{},
		"head": map[string]any{"ref": r.source(c, request.hash), "sha": request.hash.String(), "repo": repository},
		"base": map[string]any{"ref": mainBranch, "sha": plumbing.ZeroHash.String(), "repo": repository},
	}
}

func (r hosted) pulls(c *call, requests []listedRef) []map[string]any {
	list := []map[string]any{}
	for _, request := range requests {
		list = append(list, r.pull(c, request))
	}
	return list
}

func githubListPulls(c *call, r hosted) answer {
	if r.missing {
		return hostMessage(http.StatusNotFound, githubNotFound)
	}
	if c.query("state") == "closed" {
		return refPage(c, refsOf(r.mergedNumbers()), "per_page", 100, func(page []listedRef, number int, more bool) answer {
			return githubPage(c, r.mergedPulls(c, numbersOf(page), "closed"), number, more)
		})
	}
	return refPage(c, r.requests(c, "refs/pull/"), "per_page", 100, func(page []listedRef, number int, more bool) answer {
		return githubPage(c, r.pulls(c, page), number, more)
	})
}

func gitlabListBranches(c *call, r hosted) answer {
	if r.missing {
		return hostMessage(http.StatusNotFound, "404 Project Not Found")
	}
	return refPage(c, r.branches(c), "per_page", 100, func(page []listedRef, number int, more bool) answer {
		list := []map[string]any{}
		for _, b := range page {
			list = append(list, map[string]any{"name": b.name, "merged": false, "protected": b.name == mainBranch, "default": b.name == mainBranch, "commit": r.gitlabCommit(b.hash)})
		}
		return gitlabPage(ok(list), number, more)
	})
}

func gitlabListMergeRequests(c *call, r hosted) answer {
	if r.missing {
		return hostMessage(http.StatusNotFound, "404 Project Not Found")
	}
	return refPage(c, r.requests(c, "refs/merge-requests/"), "per_page", 100, func(page []listedRef, number int, more bool) answer {
		list := []map[string]any{}
		for _, request := range page {
			list = append(list, map[string]any{
				"id": 4000 + request.number, "iid": request.number, "project_id": repositoryID(r.host, r.name), "state": "opened", "title": "Add a discount", "draft": false, "work_in_progress": false,
				"sha": request.hash.String(), "source_branch": r.source(c, request.hash), "target_branch": mainBranch, "labels": []string{},
				"source_project_id": repositoryID(r.host, r.name), "target_project_id": repositoryID(r.host, r.name), "updated_at": c.updatedAt(), "author": map[string]any{"id": 61, "username": "ada"},
			})
		}
		return gitlabPage(ok(list), number, more)
	})
}

func giteeListBranches(c *call, r hosted) answer {
	if r.missing {
		return hostMessage(http.StatusNotFound, "404 Project Not Found")
	}
	return refPage(c, r.branches(c), "per_page", 100, func(page []listedRef, _ int, _ bool) answer {
		list := []map[string]any{}
		for _, b := range page {
			list = append(list, map[string]any{"name": b.name, "protected": false, "commit": map[string]any{"sha": b.hash.String(), "url": ""}})
		}
		return ok(list)
	})
}

func giteeListPulls(c *call, r hosted) answer {
	if r.missing {
		return hostMessage(http.StatusNotFound, "404 Project Not Found")
	}
	if c.query("state") == "merged" {
		return refPage(c, refsOf(r.mergedNumbers()), "per_page", 100, func(page []listedRef, _ int, _ bool) answer {
			return ok(r.mergedPulls(c, numbersOf(page), "merged"))
		})
	}
	return refPage(c, r.requests(c, "refs/pull/"), "per_page", 100, func(page []listedRef, _ int, _ bool) answer { return ok(r.pulls(c, page)) })
}

// giteaListBranches: a page has no more than 50, whatever is asked for.
func giteaListBranches(c *call, r hosted) answer {
	if r.missing {
		return hostMessage(http.StatusNotFound, giteaNotFound)
	}
	return refPage(c, r.branches(c), "limit", 50, func(page []listedRef, _ int, _ bool) answer {
		list := []map[string]any{}
		for _, b := range page {
			list = append(list, map[string]any{"name": b.name, "protected": false, "commit": r.giteaCommit(b.hash)})
		}
		return ok(list)
	})
}

func giteaListPulls(c *call, r hosted) answer {
	if r.missing {
		return hostMessage(http.StatusNotFound, giteaNotFound)
	}
	return refPage(c, r.requests(c, "refs/pull/"), "limit", 50, func(page []listedRef, _ int, _ bool) answer { return ok(r.pulls(c, page)) })
}
