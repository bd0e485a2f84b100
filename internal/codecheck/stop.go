package codecheck

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Stop ends the run's execution at CodeArts Check, for a run that is superseded
// or overdue. A run without an execution, or whose execution has ended, is not an error;
// not knowing whether it has ended is one, so that the caller tries again. The API
// stops whatever the task runs: a run must be stopped before the next run of the same
// task is started, and not when another run's execution may be running by then. Without
// `job_id` the progress cannot tell whose execution runs, so nothing is stopped there: the
// execution ends by itself, and its result is ignored.
func (c *Checker) Stop(ctx context.Context, run Run) error {
	if run.Task.ID == "" || run.ExecID == "" || !c.options.JobID.In(c.options.Dialect) {
		return nil
	}
	if running, err := c.isRunning(ctx, run); err != nil || !running {
		return err
	}
	err := c.api.stop(ctx, run.Task.ID)
	if err == nil {
		return nil
	}
	if running, askErr := c.isRunning(ctx, run); askErr == nil && !running {
		return nil
	}
	return err
}

// Delete removes a task at CodeArts Check, with what it found. One that is not there any more
// is not an error.
func (c *Checker) Delete(ctx context.Context, task Task) error {
	if err := c.api.deleteTask(ctx, task.ID); err != nil && !notFound(err) {
		return err
	}
	return nil
}

// isRunning reports false only for an execution that is known to have ended.
func (c *Checker) isRunning(ctx context.Context, run Run) (bool, error) {
	status, err := c.api.progress(ctx, run.Task.ID, c.job(run))
	ended := status.set && (status.n == scanError || status.n == scanDone || status.n == stopped)
	return !ended, err
}

// endOverdue stops an execution that took too long. Whether that works or not, the
// run is over.
func (c *Checker) endOverdue(ctx context.Context, run Run) (Run, time.Duration, error) {
	after := run.Deadline.Sub(run.CreatedAt).Round(time.Second)
	stopResult := "the execution was stopped"
	if c.job(run) == "" {
		stopResult = "the execution is left to end"
	}
	// A service that never answers uses up every step's time: only a cancelled step
	// is tried again.
	if err := c.Stop(ctx, run); errors.Is(ctx.Err(), context.Canceled) {
		return run, 0, err
	} else if err != nil {
		stopResult = "the execution could not be stopped: " + err.Error()
	}
	return c.end(run, Errored, fmt.Sprintf("not finished %s after its creation; last: %s; %s", after, run.Reason, stopResult)), 0, nil
}
