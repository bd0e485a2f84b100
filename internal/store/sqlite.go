package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite" // also the database/sql driver "sqlite"
	codes "modernc.org/sqlite/lib"
)

// sqliteDatabase is a SQLite file. One connection writes, shared by the webhook
// endpoint and the job queue, because SQLite's busy handler is not fair: with a
// second writer the jobs starve. A pool of read-only connections serves the reads.
// Source: specs/queue-and-store.md 2.6.
type sqliteDatabase struct {
	write *sql.DB // nil when opened for reading
	read  *sql.DB
	// lock keeps a second server from the file; nil with Options.WithoutLock.
	lock *os.File
	// path and file are where the database is and which file that was when it was
	// opened.
	path string
	file os.FileInfo
}

// readers is how many connections read at the same time; more wait.
const readers = 4

func openSQLite(opts Options) (*sqliteDatabase, error) {
	var db sqliteDatabase
	var err error
	if opts.ReadOnly || opts.WithoutLock {
		_, err = os.Stat(opts.SQLite)
	} else {
		db.lock, err = lockFile(opts.SQLite)
	}
	if err != nil {
		return nil, err
	}
	if !opts.ReadOnly {
		if err := db.keepFile(opts.SQLite); err != nil {
			return nil, errors.Join(err, db.close())
		}
		if db.write, err = sql.Open("sqlite", sqliteDSN(opts.SQLite, false)); err != nil {
			return nil, errors.Join(err, db.close())
		}
		db.write.SetMaxOpenConns(1)
	}
	if db.read, err = sql.Open("sqlite", sqliteDSN(opts.SQLite, true)); err != nil {
		return nil, errors.Join(err, db.close())
	}
	db.read.SetMaxOpenConns(readers)
	db.read.SetMaxIdleConns(readers)
	return &db, nil
}

// keepFile makes the file when it is missing, for its owner alone because it holds
// payloads of private repositories, and remembers which file it is.
func (db *sqliteDatabase) keepFile(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		var f *os.File
		if f, err = os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600); err != nil {
			return err
		}
		defer f.Close()
		info, err = f.Stat()
	}
	db.path, db.file = path, info
	return err
}

// checkFile fails when the file at the path was removed or replaced: SQLite would go
// on writing to a file that has no name any more.
func (db *sqliteDatabase) checkFile() error {
	now, err := os.Stat(db.path)
	if err != nil {
		return fmt.Errorf("the database file is gone: %w", err)
	}
	if !os.SameFile(now, db.file) {
		return fmt.Errorf("the database file %q was replaced by another: restart gatewright", db.path)
	}
	return nil
}

// sqliteDSN is the data source name of a file. Commits are synced before they
// return (synchronous=FULL) and a transaction takes the write lock when it begins,
// so that no statement in it fails because another process has the lock.
func sqliteDSN(path string, readOnly bool) string {
	values := url.Values{}
	// Less than the hosts wait for their answer.
	values.Add("_pragma", "busy_timeout(4000)")
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

func (db *sqliteDatabase) begin(ctx context.Context, readOnly bool) (transaction, error) {
	pool := db.write
	if readOnly {
		pool = db.read
	}
	if pool == nil {
		return nil, errors.New("the database was opened for reading only")
	}
	if !readOnly {
		if err := db.checkFile(); err != nil {
			return nil, err
		}
	}
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	return sqliteTransaction{tx}, nil
}

func (db *sqliteDatabase) migrate(ctx context.Context) error {
	err := migrate(ctx, func(ctx context.Context, fn func(transaction) error) error {
		tx, err := db.begin(ctx, false)
		if err != nil {
			return err
		}
		if err := fn(tx); err != nil {
			tx.rollback()
			return err
		}
		return tx.commit(ctx)
	}, "sqlite", "BLOB")
	if err != nil {
		return err
	}
	return db.tryWrite(ctx)
}

// tryWrite fails when the file cannot be written: SQLite opens such a file without an
// error, and the first delivery would be refused.
func (db *sqliteDatabase) tryWrite(ctx context.Context) error {
	tx, err := db.begin(ctx, false)
	if err != nil {
		return err
	}
	defer tx.rollback()
	_, err = tx.exec(ctx, `UPDATE schema_version SET version = version`)
	return err
}

// withSchemaLock takes no lock of its own: the process that opened the file for
// writing holds the file's lock.
func (db *sqliteDatabase) withSchemaLock(ctx context.Context, fn func(context.Context) error) error {
	return fn(ctx)
}

// writable begins a write and rolls it back.
func (db *sqliteDatabase) writable(ctx context.Context) error {
	tx, err := db.begin(ctx, false)
	if err != nil {
		return err
	}
	tx.rollback()
	return nil
}

func (db *sqliteDatabase) ping(ctx context.Context) error {
	// A query, because a SQLite connection that exists always answers a ping.
	var one int
	return db.read.QueryRowContext(ctx, `SELECT 1 FROM schema_version LIMIT 1`).Scan(&one)
}

func (db *sqliteDatabase) close() error {
	var errs []error
	for _, pool := range []*sql.DB{db.read, db.write} {
		if pool != nil {
			errs = append(errs, pool.Close())
		}
	}
	if db.lock != nil {
		// Last: the process that takes the lock next finds everything written.
		if err := db.lock.Close(); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// advise adds to an error of SQLite what can be done about it.
// Source: https://www.sqlite.org/rescode.html.
func advise(err error) error {
	var refused *sqlite.Error
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Code() & 0xff {
	case codes.SQLITE_READONLY, codes.SQLITE_CANTOPEN, codes.SQLITE_PERM:
		return fmt.Errorf("%w: let the user that runs gatewright write to the file and to its folder", err)
	case codes.SQLITE_NOTADB, codes.SQLITE_CORRUPT:
		return fmt.Errorf("%w: the file is damaged or is not a gatewright database; restore a backup, or move the file away to start with an empty database", err)
	case codes.SQLITE_FULL:
		return fmt.Errorf("%w: make room on the disk", err)
	case codes.SQLITE_BUSY:
		return fmt.Errorf("%w: another program holds the file's write lock", err)
	}
	return err
}

type sqliteTransaction struct{ tx *sql.Tx }

func (t sqliteTransaction) exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := t.tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (t sqliteTransaction) query(ctx context.Context, query string, args ...any) (rows, error) {
	return t.tx.QueryContext(ctx, query, args...)
}

func (t sqliteTransaction) queryRow(ctx context.Context, query string, args ...any) scanner {
	return t.tx.QueryRowContext(ctx, query, args...)
}

func (t sqliteTransaction) commit(context.Context) error { return t.tx.Commit() }

func (t sqliteTransaction) rollback() { _ = t.tx.Rollback() }

func (t sqliteTransaction) native() any { return t.tx }

// lockAudit does nothing: there is one writer.
func (t sqliteTransaction) lockAudit(context.Context) error { return nil }

// forUpdate is empty: the transaction holds the only write lock already.
func (t sqliteTransaction) forUpdate() string { return "" }
