package view_test

import (
	"context"
	"encoding/json"
	"errors"
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
		{"application/json", `{"a":{"client_secret":"s3cret","n":12345678901234567890},"b":["<b>"]}`, `{"a":{"client_secret":"(removed)","n":12345678901234567890},"b":["\u003cb\u003e"]}`},
		{"application/x-www-form-urlencoded", "payload=%7B%22password%22%3A%22x%22%7D", `{"password":"(removed)"}`},
	} {
		p, err := view.NewPayload(stored(c.kind, c.body))
		body, failed := json.Marshal(p.Body)
		if err != nil || failed != nil || string(body) != c.want {
			t.Errorf("%s: %s, want %s, errors %v, %v", c.body, body, c.want, err, failed)
		}
		if http.Header(p.Headers).Get("X-Gitlab-Token") != "(removed)" || http.Header(p.Headers).Get("Content-Type") != c.kind || p.Removed != 2 {
			t.Errorf("%d removed, headers %v", p.Removed, p.Headers)
		}
	}
	if _, err := view.NewPayload(stored("application/json", "not JSON, password=hunter2")); !errors.Is(err, view.ErrNotShown) {
		t.Errorf("no JSON: %v", err)
	}
	gone := stored("application/json", "")
	gone.PayloadRemoved = true
	if _, err := view.NewPayload(gone); !errors.Is(err, store.ErrPayloadRemoved) {
		t.Errorf("removed: %v", err)
	}
}

// TestPayloadWithoutSecrets: what may be a secret is removed, wherever it stands.
func TestPayloadWithoutSecrets(t *testing.T) {
	text := `{"password": "hunter2", "sign": "c2ln", "hook": {"config": {"secret": "hunter2", "url": "https://ann:hunter2@example.com/x?token=hunter2&a=1"}}, "list": [{"access_token": "hunter2"}],
		"text": "see ghp_hunter2hunter2hunter2hunter2", "tokens_url": "https://api.github.com/tokens", "ref": "refs/heads/main", "token": 2}`
	p, err := view.NewPayload(store.Delivery{Delivery: event.Delivery{Body: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(p.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, kept := range []string{"refs/heads/main", "https://api.github.com/tokens", "a=1"} {
		if !strings.Contains(string(out), kept) {
			t.Errorf("%q is gone: %s", kept, out)
		}
	}
	if strings.Contains(string(out), "hunter2") || strings.Contains(string(out), "c2ln") || p.Removed < 7 {
		t.Errorf("%d removed: %s", p.Removed, out)
	}
}
