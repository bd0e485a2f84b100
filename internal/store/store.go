// Package store is the one database: deliveries, decisions, runs, releases and
// what runs learned. It stands on a SQLite file or on PostgreSQL; queries are
// written once, with $1 placeholders and ON CONFLICT, and run on both.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/klauspost/compress/zstd"

	"github.com/gatewright/gatewright/internal/audit"
)

// ErrNotFound is returned where a record was asked for by an id that no row has.
var ErrNotFound = errors.New("not found")

// ErrCorrupt is returned where a stored delivery cannot be read back.
var ErrCorrupt = errors.New("stored delivery is damaged")

// ErrEnded is returned by a save of a run or release whose stored state is an end
// state: an end state is final.
var ErrEnded = errors.New("already ended")

// ErrStale is returned by a save of a run or release that another step has saved
// since it was read: the step that gets it must not go on.
var ErrStale = errors.New("saved by another step in the meantime")

// ErrPipelineBusy is returned by a save of a release that is about to act on a pipeline
// on which another release's action has no answer yet.
var ErrPipelineBusy = errors.New("another action on this pipeline has no answer yet")

// ErrTaskBusy is returned by a save of a run that would occupy a CodeArts task which
// another run occupies.
var ErrTaskBusy = errors.New("another run has an execution of this task")

// Version counts the saves of a run or release. A save names the version that it
// was made from, and fails when there is a newer one.
type Version int64

// Store is an open database. It is safe for concurrent use.
type Store struct {
	database database
	now      func() time.Time
	// zip and unzip are safe for concurrent EncodeAll and DecodeAll.
	zip   *zstd.Encoder
	unzip *zstd.Decoder
}

// database is one of the two that a store can stand on.
type database interface {
	begin(ctx context.Context, readOnly bool) (transaction, error)
	migrate(ctx context.Context) error
	// withSchemaLock runs fn while no other process changes the schema.
	withSchemaLock(ctx context.Context, fn func(context.Context) error) error
	ping(ctx context.Context) error
	// writable fails when the database takes no writes.
	writable(ctx context.Context) error
	close() error
}

// transaction is what the queries run on.
type transaction interface {
	exec(ctx context.Context, query string, args ...any) (changed int64, err error)
	query(ctx context.Context, query string, args ...any) (rows, error)
	queryRow(ctx context.Context, query string, args ...any) scanner
	commit(ctx context.Context) error
	// rollback ends the transaction without its changes; the first error is what
	// matters, so its own is not told.
	rollback()
	// native is the driver's own transaction.
	native() any
	// forUpdate is what a SELECT ends with to lock the rows that it reads until the
	// transaction ends.
	forUpdate() string
	// lockAudit keeps others from appending to the audit log until the transaction ends. It
	// is the last lock that a transaction takes.
	lockAudit(ctx context.Context) error
}

// scanner is a row, or rows that stand on one.
type scanner interface{ Scan(dest ...any) error }

type rows interface {
	scanner
	Next() bool
	Err() error
	Close() error
	Columns() ([]string, error)
}

// Options say which database to open: exactly one of SQLite and Postgres.
type Options struct {
	// SQLite is the path of the database file. The folder must exist.
	SQLite string
	// Postgres is the connection string of a PostgreSQL database.
	Postgres string
	// ReadOnly opens the database for reading: nothing is created or migrated, and
	// Update fails.
	ReadOnly bool
	// WithoutLock opens the database for short writes while a server uses it: nothing
	// is created or migrated, and the SQLite file's lock is not taken. The schema must
	// be the one that this program knows.
	WithoutLock bool
	// Exclusive refuses a PostgreSQL database that a running server uses. A SQLite
	// file that is opened for writing is exclusive anyway, unless WithoutLock.
	Exclusive bool
	// Connections bounds the connections to PostgreSQL; default 20.
	Connections int
	// Now tells the time; nil means time.Now.
	Now func() time.Time
}

// maxBody bounds what decompressing one stored body may yield, in bytes. It is more
// than the largest body that http.max_body allows, as a form: 3 × 32 MiB.
const maxBody = 100 << 20

// Open opens the database and brings its schema up to date. It fails with a
// message that names the file or server when that cannot be opened or written, is
// damaged or not a database, is in use by another process, or has a schema that is
// newer than this program.
func Open(ctx context.Context, opts Options) (*Store, error) {
	if (opts.SQLite == "") == (opts.Postgres == "") {
		return nil, errors.New("open store: give either a SQLite path or a PostgreSQL connection string")
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Store{now: opts.Now}
	var err error
	if s.zip, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2)); err != nil {
		return nil, fmt.Errorf("make compressor: %w", err)
	}
	if s.unzip, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxBody)); err != nil {
		return nil, fmt.Errorf("make decompressor: %w", err)
	}
	if err := s.open(ctx, opts); err != nil {
		s.unzip.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, opts Options) (err error) {
	name := opts.SQLite
	if opts.Postgres != "" {
		// The connection string holds a password.
		name = "postgres"
		s.database, err = openPostgres(ctx, opts)
	} else {
		s.database, err = openSQLite(opts)
	}
	if err != nil {
		return fmt.Errorf("open store %q: %w", name, err)
	}
	if opts.WithoutLock {
		err = s.checkSchema(ctx)
	} else if !opts.ReadOnly {
		err = s.database.migrate(ctx)
	}
	if err == nil {
		err = s.database.ping(ctx)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("open store %q: %w", name, advise(err)), s.database.close())
	}
	return nil
}

// Close closes the database; open transactions are waited for.
func (s *Store) Close() error {
	s.unzip.Close()
	return s.database.close()
}

// SQLite is the writing connection of a SQLite store, for River's driver; nil
// otherwise.
func (s *Store) SQLite() *sql.DB {
	if db, ok := s.database.(*sqliteDatabase); ok {
		return db.write
	}
	return nil
}

// Postgres is the pool of a PostgreSQL store, for River's driver; nil otherwise.
func (s *Store) Postgres() *pgxpool.Pool {
	if db, ok := s.database.(*postgresDatabase); ok {
		return db.pool
	}
	return nil
}

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.database.ping(ctx); err != nil {
		return fmt.Errorf("ping store: %w", err)
	}
	return nil
}

// WithSchemaLock runs fn while no other process changes the schema: processes that
// start at the same time take turns. fn uses the database in its own transactions.
func (s *Store) WithSchemaLock(ctx context.Context, fn func(context.Context) error) error {
	return s.database.withSchemaLock(ctx, fn)
}

// Writable returns nil when the database takes writes: a SQLite file whose write lock
// can be had, a PostgreSQL server that is not a standby.
func (s *Store) Writable(ctx context.Context) error {
	if err := s.database.writable(ctx); err != nil {
		return fmt.Errorf("write to store: %w", err)
	}
	return nil
}

// Update runs fn in one transaction. It commits, synced to disk, when fn returns
// nil, and rolls back otherwise. fn must do all its database work on the Tx: on
// SQLite there is one writing connection, and asking for it again would wait for
// ever.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	return s.within(ctx, false, fn)
}

// View runs fn in one read-only transaction.
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error {
	return s.within(ctx, true, fn)
}

func (s *Store) within(ctx context.Context, readOnly bool, fn func(*Tx) error) (err error) {
	tx, err := s.database.begin(ctx, readOnly)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", advise(err))
	}
	committed := false
	defer func() {
		if !committed {
			// Also after a panic: it must not leave the one writing connection
			// inside a transaction.
			tx.rollback()
		}
	}()
	mine := &Tx{transaction: tx, store: s}
	err = fn(mine)
	if err == nil {
		err = mine.appendAudit(ctx)
	}
	if err != nil {
		return advise(err)
	}
	committed = true
	if err := tx.commit(ctx); err != nil {
		return fmt.Errorf("commit transaction: %w", advise(err))
	}
	for _, after := range mine.after {
		after()
	}
	return nil
}

// Tx is one transaction. It is valid only inside the function it was given to.
type Tx struct {
	transaction
	store *Store
	after []func()
	// audit are the entries that are appended to the audit log before the commit.
	audit []audit.Entry
}

// AfterCommit has fn called when the transaction has been committed, and not when it
// was rolled back.
func (tx *Tx) AfterCommit(fn func()) { tx.after = append(tx.after, fn) }

// Native is the driver's own transaction, for a queue that inserts its jobs in
// it: a *sql.Tx on SQLite, a pgx.Tx on PostgreSQL.
func (tx *Tx) Native() any { return tx.native() }

func (tx *Tx) now() int64 { return micros(tx.store.now()) }

func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }
