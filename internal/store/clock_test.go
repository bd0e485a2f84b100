package store_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// TestStaleWhenTheClockJumps looks for what nobody has touched for three minutes,
// while the clock stands elsewhere than it stood.
func TestStaleWhenTheClockJumps(t *testing.T) { storetest.Each(t, testStaleWhenTheClockJumps) }

func testStaleWhenTheClockJumps(t *testing.T, db storetest.Database) {
	ctx := t.Context()
	s, now := clocked(t, db)
	tell(t, s, now, noon, story{name: "waits", state: event.DeliveryReceived})
	tell(t, s, now, noon, story{name: "runs", state: event.DeliveryDecided, run: codecheck.Running, releases: []release.State{release.Running}})
	tell(t, s, now, noon, story{name: "has ended", state: event.DeliveryDecided, run: codecheck.Passed, releases: []release.State{release.Succeeded}})
	for _, test := range []struct {
		name string
		now  time.Time
		want bool
	}{
		{"at once", noon, false},
		{"a minute later", noon.Add(time.Minute), false},
		{"another replica's clock is a minute behind", noon.Add(-time.Minute), false},
		{"five minutes later", noon.Add(5 * time.Minute), true},
		{"a day ahead", noon.Add(day), true},
		{"a day back", noon.Add(-day), true},
	} {
		*now = test.now
		update(t, s, func(tx *store.Tx) error {
			since := test.now.Add(-3 * time.Minute)
			deliveries, err := tx.StaleDeliveries(ctx, since, 10)
			if err != nil {
				return err
			}
			runs, err := tx.StaleRuns(ctx, since, 10)
			if err != nil {
				return err
			}
			releases, err := tx.StaleReleases(ctx, since, 10)
			found := slices.Concat(deliveries, slices.Collect(maps.Keys(runs)), slices.Collect(maps.Keys(releases)))
			want := []string{"waits", "run of runs", "runs0"}
			if !test.want {
				want = nil
			}
			if !slices.Equal(found, want) {
				t.Errorf("%s: found %q, want %q", test.name, found, want)
			}
			return err
		})
	}
}

// TestHeadWhenTheClockJumps moves a branch on while ids, which are made of the time,
// are out of order.
func TestHeadWhenTheClockJumps(t *testing.T) {
	type told struct {
		at           time.Duration
		id           string
		event        event.Event
		wantAdvanced bool
	}
	request := func(sha string) event.Event {
		ev := push("", sha)
		ev.Kind, ev.Number = event.MergeRequest, 7
		return ev
	}
	for _, test := range []struct {
		name string
		told []told
	}{
		{"set back", []told{{0, "5", push("a", "b"), true}, {-day, "2", push("b", "c"), true}, {-day + time.Minute, "3", push("c", "d"), true}}},
		{"set back, and no commit before", []told{{0, "5", request("b"), true}, {-day, "2", request("c"), true}}},
		{"set ahead and back", []told{{0, "2", push("a", "b"), true}, {day, "9", push("b", "c"), true}, {time.Second, "3", push("c", "d"), true}}},
		{"another replica's clock is behind", []told{{0, "5", push("a", "b"), true}, {time.Second, "4", push("b", "c"), true}}},
		{"an old push once more, much later", []told{
			{0, "1", push("", "a"), true}, {1, "2", push("a", "b"), true}, {2, "3", push("b", "a"), true}, {time.Hour, "2", push("a", "b"), false},
		}},
		{"an older one that waited", []told{{0, "3", push("x", "y"), true}, {time.Minute, "1", push("", "a"), false}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db storetest.Database) {
				s, now := clocked(t, db)
				for i, told := range test.told {
					*now = noon.Add(told.at)
					update(t, s, func(tx *store.Tx) error {
						change, err := tx.AdvanceHead(t.Context(), told.event, told.id)
						if advanced := change == store.HeadAdvanced; advanced != told.wantAdvanced {
							t.Errorf("event %d: %s", i, change)
						}
						return err
					})
				}
			})
		})
	}
}
