package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
)

// Forge is what the jobs ask of the git hosts; see [forge.Forge].
type Forge interface {
	// Head reads the commit that the event's branch, tag or merge request has now.
	Head(ctx context.Context, ev event.Event) (sha string, err error)
	// Languages reads the languages of the event's repository.
	Languages(ctx context.Context, ev event.Event) (names []string, err error)
	// Files reads the files that the event changes.
	Files(ctx context.Context, ev event.Event) (event.Files, error)
	// MergeRequest reads what the host says of the event's merge request, CanWrite whether an account may
	// write to a repository.
	MergeRequest(ctx context.Context, ev event.Event) (forge.MergeRequest, error)
	CanWrite(ctx context.Context, connection string, r event.Repository, u forge.User) (bool, error)
	// MergeRequestsOf reads the merge requests that a commit, in full, came from.
	MergeRequestsOf(ctx context.Context, connection, repository, sha string) ([]forge.MergeRequestRef, error)
}

// Confirm says before which steps the host of a connection is asked whether the commit at
// hand is the one that it has, and whether it is asked for what a decision depends on.
type Confirm struct{ Runs, Releases, Asks bool }

// hostLag is how long after a run was made an answer that knows nothing of its commit yet may
// come from a part of the host that lags behind the one which sent the delivery.
const hostLag = time.Minute

// confirmRun asks the host before anything is done for a run: a payload is a hint, and no
// task is created, and nothing scanned, for a commit that it does not have. The run comes back
// as it is when it may go on, and has ended when the host has another commit. A new run whose
// host has nothing yet, or the commit before, waits. After its deadline a run waits for no host:
// Checker.Prepare ends it.
func (q *Queue) confirmRun(ctx context.Context, run codecheck.Run) (codecheck.Run, error) {
	if run.State != codecheck.Queued || !q.opts.Confirm(run.Event.Connection).Runs || !q.now().Before(run.Deadline) {
		return run, nil
	}
	sha, err := q.confirm(ctx, run.Event)
	if q.now().Sub(run.CreatedAt) < hostLag && (final(err) || err == nil && sha == run.Event.Before) {
		// What the host says is final; that it may lag is not.
		text := moved(run.Event, sha)
		if err != nil {
			text = err.Error()
		}
		err = errors.New(text)
	}
	switch {
	case err != nil:
		run.Reason = "waits to try again: " + err.Error()
	case moved(run.Event, sha) != "":
		run.State, run.Reason, run.FinishedAt = codecheck.Superseded, moved(run.Event, sha), q.now().UTC()
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
	sha, reason, err := q.mayBeReleased(ctx, b.release.Event)
	switch {
	case err == nil && reason == "":
		// The host has it: then it is the newest commit, whatever was announced.
		err = q.update(ctx, func(tx *transaction) error { return tx.ConfirmHead(ctx, b.release.Event.RefKey(), sha) })
		return next, err == nil, wait, err
	case err == nil && b.withdraw(reason), final(err) && b.withdraw(err.Error()):
		return q.opts.Releaser.Prepare(ctx, b.release)
	case err != nil:
		return b.release, false, 0, err
	}
	next = b.release
	next.State, next.Reason = release.Refused, reason
	return next, false, 0, nil
}

// confirmOperation asks the host before an operation lets an execution go on releasing: a
// retry or a continue is a release too. When the host has another commit, or none, it is
// not sent, and the rule or the person is told why; next is then what follows instead.
func (q *Queue) confirmOperation(ctx context.Context, before, next release.Release, wait time.Duration) (_ release.Release, send bool, _ time.Duration, err error) {
	if !next.Operation.Action.Releases() || !q.opts.Confirm(next.Event.Connection).Releases {
		return next, true, wait, nil
	}
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	sha, reason, err := q.mayBeReleased(ctx, before.Event)
	switch {
	case err == nil && reason == "":
		err = q.update(ctx, func(tx *transaction) error { return tx.ConfirmHead(ctx, before.Event.RefKey(), sha) })
		return next, err == nil, wait, err
	case err != nil && !final(err):
		return before, false, 0, err
	case err != nil:
		reason = err.Error()
	}
	before.Known.Outdated = reason
	return q.lookAtRelease(ctx, before)
}

// mayBeReleased reads the commit that the host of an event has. reason says why its commit is not
// released: the host has another one, or its merge request is of another repository or comes from a fork.
func (q *Queue) mayBeReleased(ctx context.Context, ev event.Event) (sha, reason string, err error) {
	if ev.Number == 0 {
		sha, err = q.confirm(ctx, ev)
		return sha, moved(ev, sha), err
	}
	request, err := q.opts.Forge.MergeRequest(ctx, ev)
	if err != nil {
		return "", "", fmt.Errorf("confirm commit %s of %s: %w", short(ev.HeadSHA), refOf(ev), err)
	}
	if reason := elsewhere(ev, request); reason != "" {
		return request.HeadSHA, reason, nil
	}
	if request.Fork {
		return request.HeadSHA, fmt.Sprintf("%s comes from a fork, and what comes from a fork is not released", refOf(ev)), nil
	}
	return request.HeadSHA, moved(ev, request.HeadSHA), nil
}

// confirm reads the commit that the host of an event has. The error names the event's.
func (q *Queue) confirm(ctx context.Context, ev event.Event) (sha string, err error) {
	if sha, err = q.opts.Forge.Head(ctx, ev); err != nil {
		return "", fmt.Errorf("confirm commit %s of %s: %w", short(ev.HeadSHA), refOf(ev), err)
	}
	return sha, nil
}

// elsewhere says that the merge request that the host has under this name is one of another repository than the event's;
// empty when it is not, or the host does not tell.
func elsewhere(ev event.Event, request forge.MergeRequest) string {
	if request.RepositoryID == "" || request.RepositoryID == ev.Repository.ID {
		return ""
	}
	return fmt.Sprintf("its host says that %s is repository %s, and the delivery said %.100q", ev.Repository.FullName, request.RepositoryID, ev.Repository.ID)
}

// moved says that the host has another commit than the event; empty when it has the same.
func moved(ev event.Event, sha string) string {
	if sha == ev.HeadSHA {
		return ""
	}
	return fmt.Sprintf("%s has commit %s on its host, and not %s", refOf(ev), short(sha), short(ev.HeadSHA))
}

// refOf is how people call the branch, tag or merge request of an event.
func refOf(ev event.Event) string {
	switch {
	case ev.Number > 0:
		return fmt.Sprintf("merge request %d", ev.Number)
	case ev.Kind == event.Tag:
		return fmt.Sprintf("tag %q", ev.Branch)
	}
	return fmt.Sprintf("branch %q", ev.CommitRef())
}
