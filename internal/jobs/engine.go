package jobs

import (
	"context"
	"database/sql"
	"log/slog"

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
	// takeUp makes available what an earlier process left as running, where that
	// can be told.
	takeUp(ctx context.Context, s *store.Store) error
}

// newEngine migrates the queue's tables and makes its client.
func newEngine(ctx context.Context, s *store.Store, config *river.Config) (engine, error) {
	if err := migrateQueue(ctx, s, config.Logger); err != nil {
		return nil, err
	}
	if db := s.SQLite(); db != nil {
		bell := newBell()
		client, err := river.NewClient(&wakingDriver{riversqlite.New(db), bell}, config)
		return sqliteEngine{riverEngine[*sql.Tx]{client}, bell}, err
	}
	client, err := river.NewClient(riverpgxv5.New(s.Postgres()), config)
	return riverEngine[pgx.Tx]{client}, err
}

type riverEngine[TTx any] struct{ *river.Client[TTx] }

func (e riverEngine[TTx]) insert(ctx context.Context, tx *store.Tx, jobs []river.InsertManyParams) error {
	_, err := e.InsertManyFastTx(ctx, tx.Native().(TTx), jobs)
	return err
}

// takeUp does nothing: another replica may be at work on what is running. The job
// of a killed process is rescued in time.
func (e riverEngine[TTx]) takeUp(context.Context, *store.Store) error { return nil }

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
