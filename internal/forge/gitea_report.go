package forge

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// giteaDescription is the most characters of a status's description: Gitea has no limit, and shows one
// line.
const giteaDescription = 255

func (r giteaClient) right() string {
	return "a token with the scopes read:user, write:repository and write:issue, of an account that may write to the repository"
}

func (r giteaClient) neutral() bool { return false }

// setStatus adds a commit status: the newest of a context counts.
func (r giteaClient) setStatus(ctx context.Context, t Target, s Status, handle string) (string, error) {
	status := struct {
		Context     string `json:"context"`
		State       string `json:"state"`
		Description string `json:"description"`
		TargetURL   string `json:"target_url"`
	}{s.Context, giteaState(s.State), oneLine(s.Description, giteaDescription), s.URL}
	err := r.call(ctx, http.MethodPost, t.Repository.FullName, "statuses/"+url.PathEscape(t.SHA), status, nil)
	return handle, r.orMissing(ctx, err, t.Repository.FullName, "git/commits/"+url.PathEscape(t.SHA))
}

// giteaState is Gitea's word for a state; it also has warning, which lets a required check pass.
func giteaState(state StatusState) string {
	switch state {
	case StatePending, StateRunning:
		return "pending"
	case StateSuccess, StateNeutral:
		return "success"
	case StateError, StateCanceled:
		return "error"
	}
	return "failure"
}

// orMissing is the error of a write, or that there is nothing to write to: of a commit or a pull request that
// it does not have Gitea says that it has failed (500).
func (r giteaClient) orMissing(ctx context.Context, err error, repository, path string) error {
	if failure(err).Status != http.StatusInternalServerError {
		return err
	}
	if missing := r.get(ctx, repository, path, nil); failure(missing).NotFound() {
		return missing
	}
	return err
}

// mayReport: what the account may do is in the repository, the token's scopes Gitea does not tell.
func (r giteaClient) mayReport(ctx context.Context, repository string) (told bool, err error) {
	var answer struct {
		Permissions *struct {
			Push  bool `json:"push"`
			Admin bool `json:"admin"`
		} `json:"permissions"`
	}
	if err := r.get(ctx, repository, "", &answer); err != nil {
		return false, err
	}
	if p := answer.Permissions; p != nil && !p.Push && !p.Admin {
		return true, missingRight(r)
	}
	return false, nil
}

func (r giteaClient) account(ctx context.Context) (string, error) {
	var user giteaUser
	err := r.send(ctx, http.MethodGet, r.base+"/user", nil, &user)
	return strconv.FormatInt(user.ID, 10), err
}

// giteaUser is what is read of an account, giteaComment of a comment.
type (
	giteaUser struct {
		ID    int64  `json:"id"`
		Login string `json:"login"`
	}
	giteaComment struct {
		ID   int64     `json:"id"`
		Body string    `json:"body"`
		User giteaUser `json:"user"`
	}
)

// comments are all on the first page, the oldest first: Gitea has no pages here.
func (r giteaClient) comments(ctx context.Context, repository string, number, _ int) (found []comment, more bool, err error) {
	var list []giteaComment
	err = r.get(ctx, repository, "issues/"+strconv.Itoa(number)+"/comments", &list)
	for _, c := range list {
		found = append(found, comment{id: strconv.FormatInt(c.ID, 10), author: strconv.FormatInt(c.User.ID, 10), body: c.Body})
	}
	return found, false, r.orMissing(ctx, err, repository, "pulls/"+strconv.Itoa(number))
}

func (r giteaClient) createComment(ctx context.Context, repository string, number int, body string) (string, error) {
	var made giteaComment
	err := r.call(ctx, http.MethodPost, repository, "issues/"+strconv.Itoa(number)+"/comments", map[string]string{"body": body}, &made)
	return madeComment(made.ID, r.orMissing(ctx, err, repository, "pulls/"+strconv.Itoa(number)))
}

func (r giteaClient) editComment(ctx context.Context, repository string, _ int, id, body string) error {
	if _, err := strconv.ParseInt(id, 10, 64); err != nil {
		return notAComment(id)
	}
	return r.call(ctx, http.MethodPatch, repository, "issues/comments/"+id, map[string]string{"body": body}, nil)
}
