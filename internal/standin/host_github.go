package standin

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// githubWrites are GitHub's calls that write, and what belongs to them.
func (g *gitHosts) githubWrites() []route {
	const repository = "/api/v3/repos/{owner}/{name}"
	style := githubStyle()
	return []route{
		g.route("POST "+repository+"/statuses/{sha}", "github_create_status", style, g.writes(githubCreateStatus)),
		g.route("POST "+repository+"/check-runs", "github_create_check_run", style, g.writes(githubCreateCheckRun)),
		g.route("PATCH "+repository+"/check-runs/{id}", "github_update_check_run", style, g.writes(githubUpdateCheckRun)),
		g.route("GET "+repository+"/check-runs/{id}", "github_check_run", style, githubGetCheckRun),
		g.route("GET "+repository+"/commits/{sha}/check-runs", "github_check_runs", style, githubListCheckRuns),
		g.route("GET "+repository+"/issues/{number}/comments", "github_comments", style, githubListComments),
		g.route("POST "+repository+"/issues/{number}/comments", "github_create_comment", style, g.writes(githubCreateComment)),
		g.route("PATCH "+repository+"/issues/comments/{id}", "github_edit_comment", style, g.writes(githubEditComment)),
		g.route("DELETE "+repository+"/issues/comments/{id}", "github_delete_comment", style, g.writes(githubDeleteComment)),
		g.route("GET "+repository, "github_repository", style, githubRepository),
		g.accountRoute("GET /api/v3/user", "github_user", style, githubUser),
		g.accountRoute("GET /api/v3/users/{login}", "github_user_by_name", style, githubUserByName),
		{"POST /api/v3/app/installations/{installation}/access_tokens", "github_installation_token", serviceGitHost, g.installationToken},
		{"GET /api/v3/app/installations/{installation}", "github_installation", serviceGitHost, g.installation},
		{"GET /api/v3/app", "github_app", serviceGitHost, g.app},
	}
}

// githubInvalid is GitHub's refusal of what it cannot take.
func githubInvalid(message string) answer {
	a := hostMessage(http.StatusUnprocessableEntity, message)
	a.body = map[string]any{"message": message, "errors": []map[string]string{{"resource": "Status", "code": "custom", "message": message}}, "documentation_url": "https://docs.github.com/rest"}
	return a
}

func githubCreated(body any) answer {
	a := githubAnswer(body)
	a.status = http.StatusCreated
	return a
}

func githubCreateStatus(c *call, r hosted) answer {
	sha, f := c.http.PathValue("sha"), c.fields()
	context := f.Get("context")
	if context == "" {
		context = "default"
	}
	switch {
	case !slices.Contains([]string{"error", "failure", "pending", "success"}, f.Get("state")):
		return githubInvalid("Validation Failed: state is not included in the list")
	case utf8.RuneCountInString(f.Get("description")) > 140:
		return githubInvalid("Validation Failed: description is too long (maximum is 140 characters)")
	case f.Get("target_url") != "" && !isWebURL(f.Get("target_url")):
		return githubInvalid("Validation Failed: target_url must use http(s) scheme")
	case !r.hasCommit(sha):
		return githubInvalid("No commit found for SHA: " + sha)
	}
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	s := r.reports.status(r.host, r.name, sha, context)
	if s.Writes >= maxStatuses {
		return githubInvalid("Validation Failed: This SHA and context has reached the maximum number of statuses.")
	}
	s.write(f.Get("state"), f.Get("description"), f.Get("target_url"))
	return c.acted(sha, githubCreated(map[string]any{
		"id": r.reports.id(), "state": s.State, "description": s.Description, "target_url": s.URL, "context": context,
		"creator": r.githubAccount(),
	}))
}

// githubAccount is who the request's token speaks for.
func (r hosted) githubAccount() map[string]any {
	if r.byApp {
		return map[string]any{"login": appSlug + "[bot]", "id": hostAppAccount, "type": "Bot"}
	}
	return map[string]any{"login": hostAccountName, "id": hostAccount, "type": "User"}
}

// author is the number of that account.
func (r hosted) author() int64 {
	if r.byApp {
		return hostAppAccount
	}
	return hostAccount
}

// checkRunFields is what a check run is written with.
type checkRunFields struct {
	Name       *string `json:"name"`
	HeadSHA    string  `json:"head_sha"`
	DetailsURL *string `json:"details_url"`
	Status     *string `json:"status"`
	Conclusion *string `json:"conclusion"`
	Output     *struct {
		Title       *string `json:"title"`
		Summary     *string `json:"summary"`
		Annotations []struct {
			Path      string  `json:"path"`
			StartLine *int    `json:"start_line"`
			EndLine   *int    `json:"end_line"`
			Level     string  `json:"annotation_level"`
			Message   *string `json:"message"`
		} `json:"annotations"`
	} `json:"output"`
}

// The words of a check run, of GitHub and of Gitee.
func runStatuses() []string { return []string{"queued", "in_progress", "completed"} }

func runConclusions() []string {
	return []string{"success", "failure", "neutral", "cancelled", "skipped", "timed_out", "action_required"}
}

// into changes a check run; the text is what is wrong with the fields.
func (f checkRunFields) into(run *hostCheckRun) (wrong string) {
	switch {
	case f.Status != nil && !slices.Contains(runStatuses(), *f.Status):
		return "status is not included in the list"
	case f.Conclusion != nil && !slices.Contains(runConclusions(), *f.Conclusion):
		return "conclusion is not included in the list"
	case f.Status != nil && *f.Status == "completed" && f.Conclusion == nil:
		return "conclusion is missing"
	case f.DetailsURL != nil && !isWebURL(*f.DetailsURL):
		return "details_url must use http(s) scheme"
	case f.Output != nil && (f.Output.Title == nil || f.Output.Summary == nil):
		return "output needs title and summary"
	case f.Output != nil && len(f.Output.Annotations) > maxHostAnnotations:
		return "annotations: no more than 50 items are allowed"
	}
	if f.Output != nil {
		for _, a := range f.Output.Annotations {
			if !filepath.IsLocal(a.Path) || a.StartLine == nil || a.EndLine == nil || *a.StartLine < 1 || a.Message == nil || *a.Message == "" || !slices.Contains([]string{"notice", "warning", "failure"}, a.Level) {
				return "an annotation needs path, start_line, end_line, annotation_level and message"
			}
		}
		for _, a := range f.Output.Annotations {
			run.annotations = append(run.annotations, HostAnnotation{a.Path, *a.StartLine, a.Level, *a.Message})
		}
		run.title, run.summary = *f.Output.Title, *f.Output.Summary
	}
	if f.Name != nil {
		run.name = *f.Name
	}
	if f.DetailsURL != nil {
		run.detailsURL = *f.DetailsURL
	}
	if f.Status != nil {
		run.status, run.conclusion = *f.Status, ""
	}
	if f.Conclusion != nil {
		run.status, run.conclusion = "completed", *f.Conclusion
	}
	return ""
}

func (run *hostCheckRun) github() map[string]any {
	var conclusion any
	if run.conclusion != "" {
		conclusion = run.conclusion
	}
	return map[string]any{
		"id": run.id, "name": run.name, "head_sha": run.sha, "status": run.status, "conclusion": conclusion, "details_url": run.detailsURL,
		"output": map[string]any{"title": run.title, "summary": run.summary, "annotations_count": len(run.annotations)},
		"app":    map[string]any{"id": run.app, "slug": appSlug},
	}
}

func githubCreateCheckRun(c *call, r hosted) answer {
	if !r.byApp {
		return hostMessage(http.StatusForbidden, "You must authenticate via a GitHub App.")
	}
	var f checkRunFields
	if !c.object(&f) || f.Name == nil || *f.Name == "" || f.HeadSHA == "" {
		return githubInvalid("Invalid request. name and head_sha are required")
	}
	if !r.hasCommit(f.HeadSHA) {
		return githubInvalid("No commit found for SHA: " + f.HeadSHA)
	}
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	run := &hostCheckRun{host: r.host, repository: r.name, sha: f.HeadSHA, status: "queued", app: r.appID}
	if wrong := f.into(run); wrong != "" {
		return githubInvalid("Invalid request. " + wrong)
	}
	run.id = r.reports.id()
	r.reports.runs = append(r.reports.runs, run)
	r.reports.show(run)
	return c.acted(run.sha, githubCreated(run.github()))
}

func githubUpdateCheckRun(c *call, r hosted) answer {
	if !r.byApp {
		return hostMessage(http.StatusForbidden, "You must authenticate via a GitHub App.")
	}
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	run := r.reports.run(r, c.http.PathValue("id"))
	if run == nil || r.missing {
		return hostMessage(http.StatusNotFound, githubNotFound)
	}
	var f checkRunFields
	if !c.object(&f) {
		return hostMessage(http.StatusBadRequest, "Problems parsing JSON")
	}
	if wrong := f.into(run); wrong != "" {
		return githubInvalid("Invalid request. " + wrong)
	}
	r.reports.show(run)
	return c.acted(run.sha, githubAnswer(run.github()))
}

func githubGetCheckRun(c *call, r hosted) answer {
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	run := r.reports.run(r, c.http.PathValue("id"))
	if run == nil || r.missing {
		return hostMessage(http.StatusNotFound, githubNotFound)
	}
	return githubAnswer(run.github())
}

func githubListCheckRuns(c *call, r hosted) answer {
	sha := c.http.PathValue("sha")
	if !r.hasCommit(sha) {
		return githubInvalid("No commit found for SHA: " + sha)
	}
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	list := []map[string]any{}
	for _, run := range r.reports.newestRuns(r, sha, c.query("check_name")) {
		if app := c.query("app_id"); app == "" || app == fmt.Sprint(run.app) {
			list = append(list, run.github())
		}
	}
	return githubAnswer(map[string]any{"total_count": len(list), "check_runs": list})
}

func (c *HostComment) github() map[string]any {
	user := c.writer()
	user["type"] = "User"
	if c.Author == hostAppAccount {
		user["login"], user["type"] = appSlug+"[bot]", "Bot"
	}
	return c.times(map[string]any{
		"id": c.ID, "body": c.Text, "user": user, "author_association": "MEMBER", "issue_url": c.on("https://api.github.com/repos", "issues"),
		"html_url": c.on("https://github.com", "pull") + "#issuecomment-" + itoa(c.ID),
	}, time.UTC, time.RFC3339)
}

func githubListComments(c *call, r hosted) answer {
	number, _, found := r.mergeRequest(c, "refs/pull/%d/head")
	page, pageOK := c.number("page", 1, 1, 1<<20)
	perPage, perPageOK := c.number("per_page", 30, 1, 100)
	if !found || !pageOK || !perPageOK {
		return hostMessage(http.StatusNotFound, githubNotFound)
	}
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	list := []map[string]any{}
	for _, comment := range r.reports.pageOf(r, number, page, perPage) {
		list = append(list, comment.github())
	}
	return githubAnswer(list)
}

// commentWrong is what is wrong with a comment's text for GitHub.
func commentWrong(body string) string {
	switch n := utf8.RuneCountInString(body); {
	case n == 0:
		return "Validation Failed: Body cannot be blank"
	case n > 65536:
		return "Validation Failed: Body is too long (maximum is 65536 characters)"
	}
	return ""
}

func githubCreateComment(c *call, r hosted) answer {
	number, _, found := r.mergeRequest(c, "refs/pull/%d/head")
	if !found {
		return hostMessage(http.StatusNotFound, githubNotFound)
	}
	body := c.fields().Get("body")
	if wrong := commentWrong(body); wrong != "" {
		return githubInvalid(wrong)
	}
	return c.acted("", githubCreated(r.reports.addComment(r, number, body).github()))
}

// addComment makes a comment of the request's account, and returns a copy.
func (h *hostReports) addComment(r hosted, number int, body string) *HostComment {
	h.mu.Lock()
	defer h.mu.Unlock()
	made := &HostComment{Host: r.host, Repository: r.name, Number: number, ID: h.id(), Author: r.author(), Text: body, created: r.now, updated: r.now}
	h.comments = append(h.comments, made)
	comment := *made
	return &comment
}

func githubEditComment(c *call, r hosted) answer {
	body := c.fields().Get("body")
	if wrong := commentWrong(body); wrong != "" {
		return githubInvalid(wrong)
	}
	edited, refusal := r.editComment(c, body, hostMessage(http.StatusNotFound, githubNotFound), "Must have admin rights to Repository.")
	if edited == nil {
		return refusal
	}
	return c.acted("", githubAnswer(edited))
}

// editComment changes a comment of the request's own account; it returns a copy of the comment as the
// host shows it, or the refusal.
func (r hosted) editComment(c *call, body string, notFound answer, foreign string) (edited map[string]any, refusal answer) {
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	comment := r.reports.comment(r, c.http.PathValue("id"))
	switch {
	case comment == nil || r.missing:
		return nil, notFound
	case comment.Author != r.author():
		return nil, hostMessage(http.StatusForbidden, foreign)
	}
	comment.Text, comment.updated = body, r.now
	comment.Edits++
	return comment.github(), answer{}
}

func githubDeleteComment(c *call, r hosted) answer {
	return r.deleteComment(c, hostMessage(http.StatusNotFound, githubNotFound))
}

func (r hosted) deleteComment(c *call, notFound answer) answer {
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	comment := r.reports.comment(r, c.http.PathValue("id"))
	if comment == nil || r.missing {
		return notFound
	}
	comment.Deleted = true
	return c.acted("", answer{status: http.StatusNoContent})
}

func githubRepository(_ *call, r hosted) answer {
	if r.missing {
		return hostMessage(http.StatusNotFound, githubNotFound)
	}
	a := githubAnswer(map[string]any{
		"id": repositoryID(r.host, r.name), "full_name": r.name, "private": false, "default_branch": mainBranch,
		"permissions": map[string]bool{"pull": true, "triage": !r.readsOnly, "push": !r.readsOnly, "maintain": false, "admin": false},
	})
	if r.byApp {
		return a
	}
	return a.with("X-OAuth-Scopes", "read:user, repo")
}

func githubUser(_ *call, r hosted) answer {
	if r.byApp {
		return hostMessage(http.StatusForbidden, "Resource not accessible by integration")
	}
	return githubAnswer(r.githubAccount())
}

func githubUserByName(c *call, r hosted) answer {
	for id, login := range map[int64]string{hostAccount: hostAccountName, hostAppAccount: appSlug + "[bot]"} {
		if c.http.PathValue("login") == login {
			return githubAnswer(map[string]any{"id": id, "login": login})
		}
	}
	return hostMessage(http.StatusNotFound, githubNotFound)
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
