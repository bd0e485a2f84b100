package forge

import (
	"context"
	"net/http"
	"strconv"

	"github.com/gatewright/gatewright/internal/event"
)

// readComment: the merge request is named by its address on the host's pages; that of an issue is another one.
func (r giteaClient) readComment(ctx context.Context, repository string, _ int, id string) (Comment, error) {
	var found struct {
		giteaComment
		CreatedAt      string `json:"created_at"`
		UpdatedAt      string `json:"updated_at"`
		PullRequestURL string `json:"pull_request_url"`
	}
	if err := r.get(ctx, repository, "issues/comments/"+id, &found); err != nil {
		return Comment{}, err
	}
	created, _ := event.HostTime(found.CreatedAt)
	updated, _ := event.HostTime(found.UpdatedAt)
	return Comment{
		AuthorID: strconv.FormatInt(found.User.ID, 10), Author: found.User.Login, Number: numberIn(found.PullRequestURL, "pulls"),
		Text: found.Body, Edited: edited(created, updated),
	}, nil
}

// react: one that is there already is 200 in place of 201 (gitea routers/api/v1/repo/issue_reaction.go).
func (r giteaClient) react(ctx context.Context, repository string, _ int, id string) (bool, error) {
	return true, r.call(ctx, http.MethodPost, repository, "issues/comments/"+id+"/reactions", map[string]string{"content": "+1"}, nil)
}
