package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// TestGathered: a delivery waits for its files from when it was first asked for them until they
// are saved; what was saved is not asked for again, and is gone with the decision.
func TestGathered(t *testing.T) { storetest.Each(t, testGathered) }

func testGathered(t *testing.T, db storetest.Database) {
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	s, err := store.Open(t.Context(), store.Options{SQLite: db.SQLite, Postgres: db.Postgres, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := t.Context()
	update := func(fn func(tx *store.Tx) error) {
		t.Helper()
		if err := s.Update(ctx, fn); err != nil {
			t.Fatal(err)
		}
	}
	read := func(id string) (d store.Delivery) {
		t.Helper()
		update(func(tx *store.Tx) (err error) { d, err = tx.Delivery(ctx, id); return err })
		return d
	}
	ask := func(id string, want bool) {
		t.Helper()
		update(func(tx *store.Tx) error {
			_, waits, err := tx.Ask(ctx, id, false)
			if waits != want {
				t.Errorf("asked for files of %s: %t", id, waits)
			}
			return err
		})
	}
	save := func(id string, files event.Files, want bool) {
		t.Helper()
		update(func(tx *store.Tx) error {
			saved, err := tx.SaveGathered(ctx, id, event.Gathered{Files: &files})
			if saved != want {
				t.Errorf("saved files of %s: %t", id, saved)
			}
			return err
		})
	}
	var list []store.Packed
	for _, id := range []string{"1", "2"} {
		packed, err := s.Pack(event.Delivery{ID: id, Connection: "c", Host: event.GitHub, Key: id, ReceivedAt: now})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, packed)
	}
	update(func(tx *store.Tx) error { _, err := tx.AddDeliveries(ctx, list); return err })

	files := event.NewFiles([]string{"a\x00b.go", "c.go"}, "cut\x00")
	files.FromHost, files.AskHost = true, true
	save("1", files, false)
	update(func(tx *store.Tx) error { return tx.BeginDecision(ctx, "1") })
	asked := now
	ask("1", true)
	now = now.Add(time.Minute)
	ask("1", true)
	if d := read("1"); !d.Asked || d.Gathered != nil || !d.UpdatedAt.Equal(asked) || d.State != event.DeliveryReceived {
		t.Errorf("while it waits it is %+v", d)
	}
	update(func(tx *store.Tx) error {
		own, others, err := tx.UndecidedWith(ctx, []string{"2"}, 10, time.Time{}, 1000)
		if err != nil {
			return err
		}
		if len(own) != 1 || len(others) != 0 {
			t.Errorf("decided with delivery 2: %v, %v", own, others)
		}
		own, others, err = tx.UndecidedWith(ctx, []string{"1"}, 10, time.Time{}, 1000)
		if len(own) != 1 || own[0].Attempts != 0 || len(others) != 1 {
			t.Errorf("decided with delivery 1: %v, %v", own, others)
		}
		return err
	})
	save("1", files, true)
	save("1", event.Files{}, false)
	ask("1", false)
	if d := read("1"); d.Gathered == nil || !slices.Equal(d.Gathered.Files.Paths, files.Paths) || d.Gathered.Files.Unknown != files.Unknown || !d.Gathered.Files.FromHost || d.Gathered.Files.AskHost {
		t.Errorf("what was saved is %+v", d.Gathered)
	}
	update(func(tx *store.Tx) error {
		_, waits, err := tx.Ask(ctx, "1", true)
		if !waits {
			t.Error("it is not asked again")
		}
		return err
	})
	save("1", files, true)
	update(func(tx *store.Tx) error {
		return tx.EndDelivery(ctx, "1", event.DeliveryDecided, "decided", store.Said{}, nil)
	})
	ask("1", false)
	save("1", files, false)
	if d := read("1"); d.Asked || d.Gathered != nil {
		t.Errorf("after the decision it has %+v", d.Gathered)
	}
	update(func(tx *store.Tx) error { return tx.Replay(ctx, "1") })
	ask("1", true)
}
