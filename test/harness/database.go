package harness

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// Database is the database that the server under proof stands on.
type Database struct {
	// Name is SQLite or Postgres.
	Name string
	path string
	dsn  string
	// server is the PostgreSQL server, when it is ours alone.
	server *storetest.Server
	// drop ends what openDatabase began.
	drop func() error
}

// openDatabase names a SQLite file in folder, or makes a fresh database: on the
// PostgreSQL server that storetest.Variable names, else on a throw-away one.
func openDatabase(ctx context.Context, name, folder string) (*Database, error) {
	switch name {
	case SQLite:
		return &Database{Name: name, path: filepath.Join(folder, "gatewright.db"), drop: func() error { return nil }}, nil
	case Postgres:
		if server := os.Getenv(storetest.Variable); server != "" {
			return makePostgres(ctx, server, "gatewright_"+strings.ReplaceAll(filepath.Base(folder), "-", "_"))
		}
		s, err := storetest.Open()
		if err != nil {
			return nil, err
		}
		return &Database{Name: name, dsn: s.DSN, server: s, drop: s.Remove}, nil
	}
	return nil, fmt.Errorf("database %q: write %s or %s", name, SQLite, Postgres)
}

// makePostgres makes a database on a server, which is dropped in the end. The
// server's connection string must be a URL.
func makePostgres(ctx context.Context, server, name string) (*Database, error) {
	address, err := url.Parse(server)
	if err != nil || address.Host == "" {
		return nil, errors.New(storetest.Variable + " is not a URL: write postgres://user@host:5432/database")
	}
	do := func(ctx context.Context, statement string) error {
		s, err := store.Open(ctx, store.Options{Postgres: server, ReadOnly: true})
		if err != nil {
			return err
		}
		_, err = s.Postgres().Exec(ctx, statement)
		return errors.Join(err, s.Close())
	}
	if err := do(ctx, "CREATE DATABASE "+name); err != nil {
		return nil, fmt.Errorf("create database: %w", err)
	}
	address.Path = "/" + name
	return &Database{Name: Postgres, dsn: address.String(), drop: func() error {
		return do(context.WithoutCancel(ctx), "DROP DATABASE "+name+" WITH (FORCE)")
	}}, nil
}

func (d *Database) close() error { return d.drop() }

// Crash ends the PostgreSQL server as a crash does, and starts it again on what it left
// on disk. It reports false, and does nothing, when the server is not ours alone.
func (d *Database) Crash() (crashed bool, err error) {
	if d.server == nil {
		return false, nil
	}
	if err := d.server.Crash(); err != nil {
		return false, fmt.Errorf("crash postgres: %w", err)
	}
	return true, d.server.Up()
}

// AgeJobs makes the jobs that dead servers left look as old as River's rescuer wants them,
// and frees the leadership that one of them had and the reports that they wrote, so that the next server goes on with
// them at once. No server may be alive. On SQLite a server does so by itself.
func (d *Database) AgeJobs(ctx context.Context) (err error) {
	if d.Name == SQLite {
		return nil
	}
	s, err := store.Open(ctx, store.Options{Postgres: d.dsn})
	if err != nil {
		return fmt.Errorf("age jobs: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for _, statement := range []string{
		`UPDATE river_job SET attempted_at = attempted_at - interval '1 day' WHERE state = 'running'`,
		`DELETE FROM river_leader`,
		`UPDATE reports SET claimed_until = 0`,
	} {
		if _, err := s.Postgres().Exec(ctx, statement); err != nil {
			return fmt.Errorf("age jobs: %w", err)
		}
	}
	return nil
}

// config is the server file's store section, and the variable that it names.
func (d *Database) config() (section, variable, value string) {
	if d.Name == SQLite {
		return "{sqlite: {path: gatewright.db}}", "", ""
	}
	return "{postgres: {dsn: {env: " + variableDSN + "}}}", variableDSN, d.dsn
}

// Look opens the database for looking only, for as long as fn runs. It must not be
// open while the server is killed: on SQLite an open reader would keep what the
// next process has to recover.
func (d *Database) Look(ctx context.Context, fn func(*store.Store) error) error {
	s, err := store.Open(ctx, store.Options{SQLite: d.path, Postgres: d.dsn, ReadOnly: true})
	if err != nil {
		return err
	}
	return errors.Join(fn(s), s.Close())
}

// Check asks SQLite whether its file is sound; PostgreSQL is not asked.
func (d *Database) Check(ctx context.Context) error {
	if d.Name != SQLite {
		return nil
	}
	return d.Look(ctx, func(s *store.Store) error {
		return s.View(ctx, func(tx *store.Tx) error {
			var answer string
			err := tx.Native().(*sql.Tx).QueryRowContext(ctx, `PRAGMA integrity_check`).Scan(&answer)
			if err == nil && answer != "ok" {
				err = errors.New(answer)
			}
			return err
		})
	})
}

// Figure is one line of a proof's output.
type Figure struct {
	Name  string
	Value int64
	Unit  string
}

// String is the line: name, value, unit.
func (f Figure) String() string { return fmt.Sprintf("%s %d %s", f.Name, f.Value, f.Unit) }

// Sizes are the rows of each table and the bytes of the database.
func (d *Database) Sizes(ctx context.Context) (figures []Figure, err error) {
	err = d.Look(ctx, func(s *store.Store) error {
		if d.Name == SQLite {
			figures, err = d.sqliteSizes(ctx, s)
		} else {
			figures, err = postgresSizes(ctx, s)
		}
		return err
	})
	return figures, err
}

func (d *Database) sqliteSizes(ctx context.Context, s *store.Store) (figures []Figure, err error) {
	err = s.View(ctx, func(view *store.Tx) error {
		tx := view.Native().(*sql.Tx)
		var names string
		if err := tx.QueryRowContext(ctx, `SELECT group_concat(name) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`).Scan(&names); err != nil {
			return err
		}
		for _, table := range sorted(names) {
			f := Figure{Name: "rows_" + table, Unit: "rows"}
			if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM `+table).Scan(&f.Value); err != nil {
				return err
			}
			figures = append(figures, f)
		}
		return nil
	})
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(d.path + suffix); err == nil {
			figures = append(figures, Figure{"file_db" + suffix, info.Size(), "bytes"})
		}
	}
	return figures, err
}

func postgresSizes(ctx context.Context, s *store.Store) (figures []Figure, err error) {
	var names string
	if err := s.Postgres().QueryRow(ctx, `SELECT string_agg(tablename, ',') FROM pg_tables WHERE schemaname = 'public'`).Scan(&names); err != nil {
		return nil, err
	}
	for _, table := range sorted(names) {
		f := Figure{Name: "rows_" + table, Unit: "rows"}
		if err := s.Postgres().QueryRow(ctx, `SELECT COUNT(*) FROM `+table).Scan(&f.Value); err != nil {
			return nil, err
		}
		figures = append(figures, f)
	}
	whole := Figure{Name: "database", Unit: "bytes"}
	err = s.Postgres().QueryRow(ctx, `SELECT pg_database_size(current_database())`).Scan(&whole.Value)
	return append(figures, whole), err
}

func sorted(names string) []string { return slices.Sorted(slices.Values(strings.Split(names, ","))) }
