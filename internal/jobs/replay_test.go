package jobs_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// TestReplayBeside replays with a second store on the database of a queue at work.
func TestReplayBeside(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		testReplayBeside(t, newBench(t, db, events), db)
	})
}

func testReplayBeside(t *testing.T, b bench, db storetest.Database) {
	ctx := t.Context()
	failed, pushed := b.decided(t, "unreadable"), b.decided(t, "b")
	beside, err := store.Open(ctx, store.Options{SQLite: db.SQLite, Postgres: db.Postgres, WithoutLock: true})
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close()
	inserter, err := jobs.NewInserter(beside, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if err := beside.Update(ctx, func(tx *store.Tx) error {
		packed, err := beside.Pack(event.Delivery{ID: "waits", Connection: "github", Host: event.GitHub, Key: "waits"})
		if err != nil {
			return err
		}
		_, err = tx.AddDeliveries(ctx, []store.Packed{packed})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	answers, err := inserter.Replay(ctx, []string{"unreadable", "nobody", "b", "waits"})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, store.ErrNotFound, nil, store.ErrUndecided} {
		if !errors.Is(answers[i].Err, want) || (want == nil) != (answers[i].Err == nil) {
			t.Errorf("%s: %v, want %v", answers[i].ID, answers[i].Err, want)
		}
	}
	for _, before := range []store.Delivery{failed, pushed} {
		after := b.ended(t, before.ID)
		if after.State != before.State || !after.UpdatedAt.After(before.UpdatedAt) {
			t.Errorf("%s was %s at %v and is %s at %v", before.ID, before.State, before.UpdatedAt, after.State, after.UpdatedAt)
		}
	}
	if runs := b.runs(t, "b"); len(runs) != 2 {
		t.Errorf("%d runs after the replay, want the 2 of before", len(runs))
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := inserter.Replay(cancelled, []string{"b"}); err == nil {
		t.Error("a replay without a database succeeded")
	}
}

// TestMigrateTogether migrates a fresh database from many stores at once.
func TestMigrateTogether(t *testing.T) {
	dsn := storetest.Postgres(t)
	var wg sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		wg.Go(func() {
			s, err := store.Open(t.Context(), store.Options{Postgres: dsn})
			if err == nil {
				err = errors.Join(jobs.Migrate(t.Context(), s, zap.NewNop()), s.Close())
			}
			errs[i] = err
		})
	}
	wg.Wait()
	if slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		t.Error(errors.Join(errs...))
	}
}
