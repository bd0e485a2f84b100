package forge

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-github/v60/github"
)

const (
	// githubDescription is the most characters of a commit status's description, githubTitle those
	// of a check run's title (specs/githosts.md 1.5, unverified).
	githubDescription, githubTitle = 140, 255
	// githubRemark bounds an annotation's message in characters; GitHub takes 64 KB.
	githubRemark = 4000
)

func (r githubClient) right() string {
	if r.app != nil {
		return "an App with the permissions Checks: write, Pull requests: write and Contents: read, which its installation has accepted"
	}
	return "a fine-grained token with Commit statuses: write, Pull requests: write and Contents: read, or a classic one with the scope repo (public_repo for public repositories)"
}

func (r githubClient) neutral() bool { return r.app != nil }

// setStatus writes a check run with an App, and a commit status with a token, to which GitHub
// refuses check runs (specs/githosts.md 1.5). A commit status has no handle: the newest of a context counts.
func (r githubClient) setStatus(ctx context.Context, t Target, s Status, handle string) (string, error) {
	owner, repo, err := githubName(t.Repository.FullName)
	if err != nil {
		return "", err
	}
	if r.app != nil {
		return r.setCheckRun(ctx, owner, repo, t, s, handle)
	}
	status := &github.RepoStatus{State: github.String(githubState(s.State)), Context: &s.Context, Description: github.String(oneLine(s.Description, githubDescription))}
	if s.URL != "" {
		status.TargetURL = &s.URL
	}
	_, _, err = r.client.Repositories.CreateStatus(ctx, owner, repo, t.SHA, status)
	return "", githubError(err)
}

// githubState is the word of a commit status.
func githubState(s StatusState) string {
	switch s {
	case StateSuccess, StateNeutral:
		return "success"
	case StateFailure:
		return "failure"
	case StateError:
		return "error"
	default:
		return "pending"
	}
}

// setCheckRun changes the check run of the handle while that has not ended. After its end a new one
// takes its place, as when GitHub runs a check again: a later change would add its annotations to
// the old ones.
func (r githubClient) setCheckRun(ctx context.Context, owner, repo string, t Target, s Status, handle string) (string, error) {
	id, ended := checkRunOf(handle)
	if handle == "" {
		open, err := r.openCheckRun(ctx, owner, repo, t, s)
		if err != nil {
			return "", err
		}
		id = open
	}
	if id == 0 || ended {
		return r.createCheckRun(ctx, owner, repo, t, s)
	}
	if len(s.Annotations) > 0 {
		// An answer that was lost may have brought them already.
		run, _, err := r.client.Checks.GetCheckRun(ctx, owner, repo, id)
		switch {
		case failure(err).NotFound():
			return r.createCheckRun(ctx, owner, repo, t, s)
		case err != nil:
			return "", githubError(err)
		case run.GetOutput().GetAnnotationsCount() > 0:
			s.Annotations = nil
		}
	}
	body := checkRunBody(t, s)
	_, _, err := r.client.Checks.UpdateCheckRun(ctx, owner, repo, id, github.UpdateCheckRunOptions{
		Name: body.Name, DetailsURL: body.DetailsURL, Status: body.Status, Conclusion: body.Conclusion, Output: body.Output,
	})
	switch e := failure(err); {
	case e.NotFound():
		return r.createCheckRun(ctx, owner, repo, t, s)
	case e.Status == http.StatusUnprocessableEntity && len(s.Annotations) > 0:
		s.Annotations = nil
		return r.setCheckRun(ctx, owner, repo, t, s, handle)
	}
	return checkRunHandle(id, s), githubError(err)
}

// openCheckRun finds a check run of ours that has not ended, whose handle was lost; 0 without one.
func (r githubClient) openCheckRun(ctx context.Context, owner, repo string, t Target, s Status) (id int64, err error) {
	list, _, err := r.client.Checks.ListCheckRunsForRef(ctx, owner, repo, t.SHA, &github.ListCheckRunsOptions{CheckName: &s.Context, AppID: &r.app.id})
	if err != nil {
		return 0, githubError(err)
	}
	for _, run := range list.CheckRuns {
		if run.GetName() == s.Context && run.GetApp().GetID() == r.app.id && run.GetStatus() != "completed" {
			id = max(id, run.GetID())
		}
	}
	return id, nil
}

func (r githubClient) createCheckRun(ctx context.Context, owner, repo string, t Target, s Status) (string, error) {
	run, _, err := r.client.Checks.CreateCheckRun(ctx, owner, repo, checkRunBody(t, s))
	if failure(err).Status == http.StatusUnprocessableEntity && len(s.Annotations) > 0 {
		// One annotation that GitHub does not take must not keep the verdict from being shown.
		s.Annotations = nil
		return r.createCheckRun(ctx, owner, repo, t, s)
	}
	if err == nil && run.GetID() <= 0 {
		err = fmt.Errorf("it has no id of the check run")
	}
	return checkRunHandle(run.GetID(), s), githubError(err)
}

// checkRunHandle names a check run, and says whether it has ended.
func checkRunHandle(id int64, s Status) string {
	handle := strconv.FormatInt(id, 10)
	if s.State.ended() {
		handle += "/ended"
	}
	return handle
}

func checkRunOf(handle string) (id int64, ended bool) {
	number, state, _ := strings.Cut(handle, "/")
	id, _ = strconv.ParseInt(number, 10, 64) // not one of ours: there is none
	return id, state == "ended"
}

func checkRunBody(t Target, s Status) github.CreateCheckRunOptions {
	status, conclusion := checkRunState(s.State)
	body := github.CreateCheckRunOptions{Name: s.Context, HeadSHA: t.SHA, Status: &status}
	if conclusion != "" {
		body.Conclusion = &conclusion
	}
	if s.URL != "" {
		body.DetailsURL = &s.URL
	}
	if s.Description == "" {
		return body
	}
	body.Output = &github.CheckRunOutput{Title: github.String(oneLine(s.Description, githubTitle)), Summary: github.String(cut(s.Description, maxComment))}
	for _, a := range s.Annotations {
		path := strings.TrimLeft(a.Path, "/")
		if path == "" {
			continue
		}
		line := max(a.Line, 1)
		body.Output.Annotations = append(body.Output.Annotations, &github.CheckRunAnnotation{
			Path: &path, StartLine: &line, EndLine: &line,
			AnnotationLevel: github.String(annotationLevel(a.Severity)),
			Title:           github.String(oneLine(a.Severity+" "+a.Rule, githubTitle)),
			Message:         github.String(remark(a)),
		})
	}
	return body
}

// remark is the message of an annotation, which must not be empty.
func remark(a Annotation) string {
	return cmp.Or(cut(a.Message, githubRemark), a.Rule, a.Severity, "defect")
}

// checkRunState are the words of a check run, of GitHub and of Gitee.
func checkRunState(s StatusState) (status, conclusion string) {
	switch s {
	case StatePending:
		return "queued", ""
	case StateRunning:
		return "in_progress", ""
	case StateSuccess:
		return "completed", "success"
	case StateNeutral:
		return "completed", "neutral"
	default:
		return "completed", "failure"
	}
}

// annotationLevel is the word of an annotation, of GitHub and of Gitee.
func annotationLevel(severity string) string {
	switch severity {
	case "critical", "major":
		return "failure"
	case "minor":
		return "warning"
	default:
		return "notice"
	}
}

// mayReport: a classic token names its scopes in a header of every answer, and what a user may do is
// in the repository; what a fine-grained token may do GitHub does not say.
func (r githubClient) mayReport(ctx context.Context, repository string) (told bool, err error) {
	owner, repo, err := githubName(repository)
	if err != nil {
		return false, err
	}
	if r.app != nil {
		granted, err := r.app.mayReport(ctx)
		if err == nil && !granted {
			err = missingRight(r)
		}
		return true, err
	}
	found, resp, err := r.client.Repositories.Get(ctx, owner, repo)
	if err != nil {
		return false, githubError(err)
	}
	if push, told := found.GetPermissions()["push"]; told && !push {
		return true, missingRight(r)
	}
	header, classic := resp.Header["X-Oauth-Scopes"]
	if !classic {
		return false, nil
	}
	scopes := strings.FieldsFunc(strings.Join(header, ","), func(c rune) bool { return c == ',' || c == ' ' })
	if !slices.Contains(scopes, "repo") && (found.GetPrivate() || !slices.Contains(scopes, "public_repo")) {
		return true, missingRight(r)
	}
	return true, nil
}

func (r githubClient) account(ctx context.Context) (string, error) {
	if r.app != nil {
		return r.app.account(ctx, r.client.Users)
	}
	user, _, err := r.client.Users.Get(ctx, "")
	return strconv.FormatInt(user.GetID(), 10), githubError(err)
}

func (r githubClient) comments(ctx context.Context, repository string, number, page int) (found []comment, more bool, err error) {
	owner, repo, err := githubName(repository)
	if err != nil {
		return nil, false, err
	}
	list, _, err := r.client.Issues.ListComments(ctx, owner, repo, number, &github.IssueListCommentsOptions{ListOptions: github.ListOptions{Page: page, PerPage: commentsPerPage}})
	for _, c := range list {
		found = append(found, comment{id: strconv.FormatInt(c.GetID(), 10), author: strconv.FormatInt(c.GetUser().GetID(), 10), body: c.GetBody()})
	}
	return found, len(list) >= commentsPerPage, githubError(err)
}

func (r githubClient) createComment(ctx context.Context, repository string, number int, body string) (string, error) {
	owner, repo, err := githubName(repository)
	if err != nil {
		return "", err
	}
	made, _, err := r.client.Issues.CreateComment(ctx, owner, repo, number, &github.IssueComment{Body: &body})
	return madeComment(made.GetID(), githubError(err))
}

func (r githubClient) editComment(ctx context.Context, repository string, _ int, id, body string) error {
	owner, repo, err := githubName(repository)
	if err != nil {
		return err
	}
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return notAComment(id)
	}
	_, _, err = r.client.Issues.EditComment(ctx, owner, repo, number, &github.IssueComment{Body: &body})
	return githubError(err)
}
