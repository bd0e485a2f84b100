package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"text/template"
	"time"

	"github.com/google/uuid"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/webhook"
)

// world is what the story is about: a repository on three hosts, a CodeArts
// project with one task, and a pipeline.
type world struct {
	options standin.Options
	// clean is the commit on main, parent the one before it, bad the one on the
	// merge request's branch.
	clean, parent, bad   string
	pipeline, checkpoint string
	templates            *template.Template
}

// mergeRequest is the number of the story's merge request on every host.
const mergeRequest = 7

// makeWorld makes the repository as each host would serve it, and what the
// stand-in starts with. GitHub and Gitee serve a merge request's code under
// refs/pull, GitLab under refs/merge-requests.
func makeWorld(folder string, pipelines []byte) (world, error) {
	var w world
	w.options = standin.Options{
		RegionProject: standin.RegionProject{ID: "0a1b2c3d4e5f60718293a4b5c6d7e8f9", Name: "cn-north-4"},
		Projects:      []standin.Project{{ID: "41b8df4bf53f4d51b8e6c5b32e8d2a07", Name: "demo"}},
		Tasks:         []standin.TaskSeed{{Name: "shop-main", RepoURL: "https://github.com/acme/shop.git", Branch: "main"}},
		Repositories:  map[string]string{},
	}
	for _, host := range webhook.Hosts() {
		style := standin.RefPull
		if host == event.GitLab {
			style = standin.RefMergeRequest
		}
		repository, err := standin.MakeRepository(filepath.Join(folder, string(host)), standin.RepositorySpec{Number: mergeRequest, RefStyle: style})
		if err != nil {
			return world{}, fmt.Errorf("make repository: %w", err)
		}
		w.options.Repositories["https://"+string(host)+".com/acme/shop.git"] = repository.Path
		w.clean, w.parent, w.bad = repository.CleanSHA, repository.ParentSHA, repository.BadSHA
	}
	var err error
	if w.options.Pipelines, err = standin.LoadPipelines("demo/pipelines.yaml", pipelines); err != nil {
		return world{}, fmt.Errorf("load pipelines: %w", err)
	}
	w.pipeline, w.checkpoint = w.options.Pipelines[0].ID, "k2m8qa"
	w.templates, err = template.ParseFS(demoFiles, "demo/*.json")
	return w, err
}

// change is what a payload says.
type change struct {
	Branch, SourceBranch, Before, SHA, Time string
	Number                                  int
	Deleted                                 bool
}

// payload fills in one of the payloads in demo/.
func (w world) payload(name string, c change) ([]byte, error) {
	if c.Time == "" {
		c.Time = time.Now().UTC().Format(time.RFC3339)
	}
	var filled bytes.Buffer
	if err := w.templates.ExecuteTemplate(&filled, name+".json", c); err != nil {
		return nil, fmt.Errorf("fill in payload %q: %w", name, err)
	}
	return filled.Bytes(), nil
}

// sent is one delivery of the story and how it was answered.
type sent struct {
	host  event.Host
	title string
	// id is the delivery's id in the database; empty when it was not stored.
	id     string
	status int
}

// send signs a payload as its host does and posts it.
func (d *demonstration) send(ctx context.Context, n *narrator, del delivery) (sent, error) {
	body, err := d.world.payload(string(del.host)+"-"+del.kind, del.change)
	if err != nil {
		return sent{}, err
	}
	connection, err := findConnection(d.cfg, string(del.host))
	if err != nil {
		return sent{}, err
	}
	if del.broken {
		connection.Secrets = []string{"not the secret of this connection"}
	}
	target, err := target(d.base, string(del.host))
	if err != nil {
		return sent{}, err
	}
	status, answer, err := post(ctx, http.DefaultClient, target, recorded{connection: connection, header: headersOf(del), body: body})
	if err != nil {
		return sent{}, err
	}
	var stored struct {
		Delivery string `json:"delivery"`
		Message  string `json:"message"`
	}
	if err := json.Unmarshal(answer, &stored); err != nil {
		return sent{}, fmt.Errorf("read answer to %s: %w", del.title, err)
	}
	s := sent{host: del.host, title: del.title, id: stored.Delivery, status: status}
	switch status {
	case http.StatusAccepted:
		n.say(del.host, "delivery", "%s: accepted, durable as %s", del.title, s.id)
	case http.StatusOK:
		n.say(del.host, "delivery", "%s: duplicate, known already", del.title)
	default:
		n.say(del.host, "delivery", "%s: refused with %d: %s", del.title, status, stored.Message)
	}
	return s, nil
}

// headersOf are the headers that a host sends, but for its signature.
func headersOf(del delivery) http.Header {
	header := http.Header{"Content-Type": {"application/json"}}
	push := del.kind == "push"
	switch del.host {
	case event.GitHub:
		header.Set("User-Agent", "GitHub-Hookshot/demo")
		header.Set("X-GitHub-Event", "pull_request")
		if push {
			header.Set("X-GitHub-Event", "push")
		}
		header.Set("X-GitHub-Delivery", del.id)
	case event.GitLab:
		header.Set("User-Agent", "GitLab/18.0.0")
		header.Set("X-Gitlab-Event", "Merge Request Hook")
		if push {
			header.Set("X-Gitlab-Event", "Push Hook")
		}
		header.Set("X-Gitlab-Instance", "https://gitlab.com")
		header.Set("Idempotency-Key", del.id)
	case event.Gitee:
		header.Set("User-Agent", "git-oschina-hook")
		header.Set("X-Gitee-Event", "Merge Request Hook")
		if push {
			header.Set("X-Gitee-Event", "Push Hook")
		}
		header.Set("X-Gitee-Ping", "false")
	}
	return header
}

// delivery is one delivery of the story, before it is sent.
type delivery struct {
	host        event.Host
	kind, title string
	id          string
	change      change
	// broken: it is signed with a wrong secret.
	broken bool
}

// chapters are the deliveries of the story; a chapter begins when all runs of the
// one before have ended, so that each run finds what the ones before it left.
func (w world) chapters() [][]delivery {
	push := change{Branch: "main", Before: w.parent, SHA: w.clean}
	request := change{Branch: "main", SourceBranch: "feature/discount", Before: w.clean, SHA: w.bad, Number: mergeRequest}
	scratch := change{Branch: "scratch", Before: w.parent, SHA: w.clean}
	gone := change{Branch: "old", Before: w.parent, SHA: w.clean, Deleted: true}
	first := uuid.NewString()
	return [][]delivery{{
		{event.GitHub, "push", "push of the clean commit to main", first, push, false},
		{event.GitHub, "push", "the same delivery once more", first, push, false},
		{event.GitLab, "push", "push of the clean commit to main", uuid.NewString(), push, false},
		{event.Gitee, "push", "push of the clean commit to main", uuid.NewString(), push, false},
		{event.GitHub, "push", "a push with a wrong signature", uuid.NewString(), push, true},
		{event.GitHub, "push", "push to a branch that no rule names", uuid.NewString(), scratch, false},
		{event.GitLab, "push", "a deleted branch", uuid.NewString(), gone, false},
	}, {
		{event.GitHub, "merge-request", "merge request 7 with the bad commit", uuid.NewString(), request, false},
		{event.GitLab, "merge-request", "merge request 7 with the bad commit", uuid.NewString(), request, false},
		{event.Gitee, "merge-request", "merge request 7 with the bad commit", uuid.NewString(), request, false},
	}}
}

// story sends the deliveries and narrates until all that they caused has ended.
func (d *demonstration) story(ctx context.Context, n *narrator) ([]sent, error) {
	w := newWatcher(n)
	var told []sent
	for _, chapter := range d.world.chapters() {
		for _, delivery := range chapter {
			s, err := d.send(ctx, n, delivery)
			if err != nil {
				return nil, err
			}
			told = append(told, s)
		}
		if err := d.watch(ctx, w, runsEnded); err != nil {
			return nil, err
		}
	}
	return told, d.watch(ctx, w, allEnded)
}
