// Package jobs is the durable queue, and the only place that knows the order of
// the steps: delivery, decision, run, verdict, release. A worker loads a record, makes
// one call to the domain, and saves the result together with the job that goes on from
// there, in one transaction (transition.go). Where the call sends a request that must
// not be repeated, it is two calls with a commit between them: prepare, commit the
// intent, send.
//
// Every step may happen again, after a crash or a lost answer; each is written so
// that a second time does no harm.
package jobs

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/notify"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/report"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// Checker is what the jobs ask of CodeArts Check; see [codecheck.Checker].
type Checker interface {
	Prepare(ctx context.Context, run codecheck.Run) (next codecheck.Run, send bool, wait time.Duration, err error)
	Send(ctx context.Context, run codecheck.Run) (next codecheck.Run, wait time.Duration, err error)
	Poll(ctx context.Context, run codecheck.Run) (next codecheck.Run, wait time.Duration, err error)
	Stop(ctx context.Context, run codecheck.Run) error
	Delete(ctx context.Context, task codecheck.Task) error
	WithLanguages(run codecheck.Run, host []string) codecheck.Run
}

// Releaser is what the jobs ask of ServiceStage; see [release.Operator].
type Releaser interface {
	Prepare(ctx context.Context, r release.Release) (next release.Release, send bool, wait time.Duration, err error)
	Send(ctx context.Context, r release.Release) (next release.Release, wait time.Duration, err error)
	Follow(ctx context.Context, r release.Release) (next release.Release, send bool, wait time.Duration, err error)
}

// Options configure a Queue. Those above Forge are mandatory.
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

	// Forge asks the git hosts, and Confirm says for which connections. Default: for none.
	Forge   Forge
	Confirm func(connection string) Confirm
	// Groups returns the groups of the server file that an account is in, by the host's number of it.
	// Default: none.
	Groups func(connection, userID string) []string
	// People says who may approve held releases. Default: nobody.
	People People
	// Reporter tells the git hosts, and Report says what, for each connection. Default:
	// nothing is told.
	Reporter Reporter
	Report   func(connection string) report.Settings
	// Conversation reads comments and reacts to them, and Commands says which commands in them are
	// carried out for whom, for each connection. Default: none are.
	Conversation Conversation
	Commands     func(connection string) CommandSettings
	// Workers is how many jobs that call remote services run at the same time; default
	// 20.
	Workers int
	// Retention is how long records that have ended are kept, PayloadRetention how long
	// the bodies of deliveries are; defaults 30 and 7 days.
	Retention        time.Duration
	PayloadRetention time.Duration
	// AuditRetention is how long rows of the audit log are kept. Default 0, for ever.
	AuditRetention time.Duration
	// EvidenceKey returns the key that signs evidence bundles, nil for none, and EvidenceRetention is
	// how long they are kept. Default: none, and five years.
	EvidenceKey       func() ed25519.PrivateKey
	EvidenceRetention time.Duration
	// Targets returns who gets notices, Notifier sends them, and Dashboard is the address of the pages that they
	// link to. MissingAfter is after how long a missing verdict is told; 0: never. Default: nobody gets any.
	Targets      func() []notify.Target
	Notifier     Notifier
	Dashboard    string
	MissingAfter time.Duration
	// RefusedTokens returns the connections whose host did not take our token when it was asked last, with what it
	// answered. Default: none.
	RefusedTokens func() map[string]string
	// MaxEventAge is how long before its receipt a change may have been made, by the
	// host's own time; an older one starts nothing. Default 7 days.
	MaxEventAge time.Duration
	// MaxRuns is how many runs of an account may have an execution, or be about to ask for
	// one, at the same time, in all replicas together. Default 0, any number.
	MaxRuns map[string]int
	// KeepTasks: the tasks of merge requests in this account stay at CodeArts Check when
	// these are closed.
	KeepTasks map[string]bool
	// ReconcileEvery is how often records without a job are looked for; default 1
	// minute. ReconcileAfter is how long such a record must not have been saved;
	// default 3 minutes, longer than any step.
	ReconcileEvery time.Duration
	ReconcileAfter time.Duration
	// Recovery says how to look for what no webhook told. Default: not.
	Recovery Recovery
	Now      func() time.Time
	NewID    func() string
}

// Queue stores deliveries with the work that they cause, and does that work.
type Queue struct {
	opts    Options
	store   *store.Store
	engine  engine
	commits *groupCommit
	// deciding is held by the step that decides.
	deciding chan struct{}
	// outbox tells the git hosts.
	outbox *outbox
	// limited: runs may wait for a place.
	limited bool
	// shares are what recovery uses of the hosts' limits; missed is set when a delivery was refused.
	shares *shares
	// redeliveries is what was told of webhooks that cannot be read.
	redeliveries redeliveries
	missed       atomic.Bool
	// auditLogged is the row of the audit log that was logged last.
	auditLogged atomic.Int64
	// started is when Start was called.
	started time.Time
	log     *zap.Logger
	now     func() time.Time
}

const (
	// remoteTimeout bounds one step that calls a remote service, localTimeout one that
	// uses only the database. Waiting is done by the queue, not by a step.
	remoteTimeout = prepareTimeout + sendTimeout
	localTimeout  = 10 * time.Second
	// prepareTimeout bounds what a step reads before it sends a request that must not be
	// repeated: sendTimeout is left for that, so that slow reads do not cut its answer
	// off.
	prepareTimeout = 20 * time.Second
	sendTimeout    = 20 * time.Second
	// answerTimeout is how long after the commit of an intent its answer may be saved by the
	// step that sends it.
	answerTimeout = sendTimeout + saveTimeout
	// rescueAfter is how long a job of a dead replica stays as running before River
	// makes it available to the others. It is longer than any step with its last save,
	// so that no job is taken from a replica that lives. River looks every 30 seconds,
	// and elects a new leader within 15: work goes on after 95 seconds at most.
	rescueAfter = remoteTimeout + 2*saveTimeout
	// maxAttempts is more than a deadline lets happen: deadlines end things, attempts do
	// not. A record whose job has used them up gets a new one from the reconciler.
	maxAttempts = 1000
	// keepCompleted is how long completed jobs stay in the queue's table. What became
	// of a record is in the record.
	keepCompleted = time.Hour
	// fetchCooldown is the least time between two fetches of jobs, fetchPoll how often
	// jobs are looked for that nobody announced: all of them on SQLite, those that were
	// delayed on PostgreSQL.
	fetchCooldown = 2 * time.Millisecond
	fetchPoll     = 50 * time.Millisecond

	// decisionQueue is for decisions, which ask only the database, so that they do not
	// wait behind slow services. One of the workers decides, a batch at a time: more
	// would take the processor and the database from the webhooks under load. The
	// others are there because River fetches as many jobs at a time as are idle.
	decisionQueue   = "decisions"
	decisionWorkers = 8
	// maintenanceQueue is for periodic work on the database.
	maintenanceQueue   = "maintenance"
	maintenanceWorkers = 1
)

// New prepares the queue and its tables on the store's database.
func New(ctx context.Context, opts Options) (*Queue, error) {
	if opts.Store == nil || opts.Parse == nil || opts.Policy == nil || opts.Checker == nil || opts.Releaser == nil || opts.Log == nil || opts.Metrics == nil {
		return nil, errors.New("new queue: a mandatory option is missing")
	}
	if opts.Confirm != nil && opts.Forge == nil {
		return nil, errors.New("new queue: nothing confirms without a forge")
	}
	if r := opts.Recovery; r.Every > 0 && (r.Lister == nil || r.Redeliverer == nil || r.HookURL == nil || r.Connections == nil || r.InScope == nil || r.Limit == nil || r.Remaining == nil) {
		return nil, errors.New("new queue: nothing is recovered without somebody who asks the hosts")
	}
	if opts.Confirm == nil {
		opts.Confirm = func(string) Confirm { return Confirm{} }
	}
	if opts.Commands == nil || opts.Conversation == nil || opts.Forge == nil || opts.Reporter == nil {
		opts.Commands = func(string) CommandSettings { return CommandSettings{} }
	}
	if opts.Groups == nil {
		opts.Groups = func(string, string) []string { return nil }
	}
	if opts.People == nil {
		opts.People = nobody{}
	}
	if opts.Workers == 0 {
		opts.Workers = 20
	}
	if opts.Retention == 0 {
		opts.Retention = 30 * 24 * time.Hour
	}
	if opts.PayloadRetention == 0 {
		opts.PayloadRetention = 7 * 24 * time.Hour
	}
	if opts.RefusedTokens == nil {
		opts.RefusedTokens = func() map[string]string { return nil }
	}
	if opts.Targets == nil || opts.Notifier == nil {
		opts.Targets = func() []notify.Target { return nil }
	}
	if opts.EvidenceKey == nil {
		opts.EvidenceKey = func() ed25519.PrivateKey { return nil }
	}
	if opts.EvidenceRetention == 0 {
		opts.EvidenceRetention = 5 * 365 * 24 * time.Hour
	}
	if opts.MaxEventAge == 0 {
		opts.MaxEventAge = 7 * 24 * time.Hour
	}
	if opts.ReconcileEvery == 0 {
		opts.ReconcileEvery = time.Minute
	}
	if opts.ReconcileAfter == 0 {
		opts.ReconcileAfter = 3 * time.Minute
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.NewID == nil {
		opts.NewID = newID
	}
	limited := slices.ContainsFunc(slices.Collect(maps.Values(opts.MaxRuns)), func(n int) bool { return n > 0 })
	q := &Queue{shares: newShares(), opts: opts, store: opts.Store, log: opts.Log, now: opts.Now, limited: limited, commits: newGroupCommit(), deciding: make(chan struct{}, 1)}
	q.outbox = newOutbox(q)

	periodicJobs := []*river.PeriodicJob{periodic(opts.ReconcileEvery, reconcileArgs{}), periodic(expireEvery, expireArgs{})}
	if opts.Recovery.Every > 0 {
		periodicJobs = append(periodicJobs, q.recoverPeriodically())
	}
	workers := river.NewWorkers()
	if err := q.addWorkers(workers); err != nil {
		return nil, fmt.Errorf("new queue: %w", err)
	}
	if err := Migrate(ctx, opts.Store, opts.Log); err != nil {
		return nil, fmt.Errorf("new queue: %w", err)
	}
	var err error
	q.engine, err = newEngine(opts.Store, &river.Config{
		FetchCooldown:               fetchCooldown,
		FetchPollInterval:           fetchPoll,
		JobTimeout:                  remoteTimeout,
		RescueStuckJobsAfter:        rescueAfter,
		MaxAttempts:                 maxAttempts,
		CompletedJobRetentionPeriod: keepCompleted,
		RetryPolicy:                 backoff{now: time.Now}, // River's own clock, not ours
		Queues: map[string]river.QueueConfig{
			river.QueueDefault: {MaxWorkers: opts.Workers},
			decisionQueue:      {MaxWorkers: decisionWorkers},
			gatherQueue:        {MaxWorkers: gatherWorkers, FetchPollInterval: gatherPoll},
			maintenanceQueue:   {MaxWorkers: maintenanceWorkers},
			noticeQueue:        {MaxWorkers: noticeWorkers, FetchPollInterval: noticePoll},
			recoveryQueue:      {MaxWorkers: 1, FetchPollInterval: recoveryPoll},
		},
		PeriodicJobs: periodicJobs,
		Workers:      workers,
		Logger:       riverLog(opts.Log),
	})
	if err != nil {
		return nil, fmt.Errorf("new queue: %w", err)
	}
	return q, nil
}

// newID makes the id of a record; ids sort by time.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// periodic is a job that one replica, River's leader, inserts at intervals.
func periodic(every time.Duration, args river.JobArgs) *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(every),
		func() (river.JobArgs, *river.InsertOpts) { return args, nil }, &river.PeriodicJobOpts{RunOnStart: true})
}

// Start begins to work, first of all on what an earlier process left unfinished.
// The work ends by Stop, not by ctx.
func (q *Queue) Start(ctx context.Context) error {
	// A stop that is asked for during the start is carried out after it.
	ctx = context.WithoutCancel(ctx)
	q.started = q.now()
	if err := recoverJobs(ctx, q.store); err != nil {
		return fmt.Errorf("recover unfinished jobs: %w", err)
	}
	if err := q.engine.Start(ctx); err != nil {
		return fmt.Errorf("start queue: %w", err)
	}
	if err := q.outbox.start(ctx); err != nil {
		return fmt.Errorf("start the outbox: %w", err)
	}
	q.commits.start(q.commit)
	return nil
}

// Stop ends the work: no new job is started and the running ones finish. When ctx
// ends first, they are cancelled; what they had not saved is repeated after the next
// start. Deliveries are still accepted, until Close.
func (q *Queue) Stop(ctx context.Context) error {
	err := q.engine.Stop(ctx)
	q.outbox.stop(ctx)
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
	q.commits.stop()
	return nil
}
