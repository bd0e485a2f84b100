package codecheck

import (
	"context"
	"fmt"
	"time"
)

// Poll asks once about a Running run. While the scan goes on, the run comes back
// Running with the wait before the next call. A finished scan is read and
// judged: Passed or Failed, with counts, defects and verdict. A failed scan is
// Errored with what its log says; but when the code of a merge request could not
// be pulled and the ref was free to choose, the run comes back Queued, once,
// with the other ref. An execution that somebody stopped is Stopped. Past its
// deadline the execution is stopped and the run Errored, unless only its findings
// were still to be read: then it is judged without the rest of them.
//
// Findings are read by as many calls as they take; see Options.ReadFindingsFor.
//
// An error is something to try again, as with Prepare. A run that is not Running
// is returned as it is.
func (c *Checker) Poll(ctx context.Context, run Run) (Run, time.Duration, error) {
	if run.State != Running {
		return run, 0, nil
	}
	if run.Reading != nil {
		return c.readFindings(ctx, run)
	}
	if c.deadlinePassed(run) {
		return c.endOverdue(ctx, run)
	}
	status, err := c.api.progress(ctx, run.Task.ID, c.job(run))
	if err != nil {
		return c.waitOrEnd(run, err)
	}
	run.Polls++
	switch {
	case !status.set:
		return c.unknownExecution(run)
	case status.n == checking:
		run.SeenRunning, run.LastSeen = true, c.options.Now()
		run.Reason = "the scan is running"
		return run, c.wait(run), nil
	case status.n == scanError || status.n == scanDone || status.n == stopped:
		if other, err := c.showsOther(ctx, run); err != nil {
			return c.waitOrEnd(run, err)
		} else if other {
			return c.waitForOurs(run)
		}
	}
	switch status.n {
	case scanError:
		return c.scanFailed(ctx, run)
	case scanDone:
		return c.results(ctx, c.measured(run))
	case stopped:
		return c.end(run, Stopped, "the execution was stopped at CodeArts Check"), 0, nil
	}
	run.Reason = fmt.Sprintf("the scan has the unknown status %d; waits for one that is known", status.n)
	return run, c.wait(run), nil
}

// job is the execution to ask about; empty where the service knows only the task's latest.
func (c *Checker) job(run Run) string {
	if !c.options.JobID.In(c.options.Dialect) {
		return ""
	}
	return run.ExecID
}

// unknownExecution waits for an execution that the service does not know yet, until
// the grace time is over.
func (c *Checker) unknownExecution(run Run) (Run, time.Duration, error) {
	if waited := c.options.Now().Sub(run.StartedAt); waited >= c.options.Grace {
		return c.end(run, Errored, fmt.Sprintf("CodeArts Check still does not know the execution after %s", waited.Round(time.Second))), 0, nil
	}
	run.Reason = "CodeArts Check does not know the execution yet"
	return run, c.backoff(run, run.StartedAt), nil
}

// showsOther reports that an end may be that of another execution than ours: of the one
// before. It is ours when the service is trusted to tell of one execution, when ours was
// seen running, because a task runs once at a time, when the service names ours as the
// task's latest, or, where it does not tell that, when the task's check time has changed
// since we asked for an execution.
func (c *Checker) showsOther(ctx context.Context, run Run) (bool, error) {
	if c.options.JobID == On || run.SeenRunning {
		return false, nil
	}
	if c.job(run) != "" {
		latest, err := c.api.latestJob(ctx, run.Task.ID)
		if err == nil && latest != "" {
			return latest != run.ExecID, nil
		}
		if err != nil && !Permanent(err) {
			return false, err
		}
	}
	if c.options.CheckTimes == Off {
		return true, nil
	}
	s, err := c.api.summary(ctx, run.Task.ID, "")
	return checkTime(s) == run.checkTimeBefore(), err
}

// checkTimeBefore is the time of the task's last check before ours; empty when there was
// none, or it is not known.
func (run Run) checkTimeBefore() string {
	if run.Intent == nil {
		return ""
	}
	return run.Intent.LastCheckTime
}

// waitForOurs waits for our execution to show, until the deadline.
func (c *Checker) waitForOurs(run Run) (Run, time.Duration, error) {
	run.Reason = "the task shows the end of an execution that cannot be told from the one before ours"
	return run, c.wait(run), nil
}
