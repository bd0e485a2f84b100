// Package store is the one database: deliveries, decisions, runs, releases and
// what runs learned. Queries are written once, with $1 placeholders and
// ON CONFLICT, for every database that [Tx] can stand on.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
	_ "modernc.org/sqlite" // the database/sql driver "sqlite"
)

// ErrNotFound is returned where a record was asked for by an id that no row has.
var ErrNotFound = errors.New("not found")

// ErrEnded is returned by a save of a run or release whose stored state is an
// end state: what has ended stays as it ended.
var ErrEnded = errors.New("already ended")

// ErrBusy is returned by a save of a release whose pipeline is taken by another
// release's unanswered action.
var ErrBusy = errors.New("another action on this pipeline has no answer yet")

// Store is an open database.
//
// One connection writes, shared by the webhook door and the job queue, because
// SQLite's busy handler is not fair: with a second writer the jobs starve. A
// pool of read-only connections serves everything that only looks.
// Source: specs/queue-and-store.md 2.6.
type Store struct {
	write *sql.DB
	read  *sql.DB
	now   func() time.Time
	// zip and unzip are safe for concurrent EncodeAll and DecodeAll.
	zip   *zstd.Encoder
	unzip *zstd.Decoder
}

// Options say which database to open.
type Options struct {
	// SQLite is the path of the database file; mandatory. The folder must exist.
	SQLite string
	// ReadOnly opens the file for looking only: nothing is created or migrated,
	// and Update fails.
	ReadOnly bool
	// Now tells the time; nil means time.Now.
	Now func() time.Time
}

// readers is how many connections look at once; more wait.
const readers = 4

// maxBody bounds what decompressing one stored body may yield, in bytes; four
// times the largest body that the door can be told to accept by default.
const maxBody = 100 << 20

// Open opens the database and brings its schema up to date. It fails with a
// message that names the file when the file cannot be opened, is not a database,
// or has a schema that is newer than this program.
func Open(ctx context.Context, opts Options) (*Store, error) {
	if opts.SQLite == "" {
		return nil, errors.New("open store: no SQLite path given")
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Store{now: opts.Now}
	if err := s.open(ctx, opts); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %q: %w", opts.SQLite, err), s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, opts Options) error {
	var err error
	if s.zip, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2)); err != nil {
		return fmt.Errorf("make compressor: %w", err)
	}
	if s.unzip, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxBody)); err != nil {
		return fmt.Errorf("make decompressor: %w", err)
	}
	if opts.ReadOnly {
		if _, err := os.Stat(opts.SQLite); err != nil {
			return err
		}
	} else {
		if s.write, err = sql.Open("sqlite", dsn(opts.SQLite, false)); err != nil {
			return err
		}
		s.write.SetMaxOpenConns(1)
		if err := migrate(ctx, s.write); err != nil {
			return err
		}
	}
	if s.read, err = sql.Open("sqlite", dsn(opts.SQLite, true)); err != nil {
		return err
	}
	s.read.SetMaxOpenConns(readers)
	return s.read.PingContext(ctx)
}

// dsn is the data source name of a SQLite file. Commits are synced before they
// return (synchronous=FULL) and a transaction takes the write lock when it
// begins, so that it never fails half way for want of it.
func dsn(path string, readOnly bool) string {
	values := url.Values{}
	values.Add("_pragma", "busy_timeout(10000)")
	values.Add("_pragma", "foreign_keys(ON)")
	if readOnly {
		values.Add("mode", "ro")
		values.Add("_pragma", "query_only(ON)")
	} else {
		values.Add("_pragma", "journal_mode(WAL)")
		values.Add("_pragma", "synchronous(FULL)")
		values.Set("_txlock", "immediate")
	}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath(), RawQuery: values.Encode()}).String()
}

// Close closes the database; open transactions are waited for.
func (s *Store) Close() error {
	var errs []error
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if s.unzip != nil {
		s.unzip.Close()
	}
	return errors.Join(errs...)
}

// SQLite is the writing connection, for River's driver.
func (s *Store) SQLite() *sql.DB { return s.write }

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.read.PingContext(ctx); err != nil {
		return fmt.Errorf("ping store: %w", err)
	}
	return nil
}

// Update runs fn in one transaction. It commits, synced to disk, when fn returns
// nil, and rolls back otherwise. fn must do all its database work on the Tx:
// there is one writing connection, and asking for it again would wait for ever.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	if s.write == nil {
		return errors.New("update store: opened read-only")
	}
	return s.within(ctx, s.write, fn)
}

// View runs fn in one read-only transaction: fn sees one state of the database.
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error {
	return s.within(ctx, s.read, fn)
}

func (s *Store) within(ctx context.Context, db *sql.DB, fn func(*Tx) error) (err error) {
	native, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	committed := false
	defer func() {
		if !committed {
			// The first error is what matters, and a panic must not leave the
			// one writing connection inside a transaction.
			_ = native.Rollback()
		}
	}()
	if err := fn(&Tx{conn: native, store: s}); err != nil {
		return err
	}
	committed = true
	if err := native.Commit(); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	return nil
}

// conn is what a transaction of either database offers to the queries.
type conn interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Tx is one transaction. It is valid only inside the function it was given to.
type Tx struct {
	conn  conn
	store *Store
}

// Native is the driver's own transaction, for a queue that inserts its jobs in
// it: a *sql.Tx on SQLite.
func (tx *Tx) Native() any { return tx.conn }

func (tx *Tx) now() int64 { return micros(tx.store.now()) }

// exec runs a statement and returns how many rows it changed.
func (tx *Tx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := tx.conn.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }
