package huaweicloud

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// kind says what sort of failure an Error is; the zero value is an answer that
// says no.
type kind int

const (
	kindAnswer kind = iota
	// kindCredentialsRefused is an answer that refuses the credentials.
	kindCredentialsRefused
	// kindNotSent is a failure before a byte of the request was written.
	kindNotSent
	// kindNotAuthorized is a call that was not sent because it could not be authorized:
	// there is no token, or the credentials were refused a short while ago.
	kindNotAuthorized
	// kindMalformed is a call that cannot be put into a request.
	kindMalformed
	// kindNoAnswer is a request that may have been acted upon: its answer was
	// lost or came too late.
	kindNoAnswer
	// kindUndecodable is an answer that is not what the API's page promises.
	kindUndecodable
)

// Error is a failed call: an answer that says no, in whichever of the services'
// shapes, or no answer at all.
type Error struct {
	// Operation is the call's.
	Operation string
	// Status is the HTTP status of the answer; 0 when there was none.
	Status int
	// Code is the service's own code, e.g. CC.00050015 or APIGW.0308; empty when
	// it sent none.
	Code string
	// Message is the service's text, shortened to one line and free of the
	// credentials that the request carried.
	Message string
	// RequestID names the exchange in the service's logs; often empty.
	RequestID string

	kind kind
	// refused: the credentials were refused by the call that should get a token, or
	// by an earlier call.
	refused    bool
	retryAfter time.Duration
	cause      error
}

// Error is the operation, the code and the message, with status and request id
// where there are any.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Operation)
	for _, part := range []string{e.Code, e.Message} {
		if part != "" {
			b.WriteString(": " + part)
		}
	}
	switch {
	case e.kind == kindNoAnswer:
		b.WriteString(": no answer")
	case e.kind == kindNotSent, e.kind == kindMalformed:
		b.WriteString(": not sent")
	case e.Code == "" && e.Message == "":
		b.WriteString(": refused")
	}
	if e.cause != nil && e.Message == "" {
		b.WriteString(": " + clean(e.cause.Error()))
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, " (status %d", e.Status)
		if e.RequestID != "" {
			b.WriteString(", request " + e.RequestID)
		}
		b.WriteString(")")
	}
	return b.String()
}

// Unwrap gives the transport's or the decoder's error, where there was one.
func (e *Error) Unwrap() error { return e.cause }

// Retryable reports whether the same call may succeed later. For a call that is
// not safe to repeat the caller must first look whether it was acted upon,
// unless NotSent.
func (e *Error) Retryable() bool {
	return e.transient() || e.kind == kindCredentialsRefused || e.kind == kindNotAuthorized || e.Busy()
}

// transient reports whether a repeat within seconds may help.
func (e *Error) transient() bool {
	switch e.kind {
	case kindCredentialsRefused, kindNotAuthorized, kindMalformed, kindUndecodable:
		return false
	case kindNotSent, kindNoAnswer:
		return true
	}
	if meaningOf(e.Code).passes {
		return true
	}
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return gatewayCode(e.Code) == "0308"
}

// accepted reports whether the answer shows that the credentials are good: it is not an error,
// or a refusal for another cause.
func (e *Error) accepted() bool {
	if e == nil {
		return true
	}
	switch e.Status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusConflict:
		return e.kind == kindAnswer
	}
	return false
}

// throttled reports whether the service asks for a pause of all calls.
func (e *Error) throttled() bool {
	return e.Status == http.StatusTooManyRequests || gatewayCode(e.Code) == "0308" ||
		e.Status == http.StatusServiceUnavailable && e.retryAfter > 0
}

// RetryAfter is the wait that the service asked for, at most ten minutes; 20 seconds or
// less when the credentials were refused, whether they are used again by then or not; 0
// when nothing is known.
func (e *Error) RetryAfter() time.Duration { return e.retryAfter }

// NotSent reports that the service certainly did not act: nothing was sent, or
// the answer is a definite refusal. A 4xx is one, also 429, but neither 408 nor one with
// a code that says "try again later", such as "network busy" (CC.00000000, with status
// 400), or "creating failed"; of the errors that CodeArts Check sends with status 200 only
// those that name a condition found before anything is done.
func (e *Error) NotSent() bool {
	switch e.kind {
	case kindNotSent, kindNotAuthorized, kindMalformed, kindCredentialsRefused:
		return true
	case kindNoAnswer, kindUndecodable:
		return false
	}
	if e.Status >= 400 && e.Status < 500 {
		m := meaningOf(e.Code)
		return e.Status != http.StatusRequestTimeout && !m.passes && !m.createFailed && !m.queued
	}
	return e.Status < 300 && meaningOf(e.Code).before
}

// NotFound reports that what the call addresses does not exist. ServiceStage
// says so with 401 and SVCSTG.00100401 (specs/codearts-check.md 5.5); a path
// that the gateway does not know (0101) is a wrong endpoint and not this.
func (e *Error) NotFound() bool {
	return e.Code == "SVCSTG.00100401" || meaningOf(e.Code).gone ||
		e.Status == http.StatusNotFound && gatewayCode(e.Code) == ""
}

// NotOffered reports that the service does not have the call: the gateway knows no such path
// (0101; specs/codearts-check.md 5.3).
func (e *Error) NotOffered() bool { return gatewayCode(e.Code) == "0101" }

// Forbidden reports that the credentials are good and lack a right.
func (e *Error) Forbidden() bool {
	return e.Status == http.StatusForbidden || meaningOf(e.Code).forbidden
}

// ParametersRefused reports that the service certainly did not act, because it does not accept
// a parameter of the call; it does not say which (CC.00050000, and codes that end in .400).
func (e *Error) ParametersRefused() bool { return e.NotSent() && meaningOf(e.Code).parameters }

// Busy reports that the task has an execution that is not finished (CC.00050015).
func (e *Error) Busy() bool { return meaningOf(e.Code).busy }

// Queued reports that the service does what was asked later: CodeArts Pipeline queues a run
// while it has as many as it takes (DEVPIPE.00011169 and 00011170).
func (e *Error) Queued() bool { return meaningOf(e.Code).queued }

// CreateFailed reports that a creation failed for a cause that is not named (CC.00050005,
// CC.00050016): the documents ask to look first whether it worked.
func (e *Error) CreateFailed() bool { return meaningOf(e.Code).createFailed }

// CredentialsRefused reports that the credentials do not work: this call or an earlier
// one was refused because of them.
func (e *Error) CredentialsRefused() bool { return e.kind == kindCredentialsRefused || e.refused }

// Undecodable reports that an answer came and cannot be understood.
func (e *Error) Undecodable() bool { return e.kind == kindUndecodable }

// authRefused reports whether an answer refuses the credentials. A 401 does,
// except where ServiceStage means "not found" by it; CodeArts Check also says
// it with status 200 (specs/codearts-check.md 4.2).
func authRefused(status int, code string) bool {
	switch {
	case meaningOf(code).credentials:
		return true
	case gatewayCode(code) == "0301", gatewayCode(code) == "0307":
		return true
	}
	return status == http.StatusUnauthorized && !strings.HasPrefix(code, "SVCSTG.")
}

// gatewayCode is the number of an API gateway's code, which has the prefix
// APIGW. or APIG.; empty for the codes of others.
func gatewayCode(code string) string {
	if number, ok := strings.CutPrefix(code, "APIGW."); ok {
		return number
	}
	number, _ := strings.CutPrefix(code, "APIG.")
	if number == code {
		return ""
	}
	return number
}

// notAuthorized wraps what Authorize says, so that callers see one type that
// names the operation which needed the credentials.
func notAuthorized(operation string, err error) *Error {
	e := &Error{Operation: operation, kind: kindNotAuthorized, Message: "authorize: " + clean(err.Error()), cause: err}
	if inner := (*Error)(nil); errors.As(err, &inner) {
		e.retryAfter, e.refused = inner.retryAfter, inner.refused
	}
	return e
}
