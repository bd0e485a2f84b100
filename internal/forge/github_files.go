package forge

import (
	"context"

	"github.com/google/go-github/v60/github"
)

// githubCompared is the most files that GitHub's comparison lists, all on its first page.
const githubCompared = 300

// mergeRequestFiles: the pull request says how many files it changes; the list ends after
// 3,000.
func (r githubClient) mergeRequestFiles(ctx context.Context, repository string, number int) (changes, error) {
	owner, repo, err := githubName(repository)
	if err != nil {
		return changes{}, err
	}
	pull, _, err := r.client.PullRequests.Get(ctx, owner, repo, number)
	if err != nil {
		return changes{}, githubError(err)
	}
	list := changes{head: pull.GetHead().GetSHA()}
	for page := 1; page > 0 && page <= maxFilePages; {
		files, resp, err := r.client.PullRequests.ListFiles(ctx, owner, repo, number, &github.ListOptions{Page: page, PerPage: filesPerPage})
		if err != nil {
			return changes{}, githubError(err)
		}
		if err := addGitHub(&list, files); err != nil {
			return changes{}, err
		}
		page = resp.NextPage
	}
	if list.listed != pull.GetChangedFiles() {
		list.cutShort()
	}
	return list, nil
}

// compare: the answer speaks of the commits after the newest common one, which is the first
// where the push was not forced.
func (r githubClient) compare(ctx context.Context, repository, before, after string) (changes, error) {
	owner, repo, err := githubName(repository)
	if err != nil {
		return changes{}, err
	}
	compared, _, err := r.client.Repositories.CompareCommits(ctx, owner, repo, before, after, &github.ListOptions{PerPage: 1})
	if err != nil {
		return changes{}, githubError(err)
	}
	var list changes
	err = addGitHub(&list, compared.Files)
	switch {
	case compared.GetMergeBaseCommit().GetSHA() != before:
		list.unknown = forced
	case list.listed >= githubCompared:
		list.cutShort()
	}
	return list, err
}

func addGitHub(list *changes, files []*github.CommitFile) error {
	for _, file := range files {
		if err := list.add(file.GetFilename(), file.GetPreviousFilename()); err != nil {
			return err
		}
	}
	return nil
}
