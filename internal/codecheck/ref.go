package codecheck

import (
	"cmp"
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
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
	case c.refRefused.Load():
		return "", "none: the service refused a ref before, and chooses by itself", nil
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

// refIsOpen reports whether the rule leaves the ref to us.
func refIsOpen(check rules.Check) bool { return check.Ref == rules.RefAuto || check.Ref == "" }

// mayTryOtherRef reports whether the rule left the ref open and only one was sent.
func (c *Checker) mayTryOtherRef(run Run) bool {
	return refIsOpen(run.Check) && run.Ref != "" && len(run.RefsTried) == 1
}

// mayOmitRef reports whether a start whose parameters were refused may be sent again without
// its ref. That is the only parameter besides the task's id, and a wrong id has a code of its
// own (CC.00050013). Without a ref the service pulls the code of the merge request in the way
// that it takes for the kind of repository: so does every edition that has no ref
// (specs/codearts-check.md 1.3, 1.5).
func (c *Checker) mayOmitRef(run Run) bool {
	return run.Ref != "" && refIsOpen(run.Check) && c.options.Ref != On
}

// withoutRef sends the run back to its start with no ref, after the service refused one.
func withoutRef(run Run, refusal error) Run {
	run.RefusedRef, run.Ref = run.Ref, ""
	run.RefReason = fmt.Sprintf("none: %s was refused: %s", run.RefusedRef, refusal)
	run.Reason = fmt.Sprintf("the service refused ref %s, now none is sent: %s", run.RefusedRef, refusal)
	return run
}

// learnRef notes, until the end of the process, that the service has no ref: it refused a start
// with one, and accepted the same without.
func (c *Checker) learnRef(run Run) {
	if run.RefusedRef != "" && run.Ref == "" && !c.refRefused.Swap(true) {
		c.options.Log.Warn("ref refused by the service, not sent any more",
			zap.String(event.LogRun, run.ID), zap.String(event.LogReason, run.RefReason))
	}
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
	if run.Ref == "" || !refIsOpen(run.Check) {
		return nil
	}
	if err := c.options.Memory.SaveRef(ctx, run.Event, run.Ref); err != nil {
		return fmt.Errorf("save ref: %w", err)
	}
	return nil
}
