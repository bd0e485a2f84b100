package store

import (
	"context"
	"embed"
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
// because an older program would not know what it must keep true. bytesType is what
// the database calls BLOB.
func migrate(ctx context.Context, within func(context.Context, func(transaction) error) error, bytesType string) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return fmt.Errorf("list migrations: %w", err)
	}
	slices.Sort(files)
	var version int
	err = within(ctx, func(tx transaction) error {
		if _, err := tx.exec(ctx, `CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY)`); err != nil {
			return err
		}
		return tx.queryRow(ctx, `SELECT COALESCE(MAX(version), 0) FROM schema_version`).Scan(&version)
	})
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	newest := 0
	for _, file := range files {
		if newest, err = migrationNumber(file); err != nil {
			return err
		}
		if newest <= version {
			continue
		}
		script, err := migrations.ReadFile(file)
		if err != nil {
			return err
		}
		err = within(ctx, func(tx transaction) error {
			if _, err := tx.exec(ctx, strings.ReplaceAll(string(script), " BLOB", " "+bytesType)); err != nil {
				return err
			}
			_, err := tx.exec(ctx, `INSERT INTO schema_version (version) VALUES ($1)`, newest)
			return err
		})
		if err != nil {
			return fmt.Errorf("apply migration %q: %w", path.Base(file), err)
		}
	}
	if version > newest {
		return fmt.Errorf("the schema has version %d and this program knows %d: run a newer gatewright", version, newest)
	}
	return nil
}

// migrationNumber reads 1 from migrations/0001_init.sql.
func migrationNumber(file string) (int, error) {
	digits, _, _ := strings.Cut(path.Base(file), "_")
	number, err := strconv.Atoi(digits)
	if err != nil {
		return 0, fmt.Errorf("read number of migration %q: %w", file, err)
	}
	return number, nil
}
