package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/riverqueue/river"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// Where the decision of a delivery depends on files that its payload does not list, the
// delivery waits: others are decided meanwhile, and no transaction is open. One job asks the
// host and keeps the answer with the delivery, and then another decides.

const (
	// filesFor is how long a delivery waits for its host; after that its files are not known,
	// and what compares them counts as matching.
	filesFor = time.Minute
	// lastAsk is how long before that the host is asked for the last time.
	lastAsk = 5 * time.Second
	// filesQueue is for asking hosts for files, so that a burst of pushes, or a host that does
	// not answer, takes no worker from runs and releases. A connection has four requests in
	// flight at most, whatever asks.
	filesQueue   = "files"
	filesWorkers = 8
	// filesPoll is how often such jobs are looked for that nobody announced.
	filesPoll = 100 * time.Millisecond
)

// InsertOpts puts it into its own queue.
func (gatherFilesArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: filesQueue} }

// addFiles adds to the event of e the files that its host told, and reports whether the host
// must be asked for them before e can be decided.
func (q *Queue) addFiles(policy *rules.Policy, e *evaluation) (ask bool) {
	known := e.event.Files
	if told := e.delivery.Files; told != nil {
		if e.event.Files = *told; !told.Complete {
			e.event.Files = event.NewFiles(slices.Concat(told.Paths, known.Paths), told.Unknown)
			e.event.Files.FromHost = told.FromHost
		}
		return false
	}
	switch {
	case !policy.NeedsFiles(e.event) || q.tooOld(*e) != "":
		return false
	case !q.opts.Confirm(e.event.Connection).Files:
		e.event.Files.Unknown += fmt.Sprintf(", and connection %q has no API token with which its host could be asked", e.event.Connection)
		return false
	}
	return true
}

// askForFiles lets a delivery wait for its files. It inserts a job also where it waits
// already, unless there is one: the job may have been lost. Where the host has told the files
// since the delivery was read, a job decides it already.
func (q *Queue) askForFiles(ctx context.Context, tx *transaction, id string) error {
	if waits, err := tx.AskFiles(ctx, id); err != nil || !waits {
		return err
	}
	tx.jobs = append(tx.jobs, river.InsertManyParams{Args: gatherFilesArgs{DeliveryID: id}, InsertOpts: &river.InsertOpts{UniqueOpts: untilEnded()}})
	return nil
}

// gatherFiles asks the host of a delivery that waits for its files, keeps what it tells, and
// has the delivery decided.
func (q *Queue) gatherFiles(ctx context.Context, args gatherFilesArgs) (time.Duration, error) {
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
	case delivery.State != event.DeliveryReceived || !delivery.FilesAsked || delivery.Files != nil:
		return 0, nil
	}
	files := event.Files{Unknown: "the delivery cannot be read"}
	if err == nil {
		if files, err = q.askHost(ctx, delivery); err != nil {
			return 0, err
		}
	}
	return 0, q.save(ctx, func(ctx context.Context, tx *transaction) error {
		saved, err := tx.SaveFiles(ctx, delivery.ID, files)
		if saved {
			tx.enqueue(decideArgs{DeliveryIDs: []string{delivery.ID}})
		}
		return err
	})
}

// askHost asks the host for the files of a delivery. An error says that it is to be asked
// again: not when that cannot help, nor after filesFor, nor when the host wants to be left
// alone for longer. A delivery that waited while no process ran is asked for, too.
func (q *Queue) askHost(ctx context.Context, delivery store.Delivery) (event.Files, error) {
	ev, err := q.opts.Parse(delivery.Delivery)
	if err != nil {
		return event.Files{Unknown: "the delivery cannot be read"}, nil
	}
	since := delivery.UpdatedAt
	if since.Before(q.started) {
		since = q.started
	}
	left := filesFor - q.now().Sub(since)
	if left <= 0 {
		return event.Files{Unknown: fmt.Sprintf("the host could not be asked within %s", filesFor), FromHost: true}, nil
	}
	files, err := q.opts.Forge.Files(ctx, ev)
	if err == nil {
		return files, nil
	}
	waited := q.now().Sub(since)
	wait := min(max(waited, time.Second), filesFor-lastAsk-waited)
	var f failure
	if errors.As(err, &f) {
		wait = max(wait, f.RetryAfter())
	}
	if ctx.Err() == nil && (final(err) || wait < time.Second || waited+wait > filesFor-lastAsk) {
		return event.Files{Unknown: shortened(err.Error()), FromHost: true}, nil
	}
	return event.Files{}, askAgain{err, wait}
}

// askAgain is the error of a host that is asked again after a time.
type askAgain struct {
	error
	wait time.Duration
}

func (e askAgain) Unwrap() error             { return e.error }
func (e askAgain) Retryable() bool           { return true }
func (e askAgain) RetryAfter() time.Duration { return e.wait }
