package view_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/golden"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
	"github.com/gatewright/gatewright/internal/view"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

// onEach runs a test on a store of each kind with the records of fill.
func onEach(t *testing.T, test func(t *testing.T, s *store.Store)) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		s, err := store.Open(t.Context(), store.Options{SQLite: db.SQLite, Postgres: db.Postgres, Now: func() time.Time { return noon.Add(time.Second) }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		if err := s.Update(t.Context(), func(tx *store.Tx) error { return fill(t.Context(), s, tx) }); err != nil {
			t.Fatal(err)
		}
		test(t, s)
	})
}

// TestOverview and TestChange hold what the pages show, on both databases.
func TestOverview(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		err := s.Update(t.Context(), func(tx *store.Tx) error { return fillMore(t.Context(), tx) })
		if err != nil {
			t.Fatal(err)
		}
		err = s.View(t.Context(), func(tx *store.Tx) error {
			o, err := view.NewOverview(t.Context(), tx, noon.Add(10*time.Minute), time.Minute)
			golden.JSON(t, "testdata/pages/overview.golden", o)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// fillMore adds a run without a verdict, and releases that need a person.
func fillMore(ctx context.Context, tx *store.Tx) error {
	run, err := tx.Run(ctx, "0c-abc")
	if err != nil {
		return err
	}
	run.ID, run.State, run.Reason, run.Verdict, run.Rule = "1a-abc", codecheck.Errored, "the deadline passed", nil, "third"
	if _, _, err := tx.AddRun(ctx, run); err != nil {
		return err
	}
	r, err := tx.Release(ctx, "0e-abc")
	if err != nil {
		return err
	}
	r.State, r.Reason, r.Waiting, r.FinishedAt = release.Unknown, "the answer was lost", nil, noon.Add(time.Minute)
	for i, state := range []release.State{release.Unknown, release.Failed, release.Running} {
		r.ID, r.RunID, r.State = fmt.Sprintf("1b-%d", i), fmt.Sprintf("1c-%d", i), state
		if _, err := tx.AddRelease(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func TestChange(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		err := s.View(t.Context(), func(tx *store.Tx) error {
			for _, id := range []string{"0a", "0c-abc", "0e", "90-abc"} {
				delivery, _, err := view.FindDelivery(t.Context(), tx, id)
				if err != nil || delivery != "0a-de" {
					return fmt.Errorf("delivery of %s: %q, %w", id, delivery, err)
				}
			}
			c, err := view.NewChange(t.Context(), tx, "0a-de", noon.Add(10*time.Minute))
			golden.JSON(t, "testdata/pages/change.golden", c)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// TestOverviewAtScale: with many records an overview reads the newest ones and those that are not
// settled, not the table.
func TestOverviewAtScale(t *testing.T) {
	if testing.Short() {
		t.Skip("it fills a database")
	}
	onEach(t, func(t *testing.T, s *store.Store) {
		const records = 20_000
		err := s.Update(t.Context(), func(tx *store.Tx) error {
			template, err := tx.Release(t.Context(), "0e-abc")
			if err != nil {
				return err
			}
			var packed []store.Packed
			for i := range records {
				at := noon.Add(-time.Duration(i) * time.Second)
				p, err := s.Pack(event.Delivery{ID: fmt.Sprintf("x%07d", i), Connection: "github", Host: event.GitHub, Key: fmt.Sprint("x", i), ReceivedAt: at, Body: []byte("{}")})
				if err != nil {
					return err
				}
				packed = append(packed, p)
				if i%10 == 0 {
					r := template
					r.ID, r.RunID, r.State, r.CreatedAt, r.FinishedAt = fmt.Sprintf("y%07d", i), fmt.Sprintf("z%07d", i), release.Failed, at, at
					if _, err := tx.AddRelease(t.Context(), r); err != nil {
						return err
					}
				}
			}
			_, err = tx.AddDeliveries(t.Context(), packed)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		err = s.View(t.Context(), func(tx *store.Tx) error {
			began := time.Now()
			o, err := view.NewOverview(t.Context(), tx, noon, time.Minute)
			t.Logf("read in %s", time.Since(began))
			if len(o.Needs) == 0 || !o.MoreNeeds || o.Waiting < 3000 {
				t.Errorf("%d needs, more %t, %d waiting", len(o.Needs), o.MoreNeeds, o.Waiting)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestPayload(t *testing.T) {
	stored := func(contentType, body string) store.Delivery {
		return store.Delivery{Delivery: event.Delivery{Header: map[string][]string{"Content-Type": {contentType}, "X-Gitlab-Token": {"abc"}}, Body: []byte(body)}}
	}
	for _, c := range []struct{ kind, body, want string }{
		{"application/json", `{"a":{"client_secret":"s3cret","n":12345678901234567890},"b":["<b>"]}`, "{\n  \"a\": {\n    \"client_secret\": \"<secret>\",\n    \"n\": 12345678901234567890\n  },\n  \"b\": [\n    \"<b>\"\n  ]\n}\n"},
		{"application/x-www-form-urlencoded", "payload=%7B%22password%22%3A%22x%22%7D", "{\n  \"password\": \"<secret>\"\n}\n"},
		{"application/json", "not JSON \xff", "not JSON �"},
	} {
		p := view.NewPayload(stored(c.kind, c.body))
		if p.Text != c.want {
			t.Errorf("%s: %q, want %q", c.body, p.Text, c.want)
		}
		if len(p.Header) != 1 || http.Header(p.Header).Get("Content-Type") != c.kind {
			t.Errorf("headers %v", p.Header)
		}
	}
	if p := view.NewPayload(stored("text/plain", strings.Repeat("界", 200_000))); !p.Cut || len(p.Text) > 256<<10 || strings.Contains(p.Text, "�") {
		t.Errorf("cut %t, %d bytes", p.Cut, len(p.Text))
	}
}
