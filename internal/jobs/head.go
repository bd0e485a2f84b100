package jobs

import (
	"context"
	"fmt"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
)

// advanceHead makes what an event says the newest known state of its branch, tag or
// merge request, and supersedes the unfinished runs of older commits: CodeArts Check
// scans the tip, so their answer would speak of another commit. stops are the superseded runs whose executions
// must be stopped.
func (q *Queue) advanceHead(ctx context.Context, tx *transaction, e evaluation) (change store.HeadChange, stops []codecheck.Run, err error) {
	if !e.event.SetsHead() {
		head, known, err := tx.Head(ctx, e.event.RefKey())
		if known && staleReason(e.event, head) != "" {
			return store.HeadNewer, nil, err
		}
		return store.HeadAdvanced, nil, err
	}
	if change, err = tx.AdvanceHead(ctx, e.event, e.delivery.ID); err != nil || change != store.HeadAdvanced {
		return change, nil, err
	}
	head := store.Head{SHA: e.event.HeadSHA, Branch: e.event.Branch, Ended: e.event.EndsRef()}
	active, err := tx.ActiveRuns(ctx, e.event.RefKey())
	if err != nil {
		return "", nil, err
	}
	for _, v := range active {
		reason := staleReason(v.Record.Event, head)
		if reason == "" || (!head.Ended && !v.Record.Check.Supersede) {
			continue
		}
		stop, err := q.supersede(ctx, tx, v, head, reason)
		if err != nil {
			return "", nil, err
		}
		if stop {
			stops = append(stops, v.Record)
		}
	}
	return change, stops, nil
}

// staleReason says why an event's commit is no longer the newest of its branch, tag or
// merge request; empty when it is.
func staleReason(ev event.Event, head store.Head) string {
	switch {
	case head.Ended && ev.Kind == event.MergeRequest:
		return fmt.Sprintf("merge request %d was closed or merged", ev.Number)
	case head.Ended:
		return fmt.Sprintf("%q was deleted", ev.Branch)
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
		return next.Event.RefKey() != v.Record.Event.RefKey() || (!head.Ended && !next.Check.Supersede)
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
