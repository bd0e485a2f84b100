package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/webhook"
)

// The numbers of the repository's merge requests on every host: one from a branch, and one from a
// fork, whose author may not write to the repository.
const (
	MergeRequest = 7
	ForkRequest  = 8
)

// Stranger is the number of the author of the merge request from a fork on every host.
const Stranger = 14

// World is what a demo is about: the repository acme/shop on four hosts, a CodeArts
// project with one task, and three pipelines.
type World struct {
	// Clean is the commit on main, Parent the one before it, Bad the one on the
	// merge request's branch, with a secret and a syntax error, Mended the one that takes
	// both away again.
	Clean, Parent, Bad, Mended string
	// Fork is the commit of the merge request from a fork, ForkNext the one after it.
	Fork, ForkNext string
	// Pipeline is the id of the pipeline, Checkpoint the name of the task in it that
	// waits for approval. FailingPipeline is the id of the one that always fails.
	Pipeline, Checkpoint, FailingPipeline string
	// HeldPipeline is the id of the one that starts once people have approved.
	HeldPipeline string

	options      standin.Options
	payloads     *template.Template
	repositories map[event.Host]standin.Repository
}

// makeWorld makes the repository as each host would serve it, and what the
// stand-in starts with. GitHub, Gitee and Gitea serve a merge request's code under
// refs/pull, GitLab under refs/merge-requests.
func makeWorld(folder string) (*World, error) {
	w := &World{Checkpoint: "k2m8qa", repositories: map[event.Host]standin.Repository{}}
	w.options = standin.Options{
		RegionProject: standin.RegionProject{ID: "0a1b2c3d4e5f60718293a4b5c6d7e8f9", Name: "cn-north-4"},
		Projects:      []standin.Project{{ID: "41b8df4bf53f4d51b8e6c5b32e8d2a07", Name: "demo"}},
		Tasks:         []standin.TaskSeed{{Name: "shop-main", RepoURL: "https://github.com/acme/shop.git", Branch: "main"}},
		Repositories:  map[string]string{},
	}
	made := map[standin.RefStyle]standin.Repository{}
	for _, host := range webhook.Hosts() {
		repository, err := makeRepository(filepath.Join(folder, string(host)), host, made)
		if err != nil {
			return nil, fmt.Errorf("make repository: %w", err)
		}
		url := "https://" + string(host) + ".com"
		w.options.Repositories[url+"/acme/shop.git"] = repository.Path
		w.options.GitHosts = append(w.options.GitHosts, standin.GitHost{
			Kind: string(host), URL: url, MergeRequests: map[int]standin.HostMergeRequest{ForkRequest: {Author: Stranger, Fork: true}},
		})
		w.repositories[host] = repository
		w.Mended, w.Fork, w.ForkNext = repository.MendedSHA, repository.ForkSHA, repository.ForkNextSHA
		w.Clean, w.Parent, w.Bad = repository.CleanSHA, repository.ParentSHA, repository.BadSHA
	}
	pipelines, err := files.ReadFile("files/pipelines.yaml")
	if err != nil {
		return nil, err
	}
	if w.options.Pipelines, err = standin.LoadPipelines("pipelines.yaml", pipelines); err != nil {
		return nil, fmt.Errorf("load pipelines: %w", err)
	}
	w.Pipeline, w.FailingPipeline, w.HeldPipeline = w.options.Pipelines[0].ID, w.options.Pipelines[1].ID, w.options.Pipelines[2].ID
	w.options.Release = standin.ReleaseSettings{StopDelay: 400 * time.Millisecond, RestartDelay: 400 * time.Millisecond, RollbackDelay: 400 * time.Millisecond}
	w.payloads, err = template.ParseFS(files, "files/*.json")
	return w, err
}

// makeRepository makes the repository of a host, as a copy where one with the same refs is made.
func makeRepository(path string, host event.Host, made map[standin.RefStyle]standin.Repository) (r standin.Repository, err error) {
	style := standin.RefPull
	if host == event.GitLab {
		style = standin.RefMergeRequest
	}
	if r, found := made[style]; found {
		err := os.CopyFS(path, os.DirFS(r.Path))
		r.Path = path
		return r, err
	}
	r, err = standin.MakeRepository(path, standin.RepositorySpec{Number: MergeRequest, RefStyle: style, Fork: ForkRequest})
	made[style] = r
	return r, err
}

// Repository is the repository of a host.
func (w *World) Repository(host event.Host) standin.Repository { return w.repositories[host] }

// RegionProject is the id of the IAM project.
func (w *World) RegionProject() string { return w.options.RegionProject.ID }

// Change is what a payload says.
type Change struct {
	// Branch is the branch pushed to, or the target of the merge request.
	Branch string
	// SourceBranch and Number are those of a merge request, or the first that of a merge group.
	SourceBranch string
	Number       int
	// Before and SHA are the commits before and after.
	Before, SHA string
	// Time is when the host sent it, in RFC 3339; default now.
	Time    string
	Deleted bool
	// Closed: Gitee's merge request is closed, no longer open.
	Closed bool
	// Fork: the payload says that the merge request comes from a fork.
	Fork bool
	// Edited: the title of GitHub's or Gitea's merge request was changed, and nothing else.
	Edited bool

	// Comment is the number of a comment on the merge request, Account and Login are its author's, Text is
	// what it says.
	Comment, Account int64
	Login, Text      string
}

// Quoted is the text of the comment in JSON.
func (c Change) Quoted() (string, error) {
	text, err := json.Marshal(c.Text)
	return string(text), err
}

// Payload is the body with which a host announces a change; kind is that of a
// [Delivery].
func (w *World) Payload(host event.Host, kind string, c Change) ([]byte, error) {
	if c.Time == "" {
		c.Time = time.Now().UTC().Format(time.RFC3339)
	}
	var filled bytes.Buffer
	if err := w.payloads.ExecuteTemplate(&filled, string(host)+"-"+kind+".json", c); err != nil {
		return nil, fmt.Errorf("fill in payload: %w", err)
	}
	return filled.Bytes(), nil
}
