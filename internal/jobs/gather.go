package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/riverqueue/river"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// Where the decision of a delivery depends on what its payload does not tell, or is not to be
// believed about, the delivery waits: others are decided meanwhile, and no transaction is open. One
// job finds it out, asks the host and keeps the answer with the delivery, and then another decides.
const (
	// gatherFor is how long a delivery waits for its host; after that nothing more is known. What
	// compares changed files counts as matching then, and nobody is trusted.
	gatherFor = time.Minute
	// lastAsk is how long before that the host is asked for the last time.
	lastAsk = 5 * time.Second
	// gatherQueue is for asking hosts before decisions, so that a burst of pushes, or a host that does
	// not answer, takes no worker from runs and releases. A connection has four requests in
	// flight at most, whatever asks.
	gatherQueue   = "gather"
	gatherWorkers = 8
	// gatherPoll is how often such jobs are looked for that nobody announced.
	gatherPoll = 100 * time.Millisecond
)

// InsertOpts puts it into its own queue.
func (gatherArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: gatherQueue} }

// addGathered adds to the event of e what was found out about it, and reports whether more must be
// before e can be decided.
func (q *Queue) addGathered(policy *rules.Policy, e *evaluation) (ask bool) {
	if g := e.delivery.Gathered; g != nil {
		addFiles(&e.event, g.Files)
		addOrigin(&e.event, g.Origin)
	}
	needs := policy.Needs(e.event)
	if needs == (rules.Needs{}) || q.tooOld(*e) != "" {
		return false
	}
	asks := q.opts.Confirm(e.event.Connection).Asks
	if needs.Files && !asks {
		e.event.Files.Unknown += ", and " + withoutToken(e.event)
	}
	// Somebody may vouch for a commit whose host cannot be asked.
	return needs.Trust || asks
}

func withoutToken(ev event.Event) string {
	return fmt.Sprintf("connection %q has no API token with which its host could be asked", ev.Connection)
}

// addFiles adds what the host told of changed files to what the payload lists.
func addFiles(ev *event.Event, told *event.Files) {
	if told == nil {
		return
	}
	known := ev.Files
	if ev.Files = *told; !told.Complete {
		ev.Files = event.NewFiles(slices.Concat(told.Paths, known.Paths), told.Unknown)
		ev.Files.FromHost = told.FromHost
	}
}

// addOrigin makes the host's word whether a merge request comes from a fork that of the event.
func addOrigin(ev *event.Event, o *event.Origin) {
	if o == nil {
		return
	}
	if ev.Origin = *o; o.Told {
		ev.Fork = o.Fork
	}
}

// ask lets a delivery wait until more is known of it. It inserts a job also where it waits already, unless
// there is one: the job may have been lost. Where it was found out since the delivery was read, a
// job decides it already; again says that it is to be found out once more.
func (q *Queue) ask(ctx context.Context, tx *transaction, id string, again bool) error {
	since, waits, err := tx.Ask(ctx, id, again)
	if err != nil || !waits {
		return err
	}
	tx.jobs = append(tx.jobs, river.InsertManyParams{Args: gatherArgs{DeliveryID: id, Since: since}, InsertOpts: &river.InsertOpts{UniqueOpts: untilEnded()}})
	return nil
}

// gather finds out what the decision of a waiting delivery depends on, keeps that, and has the
// delivery decided.
func (q *Queue) gather(ctx context.Context, args gatherArgs) (time.Duration, error) {
	var delivery store.Delivery
	err := q.store.View(ctx, func(tx *store.Tx) (err error) {
		delivery, err = tx.Delivery(ctx, args.DeliveryID)
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return 0, nil
	case err != nil && !errors.Is(err, store.ErrCorrupt):
		return 0, err
	case delivery.State != event.DeliveryReceived || !delivery.Asked || delivery.Gathered != nil:
		return 0, nil
	}
	var gathered event.Gathered
	if err == nil {
		if gathered, err = q.gatherFor(ctx, delivery); err != nil {
			return 0, err
		}
	}
	return 0, q.save(ctx, func(ctx context.Context, tx *transaction) error {
		saved, err := tx.SaveGathered(ctx, delivery.ID, gathered)
		if saved {
			tx.enqueue(decideArgs{DeliveryIDs: []string{delivery.ID}})
		}
		return err
	})
}

// gatherFor finds out what the decision of a delivery depends on: first where a merge request comes from,
// because files matter only where that does not end the matter. What cannot be read ends with its decision.
func (q *Queue) gatherFor(ctx context.Context, delivery store.Delivery) (g event.Gathered, err error) {
	ev, err := q.opts.Parse(delivery.Delivery)
	if err != nil {
		return g, nil
	}
	policy := q.opts.Policy()
	needs := policy.Needs(ev)
	if needs.Fork || needs.Trust {
		origin, err := q.origin(ctx, delivery, ev, needs.Trust)
		if err != nil {
			return g, err
		}
		g.Origin = &origin
		addOrigin(&ev, g.Origin)
		needs = policy.Needs(ev)
	}
	if needs.Files && q.opts.Confirm(ev.Connection).Asks {
		var files event.Files
		unknown, err := q.askHost(ctx, delivery, func() (err error) {
			files, err = q.opts.Forge.Files(ctx, ev)
			return err
		})
		if err != nil {
			return g, err
		}
		if unknown != "" {
			files = event.Files{Unknown: unknown, FromHost: true}
		}
		g.Files = &files
	}
	return g, nil
}

// askHost asks the host about a delivery. unknown says why it was given up; an error says that it is
// to be asked again: not when that cannot help, as with a token that lacks a right, nor after gatherFor,
// nor when the host wants to be left alone for longer. A delivery that waited while no process ran is asked for, too.
func (q *Queue) askHost(ctx context.Context, delivery store.Delivery, ask func() error) (unknown string, err error) {
	since := delivery.UpdatedAt
	if since.Before(q.started) {
		since = q.started
	}
	left := gatherFor - q.now().Sub(since)
	if left <= 0 {
		return fmt.Sprintf("the host could not be asked within %s", gatherFor), nil
	}
	if err = ask(); err == nil {
		return "", nil
	}
	waited := q.now().Sub(since)
	wait := min(max(waited, time.Second), gatherFor-lastAsk-waited)
	var f failure
	if errors.As(err, &f) {
		wait = max(wait, f.RetryAfter())
	}
	var said *forge.Error
	refused := errors.As(err, &said) && said.Forbidden()
	if ctx.Err() == nil && (refused || final(err) || wait < time.Second || waited+wait > gatherFor-lastAsk) {
		return shortened(err.Error()), nil
	}
	return "", askAgain{err, wait}
}

// askAgain is the error of a host that is asked again after a time.
type askAgain struct {
	error
	wait time.Duration
}

func (e askAgain) Unwrap() error             { return e.error }
func (e askAgain) Retryable() bool           { return true }
func (e askAgain) RetryAfter() time.Duration { return e.wait }
