package store_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/audit"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// verifyAudit verifies the whole audit log.
func verifyAudit(t *testing.T, s *store.Store, expected ...audit.Expected) audit.Result {
	t.Helper()
	v := audit.NewVerifier(expected...)
	if err := s.View(t.Context(), func(tx *store.Tx) error { return tx.EachAudit(t.Context(), v.Add) }); err != nil {
		t.Fatal(err)
	}
	return v.Result()
}

func entry(action string) audit.Entry {
	return audit.Entry{Kind: audit.Login, Actor: "ann\x00", Action: action, Reason: "\xff", Details: `{"a":"安"}`}
}

// TestAuditIsInTheTransaction writes a row with what it records, or neither.
func TestAuditIsInTheTransaction(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		boom := errors.New("boom")
		err := s.Update(ctx, func(tx *store.Tx) error {
			if err := tx.AddAction(ctx, store.Action{ID: "a", Kind: store.RecordRun, RecordID: "r", Name: store.ActionStop, Actor: "ann", Reason: "why"}); err != nil {
				return err
			}
			return boom
		})
		if !errors.Is(err, boom) || verifyAudit(t, s).Rows != 0 {
			t.Fatalf("error %v, log %+v", err, verifyAudit(t, s))
		}
		if err := s.Update(ctx, func(tx *store.Tx) error { return tx.Audit(ctx, audit.Entry{Kind: audit.Login}) }); err == nil {
			t.Error("an entry without actor and action was taken")
		}
		update(t, s, func(tx *store.Tx) error {
			if err := tx.Audit(ctx, entry("first")); err != nil {
				return err
			}
			return tx.AddAction(ctx, store.Action{ID: "a", Kind: store.RecordRun, RecordID: "r", Name: store.ActionStop, Actor: "ann", Reason: "why", Details: "x"})
		})
		update(t, s, func(tx *store.Tx) error { return tx.Audit(ctx, entry("third")) })
		got := verifyAudit(t, s)
		if got.Rows != 3 || got.Last != 3 || len(got.Problems) > 0 {
			t.Errorf("log %+v", got)
		}
		if err := s.View(ctx, func(tx *store.Tx) error {
			rows, err := tx.AuditRows(ctx, store.AuditFilter{RecordID: "r"})
			if err != nil || len(rows) != 1 {
				t.Fatalf("rows %+v, error %v", rows, err)
			}
			if e := rows[0]; e.Kind != audit.Action || e.Actor != "ann" || e.Action != "stop" || e.RecordKind != "run" || e.Reason != "why" || e.Details != "x" || !e.At.Equal(noon) {
				t.Errorf("row %+v", e)
			}
			rows, err = tx.AuditRows(ctx, store.AuditFilter{Kind: audit.Login, Before: 3, Limit: 5, Actor: "ann\uFFFD"})
			if err != nil || len(rows) != 1 || rows[0].Action != "first" || rows[0].Reason != "\uFFFD" {
				t.Errorf("rows %+v, error %v", rows, err)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// TestAuditRefusesChanges lets the database itself refuse what is not an append.
func TestAuditRefusesChanges(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		s := open(t, db)
		ctx := t.Context()
		for i := range 3 {
			update(t, s, func(tx *store.Tx) error { return tx.Audit(ctx, entry(fmt.Sprint(i))) })
		}
		statements := []string{`UPDATE audit SET actor = 'bob' WHERE seq = 2`, `UPDATE audit SET hash = hash`, `DELETE FROM audit WHERE seq = 3`, `DELETE FROM audit WHERE seq = 1`, `DELETE FROM audit`}
		if db.Postgres != "" {
			statements = append(statements, `TRUNCATE audit`)
		}
		for _, statement := range statements {
			err := s.Update(ctx, func(tx *store.Tx) error { return tx.ExecForTest(ctx, statement) })
			if err == nil || !strings.Contains(err.Error(), "append-only") {
				t.Errorf("%s: error %v", statement, err)
			}
		}
		if got := verifyAudit(t, s); got.Rows != 3 || len(got.Problems) > 0 {
			t.Errorf("log %+v", got)
		}
	})
}

// TestAuditOfReplicas appends from several processes at once: one chain, no deadlock, nothing lost.
func TestAuditOfReplicas(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		first := open(t, db)
		replicas := []*store.Store{first, first}
		if db.Postgres != "" {
			replicas[1] = open(t, db)
		}
		ctx := t.Context()
		const writers, each = 8, 15
		var wait sync.WaitGroup
		for w := range writers {
			wait.Go(func() {
				s := replicas[w%len(replicas)]
				for i := range each {
					// Others lock rows in between, in different orders.
					err := s.Update(ctx, func(tx *store.Tx) error {
						if err := tx.Audit(ctx, entry("one")); err != nil {
							return err
						}
						if err := tx.AddAction(ctx, store.Action{ID: fmt.Sprint(w, " ", i), Kind: store.RecordRun, RecordID: fmt.Sprint(i % 3), Name: store.ActionStop, Actor: "ann"}); err != nil {
							return err
						}
						_, _, err := tx.LockHead(ctx, fmt.Sprint((w+i)%3))
						return err
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wait.Wait()
		if got := verifyAudit(t, first); got.Rows != 2*writers*each || len(got.Problems) > 0 {
			t.Errorf("log %+v", got)
		}
	})
}

// TestTrimAudit removes a prefix, and the rest still verifies.
func TestTrimAudit(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		ctx := t.Context()
		now := noon
		s, err := store.Open(ctx, store.Options{SQLite: db.SQLite, Postgres: db.Postgres, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		add := func() audit.Result {
			update(t, s, func(tx *store.Tx) error { return tx.Audit(ctx, entry("x")) })
			return verifyAudit(t, s)
		}
		trim := func(want int64) {
			t.Helper()
			if n, err := s.TrimAudit(ctx, now.Add(-time.Hour)); err != nil || n != want {
				t.Fatalf("removed %d, want %d, error %v", n, want, err)
			}
		}
		trim(0) // an empty log
		var known []audit.Result
		for range 5 {
			known = append(known, add())
			now = now.Add(20 * time.Minute)
		}
		trim(2)
		got := verifyAudit(t, s, audit.Expected{Seq: 4, Hash: known[3].Hash})
		if len(got.Problems) > 0 || got.First != 3 || got.Last != 6 {
			t.Fatalf("log %+v", got)
		}
		trim(0) // nothing new is old
		if again := verifyAudit(t, s); again.Last != 6 {
			t.Errorf("log %+v", again)
		}
		now = now.Add(48 * time.Hour)
		trim(3) // the newest one stays, and the note follows it
		got = verifyAudit(t, s)
		if len(got.Problems) > 0 || got.First != 6 || got.Last != 7 {
			t.Errorf("log %+v", got)
		}
		add()
		if got := verifyAudit(t, s); len(got.Problems) > 0 || got.Rows != 3 {
			t.Errorf("log %+v", got)
		}
	})
}
