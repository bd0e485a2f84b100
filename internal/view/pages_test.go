package view_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/audit"
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

// TestHoldSpans holds how a timeline shows what a release waited for before it acted.
func TestHoldSpans(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
		until := at(600)
		err := s.Update(t.Context(), func(tx *store.Tx) error {
			for i, r := range []release.Release{
				{State: release.Held, Hold: &release.Hold{Since: at(1), Until: until, Wanted: 2, Missing: 1}},
				{State: release.Held, Hold: &release.Hold{Since: at(1), Until: until, Wanted: 2, Window: "weekdays"}},
				{State: release.Starting, Hold: &release.Hold{Since: at(1), Until: until, Wanted: 1}},
				{State: release.Succeeded, Hold: &release.Hold{Since: at(1), Until: until, Wanted: 1}, Actions: []release.Action{{At: at(3)}}, StartedAt: at(4), FinishedAt: at(5)},
				{State: release.Succeeded, Hold: &release.Hold{Since: at(1), Until: until}, Actions: []release.Action{{At: at(3)}}, StartedAt: at(4), FinishedAt: at(5)},
				{State: release.Expired, Hold: &release.Hold{Since: at(1), Until: until, Wanted: 1, Missing: 1}, FinishedAt: until},
			} {
				r.ID, r.RunID, r.Index, r.CreatedAt = fmt.Sprintf("held%d", i), "0c-abc", 10+i, noon
				if _, err := tx.AddRelease(t.Context(), r); err != nil {
					return err
				}
			}
			_, _, err := tx.AddApproval(t.Context(), store.Approval{ID: "said", ReleaseID: "held2", Person: "ann", Reason: "seen"})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var change view.Change
		if err := s.View(t.Context(), func(tx *store.Tx) (err error) {
			change, err = view.NewChange(t.Context(), tx, "0a-de", at(10))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		got := map[string][]string{}
		for _, span := range change.Spans {
			if strings.HasPrefix(span.RecordID, "held") {
				got[span.RecordID] = append(got[span.RecordID], fmt.Sprintf("%s %s %s", span.Kind, span.Took(at(10)), span.WaitsFor))
			}
		}
		want := map[string][]string{
			"held0": {"hold 9m0s person"},
			"held1": {"hold 9m0s window"},
			// Its approval came at the time of the store, a second past noon and before the hold.
			"held2": {"approval 0s nobody", "release 9m59s other", "hold 0s person"},
			"held3": {"hold 2m0s person", "release 1m0s pipeline", "release 1m0s pipeline"},
			"held4": {"hold 2m0s window", "release 1m0s pipeline", "release 1m0s pipeline"},
			"held5": {"hold 9h59m0s person"},
		}
		if !maps.EqualFunc(got, want, slices.Equal) {
			t.Errorf("spans %q, want %q", got, want)
		}
	})
}

// TestAuditPage holds which rows of the audit log a page has, and that a filter looks at a part of the log for each.
func TestAuditPage(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		const rows = 20_300
		err := s.Update(t.Context(), func(tx *store.Tx) error {
			for i := range rows {
				e := audit.Entry{Kind: audit.Action, Actor: "ann", Action: "rerun", RecordKind: "run", RecordID: fmt.Sprint("r", i), Reason: "the scanner was 100% MENDED", Details: fmt.Sprint("d", i)}
				if i == 50 {
					e.Kind, e.Actor, e.Action, e.Reason = audit.Approval, "bob", "approve", "seen"
				}
				if err := tx.Audit(t.Context(), e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var first int64
		pages := func(query string) (list []view.AuditPage) {
			t.Helper()
			cursor := ""
			for {
				values, err := url.ParseQuery(query + "&cursor=" + cursor)
				if err != nil {
					t.Fatal(err)
				}
				f, err := view.ParseAuditFilter(values, 500, noon)
				if err != nil {
					t.Fatal(err)
				}
				var p view.AuditPage
				if err := s.View(t.Context(), func(tx *store.Tx) (err error) {
					p, err = view.NewAuditPage(t.Context(), tx, f)
					return err
				}); err != nil {
					t.Fatal(err)
				}
				list = append(list, p)
				if cursor = p.Next; cursor == "" || len(list) > 3 {
					return list
				}
			}
		}
		all := pages("limit=500")
		first = all[0].NewestRow - rows
		if len(all[0].Rows) != 500 || all[0].Rows[0].Seq != all[0].NewestRow || all[0].Rows[0].Hash != all[0].NewestHash || all[1].Rows[0].Hash != all[0].Rows[499].Prev {
			t.Errorf("the newest row is %d, first rows %+v", all[0].NewestRow, all[0].Rows[:1])
		}
		for _, query := range []string{"actor=bob", "action=approve", "kind=approval", "search=SEEN&actor=bob"} {
			found := pages(query)
			if len(found) != 2 || len(found[0].Rows) != 0 || len(found[1].Rows) != 1 || found[1].Rows[0].Seq != first+51 {
				t.Errorf("%s: %d pages, %d rows on the first", query, len(found), len(found[0].Rows))
			}
		}
		for query, want := range map[string]int{"record=r50": 1, "record=r50&actor=ann": 0, "search=d20299": 1, "search=100%25+mended&limit=7": 7, "search=100_": 0, "until=1h": 0, "since=1h&limit=3": 3} {
			if found := pages(query); len(found[0].Rows) != want {
				t.Errorf("%s: %d rows, want %d", query, len(found[0].Rows), want)
			}
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
		{"application/json", `{"variables":[{"key":"A","value":"hunter2"}],"b":"https://git@host/x"}`, `{"b":"https://git@host/x","variables":[{"key":"A","value":"(removed)"}]}`},
		{"application/json", `{"ci_variables":{"A":"hunter2"},"value":"1"}`, `{"ci_variables":{"A":"(removed)"},"value":"1"}`},
		{"application/json", `{"list":[{"name":"NPM_TOKEN","value":"hunter2"},{"name":"color","value":"red"}]}`, `{"list":[{"name":"NPM_TOKEN","value":"(removed)"},{"name":"color","value":"red"}]}`},
		{"application/json", `{"text":"clone https://deploytoken-9f8a@gitlab.com/y"}`, `{"text":"clone https(removed)gitlab.com/y"}`},
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
