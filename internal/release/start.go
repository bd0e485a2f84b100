package release

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// prepareStart returns r with the intent to start its pipeline, once that is free.
func (o *Operator) prepareStart(ctx context.Context, s service, r Release) (Release, time.Duration, error) {
	if o.expired(r) {
		return o.end(r, Failed, "the deadline passed before the pipeline could be started; last: "+r.Reason)
	}
	now, err := s.look(ctx, r)
	if err != nil {
		return o.readFailed(ctx, r, err)
	}
	if !now.listed {
		return o.end(r, Failed, fmt.Sprintf("pipeline %s is not among the project's %d pipelines", r.Plan.Pipeline, now.pipelines))
	}
	if by := o.takenBy(r, now); by != "" {
		return o.wait(r, "waits for the pipeline: "+by)
	}
	last, _ := now.newest()
	return o.withIntent(r, last, now.pipeline), 0, nil
}

// sendStart starts the pipeline.
func (o *Operator) sendStart(ctx context.Context, s service, r Release) (Release, time.Duration, error) {
	got, err := s.act(ctx, r)
	switch {
	case err == nil && got.ID != "":
		r = withResult(r, ResultAccepted, string(got.ID), "")
		return o.started(r, got.Status, fmt.Sprintf("execution %s started", got.ID))
	case err == nil:
		return o.wait(r, "start was answered without an execution id; looking for the execution")
	case queued(err):
		intent := *r.Intent
		intent.Queued, r.Intent = true, &intent
		return o.wait(r, fmt.Sprintf("the service queued the start; waiting for the execution to appear: %s", err))
	case notSent(err):
		return o.startRefused(ctx, s, r, err)
	}
	return o.wait(r, fmt.Sprintf("the answer to start was lost; looking for the execution: %s", err))
}

// startRefused is for a start that certainly had no effect. A refusal may come
// from the pipeline's state: when the pipeline turns out to be taken, the release
// waits for it, else the refusal is final.
func (o *Operator) startRefused(ctx context.Context, s service, r Release, refusal error) (Release, time.Duration, error) {
	if retryable(refusal) {
		return o.waitAfter(withoutIntent(r), refusal)
	}
	intent := *r.Intent
	r = withRefusal(r, refusal)
	if permanent(refusal) {
		return o.end(r, Failed, fmt.Sprintf("the service refused the start: %s", refusal))
	}
	now, err := s.look(ctx, r)
	if err != nil {
		return o.readFailedAfterRefusal(ctx, r, err)
	}
	if by := o.takenBy(r, now); by != "" {
		return o.wait(r, "waits for the pipeline: "+by)
	}
	if newer := now.executionsSince(intent); len(newer) > 0 {
		return o.wait(r, fmt.Sprintf("waits for the pipeline: execution %s came first", newer[0].ID))
	}
	return o.end(r, Failed, fmt.Sprintf("the service refused the start: %s", refusal))
}

// findStart looks for the execution of a start whose answer is not known. It
// never sends.
func (o *Operator) findStart(ctx context.Context, s service, r Release) (Release, time.Duration, error) {
	now, err := s.look(ctx, r)
	if err != nil {
		return o.readFailed(ctx, r, err)
	}
	newer := now.begunBy(*r.Intent)
	if i := slices.IndexFunc(newer, func(e record) bool { return e.Purpose != nil && strings.Contains(*e.Purpose, r.ID) }); i >= 0 {
		id := string(newer[i].ID)
		r = withResult(r, ResultAdopted, id, "the answer was lost; the execution was found by its description")
		return o.started(r, newer[i].Status, fmt.Sprintf("execution %s started; found by its description after the answer was lost", id))
	}
	// One whose description is told and does not name the release was started by somebody else.
	newer = slices.DeleteFunc(newer, func(e record) bool { return e.Purpose != nil })
	switch {
	case len(newer) > 1:
		return o.end(withResult(r, ResultUnknown, "", "several executions appeared"), Unknown,
			fmt.Sprintf("the answer to start was lost, and %d executions appeared since: it is not known which of them is ours, if any", len(newer)))
	case len(newer) == 1 && !r.Intent.Queued && !startedWithin(newer[0], r.Intent.SentAt, o.options.EffectTimeout):
		return o.end(withResult(r, ResultUnknown, "", "an execution of another time appeared"), Unknown,
			fmt.Sprintf("the answer to start was lost, and execution %s appeared, but it was started at %s and our start was sent at %s",
				newer[0].ID, formatTime(time.UnixMilli(newer[0].triggeredAt())), formatTime(r.Intent.SentAt)))
	case len(newer) == 1:
		id := string(newer[0].ID)
		r = withResult(r, ResultAdopted, id, "the answer was lost; the execution was found in the records")
		return o.started(r, newer[0].Status, fmt.Sprintf("execution %s started; found in the records after the answer was lost", id))
	case r.Intent.Queued && !o.expired(r):
		return o.wait(r, "the service queued the start; waiting for the execution to appear")
	case r.Intent.Queued:
		return o.end(withResult(r, ResultUnknown, "", "it was queued, and no execution appeared"), Unknown,
			fmt.Sprintf("the service queued the start, sent at %s, and no execution appeared before the deadline; it may yet begin, and is not sent again", formatTime(r.Intent.SentAt)))
	case o.effectMayShow(r):
		return o.wait(r, "the answer to start was lost; looking for the execution")
	}
	return o.end(withResult(r, ResultUnknown, "", "no execution appeared"), Unknown,
		fmt.Sprintf("the answer to start, sent at %s, was lost and no execution appeared within %s; it may never have been sent, and is not sent again",
			formatTime(r.Intent.SentAt), o.options.EffectTimeout))
}

// started moves r on to the execution that it began.
func (o *Operator) started(r Release, status Status, reason string) (Release, time.Duration, error) {
	r.State, r.Status, r.Polls, r.StartedAt = Running, int(status), 0, o.options.Now()
	return o.wait(r, reason)
}

// takenBy says by what the pipeline is taken; empty when it can be started. A pause of an
// execution of ours that no release follows any more does not take it.
func (o *Operator) takenBy(r Release, now snapshot) string {
	newest, _ := now.newest()
	if status := now.status(string(newest.ID), true); slices.Contains(r.Known.LeftPaused, string(newest.ID)) && (status == StatusPaused || status == StatusSuspended) {
		return ""
	}
	switch {
	case newest.Status != StatusNone && !slices.Contains(o.options.Startable, newest.Status):
		return describe(newest)
	case now.pipeline.Status == StatusNone && newest.Status != StatusNone:
		return ""
	case !slices.Contains(o.options.Startable, now.pipeline.Status):
		return now.pipeline.Status.String()
	}
	return ""
}

// formatTime writes a time as operators compare it with the console's.
func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }
