package codecheck

import (
	"cmp"
	"context"
	"fmt"

	"github.com/gatewright/gatewright/internal/rules"
)

// chooseRef decides what a run sends as `ref`, and why. A ref that was chosen
// before, by an earlier attempt or after a failed pull, stays.
func (c *Checker) chooseRef(ctx context.Context, run Run) (Ref, string, error) {
	mode := run.Check.Ref
	switch {
	case run.RefReason != "":
		return run.Ref, run.RefReason, nil
	case run.Check.Scan != rules.ScanIncremental:
		return "", "none: a branch or tag is scanned, not a merge request", nil
	case !c.options.Ref.In(c.options.Dialect):
		return "", "none: the service has no ref", nil
	case mode == rules.RefOmit:
		return "", "none: the rule says omit", nil
	case mode == rules.RefPull:
		return Pull, "the rule says pull", nil
	case mode == rules.RefMergeRequest:
		return MergeRequest, "the rule says merge_request", nil
	}
	ref, ok, err := c.options.Memory.Ref(ctx, run.Event)
	if err != nil {
		return "", "", fmt.Errorf("read ref: %w", err)
	}
	if ok {
		return ref, fmt.Sprintf("%s worked last for %s", ref, run.Event.Repository.FullName), nil
	}
	ref = cmp.Or(c.options.DefaultRef(run.Event.Connection), MergeRequest)
	return ref, fmt.Sprintf("%s is the default for connection %s", ref, run.Event.Connection), nil
}

// mayTryOtherRef reports whether the rule left the ref open and only one was sent.
func (c *Checker) mayTryOtherRef(run Run) bool {
	free := run.Check.Ref == rules.RefAuto || run.Check.Ref == ""
	return free && run.Ref != "" && len(run.RefsTried) == 1
}

// otherRef sends the run back to its start with the ref that was not tried.
func otherRef(run Run, why string) Run {
	tried := run.Ref
	run.Ref = Pull
	if tried == Pull {
		run.Ref = MergeRequest
	}
	run.RefReason = fmt.Sprintf("%s was tried first: %s", tried, why)
	run.State = Queued
	run.Reason = fmt.Sprintf("the merge request's code could not be pulled by %s, now %s is tried", tried, run.Ref)
	run.Intent, run.ExecID, run.SeenRunning, run.Polls, run.Reads = nil, "", false, 0, 0
	return run
}

// saveRef saves, for later runs, the ref of a run whose code could be pulled.
func (c *Checker) saveRef(ctx context.Context, run Run) error {
	if run.Ref == "" || run.Check.Ref != rules.RefAuto && run.Check.Ref != "" {
		return nil
	}
	if err := c.options.Memory.SaveRef(ctx, run.Event, run.Ref); err != nil {
		return fmt.Errorf("save ref: %w", err)
	}
	return nil
}
