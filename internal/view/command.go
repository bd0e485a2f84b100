package view

import (
	"context"
	"time"

	"github.com/gatewright/gatewright/internal/store"
)

// Command is one that was given in a comment on a merge request.
type Command struct {
	// Name is recheck, why, help, ok, approve or refuse; unknown for another word that was said to us.
	Name string `json:"name"`
	// Author is the login, AuthorID the host's number of the account; CommentID is the host's number of
	// the comment.
	Author    string `json:"author"`
	AuthorID  string `json:"author_id"`
	CommentID string `json:"comment_id"`
	Number    int    `json:"number"`
	// State is received, decided while the host is to be told, or ended.
	State store.CommandState `json:"state"`
	// Outcome is done, refused, denied to its author, or ignored; empty before.
	Outcome store.CommandOutcome `json:"outcome"`
	Reason  string               `json:"reason"`
	// Answer is reaction, reply, or empty where it was not answered; Reply is the text of a reply.
	Answer string `json:"answer"`
	Reply  string `json:"reply"`
	// Problem says why it could not be carried out or answered yet, or at all.
	Problem   string    `json:"problem"`
	GivenAt   time.Time `json:"given_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// NewCommand is the view of a stored command.
func NewCommand(c store.Command) Command {
	view := Command{
		Name: c.Name, Author: c.Author, AuthorID: c.AuthorID, CommentID: c.CommentID, Number: c.Number,
		State: c.State, Outcome: c.Outcome, Reason: c.Reason, Answer: c.Answered, Problem: c.Problem, GivenAt: c.GivenAt, UpdatedAt: c.UpdatedAt,
	}
	if c.Answered == "reply" {
		view.Reply = c.Reply
	}
	return view
}

// withCommand adds the command of a delivery, where it has one.
func withCommand(ctx context.Context, tx *store.Tx, d DeliveryDetail) (DeliveryDetail, error) {
	c, found, err := tx.CommandOf(ctx, d.ID)
	if found {
		view := NewCommand(c)
		d.Command = &view
	}
	return d, err
}
