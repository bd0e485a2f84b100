package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// decisionsPerCommit is how many decisions share a commit: few enough that webhooks do
// not wait long for it.
const decisionsPerCommit = 16

// decide decides the deliveries of a job, those that are not decided yet. A process
// decides one batch at a time, and fills it with others that wait: under load their
// jobs find nothing to do. Deliveries that cannot be decided do not keep the rest
// waiting.
func (q *Queue) decide(ctx context.Context, args decideArgs) (wait time.Duration, err error) {
	select {
	case q.deciding <- struct{}{}:
		defer func() { <-q.deciding }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	var failed []error
	for ids := range slices.Chunk(args.DeliveryIDs, decisionsPerCommit) {
		others, err := q.decideWithOthers(ctx, ids, args.again)
		if err != nil {
			failed = append(failed, err)
		}
		if others {
			wait = othersWait
		}
		if ctx.Err() != nil {
			break
		}
	}
	return wait, errors.Join(failed...)
}

// othersWait is how long a job waits whose deliveries another replica is deciding. It
// looks again, because that replica can die before its commit.
const othersWait = time.Second

const (
	// smallBody is the largest body, in bytes, that is decided together with others: a
	// batch of them takes a few megabytes. A larger one is decided alone.
	smallBody = 256 << 10
	// maxEnds is how often the process may end while a delivery is decided alone.
	maxEnds = 5
)

// decideWithOthers decides deliveries together with others that wait, or without them
// when that fails. Those with large bodies, and those whose decision may have ended a
// process, are decided alone; what waits since before this process began is left to its
// own job, because an earlier process may have ended over it. others says that another
// replica is deciding some of the deliveries.
func (q *Queue) decideWithOthers(ctx context.Context, ids []string, again bool) (others bool, err error) {
	var own []store.Undecided
	var more []string
	err = q.store.View(ctx, func(tx *store.Tx) (err error) {
		own, more, err = tx.UndecidedWith(ctx, ids, decisionsPerCommit, q.started, smallBody)
		return err
	})
	if err != nil || len(own) == 0 {
		return false, err
	}
	var batch []string
	var alone []store.Undecided
	for _, u := range own {
		if again || u.Attempts > 0 || u.Size > smallBody {
			alone = append(alone, u)
		} else {
			batch = append(batch, u.ID)
		}
	}
	decided := map[string]bool{}
	var failed []error
	if len(batch) > 0 {
		done, err := q.decideBatch(ctx, append(batch[:len(batch):len(batch)], more...))
		if err != nil && len(more) > 0 && ctx.Err() == nil {
			done, err = q.decideBatch(ctx, batch)
		}
		maps.Copy(decided, done)
		failed = append(failed, err)
	}
	for _, u := range alone {
		if ctx.Err() != nil {
			return false, errors.Join(append(failed, ctx.Err())...)
		}
		done, err := q.decideAlone(ctx, u)
		maps.Copy(decided, done)
		failed = append(failed, err)
	}
	err = errors.Join(failed...)
	return err == nil && slices.ContainsFunc(own, func(u store.Undecided) bool { return !decided[u.ID] }), err
}

// decideAlone decides one delivery, and notes before that it does, so that the note stays
// when that ends the process. A delivery that has ended it too often fails; it can be
// replayed.
func (q *Queue) decideAlone(ctx context.Context, u store.Undecided) (decided map[string]bool, err error) {
	if u.Attempts >= maxEnds {
		return q.giveUp(ctx, u)
	}
	if err := q.update(ctx, func(tx *transaction) error { return tx.BeginDecision(ctx, u.ID) }); err != nil {
		return nil, err
	}
	decided, err = q.decideBatch(ctx, []string{u.ID})
	if decided[u.ID] && err == nil {
		return decided, nil
	}
	// The process lives: this did not end it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	return decided, errors.Join(err, q.update(ctx, func(tx *transaction) error { return tx.AbandonDecision(ctx, u.ID) }))
}

// giveUp ends a delivery whose decision ends the process, without reading it.
func (q *Queue) giveUp(ctx context.Context, u store.Undecided) (decided map[string]bool, err error) {
	reason := fmt.Sprintf("not decided: the process ended %d times while it was being decided; look into its log, and replay the delivery", u.Attempts)
	err = q.update(ctx, func(tx *transaction) error {
		if decided, err = tx.LockUndecided(ctx, []string{u.ID}); err != nil || !decided[u.ID] {
			return err
		}
		stored, err := tx.DeliveryWithoutBody(ctx, u.ID)
		if err != nil {
			return err
		}
		return q.endDelivery(ctx, tx, evaluation{delivery: stored, failed: reason}, result{state: event.DeliveryFailed, reason: reason})
	})
	return decided, err
}

// decideBatch evaluates deliveries and saves the decisions, with a run for each check
// that they ask for, in one transaction. It returns which of them it decided, or lets wait
// for their hosts; another replica may be deciding the rest.
func (q *Queue) decideBatch(ctx context.Context, ids []string) (decided map[string]bool, err error) {
	evaluations, err := q.evaluate(ctx, ids)
	if err != nil || len(evaluations) == 0 {
		return nil, err
	}
	// Replicas that decide at the same time take their locks in one order; deliveries of
	// one ref key are decided in the order of receipt.
	slices.SortFunc(evaluations, func(a, b evaluation) int {
		return cmp.Or(cmp.Compare(a.event.RefKey(), b.event.RefKey()), cmp.Compare(a.delivery.ID, b.delivery.ID))
	})
	err = q.update(ctx, func(tx *transaction) error {
		if decided, err = tx.LockUndecided(ctx, ids); err != nil {
			return err
		}
		evaluations := slices.DeleteFunc(evaluations, func(e evaluation) bool { return !decided[e.delivery.ID] })
		if err := tx.LockHeads(ctx, refKeys(evaluations)); err != nil {
			return err
		}
		for _, e := range evaluations {
			if e.asks {
				if err := q.ask(ctx, tx, e.delivery.ID, e.delivery.Gathered != nil); err != nil {
					return err
				}
				continue
			}
			if err := q.noteTest(ctx, tx, &e); err != nil {
				return err
			}
			r, err := q.decideOne(ctx, tx, e)
			if err != nil {
				return err
			}
			r.reason += q.recoveredReason(e)
			again, err := q.waitForTrust(ctx, tx, e, &r)
			if err == nil && again {
				err = q.ask(ctx, tx, e.delivery.ID, true)
			} else if err == nil {
				err = q.endDelivery(ctx, tx, e, r)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return decided, err
}

func refKeys(evaluations []evaluation) []string {
	var keys []string
	for _, e := range evaluations {
		if e.failed == "" {
			keys = append(keys, e.event.RefKey())
		}
	}
	return slices.Compact(keys)
}

// result is what became of a delivery.
type result struct {
	state  event.DeliveryState
	reason string
	// decision is kept with the delivery; nil where the rules were not asked.
	decision *rules.Decision
	// outdated: the event does not tell the newest state of its branch, tag or merge request.
	outdated bool
}

// decideOne saves what follows from a delivery, except for the delivery itself.
func (q *Queue) decideOne(ctx context.Context, tx *transaction, e evaluation) (result, error) {
	if e.failed != "" {
		return result{state: event.DeliveryFailed, reason: e.failed}, nil
	}
	ignored := e.event.IgnoredReason != ""
	if reason := q.tooOld(e); reason != "" {
		// It says nothing about what is newest either.
		if ignored {
			return result{state: event.DeliveryIgnored, reason: e.event.IgnoredReason}, nil
		}
		return result{state: event.DeliveryDecided, reason: e.decision.Reason + "; nothing is checked, because " + reason, decision: &e.decision, outdated: true}, nil
	}
	if e.onlyTests {
		return result{state: event.DeliveryIgnored, reason: "the test delivery by which the webhook was switched on again: it tells nothing new"}, nil
	}
	if !ignored {
		// A change that is announced a second time says nothing about what is newest.
		owner, err := tx.ClaimEvent(ctx, e.event, e.delivery.ID)
		if err != nil {
			return result{}, err
		}
		if owner != e.delivery.ID {
			return result{state: event.DeliveryDuplicate, reason: "the same change was announced by delivery " + owner, decision: &e.decision}, nil
		}
	}
	// Every other event sets the head, whether a rule wants it or not.
	change, superseded, err := q.advanceHead(ctx, tx, e)
	if err != nil {
		return result{}, err
	}
	if change == store.HeadAdvanced && (e.event.Kind == event.MergeRequest || e.event.Kind == event.MergeGroup) && e.event.EndsRef() {
		tx.enqueue(closeTasksArgs{RefKey: e.event.RefKey(), Until: q.now().Add(closeFor)})
	}
	if ignored {
		enqueueStops(tx, superseded.stops)
		r := result{state: event.DeliveryIgnored, reason: e.event.IgnoredReason}
		if change == store.HeadRepeated {
			r.reason += "; it does not start at the head, so it may be an old delivery that was sent again, and changes nothing"
		}
		return r, nil
	}
	r := result{state: event.DeliveryDecided, reason: e.decision.Reason, decision: &e.decision, outdated: change == store.HeadRepeated || change == store.HeadNewer}
	if err := q.addCommand(ctx, tx, e, &r); err != nil {
		return result{}, err
	}
	switch {
	case change == store.HeadKnown:
		return q.knownAlready(ctx, tx, e)
	case len(e.decision.Matches) == 0:
	case e.event.HeadSHA == "":
		r.reason += "; nothing is checked, because the event names no commit"
	case change == store.HeadRepeated:
		r.reason += fmt.Sprintf("; nothing is checked, because %q was at commit %s already and the push does not start at its head: it may be an old push that was sent again", e.event.Branch, short(e.event.HeadSHA))
	case change == store.HeadNewer:
		r.reason += "; nothing is checked, because a newer state was announced before this one"
	default:
		return r, q.addRuns(ctx, tx, e, superseded, &r)
	}
	enqueueStops(tx, superseded.stops)
	return r, nil
}

// knownAlready is what becomes of a delivery that tells the head: it was read from the host before its
// webhook came, or the other way round.
func (q *Queue) knownAlready(ctx context.Context, tx *transaction, e evaluation) (result, error) {
	head, _, err := tx.Head(ctx, e.event.RefKey())
	reason := fmt.Sprintf("%s was read from its host at this commit before the webhook came, as delivery %s", refOf(e.event), head.DeliveryID)
	if e.event.Recovered == event.Compared {
		reason = "delivery " + head.DeliveryID + " announced this commit meanwhile"
	}
	return result{state: event.DeliveryDuplicate, reason: reason, decision: &e.decision}, err
}

// tooOld says why a change is too old to start anything; empty when it is not. What
// counts is the host's own time of the change, when the delivery was first received. A
// person may replay what is older.
func (q *Queue) tooOld(e evaluation) string {
	changed, known := e.event.ChangedAt()
	if !known || e.delivery.Replayed || e.delivery.ReceivedAt.Sub(changed) <= q.opts.MaxEventAge {
		return ""
	}
	return fmt.Sprintf("the change was made at %s, more than max_event_age (%s) before it was received; replay the delivery if it is wanted",
		changed.UTC().Format(time.RFC3339), q.opts.MaxEventAge)
}

// addRuns adds a run for each check of the decision. The first new run stops the
// executions of the superseded runs before it starts, because the API stops whatever
// a task runs.
func (q *Queue) addRuns(ctx context.Context, tx *transaction, e evaluation, superseded superseded, r *result) error {
	added := false
	for _, match := range e.decision.Matches {
		run := q.newRun(e, match, superseded.series[match.Rule])
		for _, older := range superseded.stops {
			run.Supersedes = append(run.Supersedes, older.ID)
		}
		var err error
		if run.SharesRunID, err = tx.Sibling(ctx, run); err != nil {
			return err
		}
		id, isNew, err := q.addRun(ctx, tx, run)
		if err != nil {
			return err
		}
		if !isNew {
			r.reason += "; run " + id + " checks that commit already; only gatewright rerun run " + id + " checks and releases it again"
		}
		added = added || isNew
	}
	if !added {
		enqueueStops(tx, superseded.stops)
	}
	return nil
}

// newRun is the run of a match. since is when the first run of the series was created that it
// is the latest of; zero when it is the first.
func (q *Queue) newRun(e evaluation, match rules.Match, since time.Time) codecheck.Run {
	now := q.now().UTC()
	run := codecheck.Run{
		ID:         q.opts.NewID(),
		DeliveryID: e.delivery.ID,
		ReceivedAt: e.delivery.ReceivedAt,
		Rule:       match.Rule,
		Event:      e.event,
		Check:      match.Check,
		Releases:   match.Releases,
		State:      codecheck.Queued,
		CreatedAt:  now,
		Deadline:   now.Add(match.Check.Timeout),
	}
	if d := match.Check.Debounce; d != nil {
		if run.SeriesSince = since; since.IsZero() {
			run.SeriesSince = now
		}
		if run.StartsAt = now.Add(d.Quiet); run.StartsAt.After(run.SeriesSince.Add(d.Max)) {
			run.StartsAt = run.SeriesSince.Add(d.Max)
		}
		run.Reason = "waits until " + run.StartsAt.Format("15:04:05") + " UTC for a newer commit (debounce)"
	}
	return run
}

// enqueueStops has the executions of superseded runs stopped, where no new run does
// that.
func enqueueStops(tx *transaction, superseded []codecheck.Run) {
	for _, run := range superseded {
		tx.enqueue(stopRunArgs{RunID: run.ID, ExecID: run.ExecID})
	}
}
