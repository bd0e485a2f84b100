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
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"
	"go.uber.org/zap"

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
	Prepare(ctx context.Context, r release.Release) (next release.Release, send bool, wait time.Duration, err error)
	Send(ctx context.Context, r release.Release) (next release.Release, wait time.Duration, err error)
	Follow(ctx context.Context, r release.Release) (release.Release, time.Duration, error)
}

// Options are what a queue stands on. Those above Workers are mandatory.
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
	// Retention is how long what has ended is kept, PayloadRetention how long the
	// bodies of deliveries are; defaults 30 and 7 days.
	Retention        time.Duration
	PayloadRetention time.Duration
	// ReconcileEvery is how often records are looked for that have lost their job;
	// default 1 minute. ReconcileAfter is how long a record must not have been
	// touched for that; default 3 minutes, longer than any step.
	ReconcileEvery time.Duration
	ReconcileAfter time.Duration
	// AliveFor is how long a process that shares a PostgreSQL database may be gone, or
	// cut off from it, before the others take up its running jobs; default 15
	// seconds. Steps that it cannot keep its own for two thirds of that are cancelled.
	AliveFor time.Duration
	// Pace is the least time between two fetches of jobs; default 2 ms. A
	// snoozed job is looked for at fifty times that.
	Pace  time.Duration
	Now   func() time.Time
	NewID func() string
}

// Queue stores deliveries with the work that they cause, and does that work.
type Queue struct {
	opts   Options
	store  *store.Store
	engine engine
	intake *intake
	log    *zap.Logger
	now    func() time.Time
}

const (
	// jobTimeout bounds one step; waiting is done by the queue, not by a step.
	jobTimeout = 60 * time.Second
	// rescueAfter is when River gives back a running job that nothing else has given
	// back before, see alive. It may not be less than jobTimeout.
	rescueAfter = 90 * time.Second
	// maxAttempts is more than a deadline lets happen: deadlines end things,
	// attempts do not. A record whose job has used them up gets a new one from the
	// reconciler.
	maxAttempts = 1000
	// keepCompleted is how long jobs that are done stay in the queue's table.
	keepCompleted = time.Hour
	// decisionQueue is for what asks nobody but the database, so that it does not
	// wait behind slow services.
	decisionQueue   = "decisions"
	decisionWorkers = 4
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
		opts.Pace = 2 * time.Millisecond
	}
	if opts.Retention == 0 {
		opts.Retention = 30 * 24 * time.Hour
	}
	if opts.PayloadRetention == 0 {
		opts.PayloadRetention = 7 * 24 * time.Hour
	}
	if opts.ReconcileEvery == 0 {
		opts.ReconcileEvery = time.Minute
	}
	if opts.ReconcileAfter == 0 {
		opts.ReconcileAfter = 3 * time.Minute
	}
	if opts.AliveFor == 0 {
		opts.AliveFor = 15 * time.Second
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.NewID == nil {
		opts.NewID = func() string { return uuid.Must(uuid.NewV7()).String() }
	}
	q := &Queue{opts: opts, store: opts.Store, log: opts.Log, now: opts.Now, intake: newIntake()}

	workers := river.NewWorkers()
	if err := q.addWorkers(workers); err != nil {
		return nil, fmt.Errorf("new queue: %w", err)
	}
	var err error
	q.engine, err = newEngine(ctx, opts, &river.Config{
		FetchCooldown:        opts.Pace,
		FetchPollInterval:    50 * opts.Pace,
		JobTimeout:           jobTimeout,
		RescueStuckJobsAfter: rescueAfter,
		MaxAttempts:          maxAttempts,
		// What became of a record stands in the record.
		CompletedJobRetentionPeriod: keepCompleted,
		RetryPolicy:                 backoff{now: time.Now}, // River's own clock, not ours
		Queues: map[string]river.QueueConfig{
			river.QueueDefault: {MaxWorkers: opts.Workers},
			decisionQueue:      {MaxWorkers: decisionWorkers},
		},
		PeriodicJobs: []*river.PeriodicJob{
			periodic(opts.ReconcileEvery, reconcileArgs{}),
			periodic(expireEvery, expireArgs{}),
		},
		Workers: workers,
		Logger:  riverLog(opts.Log),
	})
	if err != nil {
		return nil, fmt.Errorf("new queue: %w", err)
	}
	return q, nil
}

// periodic is a job that one replica, River's leader, makes again and again.
func periodic(every time.Duration, args river.JobArgs) *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(every),
		func() (river.JobArgs, *river.InsertOpts) { return args, nil }, &river.PeriodicJobOpts{RunOnStart: true})
}

// Start begins to work, first of all on what an earlier process left unfinished.
// The work ends by Stop, not by ctx.
func (q *Queue) Start(ctx context.Context) error {
	// A stop that comes while this starts is heeded after it.
	ctx = context.WithoutCancel(ctx)
	if err := q.engine.takeUp(ctx, q.store); err != nil {
		return fmt.Errorf("take up unfinished jobs: %w", err)
	}
	if err := q.engine.Start(ctx); err != nil {
		return fmt.Errorf("start queue: %w", err)
	}
	q.intake.start(q.commit)
	return nil
}

// Stop ends the work: no new job is taken up and the running ones finish. When
// ctx is done first, they are cancelled; what they had not saved is done again
// after the next start. Deliveries are still accepted, until Close.
func (q *Queue) Stop(ctx context.Context) error {
	err := q.engine.Stop(ctx)
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := q.engine.StopAndCancel(ctx); err != nil {
		return fmt.Errorf("stop queue: %w", err)
	}
	return nil
}

// Close stores the deliveries that wait for their commit, and accepts no more.
func (q *Queue) Close() error {
	q.intake.stop()
	return nil
}

// enqueue inserts jobs in the transaction that makes them necessary.
func (q *Queue) enqueue(ctx context.Context, tx *store.Tx, args ...river.JobArgs) error {
	params := make([]river.InsertManyParams, len(args))
	for i := range args {
		params[i] = river.InsertManyParams{Args: args[i]}
	}
	return q.insert(ctx, tx, params)
}

func (q *Queue) insert(ctx context.Context, tx *store.Tx, params []river.InsertManyParams) error {
	if len(params) == 0 {
		return nil
	}
	if err := q.engine.insert(ctx, tx, params); err != nil {
		return fmt.Errorf("enqueue %s: %w", params[0].Args.Kind(), err)
	}
	return nil
}
