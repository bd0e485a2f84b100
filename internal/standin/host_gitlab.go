package standin

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// gitlabWrites are GitLab's calls that write, and what belongs to them.
func (g *gitHosts) gitlabWrites() []route {
	const project = "/api/v4/projects/{project}"
	style := gitlabStyle()
	return []route{
		g.route("POST "+project+"/statuses/{sha}", "gitlab_create_status", style, g.writes(gitlabCreateStatus)),
		g.route("GET "+project+"/repository/commits/{sha}/statuses", "gitlab_statuses", style, gitlabListStatuses),
		g.route("GET "+project+"/merge_requests/{number}/notes", "gitlab_notes", style, gitlabListNotes),
		g.route("POST "+project+"/merge_requests/{number}/notes", "gitlab_create_note", style, g.writes(gitlabCreateNote)),
		g.route("PUT "+project+"/merge_requests/{number}/notes/{id}", "gitlab_edit_note", style, g.writes(gitlabEditNote)),
		g.route("DELETE "+project+"/merge_requests/{number}/notes/{id}", "gitlab_delete_note", style, g.writes(gitlabDeleteNote)),
		g.route("GET "+project, "gitlab_project", style, gitlabProject),
		g.accountRoute("GET /api/v4/user", "gitlab_user", style, gitlabUser),
		g.accountRoute("GET /api/v4/personal_access_tokens/self", "gitlab_token", style, gitlabToken),
	}
}

// gitlabJob is one commit status. One that has not ended takes what comes next; after its end there
// is a new one (specs/githosts.md 2.5).
type gitlabJob struct {
	id, pipeline                   int64
	project, sha, ref, name, state string
	description, target            string
}

func (j *gitlabJob) open() bool { return j.state == "pending" || j.state == "running" }

func (j *gitlabJob) json() map[string]any {
	return map[string]any{
		"id": j.id, "sha": j.sha, "ref": j.ref, "status": j.state, "name": j.name, "target_url": j.target, "description": j.description,
		"pipeline_id": j.pipeline, "allow_failure": false, "coverage": nil, "created_at": "2026-01-05T10:00:00.000Z", "started_at": nil, "finished_at": nil,
		"author": map[string]any{"id": hostAccount, "username": hostAccountName},
	}
}

func gitlabCreateStatus(c *call, r hosted) answer {
	sha, f := c.http.PathValue("sha"), c.fields()
	name := f.Get("name")
	if name == "" {
		name = f.Get("context")
	}
	if name == "" {
		name = "default"
	}
	state, ref := f.Get("state"), f.Get("ref")
	switch {
	case !r.hasCommit(sha):
		return hostMessage(http.StatusNotFound, "404 Commit Not Found")
	case !slices.Contains([]string{"pending", "running", "success", "failed", "canceled", "skipped"}, state):
		return hostMessage(http.StatusBadRequest, "state does not have a valid value")
	case f.Get("target_url") != "" && !isWebURL(f.Get("target_url")):
		return hostMessage(http.StatusBadRequest, "target_url is blocked: Only allowed schemes are http, https")
	}
	if ref == "" {
		ref = mainBranch
	}
	h := r.reports
	h.mu.Lock()
	defer h.mu.Unlock()
	pipeline, refusal := h.gitlabPipeline(r, sha, ref, f.Get("pipeline_id"))
	if pipeline == 0 {
		return refusal
	}
	var job *gitlabJob
	for _, known := range h.jobs {
		if known.pipeline == pipeline && known.ref == ref && known.name == name && known.open() {
			job = known
		}
	}
	if job == nil {
		job = &gitlabJob{id: h.id(), pipeline: pipeline, project: r.name, sha: sha, ref: ref, name: name}
		h.jobs = append(h.jobs, job)
	}
	event := map[string]string{"pending": "enqueue", "running": "run"}[state]
	if event != "" && job.state != "" && (state == "pending" || job.state == "running") {
		return hostMessage(http.StatusBadRequest, fmt.Sprintf("Cannot transition status via :%s from :%s (Reason(s): Status cannot transition via %q)", event, job.state, event))
	}
	job.state, job.description, job.target = state, f.Get("description"), f.Get("target_url")
	h.status(r.host, r.name, sha, name).write(state, job.description, job.target)
	return c.acted(sha, created(job.json()))
}

// gitlabPipeline is the pipeline that a status joins: the named one, or the external one of the commit and
// ref. The caller holds mu.
func (h *hostReports) gitlabPipeline(r hosted, sha, ref, id string) (pipeline int64, refusal answer) {
	for _, job := range h.jobs {
		if strings.EqualFold(job.project, r.name) && job.sha == sha && (id != "" && itoa(job.pipeline) == id || id == "" && job.ref == ref) {
			return job.pipeline, answer{}
		}
	}
	if id != "" {
		return 0, hostMessage(http.StatusNotFound, "404 Pipeline Not Found")
	}
	return h.id(), answer{}
}

func gitlabListStatuses(c *call, r hosted) answer {
	sha := c.http.PathValue("sha")
	if !r.hasCommit(sha) {
		return hostMessage(http.StatusNotFound, "404 Commit Not Found")
	}
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	list, seen := []map[string]any{}, map[string]bool{}
	for _, job := range slices.Backward(r.reports.jobs) {
		key := job.ref + " " + job.name
		if strings.EqualFold(job.project, r.name) && job.sha == sha && !seen[key] &&
			(c.query("ref") == "" || c.query("ref") == job.ref) && (c.query("name") == "" || c.query("name") == job.name) {
			seen[key] = true
			list = append(list, job.json())
		}
	}
	return ok(list)
}

const gitlabRefs = "refs/merge-requests/%d/head"

func (c *HostComment) gitlab() map[string]any {
	return c.times(map[string]any{
		"id": c.ID, "body": c.Text, "author": c.writer("username", "name"), "system": false, "noteable_type": "MergeRequest", "noteable_iid": c.Number,
	}, time.UTC, "2006-01-02T15:04:05.000Z07:00")
}

func gitlabListNotes(c *call, r hosted) answer {
	number, _, found := r.mergeRequest(c, gitlabRefs)
	page, pageOK := c.number("page", 1, 1, 1<<20)
	perPage, perPageOK := c.number("per_page", 20, 1, 100)
	if !found || !pageOK || !perPageOK {
		return hostMessage(http.StatusNotFound, "404 Not found")
	}
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	list := []map[string]any{}
	for _, comment := range r.reports.pageOf(r, number, page, perPage) {
		list = append(list, comment.gitlab())
	}
	if c.query("sort") != "asc" {
		slices.Reverse(list)
	}
	return ok(list)
}

func gitlabCreateNote(c *call, r hosted) answer {
	number, _, found := r.mergeRequest(c, gitlabRefs)
	body := c.fields().Get("body")
	switch {
	case !found:
		return hostMessage(http.StatusNotFound, "404 Not found")
	case body == "" || len(body) > 1_000_000:
		return hostMessage(http.StatusBadRequest, "body is missing or too long")
	}
	return c.acted("", created(r.reports.addComment(r, number, body).gitlab()))
}

func gitlabEditNote(c *call, r hosted) answer {
	body := c.fields().Get("body")
	if body == "" {
		return hostMessage(http.StatusBadRequest, "body is missing")
	}
	if edited, refusal := r.editComment(c, body, hostMessage(http.StatusNotFound, "404 Not found"), "403 Forbidden"); edited == nil {
		return refusal
	}
	id, _ := strconv.ParseInt(c.http.PathValue("id"), 10, 64) // it was found
	return c.acted("", ok(map[string]any{"id": id, "body": body, "author": map[string]any{"id": r.author()}, "system": false}))
}

func gitlabDeleteNote(c *call, r hosted) answer {
	return r.deleteComment(c, hostMessage(http.StatusNotFound, "404 Not found"))
}

func gitlabProject(_ *call, r hosted) answer {
	if r.missing {
		return hostMessage(http.StatusNotFound, "404 Project Not Found")
	}
	level := 30
	if r.readsOnly {
		level = 20
	}
	return ok(map[string]any{
		"id": repositoryID(r.host, r.name), "path_with_namespace": r.name, "default_branch": mainBranch, "visibility": "private",
		"permissions": map[string]any{"project_access": map[string]any{"access_level": level, "notification_level": 3}, "group_access": nil},
	})
}

func gitlabUser(*call, hosted) answer {
	return ok(map[string]any{"id": hostAccount, "username": hostAccountName, "state": "active"})
}

func gitlabToken(_ *call, r hosted) answer {
	scopes := []string{"api"}
	if r.readsOnly {
		scopes = []string{"read_api", "read_repository"}
	}
	return ok(map[string]any{"id": 17, "name": hostAccountName, "active": true, "revoked": false, "scopes": scopes, "user_id": hostAccount})
}
