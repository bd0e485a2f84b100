package codecheck

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
)

// Start brings a run from Queued or Starting to Running, or to an end state. It
// finds or creates the task, decides the ref, has the intent committed by save,
// and only then sends the request that starts an execution. It returns the run
// to be saved and how long to wait before the next step; a task that is busy
// leaves the run Starting, with a wait.
//
// An error is something to try again: the caller waits, for as long as its
// RetryAfter says if it has one, and calls Start again; the returned run says in
// its reason what it waits for. What cannot get better ends the run as Errored
// instead.
//
// After a crash or a lost answer Start simply begins again. If the execution of
// the time before runs, the task is busy; its id is not known, so the task is
// run once more when it is free. That is harmless, and the later execution sees
// the same commit or a newer one.
//
// A run that is Running or has ended is returned as it is.
func (c *Checker) Start(ctx context.Context, run Run, save func(context.Context, Run) error) (Run, time.Duration, error) {
	if run.State != Queued && run.State != Starting {
		return run, 0, nil
	}
	if c.late(run) {
		reason := "its deadline passed before it could start"
		if run.Reason != "" {
			reason += "; last: " + run.Reason
		}
		return c.end(run, Errored, reason), 0, nil
	}
	if err := unfit(run); err != nil {
		return c.giveUpOrRetry(run, err)
	}
	run.State = Starting
	run, err := c.begin(ctx, run, false, save)
	// A task that was known may have been deleted since.
	if notFound(err) && (run.Origin == Remembered || run.Origin == Found) {
		run, err = c.begin(ctx, run, true, save)
	}
	if busy(err) {
		run.Reason = "the task is running, for another run or for this one before its answer was lost; waits until it is free"
		return run, c.wait(run, run.CreatedAt), nil
	}
	if err != nil {
		return c.giveUpOrRetry(run, err)
	}
	return run, c.options.Poll.Min, nil
}

func notFound(err error) bool {
	var remote *huaweicloud.Error
	return errors.As(err, &remote) && remote.NotFound()
}

func busy(err error) bool {
	var remote *huaweicloud.Error
	return errors.As(err, &remote) && remote.Busy()
}

// begin makes one attempt to start an execution; afresh looks the task up
// instead of using a remembered one.
func (c *Checker) begin(ctx context.Context, run Run, afresh bool, save func(context.Context, Run) error) (Run, error) {
	if run.Task.ID == "" || afresh {
		task, origin, err := c.task(ctx, run, afresh)
		if err != nil {
			return run, err
		}
		run.Task, run.Origin = task, origin
	}
	var err error
	if run.Ref, run.RefReason, err = c.chooseRef(ctx, run); err != nil {
		return run, err
	}

	last, err := c.lastCheck(ctx, run)
	if err != nil {
		return run, err
	}
	run.Intent = &Intent{SentAt: c.options.Now(), LastCheckTime: last}
	run.Reason = "asks for an execution"
	if err := save(ctx, run); err != nil {
		return run, fmt.Errorf("save intent: %w", err)
	}
	exec, err := c.api.run(ctx, run.Task.ID, run.Ref)
	if err != nil {
		return run, err
	}

	run.State, run.ExecID, run.StartedAt = Running, exec, c.options.Now()
	run.SeenRunning, run.Polls, run.Reads = false, 0, 0
	if run.Ref != "" {
		run.RefsTried = append(run.RefsTried[:len(run.RefsTried):len(run.RefsTried)], run.Ref)
	}
	run.Reason = "the scan is running"
	c.options.Log.Info("execution started", zap.String(event.LogRun, run.ID), zap.String(event.LogTask, run.Task.ID),
		zap.String(event.LogExecution, exec))
	return run, nil
}

// lastCheck is the time of the task's last check, as the service spells it. Only
// the 2023 dialect needs it: there the progress does not speak of one execution,
// and the time shows whether a result is newer than our request. A task that we
// have just created, or of which the service has nothing to tell, has none.
func (c *Checker) lastCheck(ctx context.Context, run Run) (string, error) {
	if c.options.Dialect != Dialect2023 || run.Origin == Created {
		return "", nil
	}
	s, err := c.api.summary(ctx, run.Task.ID, "")
	if err != nil && !passing(err) {
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
