package forge

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/gatewright/gatewright/internal/event"
)

// Target is the commit that a status is of, and the merge request that a comment is on.
type Target struct {
	Connection string
	Repository event.Repository
	// SHA is the full commit.
	SHA string
	// Ref is the branch or tag that the commit was checked for, by its short name; for a merge
	// request its source branch. GitLab files the status under it.
	Ref string
	// Number is the merge request's number; 0 for none.
	Number int
}

// StatusState is what a status says of a commit.
type StatusState string

const (
	// StatePending: nothing has begun.
	StatePending StatusState = "pending"
	// StateRunning: it has begun. A commit status of GitHub shows pending.
	StateRunning StatusState = "running"
	// StateSuccess lets a required check pass.
	StateSuccess StatusState = "success"
	// StateFailure: the gate is closed.
	StateFailure StatusState = "failure"
	// StateError: there is no verdict. GitLab, and check runs of every host, show failure.
	StateError StatusState = "error"
	// StateCanceled: it ended without a verdict, because a person or a newer commit ended it.
	// A commit status of GitHub shows error.
	StateCanceled StatusState = "canceled"
	// StateNeutral lets a required check pass and does not say that anything was checked. Check
	// runs show it, everything else shows success.
	StateNeutral StatusState = "neutral"
)

// ended reports whether the state is the last one of what it speaks of.
func (s StatusState) ended() bool { return s != StatePending && s != StateRunning }

func (s StatusState) known() bool {
	switch s {
	case StatePending, StateRunning, StateSuccess, StateFailure, StateError, StateCanceled, StateNeutral:
		return true
	}
	return false
}

// Status is what is shown at a commit.
type Status struct {
	// Context tells the statuses of a commit apart, such as gatewright/check.
	Context string
	State   StatusState
	// Description is one sentence. It is cut to what the host takes. Where one is needed the context
	// stands for an empty one.
	Description string
	// URL is where there is more; empty for none.
	URL string
	// Annotations are shown in the changed files by hosts that have check runs: the first 50, once
	// the state is an end.
	Annotations []Annotation
}

// Annotation is a remark at a line of a file.
type Annotation struct {
	Path string
	// Line counts from 1; anything less stands for the whole file.
	Line int
	// Severity is critical, major, minor or suggestion.
	Severity string
	// Rule is the name of what was broken, Message what is wrong.
	Rule, Message string
}

// statusWriter writes the statuses of one connection.
type statusWriter interface {
	// setStatus writes one: the target and the status are complete and bounded.
	setStatus(ctx context.Context, t Target, s Status, handle string) (newHandle string, err error)
	// neutral reports whether StateNeutral is shown as such.
	neutral() bool
	// mayReport reads what CanReport tells.
	mayReport(ctx context.Context, repository string) (told bool, err error)
	// right is what it takes to write statuses and comments, as what to give the connection.
	right() string
}

const (
	setsStatus = "set status"
	// maxAnnotations is what GitHub takes in one request (specs/githosts.md 1.5, unverified).
	maxAnnotations = 50
)

// SetStatus writes the status of a commit. handle is what the last SetStatus of the same target
// and context returned, empty for the first; the new one is to be kept for the next. It names what
// the host made and how it stands, so that the next write changes that and asks for nothing that
// the host refuses. One caller at a time writes to a target and context.
//
// Writing the same again after a lost answer does no harm. A host without statuses shows labels at
// the merge request, or nothing, which is not an error. Errors are as those of Head; a refusal for
// good (Retryable is false) is a commit that the host does not have, or one that has as many statuses
// as the host takes. With an error the handle is the one that was given.
func (f *Forge) SetStatus(ctx context.Context, t Target, s Status, handle string) (newHandle string, err error) {
	c, err := f.connected(t.Connection, setsStatus)
	if err != nil {
		return handle, err
	}
	if !plain(t.Repository.FullName) || !isCommit(t.SHA) {
		return handle, &Error{Operation: setsStatus, message: fmt.Sprintf("%.100q at %.100q cannot be a commit of a repository", t.Repository.FullName, t.SHA)}
	}
	if s.Context == "" || !s.State.known() {
		return handle, &Error{Operation: setsStatus, message: fmt.Sprintf("a status of the context %.100q cannot be %.100q", s.Context, s.State)}
	}
	s.Annotations = s.Annotations[:min(len(s.Annotations), maxAnnotations)]
	if !s.State.ended() {
		s.Annotations = nil
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	newHandle, err = c.setStatus(withOperation(ctx, operation{setsStatus, c.right()}), t, s, handle)
	if err != nil {
		return handle, asError(setsStatus, err)
	}
	return newHandle, nil
}

// Neutral reports whether the connection's host shows StateNeutral as such; where it does not, SetStatus
// shows success.
func (f *Forge) Neutral(connection string) bool {
	c, known := f.clients[connection]
	return known && c.neutral()
}

// CanReport reads whether statuses and comments can be written to the repository of the event, without
// writing any. An error that is Forbidden names the missing right. told is false when the host does
// not say what the token may do.
func (f *Forge) CanReport(ctx context.Context, ev event.Event) (told bool, err error) {
	const name = "read rights"
	c, err := f.connected(ev.Connection, name)
	if err != nil {
		return false, err
	}
	if !plain(ev.Repository.FullName) {
		return false, &Error{Operation: name, message: fmt.Sprintf("%.100q cannot be the name of a repository", ev.Repository.FullName)}
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	told, err = c.mayReport(withOperation(ctx, operation{name, c.right()}), ev.Repository.FullName)
	return told, asError(name, err)
}

// RightToReport is the least that it takes for SetStatus and SaveComment, as what to give the connection,
// such as "a token with …"; empty for a connection without a token or an App.
func (f *Forge) RightToReport(connection string) string {
	if c, known := f.clients[connection]; known {
		return c.right()
	}
	return ""
}

// missingRight is the refusal that a host would answer a write with.
func missingRight(c statusWriter) *Error {
	return &Error{message: "the token may not write here: give the connection " + c.right(), retryable: true, forbidden: true}
}

// Remaining is how many requests the host takes from the connection before reset, as its last answer
// said. known is false where it does not say, or when that time is over.
func (f *Forge) Remaining(connection string) (requests int, reset time.Time, known bool) {
	c, found := f.clients[connection]
	if !found {
		return 0, time.Time{}, false
	}
	told := c.transport.told()
	return told.remaining, told.reset, told.known && told.reset.After(f.now())
}

// Limit is how many requests the host takes from the connection between two resets, as its last answer
// said; 0 where it does not say.
func (f *Forge) Limit(connection string) int {
	if c, found := f.clients[connection]; found {
		return c.transport.told().most
	}
	return 0
}

// oneLine makes text one line of at most most characters.
func oneLine(text string, most int) string {
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "�"), func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	return cut(text, most)
}

// cut shortens text to at most most characters, the last of which says so.
func cut(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}
