package jobs_test

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// head is the head of an event's ref key.
func (b bench) head(t *testing.T, ev event.Event) (head store.Head, known bool) {
	t.Helper()
	err := b.store.View(t.Context(), func(tx *store.Tx) (err error) {
		head, known, err = tx.Head(t.Context(), ev.RefKey())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return head, known
}

// replay has deliveries decided again, as a person does.
func (b bench) replay(t *testing.T, ids ...string) {
	t.Helper()
	inserter, err := jobs.NewInserter(b.store, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	results, err := inserter.Replay(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	for _, result := range results {
		if result.Err != nil {
			t.Errorf("%s: %v", result.ID, result.Err)
		}
	}
}

// TestOldChangeStartsNothing: a change that was older than max_event_age when it was
// first received starts nothing and does not become the head, until a person replays it. The host's
// time of the change counts.
func TestOldChangeStartsNothing(t *testing.T) {
	ago := func(days int) string {
		return time.Now().Add(time.Duration(-days) * 24 * time.Hour).UTC().Format(time.RFC3339)
	}
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		b := newBench(t, db, func(id string) (event.Event, error) {
			ev := push("", "b")
			ev.Branch = strings.TrimSuffix(id, " again")
			switch ev.Branch {
			case "old":
				ev.PushedAt = ago(8)
			case "young":
				ev.PushedAt = ago(6)
			case "old comment":
				ev.Kind, ev.Action, ev.Number, ev.UpdatedAt = event.Comment, event.Commented, 7, ago(8)
			case "old and deleted":
				ev.PushedAt, ev.Deleted, ev.HeadSHA, ev.IgnoredReason = ago(8), true, "", "branch was deleted: nothing to check"
			case "unreadable time":
				ev.PushedAt = "yesterday"
			}
			return ev, nil
		})
		for _, test := range []struct {
			id, reason string
			runs       int
			known      bool
		}{
			{"old", "more than max_event_age (168h0m0s) before it was received", 0, false},
			{"old comment", "more than max_event_age", 0, false},
			{"old and deleted", "branch was deleted", 0, false},
			{"young", "first", 2, true},
			{"unreadable time", "first", 2, true},
			{"without a time", "first", 2, true},
		} {
			d := b.decided(t, test.id)
			if runs := len(b.runs(t, test.id)); runs != test.runs || !strings.Contains(d.Reason, test.reason) {
				t.Errorf("%s: %s with %d runs, want %d: %s", test.id, d.State, runs, test.runs, d.Reason)
			}
			ev := push("", "b")
			ev.Branch = test.id
			if _, known := b.head(t, ev); known != test.known {
				t.Errorf("%s: head known %v, want %v", test.id, known, test.known)
			}
		}
		b.replay(t, "old")
		if d := b.ended(t, "old"); len(b.runs(t, "old")) != 2 {
			t.Errorf("replayed by a person: %s: %s", d.State, d.Reason)
		}
	})
}

// TestTimeOfTheFutureLocksNothing: an updated_at of the year 9999 does not make every
// later change of the merge request look old.
func TestTimeOfTheFutureLocksNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		request := func(sha, updated string) event.Event {
			ev := push("", sha)
			ev.Kind, ev.Action, ev.Number, ev.SourceBranch, ev.UpdatedAt = event.MergeRequest, event.Updated, 7, "topic", updated
			return ev
		}
		at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
		b := newBench(t, db, func(id string) (event.Event, error) {
			switch id {
			case "1":
				return request("a", "9999-12-31T23:59:59Z"), nil
			case "2":
				return request("b", at(0)), nil
			case "3":
				return request("c", at(11*time.Minute)), nil
			}
			return request("d", at(time.Second)), nil
		})
		for i, want := range []string{"a", "b", "c", "d"} {
			b.decided(t, string(rune('1'+i)))
			if head, _ := b.head(t, request("", "")); head.SHA != want {
				t.Errorf("after change %d the head is %s, want %s", i+1, head.SHA, want)
			}
		}
	})
}
