package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
)

// advanceHead makes what an event says the newest known state of its branch, tag or
// merge request, and supersedes the unfinished runs of older commits: CodeArts Check
// scans the tip, so their answer would speak of another commit.
func (q *Queue) advanceHead(ctx context.Context, tx *transaction, e evaluation) (change store.HeadChange, s superseded, err error) {
	if !e.event.SetsHead() {
		head, known, err := tx.Head(ctx, e.event.RefKey())
		if known && staleReason(e.event, head) != "" {
			return store.HeadNewer, s, err
		}
		return store.HeadAdvanced, s, err
	}
	if change, err = tx.AdvanceHead(ctx, e.event, e.delivery.ID); err != nil || change != store.HeadAdvanced {
		if err == nil && e.delivery.Replayed && change != store.HeadRepeated {
			change, err = unlessNewest(ctx, tx, e.event, change)
		}
		return change, s, err
	}
	head := store.Head{SHA: e.event.HeadSHA, Branch: e.event.Branch, Ended: e.event.EndsRef()}
	if err := endHeld(ctx, tx, e.event.RefKey(), head); err != nil {
		return "", s, err
	}
	active, err := tx.ActiveRuns(ctx, e.event.RefKey())
	if err != nil {
		return "", s, err
	}
	for _, v := range active {
		reason := staleReason(v.Record.Event, head)
		if reason == "" {
			continue
		}
		if finishes, err := q.finishes(ctx, tx, v.Record, active); err != nil {
			return "", s, err
		} else if finishes && !head.Ended {
			continue
		}
		stop, err := q.supersede(ctx, tx, v, head, reason)
		if err == nil {
			err = s.add(ctx, tx, v.Record, stop)
		}
		if err != nil {
			return "", s, err
		}
	}
	return change, s, nil
}

// endHeld has the releases of older commits looked at that are held: nothing else does before they expire.
func endHeld(ctx context.Context, tx *transaction, refKey string, head store.Head) error {
	held, err := tx.HeldReleases(ctx, refKey)
	for _, r := range held {
		if staleReason(r.Event, head) != "" {
			tx.enqueue(releaseJob(r.ID, r.State))
		}
	}
	return err
}

// unlessNewest is change, or HeadAdvanced when the event of a delivery that is decided again tells the very state that
// its branch, tag or merge request has: what was announced since, such as another title, is not newer.
func unlessNewest(ctx context.Context, tx *transaction, ev event.Event, change store.HeadChange) (store.HeadChange, error) {
	head, known, err := tx.Head(ctx, ev.RefKey())
	if known && head.SHA == ev.HeadSHA && head.Branch == ev.Branch && head.Ended == ev.EndsRef() {
		change = store.HeadAdvanced
	}
	return change, err
}

// superseded is what an event leaves of the unfinished runs of older commits.
type superseded struct {
	// stops are those whose executions must be stopped.
	stops []codecheck.Run
	// series is when the series of commits began that each rule waits for the end of.
	series map[string]time.Time
}

// add notes a run that was superseded before it has ended.
func (s *superseded) add(ctx context.Context, tx *transaction, run codecheck.Run, stop bool) error {
	if stop {
		s.stop(run)
	}
	if run.ExecID != "" {
		return nil
	}
	if since := run.SeriesSince; !since.IsZero() && (s.series[run.Rule].IsZero() || since.Before(s.series[run.Rule])) {
		if s.series == nil {
			s.series = map[string]time.Time{}
		}
		s.series[run.Rule] = since
	}
	if run.OlderStopped {
		return nil
	}
	// It was to stop others, and had no time to.
	for _, id := range run.Supersedes {
		older, err := tx.Run(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		s.stop(older)
	}
	return nil
}

func (s *superseded) stop(run codecheck.Run) {
	if !slices.ContainsFunc(s.stops, func(other codecheck.Run) bool { return other.ID == run.ID }) {
		s.stops = append(s.stops, run)
	}
}

// finishes reports whether a run of an older commit goes on in spite of a newer one: its rule
// supersedes no runs, or only those that have no execution yet, of their own or shared. active
// are the runs of its ref key as they were before the newer commit.
func (q *Queue) finishes(ctx context.Context, tx *transaction, run codecheck.Run, active []store.Versioned[codecheck.Run]) (bool, error) {
	switch {
	case !run.Check.Supersede:
		return true, nil
	case !run.Check.LetFinish:
		return false, nil
	case run.SharesRunID == "":
		return run.OccupiedTask() != "", nil
	}
	for _, v := range active {
		if v.Record.ID == run.SharesRunID {
			return v.Record.OccupiedTask() != "", nil
		}
	}
	other, err := tx.Run(ctx, run.SharesRunID)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return other.OccupiedTask() != "", err
}

// staleReason says why an event's commit is no longer the newest of its branch, tag or
// merge request; empty when it is.
func staleReason(ev event.Event, head store.Head) string {
	switch {
	case head.Ended && ev.Kind == event.MergeRequest:
		return fmt.Sprintf("merge request %d was closed or merged", ev.Number)
	case head.Ended:
		return fmt.Sprintf("%q was deleted", ev.CommitRef())
	case head.Branch != ev.Branch:
		return fmt.Sprintf("the target of merge request %d was changed to %q", ev.Number, head.Branch)
	case head.SHA != ev.HeadSHA:
		return fmt.Sprintf("%q has the newer commit %s, so what was checked may not be commit %s", ev.Branch, short(head.SHA), short(ev.HeadSHA))
	}
	return ""
}

// supersede ends a run because its commit is not the newest any more. A run of another
// rule that shares its execution and goes on takes the execution over; otherwise stop
// says that there is one to be stopped.
func (q *Queue) supersede(ctx context.Context, tx *transaction, v store.Versioned[codecheck.Run], head store.Head, reason string) (stop bool, err error) {
	run := v.Record
	run.State, run.Reason, run.FinishedAt = codecheck.Superseded, reason, q.now().UTC()
	if err := q.saveRun(ctx, tx, v.Record, run, &v.Version); err != nil {
		return false, err
	}
	takenOver, err := q.handOver(ctx, tx, v.Record, func(next codecheck.Run) bool {
		goesOn := !next.Check.Supersede || next.Check.LetFinish && v.Record.OccupiedTask() != ""
		return next.Event.RefKey() != v.Record.Event.RefKey() || !head.Ended && goesOn
	})
	if err != nil {
		return false, err
	}
	return run.ExecID != "" && !takenOver, nil
}

// handOver gives the execution of a run to the oldest run that shares it and goes on; the
// others share with that one from then on. The run no longer occupies its task.
func (q *Queue) handOver(ctx context.Context, tx *transaction, run codecheck.Run, goesOn func(codecheck.Run) bool) (takenOver bool, err error) {
	sharing, err := tx.SharingRuns(ctx, run)
	if err != nil {
		return false, err
	}
	successor := ""
	for _, v := range sharing {
		next := v.Record
		if !goesOn(next) {
			continue
		}
		if successor != "" {
			next.SharesRunID = successor
		} else {
			successor, next = next.ID, next.TakeOver(run)
		}
		if err := q.saveRun(ctx, tx, v.Record, next, &v.Version); err != nil {
			return false, err
		}
		if next.State == v.Record.State {
			// It waited without a job.
			tx.enqueue(runJob(next.ID, next.State))
		}
	}
	return successor != "", nil
}

// short is a commit hash as people read it.
func short(sha string) string { return sha[:min(len(sha), 8)] }
