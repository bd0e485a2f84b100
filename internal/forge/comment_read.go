package forge

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Comment is a comment on a merge request, as its host has it now.
type Comment struct {
	// AuthorID is the host's number of the account that wrote it, as text, Author its login; empty
	// where the host names none.
	AuthorID, Author string
	// Number is the merge request that it is on; 0 when it is on something else.
	Number int
	Text   string
	// Edited: it was changed after it was written, or the host does not say that it was not. On
	// most hosts others than the author may change it.
	Edited bool
}

// commentReader reads the comments that others write on merge requests of one connection, and reacts to
// them.
type commentReader interface {
	readComment(ctx context.Context, repository string, number int, id string) (Comment, error)
	// react adds a thumbs-up. done is false where the host has no reactions. One that is there already
	// is not an error.
	react(ctx context.Context, repository string, number int, id string) (done bool, err error)
}

const (
	readsComment = "read comment"
	reacts       = "add reaction"
	// unedited is how far the two times of a comment that nobody changed may be apart: hosts may take
	// them one after the other.
	unedited = 2 * time.Second
)

// Account is the number of the account that our comments have, as text. The host is asked once.
func (f *Forge) Account(ctx context.Context, connection string) (id string, err error) {
	const name = "read account"
	c, err := f.connected(connection, name)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	id, err = c.writer(withOperation(ctx, operation{name, c.right()}))
	return id, asError(name, err)
}

// ReadComment reads the comment with a number on the target's merge request. Errors are as those of Head;
// NotFound says that there is no such comment in the repository (any more).
func (f *Forge) ReadComment(ctx context.Context, t Target, id string) (Comment, error) {
	c, err := f.aboutComment(readsComment, t, id)
	if err != nil {
		return Comment{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	found, err := c.readComment(withOperation(ctx, operation{readsComment, rightToRead}), t.Repository.FullName, t.Number, id)
	if err != nil {
		return Comment{}, asError(readsComment, err)
	}
	if strings.HasPrefix(found.AuthorID, "-") || found.AuthorID == "0" {
		found.AuthorID = "" // an account that was deleted, or an answer without one
	}
	return found, nil
}

// React adds a thumbs-up of ours to a comment on the target's merge request; done is false where the host has no
// reactions. Doing so again changes nothing. Errors are as those of SetStatus.
func (f *Forge) React(ctx context.Context, t Target, id string) (done bool, err error) {
	c, err := f.aboutComment(reacts, t, id)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	done, err = c.react(withOperation(ctx, operation{reacts, c.right()}), t.Repository.FullName, t.Number, id)
	return done && err == nil, asError(reacts, err)
}

// aboutComment returns the client of a target, or the error for what can be no comment on it.
func (f *Forge) aboutComment(operation string, t Target, id string) (*connected, error) {
	c, err := f.connected(t.Connection, operation)
	if err != nil {
		return nil, err
	}
	if _, err := strconv.ParseInt(id, 10, 64); err != nil || !plain(t.Repository.FullName) || t.Number <= 0 {
		return nil, &Error{Operation: operation, message: fmt.Sprintf("%.100q cannot be the id of a comment on %d in %.100q", id, t.Number, t.Repository.FullName)}
	}
	return c, nil
}

// edited reports whether a comment was changed, by the two times that its host gives it.
func edited(created, updated time.Time) bool {
	return created.IsZero() || updated.IsZero() || updated.Sub(created).Abs() > unedited
}

// numberIn is the number at the end of an address's path after a word, such as 7 of …/pulls/7#note_1 after
// pulls; 0 when there is none.
func numberIn(address, word string) int {
	u, err := url.Parse(address)
	if err != nil {
		return 0
	}
	segments := strings.Split(strings.Trim(u.Path, "/"), "/")
	if len(segments) < 2 || segments[len(segments)-2] != word {
		return 0
	}
	number, err := strconv.Atoi(segments[len(segments)-1])
	if err != nil || number <= 0 {
		return 0
	}
	return number
}
