package forge

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// giteeTitle is the most characters of a check run's title, as on GitHub; Gitee's limit is not known.
const giteeTitle = 255

// checkRuns is whether Gitee takes check runs from this connection. Its documents do not say who may
// write them (specs/githosts.md 3.5), so the first write finds out.
type checkRuns struct {
	mu    sync.Mutex
	state checkRunsState
}

type checkRunsState int

const (
	checkRunsUnknown checkRunsState = iota
	checkRunsTaken
	checkRunsRefused
)

func (c *checkRuns) get() checkRunsState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

func (c *checkRuns) set(state checkRunsState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = state
}

func (r *giteeClient) right() string {
	return "a token with the scopes user_info, projects, pull_requests and notes, of an account that may push to the repository"
}

func (r *giteeClient) neutral() bool { return r.checks.get() == checkRunsTaken }

// setStatus writes a check run where Gitee takes it. Where it does not there is nothing for a
// commit, and a label for a merge request.
func (r *giteeClient) setStatus(ctx context.Context, t Target, s Status, handle string) (string, error) {
	known := r.checks.get()
	if known != checkRunsRefused {
		written, err := r.setCheckRun(ctx, t, s, handle)
		if err == nil {
			r.checks.set(checkRunsTaken)
			return written, nil
		}
		if known == checkRunsTaken || !noCheckRuns(err) {
			return "", err
		}
		if err := r.mayWrite(ctx, t, err); err != nil {
			return "", err
		}
		r.checks.set(checkRunsRefused)
	}
	if t.Number == 0 {
		return handle, nil
	}
	return handle, r.setLabel(ctx, t, s)
}

// noCheckRuns reports whether a refusal of a check run may mean that there are none here. A 401 is about
// the token, and everything else about what was sent.
func noCheckRuns(err error) bool {
	switch failure(err).Status {
	case http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusNotImplemented:
		return true
	}
	return false
}

// mayWrite tells a host without check runs from a repository to which we may not write, and from a
// commit that it does not have. The error is then the refusal, or that of the commit.
func (r *giteeClient) mayWrite(ctx context.Context, t Target, refusal error) error {
	pushes, told, err := r.pushes(ctx, t.Repository.FullName)
	if err != nil {
		return err
	}
	if told && !pushes {
		return refusal
	}
	return r.call(ctx, http.MethodGet, t.Repository.FullName, "commits/"+url.PathEscape(t.SHA), nil, nil)
}

// giteeCheckRun is what is read of a check run.
type giteeCheckRun struct {
	ID     looseID `json:"id"`
	Name   string  `json:"name"`
	Status string  `json:"status"`
}

// setCheckRun is GitHub's: one that has ended is not changed.
func (r *giteeClient) setCheckRun(ctx context.Context, t Target, s Status, handle string) (string, error) {
	id, ended := checkRunOf(handle)
	if handle == "" {
		open, err := r.openCheckRun(ctx, t, s)
		if err != nil {
			return "", err
		}
		id = open
	}
	form, err := r.checkRunForm(ctx, t, s)
	if err != nil {
		return "", err
	}
	method, path := http.MethodPost, "check-runs"
	if id > 0 && !ended {
		method, path = http.MethodPatch, "check-runs/"+strconv.FormatInt(id, 10)
	}
	var made giteeCheckRun
	err = r.call(ctx, method, t.Repository.FullName, path, form, &made)
	switch e := failure(err); {
	case method == http.MethodPatch && e.NotFound():
		return r.setCheckRun(ctx, t, s, "0")
	case len(s.Annotations) > 0 && (e.Status == http.StatusBadRequest || e.Status == http.StatusUnprocessableEntity):
		// How annotations are written in a form is inferred; they must not keep the verdict from being shown.
		s.Annotations = nil
		return r.setCheckRun(ctx, t, s, handle)
	case err != nil:
		return "", err
	}
	if method == http.MethodPost {
		id = int64(made.ID)
	}
	if id <= 0 {
		return "", errors.New("it has no id of the check run")
	}
	return checkRunHandle(id, s), nil
}

// openCheckRun finds a check run of this name that has not ended, whose handle was lost; 0 without one.
func (r *giteeClient) openCheckRun(ctx context.Context, t Target, s Status) (id int64, err error) {
	var list giteeCheckRuns
	if err := r.call(ctx, http.MethodGet, t.Repository.FullName, "commits/"+url.PathEscape(t.SHA)+"/check-runs?per_page=100", nil, &list); err != nil {
		return 0, err
	}
	for _, run := range list {
		if run.Name == s.Context && run.Status != "completed" {
			id = max(id, int64(run.ID))
		}
	}
	return id, nil
}

// giteeCheckRuns is a list of check runs: an array, or, as on GitHub, an object that has one. Which of
// the two Gitee answers with is not documented.
type giteeCheckRuns []giteeCheckRun

// UnmarshalJSON implements [json.Unmarshaler].
func (l *giteeCheckRuns) UnmarshalJSON(data []byte) error {
	var object struct {
		CheckRuns []giteeCheckRun `json:"check_runs"`
	}
	if json.Unmarshal(data, &object) == nil {
		*l = object.CheckRuns
		return nil
	}
	return json.Unmarshal(data, (*[]giteeCheckRun)(l))
}

// checkRunForm is what a check run is written with (specs/githosts.md 3.5). It names the merge request by
// its id, which is not its number.
func (r *giteeClient) checkRunForm(ctx context.Context, t Target, s Status) (url.Values, error) {
	status, conclusion := checkRunState(s.State)
	form := url.Values{"name": {s.Context}, "head_sha": {t.SHA}, "status": {status}}
	if t.Number > 0 {
		pull, err := r.pull(ctx, t)
		if err != nil {
			return nil, err
		}
		if pull.ID > 0 {
			form.Set("pull_request_id", strconv.FormatInt(int64(pull.ID), 10))
		}
	}
	if conclusion != "" {
		form.Set("conclusion", conclusion)
	}
	if s.URL != "" {
		form.Set("details_url", s.URL)
	}
	description := cmp.Or(s.Description, s.Context)
	form.Set("output[title]", oneLine(description, giteeTitle))
	form.Set("output[summary]", cut(description, maxComment))
	for _, a := range s.Annotations {
		path, line := strings.TrimLeft(a.Path, "/"), strconv.Itoa(max(a.Line, 1))
		if path == "" {
			continue
		}
		for name, value := range map[string]string{
			"path": path, "start_line": line, "end_line": line, "annotation_level": annotationLevel(a.Severity),
			"title": oneLine(a.Severity+" "+a.Rule, giteeTitle), "message": remark(a),
		} {
			form.Add("output[annotations]["+name+"][]", value)
		}
	}
	return form, nil
}

// giteePull is what is read of a merge request.
type giteePull struct {
	ID     looseID      `json:"id"`
	Head   giteeCommit  `json:"head"`
	Labels []giteeLabel `json:"labels"`
}

type giteeLabel struct {
	Name string `json:"name"`
}

func (r *giteeClient) pull(ctx context.Context, t Target) (giteePull, error) {
	var pull giteePull
	err := r.call(ctx, http.MethodGet, t.Repository.FullName, "pulls/"+strconv.Itoa(t.Number), nil, &pull)
	return pull, err
}

// setLabel puts the label of the state on the merge request and takes away that of another. While nothing
// is decided there is none. A commit that is not the merge request's head has no label: it would
// speak for the one that is.
func (r *giteeClient) setLabel(ctx context.Context, t Target, s Status) error {
	pull, err := r.pull(ctx, t)
	if err != nil || pull.Head.SHA != t.SHA {
		return err
	}
	passed, failed := Labels(s.Context)
	want := ""
	switch s.State {
	case StateSuccess, StateNeutral:
		want = passed
	case StateFailure, StateError, StateCanceled:
		want = failed
	}
	has := func(name string) bool {
		return slices.Contains(pull.Labels, giteeLabel{name})
	}
	path := "pulls/" + strconv.Itoa(t.Number) + "/labels"
	for _, other := range []string{passed, failed} {
		if other == want || !has(other) {
			continue
		}
		if err := r.call(ctx, http.MethodDelete, t.Repository.FullName, path+"/"+url.PathEscape(other), nil, nil); err != nil && !failure(err).NotFound() {
			return err
		}
	}
	if want == "" || has(want) {
		return nil
	}
	return r.addLabel(ctx, t, path, want)
}

// Labels are the names of the labels that stand for a status of this context where a host has no
// statuses: gatewright/check has gatewright-check-passed and gatewright-check-failed.
func Labels(context string) (passed, failed string) {
	name := strings.ReplaceAll(context, "/", "-")
	return name + "-passed", name + "-failed"
}

// addLabel makes the label in the repository when the merge request cannot take one that is not there.
func (r *giteeClient) addLabel(ctx context.Context, t Target, path, name string) error {
	add := func() error {
		return r.call(ctx, http.MethodPost, t.Repository.FullName, path, []string{name}, nil)
	}
	err := add()
	switch failure(err).Status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusUnprocessableEntity:
	default:
		return err
	}
	color := "2E7D32"
	if strings.HasSuffix(name, "-failed") {
		color = "C62828"
	}
	if err := r.call(ctx, http.MethodPost, t.Repository.FullName, "labels", url.Values{"name": {name}, "color": {color}}, nil); err != nil {
		return err
	}
	return add()
}

// pushes reads whether the token's account may push to the repository; told is false when Gitee does
// not say.
func (r *giteeClient) pushes(ctx context.Context, repository string) (pushes, told bool, err error) {
	var answer struct {
		Permission *struct {
			Push  *bool `json:"push"`
			Admin bool  `json:"admin"`
		} `json:"permission"`
	}
	if err := r.call(ctx, http.MethodGet, repository, "", nil, &answer); err != nil {
		return false, false, err
	}
	if answer.Permission == nil || answer.Permission.Push == nil {
		return false, false, nil
	}
	return *answer.Permission.Push || answer.Permission.Admin, true, nil
}

// mayReport: what the account may do is in the repository, the token's scopes Gitee does not tell.
func (r *giteeClient) mayReport(ctx context.Context, repository string) (told bool, err error) {
	pushes, told, err := r.pushes(ctx, repository)
	if err == nil && told && !pushes {
		return true, missingRight(r)
	}
	return false, err
}

func (r *giteeClient) account(ctx context.Context) (string, error) {
	var user giteeUser
	err := r.send(ctx, http.MethodGet, r.base+"/user", nil, &user)
	return strconv.FormatInt(int64(user.ID), 10), err
}

// giteeUser is what is read of an account, giteeComment of a comment.
type (
	giteeUser struct {
		ID    looseID `json:"id"`
		Login string  `json:"login"`
	}
	giteeComment struct {
		ID   looseID   `json:"id"`
		Body string    `json:"body"`
		User giteeUser `json:"user"`
	}
)

func (u giteeUser) user() User { return user(int64(u.ID), u.Login) }

func (r *giteeClient) comments(ctx context.Context, repository string, number, page int) (found []comment, more bool, err error) {
	var list []giteeComment
	query := url.Values{"page": {strconv.Itoa(page)}, "per_page": {strconv.Itoa(commentsPerPage)}, "direction": {"asc"}}
	err = r.call(ctx, http.MethodGet, repository, "pulls/"+strconv.Itoa(number)+"/comments?"+query.Encode(), nil, &list)
	for _, c := range list {
		found = append(found, comment{id: strconv.FormatInt(int64(c.ID), 10), author: strconv.FormatInt(int64(c.User.ID), 10), body: c.Body})
	}
	return found, len(list) >= commentsPerPage, err
}

func (r *giteeClient) createComment(ctx context.Context, repository string, number int, body string) (string, error) {
	var made giteeComment
	err := r.call(ctx, http.MethodPost, repository, "pulls/"+strconv.Itoa(number)+"/comments", url.Values{"body": {body}}, &made)
	return madeComment(int64(made.ID), err)
}

func (r *giteeClient) editComment(ctx context.Context, repository string, _ int, id, body string) error {
	if _, err := strconv.ParseInt(id, 10, 64); err != nil {
		return notAComment(id)
	}
	return r.call(ctx, http.MethodPatch, repository, "pulls/comments/"+id, url.Values{"body": {body}}, nil)
}

// looseID is a number of Gitee's, which it may also write as text; 0 for anything else.
type looseID int64

// UnmarshalJSON implements [json.Unmarshaler].
func (n *looseID) UnmarshalJSON(data []byte) error {
	value, err := strconv.ParseInt(strings.Trim(string(data), `"`), 10, 64)
	if err != nil {
		value = 0
	}
	*n = looseID(value)
	return nil
}
