package jobs

import (
	"context"
	"errors"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

const (
	// staleWait is how long a step waits that found another one at work on its
	// record.
	staleWait = 5 * time.Second
	// soon is how long a step waits before it is called again at once; zero would mean
	// that its job is done.
	soon = time.Millisecond
	// saveTimeout bounds the save of an answer.
	saveTimeout = 5 * time.Second
)

// startRun brings a run to its execution at CodeArts Check, unless it must wait: for a newer
// commit, for a run that shares its own execution, or for a place.
func (q *Queue) startRun(ctx context.Context, args startRunArgs) (time.Duration, error) {
	v, err := q.loadRun(ctx, args.RunID)
	if err != nil || (v.Record.State != codecheck.Queued && v.Record.State != codecheck.Starting) {
		return 0, err
	}
	if v.Record.SharesRunID != "" {
		return q.shareRun(ctx, v)
	}
	if ended, err := q.endStale(ctx, &v); err != nil || ended {
		return 0, err
	}
	if err := q.stopOlder(ctx, &v); err != nil {
		return afterRefusedSave(err)
	}
	if wait := q.quietFor(v.Record); wait > 0 {
		return wait, nil
	}
	if q.opts.MaxRuns[v.Record.Check.Account] == 0 {
		return q.beginRun(ctx, v)
	}
	if placed, err := q.waitForPlace(ctx, &v); err != nil || !placed {
		return afterRefusedSave(err)
	}
	wait, err := q.beginRun(ctx, v)
	return wait, errors.Join(err, q.giveUpPlace(ctx, v.Record.ID))
}

// beginRun takes the steps of a run that may have an execution now: confirm the commit,
// prepare, commit the intent, send, save the answer.
func (q *Queue) beginRun(ctx context.Context, v store.Versioned[codecheck.Run]) (time.Duration, error) {
	preparing, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	if next, err := q.confirmRun(preparing, v.Record); err != nil || next.State.Ended() {
		return q.saveRunStep(ctx, v, next, 0, err)
	}
	next, send, wait, err := q.opts.Checker.Prepare(preparing, v.Record)
	if err == nil && next.WantsLanguages {
		next, err = q.findLanguages(preparing, next)
	}
	if err == nil && send {
		switch err = q.commitRun(ctx, &v, next); {
		case errors.Is(err, store.ErrTaskBusy):
			return q.waitForTask(ctx, v, next)
		case errors.Is(err, errNoPlace):
			return soon, nil
		case err != nil:
			return afterRefusedSave(err)
		}
		next, wait, err = q.opts.Checker.Send(ctx, v.Record)
	}
	return q.saveRunStep(ctx, v, next, wait, err)
}

// languagesFor is how long a host is asked for the languages of a repository: after that the
// default ones are taken.
const languagesFor = time.Minute

// findLanguages asks the host for the languages of the repository, for a task that is about
// to be created.
func (q *Queue) findLanguages(ctx context.Context, run codecheck.Run) (codecheck.Run, error) {
	found := codecheck.Languages{Reason: "no host can be asked: the default ones"}
	if q.opts.Forge != nil {
		names, err := q.opts.Forge.Languages(ctx, run.Event)
		switch {
		case err == nil:
			return q.opts.Checker.WithLanguages(run, names), nil
		case !final(err) && q.now().Sub(run.CreatedAt) < languagesFor:
			run.Reason = "waits to try again: " + err.Error()
			return run, err
		default:
			found.Reason = err.Error() + ": the default ones"
		}
	}
	run.Languages, run.WantsLanguages = &found, false
	return run, nil
}

// commitRun saves a run with its intent, before anything is sent.
func (q *Queue) commitRun(ctx context.Context, v *store.Versioned[codecheck.Run], next codecheck.Run) error {
	err := q.update(ctx, func(tx *transaction) error {
		if q.opts.MaxRuns[next.Check.Account] > 0 && next.OccupiedTask() != "" {
			if has, err := tx.HasPlace(ctx, next.ID); err != nil || !has {
				return errors.Join(err, errNoPlace)
			}
		}
		return q.saveRun(ctx, tx, v.Record, next, &v.Version)
	})
	if err == nil {
		v.Record = next
	}
	return err
}

// waitForTask marks a run as waiting for the one that occupies its task.
func (q *Queue) waitForTask(ctx context.Context, v store.Versioned[codecheck.Run], next codecheck.Run) (wait time.Duration, err error) {
	next.Intent = nil
	err = q.update(ctx, func(tx *transaction) error {
		other, err := tx.LockOccupant(ctx, next.Task.ID, next.ID)
		if err != nil || other == "" {
			wait = soon
			return err
		}
		next.Reason = "waits for run " + other + ", which has the task " + next.Task.ID
		if err := q.saveRun(ctx, tx, v.Record, next, &v.Version); err != nil {
			return err
		}
		return tx.RunWaits(ctx, next.ID, other)
	})
	if err != nil {
		return afterRefusedSave(err)
	}
	return wait, nil
}

// afterRefusedSave ends a step whose save was refused because another step was first:
// a record that has ended needs no step, a changed one is looked at again.
func afterRefusedSave(err error) (time.Duration, error) {
	switch {
	case errors.Is(err, store.ErrEnded):
		return 0, nil
	case errors.Is(err, store.ErrStale):
		return staleWait, nil
	}
	return 0, err
}

// stopOlder stops the executions of the runs that this one supersedes, once. They are stopped
// before it starts, because the API stops whatever a task runs.
func (q *Queue) stopOlder(ctx context.Context, v *store.Versioned[codecheck.Run]) error {
	if len(v.Record.Supersedes) == 0 || v.Record.OlderStopped {
		return nil
	}
	err := q.stopSuperseded(ctx, v.Record)
	if err != nil && !final(err) && q.now().Before(v.Record.Deadline) {
		return err
	}
	next := v.Record
	next.OlderStopped = true
	return q.commitRun(ctx, v, next)
}

func (q *Queue) stopSuperseded(ctx context.Context, run codecheck.Run) error {
	for _, id := range run.Supersedes {
		older, err := q.loadRun(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err == nil {
			err = q.stopExecution(ctx, older.Record)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// shareRun judges a run from the counts of the run whose execution it shares. While that
// one goes on, this one waits for it.
func (q *Queue) shareRun(ctx context.Context, v store.Versioned[codecheck.Run]) (time.Duration, error) {
	run := v.Record
	var other codecheck.Run
	waits := false
	err := q.update(ctx, func(tx *transaction) error {
		found, err := tx.LockRun(ctx, run.SharesRunID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		other = found.Record
		if waits = err == nil && !other.State.Ended() && q.now().Before(run.Deadline); waits {
			return tx.RunWaits(ctx, run.ID, other.ID)
		}
		return nil
	})
	if err != nil || waits {
		return 0, err
	}
	next := run
	switch {
	case other.Verdict != nil && (other.NewCounts != nil || !run.Check.Gate.ComparesNew()):
		next = run.JudgedLike(other)
		next.StartedAt, next.FinishedAt = other.StartedAt, q.now().UTC()
	case other.State == codecheck.Errored || other.State == codecheck.Stopped:
		next.State, next.Reason, next.FinishedAt = codecheck.Errored, "run "+other.ID+", which checks the same commit, ended "+string(other.State)+": "+other.Reason, q.now().UTC()
	default:
		// There is nothing to share: it runs by itself.
		next.SharesRunID = ""
	}
	return q.saveRunStep(ctx, v, next, 0, nil)
}

// pollRun looks at an execution, and when it is over saves the verdict with the
// releases that it allows.
func (q *Queue) pollRun(ctx context.Context, args pollRunArgs) (time.Duration, error) {
	v, err := q.loadRun(ctx, args.RunID)
	if err != nil || v.Record.State != codecheck.Running {
		return 0, err
	}
	next, wait, err := q.opts.Checker.Poll(ctx, v.Record)
	return q.saveRunStep(ctx, v, next, wait, err)
}

// saveRunStep saves what a step made of a run and says when the same job is to be called
// again.
func (q *Queue) saveRunStep(ctx context.Context, v store.Versioned[codecheck.Run], next codecheck.Run, wait time.Duration, failure error) (time.Duration, error) {
	run := v.Record
	if failure != nil && !final(failure) {
		// The run shows what it waits for. That this could not be saved is of no
		// importance: the step is repeated.
		if next.Reason != run.Reason {
			_ = q.save(ctx, func(ctx context.Context, tx *transaction) error { return q.saveRun(ctx, tx, run, next, &v.Version) })
		}
		return 0, failure
	}
	if failure != nil {
		next = run
		next.State, next.Reason, next.FinishedAt = codecheck.Errored, failure.Error(), q.now().UTC()
	}
	ended := false
	save := func(ctx context.Context, tx *transaction) error {
		err := q.saveRun(ctx, tx, run, next, &v.Version)
		if ended = errors.Is(err, store.ErrEnded); !ended {
			return err
		}
		return q.lateExecution(ctx, tx, run, next)
	}
	err := q.save(ctx, save)
	if errors.Is(err, store.ErrTaskBusy) {
		// Another replica occupied the task at the same time; now that can be seen.
		err = q.save(ctx, save)
	}
	if err != nil {
		return afterRefusedSave(err)
	}
	if ended || next.State.Ended() || (next.State != run.State && next.State != codecheck.Starting) {
		// The job of the new state goes on, if there is one.
		return 0, nil
	}
	return max(wait, soon), nil
}

// lateExecution is for a step whose run has ended in the meantime. Where the step started
// an execution, a run that is about to check the same commit takes it over, unless its
// task is occupied by then, or it has no place where these are limited; otherwise the
// execution is stopped.
func (q *Queue) lateExecution(ctx context.Context, tx *transaction, before, run codecheck.Run) error {
	if run.State != codecheck.Running || run.ExecID == before.ExecID {
		return nil
	}
	same, found, err := tx.SameCheck(ctx, run)
	if err != nil {
		return err
	}
	if found && q.opts.MaxRuns[run.Check.Account] > 0 {
		// The place of the run that has ended may be another's by now.
		if found, err = tx.HasPlace(ctx, same.Record.ID); err != nil {
			return err
		}
	}
	if found {
		err = q.saveRun(ctx, tx, same.Record, same.Record.TakeOver(run), &same.Version)
	}
	if !found || errors.Is(err, store.ErrTaskBusy) {
		tx.enqueue(stopRunArgs{RunID: run.ID, ExecID: run.ExecID})
		return nil
	}
	return err
}

// addReleases adds a release for each entry of the rule whose condition the verdict
// meets. When the branch has a newer commit than the run, what was checked may be
// that commit: then the release is refused, and says so.
func (q *Queue) addReleases(ctx context.Context, tx *transaction, run codecheck.Run) error {
	head, known, err := tx.Head(ctx, run.Event.RefKey())
	if err != nil {
		return err
	}
	now := q.now().UTC()
	started := map[string]string{}
	held := run.Event.Recovered != event.NotRecovered && !q.opts.Recovery.Release && run.RerunOf == ""
	for i, plan := range run.Releases {
		if held && plan.Action != rules.ReleaseRefuse {
			continue
		}
		if onPassed := plan.Action != rules.ReleaseRefuse; onPassed != (run.State == codecheck.Passed) {
			continue
		}
		r := release.Release{
			ID: q.opts.NewID(), RunID: run.ID, Index: i, Rule: run.Rule, Plan: plan, Event: run.Event,
			State: release.Starting, CreatedAt: now, Deadline: now.Add(plan.Timeout),
			After: started[plan.Pipeline],
		}
		if plan.Action == rules.ReleaseStart {
			started[plan.Pipeline] = r.ID
		}
		if known {
			if reason := staleReason(run.Event, head); reason != "" {
				r.State, r.Reason, r.FinishedAt = release.Refused, reason, now
			}
		}
		if err := q.addRelease(ctx, tx, r); err != nil {
			return err
		}
	}
	return nil
}

// stopRun stops the execution of a run that was superseded.
func (q *Queue) stopRun(ctx context.Context, args stopRunArgs) (time.Duration, error) {
	v, err := q.loadRun(ctx, args.RunID)
	if err != nil {
		return 0, err
	}
	run := v.Record
	run.ExecID = args.ExecID
	if err := q.stopExecution(ctx, run); err != nil && !final(err) && q.now().Before(run.Deadline) {
		return 0, err
	}
	return 0, nil
}

// stopExecution stops the execution of a run that has ended, unless another run has one of
// the same task by now: then this one is over, and the API would stop the other's.
func (q *Queue) stopExecution(ctx context.Context, run codecheck.Run) error {
	over := false
	err := q.store.View(ctx, func(tx *store.Tx) error {
		other, found, err := tx.Occupant(ctx, run.Task.ID, run.ID)
		over = found && other.State == codecheck.Running
		return err
	})
	if err != nil || over {
		return err
	}
	return q.opts.Checker.Stop(ctx, run)
}

func (q *Queue) loadRun(ctx context.Context, id string) (v store.Versioned[codecheck.Run], err error) {
	err = q.store.View(ctx, func(tx *store.Tx) (err error) {
		v, err = tx.RunAt(ctx, id)
		return err
	})
	return v, err
}
