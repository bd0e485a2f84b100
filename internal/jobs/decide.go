package jobs

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// decide reads deliveries as events, puts them before the rules, and saves the
// decisions, with a run for each check that they ask for, in one transaction.
func (q *Queue) decide(ctx context.Context, args decideArgs) (time.Duration, error) {
	var deliveries []store.Delivery
	err := q.store.View(ctx, func(tx *store.Tx) (err error) {
		deliveries, err = tx.Undecided(ctx, args.DeliveryIDs)
		return err
	})
	if err != nil || len(deliveries) == 0 {
		return 0, err
	}
	verdicts := make([]reading, len(deliveries))
	for i, delivery := range deliveries {
		verdicts[i] = q.judge(delivery)
	}
	outcomes := make([]outcome, len(deliveries))
	err = q.store.Update(ctx, func(tx *store.Tx) (err error) {
		for i, delivery := range deliveries {
			if outcomes[i], err = q.saveReading(ctx, tx, delivery, verdicts[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for i, delivery := range deliveries {
		q.logOutcome(delivery, verdicts[i].decision, outcomes[i])
	}
	return 0, nil
}

// reading is what a delivery says: nothing that can be decided, and why, or a
// decision.
type reading struct {
	// state is failed or ignored; empty when there is a decision.
	state    event.DeliveryState
	reason   string
	decision rules.Decision
}

// judge reads a delivery and puts it before the rules.
func (q *Queue) judge(d store.Delivery) reading {
	ev, err := q.read(d.Delivery)
	switch {
	case err != nil:
		return reading{state: event.DeliveryFailed, reason: err.Error()}
	case ev.IgnoredReason != "":
		return reading{state: event.DeliveryIgnored, reason: ev.IgnoredReason}
	}
	return reading{decision: q.opts.Policy().Decide(ev)}
}

func (q *Queue) saveReading(ctx context.Context, tx *store.Tx, d store.Delivery, r reading) (outcome, error) {
	if r.state != "" {
		return outcome{state: r.state, reason: r.reason}, tx.EndDelivery(ctx, d.ID, r.state, r.reason, nil)
	}
	return q.saveDecision(ctx, tx, d, r.decision)
}

// read parses a delivery. A parser that panics on what a stranger sent fails
// that one delivery, not the worker.
func (q *Queue) read(d event.Delivery) (ev event.Event, err error) {
	defer func() {
		if p := recover(); p != nil {
			q.log.Error("panic while reading a delivery", zap.String(event.LogDelivery, d.ID), zap.Any(event.LogError, p), zap.Stack("stack"))
			err = fmt.Errorf("read event: internal error, please report it with delivery %s", d.ID)
		}
	}()
	return q.opts.Parse(d)
}

// outcome is what became of a delivery that was put before the rules.
type outcome struct {
	state   event.DeliveryState
	reason  string
	runs    []codecheck.Run
	stopped []codecheck.Run
}

func (q *Queue) saveDecision(ctx context.Context, tx *store.Tx, delivery store.Delivery, decision rules.Decision) (outcome, error) {
	owner, err := tx.ClaimEvent(ctx, decision.Event.Key(), delivery.ID)
	if err != nil {
		return outcome{}, err
	}
	if owner != delivery.ID {
		result := outcome{state: event.DeliveryDuplicate, reason: "the same change was announced by delivery " + owner}
		return result, tx.EndDelivery(ctx, delivery.ID, result.state, result.reason, nil)
	}
	result := outcome{state: event.DeliveryDecided, reason: decision.Reason}
	if len(decision.Matches) > 0 {
		if err := q.addRuns(ctx, tx, delivery, decision, &result); err != nil {
			return outcome{}, err
		}
	}
	return result, tx.EndDelivery(ctx, delivery.ID, result.state, result.reason, &decision)
}

// addRuns saves a run and its job for each check of the decision, and ends the
// older runs of the same branch or merge request.
func (q *Queue) addRuns(ctx context.Context, tx *store.Tx, delivery store.Delivery, decision rules.Decision, result *outcome) error {
	ev := decision.Event
	if ev.HeadSHA == "" {
		result.reason = decision.Reason + "; nothing is checked, because the event names no commit"
		return nil
	}
	newest, err := tx.MoveHead(ctx, ev)
	if err != nil {
		return err
	}
	if !newest {
		result.reason = decision.Reason + "; nothing is checked, because a newer commit was announced before this one"
		return nil
	}
	for _, match := range decision.Matches {
		run := q.newRun(delivery.ID, ev, match)
		id, added, err := tx.AddRun(ctx, run)
		if err != nil {
			return err
		}
		if !added {
			result.reason = decision.Reason + "; run " + id + " checks that commit already"
			continue
		}
		if err := q.enqueue(ctx, tx, startRunArgs{RunID: run.ID}); err != nil {
			return err
		}
		result.runs = append(result.runs, run)
	}
	return q.supersede(ctx, tx, ev, result)
}

func (q *Queue) newRun(deliveryID string, ev event.Event, match rules.Match) codecheck.Run {
	now := q.now().UTC()
	return codecheck.Run{
		ID:         q.opts.NewID(),
		DeliveryID: deliveryID,
		Rule:       match.Rule,
		Event:      ev,
		Check:      match.Check,
		Releases:   match.Releases,
		State:      codecheck.Queued,
		CreatedAt:  now,
		Deadline:   now.Add(match.Check.Timeout),
	}
}

// supersede ends the unfinished runs of older commits of the event's branch or
// merge request, where their rule allows it: CodeArts Check scans the tip, so
// their answer would speak of the newer commit.
func (q *Queue) supersede(ctx context.Context, tx *store.Tx, ev event.Event, result *outcome) error {
	active, err := tx.ActiveRuns(ctx, ev.Line())
	if err != nil {
		return err
	}
	for _, run := range active {
		if run.Event.HeadSHA == ev.HeadSHA || !run.Check.Supersede {
			continue
		}
		run.State = codecheck.Superseded
		run.Reason = "commit " + short(ev.HeadSHA) + " came"
		run.FinishedAt = q.now().UTC()
		if err := tx.SaveRun(ctx, run); err != nil {
			return err
		}
		if run.ExecID != "" {
			if err := q.enqueue(ctx, tx, stopRunArgs{RunID: run.ID, ExecID: run.ExecID}); err != nil {
				return err
			}
		}
		result.stopped = append(result.stopped, run)
	}
	return nil
}

func (q *Queue) logOutcome(delivery store.Delivery, decision rules.Decision, result outcome) {
	q.opts.Metrics.observeDecision(delivery, result.state, decision.Outcome, q.now())
	fields := []zap.Field{
		zap.String(event.LogDelivery, delivery.ID), zap.String(event.LogConnection, delivery.Connection),
		zap.String(event.LogEvent, delivery.Event), zap.String(event.LogState, string(result.state)), zap.String(event.LogReason, result.reason),
	}
	if decision.Event.Repository.FullName != "" {
		fields = append(fields, zap.String(event.LogRepository, decision.Event.Repository.FullName), zap.String(event.LogSHA, decision.Event.HeadSHA))
	}
	if result.state == event.DeliveryFailed {
		q.log.Error("delivery failed", fields...)
	} else {
		q.log.Info("delivery ended", fields...)
	}
	for _, run := range result.stopped {
		q.logRun(run)
	}
	for _, run := range result.runs {
		q.logRun(run)
	}
}

// short is a commit hash as people read it.
func short(sha string) string { return sha[:min(len(sha), 8)] }
