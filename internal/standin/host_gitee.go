package standin

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// giteeWrites are Gitee's calls that write, and what belongs to them.
func (g *gitHosts) giteeWrites() []route {
	const repository = "/api/v5/repos/{owner}/{name}"
	style := giteeStyle()
	return []route{
		g.route("POST "+repository+"/check-runs", "gitee_create_check_run", style, g.writes(g.checkRuns(giteeCreateCheckRun))),
		g.route("PATCH "+repository+"/check-runs/{id}", "gitee_update_check_run", style, g.writes(g.checkRuns(giteeUpdateCheckRun))),
		g.route("GET "+repository+"/commits/{sha}/check-runs", "gitee_check_runs", style, g.checkRuns(giteeListCheckRuns)),
		g.route("GET "+repository+"/commits/{sha}", "gitee_commit", style, giteeCommit),
		g.route("GET "+repository+"/pulls/{number}/comments", "gitee_comments", style, giteeListComments),
		g.route("POST "+repository+"/pulls/{number}/comments", "gitee_create_comment", style, g.writes(giteeCreateComment)),
		g.route("PATCH "+repository+"/pulls/comments/{id}", "gitee_edit_comment", style, g.writes(giteeEditComment)),
		g.route("DELETE "+repository+"/pulls/comments/{id}", "gitee_delete_comment", style, g.writes(giteeDeleteComment)),
		g.route("POST "+repository+"/pulls/{number}/labels", "gitee_add_labels", style, g.writes(giteeAddLabels)),
		g.route("DELETE "+repository+"/pulls/{number}/labels/{label}", "gitee_remove_label", style, g.writes(giteeRemoveLabel)),
		g.route("POST "+repository+"/labels", "gitee_create_label", style, g.writes(giteeCreateLabel)),
		g.route("GET "+repository, "gitee_repository", style, giteeRepository),
		g.accountRoute("GET /api/v5/user", "gitee_user", style, giteeUser),
	}
}

// GiteeCheckRuns is whether Gitee takes check runs from the account.
type GiteeCheckRuns string

const (
	// GiteeTakesCheckRuns is the default.
	GiteeTakesCheckRuns GiteeCheckRuns = "taken"
	// GiteeForbidsCheckRuns: 403.
	GiteeForbidsCheckRuns GiteeCheckRuns = "forbidden"
	// GiteeHasNoCheckRuns: 404, as for a call that is not there.
	GiteeHasNoCheckRuns GiteeCheckRuns = "absent"
)

// checkRuns lets a call of check runs pass, or refuses it as the switch says.
func (g *gitHosts) checkRuns(answerTo func(*call, hosted) answer) func(*call, hosted) answer {
	return func(c *call, r hosted) answer {
		switch {
		case g.opts.GiteeCheckRuns == GiteeHasNoCheckRuns:
			return hostMessage(http.StatusNotFound, "404 Not Found")
		case g.opts.GiteeCheckRuns == GiteeForbidsCheckRuns && c.http.Method != http.MethodGet:
			return hostMessage(http.StatusForbidden, "403 Forbidden")
		}
		return answerTo(c, r)
	}
}

// giteeInto changes a check run by a form; the text is what is wrong with it.
func giteeInto(run *hostCheckRun, f url.Values) (wrong string) {
	status, conclusion := f.Get("status"), f.Get("conclusion")
	switch {
	case status != "" && !slices.Contains(runStatuses(), status):
		return "status does not have a valid value"
	case conclusion != "" && !slices.Contains(runConclusions(), conclusion):
		return "conclusion does not have a valid value"
	case status == "completed" && conclusion == "":
		return "conclusion is missing"
	case !f.Has("output[title]") || !f.Has("output[summary]"):
		return "output[title], output[summary] is missing"
	}
	annotation := func(name string) []string { return f["output[annotations]["+name+"][]"] }
	paths, lines, levels, messages := annotation("path"), annotation("start_line"), annotation("annotation_level"), annotation("message")
	if len(lines) != len(paths) || len(levels) != len(paths) || len(messages) != len(paths) || len(annotation("end_line")) != len(paths) {
		return "output[annotations] is invalid"
	}
	for i := range paths {
		line, err := strconv.Atoi(lines[i])
		if err != nil || paths[i] == "" || messages[i] == "" {
			return "output[annotations] is invalid"
		}
		run.annotations = append(run.annotations, HostAnnotation{paths[i], line, levels[i], messages[i]})
	}
	run.title, run.summary, run.detailsURL = f.Get("output[title]"), f.Get("output[summary]"), f.Get("details_url")
	if status != "" {
		run.status, run.conclusion = status, conclusion
	}
	return ""
}

func (run *hostCheckRun) gitee() map[string]any {
	return map[string]any{
		"id": run.id, "name": run.name, "head_sha": run.sha, "status": run.status, "conclusion": run.conclusion, "details_url": run.detailsURL,
		"output": map[string]any{"title": run.title, "summary": run.summary, "annotations_count": len(run.annotations)},
	}
}

func giteeCreateCheckRun(c *call, r hosted) answer {
	f := c.fields()
	sha := f.Get("head_sha")
	switch {
	case f.Get("name") == "" || sha == "":
		return hostMessage(http.StatusBadRequest, "name, head_sha is missing")
	case !r.hasCommit(sha):
		return hostMessage(http.StatusNotFound, "404 Commit Not Found")
	}
	run := &hostCheckRun{host: r.host, repository: r.name, name: f.Get("name"), sha: sha, status: "queued"}
	if wrong := giteeInto(run, f); wrong != "" {
		return hostMessage(http.StatusBadRequest, wrong)
	}
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	run.id = r.reports.id()
	r.reports.runs = append(r.reports.runs, run)
	r.reports.show(run)
	return c.acted(sha, created(run.gitee()))
}

func giteeUpdateCheckRun(c *call, r hosted) answer {
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	run := r.reports.run(r, c.http.PathValue("id"))
	if run == nil || r.missing {
		return hostMessage(http.StatusNotFound, "404 Check Run Not Found")
	}
	if wrong := giteeInto(run, c.fields()); wrong != "" {
		return hostMessage(http.StatusBadRequest, wrong)
	}
	r.reports.show(run)
	return c.acted(run.sha, ok(run.gitee()))
}

func giteeListCheckRuns(c *call, r hosted) answer {
	sha := c.http.PathValue("sha")
	if !r.hasCommit(sha) {
		return hostMessage(http.StatusNotFound, "404 Commit Not Found")
	}
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	list := []map[string]any{}
	for _, run := range r.reports.newestRuns(r, sha, "") {
		list = append(list, run.gitee())
	}
	return ok(map[string]any{"total_count": len(list), "check_runs": list})
}

func giteeCommit(c *call, r hosted) answer {
	sha := c.http.PathValue("sha")
	if !r.hasCommit(sha) {
		return hostMessage(http.StatusNotFound, "404 Commit Not Found")
	}
	return ok(map[string]any{"sha": sha, "url": "https://gitee.com/api/v5/repos/" + r.name + "/commits/" + sha})
}

const giteeRefs = "refs/pull/%d/head"

func (c *HostComment) gitee() map[string]any {
	return c.times(map[string]any{
		"id": c.ID, "body": c.Text, "user": c.writer("name"), "comment_type": "pr_comment", "html_url": c.on("https://gitee.com", "pulls") + "#note_" + itoa(c.ID),
	}, beijing(), time.RFC3339)
}

func giteeListComments(c *call, r hosted) answer {
	number, _, found := r.mergeRequest(c, giteeRefs)
	page, pageOK := c.number("page", 1, 1, 1<<20)
	perPage, perPageOK := c.number("per_page", 20, 1, 100)
	if !found || !pageOK || !perPageOK {
		return hostMessage(http.StatusNotFound, "404 Pull Request Not Found")
	}
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	list := []map[string]any{}
	for _, comment := range r.reports.pageOf(r, number, page, perPage) {
		list = append(list, comment.gitee())
	}
	return ok(list)
}

func giteeCreateComment(c *call, r hosted) answer {
	number, _, found := r.mergeRequest(c, giteeRefs)
	body := c.fields().Get("body")
	switch {
	case !found:
		return hostMessage(http.StatusNotFound, "404 Pull Request Not Found")
	case body == "":
		return hostMessage(http.StatusBadRequest, "body is missing")
	}
	return c.acted("", created(r.reports.addComment(r, number, body).gitee()))
}

func giteeEditComment(c *call, r hosted) answer {
	body := c.fields().Get("body")
	if body == "" {
		return hostMessage(http.StatusBadRequest, "body is missing")
	}
	edited, refusal := r.editComment(c, body, hostMessage(http.StatusNotFound, "404 Note Not Found"), "403 Forbidden")
	if edited == nil {
		return refusal
	}
	return c.acted("", ok(map[string]any{"id": edited["id"], "body": body, "user": map[string]any{"id": r.author()}}))
}

func giteeDeleteComment(c *call, r hosted) answer {
	return r.deleteComment(c, hostMessage(http.StatusNotFound, "404 Note Not Found"))
}

// labelKey names a repository among the labels.
func (r hosted) labelKey() string { return r.host + " " + strings.ToLower(r.name) }

// giteeAddLabels takes an array of names, all of which the repository must have.
func giteeAddLabels(c *call, r hosted) answer {
	number, head, found := r.mergeRequest(c, giteeRefs)
	var names []string
	switch {
	case !found:
		return hostMessage(http.StatusNotFound, "404 Pull Request Not Found")
	case json.Unmarshal(c.body, &names) != nil || len(names) == 0:
		return hostMessage(http.StatusBadRequest, "body is invalid")
	}
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	for _, name := range names {
		if !slices.Contains(r.reports.repositoryLabels[r.labelKey()], name) {
			return hostMessage(http.StatusNotFound, "404 Label Not Found")
		}
	}
	labels := r.reports.labelsOf(r, number)
	for _, name := range names {
		if !slices.Contains(labels.Labels, name) {
			labels.Labels = append(labels.Labels, name)
		}
	}
	return c.acted(head.String(), created(giteeLabels(labels.Labels)))
}

// giteeLabels are those of a merge request, as it shows them.
func (r hosted) giteeLabels(number int) []map[string]any {
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	return giteeLabels(r.reports.labelsOf(r, number).Labels)
}

func giteeLabels(names []string) []map[string]any {
	list := []map[string]any{}
	for i, name := range names {
		list = append(list, map[string]any{"id": 600 + i, "name": name, "color": "2E7D32"})
	}
	return list
}

func giteeRemoveLabel(c *call, r hosted) answer {
	number, head, found := r.mergeRequest(c, giteeRefs)
	if !found {
		return hostMessage(http.StatusNotFound, "404 Pull Request Not Found")
	}
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	labels := r.reports.labelsOf(r, number)
	at := slices.Index(labels.Labels, c.http.PathValue("label"))
	if at < 0 {
		return hostMessage(http.StatusNotFound, "404 Label Not Found")
	}
	labels.Labels = slices.Delete(labels.Labels, at, at+1)
	return c.acted(head.String(), answer{status: http.StatusNoContent})
}

func giteeCreateLabel(c *call, r hosted) answer {
	name, color := c.fields().Get("name"), c.fields().Get("color")
	if name == "" || len(color) != 6 {
		return hostMessage(http.StatusBadRequest, "name, color is missing")
	}
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	if slices.Contains(r.reports.repositoryLabels[r.labelKey()], name) {
		return hostMessage(http.StatusBadRequest, "the label exists")
	}
	r.reports.repositoryLabels[r.labelKey()] = append(r.reports.repositoryLabels[r.labelKey()], name)
	return c.acted("", created(map[string]any{"id": 600, "name": name, "color": color}))
}

func giteeRepository(_ *call, r hosted) answer {
	if r.missing {
		return hostMessage(http.StatusNotFound, "404 Project Not Found")
	}
	return ok(map[string]any{
		"id": repositoryID(r.host, r.name), "full_name": r.name, "path": r.name, "private": false, "default_branch": mainBranch,
		"permission": map[string]bool{"pull": true, "push": !r.readsOnly, "admin": false},
	})
}

func giteeUser(*call, hosted) answer {
	return ok(map[string]any{"id": hostAccount, "login": hostAccountName})
}
