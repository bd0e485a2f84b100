package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

//go:embed migrations
var migrations embed.FS

// migrate brings the schema up to the newest version, one transaction a version;
// there is no way back. It refuses a schema that is newer than this program,
// because an older program would not know what it must keep true.
func migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Glob(migrations, "migrations/sqlite/*.sql")
	if err != nil {
		return fmt.Errorf("list migrations: %w", err)
	}
	slices.Sort(files)
	if _, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY)`); err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	var version int
	if err := db.QueryRowContext(ctx, `SELECT COALESCE(MAX(version), 0) FROM schema_version`).Scan(&version); err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	newest := 0
	for _, file := range files {
		number, err := migrationNumber(file)
		if err != nil {
			return err
		}
		newest = number
		if number <= version {
			continue
		}
		if err := apply(ctx, db, file, number); err != nil {
			return fmt.Errorf("apply migration %q: %w", path.Base(file), err)
		}
	}
	if version > newest {
		return fmt.Errorf("the schema has version %d and this program knows %d: run a newer gatewright", version, newest)
	}
	return nil
}

func apply(ctx context.Context, db *sql.DB, file string, number int) (err error) {
	script, err := migrations.ReadFile(file)
	if err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	if _, err := tx.ExecContext(ctx, string(script)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO schema_version (version) VALUES ($1)`, number); err != nil {
		return err
	}
	return tx.Commit()
}

// migrationNumber reads 1 from migrations/sqlite/0001_init.sql.
func migrationNumber(file string) (int, error) {
	digits, _, _ := strings.Cut(path.Base(file), "_")
	number, err := strconv.Atoi(digits)
	if err != nil {
		return 0, fmt.Errorf("read number of migration %q: %w", file, err)
	}
	return number, nil
}
