package forge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-github/v60/github"
	"github.com/xanzy/go-gitlab"
)

// MergeRequestRef is a merge request that a commit came from, as its host tells it. What a host does
// not tell is the zero value.
type MergeRequestRef struct {
	Number int
	// AuthorID is the host's number of the account that opened it, as text, Author its login; empty
	// where the account was deleted.
	AuthorID, Author string
	// Branch is the target.
	Branch string
	// MergedSHA is the commit that the target branch had after the merge, in full; empty where it is
	// not merged, or the host does not say it.
	MergedSHA string
	// State is [RequestOpen], [RequestClosed] or [RequestMerged].
	State string
}

// The states of a MergeRequestRef.
const (
	RequestOpen   = "open"
	RequestClosed = "closed"
	RequestMerged = "merged"
)

// commitReader reads what a commit came from.
type commitReader interface {
	requestsOf(ctx context.Context, repository, sha string) ([]MergeRequestRef, error)
}

// MergeRequestsOf reads the merge requests that a commit, in full, came from, the merged ones first.
// The one whose merge made a branch what it is has that Branch and this commit as MergedSHA; others
// just have the commit among theirs, which whoever may open a merge request can bring about. None
// does not prove that there is none: GitHub and Gitee are looked through for the newest maxMerged
// merged ones only, and GitLab, Gitea and Forgejo know those that they have merged themselves. The errors are as
// those of Head.
func (f *Forge) MergeRequestsOf(ctx context.Context, connection, repository, sha string) ([]MergeRequestRef, error) {
	const name = "list merge requests of commit"
	c, err := f.connected(connection, name)
	if err != nil {
		return nil, err
	}
	if !plain(repository) || !isCommit(sha) {
		return nil, &Error{Operation: name, message: fmt.Sprintf("%.100q in %.100q cannot be a commit of a repository", sha, repository)}
	}
	ctx, cancel := context.WithTimeout(ctx, refsTimeout)
	defer cancel()
	list, err := c.requestsOf(withOperation(ctx, operation{name, rightToRead}), repository, sha)
	if err != nil {
		return nil, asError(name, err)
	}
	var refs []MergeRequestRef
	for _, r := range list {
		if r.Number <= 0 || r.Branch == "" {
			return nil, asError(name, errors.New("one of the list has no number or no target branch"))
		}
		if r.AuthorID == "" {
			r.Author = "" // a login without its account is nobody's
		}
		if r.State != RequestMerged || !isCommit(r.MergedSHA) {
			r.MergedSHA = "" // of an open one it is a test merge
		}
		if !slices.ContainsFunc(refs, func(other MergeRequestRef) bool { return other.Number == r.Number }) {
			refs = append(refs, r)
		}
	}
	slices.SortStableFunc(refs, func(a, b MergeRequestRef) int { return rank(a) - rank(b) })
	return refs, nil
}

func rank(r MergeRequestRef) int {
	return slices.Index([]string{RequestMerged, RequestOpen, RequestClosed}, r.State)
}

// mergedPages bounds how many pages of merged merge requests are looked through.
const mergedPages = 3

// newestMerged looks through pages of merged merge requests, the newest first, for those that made a
// commit.
func newestMerged(sha string, read func(page int) (list []MergeRequestRef, next bool, err error)) ([]MergeRequestRef, error) {
	for page := 1; page <= mergedPages; page++ {
		list, next, err := read(page)
		if err != nil {
			return nil, err
		}
		found := slices.DeleteFunc(list, func(r MergeRequestRef) bool { return r.State != RequestMerged || r.MergedSHA != sha })
		if len(found) > 0 || !next {
			return found, nil
		}
	}
	return nil, nil
}

// requestsOf: the call for a commit answers with the merged pull request only where the commit is on
// the default branch (docs.github.com/rest/commits/commits#list-pull-requests-associated-with-a-commit).
// For other branches the closed ones are looked through; after a merge, merge_commit_sha is what the
// branch has then, however it was merged (docs.github.com/rest/pulls/pulls#get-a-pull-request).
func (r githubClient) requestsOf(ctx context.Context, repository, sha string) ([]MergeRequestRef, error) {
	owner, repo, err := githubName(repository)
	if err != nil {
		return nil, err
	}
	pulls, _, err := r.client.PullRequests.ListPullRequestsWithCommit(ctx, owner, repo, sha, &github.ListOptions{PerPage: refsPerPage})
	if err != nil {
		return nil, githubError(err)
	}
	if pulls == nil {
		return nil, errNull
	}
	refs := githubRequests(repository, pulls)
	if slices.ContainsFunc(refs, func(ref MergeRequestRef) bool { return ref.MergedSHA == sha && ref.State == RequestMerged }) {
		return refs, nil
	}
	merged, err := newestMerged(sha, func(page int) ([]MergeRequestRef, bool, error) {
		closed, resp, err := r.client.PullRequests.List(ctx, owner, repo, &github.PullRequestListOptions{
			State: "closed", Sort: "updated", Direction: "desc", ListOptions: github.ListOptions{Page: page, PerPage: refsPerPage},
		})
		if err != nil {
			return nil, false, githubError(err)
		}
		if closed == nil {
			return nil, false, errNull
		}
		return githubRequests(repository, closed), resp.NextPage > page, nil
	})
	return append(refs, merged...), err
}

// githubRequests leaves out pull requests of other repositories, such as of the one that this is a fork
// of.
func githubRequests(repository string, pulls []*github.PullRequest) []MergeRequestRef {
	var refs []MergeRequestRef
	for _, p := range pulls {
		if target := p.GetBase().GetRepo().GetFullName(); target != "" && !strings.EqualFold(target, repository) {
			continue
		}
		author := user(p.GetUser().GetID(), p.GetUser().GetLogin())
		ref := MergeRequestRef{Number: p.GetNumber(), AuthorID: author.ID, Author: author.Login, Branch: p.GetBase().GetRef(), MergedSHA: p.GetMergeCommitSHA(), State: RequestOpen}
		switch {
		case !p.GetMergedAt().IsZero():
			ref.State = RequestMerged
		case p.GetState() != "open":
			ref.State = RequestClosed
		}
		refs = append(refs, ref)
	}
	return refs
}

// requestsOf: the answer has the merge requests that the commit is of, and those that it is the merge
// commit or the squashed commit of (docs.gitlab.com/api/commits, list merge requests associated with a
// commit; gitlabhq's app/models/merge_request.rb, by_related_commit_sha). One that was merged by a
// fast-forward has neither: then the branch has its own commit.
func (r gitlabClient) requestsOf(ctx context.Context, repository, sha string) ([]MergeRequestRef, error) {
	requests, _, err := r.client.Commits.ListMergeRequestsByCommit(repository, sha, gitlab.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	if requests == nil {
		return nil, errNull
	}
	var refs []MergeRequestRef
	for _, m := range requests {
		if m == nil {
			return nil, errNull
		}
		ref := MergeRequestRef{Number: m.IID, Branch: m.TargetBranch, State: RequestOpen}
		if m.Author != nil {
			author := user(int64(m.Author.ID), m.Author.Username)
			ref.AuthorID, ref.Author = author.ID, author.Login
		}
		switch m.State {
		case "merged":
			ref.State = RequestMerged
			for _, made := range []string{m.MergeCommitSHA, m.SquashCommitSHA, m.SHA} {
				if ref.MergedSHA = made; made != "" {
					break
				}
			}
		case "closed":
			ref.State = RequestClosed
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// requestedPull is a pull request as Gitea and Gitee tell it.
type requestedPull struct {
	Number   int     `json:"number"`
	State    string  `json:"state"`
	Merged   bool    `json:"merged"`
	MergedAt *string `json:"merged_at"`
	MergeSHA string  `json:"merge_commit_sha"`
	User     struct {
		ID    looseID `json:"id"`
		Login string  `json:"login"`
	} `json:"user"`
	Base struct {
		Ref string `json:"ref"`
	} `json:"base"`
}

func (p requestedPull) ref() MergeRequestRef {
	author := user(int64(p.User.ID), p.User.Login)
	ref := MergeRequestRef{Number: p.Number, AuthorID: author.ID, Author: author.Login, Branch: p.Base.Ref, MergedSHA: p.MergeSHA, State: RequestOpen}
	switch {
	case p.Merged || p.State == "merged" || p.MergedAt != nil && *p.MergedAt != "":
		ref.State = RequestMerged
	case p.State != "open":
		ref.State = RequestClosed
	}
	return ref
}

// requestsOf: Gitea and Forgejo answer with the one pull request whose merge made the commit, else with
// 404 (go-gitea's routers/api/v1/repo/commits.go, GetCommitPullRequest). That is told from a repository
// that cannot be read by reading the repository.
func (r giteaClient) requestsOf(ctx context.Context, repository, sha string) ([]MergeRequestRef, error) {
	var answer requestedPull
	err := r.get(ctx, repository, "commits/"+sha+"/pull", &answer)
	if failure(err).NotFound() {
		_, err = r.repository(ctx, repository)
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	return []MergeRequestRef{answer.ref()}, nil
}

// requestsOf: Gitee's API v5 has no call for a commit, so the merged pull requests are looked through.
// That merge_commit_sha of a merged one is what the branch has then is what recorded payloads suggest
// (specs/githosts.md 3.3); where it is not, none is found.
func (r *giteeClient) requestsOf(ctx context.Context, repository, sha string) ([]MergeRequestRef, error) {
	return newestMerged(sha, func(page int) ([]MergeRequestRef, bool, error) {
		query := giteePage(page)
		query.Set("state", "merged")
		query.Set("sort", "updated")
		query.Set("direction", "desc")
		var answer []requestedPull
		if err := r.get(ctx, repository, "pulls", query, &answer); err != nil {
			return nil, false, err
		}
		if answer == nil {
			return nil, false, errNull
		}
		var refs []MergeRequestRef
		for _, p := range answer {
			refs = append(refs, p.ref())
		}
		return refs, len(answer) >= refsPerPage, nil
	})
}

// String is how logs and tests show one.
func (r MergeRequestRef) String() string {
	text := strconv.Itoa(r.Number) + " into " + r.Branch + " by " + r.AuthorID + " " + r.Author + ", " + r.State
	if r.MergedSHA != "" {
		text += " as " + r.MergedSHA
	}
	return text
}
