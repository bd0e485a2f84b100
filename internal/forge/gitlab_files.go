package forge

import (
	"context"
	"strconv"

	"github.com/xanzy/go-gitlab"
)

// mergeRequestFiles: changes_count of the merge request says how many files it changes, as
// "1000+" where GitLab does not count on, and nothing while it is being prepared.
func (r gitlabClient) mergeRequestFiles(ctx context.Context, repository string, number int) (changes, error) {
	request, _, err := r.client.MergeRequests.GetMergeRequest(repository, number, nil, gitlab.WithContext(ctx))
	if err != nil {
		return changes{}, err
	}
	if request.ChangesCount == "" {
		return changes{}, &Error{message: "the host is still preparing the merge request", retryable: true}
	}
	list := changes{head: request.SHA}
	for page := 1; page > 0 && page <= maxFilePages; {
		options := &gitlab.ListMergeRequestDiffsOptions{ListOptions: gitlab.ListOptions{Page: page, PerPage: filesPerPage}}
		diffs, resp, err := r.client.MergeRequests.ListMergeRequestDiffs(repository, number, options, gitlab.WithContext(ctx))
		if err != nil {
			return changes{}, err
		}
		for _, diff := range diffs {
			if diff == nil {
				diff = &gitlab.MergeRequestDiff{}
			}
			if err := list.add(diff.NewPath, diff.OldPath); err != nil {
				return changes{}, err
			}
		}
		page = resp.NextPage
	}
	if count, err := strconv.Atoi(request.ChangesCount); err != nil || count != list.listed {
		list.cutShort()
	}
	return list, nil
}

// compare: straight compares the two commits themselves, so that a forced push is compared
// too. compare_timeout says that the list is longer than GitLab gives (GitLab's
// lib/api/entities/compare.rb).
func (r gitlabClient) compare(ctx context.Context, repository, before, after string) (changes, error) {
	compared, _, err := r.client.Repositories.Compare(repository, &gitlab.CompareOptions{From: &before, To: &after, Straight: gitlab.Ptr(true)}, gitlab.WithContext(ctx))
	if err != nil {
		return changes{}, err
	}
	var list changes
	for _, diff := range compared.Diffs {
		if diff == nil {
			diff = &gitlab.Diff{}
		}
		if err := list.add(diff.NewPath, diff.OldPath); err != nil {
			return changes{}, err
		}
	}
	if compared.CompareTimeout {
		list.cutShort()
	}
	return list, nil
}
