// Package jobs is the durable queue, and the only place that knows the order of
// the steps: delivery, decision, run, verdict, release. A worker loads, makes
// one call to the domain, and saves what came of it together with the job that
// goes on from there, in one transaction.
//
// Every step may happen again, after a crash or a lost answer; each is written so
// that a second time does no harm.
package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	"go.uber.org/zap/zapcore"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// Checker is what the jobs ask of CodeArts Check; see [codecheck.Checker].
type Checker interface {
	Start(ctx context.Context, run codecheck.Run, save func(context.Context, codecheck.Run) error) (codecheck.Run, time.Duration, error)
	Poll(ctx context.Context, run codecheck.Run) (codecheck.Run, time.Duration, error)
	Stop(ctx context.Context, run codecheck.Run) error
}

// Releaser is what the jobs ask of ServiceStage; see [release.Operator].
type Releaser interface {
	Act(ctx context.Context, r release.Release, save func(context.Context, release.Release) error) (release.Release, time.Duration, error)
	Follow(ctx context.Context, r release.Release) (release.Release, time.Duration, error)
}

// Options are what a queue stands on. All but Workers, Pace, Now and NewID are
// mandatory.
type Options struct {
	Store *store.Store
	// Parse reads a stored delivery as an event. An error means that it is not
	// what it claims to be.
	Parse func(event.Delivery) (event.Event, error)
	// Policy returns the rules in force.
	Policy   func() *rules.Policy
	Checker  Checker
	Releaser Releaser
	Log      *zap.Logger
	Metrics  *Metrics

	// Workers is how many jobs run at once; default 20.
	Workers int
	// Pace is the least time between two fetches of jobs; default 5 ms. A
	// snoozed job is looked for at twenty times that.
	Pace  time.Duration
	Now   func() time.Time
	NewID func() string
}

// Queue stores deliveries with the work that they cause, and does that work.
type Queue struct {
	opts   Options
	store  *store.Store
	client *river.Client[*sql.Tx]
	log    *zap.Logger
	now    func() time.Time
}

const (
	// jobTimeout bounds one step; waiting is done by the queue, not by a step.
	jobTimeout = 60 * time.Second
	// rescueAfter gives the job of a killed process back to the queue.
	rescueAfter = 90 * time.Second
	// maxAttempts is more than a deadline lets happen: deadlines end things,
	// attempts do not.
	maxAttempts = 1000
)

// New prepares the queue and its tables on the store's database.
func New(ctx context.Context, opts Options) (*Queue, error) {
	if opts.Store == nil || opts.Parse == nil || opts.Policy == nil || opts.Checker == nil || opts.Releaser == nil || opts.Log == nil || opts.Metrics == nil {
		return nil, errors.New("new queue: a mandatory option is missing")
	}
	if opts.Workers == 0 {
		opts.Workers = 20
	}
	if opts.Pace == 0 {
		opts.Pace = 5 * time.Millisecond
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.NewID == nil {
		opts.NewID = func() string { return uuid.Must(uuid.NewV7()).String() }
	}
	q := &Queue{opts: opts, store: opts.Store, log: opts.Log, now: opts.Now}

	driver := riversqlite.New(opts.Store.SQLite())
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: riverLog(opts.Log)})
	if err != nil {
		return nil, fmt.Errorf("new queue: %w", err)
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, fmt.Errorf("migrate queue: %w", err)
	}
	workers := river.NewWorkers()
	if err := q.addWorkers(workers); err != nil {
		return nil, fmt.Errorf("new queue: %w", err)
	}
	q.client, err = river.NewClient(driver, &river.Config{
		FetchCooldown:        opts.Pace,
		FetchPollInterval:    20 * opts.Pace,
		JobTimeout:           jobTimeout,
		RescueStuckJobsAfter: rescueAfter,
		MaxAttempts:          maxAttempts,
		RetryPolicy:          backoff{now: opts.Now},
		Queues:               map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: opts.Workers}},
		Workers:              workers,
		Logger:               riverLog(opts.Log),
	})
	if err != nil {
		return nil, fmt.Errorf("new queue: %w", err)
	}
	return q, nil
}

// riverLog gives River's own log to zap, from warnings upwards: what River does
// is not what an operator asks about, unless something is wrong.
func riverLog(log *zap.Logger) *slog.Logger {
	core, err := zapcore.NewIncreaseLevelCore(log.Core(), zapcore.WarnLevel)
	if err != nil {
		// The log's own level is above warnings already.
		core = log.Core()
	}
	return slog.New(zapslog.NewHandler(core, zapslog.WithName("river")))
}

// Start begins to work, first of all on what an earlier process left unfinished.
// The work ends by Stop, not by ctx.
func (q *Queue) Start(ctx context.Context) error {
	// One process works on a SQLite file: whatever stands as running there was
	// left so by a process that is gone. Without this it would wait for rescue.
	err := q.store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Native().(*sql.Tx).ExecContext(ctx, `UPDATE river_job SET state = 'available' WHERE state = 'running'`)
		return err
	})
	if err != nil {
		return fmt.Errorf("take up unfinished jobs: %w", err)
	}
	if err := q.client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start queue: %w", err)
	}
	return nil
}

// Stop ends the work: no new job is taken up and the running ones finish. When
// ctx is done first, they are cancelled; what they had not saved is done again
// after the next start.
func (q *Queue) Stop(ctx context.Context) error {
	err := q.client.Stop(ctx)
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := q.client.StopAndCancel(ctx); err != nil {
		return fmt.Errorf("stop queue: %w", err)
	}
	return nil
}

// Accept makes a delivery durable together with the job that decides it: when it
// returns nil both are synced to disk. duplicate says that the same delivery was
// known already and its processing has not failed; a failed one is processed
// again.
func (q *Queue) Accept(ctx context.Context, d event.Delivery) (duplicate bool, err error) {
	err = q.store.Update(ctx, func(tx *store.Tx) error {
		id, state, known, err := tx.AddDelivery(ctx, d)
		if err != nil {
			return err
		}
		if known {
			if state != event.DeliveryFailed {
				duplicate = true
				return nil
			}
			if err := tx.Reopen(ctx, id); err != nil {
				return err
			}
		}
		return q.enqueue(ctx, tx, decideArgs{DeliveryID: id})
	})
	if err != nil {
		return false, fmt.Errorf("accept delivery: %w", err)
	}
	return duplicate, nil
}

// enqueue inserts a job in the transaction that makes it necessary.
func (q *Queue) enqueue(ctx context.Context, tx *store.Tx, args river.JobArgs) error {
	if _, err := q.client.InsertManyFastTx(ctx, tx.Native().(*sql.Tx), []river.InsertManyParams{{Args: args}}); err != nil {
		return fmt.Errorf("enqueue %s: %w", args.Kind(), err)
	}
	return nil
}
