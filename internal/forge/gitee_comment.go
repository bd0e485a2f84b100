package forge

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/gatewright/gatewright/internal/event"
)

// readComment: which merge request a comment is on stands in one of three addresses; the documents
// name them as texts only (go-gitee docs/PullRequestComments.md), so that each is looked at.
func (r *giteeClient) readComment(ctx context.Context, repository string, _ int, id string) (Comment, error) {
	var found struct {
		giteeComment
		CreatedAt      looseText `json:"created_at"`
		UpdatedAt      looseText `json:"updated_at"`
		PullRequestURL looseText `json:"pull_request_url"`
		HTMLURL        looseText `json:"html_url"`
	}
	if err := r.call(ctx, http.MethodGet, repository, "pulls/comments/"+id, nil, &found); err != nil {
		return Comment{}, err
	}
	created, _ := event.HostTime(string(found.CreatedAt))
	updated, _ := event.HostTime(string(found.UpdatedAt))
	return Comment{
		AuthorID: strconv.FormatInt(int64(found.User.ID), 10), Author: found.User.Login,
		Number: cmp.Or(numberIn(string(found.PullRequestURL), "pulls"), numberIn(string(found.HTMLURL), "pulls")),
		Text:   found.Body, Edited: edited(created, updated),
	}, nil
}

// react: Gitee's API has no reactions.
func (r *giteeClient) react(context.Context, string, int, string) (bool, error) { return false, nil }

// looseText is a text; empty for anything else.
type looseText string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *looseText) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) != nil {
		text = ""
	}
	*t = looseText(text)
	return nil
}
