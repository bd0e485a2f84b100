package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// postgresDatabase is a PostgreSQL database, shared by any number of replicas.
type postgresDatabase struct {
	pool     *pgxpool.Pool
	readOnly bool
}

const defaultConnections = 20

// The names under which the server's sessions and those of a store that wants to be
// alone stand in pg_stat_activity.
const (
	serverSessions = "gatewright"
	aloneSessions  = "gatewright alone"
)

func openPostgres(ctx context.Context, opts Options) (*postgresDatabase, error) {
	settings, err := pgxpool.ParseConfig(opts.Postgres)
	if err != nil {
		// pgx's own error quotes the connection string, without the password as
		// far as it could read it; a string that it could not read may hold one.
		return nil, errors.New("the connection string cannot be read: write postgres://user:password@host:5432/database?sslmode=…")
	}
	settings.MaxConns = defaultConnections
	if opts.Connections > 0 {
		settings.MaxConns = int32(opts.Connections)
	}
	settings.ConnConfig.RuntimeParams["application_name"] = serverSessions
	if opts.Alone {
		settings.ConnConfig.RuntimeParams["application_name"] = aloneSessions
	}
	// An acknowledged delivery is on disk, whatever the server's default is.
	settings.ConnConfig.RuntimeParams["synchronous_commit"] = "on"
	pool, err := pgxpool.NewWithConfig(ctx, settings)
	if err != nil {
		return nil, err
	}
	db := &postgresDatabase{pool: pool, readOnly: opts.ReadOnly}
	if opts.Alone {
		if err := db.alone(ctx); err != nil {
			pool.Close()
			return nil, err
		}
	}
	return db, nil
}

// alone fails when a server works on the database.
func (db *postgresDatabase) alone(ctx context.Context) error {
	var others int
	err := db.pool.QueryRow(ctx, `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1`, serverSessions).Scan(&others)
	if err == nil && others > 0 {
		err = fmt.Errorf("%d sessions of a running gatewright are on it: stop every replica first", others)
	}
	return err
}

func (db *postgresDatabase) begin(ctx context.Context, look bool) (transaction, error) {
	mode := pgx.TxOptions{}
	if look {
		mode.AccessMode = pgx.ReadOnly
		mode.IsoLevel = pgx.RepeatableRead
	} else if db.readOnly {
		return nil, errors.New("the database was opened for looking only")
	}
	tx, err := db.pool.BeginTx(ctx, mode)
	if err != nil {
		return nil, err
	}
	return postgresTransaction{tx}, nil
}

// migrationLock is the key of the advisory lock under which the schema changes,
// so that replicas that start together do it one after the other.
const migrationLock = 0x67617465

func (db *postgresDatabase) migrate(ctx context.Context) error {
	return db.exclusively(ctx, func(ctx context.Context) error {
		return migrate(ctx, func(ctx context.Context, fn func(transaction) error) error {
			return pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error { return fn(postgresTransaction{tx}) })
		}, "BYTEA")
	})
}

func (db *postgresDatabase) exclusively(ctx context.Context, fn func(context.Context) error) error {
	c, err := db.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	if _, err := c.Exec(ctx, `SELECT pg_advisory_lock($1)`, int64(migrationLock)); err != nil {
		return fmt.Errorf("lock schema: %w", err)
	}
	defer func() {
		// A lock that cannot be given back goes with its connection.
		if _, err := c.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, int64(migrationLock)); err != nil {
			_ = c.Conn().Close(context.WithoutCancel(ctx))
		}
	}()
	return fn(ctx)
}

func (db *postgresDatabase) ping(ctx context.Context) error { return db.pool.Ping(ctx) }

func (db *postgresDatabase) close() error {
	db.pool.Close()
	return nil
}

type postgresTransaction struct{ tx pgx.Tx }

func (t postgresTransaction) exec(ctx context.Context, query string, args ...any) (int64, error) {
	tag, err := t.tx.Exec(ctx, query, storable(args)...)
	return tag.RowsAffected(), translate(err)
}

func (t postgresTransaction) query(ctx context.Context, query string, args ...any) (rows, error) {
	r, err := t.tx.Query(ctx, query, storable(args)...)
	if err != nil {
		return nil, err
	}
	return postgresRows{r}, nil
}

func (t postgresTransaction) queryRow(ctx context.Context, query string, args ...any) scanner {
	return t.tx.QueryRow(ctx, query, storable(args)...)
}

func (t postgresTransaction) commit(ctx context.Context) error { return t.tx.Commit(ctx) }

// rollbackTimeout bounds the rollback of a transaction whose own context may be over.
// A connection that does not answer by then is closed, which rolls back too.
const rollbackTimeout = 5 * time.Second

func (t postgresTransaction) rollback() {
	ctx, cancel := context.WithTimeout(context.Background(), rollbackTimeout)
	defer cancel()
	_ = t.tx.Rollback(ctx)
}

func (t postgresTransaction) native() any { return t.tx }

func (t postgresTransaction) lock() string { return " FOR UPDATE" }

// storable replaces what PostgreSQL does not take in a text, a zero byte and what is
// no UTF-8: a sender can put both into a branch or a header, and the row of one
// delivery must not fail the transaction that it shares with others.
func storable(args []any) []any {
	for i, arg := range args {
		if text, is := arg.(string); is && (strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text)) {
			args[i] = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
		}
	}
	return args
}

// translate makes our own error of the one that a replica meets when another one
// was quicker.
func translate(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.ConstraintName == "releases_unanswered" {
		return ErrBusy
	}
	return err
}

// postgresRows gives pgx's rows the methods of database/sql's.
type postgresRows struct{ pgx.Rows }

func (r postgresRows) Columns() ([]string, error) {
	var names []string
	for _, field := range r.FieldDescriptions() {
		names = append(names, field.Name)
	}
	return names, nil
}

func (r postgresRows) Close() error {
	r.Rows.Close()
	return r.Err()
}
