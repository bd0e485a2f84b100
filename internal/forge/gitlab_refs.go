package forge

import (
	"context"
	"strconv"
	"time"

	"github.com/xanzy/go-gitlab"

	"github.com/gatewright/gatewright/internal/event"
)

func (r gitlabClient) repository(ctx context.Context, name string) (event.Repository, error) {
	project, _, err := r.client.Projects.GetProject(name, nil, gitlab.WithContext(ctx))
	if err != nil {
		return event.Repository{}, err
	}
	if project == nil {
		return event.Repository{}, errNull
	}
	return event.Repository{
		ID: strconv.Itoa(project.ID), FullName: project.PathWithNamespace, Private: project.Visibility == gitlab.PrivateVisibility, DefaultBranch: project.DefaultBranch,
	}, nil
}

func (r gitlabClient) branches(ctx context.Context, repository string) ([]Ref, bool, error) {
	return pages(func(page int) (list []Ref, next bool, err error) {
		branches, resp, err := r.client.Branches.ListBranches(repository, &gitlab.ListBranchesOptions{ListOptions: gitlab.ListOptions{Page: page, PerPage: refsPerPage}}, gitlab.WithContext(ctx))
		if err != nil {
			return nil, false, err
		}
		if branches == nil {
			return nil, false, errNull
		}
		for _, b := range branches {
			if b == nil || b.Commit == nil {
				return nil, false, errNull
			}
			list = append(list, Ref{Branch: b.Name, SHA: b.Commit.ID})
		}
		return list, resp.NextPage > page, nil
	})
}

// mergeRequests: one that is being prepared has no commit yet.
func (r gitlabClient) mergeRequests(ctx context.Context, repository string) ([]Ref, bool, error) {
	return pages(func(page int) (list []Ref, next bool, err error) {
		options := &gitlab.ListProjectMergeRequestsOptions{State: gitlab.Ptr("opened"), ListOptions: gitlab.ListOptions{Page: page, PerPage: refsPerPage}}
		requests, resp, err := r.client.MergeRequests.ListProjectMergeRequests(repository, options, gitlab.WithContext(ctx))
		if err != nil {
			return nil, false, err
		}
		if requests == nil {
			return nil, false, errNull
		}
		for _, m := range requests {
			if m == nil {
				return nil, false, errNull
			}
			ref := Ref{
				Number: m.IID, Branch: m.TargetBranch, SHA: m.SHA, SourceBranch: m.SourceBranch, Title: m.Title, Draft: m.Draft || m.WorkInProgress,
				Fork: m.SourceProjectID != m.TargetProjectID, Labels: m.Labels,
			}
			if m.Author != nil {
				ref.Author, ref.AuthorID = m.Author.Username, idText(int64(m.Author.ID))
			}
			if m.UpdatedAt != nil {
				ref.UpdatedAt = m.UpdatedAt.UTC().Format(time.RFC3339Nano)
			}
			list = append(list, ref)
		}
		return list, resp.NextPage > page, nil
	})
}
