package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
)

// Forge is what the jobs ask of the git hosts; see [forge.Forge].
type Forge interface {
	// Head reads the commit that the event's branch, tag or merge request has now.
	Head(ctx context.Context, ev event.Event) (sha string, err error)
}

// Confirm says before which steps the host of a connection is asked whether the commit at
// hand is the one that it has.
type Confirm struct{ Runs, Releases bool }

// confirmRun asks the host before anything is done for a run: a payload is a hint, and no
// task is created, and nothing scanned, for a commit that it does not have. The run comes back
// as it is when it may go on, and has ended when the host has another commit. After its
// deadline it waits for no host: Checker.Prepare ends it.
func (q *Queue) confirmRun(ctx context.Context, run codecheck.Run) (codecheck.Run, error) {
	if run.State != codecheck.Queued || !q.opts.Confirm(run.Event.Connection).Runs || !q.now().Before(run.Deadline) {
		return run, nil
	}
	moved, err := q.confirm(ctx, run.Event)
	switch {
	case err != nil:
		run.Reason = "waits to try again: " + err.Error()
	case moved != "":
		run.State, run.Reason, run.FinishedAt = codecheck.Superseded, moved, q.now().UTC()
	}
	return run, err
}

// prepareRelease looks at the pipeline, and once the release could act asks the host: send is
// true only for a commit that the host has. When it has not, an approval of our own execution
// becomes a refusal (withdraw), and any other release ends. Refusing needs no confirmation.
func (q *Queue) prepareRelease(ctx context.Context, b *basis) (next release.Release, send bool, wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	next, send, wait, err = q.opts.Releaser.Prepare(ctx, b.release)
	if err != nil || !send || b.release.Plan.Action == rules.ReleaseRefuse || !q.opts.Confirm(b.release.Event.Connection).Releases {
		return next, send, wait, err
	}
	moved, err := q.confirm(ctx, b.release.Event)
	switch {
	case err == nil && moved == "":
		return next, true, wait, nil
	case err != nil && !final(err):
		return b.release, false, 0, err
	case err != nil && b.withdraw(err.Error()), err == nil && b.withdraw(moved):
		return q.opts.Releaser.Prepare(ctx, b.release)
	case err != nil:
		return b.release, false, 0, err
	}
	next = b.release
	next.State, next.Reason = release.Refused, moved
	return next, false, 0, nil
}

// confirm asks the host of an event for its commit. moved says that the host has another one;
// it is empty when the host has this one. The error may be one that passes.
func (q *Queue) confirm(ctx context.Context, ev event.Event) (moved string, err error) {
	ref := fmt.Sprintf("branch %q", ev.Branch)
	switch {
	case ev.Number > 0:
		ref = fmt.Sprintf("merge request %d", ev.Number)
	case ev.Kind == event.Tag:
		ref = fmt.Sprintf("tag %q", ev.Branch)
	}
	sha, err := q.opts.Forge.Head(ctx, ev)
	switch {
	case err != nil:
		return "", fmt.Errorf("confirm commit %s of %s: %w", short(ev.HeadSHA), ref, err)
	case sha != ev.HeadSHA:
		return fmt.Sprintf("%s has commit %s on its host, and not %s", ref, short(sha), short(ev.HeadSHA)), nil
	}
	return "", nil
}
