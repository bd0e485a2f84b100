package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/store"
)

// Migrate brings the queue's own tables up to date. Of several processes that start
// together one does it and the others wait.
func Migrate(ctx context.Context, s *store.Store, log *zap.Logger) error {
	return migrateQueue(ctx, s, riverLog(log))
}

func migrateQueue(ctx context.Context, s *store.Store, log *slog.Logger) error {
	// River itself takes no lock: without ours, all but one of them fail.
	err := s.Exclusively(ctx, func(ctx context.Context) error {
		if db := s.SQLite(); db != nil {
			return migrateUp(ctx, riversqlite.New(db), log)
		}
		return migrateUp(ctx, riverpgxv5.New(s.Postgres()), log)
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

// Inserter gives work to the queue of a database and does none itself; a server may
// be at work on the same database.
type Inserter struct {
	store  *store.Store
	insert func(ctx context.Context, tx *store.Tx, jobs []river.InsertManyParams) error
}

// NewInserter makes an inserter. The queue's tables must be there.
func NewInserter(s *store.Store, log *zap.Logger) (*Inserter, error) {
	in := &Inserter{store: s}
	config := &river.Config{MaxAttempts: maxAttempts, Logger: riverLog(log)}
	var err error
	if db := s.SQLite(); db != nil {
		var client *river.Client[*sql.Tx]
		client, err = river.NewClient(riversqlite.New(db), config)
		in.insert = riverEngine[*sql.Tx]{client}.insert
	} else {
		var client *river.Client[pgx.Tx]
		client, err = river.NewClient(riverpgxv5.New(s.Postgres()), config)
		in.insert = riverEngine[pgx.Tx]{client}.insert
	}
	if err != nil {
		return nil, fmt.Errorf("new inserter: %w", err)
	}
	return in, nil
}

// Replayed says what became of one delivery that was to be replayed.
type Replayed struct {
	ID string
	// Err is nil when the delivery waits for its decision again; else it is
	// [store.ErrNotFound], [store.ErrGone] or [store.ErrWaiting], in more words.
	Err error
}

// Replay makes deliveries wait for their decision again and inserts the jobs that
// decide them, in one transaction; it answers for each, in the order of ids. Those
// that cannot be replayed do not keep the others from it.
func (in *Inserter) Replay(ctx context.Context, ids []string) ([]Replayed, error) {
	answers := make([]Replayed, len(ids))
	err := in.store.Update(ctx, func(tx *store.Tx) error {
		var waiting []string
		for i, id := range ids {
			err := tx.Replay(ctx, id)
			answers[i] = Replayed{ID: id, Err: err}
			switch {
			case err == nil:
				waiting = append(waiting, id)
			case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrGone), errors.Is(err, store.ErrWaiting):
			default:
				return err
			}
		}
		return in.decide(ctx, tx, waiting)
	})
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	return answers, nil
}

// Resume inserts the job that each unfinished record needs, for a database whose
// queue is empty, and returns how many.
func (in *Inserter) Resume(ctx context.Context, tx *store.Tx) (int, error) {
	// Whatever was saved until the year 36812, and all of it.
	const all = math.MaxInt32
	future := time.Unix(1<<40, 0)
	deliveries, err := tx.StaleDeliveries(ctx, future, all)
	if err != nil {
		return 0, fmt.Errorf("resume: %w", err)
	}
	runs, err := tx.StaleRuns(ctx, future, all)
	if err != nil {
		return 0, fmt.Errorf("resume: %w", err)
	}
	releases, err := tx.StaleReleases(ctx, future, all)
	if err != nil {
		return 0, fmt.Errorf("resume: %w", err)
	}
	var jobs []river.InsertManyParams
	for id, state := range runs {
		jobs = append(jobs, river.InsertManyParams{Args: runJob(id, state)})
	}
	for id, state := range releases {
		jobs = append(jobs, river.InsertManyParams{Args: releaseJob(id, state)})
	}
	for chunk := range slices.Chunk(jobs, reconcileBatch) {
		if err := in.insert(ctx, tx, chunk); err != nil {
			return 0, fmt.Errorf("resume: %w", err)
		}
	}
	if err := in.decide(ctx, tx, deliveries); err != nil {
		return 0, fmt.Errorf("resume: %w", err)
	}
	return len(deliveries) + len(runs) + len(releases), nil
}

// decide inserts the jobs that decide deliveries.
func (in *Inserter) decide(ctx context.Context, tx *store.Tx, ids []string) error {
	var jobs []river.InsertManyParams
	for chunk := range slices.Chunk(ids, maxBatch) {
		jobs = append(jobs, river.InsertManyParams{Args: decideArgs{DeliveryIDs: chunk}})
	}
	if len(jobs) == 0 {
		return nil
	}
	return in.insert(ctx, tx, jobs)
}
