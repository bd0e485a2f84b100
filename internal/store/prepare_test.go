package store

import (
	"path/filepath"
	"testing"
)

// TestPreparedOnce: a query that one transaction runs many times is prepared once, for
// what is prepared is kept until the end.
func TestPreparedOnce(t *testing.T) {
	s, err := Open(t.Context(), Options{SQLite: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	look := func() {
		t.Helper()
		if err := s.Update(t.Context(), func(tx *Tx) error {
			for range 100 {
				if _, _, err := tx.Head(t.Context(), "main"); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	look()
	writing := s.database.(*sqliteDatabase).writing
	if len(writing.wanted) != 1 {
		t.Fatalf("%d queries are to be prepared, want 1", len(writing.wanted))
	}
	look()
	if len(writing.wanted) != 0 {
		t.Errorf("%d queries are to be prepared, want none", len(writing.wanted))
	}
}
