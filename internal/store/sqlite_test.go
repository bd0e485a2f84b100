package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

func TestReopenKeepsEverything(t *testing.T) {
	path := filepath.Join(t.TempDir(), "with space %.db")
	ctx := t.Context()
	s := open(t, storetest.Database{SQLite: path})
	update(t, s, func(tx *store.Tx) error {
		_, err := add(ctx, s, tx, delivery("one", "one", []byte("body")))
		return err
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	looking, err := store.Open(ctx, store.Options{SQLite: path, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer looking.Close()
	if err := looking.View(ctx, func(tx *store.Tx) error { _, err := tx.Delivery(ctx, "one"); return err }); err != nil {
		t.Error(err)
	}
	if err := looking.Update(ctx, func(*store.Tx) error { return nil }); err == nil {
		t.Error("a read-only store can be updated")
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the file is not where it was said to be: %v", err)
	}
}

// TestFileIsTaken holds that nothing is accepted into a file that is gone, and that
// the file is its owner's alone.
func TestFileIsTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	s := open(t, storetest.Database{SQLite: path})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, error %v", info.Mode(), err)
	}
	if err := s.Writable(t.Context()); err != nil {
		t.Errorf("not writable: %v", err)
	}
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := s.Writable(t.Context()); err == nil {
		t.Error("writable although the file is gone")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), func(*store.Tx) error { return nil }); err == nil {
		t.Error("written although the file is another one")
	}
}

func TestOpenRefuses(t *testing.T) {
	folder := t.TempDir()
	garbage := filepath.Join(folder, "garbage.db")
	if err := os.WriteFile(garbage, bytes.Repeat([]byte("this is not a database "), 500), 0o600); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(folder, "newer.db")
	s := open(t, storetest.Database{SQLite: newer})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", newer)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`INSERT INTO schema_version (version) VALUES (4711)`); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		options store.Options
		want    string
	}{
		"no path":           {store.Options{}, "either"},
		"no database":       {store.Options{SQLite: garbage}, "garbage.db"},
		"no folder":         {store.Options{SQLite: filepath.Join(folder, "none", "x.db")}, "x.db"},
		"newer schema":      {store.Options{SQLite: newer}, "version 4711"},
		"read-only, absent": {store.Options{SQLite: filepath.Join(folder, "absent.db"), ReadOnly: true}, "absent.db"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := store.Open(context.Background(), test.options)
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q does not name %q", err, test.want)
			}
		})
	}
}
