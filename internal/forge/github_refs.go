package forge

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/gatewright/gatewright/internal/event"
)

func (r githubClient) repository(ctx context.Context, name string) (event.Repository, error) {
	owner, repo, err := githubName(name)
	if err != nil {
		return event.Repository{}, err
	}
	got, _, err := r.client.Repositories.Get(ctx, owner, repo)
	if err != nil {
		return event.Repository{}, githubError(err)
	}
	return event.Repository{ID: strconv.FormatInt(got.GetID(), 10), FullName: got.GetFullName(), Private: got.GetPrivate(), DefaultBranch: got.GetDefaultBranch()}, nil
}

func (r githubClient) branches(ctx context.Context, repository string) ([]Ref, bool, error) {
	owner, repo, err := githubName(repository)
	if err != nil {
		return nil, false, err
	}
	return pages(func(page int) (list []Ref, next bool, err error) {
		branches, resp, err := r.client.Repositories.ListBranches(ctx, owner, repo, &github.BranchListOptions{ListOptions: github.ListOptions{Page: page, PerPage: refsPerPage}})
		if err != nil {
			return nil, false, githubError(err)
		}
		if branches == nil {
			return nil, false, errNull
		}
		for _, b := range branches {
			if strings.HasPrefix(b.GetName(), event.MergeQueueBranches) {
				continue // a merge_group event asks for its check
			}
			list = append(list, Ref{Branch: b.GetName(), SHA: b.GetCommit().GetSHA()})
		}
		return list, resp.NextPage > page, nil
	})
}

// mergeRequests: the head of a pull request has no repository where the fork was deleted.
func (r githubClient) mergeRequests(ctx context.Context, repository string) ([]Ref, bool, error) {
	owner, repo, err := githubName(repository)
	if err != nil {
		return nil, false, err
	}
	return pages(func(page int) (list []Ref, next bool, err error) {
		pulls, resp, err := r.client.PullRequests.List(ctx, owner, repo, &github.PullRequestListOptions{State: "open", ListOptions: github.ListOptions{Page: page, PerPage: refsPerPage}})
		if err != nil {
			return nil, false, githubError(err)
		}
		if pulls == nil {
			return nil, false, errNull
		}
		for _, p := range pulls {
			ref := Ref{
				Number: p.GetNumber(), Branch: p.GetBase().GetRef(), SHA: p.GetHead().GetSHA(), SourceBranch: p.GetHead().GetRef(), Title: p.GetTitle(),
				Author: p.GetUser().GetLogin(), AuthorID: idText(p.GetUser().GetID()), Draft: p.GetDraft(), Fork: p.GetHead().GetRepo().GetID() != p.GetBase().GetRepo().GetID(),
			}
			if at := p.GetUpdatedAt(); !at.IsZero() {
				ref.UpdatedAt = at.UTC().Format(time.RFC3339)
			}
			for _, label := range p.Labels {
				ref.Labels = append(ref.Labels, label.GetName())
			}
			list = append(list, ref)
		}
		return list, resp.NextPage > page, nil
	})
}
