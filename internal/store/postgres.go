package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
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

// The application names that pg_stat_activity shows for the sessions of a server and
// of an exclusive store.
const (
	serverSessions    = "gatewright"
	exclusiveSessions = "gatewright exclusive"
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
	if opts.Exclusive {
		settings.ConnConfig.RuntimeParams["application_name"] = exclusiveSessions
	}
	// An acknowledged delivery is on disk, whatever the server's default is.
	settings.ConnConfig.RuntimeParams["synchronous_commit"] = "on"
	pool, err := pgxpool.NewWithConfig(ctx, settings)
	if err != nil {
		return nil, err
	}
	db := &postgresDatabase{pool: pool, readOnly: opts.ReadOnly}
	if opts.Exclusive {
		if err := db.checkUnused(ctx); err != nil {
			pool.Close()
			return nil, err
		}
	}
	return db, nil
}

// Name says which database is meant, without a user or a password.
func (o Options) Name() string {
	if o.Postgres == "" {
		return "sqlite " + o.SQLite
	}
	settings, err := pgx.ParseConfig(o.Postgres)
	if err != nil {
		return "postgres"
	}
	return fmt.Sprintf("postgres %s/%s", net.JoinHostPort(settings.Host, strconv.Itoa(int(settings.Port))), settings.Database)
}

// Unencrypted says that a PostgreSQL connection string switches encryption off
// (sslmode=disable) on the way to another machine.
func Unencrypted(dsn string) bool {
	settings, err := pgx.ParseConfig(dsn)
	if err != nil {
		return false
	}
	hosts, encrypted := []string{settings.Host}, settings.TLSConfig != nil
	for _, other := range settings.Fallbacks {
		hosts = append(hosts, other.Host)
		encrypted = encrypted || other.TLSConfig != nil
	}
	return !encrypted && slices.ContainsFunc(hosts, remote)
}

// remote says that a host is neither this machine nor the folder of a socket.
func remote(host string) bool {
	ip := net.ParseIP(host)
	return !filepath.IsAbs(host) && host != "localhost" && (ip == nil || !ip.IsLoopback())
}

// checkUnused fails when a server uses the database.
func (db *postgresDatabase) checkUnused(ctx context.Context) error {
	var others int
	err := db.pool.QueryRow(ctx, `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1`, serverSessions).Scan(&others)
	if err == nil && others > 0 {
		err = fmt.Errorf("%d sessions of a running gatewright use it: stop every replica first", others)
	}
	return err
}

func (db *postgresDatabase) begin(ctx context.Context, readOnly bool) (transaction, error) {
	mode := pgx.TxOptions{}
	if readOnly {
		mode.AccessMode = pgx.ReadOnly
		mode.IsoLevel = pgx.RepeatableRead
	} else if db.readOnly {
		return nil, errors.New("the database was opened for reading only")
	}
	tx, err := db.pool.BeginTx(ctx, mode)
	if err != nil {
		return nil, err
	}
	return postgresTransaction{tx}, nil
}

// schemaLock is the key of the advisory lock under which the schema changes, so that
// replicas that start at the same time take turns.
const schemaLock = 0x67617465

func (db *postgresDatabase) migrate(ctx context.Context) error {
	return db.withSchemaLock(ctx, func(ctx context.Context) error {
		return migrate(ctx, func(ctx context.Context, fn func(transaction) error) error {
			return pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error { return fn(postgresTransaction{tx}) })
		}, "postgres", "BYTEA")
	})
}

// withSchemaLock holds the lock in a transaction, not in a session: behind a transaction
// pooler the unlock of a session lock can reach another session, and the lock would
// stay taken. fn runs on other connections of the pool.
func (db *postgresDatabase) withSchemaLock(ctx context.Context, fn func(context.Context) error) error {
	return pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(schemaLock)); err != nil {
			return fmt.Errorf("lock schema: %w", err)
		}
		return fn(ctx)
	})
}

// writable asks the server, because a hot standby begins transactions like any other
// server and refuses only the first write.
func (db *postgresDatabase) writable(ctx context.Context) error {
	var readOnly string
	if err := db.pool.QueryRow(ctx, `SHOW transaction_read_only`).Scan(&readOnly); err != nil {
		return err
	}
	if readOnly == "on" {
		return errors.New("the PostgreSQL server is read-only, for example a standby: connect to the primary")
	}
	return nil
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

// auditLock is the key of the advisory lock under which the audit log grows.
const auditLock = 0x61756474

func (t postgresTransaction) lockAudit(ctx context.Context) error {
	_, err := t.tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(auditLock))
	return err
}

func (t postgresTransaction) forUpdate() string { return " FOR UPDATE" }

// storable replaces what PostgreSQL does not take in a text, a zero byte and invalid
// UTF-8: a sender can put both into a branch or a header, and the row of one
// delivery must not fail the transaction that it shares with others.
func storable(args []any) []any {
	for i, arg := range args {
		if text, is := arg.(string); is && (strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text)) {
			args[i] = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
		}
	}
	return args
}

// translate returns our own error for the one that the second of two replicas gets
// that act on one pipeline, or run one task, at the same time.
func translate(err error) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.ConstraintName {
	case "releases_unanswered":
		return ErrPipelineBusy
	case "runs_occupied_task":
		return ErrTaskBusy
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
