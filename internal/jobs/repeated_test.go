package jobs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// TestOldPushOnceMore: pushes A to B, B to C, C to D; after the retention the first body
// comes once more, under a new id. It starts nothing, D stays the head, and nothing is
// released from the branch until its tip was read or the next push has come.
func TestOldPushOnceMore(t *testing.T) { storetest.Each(t, testOldPushOnceMore) }

func testOldPushOnceMore(t *testing.T, db storetest.Database) {
	w, b := releasing(t, db)
	for _, id := range []string{"b", "c"} {
		b.decided(t, id)
		if r := w.releaseOf(t, b, id); r.State != release.Succeeded {
			t.Fatalf("the release of %s ended %s: %s", id, r.State, r.Reason)
		}
	}
	w.expire(t, 31)
	w.services.SetScanDelay(time.Hour)
	b.decided(t, "d")
	again := func(id, hostID string) store.Delivery {
		d := event.Delivery{ID: id, Connection: "github", Host: event.GitHub, Key: id, HostID: hostID, ReceivedAt: time.Now()}
		if _, _, err := b.Accept(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		return b.ended(t, id)
	}
	if d := again("replayed", "b"); len(b.runs(t, "replayed")) != 0 || !strings.Contains(d.Reason, `"main" was at commit b already`) {
		t.Errorf("%s with %d runs: %s", d.State, len(b.runs(t, "replayed")), d.Reason)
	}
	if d := again("replayed, the head's own", "d again"); len(b.runs(t, d.ID)) != 0 {
		t.Errorf("%s with %d runs: %s", d.State, len(b.runs(t, d.ID)), d.Reason)
	}
	if head, _ := b.head(t, push("", "")); head.SHA != "d" || !head.Uncertain {
		t.Errorf("the head is %+v", head)
	}

	// The scan of d may not have begun yet.
	w.services.SetScanDelay(-1)
	w.services.EndScans()
	run := b.runs(t, "d")[0]
	w.until(t, run.ID, func(now record) bool { return now.ended })
	var releases []release.Release
	if err := w.store.View(t.Context(), func(tx *store.Tx) (err error) {
		releases, err = tx.ReleasesOf(t.Context(), run.ID)
		return err
	}); err != nil || len(releases) != 1 {
		t.Fatalf("%d releases, error %v", len(releases), err)
	}
	waits := w.until(t, releases[0].ID, func(now record) bool { return now.ended || strings.Contains(now.reason, "is known") })
	if waits.ended || w.starts() != 2 {
		t.Fatalf("the release of d is %s after %d starts: %s", waits.state, w.starts(), waits.reason)
	}

	if err := w.store.Update(t.Context(), func(tx *store.Tx) error {
		ref := push("", "").RefKey()
		if err := tx.ConfirmHead(t.Context(), ref, "b"); err != nil {
			return err
		}
		if head, _, err := tx.Head(t.Context(), ref); err != nil || !head.Uncertain {
			t.Errorf("another tip made the head certain; error %v", err)
		}
		return tx.ConfirmHead(t.Context(), ref, "d")
	}); err != nil {
		t.Fatal(err)
	}
	if now := w.until(t, releases[0].ID, func(now record) bool {
		// It need not wait as long as it would.
		w.execute(t, `UPDATE river_job SET state = 'available', scheduled_at = created_at WHERE kind = 'act_release' AND state = 'scheduled'`)
		return now.ended
	}); now.state != string(release.Succeeded) || w.starts() != 3 {
		t.Errorf("confirmed, the release of d is %s after %d starts: %s", now.state, w.starts(), now.reason)
	}
}

// TestNextPushMakesTheHeadCertain, also after a deletion that was sent again.
func TestNextPushMakesTheHeadCertain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		b := newBench(t, db, func(id string) (event.Event, error) {
			switch id = id[2:]; id {
			case "e":
				return push("d", "e"), nil
			case "b deleted":
				ev := push("b", "")
				ev.Deleted, ev.IgnoredReason = true, "branch was deleted: nothing to check"
				return ev, nil
			case "reset":
				return push("e", "b"), nil
			}
			return events(id)
		})
		for _, test := range []struct {
			id, sha   string
			uncertain bool
		}{
			{"1 b", "b", false},
			{"2 c", "c", false},
			{"3 d", "d", false},
			{"4 b deleted", "d", true},
			{"5 e", "e", false},
			// A branch that is really set back starts at the head.
			{"6 reset", "b", false},
		} {
			d := b.decided(t, test.id)
			if head, _ := b.head(t, push("", "")); head.SHA != test.sha || head.Uncertain != test.uncertain || head.Ended {
				t.Errorf("after %s the head is %+v: %s", test.id, head, d.Reason)
			}
		}
	})
}
