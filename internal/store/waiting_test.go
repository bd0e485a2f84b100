package store_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// TestWaiting walks a run and a release through their waits.
func TestWaiting(t *testing.T) { storetest.Each(t, testWaiting) }

func testWaiting(t *testing.T, db storetest.Database) {
	ctx := t.Context()
	s, now := clocked(t, db)
	r := run("waiting run", "rule", "a")
	rel := release.Release{ID: "waiting release", RunID: "run", State: release.Starting, CreatedAt: noon, Deadline: noon.Add(2 * time.Hour)}
	other := run("other", "rule-2", "a")
	update(t, s, func(tx *store.Tx) error {
		if _, err := add(ctx, s, tx, delivery("delivery", "delivery", nil)); err != nil {
			return err
		}
		for _, r := range []codecheck.Run{r, other} {
			if _, _, err := tx.AddRun(ctx, r); err != nil {
				return err
			}
		}
		if _, err := tx.AddRelease(ctx, rel); err != nil {
			return err
		}
		return errors.Join(tx.RunWaits(ctx, r.ID, other.ID), tx.ReleaseWaits(ctx, rel.ID, "delivery"))
	})
	wake := func(id string, want ...string) {
		t.Helper()
		update(t, s, func(tx *store.Tx) error {
			runs, releases, err := tx.Wake(ctx, []string{id})
			got := slices.Sorted(maps.Keys(runs))
			got = append(got, slices.Sorted(maps.Keys(releases))...)
			if !slices.Equal(got, want) {
				t.Errorf("%q wakes %q, want %q", id, got, want)
			}
			return err
		})
	}
	wake("")
	wake(other.ID, r.ID)
	wake(other.ID)
	wake("delivery", rel.ID)
	wait := func() {
		t.Helper()
		update(t, s, func(tx *store.Tx) error {
			return errors.Join(tx.RunWaits(ctx, r.ID, other.ID), tx.ReleaseWaits(ctx, rel.ID, "delivery"))
		})
	}
	wait()
	stale := func(after time.Duration, want ...string) {
		t.Helper()
		*now = noon.Add(after)
		update(t, s, func(tx *store.Tx) error {
			runs, err := tx.StaleRuns(ctx, now.Add(-time.Minute), 10)
			releases, err2 := tx.StaleReleases(ctx, now.Add(-time.Minute), 10)
			got := slices.Sorted(maps.Keys(runs))
			got = append(got, slices.Sorted(maps.Keys(releases))...)
			if !slices.Equal(got, want) {
				t.Errorf("after %s %q are stale, want %q", after, got, want)
			}
			return errors.Join(err, err2)
		})
	}
	stale(10*time.Minute, other.ID)
	// The run's deadline has passed.
	stale(time.Hour, other.ID, r.ID)
	// What they wait for has ended, and nobody told them.
	update(t, s, func(tx *store.Tx) error {
		other.State = codecheck.Passed
		return errors.Join(tx.SaveRun(ctx, other, new(store.Version)), tx.EndDelivery(ctx, "delivery", event.DeliveryDecided, "", store.Said{}, nil))
	})
	stale(70*time.Minute, r.ID, rel.ID)
	// A save ends a wait.
	update(t, s, func(tx *store.Tx) error {
		return errors.Join(tx.SaveRun(ctx, r, new(store.Version)), tx.SaveRelease(ctx, rel, new(store.Version)))
	})
	wake(other.ID)
	wake("delivery")
}

// TestLockedRecordsWait holds that a record which another one is about to wait for cannot
// change before that wait is committed, so that the change finds it.
func TestLockedRecordsWait(t *testing.T) {
	dsn := storetest.Postgres(t)
	s := open(t, storetest.Database{Postgres: dsn})
	ctx := t.Context()
	r, waits := run("run", "rule", "a"), run("waits", "rule-2", "a")
	update(t, s, func(tx *store.Tx) error {
		for _, r := range []codecheck.Run{r, waits} {
			if _, _, err := tx.AddRun(ctx, r); err != nil {
				return err
			}
		}
		return nil
	})
	ended := make(chan error, 1)
	update(t, s, func(tx *store.Tx) error {
		if _, err := tx.LockRun(ctx, r.ID); err != nil {
			return err
		}
		go func() { ended <- endAndLook(ctx, s, r, waits.ID) }()
		// The other transaction stands at the lock before this one goes on.
		if err := blocked(ctx, s); err != nil {
			return err
		}
		return tx.RunWaits(ctx, waits.ID, r.ID)
	})
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// endAndLook ends a run and fails unless it sees the one that waits for it.
func endAndLook(ctx context.Context, s *store.Store, r codecheck.Run, waits string) error {
	return s.Update(ctx, func(tx *store.Tx) error {
		r.State = codecheck.Passed
		if err := tx.SaveRun(ctx, r, new(store.Version)); err != nil {
			return err
		}
		runs, _, err := tx.Wake(ctx, []string{r.ID})
		if _, found := runs[waits]; !found {
			return errors.Join(err, errors.New("the run that waits was not seen"))
		}
		return err
	})
}

// blocked returns when a session of the database waits for a lock.
func blocked(ctx context.Context, s *store.Store) error {
	for {
		var waiting int
		err := s.Postgres().QueryRow(ctx, `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting)
		if err != nil || waiting > 0 {
			return err
		}
	}
}
