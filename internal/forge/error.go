package forge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Error is a failed read.
type Error struct {
	// Operation is what was read, such as "read branch".
	Operation string
	// Status is the HTTP status of the answer; 0 when there was none.
	Status int

	message    string
	retryable  bool
	retryAfter time.Duration
	cause      error
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

// Retryable reports whether the same read may succeed later.
func (e *Error) Retryable() bool { return e.retryable }

// RetryAfter is the wait that the host asked for, at most ten minutes; 0 when it did not.
func (e *Error) RetryAfter() time.Duration { return e.retryAfter }

// longestRetryAfter bounds what a host may ask for: a longer wait would let one wrong
// header park work for ever.
const longestRetryAfter = 10 * time.Minute

// asError returns what a read ended with as an *Error that names the operation: the one
// of the transport, however a library has wrapped it, or one for an answer that the library
// could not read.
func asError(operation string, err error) error {
	if err == nil {
		return nil
	}
	if failure := (*Error)(nil); errors.As(err, &failure) {
		failure.Operation = operation
		return failure
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

// errorOf says what an answer that is not a success means; nil for a success.
func errorOf(resp *http.Response, now time.Time) *Error {
	e := &Error{Status: resp.StatusCode}
	switch status := resp.StatusCode; {
	case status >= 200 && status < 300:
		return nil
	case throttled(resp):
		e.message, e.retryable, e.retryAfter = "the host asks to wait", true, retryAfter(resp.Header, now)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		e.message, e.retryable = "the host refuses the token: give the connection a valid one that may read this repository", true
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
func throttled(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
		return true
	case http.StatusForbidden:
		return resp.Header.Get("X-Ratelimit-Remaining") == "0" || resp.Header.Get("Retry-After") != ""
	}
	return false
}

// retryAfter reads how long to wait: Retry-After in seconds or as a date, or the time when
// a used-up limit is reset. 0 when the host says nothing that can be read.
func retryAfter(h http.Header, now time.Time) time.Duration {
	var wait time.Duration
	value := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		wait = time.Duration(min(seconds, int(longestRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = at.Sub(now)
	} else if reset, err := strconv.ParseInt(h.Get("X-Ratelimit-Reset"), 10, 64); err == nil {
		wait = time.Unix(reset, 0).Sub(now)
	}
	return min(max(wait, 0), longestRetryAfter)
}
