package forge

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/xanzy/go-gitlab"

	"github.com/gatewright/gatewright/internal/event"
)

func gitlabHost() host { return host{name: event.GitLab, newReader: newGitLab} }

// gitlabReader reads from GitLab's REST API, of gitlab.com or self-managed.
//
//lint:ignore SA1019 this module is required of the project; its successor has another path
type gitlabReader struct{ client *gitlab.Client }

func newGitLab(c Connection, client *http.Client) (reader, error) {
	//lint:ignore SA1019 as above
	api, err := gitlab.NewClient(c.Token, gitlab.WithBaseURL(c.APIURL), gitlab.WithHTTPClient(client), gitlab.WithoutRetries(), gitlab.WithCustomLimiter(noLimit{}))
	return gitlabReader{api}, err
}

// noLimit sends at once: the transport bounds what is in flight, and the queue waits.
type noLimit struct{}

func (noLimit) Wait(context.Context) error { return nil }

func (r gitlabReader) branch(ctx context.Context, repository, name string) (string, error) {
	branch, _, err := r.client.Branches.GetBranch(repository, name, gitlab.WithContext(ctx))
	if err != nil {
		return "", err
	}
	return commitOf(branch.Name, name, branch.Commit)
}

// tag: the commit of the answer is the tagged one; an annotated tag's own hash is its target.
func (r gitlabReader) tag(ctx context.Context, repository, name string) (string, error) {
	tag, _, err := r.client.Tags.GetTag(repository, name, gitlab.WithContext(ctx))
	if err != nil {
		return "", err
	}
	if tag == nil {
		return "", errors.New("it is null")
	}
	return commitOf(tag.Name, name, tag.Commit)
}

// commitOf is the commit of an answer about the branch or tag of a name.
func commitOf(got, name string, commit *gitlab.Commit) (string, error) {
	if got != name || commit == nil {
		return "", fmt.Errorf("it speaks of %.100q and not of %.100q with its commit", got, name)
	}
	return commit.ID, nil
}

func (r gitlabReader) mergeRequest(ctx context.Context, repository string, number int) (string, error) {
	request, _, err := r.client.MergeRequests.GetMergeRequest(repository, number, nil, gitlab.WithContext(ctx))
	if err != nil {
		return "", err
	}
	return request.SHA, nil
}

// languages are shares in percent.
func (r gitlabReader) languages(ctx context.Context, repository, _ string) ([]string, error) {
	shares, _, err := r.client.Projects.GetProjectLanguages(repository, gitlab.WithContext(ctx))
	if err != nil || shares == nil {
		return nil, err
	}
	return byUse(*shares), nil
}
