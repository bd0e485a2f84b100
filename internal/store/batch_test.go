package store_test

import (
	"path/filepath"
	"testing"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
)

// TestManySizes stores batches of all sizes, each more than once.
func TestManySizes(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{SQLite: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	total := 0
	for range 3 {
		for size := range 70 {
			list := make([]store.Packed, size)
			for i := range list {
				total++
				id := string(rune(total))
				if list[i], err = s.Pack(event.Delivery{ID: id, Connection: "github", Host: event.GitHub, Key: id, Body: []byte(id)}); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Update(t.Context(), func(tx *store.Tx) error {
				stored, err := tx.AddDeliveries(t.Context(), list)
				for i, answer := range stored {
					if answer.Duplicate || answer.ID != list[i].ID {
						t.Errorf("delivery %d of %d: %+v", i, size, answer)
					}
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.View(t.Context(), func(tx *store.Tx) error {
		list, err := tx.Deliveries(t.Context(), store.Filter{Limit: total + 1})
		if len(list) != total {
			t.Errorf("%d deliveries, want %d", len(list), total)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
