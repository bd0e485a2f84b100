package forge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/gatewright/gatewright/internal/event"
)

// maxTagDepth bounds how many annotated tags are followed: a tag may tag a tag.
const maxTagDepth = 5

func githubHost() host {
	return host{
		name: event.GitHub, filePage: "/blob/%s/", newClient: newGitHub,
		hookKind: HookKind{Needed: []string{"push", "pull_request", "issue_comment"}, Useful: []string{"merge_group", "repository"}, Organizations: true},
	}
}

// githubClient asks GitHub's REST API, of github.com or of an Enterprise Server.
type githubClient struct {
	client *github.Client
	// app is nil where there is a token.
	app *githubApp
}

func newGitHub(c Connection, h *http.Client, now func() time.Time) (client, error) {
	base, err := url.Parse(c.APIURL + "/")
	if err != nil {
		return nil, errors.New("parse api_url")
	}
	r := githubClient{client: github.NewClient(h).WithAuthToken(c.Token)}
	if c.App != nil {
		if r.app, err = newGitHubApp(*c.App, h, now); err != nil {
			return nil, err
		}
		r.app.api.BaseURL = base
		r.client = github.NewClient(&http.Client{Transport: r.app, CheckRedirect: h.CheckRedirect})
	}
	r.client.BaseURL = base
	return r, nil
}

func (r githubClient) branch(ctx context.Context, repository, name string) (string, error) {
	object, err := r.ref(ctx, repository, "refs/heads/"+name)
	return object.GetSHA(), err
}

func (r githubClient) tag(ctx context.Context, repository, name string) (string, error) {
	owner, repo, err := githubName(repository)
	if err != nil {
		return "", err
	}
	object, err := r.ref(ctx, repository, "refs/tags/"+name)
	for depth := 0; err == nil && object.GetType() == "tag"; depth++ {
		if depth == maxTagDepth {
			return "", fmt.Errorf("the tag leads through more than %d others", maxTagDepth)
		}
		var tag *github.Tag
		tag, _, err = r.client.Git.GetTag(ctx, owner, repo, url.PathEscape(object.GetSHA()))
		object, err = tag.GetObject(), githubError(err)
	}
	return object.GetSHA(), err
}

// ref reads a git ref. The answer names the ref: it must be the one that was asked for.
func (r githubClient) ref(ctx context.Context, repository, name string) (*github.GitObject, error) {
	owner, repo, err := githubName(repository)
	if err != nil {
		return nil, err
	}
	ref, _, err := r.client.Git.GetRef(ctx, owner, repo, name)
	if err == nil && ref.GetRef() != name {
		err = fmt.Errorf("it speaks of %.100q", ref.GetRef())
	}
	return ref.GetObject(), githubError(err)
}

func (r githubClient) mergeRequest(ctx context.Context, repository string, number int) (MergeRequest, error) {
	owner, repo, err := githubName(repository)
	if err != nil {
		return MergeRequest{}, err
	}
	pull, _, err := r.client.PullRequests.Get(ctx, owner, repo, number)
	if err != nil {
		return MergeRequest{}, githubError(err)
	}
	return MergeRequest{
		HeadSHA: pull.GetHead().GetSHA(), Author: user(pull.GetUser().GetID(), pull.GetUser().GetLogin()), Open: pull.GetState() == "open",
		Fork:         fromFork(pull.GetHead().GetRepo().GetID(), pull.GetBase().GetRepo().GetID()),
		SourceBranch: pull.GetHead().GetRef(), TargetBranch: pull.GetBase().GetRef(), RepositoryID: idText(pull.GetBase().GetRepo().GetID()),
	}, nil
}

func (r githubClient) rightToReadMembers() string {
	return "a token of an account that may write to the repository (fine-grained: Metadata: Read), or an App with Metadata: Read"
}

// writes: the role maintain is told as write, triage as read (GitHub's page of
// GET /repos/{owner}/{repo}/collaborators/{username}/permission).
func (r githubClient) writes(ctx context.Context, repository string, u User) (bool, error) {
	owner, repo, err := githubName(repository)
	if err != nil {
		return false, err
	}
	level, _, err := r.client.Repositories.GetPermissionLevel(ctx, owner, repo, url.PathEscape(u.Login))
	if err != nil {
		return false, githubError(err)
	}
	return mayWrite(level.GetPermission(), user(level.GetUser().GetID(), level.GetUser().GetLogin()), u)
}

// languages are counted in bytes.
func (r githubClient) languages(ctx context.Context, repository, _ string) ([]string, error) {
	owner, repo, err := githubName(repository)
	if err != nil {
		return nil, err
	}
	bytes, _, err := r.client.Repositories.ListLanguages(ctx, owner, repo)
	return byUse(bytes), githubError(err)
}

// githubName splits a full name, and escapes its parts, which the library does not.
func githubName(repository string) (owner, repo string, err error) {
	owner, repo, found := strings.Cut(repository, "/")
	if !found || strings.Contains(repo, "/") {
		return "", "", &Error{message: fmt.Sprintf("%.100q is not owner/name", repository)}
	}
	return url.PathEscape(owner), url.PathEscape(repo), nil
}

// githubError translates the library's own refusal to send: it remembers that an answer said
// that the limit is used up.
func githubError(err error) error {
	var limit *github.RateLimitError
	if errors.As(err, &limit) {
		wait := min(max(time.Until(limit.Rate.Reset.Time), 0), longestRetryAfter)
		return &Error{message: "the host asks to wait", retryable: true, retryAfter: wait, cause: errors.New("its limit of requests is used up")}
	}
	return err
}
