package store_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

func TestMain(m *testing.M) {
	if database := os.Getenv(childVariable); database != "" {
		os.Exit(openAsTold(database))
	}
	goleak.VerifyTestMain(tests{m})
}

// tests runs the tests and stops the database server that they started.
type tests struct{ m *testing.M }

func (t tests) Run() int { return storetest.Main(t.m) }

func open(t *testing.T, db storetest.Database) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{SQLite: db.SQLite, Postgres: db.Postgres, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// each runs a test on a fresh store of either kind.
func each(t *testing.T, test func(t *testing.T, s *store.Store)) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) { test(t, open(t, db)) })
}

// update runs fn in a transaction that must succeed.
func update(t *testing.T, s *store.Store, fn func(*store.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func TestNotFound(t *testing.T) { each(t, testNotFound) }

func testNotFound(t *testing.T, s *store.Store) {
	ctx := t.Context()
	for name, read := range map[string]func(*store.Tx) error{
		"delivery":     func(tx *store.Tx) error { _, err := tx.Delivery(ctx, "x"); return err },
		"run":          func(tx *store.Tx) error { _, err := tx.Run(ctx, "x"); return err },
		"release":      func(tx *store.Tx) error { _, err := tx.Release(ctx, "x"); return err },
		"end delivery": func(tx *store.Tx) error { return tx.EndDelivery(ctx, "x", event.DeliveryFailed, "", store.Said{}, nil) },
	} {
		if err := s.Update(ctx, read); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: error %v, want not found", name, err)
		}
	}
}

func TestRollback(t *testing.T) { each(t, testRollback) }

func testRollback(t *testing.T, s *store.Store) {
	ctx := t.Context()
	boom := errors.New("boom")
	err := s.Update(ctx, func(tx *store.Tx) error {
		tx.AfterCommit(func() { t.Error("called although rolled back") })
		if _, err := add(ctx, s, tx, delivery("one", "one", nil)); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("error %v, want boom", err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = s.Update(ctx, func(*store.Tx) error { panic("boom") })
	}()
	// The writing connection is free again, and nothing was written.
	called := 0
	defer func() {
		if called != 1 {
			t.Errorf("called %d times after the commit", called)
		}
	}()
	update(t, s, func(tx *store.Tx) error {
		tx.AfterCommit(func() { called++ })
		_, err := tx.Delivery(ctx, "one")
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("error %v, want not found", err)
		}
		return nil
	})
}

func TestViewCannotWrite(t *testing.T) { each(t, testViewCannotWrite) }

func testViewCannotWrite(t *testing.T, s *store.Store) {
	err := s.View(t.Context(), func(tx *store.Tx) error {
		_, err := add(t.Context(), s, tx, delivery("one", "one", nil))
		return err
	})
	if err == nil {
		t.Error("a view wrote")
	}
}
