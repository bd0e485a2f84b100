package forge

import (
	"context"
	"net/url"
	"strconv"

	"github.com/gatewright/gatewright/internal/event"
)

// repository: full_name has the path here, unlike that of webhooks (specs/githosts.md 3.2).
func (r *giteeClient) repository(ctx context.Context, name string) (event.Repository, error) {
	var answer struct {
		ID            int64  `json:"id"`
		FullName      string `json:"full_name"`
		Private       bool   `json:"private"`
		DefaultBranch string `json:"default_branch"`
	}
	err := r.get(ctx, name, "", nil, &answer)
	return event.Repository{ID: strconv.FormatInt(answer.ID, 10), FullName: answer.FullName, Private: answer.Private, DefaultBranch: answer.DefaultBranch}, err
}

// branches: a page that is not full is the last one. An installation that knows no pages gives all of
// them, and the same again for every page: that ends the list, too.
func (r *giteeClient) branches(ctx context.Context, repository string) ([]Ref, bool, error) {
	first := ""
	return pages(func(page int) (list []Ref, next bool, err error) {
		var answer []struct {
			Name   string      `json:"name"`
			Commit giteeCommit `json:"commit"`
		}
		if err := r.get(ctx, repository, "branches", giteePage(page), &answer); err != nil {
			return nil, false, err
		}
		if answer == nil {
			return nil, false, errNull
		}
		for _, b := range answer {
			list = append(list, Ref{Branch: b.Name, SHA: b.Commit.SHA})
		}
		if len(list) > 0 && page > 1 && list[0].Branch == first {
			return nil, false, nil
		}
		if len(list) > 0 && page == 1 {
			first = list[0].Branch
		}
		return list, len(list) >= refsPerPage, nil
	})
}

func giteePage(page int) url.Values {
	return url.Values{"page": {strconv.Itoa(page)}, "per_page": {strconv.Itoa(refsPerPage)}}
}

func (r *giteeClient) mergeRequests(ctx context.Context, repository string) ([]Ref, bool, error) {
	return pages(func(page int) (list []Ref, next bool, err error) {
		query := giteePage(page)
		query.Set("state", "open")
		var answer []hostPull
		if err := r.get(ctx, repository, "pulls", query, &answer); err != nil {
			return nil, false, err
		}
		if answer == nil {
			return nil, false, errNull
		}
		for _, p := range answer {
			list = append(list, p.ref())
		}
		return list, len(list) >= refsPerPage, nil
	})
}
