package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// TestSecretUses: the newest use of a secret stays, whichever replica saves it last, and so does since when it is known.
func TestSecretUses(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		began := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
		clock := &movedClock{at: began}
		s := openAt(t, db, clock.now)
		save := func(uses ...store.SecretUse) {
			t.Helper()
			if err := s.SaveSecretUses(t.Context(), uses); err != nil {
				t.Fatal(err)
			}
		}
		save(store.SecretUse{Connection: "github", Secret: "aa"}, store.SecretUse{Connection: "github", Secret: "bb", LastUsed: began.Add(-time.Minute)})
		clock.add(time.Hour)
		save(store.SecretUse{Connection: "github", Secret: "aa", LastUsed: began.Add(2 * time.Minute)}, store.SecretUse{Connection: "github", Secret: "bb"})
		save(store.SecretUse{Connection: "github", Secret: "aa", LastUsed: began.Add(time.Minute)}, store.SecretUse{Connection: "gitlab", Secret: "aa"})
		got, err := s.SecretUses(t.Context())
		want := []store.SecretUse{
			{Connection: "github", Secret: "aa", Since: began, LastUsed: began.Add(2 * time.Minute)},
			{Connection: "github", Secret: "bb", Since: began, LastUsed: began.Add(-time.Minute)},
			{Connection: "gitlab", Secret: "aa", Since: began.Add(time.Hour)},
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("error %v (-want +got):\n%s", err, diff)
		}
	})
}
