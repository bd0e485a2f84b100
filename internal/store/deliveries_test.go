package store_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

func delivery(id, key string, body []byte) event.Delivery {
	return event.Delivery{
		ID: id, Connection: "github", Host: event.GitHub, Key: key, HostID: key, Event: "push", ReceivedAt: noon,
		Header: map[string][]string{"X-Github-Event": {"push"}}, Body: body,
	}
}

// add stores one delivery.
func add(ctx context.Context, s *store.Store, tx *store.Tx, d event.Delivery) (store.Stored, error) {
	packed, err := s.Pack(d)
	if err != nil {
		return store.Stored{}, err
	}
	stored, err := tx.AddDeliveries(ctx, []store.Packed{packed})
	if err != nil {
		return store.Stored{}, err
	}
	return stored[0], nil
}

func TestDeliveryKeepsEveryByte(t *testing.T) { each(t, testDeliveryKeepsEveryByte) }

func testDeliveryKeepsEveryByte(t *testing.T, s *store.Store) {
	bodies := map[string][]byte{
		"empty":        {},
		"short":        []byte(`{}`),
		"zero bytes":   {0, 1, 2, 0, 255},
		"compressible": bytes.Repeat([]byte(`{"ref":"refs/heads/main"}`), 2000),
	}
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			want := delivery("id-"+name, "key-"+name, body)
			if name == "short" {
				want.Scope = []string{"acme/*", `!acme/"quoted", ünd`}
			}
			var got store.Delivery
			update(t, s, func(tx *store.Tx) error {
				stored, err := add(t.Context(), s, tx, want)
				if err != nil || stored.Duplicate {
					return fmt.Errorf("known %v, error %w", stored.Duplicate, err)
				}
				got, err = tx.Delivery(t.Context(), want.ID)
				return err
			})
			if diff := cmp.Diff(want, got.Delivery, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("delivery changed (-want +got):\n%s", diff)
			}
			if got.State != event.DeliveryReceived {
				t.Errorf("state %q, want received", got.State)
			}
		})
	}
}

func TestDeliveryIsKnownByConnectionAndKey(t *testing.T) {
	each(t, testDeliveryIsKnownByConnectionAndKey)
}

func testDeliveryIsKnownByConnectionAndKey(t *testing.T, s *store.Store) {
	ctx := t.Context()
	update(t, s, func(tx *store.Tx) error {
		if _, err := add(ctx, s, tx, delivery("first", "guid", nil)); err != nil {
			return err
		}
		return tx.EndDelivery(ctx, "first", event.DeliveryFailed, "not readable", store.Said{}, nil)
	})
	other := delivery("third", "guid", nil)
	other.Connection = "github-2"
	for _, test := range []struct {
		d             event.Delivery
		wantID        string
		wantState     event.DeliveryState
		wantDuplicate bool
	}{
		{delivery("second", "guid", nil), "first", event.DeliveryFailed, true},
		{other, "third", event.DeliveryReceived, false},
	} {
		update(t, s, func(tx *store.Tx) error {
			got, err := add(ctx, s, tx, test.d)
			if want := (store.Stored{ID: test.wantID, State: test.wantState, Duplicate: test.wantDuplicate}); got != want {
				t.Errorf("add %s: got %+v, want %+v", test.d.ID, got, want)
			}
			return err
		})
	}
}

func TestSameDeliveryAtOnceIsStoredOnce(t *testing.T) { each(t, testSameDeliveryAtOnceIsStoredOnce) }

func testSameDeliveryAtOnceIsStoredOnce(t *testing.T, s *store.Store) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	stored := 0
	for i := range 16 {
		wg.Go(func() {
			err := s.Update(t.Context(), func(tx *store.Tx) error {
				got, err := add(t.Context(), s, tx, delivery(fmt.Sprint(i), "guid", nil))
				mu.Lock()
				defer mu.Unlock()
				if !got.Duplicate {
					stored++
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if stored != 1 {
		t.Errorf("stored %d times, want once", stored)
	}
}

// TestManyAtOnce stores more than one statement's worth, some of it twice.
func TestManyAtOnce(t *testing.T) { each(t, testManyAtOnce) }

func testManyAtOnce(t *testing.T, s *store.Store) {
	var list []store.Packed
	for i := range 100 {
		packed, err := s.Pack(delivery(fmt.Sprint("id-", i), fmt.Sprint("key-", i%70), []byte("{}")))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, packed)
	}
	for _, wantNew := range []int{70, 0} {
		update(t, s, func(tx *store.Tx) error {
			stored, err := tx.AddDeliveries(t.Context(), list)
			fresh := 0
			for i, got := range stored {
				if want := fmt.Sprint("id-", i%70); got.ID != want {
					t.Errorf("delivery %d is stored as %s, want %s", i, got.ID, want)
				}
				if !got.Duplicate {
					fresh++
				}
			}
			if fresh != wantNew {
				t.Errorf("%d are new, want %d", fresh, wantNew)
			}
			return err
		})
	}
}

func TestDecisionIsKept(t *testing.T) { each(t, testDecisionIsKept) }

func testDecisionIsKept(t *testing.T, s *store.Store) {
	ctx := t.Context()
	want := &rules.Decision{
		Outcome: rules.Matched, Reason: "rule matched",
		Trace: []rules.RuleTrace{{Rule: "a", Result: rules.RuleMatched, Clauses: []rules.Clause{{Field: "on", Holds: true, Text: "event is push"}}}},
	}
	update(t, s, func(tx *store.Tx) error {
		if _, err := add(ctx, s, tx, delivery("one", "one", nil)); err != nil {
			return err
		}
		return tx.EndDelivery(ctx, "one", event.DeliveryDecided, want.Reason, store.Said{}, want)
	})
	var got []store.Delivery
	var none []store.Delivery
	if err := s.View(ctx, func(tx *store.Tx) (err error) {
		if none, err = tx.Deliveries(ctx, store.Filter{States: []string{string(event.DeliveryFailed)}, Limit: 10}); err != nil {
			return err
		}
		got, err = tx.Deliveries(ctx, store.Filter{States: []string{string(event.DeliveryDecided)}, Limit: 10})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(none) != 0 || len(got) != 1 {
		t.Fatalf("listed %d failed and %d decided, want 0 and 1", len(none), len(got))
	}
	if diff := cmp.Diff(want, got[0].Decision); diff != "" {
		t.Errorf("decision changed (-want +got):\n%s", diff)
	}
}

func TestOldestUndecided(t *testing.T) { each(t, testOldestUndecided) }

func testOldestUndecided(t *testing.T, s *store.Store) {
	ctx := t.Context()
	oldest := func() (at time.Time) {
		if err := s.View(ctx, func(tx *store.Tx) (err error) { at, err = tx.OldestUndecided(ctx); return err }); err != nil {
			t.Fatal(err)
		}
		return at
	}
	if at := oldest(); !at.IsZero() {
		t.Errorf("oldest of nothing is %v", at)
	}
	update(t, s, func(tx *store.Tx) error {
		_, err := add(ctx, s, tx, delivery("one", "one", nil))
		return err
	})
	if at := oldest(); !at.Equal(noon) {
		t.Errorf("oldest is %v, want %v", at, noon)
	}
}
