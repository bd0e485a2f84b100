package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

func TestMain(m *testing.M) {
	if database := os.Getenv(childVariable); database != "" {
		os.Exit(openAsTold(database))
	}
	goleak.VerifyTestMain(tests{m})
}

// tests runs the tests and stops the database server that they started.
type tests struct{ m *testing.M }

func (t tests) Run() int { return storetest.Main(t.m) }

func open(t *testing.T, db storetest.Database) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{SQLite: db.SQLite, Postgres: db.Postgres, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// each runs a test on a fresh store of either kind.
func each(t *testing.T, test func(t *testing.T, s *store.Store)) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) { test(t, open(t, db)) })
}

// update runs fn in a transaction that must succeed.
func update(t *testing.T, s *store.Store, fn func(*store.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

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

func push(before, sha string) event.Event {
	return event.Event{
		Connection: "github", Kind: event.Push, Branch: "main", Before: before, HeadSHA: sha,
		Repository: event.Repository{ID: "1", FullName: "acme/api"},
	}
}

func request(changed, before, sha string) event.Event {
	e := push(before, sha)
	e.Kind, e.Number, e.UpdatedAt = event.MergeRequest, 7, changed
	return e
}

// TestAdvanceHead walks through orders in which events can be processed. A delivery is
// written as its id, which tells the order of receipt, and its event.
func TestAdvanceHead(t *testing.T) {
	type told struct {
		id           string
		event        event.Event
		wantAdvanced bool
	}
	gone := push("c", "")
	gone.Deleted = true
	closed := request("", "", "b")
	closed.Action = event.Closed
	retargeted := request("", "", "b")
	retargeted.Branch = "release"
	for _, test := range []struct {
		name string
		told []told
		want store.Head
	}{
		{"in order", []told{{"1", push("", "a"), true}, {"2", push("a", "b"), true}, {"3", push("b", "c"), true}}, store.Head{SHA: "c", Branch: "main"}},
		{"a backlog from its end", []told{{"3", push("b", "c"), true}, {"1", push("", "a"), false}, {"2", push("a", "b"), false}}, store.Head{SHA: "c", Branch: "main"}},
		{"the older one is delivered late", []told{{"1", push("a", "b"), true}, {"2", push("", "a"), false}}, store.Head{SHA: "b", Branch: "main"}},
		{"forced back", []told{{"1", push("", "a"), true}, {"2", push("a", "b"), true}, {"3", push("b", "a"), true}}, store.Head{SHA: "a", Branch: "main"}},
		{"the same once more", []told{{"1", push("a", "b"), true}, {"1", push("a", "b"), true}}, store.Head{SHA: "b", Branch: "main"}},
		{"a gap", []told{{"1", push("a", "b"), true}, {"2", push("x", "y"), true}}, store.Head{SHA: "y", Branch: "main"}},
		{"deleted", []told{{"1", push("b", "c"), true}, {"2", gone, true}}, store.Head{Branch: "main", Ended: true}},
		{"deleted and made again", []told{{"1", gone, true}, {"2", push("", "c"), true}}, store.Head{SHA: "c", Branch: "main"}},
		{"the host's time wins", []told{{"1", request("2026-03-01T12:00:05Z", "", "b"), true}, {"2", request("2026-03-01T12:00:00Z", "", "a"), false}}, store.Head{SHA: "b", Branch: "main"}},
		{"the host's time, as another host writes it", []told{{"1", request("2026-03-01 12:00:05 UTC", "", "b"), true}, {"2", request("2026-03-01 12:00:00 UTC", "", "a"), false}}, store.Head{SHA: "b", Branch: "main"}},
		{"no time of the host", []told{{"2", request("", "", "b"), true}, {"1", request("", "", "a"), false}}, store.Head{SHA: "b", Branch: "main"}},
		{"a label does not hide what was before", []told{{"1", request("", "a", "b"), true}, {"2", request("", "", "b"), true}, {"3", request("", "", "a"), false}}, store.Head{SHA: "b", Branch: "main"}},
		{"closed", []told{{"1", request("", "", "b"), true}, {"2", closed, true}}, store.Head{SHA: "b", Branch: "main", Ended: true}},
		{"retargeted", []told{{"1", request("", "", "b"), true}, {"2", retargeted, true}}, store.Head{SHA: "b", Branch: "release"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			each(t, func(t *testing.T, s *store.Store) {
				for i, told := range test.told {
					update(t, s, func(tx *store.Tx) error {
						change, err := tx.AdvanceHead(t.Context(), told.event, told.id)
						if advanced := change == store.HeadAdvanced; advanced != told.wantAdvanced {
							t.Errorf("event %d: %s", i, change)
						}
						return err
					})
				}
				update(t, s, func(tx *store.Tx) error {
					head, known, err := tx.Head(t.Context(), test.told[0].event.RefKey())
					if diff := cmp.Diff(test.want, head, cmpopts.IgnoreUnexported(store.Head{})); diff != "" || !known {
						t.Errorf("known %v, head (-want +got):\n%s", known, diff)
					}
					return err
				})
			})
		})
	}
}

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

func run(id, rule, sha string) codecheck.Run {
	return codecheck.Run{
		ID: id, DeliveryID: "d", Rule: rule, State: codecheck.Queued, Event: push("", sha),
		Check: rules.Check{ProjectID: strings.Repeat("a", 32), Scan: rules.ScanFull}, CreatedAt: noon, Deadline: noon.Add(time.Hour),
	}
}

func TestRunOfACommitOnce(t *testing.T) {
	ctx := t.Context()
	for _, state := range codecheck.States() {
		t.Run(string(state), func(t *testing.T) {
			each(t, func(t *testing.T, s *store.Store) {
				first := run("first", "rule", "a")
				update(t, s, func(tx *store.Tx) error {
					if _, _, err := tx.AddRun(ctx, first); err != nil {
						return err
					}
					first.State = state
					var version store.Version
					return tx.SaveRun(ctx, first, &version)
				})
				// A run that ended without a verdict may be repeated; no other.
				again := state == codecheck.Errored || state == codecheck.Superseded || state == codecheck.Stopped
				update(t, s, func(tx *store.Tx) error {
					id, added, err := tx.AddRun(ctx, run("second", "rule", "a"))
					if added != again || (!added && id != "first") {
						t.Errorf("second run added %v as %q, want %v", added, id, again)
					}
					return err
				})
				update(t, s, func(tx *store.Tx) error {
					for _, other := range []codecheck.Run{run("other rule", "rule-2", "a"), run("other commit", "rule", "b")} {
						if _, added, err := tx.AddRun(ctx, other); err != nil || !added {
							t.Errorf("run of %s added %v, error %v", other.ID, added, err)
						}
					}
					return nil
				})
			})
		})
	}
}

// TestSaveRun saves over a run in each state, in time and late.
func TestSaveRun(t *testing.T) {
	ctx := t.Context()
	for _, state := range codecheck.States() {
		each(t, func(t *testing.T, s *store.Store) {
			r := run("one", "rule", "a")
			var current store.Version
			update(t, s, func(tx *store.Tx) error {
				if _, _, err := tx.AddRun(ctx, r); err != nil {
					return err
				}
				r.State, r.Reason = state, "as it is"
				return tx.SaveRun(ctx, r, &current)
			})
			want := r
			save := func(version store.Version, reason string) error {
				late := r
				late.State, late.Reason = codecheck.Running, reason
				return s.Update(ctx, func(tx *store.Tx) error { return tx.SaveRun(ctx, late, &version) })
			}
			wantStale, wantInTime := store.ErrStale, error(nil)
			if state.Ended() {
				wantStale, wantInTime = store.ErrEnded, store.ErrEnded
			} else {
				want.State, want.Reason = codecheck.Running, "in time"
			}
			if err := save(current-1, "stale"); !errors.Is(err, wantStale) {
				t.Errorf("stale save over %s: %v, want %v", state, err, wantStale)
			}
			if err := save(current, "in time"); !errors.Is(err, wantInTime) {
				t.Errorf("save over %s: %v, want %v", state, err, wantInTime)
			}
			update(t, s, func(tx *store.Tx) error {
				got, err := tx.Run(ctx, "one")
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("run saved over %s (-want +got):\n%s", state, diff)
				}
				return err
			})
		})
	}
}

func TestActiveRuns(t *testing.T) { each(t, testActiveRuns) }

func testActiveRuns(t *testing.T, s *store.Store) {
	ctx := t.Context()
	first := run("one", "rule", "a")
	update(t, s, func(tx *store.Tx) error {
		for _, r := range []codecheck.Run{first, run("three", "rule-2", "a"), run("two", "rule", "b")} {
			if _, _, err := tx.AddRun(ctx, r); err != nil {
				return err
			}
		}
		ended := run("ended", "rule-3", "a")
		if _, _, err := tx.AddRun(ctx, ended); err != nil {
			return err
		}
		ended.State = codecheck.Passed
		return tx.SaveRun(ctx, ended, new(store.Version))
	})
	update(t, s, func(tx *store.Tx) error {
		active, err := tx.ActiveRuns(ctx, push("", "a").RefKey())
		if len(active) != 3 || err != nil {
			t.Fatalf("active runs %+v, error %v", active, err)
		}
		for _, v := range active[:2] {
			v.Record.State = codecheck.Superseded
			if err := tx.SaveRun(ctx, v.Record, &v.Version); err != nil {
				return err
			}
		}
		return nil
	})
	// A step that was at work on one of them cannot save it.
	err := s.Update(ctx, func(tx *store.Tx) error { return tx.SaveRun(ctx, first, new(store.Version)) })
	if !errors.Is(err, store.ErrEnded) {
		t.Errorf("a late save: %v", err)
	}
	update(t, s, func(tx *store.Tx) error {
		stale, err := tx.StaleRuns(ctx, noon.Add(time.Second), 10)
		if len(stale) != 1 || stale["two"] != codecheck.Queued {
			t.Errorf("stale runs %v", stale)
		}
		return err
	})
}

// TestSharingRuns finds the runs that share an execution, and the one that can take a
// late execution over.
func TestSharingRuns(t *testing.T) { each(t, testSharingRuns) }

func testSharingRuns(t *testing.T, s *store.Store) {
	ctx := t.Context()
	owner, sharing, later, other := run("owner", "rule", "a"), run("sharing", "rule-2", "a"), run("later", "rule-3", "a"), run("other", "rule", "b")
	sharing.SharesRunID = owner.ID
	update(t, s, func(tx *store.Tx) error {
		for _, r := range []codecheck.Run{owner, sharing, later, other} {
			if _, _, err := tx.AddRun(ctx, r); err != nil {
				return err
			}
		}
		list, err := tx.SharingRuns(ctx, owner)
		if len(list) != 1 || list[0].Record.ID != sharing.ID {
			t.Errorf("sharing runs %+v", list)
		}
		if err != nil {
			return err
		}
		if sibling, err := tx.Sibling(ctx, run("new", "rule-4", "a")); sibling == sharing.ID || sibling == "" || err != nil {
			t.Errorf("sibling %q, error %v: want a run with an execution of its own", sibling, err)
		}
		same, found, err := tx.SameCheck(ctx, owner)
		if !found || same.Record.ID != later.ID {
			t.Errorf("run of the same check: %q, found %v", same.Record.ID, found)
		}
		if _, found, _ := tx.SameCheck(ctx, other); found {
			t.Error("found a run for a commit that no other run checks")
		}
		return err
	})
}

func TestReleaseOncePerVerdictAndStaysEnded(t *testing.T) {
	ctx := t.Context()
	for _, state := range release.States() {
		each(t, func(t *testing.T, s *store.Store) {
			r := release.Release{ID: "one", RunID: "run", Index: 1, State: release.Starting, CreatedAt: noon, Deadline: noon}
			var version store.Version
			update(t, s, func(tx *store.Tx) error {
				if added, err := tx.AddRelease(ctx, r); err != nil || !added {
					return fmt.Errorf("added %v: %w", added, err)
				}
				twin := r
				twin.ID = "two"
				if added, err := tx.AddRelease(ctx, twin); err != nil || added {
					return fmt.Errorf("a second release of the same verdict: added %v, error %w", added, err)
				}
				r.State = state
				return tx.SaveRelease(ctx, r, &version)
			})
			late := r
			late.Reason = "late"
			var old store.Version
			if err := s.Update(ctx, func(tx *store.Tx) error { return tx.SaveRelease(ctx, late, &old) }); err == nil {
				t.Errorf("a stale save over %s worked", state)
			}
			err := s.Update(ctx, func(tx *store.Tx) error { return tx.SaveRelease(ctx, late, &version) })
			if errors.Is(err, store.ErrEnded) != state.Ended() {
				t.Errorf("save over %s: error %v", state, err)
			}
			update(t, s, func(tx *store.Tx) error {
				list, err := tx.ReleasesOf(ctx, "run")
				if len(list) != 1 || (list[0].Reason == "late") == state.Ended() {
					t.Errorf("after a late save over %s: %+v", state, list)
				}
				return err
			})
		})
	}
}

func TestOneUnansweredActionPerPipeline(t *testing.T) { each(t, testOneUnansweredActionPerPipeline) }

func testOneUnansweredActionPerPipeline(t *testing.T, s *store.Store) {
	ctx := t.Context()
	var releases []release.Release
	for i, pipeline := range []string{"p", "p", "q"} {
		r := release.Release{ID: fmt.Sprint(i), RunID: fmt.Sprint(i), Plan: rules.Release{Pipeline: pipeline}, State: release.Starting, CreatedAt: noon, Deadline: noon}
		update(t, s, func(tx *store.Tx) error { _, err := tx.AddRelease(ctx, r); return err })
		r.Intent = &release.Intent{Action: "start", SentAt: noon}
		releases = append(releases, r)
	}
	versions := map[string]store.Version{}
	save := func(r release.Release) error {
		version := versions[r.ID]
		err := s.Update(ctx, func(tx *store.Tx) error { return tx.SaveRelease(ctx, r, &version) })
		versions[r.ID] = version
		return err
	}
	for i, want := range []error{nil, store.ErrPipelineBusy, nil} {
		if err := save(releases[i]); !errors.Is(err, want) {
			t.Errorf("intent of release %d: %v, want %v", i, err, want)
		}
	}
	if err := save(releases[0]); err != nil {
		t.Errorf("the same intent once more: %v", err)
	}
	releases[0].State = release.Running
	if err := errors.Join(save(releases[0]), save(releases[1])); err != nil {
		t.Errorf("the next in turn: %v", err)
	}
}

func TestMemory(t *testing.T) { each(t, testMemory) }

func testMemory(t *testing.T, s *store.Store) {
	ctx := t.Context()
	if _, known, err := s.Task(ctx, "k"); known || err != nil {
		t.Errorf("unknown task: known %v, error %v", known, err)
	}
	if _, known, err := s.Ref(ctx, push("", "a")); known || err != nil {
		t.Errorf("unknown ref: known %v, error %v", known, err)
	}
	for _, want := range []codecheck.Task{{ID: "1", Name: "a"}, {ID: "2", Name: "b", ParentID: "1"}} {
		if err := s.SaveTask(ctx, push("", "a"), "k", want); err != nil {
			t.Fatal(err)
		}
		if got, known, err := s.Task(ctx, "k"); !known || err != nil || got != want {
			t.Errorf("task %+v, known %v, error %v; want %+v", got, known, err, want)
		}
	}
	for _, want := range []codecheck.Ref{codecheck.Pull, codecheck.MergeRequest, ""} {
		if err := s.SaveRef(ctx, push("", "a"), want); err != nil {
			t.Fatal(err)
		}
		if got, known, err := s.Ref(ctx, push("", "a")); !known || err != nil || got != want {
			t.Errorf("ref %q, known %v, error %v; want %q", got, known, err, want)
		}
	}
}

func TestNotFound(t *testing.T) { each(t, testNotFound) }

func testNotFound(t *testing.T, s *store.Store) {
	ctx := t.Context()
	for name, read := range map[string]func(*store.Tx) error{
		"delivery":     func(tx *store.Tx) error { _, err := tx.Delivery(ctx, "x"); return err },
		"run":          func(tx *store.Tx) error { _, err := tx.Run(ctx, "x"); return err },
		"release":      func(tx *store.Tx) error { _, err := tx.Release(ctx, "x"); return err },
		"end delivery": func(tx *store.Tx) error { return tx.EndDelivery(ctx, "x", event.DeliveryFailed, "", store.Said{}, nil) },
	} {
		if err := s.Update(ctx, read); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: error %v, want not found", name, err)
		}
	}
}

func TestRollback(t *testing.T) { each(t, testRollback) }

func testRollback(t *testing.T, s *store.Store) {
	ctx := t.Context()
	boom := errors.New("boom")
	err := s.Update(ctx, func(tx *store.Tx) error {
		tx.AfterCommit(func() { t.Error("called although rolled back") })
		if _, err := add(ctx, s, tx, delivery("one", "one", nil)); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("error %v, want boom", err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = s.Update(ctx, func(*store.Tx) error { panic("boom") })
	}()
	// The writing connection is free again, and nothing was written.
	called := 0
	defer func() {
		if called != 1 {
			t.Errorf("called %d times after the commit", called)
		}
	}()
	update(t, s, func(tx *store.Tx) error {
		tx.AfterCommit(func() { called++ })
		_, err := tx.Delivery(ctx, "one")
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("error %v, want not found", err)
		}
		return nil
	})
}

func TestReopenKeepsEverything(t *testing.T) {
	path := filepath.Join(t.TempDir(), "with space %.db")
	ctx := t.Context()
	s := open(t, storetest.Database{SQLite: path})
	update(t, s, func(tx *store.Tx) error {
		_, err := add(ctx, s, tx, delivery("one", "one", []byte("body")))
		return err
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	looking, err := store.Open(ctx, store.Options{SQLite: path, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer looking.Close()
	if err := looking.View(ctx, func(tx *store.Tx) error { _, err := tx.Delivery(ctx, "one"); return err }); err != nil {
		t.Error(err)
	}
	if err := looking.Update(ctx, func(*store.Tx) error { return nil }); err == nil {
		t.Error("a read-only store can be updated")
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the file is not where it was said to be: %v", err)
	}
}

// TestFileIsTaken holds that nothing is accepted into a file that is gone, and that
// the file is its owner's alone.
func TestFileIsTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	s := open(t, storetest.Database{SQLite: path})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, error %v", info.Mode(), err)
	}
	if err := s.Writable(t.Context()); err != nil {
		t.Errorf("not writable: %v", err)
	}
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := s.Writable(t.Context()); err == nil {
		t.Error("writable although the file is gone")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), func(*store.Tx) error { return nil }); err == nil {
		t.Error("written although the file is another one")
	}
}

func TestViewCannotWrite(t *testing.T) { each(t, testViewCannotWrite) }

func testViewCannotWrite(t *testing.T, s *store.Store) {
	err := s.View(t.Context(), func(tx *store.Tx) error {
		_, err := add(t.Context(), s, tx, delivery("one", "one", nil))
		return err
	})
	if err == nil {
		t.Error("a view wrote")
	}
}

func TestOpenRefuses(t *testing.T) {
	folder := t.TempDir()
	garbage := filepath.Join(folder, "garbage.db")
	if err := os.WriteFile(garbage, bytes.Repeat([]byte("this is no database "), 500), 0o600); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(folder, "newer.db")
	s := open(t, storetest.Database{SQLite: newer})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", newer)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`INSERT INTO schema_version (version) VALUES (4711)`); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		options store.Options
		want    string
	}{
		"no path":           {store.Options{}, "either"},
		"no database":       {store.Options{SQLite: garbage}, "garbage.db"},
		"no folder":         {store.Options{SQLite: filepath.Join(folder, "none", "x.db")}, "x.db"},
		"newer schema":      {store.Options{SQLite: newer}, "version 4711"},
		"read-only, absent": {store.Options{SQLite: filepath.Join(folder, "absent.db"), ReadOnly: true}, "absent.db"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := store.Open(context.Background(), test.options)
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q does not name %q", err, test.want)
			}
		})
	}
}
