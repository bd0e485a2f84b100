package forge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// commentWriter writes the comments on merge requests of one connection.
type commentWriter interface {
	// account is the id of the author that our comments have.
	account(ctx context.Context) (id string, err error)
	// comments are those of a page, counted from 1 and of commentsPerPage, the oldest first; more
	// says that there may be another page.
	comments(ctx context.Context, repository string, number, page int) (found []comment, more bool, err error)
	createComment(ctx context.Context, repository string, number int, body string) (id string, err error)
	editComment(ctx context.Context, repository string, number int, id, body string) error
}

// comment is one on a merge request.
type comment struct{ id, author, body string }

const (
	savesComment    = "save comment"
	commentsPerPage = 100
	// maxCommentPages bounds how far a comment of ours is looked for. It is among the oldest.
	maxCommentPages = 10
	// maxComment bounds a comment in characters. GitHub takes 65,536 (unverified), GitLab a million.
	maxComment = 60_000
)

// SaveComment writes a comment on the target's merge request: it changes the one with this id, or else
// the oldest one that carries the marker and is ours, or else makes one. It returns its id. Ours are
// those whose author is the account of the token, which is asked for once. A comment that a
// person deleted is made again. The body carries the marker, at its start when it does not bring it
// along; it is cut where it is too long for a host. One caller at a time writes to a target. Errors
// are as those of SetStatus; NotFound says that there is no such merge request.
func (f *Forge) SaveComment(ctx context.Context, t Target, marker, body, id string) (newID string, err error) {
	c, err := f.connected(t.Connection, savesComment)
	if err != nil {
		return id, err
	}
	repository := t.Repository.FullName
	if !plain(repository) || t.Number <= 0 || strings.TrimSpace(marker) == "" {
		return id, &Error{Operation: savesComment, message: fmt.Sprintf("%d in %.100q cannot be a merge request, or the comment has no marker", t.Number, repository)}
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	newID, err = c.saveComment(withOperation(ctx, operation{savesComment, c.right()}), repository, t.Number, marker, withMarker(body, marker), id)
	if err != nil {
		return id, asError(savesComment, err)
	}
	return newID, nil
}

func (c *connected) saveComment(ctx context.Context, repository string, number int, marker, body, id string) (newID string, err error) {
	if id != "" {
		err := c.editComment(ctx, repository, number, id, body)
		// It may be gone, or that of an account whose token we had before.
		if e := failure(err); err == nil || !e.NotFound() && !e.Forbidden() {
			return id, err
		}
	}
	found, err := c.findComment(ctx, repository, number, marker, id)
	if err != nil {
		return "", err
	}
	if found == "" {
		return c.createComment(ctx, repository, number, body)
	}
	return found, c.editComment(ctx, repository, number, found, body)
}

// findComment returns the id of the oldest comment of ours with the marker, other than the one that
// could not be changed; empty when there is none.
func (c *connected) findComment(ctx context.Context, repository string, number int, marker, other string) (id string, err error) {
	author, err := c.writer(ctx)
	if err != nil {
		return "", err
	}
	for page := 1; page <= maxCommentPages; page++ {
		found, more, err := c.comments(ctx, repository, number, page)
		if err != nil {
			return "", err
		}
		for _, comment := range found {
			if comment.author == author && comment.id != other && strings.Contains(comment.body, marker) {
				return comment.id, nil
			}
		}
		if !more {
			break
		}
	}
	return "", nil
}

// writer is the id of the account that our comments have, asked for once.
func (c *connected) writer(ctx context.Context) (string, error) {
	c.mu.Lock()
	author := c.author
	c.mu.Unlock()
	if author != "" {
		return author, nil
	}
	author, err := c.account(ctx)
	if err == nil && (author == "" || author == "0") {
		err = errors.New("it has no id of the account")
	}
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.author = author
	return author, nil
}

// withMarker is the body as it is sent.
func withMarker(body, marker string) string {
	body = strings.ToValidUTF8(body, "�")
	if body = cut(body, maxComment); !strings.Contains(body, marker) {
		body = cut(marker+"\n"+body, maxComment)
	}
	return body
}

// madeComment is the id of a comment that a host answered with.
func madeComment(id int64, err error) (string, error) {
	if err == nil && id <= 0 {
		err = errors.New("it has no id of the comment")
	}
	return strconv.FormatInt(id, 10), err
}

// notAComment is the error for an id that no comment has: as if the comment were gone.
func notAComment(id string) error {
	return &Error{Status: http.StatusNotFound, message: fmt.Sprintf("%.100q cannot be the id of a comment", id)}
}
