package release

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Follow reads the execution of a running release once
// (specs/servicestage-release.md 4) and returns the release to be saved and how
// long to wait before the next time, 0 when the release has ended. A release that
// is not running is returned as it is.
//
// Only the documented end statuses end it; a status that is not documented goes
// on until the deadline. The deadline ends it as Failed with the last status, or as
// Expired where the execution waits for a person, for which it has a deadline of its
// own; the pipeline itself is not stopped by that. The error is one to try again
// after (see huaweicloud.Error); nothing is to be saved then.
func (o *Operator) Follow(ctx context.Context, r Release) (Release, time.Duration, error) {
	if r.State != Running && r.State != AwaitingApproval {
		return r, 0, nil
	}
	s, err := o.service(ctx)
	if err != nil {
		return o.readFailed(ctx, r, err)
	}
	s.poll = true
	now, err := readSnapshot(ctx, s, r.Plan.Pipeline)
	if err != nil {
		return o.readFailed(ctx, r, err)
	}
	status := now.status(r.ExecutionID, o.listCurrent(r, now))
	if status != StatusNone {
		r.Status = int(status)
	}
	// The details are those of the last execution. Where they cannot be had an end
	// is still an end, and a checkpoint has no name.
	var tasks []task
	if _, newer := now.newerThan(r.ExecutionID); !newer && (status == StatusToBeApproved || status == StatusFailed) {
		if tasks, err = s.tasks(ctx, r.Plan.Pipeline); err != nil && retryable(err) && !o.expired(r) {
			return o.readFailed(ctx, r, err)
		}
	}

	if status.Ended() {
		return o.executionEnded(r, status, tasks)
	}
	if status != StatusNone {
		r = o.waitsForPerson(r, status)
	}
	switch {
	case o.expired(r) && !r.WaitsForPersonSince.IsZero():
		return o.end(r, Expired, fmt.Sprintf("execution %s has waited for a person since %s, and nobody acted in time; last: %s; it was not stopped",
			r.ExecutionID, formatTime(r.WaitsForPersonSince), Status(r.Status)))
	case o.expired(r):
		return o.end(r, Failed, fmt.Sprintf("the deadline passed; execution %s was last seen as %s and was not stopped", r.ExecutionID, Status(r.Status)))
	}
	return o.executionGoesOn(r, status, tasks)
}

// waitsForPerson notes whether the execution of r waits for a person. That has a
// deadline of its own, and afterwards the release has all its time again.
func (o *Operator) waitsForPerson(r Release, status Status) Release {
	now := o.options.Now()
	switch waits := status == StatusToBeApproved || status == StatusPaused; {
	case waits && r.WaitsForPersonSince.IsZero():
		r.WaitsForPersonSince = now
		if r.Plan.ApprovalTimeout > 0 {
			r.Deadline = now.Add(r.Plan.ApprovalTimeout)
		}
	case !waits && !r.WaitsForPersonSince.IsZero():
		r.WaitsForPersonSince = time.Time{}
		if r.Plan.Timeout > 0 {
			r.Deadline = now.Add(r.Plan.Timeout)
		}
	}
	return r
}

// listCurrent reports whether the list already shows the execution of r, and not
// the one before: the pipeline's last start is later than it was before ours, or
// ours is so long ago that it must show.
func (o *Operator) listCurrent(r Release, now snapshot) bool {
	if r.Intent != nil && int64(now.pipeline.LastTriggerAt) > r.Intent.LastTriggerAt {
		return true
	}
	return o.options.Now().Sub(r.StartedAt) >= o.options.EffectTimeout
}

func (o *Operator) executionEnded(r Release, status Status, tasks []task) (Release, time.Duration, error) {
	execution := "execution " + r.ExecutionID
	switch status {
	case StatusSucceeded:
		return o.end(r, Succeeded, execution+": "+status.String())
	case StatusFailed:
		return o.executionFailed(r, execution, tasks)
	case StatusSkipped:
		return o.end(r, Failed, execution+": nothing was released, all was skipped")
	case StatusRolledBack:
		return o.end(r, Stopped, execution+" was rolled back")
	}
	return o.end(r, Failed, execution+": "+status.String())
}

func (o *Operator) executionGoesOn(r Release, status Status, tasks []task) (Release, time.Duration, error) {
	execution := "execution " + r.ExecutionID
	r.State, r.Waiting = Running, nil
	switch status {
	case StatusToBeApproved:
		r.State = AwaitingApproval
		waiting := withStatus(tasks, StatusToBeApproved)
		for _, t := range waiting {
			r.Waiting = append(r.Waiting, t.Name)
		}
		if len(waiting) == 0 {
			return o.wait(r, execution+" waits for approval")
		}
		return o.wait(r, execution+" waits for approval at "+quoted(waiting))
	case StatusPaused:
		return o.wait(r, execution+" is paused and needs a continue")
	case StatusNone:
		return o.wait(r, execution+": its status does not show yet")
	}
	return o.wait(r, execution+": "+status.String())
}

// executionFailed ends r: as refused when a checkpoint that waited the last time now shows
// as failed, else as failed, with the tasks that failed.
func (o *Operator) executionFailed(r Release, execution string, tasks []task) (Release, time.Duration, error) {
	failedTasks := withStatus(tasks, StatusFailed)
	for _, t := range failedTasks {
		if slices.Contains(r.Waiting, t.Name) {
			return o.end(r, Refused, fmt.Sprintf("%s: checkpoint %q was refused", execution, t.Name))
		}
	}
	reason := execution + ": " + StatusFailed.String()
	if len(failedTasks) > 0 {
		reason += " at " + quoted(failedTasks)
	}
	for _, t := range failedTasks {
		if t.Error != "" {
			reason += fmt.Sprintf("; %q says: %s", t.Name, t.Error)
		}
	}
	return o.end(r, Failed, reason)
}

// withStatus returns the tasks that have this status.
func withStatus(tasks []task, status Status) []task {
	return slices.DeleteFunc(slices.Clone(tasks), func(t task) bool { return t.Status != status })
}

// quoted writes the names of tasks as `"a", "b"`; empty when there are none.
func quoted(tasks []task) string {
	list := make([]string, len(tasks))
	for i, t := range tasks {
		list[i] = fmt.Sprintf("%q", t.Name)
	}
	return strings.Join(list, ", ")
}
