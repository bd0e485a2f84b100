package jobs

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	"go.uber.org/zap/zapcore"

	"github.com/gatewright/gatewright/internal/store"
)

// engine is River on one of the two databases.
type engine interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
	StopAndCancel(ctx context.Context) error
	// insert adds jobs in the transaction that makes them necessary.
	insert(ctx context.Context, tx *store.Tx, jobs []river.InsertManyParams) error
}

func newEngine(s *store.Store, config *river.Config) (engine, error) {
	if db := s.SQLite(); db != nil {
		// A SQLite file has one process, which polls. River's notifier is of no use here.
		config.PollOnly = true
		client, err := river.NewClient(riversqlite.New(db), config)
		return riverEngine[*sql.Tx]{client}, err
	}
	client, err := river.NewClient(riverpgxv5.New(s.Postgres()), config)
	return riverEngine[pgx.Tx]{client}, err
}

type riverEngine[TTx any] struct{ *river.Client[TTx] }

func (e riverEngine[TTx]) insert(ctx context.Context, tx *store.Tx, jobs []river.InsertManyParams) error {
	_, err := e.InsertManyTx(ctx, tx.Native().(TTx), jobs)
	return err
}

// recoverJobs makes the jobs available again that an earlier process of a SQLite file
// left as running: no other process uses the file. On PostgreSQL River does that for
// a replica that died, after rescueAfter.
func recoverJobs(ctx context.Context, s *store.Store) error {
	if s.SQLite() == nil {
		return nil
	}
	return s.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Native().(*sql.Tx).ExecContext(ctx, `UPDATE river_job SET state = 'available' WHERE state = 'running'`)
		return err
	})
}

// Migrate brings the queue's own tables up to date. Of several processes that start
// at the same time one does it and the others wait.
func Migrate(ctx context.Context, s *store.Store, log *zap.Logger) error {
	// River itself takes no lock: without ours, all processes but one fail.
	err := s.WithSchemaLock(ctx, func(ctx context.Context) error {
		if db := s.SQLite(); db != nil {
			return migrateUp(ctx, riversqlite.New(db), riverLog(log))
		}
		return migrateUp(ctx, riverpgxv5.New(s.Postgres()), riverLog(log))
	})
	if err != nil {
		return fmt.Errorf("migrate queue: %w", err)
	}
	return nil
}

func migrateUp[TTx any](ctx context.Context, driver riverdriver.Driver[TTx], log *slog.Logger) error {
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: log})
	if err != nil {
		return err
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// riverLog gives River's own log to zap, from warnings upwards: what River does is of
// no interest to an operator unless something is wrong.
func riverLog(log *zap.Logger) *slog.Logger {
	core, err := zapcore.NewIncreaseLevelCore(log.Core(), zapcore.WarnLevel)
	if err != nil {
		// The log's own level is above warnings already.
		core = log.Core()
	}
	return slog.New(zapslog.NewHandler(core, zapslog.WithName("river")))
}
