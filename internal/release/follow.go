package release

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/rules"
)

// Follow reads the execution of a running release once
// (specs/servicestage-release.md 4) and returns the release to be saved and how
// long to wait before the next time, 0 when the release has ended. A release that
// has no execution to be followed is returned as it is.
//
// An operation that is ordered, by the rule (Plan.OnFailure, OnDeadline, OnSuperseded) or
// by Order, is carried out on the way. send is true when next carries the intent of one:
// commit it, then call Send with it at once, as with Prepare. After a lost answer its
// effect is looked for and nothing is sent again.
//
// Only the documented end statuses end it; a status that is not documented goes
// on until the deadline. The deadline ends it as Failed with the last status, or as
// Expired where the execution waits for a person, for which it has a deadline of its
// own; the pipeline itself is not stopped by that, unless the rule says so. The error is one to try again
// after (see huaweicloud.Error); nothing is to be saved then.
func (o *Operator) Follow(ctx context.Context, r Release) (next Release, send bool, wait time.Duration, err error) {
	if !r.State.Followed() {
		return r, false, 0, nil
	}
	next, wait, err = o.follow(ctx, r)
	return next, !r.Unanswered() && next.Unanswered(), wait, err
}

func (o *Operator) follow(ctx context.Context, r Release) (Release, time.Duration, error) {
	s, err := o.service(ctx, r, true)
	if err != nil {
		return o.readFailed(ctx, r, err)
	}
	now, err := s.look(ctx, r)
	if err != nil {
		return o.readFailed(ctx, r, err)
	}
	status := now.status(now.latest(r.executions()), o.listCurrent(r, now))
	if status != StatusNone {
		r.Status = int(status)
	}
	if r.Operation != nil {
		next, wait, goOn := o.operate(r, now, status)
		if !goOn {
			return next, wait, nil
		}
		r = next
	}
	// The details are those of the last execution. Where they cannot be had an end
	// is still an end, and a checkpoint has no name.
	var tasks []task
	if _, newer := now.newerThan(r.executions()...); !newer && (status == StatusToBeApproved || status == StatusFailed) {
		if tasks, err = tasksOf(ctx, s, r); err != nil && retryable(err) && !o.expired(r) {
			return o.readFailed(ctx, r, err)
		}
	}

	if stop, stopped := r.stopped(); stopped && (status == StatusPaused || status == StatusFailed || status == StatusCanceled) {
		return o.end(r, Stopped, fmt.Sprintf("execution %s was stopped and is %s: %s", r.ExecutionID, status, stop.Reason))
	}
	if status.Ended() {
		return o.executionEnded(r, now, status, tasks)
	}
	if r.Plan.OnSuperseded == rules.ReactionStop && r.Known.Superseded != "" && mayStop(r, status) {
		return o.orderByRule(r.Order(rules.ReleaseStop, "", "on_superseded: "+r.Known.Superseded, o.options.Now()), now, status)
	}
	if status != StatusNone {
		r = o.waitsForPerson(r, status)
	}
	switch {
	case o.expired(r) && r.Plan.OnDeadline == rules.ReactionStop && status != StatusPaused && mayStop(r, status):
		reason := "on_deadline: it took longer than it may, last as " + status.String()
		return o.orderByRule(r.Order(rules.ReleaseStop, "", reason, o.options.Now()), now, status)
	case o.expired(r) && !r.WaitsForPersonSince.IsZero():
		return o.end(r, Expired, fmt.Sprintf("execution %s has waited for a person since %s, and nobody acted in time; last: %s; it was not stopped",
			r.ExecutionID, formatTime(r.WaitsForPersonSince), Status(r.Status)))
	case o.expired(r):
		return o.end(r, Failed, fmt.Sprintf("the deadline passed; execution %s was last seen as %s and was not stopped", r.ExecutionID, Status(r.Status)))
	}
	return o.executionGoesOn(r, now, status, tasks)
}

// waitsForPerson notes whether the execution of r waits for a person. That has a
// deadline of its own, and afterwards the release has all its time again.
func (o *Operator) waitsForPerson(r Release, status Status) Release {
	now := o.options.Now()
	switch waits := status == StatusToBeApproved || status == StatusPaused || status == StatusSuspended; {
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
// ours is so long ago that it must show. The latter tells nothing where the records have
// the status of each execution and ours is not among them: it may have vanished.
func (o *Operator) listCurrent(r Release, now snapshot) bool {
	if r.Intent != nil && int64(now.pipeline.LastTriggerAt) > r.Intent.LastTriggerAt {
		return true
	}
	newest, _ := now.newest()
	return newest.Status == StatusNone && o.options.Now().Sub(r.StartedAt) >= o.options.EffectTimeout
}

// orderByRule goes on with an operation that the rule has just ordered.
func (o *Operator) orderByRule(r Release, now snapshot, status Status) (Release, time.Duration, error) {
	next, wait, goOn := o.operate(r, now, status)
	if goOn { // it was not sent; the next look goes on from there
		return o.wait(next, next.Reason)
	}
	return next, wait, nil
}

func (o *Operator) executionEnded(r Release, now snapshot, status Status, tasks []task) (Release, time.Duration, error) {
	execution := "execution " + r.ExecutionID
	switch status {
	case StatusSucceeded:
		return o.end(r, Succeeded, execution+": "+status.String())
	case StatusFailed:
		return o.executionFailed(r, now, execution, tasks)
	case StatusSkipped:
		return o.end(r, Failed, execution+": nothing was released, all was skipped")
	case StatusCanceled:
		return o.end(r, Failed, execution+" was canceled, and not by us")
	case StatusRolledBack:
		return o.end(r, RolledBack, execution+" was rolled back"+because(r))
	}
	return o.end(r, Failed, execution+": "+status.String())
}

func (o *Operator) executionGoesOn(r Release, now snapshot, status Status, tasks []task) (Release, time.Duration, error) {
	execution := "execution " + r.ExecutionID
	r.State, r.Waiting, r.WaitingAlso = Running, nil, nil
	switch status {
	case StatusToBeApproved:
		r.State = AwaitingApproval
		waiting := withStatus(tasks, StatusToBeApproved)
		for _, t := range waiting {
			r.Waiting = append(r.Waiting, t.Name)
			if also := slices.DeleteFunc(slices.Clone(t.Also), func(name string) bool { return name == "" || name == t.Name }); len(also) > 0 {
				if r.WaitingAlso == nil {
					r.WaitingAlso = map[string][]string{}
				}
				r.WaitingAlso[t.Name] = also
			}
		}
		if len(waiting) == 0 {
			return o.wait(r, execution+" waits for approval")
		}
		return o.wait(r, execution+" waits for approval at "+quoted(waiting))
	case StatusPaused:
		r.State = Paused
		return o.wait(r, execution+" is paused: gatewright pipeline continue or stop goes on from there")
	case StatusSuspended:
		r.State = Paused
		return o.wait(r, execution+" is suspended: a person must let it go on in the console, or gatewright pipeline stop ends it")
	case StatusNone:
		if _, seen := now.find(now.latest(r.executions())); !seen && len(now.records) > 0 && o.options.Now().Sub(r.StartedAt) >= o.options.EffectTimeout {
			return o.wait(r, execution+" is not in the records of the pipeline any more")
		}
		return o.wait(r, execution+": its status does not show yet")
	}
	if ours, _ := now.find(now.latest(r.executions())); ours.Word != "" {
		return o.wait(r, fmt.Sprintf("%s: its status %q is not known, and not taken for an end", execution, ours.Word))
	}
	return o.wait(r, execution+": "+status.String())
}

// because says why the execution of r was rolled back; empty when it was not our doing.
func because(r Release) string {
	if last, sent := lastSent(r); sent && last.Name == rules.ReleaseRollback {
		return ": " + last.Reason
	}
	return ""
}

// executionFailed ends r as refused when a checkpoint that waited the last time now shows
// as failed. Otherwise it takes the rule's next step, and without one ends r as failed,
// with the tasks that failed.
func (o *Operator) executionFailed(r Release, now snapshot, execution string, tasks []task) (Release, time.Duration, error) {
	failedTasks := withStatus(tasks, StatusFailed)
	for _, t := range failedTasks {
		if slices.ContainsFunc(r.Waiting, t.called) {
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
	if action, more := nextStep(r); more {
		r = r.Order(action, "", "on_failure: "+reason+remarks(r), o.options.Now())
		r.State, r.Waiting, r.WaitingAlso = Running, nil, nil
		next, wait, goOn := o.operate(r, now, StatusFailed)
		if goOn {
			return o.executionFailed(next, now, execution, tasks)
		}
		return next, wait, nil
	}
	return o.end(r, Failed, reason+remarks(r))
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
