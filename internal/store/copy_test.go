package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// withQueue gives a store the table of the queue that says whether it is in use.
func withQueue(t *testing.T, s *store.Store) *store.Store {
	t.Helper()
	const table = `CREATE TABLE river_job (id INTEGER PRIMARY KEY)`
	var err error
	if db := s.SQLite(); db != nil {
		_, err = db.ExecContext(t.Context(), table)
	} else {
		_, err = s.Postgres().Exec(t.Context(), table)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// contents is everything that a store tells.
type contents struct {
	Deliveries []store.Delivery
	Runs       []codecheck.Run
	Releases   []release.Release
	Heads      map[string]store.Head
	Task       codecheck.Task
	Ref        codecheck.Ref
}

func contentsOf(t *testing.T, s *store.Store) (c contents) {
	t.Helper()
	ctx := t.Context()
	c.Heads = map[string]store.Head{}
	update(t, s, func(tx *store.Tx) (err error) {
		list, err := tx.Deliveries(ctx, store.Filter{OldestFirst: true, Limit: 1000})
		if err != nil {
			return err
		}
		for _, d := range list {
			full, err := tx.Delivery(ctx, d.ID)
			if err != nil {
				return err
			}
			c.Deliveries = append(c.Deliveries, full)
			ev := push("", d.ID)
			ev.Branch = d.ID
			if head, known, err := tx.Head(ctx, ev.RefKey()); err != nil {
				return err
			} else if known {
				c.Heads[d.ID] = head
			}
		}
		if c.Runs, err = tx.Runs(ctx, store.Filter{Limit: 1000}); err != nil {
			return err
		}
		c.Releases, err = tx.Releases(ctx, store.Filter{Limit: 1000})
		return err
	})
	var err, err2 error
	c.Task, _, err = s.Task(ctx, "task")
	c.Ref, _, err2 = s.Ref(ctx, push("", "a"))
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCopy(t *testing.T) {
	for name, ends := range map[string]func(t *testing.T) (from, to storetest.Database){
		"to postgres": func(t *testing.T) (storetest.Database, storetest.Database) {
			return storetest.Database{SQLite: filepath.Join(t.TempDir(), "from.db")}, storetest.Database{Postgres: storetest.Postgres(t)}
		},
		"to sqlite": func(t *testing.T) (storetest.Database, storetest.Database) {
			return storetest.Database{Postgres: storetest.Postgres(t)}, storetest.Database{SQLite: filepath.Join(t.TempDir(), "to.db")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := ends(t)
			testCopy(t, from, to)
		})
	}
}

func testCopy(t *testing.T, fromDB, toDB storetest.Database) {
	ctx := t.Context()
	from, now := clocked(t, fromDB)
	to := withQueue(t, open(t, toDB))
	for _, told := range stories() {
		tell(t, from, now, noon, told)
	}
	// More than one insert, of rows and of bytes.
	for i := range 150 {
		tell(t, from, now, noon, story{name: fmt.Sprintf("many %03d", i), state: event.DeliveryDecided})
	}
	for i := range 3 {
		d := delivery(fmt.Sprint("large", i), fmt.Sprint("large", i), []byte(strings.Repeat("\x00\xff", 1<<20)))
		update(t, from, func(tx *store.Tx) error { _, err := add(ctx, from, tx, d); return err })
	}
	update(t, from, func(tx *store.Tx) error {
		gone := push("a", "")
		gone.Branch, gone.Deleted = "many 001", true
		_, err := tx.AdvanceHead(ctx, gone, "many 999")
		return err
	})
	if err := errors.Join(from.SaveTask(ctx, push("", "a"), "task", codecheck.Task{ID: "1"}), from.SaveRef(ctx, push("", "a"), codecheck.Pull)); err != nil {
		t.Fatal(err)
	}
	if _, err := from.Expire(ctx, noon, 7*day, 300*day, 100); err != nil {
		t.Fatal(err)
	}

	boom := errors.New("boom")
	if _, err := to.Copy(ctx, from, func(*store.Tx) error { return boom }); !errors.Is(err, boom) {
		t.Fatalf("copy that fails at the end: %v", err)
	}
	counts, err := to.Copy(ctx, from, func(tx *store.Tx) error {
		_, err := tx.Delivery(ctx, "many 149")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if counts["deliveries"] != 153+len(stories()) || counts["releases"] != 4 || counts["tasks"] != 1 {
		t.Errorf("counts %v", counts)
	}
	want := contentsOf(t, from)
	isBody := func(p cmp.Path) bool { return strings.HasSuffix(p.String(), ".Body") }
	compare := cmp.Options{
		cmp.FilterPath(isBody, cmp.Comparer(bytes.Equal)),
		cmp.FilterPath(func(p cmp.Path) bool { return !isBody(p) }, cmpopts.EquateEmpty()),
		cmp.AllowUnexported(store.Head{}),
	}
	if diff := cmp.Diff(want, contentsOf(t, to), compare); diff != "" {
		t.Errorf("changed on the way (-from +to):\n%s", diff)
	}
	if !want.Heads["many 001"].Ended || want.Heads["many 002"].Ended {
		t.Error("the heads do not tell true from false")
	}

	if _, err := to.Copy(ctx, from, func(*store.Tx) error { return nil }); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("copy into what is not empty: %v", err)
	}
}

// TestCopyKnowsEveryTable fails when a migration adds a table that Copy leaves behind.
func TestCopyKnowsEveryTable(t *testing.T) {
	from := open(t, storetest.Database{SQLite: filepath.Join(t.TempDir(), "from.db")})
	to := withQueue(t, open(t, storetest.Database{SQLite: filepath.Join(t.TempDir(), "to.db")}))
	counts, err := to.Copy(t.Context(), from, func(*store.Tx) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	rows, err := from.SQLite().QueryContext(t.Context(), `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('schema_version', 'replicas') ORDER BY name`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var tables []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, name)
	}
	if copied := slices.Sorted(maps.Keys(counts)); rows.Err() != nil || !slices.Equal(copied, tables) {
		t.Errorf("tables %q are copied, and there are %q (%v)", copied, tables, rows.Err())
	}
}

// TestTextThatPostgresRefuses stores what SQLite takes in a text and PostgreSQL does
// not, and moves it.
func TestTextThatPostgresRefuses(t *testing.T) { storetest.Each(t, testTextThatPostgresRefuses) }

func testTextThatPostgresRefuses(t *testing.T, db storetest.Database) {
	ctx := t.Context()
	s := open(t, db)
	d := delivery("id", "key \x00 \xff", []byte("\x00\xff"))
	d.Event = "push\x00\xff"
	for _, known := range []bool{false, true} {
		update(t, s, func(tx *store.Tx) error {
			stored, err := add(ctx, s, tx, d)
			if stored.Duplicate != known {
				t.Errorf("known %v, want %v", stored.Duplicate, known)
			}
			return err
		})
	}
	ev := push("\xfe", "sha\x00")
	ev.Branch = "a\x00b"
	update(t, s, func(tx *store.Tx) error {
		if _, err := tx.AdvanceHead(ctx, ev, "id"); err != nil {
			return err
		}
		if _, known, err := tx.Head(ctx, ev.RefKey()); err != nil || !known {
			t.Errorf("the head is known %v, error %v", known, err)
		}
		return tx.EndDelivery(ctx, "id", event.DeliveryFailed, "not readable: \x00\xff", store.Said{}, nil)
	})
	if db.SQLite == "" {
		return
	}
	to := withQueue(t, open(t, storetest.Database{Postgres: storetest.Postgres(t)}))
	if _, err := to.Copy(ctx, s, func(*store.Tx) error { return nil }); err != nil {
		t.Error(err)
	}
}

// TestExclusive holds that an installation is not moved while a server works on it.
func TestExclusive(t *testing.T) {
	dsn := storetest.Postgres(t)
	server, err := store.Open(t.Context(), store.Options{Postgres: dsn})
	if err != nil {
		t.Fatal(err)
	}
	alone := func() error {
		s, err := store.Open(t.Context(), store.Options{Postgres: dsn, Exclusive: true})
		if err == nil {
			err = s.Close()
		}
		return err
	}
	if err := alone(); err == nil || !strings.Contains(err.Error(), "stop every replica") {
		t.Errorf("beside a server: %v", err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	// The server's sessions end a moment after their client's.
	deadline := time.Now().Add(time.Minute)
	for err = alone(); err != nil && time.Now().Before(deadline); err = alone() {
	}
	if err != nil {
		t.Errorf("after it has stopped: %v", err)
	}
}
