package forge

import (
	"context"
	"net/url"
	"strconv"

	"github.com/gatewright/gatewright/internal/event"
)

func (r giteaClient) repository(ctx context.Context, name string) (event.Repository, error) {
	var answer struct {
		ID            int64  `json:"id"`
		FullName      string `json:"full_name"`
		Private       bool   `json:"private"`
		DefaultBranch string `json:"default_branch"`
	}
	err := r.get(ctx, name, "", &answer)
	return event.Repository{ID: strconv.FormatInt(answer.ID, 10), FullName: answer.FullName, Private: answer.Private, DefaultBranch: answer.DefaultBranch}, err
}

// branches: an administrator bounds the pages, to fewer than are asked for, so that an empty page is
// the end.
func (r giteaClient) branches(ctx context.Context, repository string) ([]Ref, bool, error) {
	return pages(func(page int) (list []Ref, next bool, err error) {
		var answer []struct {
			Name   string `json:"name"`
			Commit struct {
				ID string `json:"id"`
			} `json:"commit"`
		}
		if err := r.get(ctx, repository, "branches?"+giteaPage(page), &answer); err != nil {
			return nil, false, err
		}
		if answer == nil {
			return nil, false, errNull
		}
		for _, b := range answer {
			list = append(list, Ref{Branch: b.Name, SHA: b.Commit.ID})
		}
		return list, len(list) > 0, nil
	})
}

func giteaPage(page int) string {
	return url.Values{"page": {strconv.Itoa(page)}, "limit": {strconv.Itoa(refsPerPage)}}.Encode()
}

// hostPull is a pull request as Gitea and Gitee list it.
type hostPull struct {
	Number    int    `json:"number"`
	Title     string `json:"title"`
	Draft     bool   `json:"draft"`
	UpdatedAt string `json:"updated_at"`
	User      struct {
		ID    looseID `json:"id"`
		Login string  `json:"login"`
	} `json:"user"`
	Labels []struct {
		Name string `json:"name"`
	} `json:"labels"`
	Head hostPullSide `json:"head"`
	Base hostPullSide `json:"base"`
}

// hostPullSide: the repository is null where a fork was deleted.
type hostPullSide struct {
	Label *string `json:"label"`
	Ref   string  `json:"ref"`
	SHA   string  `json:"sha"`
	Repo  *struct {
		ID int64 `json:"id"`
	} `json:"repo"`
}

func (p hostPull) ref() Ref {
	ref := Ref{
		Number: p.Number, Branch: p.Base.Ref, SHA: p.Head.SHA, SourceBranch: p.Head.Ref, Title: p.Title, Author: p.User.Login, AuthorID: idText(int64(p.User.ID)), UpdatedAt: p.UpdatedAt, Draft: p.Draft,
		Fork: p.Head.Repo == nil || p.Base.Repo == nil || p.Head.Repo.ID != p.Base.Repo.ID || withoutBranch(p.Head.Label, p.Head.Ref),
	}
	for _, label := range p.Labels {
		ref.Labels = append(ref.Labels, label.Name)
	}
	return ref
}

func (r giteaClient) mergeRequests(ctx context.Context, repository string) ([]Ref, bool, error) {
	return pages(func(page int) (list []Ref, next bool, err error) {
		var answer []hostPull
		if err := r.get(ctx, repository, "pulls?state=open&"+giteaPage(page), &answer); err != nil {
			return nil, false, err
		}
		if answer == nil {
			return nil, false, errNull
		}
		for _, p := range answer {
			list = append(list, p.ref())
		}
		return list, len(list) > 0, nil
	})
}
