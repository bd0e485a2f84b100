package forge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/xanzy/go-gitlab"

	"github.com/gatewright/gatewright/internal/event"
)

func gitlabHost() host {
	return host{
		name: event.GitLab, filePage: "/-/blob/%s/", newClient: newGitLab,
		hookKind: HookKind{Needed: []string{"push_events", "tag_push_events", "merge_requests_events", "note_events"}, Organizations: true, Nested: true},
		// push_event_hooks_limit (specs/githosts.md 2.1) is 3 unless an administrator changed it.
		mostInPush: 3,
	}
}

// gitlabClient asks GitLab's REST API, of gitlab.com or self-managed.
//
//lint:ignore SA1019 this module is required of the project; its successor has another path
type gitlabClient struct{ client *gitlab.Client }

func newGitLab(c Connection, h *http.Client, _ func() time.Time) (client, error) {
	if c.App != nil {
		return nil, errNoApps
	}
	//lint:ignore SA1019 as above
	api, err := gitlab.NewClient(c.Token, gitlab.WithBaseURL(c.APIURL), gitlab.WithHTTPClient(h), gitlab.WithoutRetries(), gitlab.WithCustomLimiter(noLimit{}))
	return gitlabClient{api}, err
}

// noLimit sends at once: the transport bounds what is in flight, and the queue waits.
type noLimit struct{}

func (noLimit) Wait(context.Context) error { return nil }

func (r gitlabClient) branch(ctx context.Context, repository, name string) (string, error) {
	branch, _, err := r.client.Branches.GetBranch(repository, name, gitlab.WithContext(ctx))
	if err != nil {
		return "", err
	}
	return commitOf(branch.Name, name, branch.Commit)
}

// tag: the commit of the answer is the tagged one; an annotated tag's own hash is its target.
func (r gitlabClient) tag(ctx context.Context, repository, name string) (string, error) {
	tag, _, err := r.client.Tags.GetTag(repository, name, gitlab.WithContext(ctx))
	if err != nil {
		return "", err
	}
	if tag == nil {
		return "", errNull
	}
	return commitOf(tag.Name, name, tag.Commit)
}

// errNull is the error for an answer that is null, which the library takes.
var errNull = errors.New("it is null")

// commitOf is the commit of an answer about the branch or tag of a name.
func commitOf(got, name string, commit *gitlab.Commit) (string, error) {
	if got != name || commit == nil {
		return "", fmt.Errorf("it speaks of %.100q and not of %.100q with its commit", got, name)
	}
	return commit.ID, nil
}

func (r gitlabClient) mergeRequest(ctx context.Context, repository string, number int) (MergeRequest, error) {
	request, _, err := r.client.MergeRequests.GetMergeRequest(repository, number, nil, gitlab.WithContext(ctx))
	if err == nil && request == nil {
		err = errNull
	}
	if err != nil {
		return MergeRequest{}, err
	}
	found := MergeRequest{
		HeadSHA: request.SHA, Open: request.State == "opened", Fork: fromFork(int64(request.SourceProjectID), int64(request.TargetProjectID)),
		SourceBranch: request.SourceBranch, TargetBranch: request.TargetBranch, RepositoryID: idText(int64(request.TargetProjectID)),
	}
	if request.Author != nil {
		found.Author = user(int64(request.Author.ID), request.Author.Username)
	}
	return found, nil
}

func (r gitlabClient) rightToReadMembers() string {
	return "a token with the scope read_api or api, whose user is a member of the project"
}

// writes asks for the account by its number, with what it inherits from groups (GitLab's page
// of GET /projects/:id/members/all/:user_id). Members may be blocked.
func (r gitlabClient) writes(ctx context.Context, repository string, u User) (bool, error) {
	id, err := strconv.Atoi(u.ID)
	if err != nil {
		return false, nil
	}
	member, _, err := r.client.ProjectMembers.GetInheritedProjectMember(repository, id, gitlab.WithContext(ctx))
	if err == nil && member == nil {
		err = errNull
	}
	if err != nil {
		return false, err
	}
	if member.ID != id {
		return mayWrite("", user(int64(member.ID), member.Username), u)
	}
	return member.State == "active" && member.AccessLevel >= gitlabDeveloper, nil
}

// languages are shares in percent.
func (r gitlabClient) languages(ctx context.Context, repository, _ string) ([]string, error) {
	shares, _, err := r.client.Projects.GetProjectLanguages(repository, gitlab.WithContext(ctx))
	if err != nil || shares == nil {
		return nil, err
	}
	return byUse(*shares), nil
}
