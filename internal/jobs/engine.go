package jobs

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	"go.uber.org/zap/zapcore"

	"github.com/gatewright/gatewright/internal/store"
)

// engine is River on one of the databases.
type engine interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
	StopAndCancel(ctx context.Context) error
	// insert adds jobs in the transaction that makes them necessary.
	insert(ctx context.Context, tx *store.Tx, jobs []river.InsertManyParams) error
	// takeUp makes available what a process that is gone has left as running. It is
	// called before Start.
	takeUp(ctx context.Context, s *store.Store) error
	// hold gives the step of a job a context that ends when the job may be another
	// process's. done must be called when the step has ended.
	hold(ctx context.Context, job int64) (_ context.Context, done func())
}

// newEngine migrates the queue's tables and makes its client.
func newEngine(ctx context.Context, opts Options, config *river.Config) (engine, error) {
	if err := migrateQueue(ctx, opts.Store, config.Logger); err != nil {
		return nil, err
	}
	if db := opts.Store.SQLite(); db != nil {
		bell := newBell()
		client, err := river.NewClient(&wakingDriver{riversqlite.New(db), bell}, config)
		return sqliteEngine{riverEngine[*sql.Tx]{client}, bell}, err
	}
	pool := opts.Store.Postgres()
	config.ID = newOwner()
	client, err := river.NewClient(riverpgxv5.New(pool), config)
	return &postgresEngine{riverEngine[pgx.Tx]{client}, alive{
		pool: pool, owner: config.ID, holds: opts.AliveFor, log: opts.Log, steps: map[int64]*time.Timer{},
	}}, err
}

type riverEngine[TTx any] struct{ *river.Client[TTx] }

func (e riverEngine[TTx]) insert(ctx context.Context, tx *store.Tx, jobs []river.InsertManyParams) error {
	_, err := e.InsertManyTx(ctx, tx.Native().(TTx), jobs)
	return err
}

// postgresEngine shares its database with those of other processes.
type postgresEngine struct {
	riverEngine[pgx.Tx]
	alive alive
}

// takeUp goes on until the engine has stopped: others may die while this one works.
func (e *postgresEngine) takeUp(ctx context.Context, _ *store.Store) error { return e.alive.start(ctx) }

func (e *postgresEngine) hold(ctx context.Context, job int64) (context.Context, func()) {
	return e.alive.hold(ctx, job)
}

func (e *postgresEngine) Start(ctx context.Context) error {
	err := e.riverEngine.Start(ctx)
	if err != nil {
		e.alive.end()
	}
	return err
}

// Stop leaves the steps that are still under way when ctx is done in the care of
// StopAndCancel.
func (e *postgresEngine) Stop(ctx context.Context) error {
	err := e.riverEngine.Stop(ctx)
	if err == nil {
		e.alive.end()
	}
	return err
}

func (e *postgresEngine) StopAndCancel(ctx context.Context) error {
	defer e.alive.end()
	return e.riverEngine.StopAndCancel(ctx)
}

type sqliteEngine struct {
	riverEngine[*sql.Tx]
	bell *bell
}

// insert tells of the jobs as soon as they are committed.
func (e sqliteEngine) insert(ctx context.Context, tx *store.Tx, jobs []river.InsertManyParams) error {
	for _, job := range jobs {
		queue := river.QueueDefault
		if own, ok := job.Args.(river.JobArgsWithInsertOpts); ok && own.InsertOpts().Queue != "" {
			queue = own.InsertOpts().Queue
		}
		tx.AfterCommit(func() { e.bell.ring(queue) })
	}
	return e.riverEngine.insert(ctx, tx, jobs)
}

// takeUp: one process works on a SQLite file, so whatever stands as running there
// was left so by a process that is gone.
func (e sqliteEngine) takeUp(ctx context.Context, s *store.Store) error {
	return s.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Native().(*sql.Tx).ExecContext(ctx, `UPDATE river_job SET state = 'available' WHERE state = 'running'`)
		return err
	})
}

// hold does nothing, for the same reason.
func (e sqliteEngine) hold(ctx context.Context, _ int64) (context.Context, func()) {
	return ctx, func() {}
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
