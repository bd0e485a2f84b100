package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// Order says who orders an action, and why. Both are mandatory.
type Order struct {
	Actor, Reason string
	// Version is the one that the record must have, as [store.Tx.VersionOf] gives it; empty: any.
	Version string
}

// ErrChanged is returned for an order whose record has another version.
var ErrChanged = errors.New("the record has changed meanwhile")

// Done is what came of an order: what was done, and the records that are new or were
// changed by it, or that it is about.
type Done struct {
	Action   store.Action
	Runs     []codecheck.Run
	Releases []release.Release
	// Deliveries are the ids of those that are decided again.
	Deliveries []string
}

// order carries an action out in one transaction. do returns the records and the
// details of the action. An error says why the action cannot be done; then nothing is
// changed.
func (in *Inserter) order(ctx context.Context, o Order, name store.ActionName, kind store.RecordKind, id string, do func(*transaction, *Done) (details string, err error)) (Done, error) {
	if strings.TrimSpace(o.Actor) == "" || strings.TrimSpace(o.Reason) == "" {
		return Done{}, errors.New("say who acts and why")
	}
	var done Done
	err := in.queue.update(ctx, func(tx *transaction) (err error) {
		if err = unchanged(ctx, tx, o, kind, id); err == nil {
			done, err = in.carryOut(ctx, tx, o, name, kind, id, do)
		}
		return err
	})
	if err != nil {
		return Done{}, fmt.Errorf("%s %s %q: %w", name, kind, id, err)
	}
	return done, nil
}

// unchanged is ErrChanged when the record does not have the version that the order names. Until the end of the
// transaction nobody else changes it.
func unchanged(ctx context.Context, tx *transaction, o Order, kind store.RecordKind, id string) error {
	if o.Version == "" {
		return nil
	}
	if err := lockRecord(ctx, tx, kind, id); err != nil {
		return err
	}
	version, err := tx.VersionOf(ctx, kind, id)
	if err == nil && version != o.Version {
		err = ErrChanged
	}
	return err
}

// lockRecord locks a run or release after the head of its branch, as where an intent is committed.
func lockRecord(ctx context.Context, tx *transaction, kind store.RecordKind, id string) error {
	lockHead := func(ev event.Event) error { _, _, err := tx.LockHead(ctx, ev.RefKey()); return err }
	switch kind {
	case store.RecordRelease:
		r, err := tx.Release(ctx, id)
		if err == nil {
			err = lockHead(r.Event)
		}
		if err == nil {
			_, err = tx.LockRelease(ctx, id)
		}
		return err
	case store.RecordRun:
		run, err := tx.Run(ctx, id)
		if err == nil {
			err = lockHead(run.Event)
		}
		if err == nil {
			_, err = tx.LockRun(ctx, id)
		}
		return err
	}
	return nil
}

// carryOut is order in a transaction that others end.
func (in *Inserter) carryOut(ctx context.Context, tx *transaction, o Order, name store.ActionName, kind store.RecordKind, id string, do func(*transaction, *Done) (details string, err error)) (done Done, err error) {
	details, err := do(tx, &done)
	if err != nil {
		return Done{}, err
	}
	done.Action, err = in.addAction(ctx, tx, o, name, kind, id, details)
	return done, err
}

// refusal is why an action cannot be done now, in words for the person who orders it.
type refusal string

func (r refusal) Error() string { return string(r) }

// Refusal reports whether an error says why an action cannot be done now, and what it says.
func Refusal(err error) (why string, refused bool) {
	var no refusal
	if !errors.As(err, &no) {
		return "", false
	}
	return no.Error(), true
}

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

func (in *Inserter) addAction(ctx context.Context, tx *transaction, o Order, name store.ActionName, kind store.RecordKind, id, details string) (store.Action, error) {
	a := store.Action{
		ID: in.queue.opts.NewID(), Kind: kind, RecordID: id, Name: name, Actor: o.Actor, Reason: o.Reason, Details: details, At: in.queue.now().UTC(),
	}
	return a, tx.AddAction(ctx, a)
}

// RerunRun repeats a run that has ended, as a new run that names it: the same commit, the
// same check and gate, and on success the same releases, each of which is checked as
// ever. The commit must be the newest of its branch, because CodeArts Check scans that.
func (in *Inserter) RerunRun(ctx context.Context, id string, o Order) (Done, error) {
	return in.order(ctx, o, store.ActionRerun, store.RecordRun, id, in.rerunRun(ctx, id))
}

func (in *Inserter) rerunRun(ctx context.Context, id string) func(*transaction, *Done) (string, error) {
	return func(tx *transaction, done *Done) (string, error) {
		old, err := tx.Run(ctx, id)
		if err != nil {
			return "", err
		}
		if !old.State.Ended() {
			return "", refuse("it is %s: stop it first, by gatewright stop run %s", old.State, id)
		}
		head, known, err := tx.LockHead(ctx, old.Event.RefKey())
		if err != nil {
			return "", err
		}
		if known {
			if reason := staleReason(old.Event, head); reason != "" {
				return "", refusal(reason)
			}
		}
		now := in.queue.now().UTC()
		run := codecheck.Run{
			ID: in.queue.opts.NewID(), RerunOf: old.ID, DeliveryID: old.DeliveryID, ReceivedAt: now, Rule: old.Rule, Event: old.Event,
			Check: old.Check, Releases: old.Releases, State: codecheck.Queued, CreatedAt: now, Deadline: now.Add(old.Check.Timeout),
		}
		if err := markRerun(ctx, tx, store.RecordRun, old.ID, run.ID); err != nil {
			return "", err
		}
		if err := endHeldOf(ctx, tx, old.ID); err != nil {
			return "", err
		}
		other, added, err := in.queue.addRun(ctx, tx, run)
		if err == nil && !added {
			err = refuse("run %s checks that commit already: rerun that one once it has ended", other)
		}
		done.Runs = []codecheck.Run{run}
		return run.ID, err
	}
}

// endHeldOf has the releases of a run looked at that are held: it was repeated, or judged again.
func endHeldOf(ctx context.Context, tx *transaction, runID string) error {
	releases, err := tx.ReleasesOf(ctx, runID)
	for _, r := range releases {
		if r.State == release.Held {
			tx.enqueue(releaseJob(r.ID, r.State))
		}
	}
	return err
}

// markRerun makes room for the record that repeats an ended one.
func markRerun(ctx context.Context, tx *transaction, kind store.RecordKind, id, as string) error {
	already, err := tx.MarkRerun(ctx, kind, id, as)
	if err == nil && already != "" {
		err = refuse("%s %s repeats it already: rerun that one once it has ended", kind, already)
	}
	return err
}

// RerunRelease repeats a release that has ended, as a new release that names it, and the
// rule's decisions of the checkpoints of its execution with it. Run, verdict and head
// must allow it now, and are read again before it acts.
func (in *Inserter) RerunRelease(ctx context.Context, id string, o Order) (Done, error) {
	return in.order(ctx, o, store.ActionRerun, store.RecordRelease, id, func(tx *transaction, done *Done) (string, error) {
		b, err := readBasis(ctx, tx.Tx, id, tx.LockHead)
		if err != nil {
			return "", err
		}
		old := b.release
		switch {
		case !old.State.Ended():
			return "", refuse("it is %s: only a release that has ended is repeated", old.State)
		case old.DecidedBy != "":
			return "", refuse("it is the decision of %s: approve or refuse the release whose checkpoint waits", old.DecidedBy)
		}
		after, err := in.newestStarter(ctx, tx, old)
		if err != nil {
			return "", err
		}
		starters, err := releasesOfExecution(ctx, tx, old)
		if err != nil {
			return "", err
		}
		b.release = in.repeated(starters[len(starters)-1], b.run, after)
		b.release.RerunOf = old.ID
		if reason := b.notAllowed(); reason != "" {
			return "", refusal(reason)
		}
		if err := in.addRepeated(ctx, tx, b.release, done); err != nil {
			return "", err
		}
		// A rerun goes through all checkpoints again. A decision that has not ended yet is still about the old execution.
		return b.release.ID, in.repeatDecisions(ctx, tx, o, b, starters, done, func(release.Release) bool { return true })
	})
}

// releasesOfExecution are the releases that had the execution of r, the newest first: r, those
// that it continues, and last the one that started it, if it is still kept.
func releasesOfExecution(ctx context.Context, tx *transaction, r release.Release) ([]release.Release, error) {
	list := []release.Release{r}
	for r.Continues != "" {
		before, err := tx.Release(ctx, r.Continues)
		if errors.Is(err, store.ErrNotFound) {
			break // it was kept no longer
		}
		if err != nil {
			return nil, err
		}
		list, r = append(list, before), before
	}
	return list, nil
}

// repeatDecisions repeats the rule's decisions of the checkpoints of starters for the new
// release in b, those that again is true for and that were not repeated already.
func (in *Inserter) repeatDecisions(ctx context.Context, tx *transaction, o Order, b basis, starters []release.Release, done *Done, again func(release.Release) bool) error {
	releases, err := tx.ReleasesOf(ctx, b.run.ID)
	if err != nil {
		return err
	}
	for _, decision := range releases {
		if !anyStarts(starters, decision) || decision.DecidedBy != "" || !again(decision) {
			continue
		}
		if as, err := tx.RerunAs(ctx, store.RecordRelease, decision.ID); err != nil {
			return err
		} else if as != "" {
			continue
		}
		repeated := in.repeated(decision, b.run, b.release.ID)
		if err := in.addRepeated(ctx, tx, repeated, done); err != nil {
			return err
		}
		if _, err := in.addAction(ctx, tx, o, store.ActionRerun, store.RecordRelease, decision.ID, repeated.ID); err != nil {
			return err
		}
	}
	return nil
}

// newestStarter is the release that starts the execution whose checkpoint a release
// decides, or the one that repeats it; empty when there is none. It must not have ended.
func (in *Inserter) newestStarter(ctx context.Context, tx *transaction, r release.Release) (id string, err error) {
	if r.After == "" {
		return "", nil
	}
	for next := r.After; next != ""; {
		id = next
		if next, err = tx.RerunAs(ctx, store.RecordRelease, id); err != nil {
			return "", err
		}
	}
	starter, err := tx.Release(ctx, id)
	if err == nil && starter.State.Ended() {
		err = refuse("release %s, whose execution it decides about, has ended as %s: rerun that one, and this one is repeated with it", id, starter.State)
	}
	return id, err
}

// repeated is a new release for what an ended one was for.
func (in *Inserter) repeated(old release.Release, run codecheck.Run, after string) release.Release {
	plan := old.Plan
	if old.Index < len(run.Releases) {
		// What the rule says: an approval that was withdrawn became a refusal.
		plan = run.Releases[old.Index]
	}
	now := in.queue.now().UTC()
	return release.Release{
		ID: in.queue.opts.NewID(), RerunOf: old.ID, RunID: old.RunID, Index: old.Index, Rule: old.Rule, Plan: plan, Event: old.Event,
		After: after, State: release.Starting, CreatedAt: now, Deadline: now.Add(plan.Timeout),
	}
}

func (in *Inserter) addRepeated(ctx context.Context, tx *transaction, r release.Release, done *Done) error {
	if err := markRerun(ctx, tx, store.RecordRelease, cmp.Or(r.RerunOf, r.Continues), r.ID); err != nil {
		return err
	}
	done.Releases = append(done.Releases, r)
	return in.queue.addRelease(ctx, tx, r)
}

// Decide gives the decision of a person about a checkpoint that waits. id names the
// release whose execution waits, or the release of a rule that decides the checkpoint;
// task names the checkpoint where several wait, and may be empty otherwise. Where the
// rule is about to decide the same checkpoint, the person's decision takes the place of
// the rule's; otherwise a new release sends it. Approving needs what a rule's approval
// needs: a passed verdict, and the newest commit of the branch. A decision that may have
// been sent is never changed.
func (in *Inserter) Decide(ctx context.Context, id string, decision rules.ReleaseAction, task string, o Order) (Done, error) {
	return in.order(ctx, o, nameOf(decision), store.RecordRelease, id, in.decideCheckpoint(ctx, id, decision, task, o))
}

func nameOf(decision rules.ReleaseAction) store.ActionName {
	if decision == rules.ReleaseRefuse {
		return store.ActionRefuse
	}
	return store.ActionApprove
}

func (in *Inserter) decideCheckpoint(ctx context.Context, id string, decision rules.ReleaseAction, task string, o Order) func(*transaction, *Done) (string, error) {
	return func(tx *transaction, done *Done) (string, error) {
		// Others that decide about the same execution wait for this transaction.
		asked, err := tx.LockRelease(ctx, id)
		if err != nil {
			return "", err
		}
		decider, isNew, err := in.decider(ctx, tx, asked, decision, task)
		if err != nil {
			return "", err
		}
		if decider.Record.Plan.Hold != nil {
			return "", refuse("its rule holds that checkpoint: release %s is %s, and goes on once enough people have approved it and its window is open; approve or refuse that one", decider.Record.ID, decider.Record.State)
		}
		before := decider.Record
		next := before
		if before.State == release.Held {
			next.State = release.Starting
		}
		next.Plan.Action, next.DecidedBy, next.Polls = decision, o.Actor, 0
		next.Plan.Message = fmt.Sprintf("Gatewright: %s by %s: %s", pastOf(decision), o.Actor, o.Reason)
		next.Reason = next.Plan.Message
		if deadline := in.queue.now().UTC().Add(next.Plan.Timeout); deadline.After(next.Deadline) {
			next.Deadline = deadline
		}
		b, err := readBasis(ctx, tx.Tx, asked.Record.ID, tx.Head)
		if err != nil {
			return "", err
		}
		b.release = next
		if reason := b.notAllowed(); reason != "" {
			return "", refusal(reason)
		}
		done.Releases = []release.Release{next}
		if isNew {
			return next.ID, in.queue.addRelease(ctx, tx, next)
		}
		if err := in.queue.saveRelease(ctx, tx, before, next, &decider.Version); err != nil {
			return "", err
		}
		// It may have waited for another record without a job. A second job does no harm.
		tx.enqueue(releaseJob(next.ID, next.State))
		return next.ID, nil
	}
}

// decider is the release that carries the decision of a checkpoint: the rule's own where
// there is one that has not acted, else a new one.
func (in *Inserter) decider(ctx context.Context, tx *transaction, asked store.Versioned[release.Release], decision rules.ReleaseAction, task string) (decider store.Versioned[release.Release], isNew bool, err error) {
	r := asked.Record
	if r.Plan.Action.Decides() {
		if task != "" && task != r.Plan.Task {
			return decider, false, refuse("it decides checkpoint %q", r.Plan.Task)
		}
		return asked, false, mayBeDecided(r)
	}
	if task, err = waitingTask(r, task); err != nil {
		return decider, false, err
	}
	releases, err := tx.ReleasesOf(ctx, r.RunID)
	if err != nil {
		return decider, false, err
	}
	decides := func(other release.Release) bool {
		name, _ := r.WaitsAt(other.Plan.Task)
		return other.Plan.Task == task || name == task
	}
	place := 0
	for _, other := range releases {
		place = max(place, other.Index+1)
		if other.After == r.ID && decides(other) && !other.State.Ended() {
			found, err := tx.LockRelease(ctx, other.ID)
			if err == nil {
				err = mayBeDecided(found.Record)
			}
			return found, false, err
		}
	}
	if decision == rules.ReleaseApprove {
		starters, err := releasesOfExecution(ctx, tx, r)
		if err != nil {
			return decider, false, err
		}
		for _, other := range releases {
			switch {
			case !anyStarts(starters, other) || other.Plan.Hold == nil:
			case len(r.Waiting) == 0 && other.Plan.Task != task:
				// The checkpoint may have that name too.
				return decider, false, refuse("the service does not tell which checkpoint waits, and its rule holds checkpoint %q: try again when it does", other.Plan.Task)
			case !decides(other):
			case other.State.Ended():
				return decider, false, refuse("its rule holds that checkpoint, and release %s has ended as %s: rerun the newest one for it, and have it approved", other.ID, other.State)
			default:
				return decider, false, refuse("its rule holds that checkpoint, and release %s is %s: have that one approved", other.ID, other.State)
			}
		}
	}
	now := in.queue.now().UTC()
	plan := rules.Release{Target: r.Plan.Target, ProjectID: r.Plan.ProjectID, Pipeline: r.Plan.Pipeline, PipelineName: r.Plan.PipelineName, Task: task, Timeout: r.Plan.Timeout, ApprovalTimeout: r.Plan.ApprovalTimeout}
	decider.Record = release.Release{
		ID: in.queue.opts.NewID(), RunID: r.RunID, Index: place, Rule: r.Rule, Plan: plan, Event: r.Event,
		After: r.ID, State: release.Starting, CreatedAt: now, Deadline: now.Add(plan.Timeout),
	}
	return decider, true, nil
}

// mayBeDecided says why a person cannot decide in place of a rule's decision; nil when
// nothing was sent yet.
func mayBeDecided(r release.Release) error {
	switch {
	case r.State.Ended():
		return refuse("release %s has ended as %s", r.ID, r.State)
	case r.Withdrawn != "":
		return refuse("release %s is about to refuse the checkpoint: %s", r.ID, r.Withdrawn)
	case r.DecidedBy != "":
		return refuse("release %s carries the decision of %s already", r.ID, r.DecidedBy)
	case r.Intent != nil:
		return refuse("release %s is deciding the checkpoint already", r.ID)
	}
	return nil
}

// waitingTask is the checkpoint at which the execution of r waits.
func waitingTask(r release.Release, task string) (string, error) {
	name, waits := r.WaitsAt(task)
	switch {
	case r.State != release.AwaitingApproval:
		return "", refuse("it is %s, and no checkpoint waits", r.State)
	case waits:
		return name, nil
	case task != "" && len(r.Waiting) == 0:
		return task, nil
	case task == "" && len(r.Waiting) == 1:
		return r.Waiting[0], nil
	case len(r.Waiting) == 0:
		return "", refusal("the service does not tell which checkpoint waits: name it by --task")
	}
	return "", refuse("name the checkpoint by --task: %s", strings.Join(r.Waiting, ", "))
}

func pastOf(decision rules.ReleaseAction) string {
	if decision == rules.ReleaseRefuse {
		return "refused"
	}
	return "approved"
}

// StopRun ends a run that has not ended, and has its execution stopped. A run of another
// rule that shares the execution takes it over instead.
func (in *Inserter) StopRun(ctx context.Context, id string, o Order) (Done, error) {
	return in.order(ctx, o, store.ActionStop, store.RecordRun, id, func(tx *transaction, done *Done) (string, error) {
		v, err := tx.LockRun(ctx, id)
		if err != nil {
			return "", err
		}
		if v.Record.State.Ended() {
			return "", refuse("it has ended as %s", v.Record.State)
		}
		run := v.Record
		run.State, run.Reason, run.FinishedAt = codecheck.Stopped, "stopped by "+o.Actor+": "+o.Reason, in.queue.now().UTC()
		if err := in.queue.saveRun(ctx, tx, v.Record, run, &v.Version); err != nil {
			return "", err
		}
		takenOver, err := in.queue.handOver(ctx, tx, v.Record, func(codecheck.Run) bool { return true })
		if err != nil {
			return "", err
		}
		if run.ExecID != "" && !takenOver {
			enqueueStops(tx, []codecheck.Run{run})
		}
		done.Runs = []codecheck.Run{run}
		return "", nil
	})
}

// Outcomes are what a release can be resolved as.
func Outcomes() []release.State { return []release.State{release.Succeeded, release.Failed} }

// Resolve notes what really became of a release that ended as failed, expired or unknown.
// A later resolution takes the place of an earlier one.
func (in *Inserter) Resolve(ctx context.Context, id string, as release.State, o Order) (Done, error) {
	return in.order(ctx, o, store.ActionResolve, store.RecordRelease, id, func(tx *transaction, done *Done) (string, error) {
		r, err := tx.Release(ctx, id)
		switch {
		case err != nil:
			return "", err
		case !slices.Contains(Outcomes(), as):
			return "", refuse("it cannot be resolved as %q", as)
		case !slices.Contains(release.AttentionStates(), r.State):
			return "", refuse("it is %s: only a release that is failed, expired or unknown is resolved", r.State)
		}
		done.Releases = []release.Release{r}
		return string(as), nil
	})
}
