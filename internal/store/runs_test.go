package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

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
		t.Run(string(state), func(t *testing.T) {
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

// TestScanTimes: what is remembered of a task are the last five scans with a verdict, the
// latest first.
func TestScanTimes(t *testing.T) { each(t, testScanTimes) }

func testScanTimes(t *testing.T, s *store.Store) {
	ctx := t.Context()
	add := func(number int, state codecheck.State, branch string) codecheck.Run {
		r := run(fmt.Sprint("run ", number), "rule", fmt.Sprint(number))
		r.Event.Branch, r.CreatedAt = branch, r.CreatedAt.Add(time.Duration(number)*time.Minute)
		update(t, s, func(tx *store.Tx) error {
			if _, added, err := tx.AddRun(ctx, r); err != nil || !added {
				return fmt.Errorf("added %v: %w", added, err)
			}
			r.State, r.ScanTook = state, time.Duration(number)*time.Second
			return tx.SaveRun(ctx, r, new(store.Version))
		})
		return r
	}
	add(1, codecheck.Passed, "other")
	for number := 2; number < 8; number++ {
		add(number, codecheck.Passed, "main")
	}
	add(8, codecheck.Errored, "main")
	last := add(9, codecheck.Failed, "main")
	took, err := s.ScanTimes(ctx, last)
	want := []time.Duration{9 * time.Second, 7 * time.Second, 6 * time.Second, 5 * time.Second, 4 * time.Second}
	if err != nil || !slices.Equal(took, want) {
		t.Errorf("scans took %v, error %v; want %v", took, err, want)
	}
}
