package store

import (
	"context"
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
// because an older program would not know what it must keep true. What one kind of database
// needs for a version, such as its triggers, is in a file of the same name in the folder of that
// kind. bytesType is what the database calls BLOB.
func migrate(ctx context.Context, within func(context.Context, func(transaction) error) error, kind, bytesType string) error {
	files, err := migrationFiles()
	if err != nil {
		return err
	}
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
		own, err := migrations.ReadFile(path.Join("migrations", kind, path.Base(file)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		err = within(ctx, func(tx transaction) error {
			if _, err := tx.exec(ctx, strings.ReplaceAll(string(script), " BLOB", " "+bytesType)); err != nil {
				return err
			}
			if len(own) > 0 {
				if _, err := tx.exec(ctx, string(own)); err != nil {
					return err
				}
			}
			_, err := tx.exec(ctx, `INSERT INTO schema_version (version) VALUES ($1)`, newest)
			return err
		})
		if err != nil {
			return fmt.Errorf("apply migration %q: %w", path.Base(file), err)
		}
	}
	if version > newest {
		return tooNew(version, newest)
	}
	return nil
}

// Schema is the version of the database's schema.
func (s *Store) Schema(ctx context.Context) (version int, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		return tx.queryRow(ctx, `SELECT COALESCE(MAX(version), 0) FROM schema_version`).Scan(&version)
	})
	if err != nil {
		return 0, fmt.Errorf("read schema version: %w", err)
	}
	return version, nil
}

// checkSchema refuses a schema that is not the one that this program knows.
func (s *Store) checkSchema(ctx context.Context) error {
	version, err := s.Schema(ctx)
	if err != nil {
		return err
	}
	files, err := migrationFiles()
	if err != nil {
		return err
	}
	newest, err := migrationNumber(files[len(files)-1])
	switch {
	case err != nil:
		return err
	case version > newest:
		return tooNew(version, newest)
	case version < newest:
		return fmt.Errorf("the schema has version %d and this program knows %d: start the server of this version first, or run gatewright migrate", version, newest)
	}
	return nil
}

func tooNew(version, newest int) error {
	return fmt.Errorf("the schema has version %d and this program knows %d: run a newer gatewright", version, newest)
}

// migrationFiles lists the migrations, the oldest first.
func migrationFiles() ([]string, error) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	slices.Sort(files)
	return files, nil
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
