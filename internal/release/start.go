package release

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// start sends the start of a pipeline that is free, once.
func (o *Operator) start(ctx context.Context, s service, r Release, save func(context.Context, Release) error) (Release, time.Duration, error) {
	if o.expired(r) {
		return o.finish(r, Failed, "the deadline passed before the pipeline could be started; last: "+r.Reason)
	}
	before, err := look(ctx, s, r.Plan.Pipeline)
	if err != nil {
		return o.lookFailed(ctx, r, err)
	}
	if !before.listed {
		return o.finish(r, Failed, fmt.Sprintf("pipeline %s is not among the project's %d pipelines", r.Plan.Pipeline, before.pipelines))
	}
	if by := o.busy(before); by != "" {
		return o.wait(r, "waits for the pipeline: "+by)
	}

	last, _ := before.newest()
	intended := o.intend(r, last, before.pipeline)
	if err := save(ctx, intended); err != nil {
		return r, 0, fmt.Errorf("save intent to start pipeline %q: %w", r.Plan.Pipeline, err)
	}
	r = intended
	got, err := s.start(ctx, r.Plan.Pipeline, r.Plan.Select)
	switch {
	case err == nil && got.ID != "":
		r = o.settled(r, outcomeAccepted, string(got.ID), "")
		return o.running(r, got.Status, fmt.Sprintf("execution %s started", got.ID))
	case err == nil:
		return o.wait(r, "start was answered without an execution id; looking for the execution")
	case notSent(err):
		return o.startRefused(ctx, s, r, save, err)
	}
	return o.wait(r, fmt.Sprintf("the answer to start was lost; looking for the execution: %s", err))
}

// startRefused is for a start that certainly had no effect. A refusal may come
// from the pipeline's state: when another look shows that it is taken, the
// release waits for it, else the refusal is final.
func (o *Operator) startRefused(ctx context.Context, s service, r Release, save func(context.Context, Release) error, refusal error) (Release, time.Duration, error) {
	intent := *r.Intent
	r = o.takenBack(r, refusal)
	if err := save(ctx, r); err != nil {
		return r, 0, fmt.Errorf("take back intent to start pipeline %q: %w", r.Plan.Pipeline, err)
	}
	if retryable(refusal) {
		return r, 0, refusal
	}
	if hopeless(refusal) {
		return o.finish(r, Failed, fmt.Sprintf("the service refused the start: %s", refusal))
	}
	now, err := look(ctx, s, r.Plan.Pipeline)
	if err != nil {
		return o.lookFailed(ctx, r, err)
	}
	if by := o.busy(now); by != "" {
		return o.wait(r, "waits for the pipeline: "+by)
	}
	if newer := now.since(intent); len(newer) > 0 {
		return o.wait(r, fmt.Sprintf("waits for the pipeline: execution %s came first", newer[0].ID))
	}
	return o.finish(r, Failed, fmt.Sprintf("the service refused the start: %s", refusal))
}

// settleStart looks for the execution of a start whose answer is not known. It
// never sends.
func (o *Operator) settleStart(ctx context.Context, s service, r Release) (Release, time.Duration, error) {
	v, err := look(ctx, s, r.Plan.Pipeline)
	if err != nil {
		return o.lookFailed(ctx, r, err)
	}
	newer := v.since(*r.Intent)
	switch {
	case len(newer) > 1:
		return o.finish(o.settled(r, outcomeUnknown, "", "several executions appeared"), Unknown,
			fmt.Sprintf("the answer to start was lost, and %d executions appeared since: which of them is ours, if any, cannot be told", len(newer)))
	case len(newer) == 1 && !near(newer[0], r.Intent.SentAt, o.options.SettleFor):
		return o.finish(o.settled(r, outcomeUnknown, "", "an execution of another time appeared"), Unknown,
			fmt.Sprintf("the answer to start was lost, and execution %s appeared, but it was started at %s and our start was sent at %s",
				newer[0].ID, stamp(time.UnixMilli(newer[0].triggeredAt())), stamp(r.Intent.SentAt)))
	case len(newer) == 1:
		id := string(newer[0].ID)
		r = o.settled(r, outcomeAdopted, id, "the answer was lost; the execution stood in the records")
		return o.running(r, newer[0].Status, fmt.Sprintf("execution %s started; found in the records after the answer was lost", id))
	case o.settling(r):
		return o.wait(r, "the answer to start was lost; looking for the execution")
	}
	return o.finish(o.settled(r, outcomeUnknown, "", "no execution appeared"), Unknown,
		fmt.Sprintf("the answer to start, sent at %s, was lost and no execution appeared within %s; it may never have been sent, and is not sent again",
			stamp(r.Intent.SentAt), o.options.SettleFor))
}

// running moves r on to its execution, which it has begun.
func (o *Operator) running(r Release, status Status, reason string) (Release, time.Duration, error) {
	r.State, r.Status, r.Polls, r.StartedAt = Running, int(status), 0, o.options.Now()
	return o.wait(r, reason)
}

// busy says by what the pipeline is taken; empty when it can be started.
func (o *Operator) busy(v view) string {
	newest, _ := v.newest()
	switch {
	case newest.Status != StatusNone && !slices.Contains(o.options.Startable, newest.Status):
		return describe(newest)
	case v.pipeline.Status == StatusNone && newest.Status != StatusNone:
		return ""
	case !slices.Contains(o.options.Startable, v.pipeline.Status):
		return v.pipeline.Status.String()
	}
	return ""
}

// stamp writes a time as operators compare it with the console's.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
