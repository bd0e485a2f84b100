package forge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Error is a failed call.
type Error struct {
	// Operation is what was done, such as "read branch" or "set status".
	Operation string
	// Status is the HTTP status of the answer; 0 when there was none.
	Status int

	message    string
	retryable  bool
	retryAfter time.Duration
	forbidden  bool
	cause      error
	// said is the start of what the host wrote, for the files of the hosts: some tell by it alone
	// what they mean. It is never shown.
	said string
}

// Error is the operation and what went wrong, with the status where there is one. What the
// host wrote is not shown: it is not ours to judge, and the status says it.
func (e *Error) Error() string {
	text := e.Operation + ": " + e.message
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	if e.Status != 0 {
		text += fmt.Sprintf(" (status %d)", e.Status)
	}
	return text
}

// Unwrap gives the transport's or the decoder's error, where there was one.
func (e *Error) Unwrap() error { return e.cause }

// Retryable reports whether the same call may succeed later.
func (e *Error) Retryable() bool { return e.retryable }

// Forbidden reports whether the host refuses the token, or what is asked with it: 401, or 403
// without a limit of requests. The text names the right that the token needs. It is retryable,
// because somebody may grant that right; until then trying again does not help.
func (e *Error) Forbidden() bool { return e.forbidden }

// NotFound reports whether the host has no such repository, commit, merge request or comment, or
// hides it from the token.
func (e *Error) NotFound() bool {
	return e.Status == http.StatusNotFound || e.Status == http.StatusGone
}

// RetryAfter is the wait that the host asked for, at most ten minutes; 0 when it did not.
func (e *Error) RetryAfter() time.Duration { return e.retryAfter }

const (
	// longestRetryAfter bounds what a host may ask for: a longer wait would let one wrong
	// header park work for ever.
	longestRetryAfter = 10 * time.Minute
	// secondaryWait is how long to wait after GitHub's secondary limit when it does not say so.
	// That a minute is enough is general knowledge and not verified (specs/githosts.md 1.5).
	secondaryWait = time.Minute
	// maxSaid bounds how much of a refusal is read.
	maxSaid = 8 << 10
)

// failure returns the *Error in err; an empty one when there is none.
func failure(err error) *Error {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e
	}
	return &Error{}
}

// asError returns what a call ended with as an *Error that names the operation: the one
// of the transport, however a library has wrapped it, or one for an answer that the library
// could not read.
func asError(operation string, err error) error {
	if err == nil {
		return nil
	}
	if e := (*Error)(nil); errors.As(err, &e) {
		e.Operation = operation
		return e
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return &Error{Operation: operation, message: "no answer", cause: err, retryable: true}
	}
	// The text of url.Error holds the URL; its cause does not.
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	return &Error{Operation: operation, message: "the host's answer cannot be understood", cause: err, retryable: true}
}

// errorOf says what an answer that is not a success means; nil for a success. right is what it
// takes to be let in.
func errorOf(resp *http.Response, right string, now time.Time) *Error {
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return nil
	}
	said, _ := io.ReadAll(io.LimitReader(resp.Body, maxSaid)) // the status is enough
	e := &Error{Status: resp.StatusCode, said: string(said)}
	switch status := resp.StatusCode; {
	case throttled(status, resp.Header, e.said):
		e.message, e.retryable, e.retryAfter = "the host asks to wait", true, throttledFor(resp.Header, e.said, now)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		e.message, e.retryable, e.forbidden = "the host refuses the token: give the connection "+right, true, true
	case status == http.StatusNotFound, status == http.StatusGone:
		e.message = "the host does not have it, or the token may not see it"
	case status >= 300 && status < 400:
		e.message = "the host's answer leads away from the API's address: set the connection's api_url"
	case status >= 500, status == http.StatusRequestTimeout:
		e.message, e.retryable, e.retryAfter = "the host cannot answer", true, retryAfter(resp.Header, now)
	default:
		e.message = "the host refuses"
	}
	return e
}

// throttled reports whether the host refuses because of its limits. GitHub says so with 403
// too (specs/githosts.md 1.5).
func throttled(status int, h http.Header, said string) bool {
	switch status {
	case http.StatusTooManyRequests:
		return true
	case http.StatusForbidden:
		return h.Get("X-Ratelimit-Remaining") == "0" || h.Get("Retry-After") != "" || secondaryLimit(said)
	}
	return false
}

// secondaryLimit reports whether a refusal points to GitHub's page about its secondary limits,
// which is how its library recognises one that has no header.
func secondaryLimit(said string) bool {
	var answer struct {
		Documentation string `json:"documentation_url"`
	}
	return json.Unmarshal([]byte(said), &answer) == nil &&
		(strings.HasSuffix(answer.Documentation, "secondary-rate-limits") || strings.HasSuffix(answer.Documentation, "#abuse-rate-limits"))
}

// throttledFor is how long to wait after a refusal because of a limit: as Retry-After says, or
// until a used-up limit is reset. 0 when the host says nothing that can be read.
func throttledFor(h http.Header, said string, now time.Time) time.Duration {
	if wait := retryAfter(h, now); wait > 0 {
		return wait
	}
	remaining, told := limitHeader(h, "Remaining")
	if told && remaining > 0 || secondaryLimit(said) {
		return secondaryWait
	}
	reset, told := limitHeader(h, "Reset")
	if !told {
		return 0
	}
	return bounded(time.Unix(reset, 0).Sub(now))
}

// retryAfter reads Retry-After, in seconds or as a date. 0 without one that can be read.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return bounded(time.Duration(min(seconds, int(longestRetryAfter/time.Second))) * time.Second)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return bounded(at.Sub(now))
}

func bounded(wait time.Duration) time.Duration { return min(max(wait, 0), longestRetryAfter) }

// limitHeader reads a number of a host's limit of requests, Limit, Remaining or Reset: X-RateLimit-… of
// GitHub and Gitee, RateLimit-… of GitLab (specs/githosts.md 1.5, 2.5, 3.5).
func limitHeader(h http.Header, name string) (value int64, told bool) {
	for _, prefix := range []string{"X-Ratelimit-", "Ratelimit-"} {
		if value, err := strconv.ParseInt(h.Get(prefix+name), 10, 64); err == nil {
			return value, true
		}
	}
	return 0, false
}
