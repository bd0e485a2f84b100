package standin

import (
	"maps"
	"net/http"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
)

// mergedRoutes tell which merge requests a commit came from. Gitee has no such call: its list can be
// asked for the merged ones (giteeListPulls).
func (g *gitHosts) mergedRoutes() []route {
	return []route{
		g.route("GET /api/v3/repos/{owner}/{name}/commits/{sha}/pulls", "github_commit_pulls", githubStyle(), githubCommitPulls),
		g.route("GET /api/v4/projects/{project}/repository/commits/{sha}/merge_requests", "gitlab_commit_merge_requests", gitlabStyle(), gitlabCommitMergeRequests),
		g.route("GET /api/v1/repos/{owner}/{name}/commits/{sha}/pull", "gitea_commit_pull", giteaStyle(), giteaCommitPull),
	}
}

// mergedNumbers are the numbers of the merge requests of a host that are merged, the newest first.
func (g *gitHosts) mergedNumbers(kind string) func() []int {
	return func() []int {
		g.mu.Lock()
		defer g.mu.Unlock()
		var numbers []int
		for _, number := range slices.Backward(slices.Sorted(maps.Keys(g.mergeRequests[kind]))) {
			if g.mergeRequests[kind][number].MergedSHA != "" {
				numbers = append(numbers, number)
			}
		}
		return numbers
	}
}

// mergedAs are the merge requests whose merge made the commit in the path.
func (r hosted) mergedAs(c *call) (numbers []int) {
	for _, number := range r.mergedNumbers() {
		if m, _ := r.about(number); m.MergedSHA == c.http.PathValue("sha") {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

// openWith are the numbers of the open merge requests that are at the commit in the path; before is where
// the host keeps their heads.
func (r hosted) openWith(c *call, before string) (numbers []int) {
	for _, request := range r.requests(c, before) {
		if request.hash.String() == c.http.PathValue("sha") {
			numbers = append(numbers, request.number)
		}
	}
	return numbers
}

// mergedPull is a pull request of GitHub, Gitee or Gitea with what a merge changes of it; merged is the
// host's word for its state then.
func (r hosted) mergedPull(c *call, number int, merged string) map[string]any {
	p := r.proposal(number)
	body := r.pull(c, listedRef{number: number, hash: plumbing.NewHash(p.MergedSHA)})
	body["state"], body["user"], body["merge_commit_sha"] = "closed", p.account(), plumbing.ComputeHash(plumbing.CommitObject, []byte("a test merge")).String()
	if p.MergedSHA == "" {
		body["state"], body["merged_at"] = p.state("open"), nil
		return body
	}
	body["state"], body["merge_commit_sha"], body["merged_at"] = merged, p.MergedSHA, c.updatedAt()
	return body
}

func (r hosted) mergedPulls(c *call, numbers []int, merged string) []map[string]any {
	list := []map[string]any{}
	for _, number := range numbers {
		list = append(list, r.mergedPull(c, number, merged))
	}
	return list
}

// refsOf are numbers as a list in pages has them.
func refsOf(numbers []int) []listedRef {
	list := []listedRef{}
	for _, number := range numbers {
		list = append(list, listedRef{number: number})
	}
	return list
}

func numbersOf(page []listedRef) (numbers []int) {
	for _, ref := range page {
		numbers = append(numbers, ref.number)
	}
	return numbers
}

// githubCommitPulls: the merged one, and those that are open at the commit.
func githubCommitPulls(c *call, r hosted) answer {
	sha := c.http.PathValue("sha")
	switch {
	case r.missing:
		return hostMessage(http.StatusNotFound, githubNotFound)
	case !r.hasCommit(sha):
		return githubInvalid("No commit found for SHA: " + sha)
	}
	return githubAnswer(r.mergedPulls(c, append(r.mergedAs(c), r.openWith(c, "refs/pull/")...), "closed"))
}

// gitlabCommitMergeRequests: a merge commit of its own is not the head that was merged.
func gitlabCommitMergeRequests(c *call, r hosted) answer {
	if r.missing || !r.hasCommit(c.http.PathValue("sha")) {
		return hostMessage(http.StatusNotFound, "404 Commit Not Found")
	}
	list := []map[string]any{}
	for _, number := range append(r.mergedAs(c), r.openWith(c, "refs/merge-requests/")...) {
		p, id := r.proposal(number), repositoryID(r.host, r.name)
		body := map[string]any{
			"id": 4000 + number, "iid": number, "project_id": id, "source_project_id": p.source(id), "target_project_id": id, "title": "Add a discount",
			"state": p.state("opened"), "sha": c.http.PathValue("sha"), "source_branch": p.sourceBranch, "target_branch": mainBranch, "author": p.account(),
			"merge_commit_sha": nil, "squash_commit_sha": nil, "updated_at": c.updatedAt(),
		}
		if p.MergedSHA != "" {
			body["state"], body["merge_commit_sha"] = "merged", p.MergedSHA
			body["sha"] = plumbing.ComputeHash(plumbing.CommitObject, []byte(p.sourceBranch)).String()
		}
		list = append(list, body)
	}
	return ok(list)
}

func giteaCommitPull(c *call, r hosted) answer {
	numbers := r.mergedAs(c)
	if len(numbers) == 0 || r.missing {
		return hostMessage(http.StatusNotFound, giteaNotFound)
	}
	body := r.mergedPull(c, numbers[0], "closed")
	body["merged"] = true
	return ok(body)
}
