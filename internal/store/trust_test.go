package store_test

import (
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
)

// TestTrust: trust is for one commit of one merge request of one repository, and is given once; whoever
// waits for it is told, whichever comes first.
func TestTrust(t *testing.T) { each(t, testTrust) }

func testTrust(t *testing.T, s *store.Store) {
	ctx := t.Context()
	commit := func(repository string, number int, sha string) event.Event {
		return event.Event{Connection: "c", Kind: event.MergeRequest, Repository: event.Repository{ID: repository, FullName: "acme/api"}, Number: number, HeadSHA: sha}
	}
	await := func(ev event.Event, delivery string, want bool) {
		t.Helper()
		update(t, s, func(tx *store.Tx) error {
			given, err := tx.AwaitTrust(ctx, ev, delivery)
			if given != want {
				t.Errorf("%s awaits trust: given %t", delivery, given)
			}
			return err
		})
	}
	give := func(ev event.Event, actor, wantDelivery string, wantNew bool) {
		t.Helper()
		update(t, s, func(tx *store.Tx) error {
			delivery, isNew, err := tx.GiveTrust(ctx, ev, actor, "read it")
			if delivery != wantDelivery || isNew != wantNew {
				t.Errorf("%s gives trust: delivery %q, new %t", actor, delivery, isNew)
			}
			return err
		})
	}
	trusted := func(ev event.Event, want string) {
		t.Helper()
		update(t, s, func(tx *store.Tx) error {
			got, found, err := tx.Trust(ctx, ev)
			if got.Actor != want || found != (want != "") {
				t.Errorf("trust is %+v, found %t", got, found)
			}
			return err
		})
	}
	ev := commit("1", 7, "a")
	trusted(ev, "")
	await(ev, "first", false)
	await(ev, "second", false)
	trusted(ev, "")
	give(ev, "ann", "second", true)
	give(ev, "bob", "", false)
	await(ev, "third", true)
	trusted(ev, "ann")
	for _, other := range []event.Event{commit("1", 7, "b"), commit("1", 8, "a"), commit("2", 7, "a")} {
		trusted(other, "")
	}

	early := commit("1", 9, "a")
	give(early, "ann", "", true)
	await(early, "fourth", true)
	trusted(early, "ann")

	removed, err := s.Expire(ctx, time.Now().Add(24*time.Hour), time.Hour, time.Hour, 10)
	if err != nil || removed.Trust != 2 {
		t.Errorf("%d rows of trust removed, error %v", removed.Trust, err)
	}
	trusted(ev, "")
}
