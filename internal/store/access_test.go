package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/store"
)

// TestSessions: a login replaces the one that the browser had, and takes what has ended with it.
func TestSessions(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx, at := t.Context(), time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
		add := func(hash, before string, created, used time.Time) store.Session {
			t.Helper()
			session := store.Session{Hash: hash, Identity: "oidc:ann", Name: "Ann", Claims: []string{"leads"}, CreatedAt: created, UsedAt: used}
			if err := s.AddSession(ctx, session, before, at.Add(-24*time.Hour), at.Add(-time.Hour)); err != nil {
				t.Fatal(err)
			}
			return session
		}
		add("idle", "", at.Add(-3*time.Hour), at.Add(-2*time.Hour))
		add("old", "", at.Add(-48*time.Hour), at)
		add("replaced", "", at, at)
		want := add("new", "replaced", at, at)
		for _, hash := range []string{"idle", "old", "replaced", ""} {
			if got, err := s.Session(ctx, hash); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("session %q: %+v, %v", hash, got, err)
			}
		}
		want.UsedAt = at.Add(time.Minute)
		for _, used := range []time.Time{want.UsedAt, at} { // a late replica
			if err := s.UseSession(ctx, "new", used); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.Session(ctx, "new")
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("error %v (-want +got):\n%s", err, diff)
		}
		if err := errors.Join(s.EndSession(ctx, "new"), s.UseSession(ctx, "new", at)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Session(ctx, "new"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("an ended session: %+v, %v", got, err)
		}
	})
}

// TestTokens: a name has one token at a time, and one that was revoked stays to be seen.
func TestTokens(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx, at := t.Context(), time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
		first := store.Token{ID: "a", Name: "ci", Role: "operator", Hash: "aa", CreatedAt: at, CreatedBy: "root", ExpiresAt: at.Add(time.Hour)}
		second := first
		second.ID, second.CreatedAt = "b", at.Add(time.Minute)
		if err := s.AddToken(ctx, first); err != nil {
			t.Fatal(err)
		}
		if err := s.AddToken(ctx, second); !errors.Is(err, store.ErrTokenExists) {
			t.Errorf("a second token of that name: %v", err)
		}
		if err := errors.Join(s.UseToken(ctx, "a", at.Add(time.Minute)), s.UseToken(ctx, "a", at), s.RevokeToken(ctx, "ci", "ann", at.Add(time.Hour)), s.AddToken(ctx, second)); err != nil {
			t.Fatal(err)
		}
		if err := s.RevokeToken(ctx, "cd", "ann", at); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a token that is not there was revoked: %v", err)
		}
		first.LastUsed, first.RevokedAt, first.RevokedBy = at.Add(time.Minute), at.Add(time.Hour), "ann"
		got, err := s.Tokens(ctx)
		if diff := cmp.Diff([]store.Token{second, first}, got); diff != "" || err != nil {
			t.Errorf("error %v (-want +got):\n%s", err, diff)
		}
		one, err := s.Token(ctx, "a")
		if diff := cmp.Diff(first, one); diff != "" || err != nil {
			t.Errorf("error %v (-want +got):\n%s", err, diff)
		}
		if _, err := s.Token(ctx, "c"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a token that is not there: %v", err)
		}
	})
}
