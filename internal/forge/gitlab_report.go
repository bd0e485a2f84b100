package forge

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/xanzy/go-gitlab"
)

// gitlabDescription is the most characters of a status's description; unverified.
const gitlabDescription = 255

// GitLab's levels of access (specs/githosts.md 2.5): who may write statuses.
const gitlabDeveloper = gitlab.DeveloperPermissions

func (r gitlabClient) right() string {
	return "a personal, group or project token with the scope api, whose user has the role Developer in the project (for a fork's merge request in one of the two projects)"
}

func (r gitlabClient) neutral() bool { return false }

// gitlabStatus is a handle: where the status is, and how it stands.
type gitlabStatus struct {
	// project is the number of the source project of a fork's merge request, where the status is
	// then; empty for the target's.
	project  string
	pipeline int
	state    gitlab.BuildStateValue
}

func gitlabHandle(handle string) (s gitlabStatus, known bool) {
	parts := strings.Split(handle, "/")
	if len(parts) != 3 {
		return s, false
	}
	pipeline, err := strconv.Atoi(parts[1])
	return gitlabStatus{parts[0], pipeline, gitlab.BuildStateValue(parts[2])}, err == nil
}

func (s gitlabStatus) String() string {
	return s.project + "/" + strconv.Itoa(s.pipeline) + "/" + string(s.state)
}

// setStatus writes a commit status. A status that has ended is followed by a new one of its name; one
// that has not takes only what comes after: pending, running, the end (specs/githosts.md 2.5).
// What GitLab would refuse is not sent.
func (r gitlabClient) setStatus(ctx context.Context, t Target, s Status, handle string) (string, error) {
	state := gitlabState(s.State)
	last, known := gitlabHandle(handle)
	if known && !follows(last.state, state) {
		return handle, nil
	}
	if !known && t.Number > 0 {
		request, _, err := r.client.MergeRequests.GetMergeRequest(t.Repository.FullName, t.Number, nil, gitlab.WithContext(ctx))
		if err != nil {
			return "", err
		}
		if request != nil && request.SourceProjectID != request.TargetProjectID && request.SourceProjectID > 0 {
			last.project = strconv.Itoa(request.SourceProjectID)
		}
	}
	written, err := r.writeStatus(ctx, t, s, state, last)
	if e := failure(err); last.project != "" && (e.Forbidden() || e.NotFound()) {
		// The status of a fork's merge request belongs to the source project, where we may not be
		// allowed to write.
		return r.writeStatus(ctx, t, s, state, gitlabStatus{})
	}
	return written, err
}

// follows reports whether GitLab takes a state after another one of the same name.
func follows(last, next gitlab.BuildStateValue) bool {
	switch last {
	case gitlab.Pending:
		return next != gitlab.Pending
	case gitlab.Running:
		return next != gitlab.Pending && next != gitlab.Running
	}
	return true
}

// gitlabState is the word of a commit status. A skipped one would not let a required pipeline pass.
func gitlabState(s StatusState) gitlab.BuildStateValue {
	switch s {
	case StatePending:
		return gitlab.Pending
	case StateRunning:
		return gitlab.Running
	case StateSuccess, StateNeutral:
		return gitlab.Success
	case StateCanceled:
		return gitlab.Canceled
	default:
		return gitlab.Failed
	}
}

func (r gitlabClient) writeStatus(ctx context.Context, t Target, s Status, state gitlab.BuildStateValue, last gitlabStatus) (string, error) {
	project := t.Repository.FullName
	if last.project != "" {
		project = last.project
	}
	options := &gitlab.SetCommitStatusOptions{State: state, Name: &s.Context, Description: gitlab.Ptr(oneLine(s.Description, gitlabDescription))}
	if t.Ref != "" {
		options.Ref = &t.Ref
	}
	if s.URL != "" {
		options.TargetURL = &s.URL
	}
	if last.pipeline > 0 {
		options.PipelineID = &last.pipeline
	}
	var written *gitlab.CommitStatus
	err := r.renamed(ctx, project, func(project string) (err error) {
		written, _, err = r.client.Commits.SetCommitStatus(project, t.SHA, options, gitlab.WithContext(ctx))
		return err
	})
	if e := failure(err); e.Status == http.StatusBadRequest && strings.Contains(e.said, "Cannot transition status") {
		return r.standing(ctx, project, t, s, state, last, e)
	}
	if err == nil && written == nil {
		err = errNull
	}
	if err != nil {
		return "", err
	}
	return gitlabStatus{last.project, written.PipelineId, state}.String(), nil
}

// renamed writes to a project, and again under its new name where GitLab says that it has one: it redirects
// reads only, and refuses writes with 405 (general knowledge, not verified).
func (r gitlabClient) renamed(ctx context.Context, project string, write func(project string) error) error {
	err := write(project)
	if failure(err).Status != http.StatusMethodNotAllowed {
		return err
	}
	found, _, unread := r.client.Projects.GetProject(project, nil, gitlab.WithContext(ctx))
	if unread != nil || found == nil || !plain(found.PathWithNamespace) || strings.EqualFold(found.PathWithNamespace, project) {
		return err
	}
	return write(found.PathWithNamespace)
}

// standing reads back how a status stands that could not become what we want: it may be that already,
// or past it, because an answer was lost.
func (r gitlabClient) standing(ctx context.Context, project string, t Target, s Status, want gitlab.BuildStateValue, last gitlabStatus, refusal *Error) (string, error) {
	options := &gitlab.GetCommitStatusesOptions{Name: &s.Context, ListOptions: gitlab.ListOptions{PerPage: 100}}
	if t.Ref != "" {
		options.Ref = &t.Ref
	}
	list, _, err := r.client.Commits.GetCommitStatuses(project, t.SHA, options, gitlab.WithContext(ctx))
	if err != nil {
		return "", err
	}
	newest := &gitlab.CommitStatus{}
	for _, found := range list {
		if found != nil && found.Name == s.Context && found.ID > newest.ID && (last.pipeline == 0 || found.PipelineId == last.pipeline) {
			newest = found
		}
	}
	is := gitlab.BuildStateValue(newest.Status)
	if is == want || want == gitlab.Pending && is == gitlab.Running {
		return gitlabStatus{last.project, newest.PipelineId, is}.String(), nil
	}
	return "", &Error{Status: refusal.Status, message: "the host's status cannot become " + string(want) + ": it is " + strconv.Quote(cut(newest.Status, 20)), retryable: true}
}

// mayReport reads the level of access in the project, and the scopes of the token where GitLab tells them
// (not of OAuth tokens, and not before 15.5; unverified).
func (r gitlabClient) mayReport(ctx context.Context, repository string) (told bool, err error) {
	project, _, err := r.client.Projects.GetProject(repository, nil, gitlab.WithContext(ctx))
	if err == nil && project == nil {
		err = errNull
	}
	if err != nil {
		return false, err
	}
	level := gitlab.NoPermissions
	if rights := project.Permissions; rights != nil {
		if rights.ProjectAccess != nil {
			level = max(level, rights.ProjectAccess.AccessLevel)
		}
		if rights.GroupAccess != nil {
			level = max(level, rights.GroupAccess.AccessLevel)
		}
	}
	// Nothing is said of an administrator who is not a member.
	if level != gitlab.NoPermissions && level < gitlabDeveloper {
		return true, missingRight(r)
	}
	token, _, err := r.client.PersonalAccessTokens.GetSinglePersonalAccessToken(gitlab.WithContext(ctx))
	if e := failure(err); e.Forbidden() || e.NotFound() || err == nil && (token == nil || len(token.Scopes) == 0) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !slices.Contains(token.Scopes, "api") {
		return true, missingRight(r)
	}
	return level >= gitlabDeveloper, nil
}

func (r gitlabClient) account(ctx context.Context) (string, error) {
	user, _, err := r.client.Users.CurrentUser(gitlab.WithContext(ctx))
	if err == nil && user == nil {
		err = errNull
	}
	if err != nil {
		return "", err
	}
	return strconv.Itoa(user.ID), nil
}

func (r gitlabClient) comments(ctx context.Context, repository string, number, page int) (found []comment, more bool, err error) {
	list, _, err := r.client.Notes.ListMergeRequestNotes(repository, number, &gitlab.ListMergeRequestNotesOptions{
		ListOptions: gitlab.ListOptions{Page: page, PerPage: commentsPerPage}, OrderBy: gitlab.Ptr("created_at"), Sort: gitlab.Ptr("asc"),
	}, gitlab.WithContext(ctx))
	for _, note := range list {
		if note != nil && !note.System {
			found = append(found, comment{id: strconv.Itoa(note.ID), author: strconv.Itoa(note.Author.ID), body: note.Body})
		}
	}
	return found, len(list) >= commentsPerPage, err
}

func (r gitlabClient) createComment(ctx context.Context, repository string, number int, body string) (string, error) {
	var note *gitlab.Note
	err := r.renamed(ctx, repository, func(project string) (err error) {
		note, _, err = r.client.Notes.CreateMergeRequestNote(project, number, &gitlab.CreateMergeRequestNoteOptions{Body: &body}, gitlab.WithContext(ctx))
		return err
	})
	if err == nil && note == nil {
		err = errNull
	}
	if err != nil {
		return "", err
	}
	return madeComment(int64(note.ID), nil)
}

func (r gitlabClient) editComment(ctx context.Context, repository string, number int, id, body string) error {
	note, err := strconv.Atoi(id)
	if err != nil {
		return notAComment(id)
	}
	return r.renamed(ctx, repository, func(project string) error {
		_, _, err := r.client.Notes.UpdateMergeRequestNote(project, number, note, &gitlab.UpdateMergeRequestNoteOptions{Body: &body}, gitlab.WithContext(ctx))
		return err
	})
}
