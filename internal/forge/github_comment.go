package forge

import (
	"context"
	"strconv"
)

// readComment: the merge request is named by its address as an issue.
func (r githubClient) readComment(ctx context.Context, repository string, _ int, id string) (Comment, error) {
	owner, repo, err := githubName(repository)
	if err != nil {
		return Comment{}, err
	}
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return Comment{}, notAComment(id)
	}
	found, _, err := r.client.Issues.GetComment(ctx, owner, repo, number)
	if err != nil {
		return Comment{}, githubError(err)
	}
	return Comment{
		AuthorID: strconv.FormatInt(found.GetUser().GetID(), 10), Author: found.GetUser().GetLogin(), Number: numberIn(found.GetIssueURL(), "issues"),
		Text: found.GetBody(), Edited: edited(found.GetCreatedAt().Time, found.GetUpdatedAt().Time),
	}, nil
}

func (r githubClient) react(ctx context.Context, repository string, _ int, id string) (bool, error) {
	owner, repo, err := githubName(repository)
	if err != nil {
		return false, err
	}
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return false, notAComment(id)
	}
	_, _, err = r.client.Reactions.CreateIssueCommentReaction(ctx, owner, repo, number, "+1")
	return true, githubError(err)
}
