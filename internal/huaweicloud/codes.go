package huaweicloud

import "strings"

// meaning is what one of the codes of CodeArts Check or CodeArts Pipeline says to us, whatever
// status it comes with.
type meaning struct {
	// passes: the same call may succeed in a while.
	passes bool
	// before: the service found it before it did anything.
	before bool
	// parameters: a parameter of the call is refused, and which is not named.
	parameters bool
	// credentials: the credentials or the token are refused.
	credentials bool
	// forbidden: the credentials are good and lack a right.
	forbidden bool
	// gone: what the call addresses does not exist.
	gone bool
	// busy: the task has an execution that is not finished.
	busy bool
	// createFailed: a creation failed for a cause that is not named, and may have worked.
	createFailed bool
	// queued: it is done later, when the service has done other things.
	queued bool
}

// meanings are the codes of CodeArts Check by number (specs/codearts-check.md 5.2). One that
// is not here says nothing beyond its status.
var meanings = map[string]meaning{
	"00000000": {passes: true},                   // network busy, try again later; with status 400
	"00000003": {credentials: true},              // authentication information expired
	"00050000": {before: true, parameters: true}, // parameters not valid
	"00050001": {passes: true},                   // query task list error
	"00050002": {passes: true},                   // query task detail error
	"00050003": {passes: true},                   // query templates error
	"00050004": {passes: true},                   // query task history error
	"00050005": {createFailed: true},             // create task error
	"00050006": {passes: true},                   // service inner error
	"00050007": {credentials: true},              // IAM authentication failed
	"00050010": {before: true, forbidden: true},  // current user does not have permission
	"00050011": {before: true, forbidden: true},  // not in any project
	"00050012": {passes: true},                   // retry later
	"00050013": {before: true, gone: true},       // project not exist; a wrong task id, too
	"00050014": {passes: true},                   // call getTaskBasicInfo failed
	"00050015": {before: true, busy: true},       // task is running
	"00050016": {createFailed: true},             // create task failed
}

// pipelineMeanings are the codes of CodeArts Pipeline (specs/codearts-check.md 3.6).
var pipelineMeanings = map[string]meaning{
	"DEVPIPE.00011401": {before: true, gone: true},      // pipeline not found
	"DEVPIPE.00011412": {before: true, gone: true},      // project not found
	"DEVPIPE.30021001": {before: true, gone: true},      // project not found
	"DEV_21_100169":    {before: true, gone: true},      // project not found
	"DEVPIPE.00011136": {before: true, gone: true},      // the pipeline is of another project
	"DEVPIPE.30011011": {before: true, forbidden: true}, // no permission
	"DEVPIPE.00011169": {queued: true},                  // concurrency limit, the run is queued
	"DEVPIPE.00011170": {queued: true},                  // concurrency limit, the run is queued
}

// meaningOf looks a code up. The editions print one code with and without a status behind
// it (CC.00050015 and CC.00050015.400): only the number counts. An unknown number with
// the status 400 is a verification of parameters.
func meaningOf(code string) meaning {
	number, ok := strings.CutPrefix(code, "CC.")
	if !ok {
		if m, known := pipelineMeanings[code]; known {
			return m
		}
		switch code { // httpStatus of the V3 creation
		case "INTERNAL_SERVER_ERROR":
			return meaning{passes: true}
		case "BAD_REQUEST":
			return meaning{before: true}
		}
		return meaning{}
	}
	number, status, _ := strings.Cut(number, ".")
	m, known := meanings[number]
	if !known && status == "400" {
		return meaning{before: true, parameters: true}
	}
	return m
}
