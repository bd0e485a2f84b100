package codecheck

import (
	"errors"
	"time"

	"github.com/gatewright/gatewright/internal/huaweicloud"
)

// permanentError is a reason why a run cannot succeed, found before the service was
// asked or in what it listed.
type permanentError string

func (e permanentError) Error() string { return string(e) }

// errNoID is a response to a creation or a start that names nothing.
var errNoID = errors.New("response has no id")

// notYet is returned instead of a result that the step has no time for; the next
// step goes on after wait.
type notYet struct {
	// reason is the run's until then.
	reason string
	wait   time.Duration
}

func (e notYet) Error() string { return e.reason }

// minimalWait is for a run whose next step may begin at once.
const minimalWait = time.Millisecond

// Permanent reports an error that trying again will not change; an error of the
// database or the end of the context is not one.
func Permanent(err error) bool {
	var remote *huaweicloud.Error
	if errors.As(err, &remote) {
		return !remote.Retryable()
	}
	return errors.Is(err, errNoID) || errors.As(err, new(permanentError))
}

// uncertain reports that a creation may have worked: its response was lost or
// names nothing, or it says that creating failed (CC.00050005, CC.00050016), for
// which the documents ask to look first (specs/codearts-check.md 5.2).
func uncertain(err error) bool {
	var remote *huaweicloud.Error
	if errors.As(err, &remote) {
		return !remote.NotSent()
	}
	return errors.Is(err, errNoID)
}

// notFound reports that the task that a call names does not exist.
func notFound(err error) bool {
	var remote *huaweicloud.Error
	return errors.As(err, &remote) && remote.NotFound()
}

// parametersRefused reports that the service certainly did not act, because it does not accept
// a parameter of the call.
func parametersRefused(err error) bool {
	var remote *huaweicloud.Error
	return errors.As(err, &remote) && remote.ParametersRefused()
}

// notOffered reports that the service does not have the call at all.
func notOffered(err error) bool {
	var remote *huaweicloud.Error
	return errors.As(err, &remote) && remote.NotOffered()
}

// parentGone reports that the creation of an incremental task may have failed because
// its full task does not exist: "create task failed" names no cause.
func parentGone(err error) bool {
	var remote *huaweicloud.Error
	return notFound(err) || errors.As(err, &remote) && remote.CreateFailed()
}

// busy reports that the task has an execution that has not ended.
func busy(err error) bool {
	var remote *huaweicloud.Error
	return errors.As(err, &remote) && remote.Busy()
}
