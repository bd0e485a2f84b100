package store_test

import (
	"testing"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
)

func TestClaimEvent(t *testing.T) { each(t, testClaimEvent) }

func testClaimEvent(t *testing.T, s *store.Store) {
	forth, back, on, made := push("a", "b"), push("b", "a"), push("b", "c"), push("", "b")
	gone := push("c", "")
	gone.Deleted = true
	for i, test := range []struct {
		event    event.Event
		delivery string
		want     string
	}{
		{forth, "1", "1"}, {forth, "2", "1"}, {forth, "1", "1"},
		{back, "3", "3"},
		// The same change once more, after it was taken back.
		{forth, "4", "4"},
		{on, "5", "5"},
		// Announced again when the branch has long moved on.
		{forth, "6", "4"}, {back, "7", "3"},
		{gone, "8", "8"},
		{forth, "9", "4"},
		{made, "91", "91"}, {made, "92", "91"},
	} {
		update(t, s, func(tx *store.Tx) error {
			owner, err := tx.ClaimEvent(t.Context(), test.event, test.delivery)
			if owner != test.want {
				t.Errorf("claim %d: owner %q, want %q", i, owner, test.want)
			}
			if err == nil && owner == test.delivery {
				_, err = tx.AdvanceHead(t.Context(), test.event, test.delivery)
			}
			return err
		})
	}
}
