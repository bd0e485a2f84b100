package codecheck

import (
	"context"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/rules"
)

// Send sends, once, the request that the run's intent announces, and returns the run
// as the response makes it: Running, with the wait before the first Poll; Starting
// with the wait before the next Prepare, when the task is busy or no longer exists, or the service refused the ref;
// or ended. The intent must have been committed before.
//
// An error is something to try again, from Prepare on: whether there is an execution
// is then not known. A run that is not Starting, or that Prepare has given no
// intent, is returned as it is.
func (c *Checker) Send(ctx context.Context, run Run) (next Run, wait time.Duration, err error) {
	if run.State != Starting || run.Intent == nil {
		return run, 0, nil
	}
	exec, err := c.api.run(ctx, run.Task.ID, c.runBody(run))
	switch {
	case busy(err):
		run.Reason = "the task is running, for another run or for this one before its response was lost; waits until it is free"
		return run, c.backoff(run, run.CreatedAt), nil
	case notFound(err) && run.GoneTask == nil && run.Origin != Created:
		run.Reason = fmt.Sprintf("the task %s no longer exists; looks for another one", run.Task.ID)
		gone := run.Task
		run.GoneTask, run.Task, run.Origin = &gone, Task{}, ""
		return run, minimalWait, nil
	case parametersRefused(err) && c.mayOmitRef(run):
		return withoutRef(run, err), minimalWait, nil
	case err != nil:
		return c.waitOrEnd(run, err)
	}
	run.State, run.ExecID, run.StartedAt, run.GoneTask = Running, exec, c.options.Now(), nil
	run.SeenRunning, run.Polls, run.Reads, run.LastSeen, run.ScanTook = false, 0, 0, time.Time{}, 0
	c.learnRef(run)
	if run.Ref != "" {
		run.RefsTried = append(run.RefsTried[:len(run.RefsTried):len(run.RefsTried)], run.Ref)
	}
	run.Reason = "the scan is running"
	return run, c.wait(run), nil
}

// runBody is what a run sends: its ref, or the temporary repository that it scans.
func (c *Checker) runBody(run Run) runBody {
	if run.Check.Repository != rules.RepositoryTemporary {
		return runBody{Ref: run.Ref}
	}
	return runBody{GitURL: run.Event.Repository.HTTPSURL, GitBranch: scannedBranch(run.Event, run.Check), Login: c.options.Login(run.Event.Connection)}
}
