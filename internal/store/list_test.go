package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// listed are records 1 to 4, each an hour younger than the one before. The first two
// have the same time.
func listed(t *testing.T, s *store.Store, now *time.Time) {
	t.Helper()
	ctx := t.Context()
	for i, told := range []struct {
		age               time.Duration
		repository, sha   string
		kind              event.Kind
		number            int
		rules             []string
		deliveries        event.DeliveryState
		runs              codecheck.State
		releases          release.State
		connection, actor string
	}{
		{3 * time.Hour, "acme/api", "aaaa1", event.Push, 0, []string{"one"}, event.DeliveryDecided, codecheck.Passed, release.Succeeded, "github", "ann"},
		{3 * time.Hour, "acme/api", "aaaa2", event.MergeRequest, 7, []string{"o_e", "two"}, event.DeliveryDecided, codecheck.Failed, release.Failed, "github", "bob"},
		{2 * time.Hour, "acme/shop", "bbbb", event.Push, 0, nil, event.DeliveryFailed, codecheck.Errored, release.Unknown, "gitlab", "ann"},
		{time.Hour, "acme/shop", "cccc", event.Push, 0, []string{"two"}, event.DeliveryReceived, codecheck.Running, release.Running, "gitlab", "ann"},
	} {
		id := fmt.Sprint(i + 1)
		at := noon.Add(-told.age)
		*now = at
		ev := push("", told.sha)
		ev.Connection, ev.Repository.FullName, ev.Kind, ev.Number, ev.Sender = told.connection, told.repository, told.kind, told.number, told.actor
		d := delivery(id, id, []byte("{}"))
		d.Connection, d.ReceivedAt = told.connection, at
		r := run(id, "other", told.sha)
		r.Event, r.CreatedAt = ev, at
		rel := release.Release{ID: id, RunID: id, Rule: "other", Event: ev, State: release.Starting, CreatedAt: at, Deadline: at}
		if told.rules != nil {
			r.Rule, rel.Rule = told.rules[0], told.rules[0]
		}
		update(t, s, func(tx *store.Tx) error {
			if _, err := add(ctx, s, tx, d); err != nil {
				return err
			}
			said := store.SaidBy(ev, nil)
			said.Rules = told.rules
			if err := tx.EndDelivery(ctx, id, told.deliveries, "", said, nil); err != nil {
				return err
			}
			if _, _, err := tx.AddRun(ctx, r); err != nil {
				return err
			}
			if _, err := tx.AddRelease(ctx, rel); err != nil {
				return err
			}
			r.State, rel.State = told.runs, told.releases
			if err := tx.SaveRun(ctx, r, new(store.Version)); err != nil {
				return err
			}
			return tx.SaveRelease(ctx, rel, new(store.Version))
		})
	}
}

// lists reads all pages of the three lists.
func lists(t *testing.T, s *store.Store, f store.Filter) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for kind, read := range map[string]func(*store.Tx, store.Filter) ([]string, []time.Time, error){
		"deliveries": func(tx *store.Tx, f store.Filter) (ids []string, times []time.Time, err error) {
			list, err := tx.Deliveries(t.Context(), f)
			for _, d := range list {
				ids, times = append(ids, d.ID), append(times, d.ReceivedAt)
			}
			return ids, times, err
		},
		"runs": func(tx *store.Tx, f store.Filter) (ids []string, times []time.Time, err error) {
			list, err := tx.Runs(t.Context(), f)
			for _, r := range list {
				ids, times = append(ids, r.ID), append(times, r.CreatedAt)
			}
			return ids, times, err
		},
		"releases": func(tx *store.Tx, f store.Filter) (ids []string, times []time.Time, err error) {
			list, err := tx.Releases(t.Context(), f)
			for _, r := range list {
				ids, times = append(ids, r.ID), append(times, r.CreatedAt)
			}
			return ids, times, err
		},
	} {
		page := f
		for {
			var ids []string
			var times []time.Time
			if err := s.View(t.Context(), func(tx *store.Tx) (err error) { ids, times, err = read(tx, page); return err }); err != nil {
				t.Fatal(err)
			}
			all[kind] = append(all[kind], ids...)
			if len(ids) < page.Limit {
				break
			}
			page.After = store.Cursor{At: times[len(times)-1], ID: ids[len(ids)-1]}
		}
	}
	return all
}

func TestLists(t *testing.T) { storetest.Each(t, testLists) }

func testLists(t *testing.T, db storetest.Database) {
	s, now := clocked(t, db)
	listed(t, s, now)
	everywhere := func(ids ...string) map[string][]string {
		return map[string][]string{"deliveries": ids, "runs": ids, "releases": ids}
	}
	for _, test := range []struct {
		name   string
		filter store.Filter
		want   map[string][]string
	}{
		{"all", store.Filter{}, everywhere("4", "3", "2", "1")},
		{"oldest first", store.Filter{OldestFirst: true}, everywhere("1", "2", "3", "4")},
		{"one state", store.Filter{States: []string{"failed"}}, map[string][]string{"deliveries": {"3"}, "runs": {"2"}, "releases": {"2"}}},
		{"several states", store.Filter{States: []string{"failed", "decided", "passed", "succeeded"}}, map[string][]string{"deliveries": {"3", "2", "1"}, "runs": {"2", "1"}, "releases": {"2", "1"}}},
		{"connection", store.Filter{Connection: "gitlab"}, everywhere("4", "3")},
		{"repository", store.Filter{Repository: "acme/api"}, everywhere("2", "1")},
		{"branch", store.Filter{Branch: "main"}, everywhere("4", "3", "2", "1")},
		{"another branch", store.Filter{Branch: "Main"}, everywhere()},
		{"number", store.Filter{Number: 7}, everywhere("2")},
		{"rule", store.Filter{Rule: "two"}, map[string][]string{"deliveries": {"4", "2"}, "runs": {"4"}, "releases": {"4"}}},
		{"a rule with a wildcard of SQL", store.Filter{Rule: "o_e"}, everywhere("2")},
		{"commit", store.Filter{Commit: "bbbb"}, everywhere("3")},
		{"the beginning of a commit", store.Filter{Commit: "aaaa"}, everywhere("2", "1")},
		{"since, inclusive", store.Filter{Since: noon.Add(-2 * time.Hour)}, everywhere("4", "3")},
		{"until, exclusive", store.Filter{Until: noon.Add(-2 * time.Hour)}, everywhere("2", "1")},
		{"actor", store.Filter{Actor: "bob"}, everywhere("2")},
		{"text, in any case", store.Filter{Search: "ACME/S"}, everywhere("4", "3")},
		{"text with a wildcard of SQL", store.Filter{Search: "o_e"}, everywhere("2")},
		{"text that nothing has", store.Filter{Search: "100%"}, everywhere()},
		{"several states and another", store.Filter{States: []string{"failed", "unknown", "errored"}, Actor: "ann"}, everywhere("3")},
		{"all together", store.Filter{Connection: "github", Repository: "acme/api", Branch: "main", Commit: "aaaa1", Since: noon.Add(-4 * time.Hour)}, everywhere("1")},
	} {
		for _, limit := range []int{1, 2, 100} {
			t.Run(fmt.Sprintf("%s, pages of %d", test.name, limit), func(t *testing.T) {
				test.filter.Limit = limit
				for kind, got := range lists(t, s, test.filter) {
					if !slices.Equal(got, test.want[kind]) {
						t.Errorf("%s: got %q, want %q", kind, got, test.want[kind])
					}
				}
			})
		}
	}
}

func TestIDs(t *testing.T) { each(t, testIDs) }

func testIDs(t *testing.T, s *store.Store) {
	ctx := t.Context()
	update(t, s, func(tx *store.Tx) error {
		for _, id := range []string{"0ab1", "0ab2", "0ac1"} {
			if _, err := add(ctx, s, tx, delivery(id, id, nil)); err != nil {
				return err
			}
		}
		_, _, err := tx.AddRun(ctx, run("0ab3", "rule", "a"))
		return err
	})
	for prefix, want := range map[string][]string{"0ab": {"0ab1", "0ab2", "0ab3"}, "0ab2": {"0ab2"}, "0ab11": nil, "1": nil} {
		update(t, s, func(tx *store.Tx) error {
			got, err := tx.IDs(ctx, prefix, 10)
			if !slices.Equal(got, want) {
				t.Errorf("ids that begin with %q: %q, want %q", prefix, got, want)
			}
			return err
		})
	}
}

// TestWalk: of a filter without an index a page is bounded by what is looked at, and the pages together have all.
func TestWalk(t *testing.T) { storetest.Each(t, testWalk) }

func testWalk(t *testing.T, db storetest.Database) {
	s, now := clocked(t, db)
	listed(t, s, now)
	for _, filter := range []store.Filter{{Actor: "bob"}, {Repository: "acme/api", Actor: "bob"}, {Actor: "bob", OldestFirst: true}, {States: []string{"failed"}, Actor: "bob"}} {
		filter.Limit, filter.Walk = 10, 1
		var ids []string
		pages := 0
		for {
			var list []string
			var next store.Cursor
			err := s.View(t.Context(), func(tx *store.Tx) error {
				runs, after, err := tx.RunPage(t.Context(), filter)
				for _, r := range runs {
					list = append(list, r.ID)
				}
				next = after
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if pages++; len(list) > 2 || pages > 10 {
				t.Fatalf("page %d is %q", pages, list)
			}
			if ids = append(ids, list...); next.ID == "" {
				break
			}
			filter.After = next
		}
		if !slices.Equal(ids, []string{"2"}) || pages < 2 && len(filter.States) == 0 {
			t.Errorf("%+v: %q in %d pages", filter, ids, pages)
		}
	}
}

// TestChanges lists what was changed, each record by its last change.
func TestChanges(t *testing.T) { storetest.Each(t, testChanges) }

func testChanges(t *testing.T, db storetest.Database) {
	s, now := clocked(t, db)
	listed(t, s, now)
	*now = noon
	update(t, s, func(tx *store.Tx) error {
		return tx.AddAction(t.Context(), store.Action{ID: "a", Kind: store.RecordRun, RecordID: "2", Name: store.ActionRerun, Actor: "ann", Reason: "x"})
	})
	var got []string
	err := s.View(t.Context(), func(tx *store.Tx) error {
		changes, err := tx.Changes(t.Context(), noon.Add(-2*time.Hour), 100)
		for _, c := range changes {
			got = append(got, fmt.Sprintf("%s %s %s", c.Kind, c.ID, c.State))
		}
		return err
	})
	want := []string{"delivery 3 failed", "release 3 unknown", "run 3 errored", "delivery 4 received", "release 4 running", "run 4 running", "run 2 "}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("changes %q, error %v, want %q", got, err, want)
	}
}
