package codecheck

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/gatewright/gatewright/internal/rules"
)

// Prepare takes a Queued or Starting run up to the request that starts its
// execution: the task is found or created, the ref chosen, and what the service
// shows before is read. With send the returned run carries a fresh Intent; the caller
// commits it and then calls Send. Otherwise the run waits, and the caller calls
// Prepare again after wait, or it has ended.
//
// An error is something to try again: the caller waits, for as long as its
// RetryAfter says if it has one, and calls Prepare again; the reason of the returned
// run says what it waits for. What cannot improve ends the run as Errored instead.
//
// After a crash or a lost response the caller starts again here. If the request did
// start an execution, the task is busy; the id of that execution is not known, so the
// task is run once more when it is free. That is harmless, and the later execution
// sees the same commit or a newer one.
//
// When a task is to be created for a rule that names no language, the run comes back with
// WantsLanguages, at once: the caller finds them out.
//
// One call takes little longer than Options.ReadTaskListFor: a project's task list that
// takes longer is continued by the next call.
//
// A run that is Running or has ended is returned as it is.
func (c *Checker) Prepare(ctx context.Context, run Run) (next Run, send bool, wait time.Duration, err error) {
	if run.State != Queued && run.State != Starting {
		return run, false, 0, nil
	}
	if c.deadlinePassed(run) {
		reason := "its deadline passed before it could start"
		if run.Reason != "" {
			reason += "; last: " + run.Reason
		}
		return c.end(run, Errored, reason), false, 0, nil
	}
	run.State = Starting
	if err := c.prepare(ctx, &run); err != nil {
		next, wait, err = c.waitOrEnd(run, err)
		return next, false, wait, err
	}
	run.Reason = "asks for an execution"
	return run, true, 0, nil
}

func (c *Checker) prepare(ctx context.Context, run *Run) error {
	err := c.validate(*run)
	if err != nil {
		return err
	}
	if run.Task.ID == "" {
		if err := c.findTask(ctx, run); err != nil {
			return err
		}
	}
	if run.Ref, run.RefReason, err = c.chooseRef(ctx, *run); err != nil {
		return err
	}
	last, err := c.lastCheck(ctx, *run)
	if err != nil {
		return err
	}
	took, err := c.options.Memory.ScanTimes(ctx, *run)
	if err != nil {
		return err
	}
	run.Usual = usualOf(took)
	run.Intent = &Intent{SentAt: c.options.Now(), LastCheckTime: last}
	return nil
}

// validate says why the event's check cannot be run at all; nil when it can.
func (c *Checker) validate(run Run) error {
	ev, check := run.Event, run.Check
	if check.Scan == rules.ScanIncremental && ev.Number == 0 {
		return permanentError(fmt.Sprintf("an incremental scan needs a merge request, and the event is a %s: use scan: full", ev.Kind))
	}
	if check.Scan == rules.ScanFull && ev.Number != 0 && ev.Fork {
		return permanentError(fmt.Sprintf("a full scan of merge request %d needs its source branch, which is in a fork: use scan: incremental", ev.Number))
	}
	if check.Repository == rules.RepositoryTemporary {
		switch {
		case c.options.Dialect != Dialect2023:
			return permanentError("the service knows no temporary repository, which only the 2023 edition has: leave check.repository out")
		case check.Scan != rules.ScanFull:
			return permanentError("a temporary repository is scanned whole: use scan: full")
		case ev.Repository.HTTPSURL == "":
			return permanentError("a temporary repository needs an http address, and the connection has none")
		}
	}
	branch := scannedBranch(ev, check)
	if n := utf8.RuneCountInString(branch); n == 0 || n > 200 {
		return permanentError(fmt.Sprintf("branch %.40q has %d characters, and CodeArts Check takes 1 to 200", branch, n))
	}
	if RepositoryKey(address(ev.Repository)) == "" {
		return permanentError("the event has no address of its repository")
	}
	if check.ProjectID == "" {
		return permanentError("the rule names no CodeArts project: set check.project.id")
	}
	return nil
}

// lastCheck is the time of the task's last check, as the service spells it. It shows
// whether a result is newer than our request, where the progress is not known to speak of
// our execution. A task that we have just created, or of which the service has nothing to
// tell, has none.
func (c *Checker) lastCheck(ctx context.Context, run Run) (string, error) {
	if c.options.JobID == On || run.Origin == Created {
		return "", nil
	}
	s, err := c.api.summary(ctx, run.Task.ID, "")
	if Permanent(err) {
		return "", nil
	}
	return checkTime(s), err
}

// checkTime is what of a summary changes with every check.
func checkTime(s summary) string {
	if s.LastCheckTime+s.LastExecTime == "" {
		return ""
	}
	return string(s.LastCheckTime + " " + s.LastExecTime)
}
