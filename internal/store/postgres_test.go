package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// TestStandbyTakesNoWrites holds that a server which begins transactions and refuses every
// write, as a hot standby does, is not called writable.
func TestStandbyTakesNoWrites(t *testing.T) {
	dsn := storetest.Postgres(t)
	open(t, storetest.Database{Postgres: dsn})
	standby, err := store.Open(t.Context(), store.Options{Postgres: dsn + " options='-c default_transaction_read_only=on'", ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer standby.Close()
	if err := standby.Writable(t.Context()); err == nil || !strings.Contains(err.Error(), "connect to the primary") {
		t.Errorf("writable: %v", err)
	}
}

// TestSchemaLock holds that the lock belongs to a transaction, so that it does not stay
// behind in a session of a pooler, and ends also when what it protects fails.
func TestSchemaLock(t *testing.T) {
	s := open(t, storetest.Database{Postgres: storetest.Postgres(t)})
	locks := func(state string) (n int) {
		t.Helper()
		err := s.Postgres().QueryRow(t.Context(), `SELECT COUNT(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
			WHERE l.locktype = 'advisory' AND a.datname = current_database() AND a.state LIKE $1`, state).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	failed := errors.New("failed")
	err := s.WithSchemaLock(t.Context(), func(context.Context) error {
		if n := locks("idle in transaction"); n != 1 {
			t.Errorf("%d advisory locks of open transactions, want 1", n)
		}
		return failed
	})
	if !errors.Is(err, failed) {
		t.Errorf("error %v, want the function's own", err)
	}
	if n := locks("%"); n != 0 {
		t.Errorf("%d advisory locks are left", n)
	}
}
