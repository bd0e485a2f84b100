package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/standin"
)

// Delivery is a webhook that a demo sends.
type Delivery struct {
	Host event.Host
	// Kind is push, merge-request, comment, or for GitHub merge-group.
	Kind string
	// ID is the delivery id, where the host has one.
	ID     string
	Change Change
	// WrongSecret signs it with a secret that the connection does not have.
	WrongSecret bool
	// Dropped: the branch moves on the host, and its webhook is lost.
	Dropped bool
	// Mend pushes the mended commit to the host's merge request before, PushFork the second commit to the
	// one from a fork.
	Mend, PushFork bool
}

// Sent is the answer to a delivery.
type Sent struct {
	Status int
	// ID is the delivery's id in the database; empty when it was refused.
	ID string
	// Message says why it was refused.
	Message string
}

// Send signs a delivery as its host does and posts it.
func (d *Demo) Send(ctx context.Context, delivery Delivery) (Sent, error) {
	if delivery.Mend {
		if err := d.World.repositories[delivery.Host].Mend(); err != nil {
			return Sent{}, err
		}
	}
	if delivery.PushFork {
		if err := d.World.repositories[delivery.Host].PushFork(); err != nil {
			return Sent{}, err
		}
	}
	if delivery.Dropped {
		return Sent{}, d.World.repositories[delivery.Host].Move(delivery.Change.Branch, delivery.Change.SHA)
	}
	body, err := d.World.Payload(delivery.Host, delivery.Kind, delivery.Change)
	if err != nil {
		return Sent{}, err
	}
	configured, known := d.cfg.Connection(string(delivery.Host))
	if !known {
		return Sent{}, fmt.Errorf("send delivery: no connection %q", delivery.Host)
	}
	connection := app.WebhookConnection(configured)
	if delivery.WrongSecret {
		connection.Secrets = []string{"not the secret of this connection"}
	}
	target, err := app.WebhookURL(d.Base(), connection.Name)
	if err != nil {
		return Sent{}, err
	}
	status, answer, err := app.Send(ctx, target, connection, headers(delivery), body)
	if err != nil {
		return Sent{}, err
	}
	var stored struct {
		Delivery string `json:"delivery"`
		Message  string `json:"message"`
	}
	if err := json.Unmarshal(answer, &stored); err != nil {
		return Sent{}, fmt.Errorf("read answer %q: %w", answer, err)
	}
	return Sent{Status: status, ID: stored.Delivery, Message: stored.Message}, nil
}

// Person is an account of the stand-in's git hosts.
type Person struct {
	ID    int64
	Login string
}

// Mona and Ada may write to the repository on every host, Ravi may read it, and Reporter is the account that
// Gatewright itself has there. Merge request 7 is Mona's.
func Mona() Person     { return Person{11, "mona"} }
func Ada() Person      { return Person{12, "ada"} }
func Ravi() Person     { return Person{13, "ravi"} }
func Reporter() Person { return Person{9001, "gatewright-reporter"} }

// Opener is whoever opens the pages of a demo with people.
func Opener() Person { return Ravi() }

// Write writes a comment on a merge request of a host, as a person does, and returns the delivery that announces it;
// sha is the commit that the merge request has.
func (d *Demo) Write(host event.Host, number int, who Person, sha, text string) (Delivery, error) {
	id, err := d.Standin.AddComment(standin.NewHostComment{Host: string(host), Repository: "acme/shop", Number: number, Author: who.ID, Login: who.Login, Text: text})
	return Delivery{Host: host, Kind: "comment", ID: fmt.Sprintf("comment-%d", id), Change: Change{
		Branch: "main", SourceBranch: "feature/discount", Number: number, SHA: sha, Comment: id, Account: who.ID, Login: who.Login, Text: text,
	}}, err
}

// headers are those that a host sends, except its signature.
func headers(d Delivery) http.Header {
	header := http.Header{"Content-Type": {"application/json"}}
	push, comment := d.Kind == "push", d.Kind == "comment"
	switch d.Host {
	case event.GitHub:
		header.Set("User-Agent", "GitHub-Hookshot/demo")
		header.Set("X-GitHub-Event", map[string]string{"push": "push", "merge-request": "pull_request", "comment": "issue_comment", "merge-group": "merge_group"}[d.Kind])
		header.Set("X-GitHub-Delivery", d.ID)
	case event.GitLab:
		header.Set("User-Agent", "GitLab/18.0.0")
		header.Set("X-Gitlab-Event", "Merge Request Hook")
		if push {
			header.Set("X-Gitlab-Event", "Push Hook")
		} else if comment {
			header.Set("X-Gitlab-Event", "Note Hook")
		}
		header.Set("X-Gitlab-Instance", "https://gitlab.com")
		header.Set("Idempotency-Key", d.ID)
	case event.Gitee:
		header.Set("User-Agent", "git-oschina-hook")
		header.Set("X-Gitee-Event", "Merge Request Hook")
		if push {
			header.Set("X-Gitee-Event", "Push Hook")
		} else if comment {
			header.Set("X-Gitee-Event", "Note Hook")
		}
		header.Set("X-Gitee-Ping", "false")
	case event.Gitea:
		header.Set("User-Agent", "Go-http-client/1.1")
		name := "pull_request"
		if push {
			name = "push"
		} else if comment {
			name = "issue_comment"
		}
		// Forgejo sends all of these; the last are GitHub's.
		for _, prefix := range []string{"X-Forgejo-", "X-Gitea-", "X-Gogs-", "X-GitHub-"} {
			header.Set(prefix+"Event", name)
			header.Set(prefix+"Event-Type", name)
			header.Set(prefix+"Delivery", d.ID)
		}
	}
	return header
}
