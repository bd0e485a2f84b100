package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// decidedTogether is how many decisions share a commit: few enough that the door
// does not wait long for it.
const decidedTogether = 16

// decide decides deliveries, some at a time. Those that an earlier try has decided
// are left alone; those that cannot be decided do not keep the rest waiting.
func (q *Queue) decide(ctx context.Context, args decideArgs) (time.Duration, error) {
	var failed error
	for ids := range slices.Chunk(args.DeliveryIDs, decidedTogether) {
		if err := q.decideInTurn(ctx, ids, args.At); err != nil {
			failed = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return 0, failed
}

// decideInTurn decides deliveries when the door lets it.
func (q *Queue) decideInTurn(ctx context.Context, ids []string, accepted time.Time) error {
	done := q.intake.yield(ctx, yieldUntil-q.now().Sub(accepted))
	defer done()
	return q.decideTogether(ctx, ids)
}

// decideTogether reads deliveries as events, puts them before the rules, and saves
// the decisions, with a run for each check that they ask for, in one transaction.
func (q *Queue) decideTogether(ctx context.Context, ids []string) error {
	readings, err := q.readAll(ctx, ids)
	if err != nil || len(readings) == 0 {
		return err
	}
	outcomes := make([]outcome, len(readings))
	err = q.store.Update(ctx, func(tx *store.Tx) (err error) {
		for i, r := range readings {
			if outcomes[i], err = q.saveReading(ctx, tx, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, r := range readings {
		q.logOutcome(r, outcomes[i])
	}
	return nil
}

// reading is what a delivery says.
type reading struct {
	delivery store.Delivery
	// failed says why the delivery cannot be read; empty when it can.
	failed string
	event  event.Event
	// decision is that of the rules, unless the event is ignored.
	decision rules.Decision
}

// readAll reads those of the deliveries that wait for their decision.
func (q *Queue) readAll(ctx context.Context, ids []string) ([]reading, error) {
	var readings []reading
	err := q.store.View(ctx, func(tx *store.Tx) error {
		for _, id := range ids {
			delivery, err := tx.Delivery(ctx, id)
			switch {
			case errors.Is(err, store.ErrNotFound):
			case err != nil && !errors.Is(err, store.ErrCorrupt):
				return err
			case delivery.State != event.DeliveryReceived:
			case err != nil:
				readings = append(readings, reading{delivery: delivery, failed: err.Error()})
			default:
				readings = append(readings, reading{delivery: delivery})
			}
		}
		return nil
	})
	for i := range readings {
		if readings[i].failed == "" {
			q.judge(&readings[i])
		}
	}
	return readings, err
}

// judge parses a delivery and puts it before the rules. A parser that panics on
// what a stranger sent fails that one delivery, not the worker.
func (q *Queue) judge(r *reading) {
	defer func() {
		if p := recover(); p != nil {
			q.log.Error("panic while reading a delivery", zap.String(event.LogDelivery, r.delivery.ID), zap.Any(event.LogError, p), zap.Stack("stack"))
			r.failed = "read event: internal error, please report it with delivery " + r.delivery.ID
		}
	}()
	var err error
	if r.event, err = q.opts.Parse(r.delivery.Delivery); err != nil {
		r.failed = err.Error()
		return
	}
	if r.event.IgnoredReason == "" {
		r.decision = q.opts.Policy().Decide(r.event)
	}
}

// outcome is what became of a delivery.
type outcome struct {
	state  event.DeliveryState
	reason string
	// runs are those that the delivery caused, ended those that it ended.
	runs  []codecheck.Run
	ended []codecheck.Run
}

// saveReading saves what a delivery says and what follows from it.
func (q *Queue) saveReading(ctx context.Context, tx *store.Tx, r reading) (outcome, error) {
	ev := r.event
	if r.failed != "" {
		return outcome{state: event.DeliveryFailed, reason: r.failed}, tx.EndDelivery(ctx, r.delivery.ID, event.DeliveryFailed, r.failed, nil)
	}
	if ev.IgnoredReason == "" {
		// A change that is only announced again tells nothing of what is newest.
		owner, err := tx.ClaimEvent(ctx, ev, r.delivery.ID)
		if err != nil {
			return outcome{}, err
		}
		if owner != r.delivery.ID {
			// The decision is kept all the same: it says what the rules think of it now.
			result := outcome{state: event.DeliveryDuplicate, reason: "the same change was announced by delivery " + owner}
			return result, tx.EndDelivery(ctx, r.delivery.ID, result.state, result.reason, &r.decision)
		}
	}
	// What is newest is told by every other event, wanted or not.
	newest, ended, err := q.follow(ctx, tx, ev, r.delivery.ID)
	if err != nil {
		return outcome{}, err
	}
	result := outcome{ended: ended}
	if ev.IgnoredReason != "" {
		result.state, result.reason = event.DeliveryIgnored, ev.IgnoredReason
		if err := q.stopRuns(ctx, tx, ended); err != nil {
			return outcome{}, err
		}
		return result, tx.EndDelivery(ctx, r.delivery.ID, result.state, result.reason, nil)
	}
	result.state, result.reason = event.DeliveryDecided, r.decision.Reason
	switch {
	case len(r.decision.Matches) == 0:
	case ev.HeadSHA == "":
		result.reason += "; nothing is checked, because the event names no commit"
	case !newest:
		result.reason += "; nothing is checked, because a newer state was announced before this one"
	default:
		if err := q.addRuns(ctx, tx, r, &result); err != nil {
			return outcome{}, err
		}
	}
	if len(result.runs) == 0 {
		if err := q.stopRuns(ctx, tx, ended); err != nil {
			return outcome{}, err
		}
	}
	return result, tx.EndDelivery(ctx, r.delivery.ID, result.state, result.reason, &r.decision)
}

// follow makes what an event says the newest known state of its branch, tag or
// merge request, and ends the unfinished runs of older commits: CodeArts Check scans
// the tip, so their answer would speak of another commit. newest says whether the
// event tells the newest state.
func (q *Queue) follow(ctx context.Context, tx *store.Tx, ev event.Event, deliveryID string) (newest bool, ended []codecheck.Run, err error) {
	if !ev.MovesHead() {
		head, known, err := tx.Head(ctx, ev.Line())
		return !known || moved(ev, head) == "", nil, err
	}
	if newest, err = tx.MoveHead(ctx, ev, deliveryID); err != nil || !newest {
		return false, nil, err
	}
	head := store.Head{SHA: ev.HeadSHA, Branch: ev.Branch, Gone: ev.Gone()}
	ended, err = tx.EndRuns(ctx, ev.Line(), func(run *codecheck.Run) bool {
		reason := moved(run.Event, head)
		if reason == "" || (!head.Gone && !run.Check.Supersede) {
			return false
		}
		run.State, run.Reason, run.FinishedAt = codecheck.Superseded, reason, q.now().UTC()
		return true
	})
	return true, ended, err
}

// moved says why a commit is no longer the newest of its branch, tag or merge
// request; empty when it is.
func moved(ev event.Event, head store.Head) string {
	switch {
	case head.Gone && ev.Kind == event.MergeRequest:
		return fmt.Sprintf("merge request %d was closed or merged", ev.Number)
	case head.Gone:
		return fmt.Sprintf("%q was deleted", ev.Branch)
	case head.Branch != ev.Branch:
		return fmt.Sprintf("merge request %d was pointed at %q", ev.Number, head.Branch)
	case head.SHA != ev.HeadSHA:
		return fmt.Sprintf("%q moved on to commit %s, so what was checked may not be commit %s", ev.Branch, short(head.SHA), short(ev.HeadSHA))
	}
	return ""
}

// addRuns saves a run and its job for each check of the decision.
func (q *Queue) addRuns(ctx context.Context, tx *store.Tx, r reading, result *outcome) error {
	for _, match := range r.decision.Matches {
		run := q.newRun(r, match)
		for _, older := range result.ended {
			if older.ExecID != "" {
				run.Supersedes = append(run.Supersedes, older.ID)
			}
		}
		var err error
		if run.SharesRunID, err = tx.Sibling(ctx, run); err != nil {
			return err
		}
		id, added, err := tx.AddRun(ctx, run)
		if err != nil {
			return err
		}
		if !added {
			result.reason += "; run " + id + " checks that commit already"
			continue
		}
		if err := q.enqueue(ctx, tx, startRunArgs{RunID: run.ID}); err != nil {
			return err
		}
		result.runs = append(result.runs, run)
	}
	return nil
}

func (q *Queue) newRun(r reading, match rules.Match) codecheck.Run {
	now := q.now().UTC()
	return codecheck.Run{
		ID:         q.opts.NewID(),
		DeliveryID: r.delivery.ID,
		ReceivedAt: r.delivery.ReceivedAt,
		Rule:       match.Rule,
		Event:      r.event,
		Check:      match.Check,
		Releases:   match.Releases,
		State:      codecheck.Queued,
		CreatedAt:  now,
		Deadline:   now.Add(match.Check.Timeout),
	}
}

// stopRuns has the executions of ended runs stopped, where no new run does so
// before it starts.
func (q *Queue) stopRuns(ctx context.Context, tx *store.Tx, ended []codecheck.Run) error {
	for _, run := range ended {
		if run.ExecID == "" {
			continue
		}
		if err := q.enqueue(ctx, tx, stopRunArgs{RunID: run.ID, ExecID: run.ExecID}); err != nil {
			return err
		}
	}
	return nil
}

func (q *Queue) logOutcome(r reading, result outcome) {
	q.opts.Metrics.observeDecision(r.delivery, result.state, r.decision.Outcome, q.now())
	fields := []zap.Field{
		zap.String(event.LogDelivery, r.delivery.ID), zap.String(event.LogConnection, r.delivery.Connection),
		zap.String(event.LogState, string(result.state)), zap.String(event.LogReason, result.reason),
	}
	if r.event.Kind != "" {
		fields = append(fields, zap.String(event.LogEvent, string(r.event.Kind)),
			zap.String(event.LogRepository, r.event.Repository.FullName), zap.String(event.LogSHA, r.event.HeadSHA))
	}
	if result.state == event.DeliveryFailed {
		q.log.Error("delivery failed", fields...)
	} else {
		q.log.Info("delivery ended", fields...)
	}
	for _, run := range result.ended {
		q.opts.Metrics.observeVerdict(run)
		q.logRun(run)
	}
	for _, run := range result.runs {
		q.logRun(run)
	}
}

// short is a commit hash as people read it.
func short(sha string) string { return sha[:min(len(sha), 8)] }
