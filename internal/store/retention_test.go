package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

const day = 24 * time.Hour

// clocked opens a store whose clock stands where the test sets it.
func clocked(t *testing.T, db storetest.Database) (s *store.Store, now *time.Time) {
	t.Helper()
	now = new(noon)
	s, err := store.Open(t.Context(), store.Options{SQLite: db.SQLite, Postgres: db.Postgres, Now: func() time.Time { return *now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, now
}

// story is a delivery with what it caused.
type story struct {
	name     string
	state    event.DeliveryState
	run      codecheck.State // empty: no run
	releases []release.State
	// received and ended are counted back from the day of the expiry.
	received, ended time.Duration
	// branch is shared with another story; empty means one of its own.
	branch string

	wantRow, wantBody bool
	wantRun           bool
	wantReleases      int
}

func stories() []story {
	old, fresh, weeks := 31*day, time.Hour, 8*day
	return []story{
		{name: "still received", state: event.DeliveryReceived, received: old, ended: old, wantRow: true, wantBody: true},
		{name: "old and ignored", state: event.DeliveryIgnored, received: old, ended: old},
		{name: "old and failed", state: event.DeliveryFailed, received: old, ended: old},
		{name: "old and replayed lately", state: event.DeliveryFailed, received: old, ended: fresh, wantRow: true, wantBody: true},
		{name: "some days old", state: event.DeliveryDecided, received: weeks, ended: weeks, wantRow: true},
		{name: "fresh", state: event.DeliveryDecided, received: fresh, ended: fresh, wantRow: true, wantBody: true},
		{
			name: "all ended", state: event.DeliveryDecided, run: codecheck.Passed, received: old, ended: old,
			releases: []release.State{release.Succeeded, release.Unknown},
		},
		{
			name: "one release goes on", state: event.DeliveryDecided, run: codecheck.Passed, received: old, ended: old,
			releases: []release.State{release.Succeeded, release.Running}, wantRow: true, wantRun: true, wantReleases: 2,
		},
		{name: "the run goes on", state: event.DeliveryDecided, run: codecheck.Running, received: old, ended: old, wantRow: true, wantRun: true},
		{
			name: "superseded by a run that goes on", state: event.DeliveryDecided, run: codecheck.Superseded, received: old, ended: old,
			branch: "the run goes on", wantRow: true, wantRun: true,
		},
		{name: "a run of today", state: event.DeliveryDecided, run: codecheck.Failed, received: fresh, ended: fresh, wantRow: true, wantBody: true, wantRun: true},
	}
}

// tell makes a story true.
func tell(t *testing.T, s *store.Store, now *time.Time, at time.Time, told story) {
	t.Helper()
	ctx := t.Context()
	d := delivery(told.name, told.name, []byte(`{"ref":"refs/heads/main"}`))
	d.ReceivedAt = at.Add(-told.received)
	*now = at.Add(-told.ended)
	r := run("run of "+told.name, "rule", told.name)
	r.DeliveryID, r.CreatedAt, r.Event.Branch = d.ID, *now, told.name
	if told.branch != "" {
		r.Event.Branch = told.branch
	}
	update(t, s, func(tx *store.Tx) error {
		if _, err := add(ctx, s, tx, d); err != nil || told.state == event.DeliveryReceived {
			return err
		}
		if _, err := tx.AdvanceHead(ctx, r.Event, d.ID); err != nil {
			return err
		}
		if _, err := tx.ClaimEvent(ctx, r.Event, d.ID); err != nil {
			return err
		}
		if err := tx.EndDelivery(ctx, d.ID, told.state, "", store.Said{}, nil); err != nil || told.run == "" {
			return err
		}
		if _, _, err := tx.AddRun(ctx, r); err != nil {
			return err
		}
		r.State = told.run
		if err := tx.SaveRun(ctx, r, new(store.Version)); err != nil {
			return err
		}
		for i, state := range told.releases {
			rel := release.Release{ID: fmt.Sprint(told.name, i), RunID: r.ID, Index: i, State: release.Starting, CreatedAt: *now, Deadline: *now}
			if _, err := tx.AddRelease(ctx, rel); err != nil {
				return err
			}
			rel.State = state
			if err := tx.SaveRelease(ctx, rel, new(store.Version)); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestExpire(t *testing.T) {
	for _, batch := range []int{1, 2, 500} {
		t.Run(fmt.Sprint("batch of ", batch), func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db storetest.Database) { testExpire(t, db, batch) })
		})
	}
}

func testExpire(t *testing.T, db storetest.Database, batch int) {
	ctx := t.Context()
	s, now := clocked(t, db)
	today := noon.Add(100 * day)
	for _, told := range stories() {
		tell(t, s, now, today, told)
	}
	if err := errors.Join(s.SaveTask(ctx, push("", "a"), "task", codecheck.Task{ID: "1"}), s.SaveRef(ctx, push("", "a"), codecheck.Pull)); err != nil {
		t.Fatal(err)
	}
	gone, err := s.Expire(ctx, today, 7*day, 30*day, batch)
	if err != nil {
		t.Fatal(err)
	}
	if want := (store.Expired{Payloads: 4, Releases: 2, Runs: 1, Deliveries: 3, EventKeys: 3}); gone != want {
		t.Errorf("removed %+v, want %+v", gone, want)
	}
	if again, err := s.Expire(ctx, today, 7*day, 30*day, batch); err != nil || again != (store.Expired{}) {
		t.Errorf("a second time removed %+v, error %v", again, err)
	}
	for _, told := range stories() {
		update(t, s, func(tx *store.Tx) error {
			d, err := tx.Delivery(ctx, told.name)
			if (err == nil) != told.wantRow || (err != nil && !errors.Is(err, store.ErrNotFound)) {
				t.Errorf("%s: row %v (%v), want %v", told.name, err == nil, err, told.wantRow)
			}
			if (len(d.Body) > 0) != told.wantBody || d.PayloadRemoved != (told.wantRow && !told.wantBody) {
				t.Errorf("%s: body of %d bytes, gone %v", told.name, len(d.Body), d.PayloadRemoved)
			}
			runs, err := tx.RunsOf(ctx, told.name)
			if (len(runs) == 1) != told.wantRun {
				t.Errorf("%s: %d runs", told.name, len(runs))
			}
			releases, err2 := tx.ReleasesOf(ctx, "run of "+told.name)
			if len(releases) != told.wantReleases {
				t.Errorf("%s: %d releases, want %d", told.name, len(releases), told.wantReleases)
			}
			if told.state != event.DeliveryReceived && told.branch == "" {
				ev := push("", told.name)
				ev.Branch = told.name
				if _, known, err := tx.Head(ctx, ev.RefKey()); !known || err != nil {
					t.Errorf("%s: the head is known %v, error %v", told.name, known, err)
				}
			}
			return errors.Join(err, err2)
		})
	}
	if _, known, err := s.Task(ctx, "task"); !known || err != nil {
		t.Errorf("the task is known %v, error %v", known, err)
	}
	if _, known, err := s.Ref(ctx, push("", "a")); !known || err != nil {
		t.Errorf("the ref is known %v, error %v", known, err)
	}
}

// TestMemoryExpires holds that heads, tasks and refs go after 400 days, unless there is a
// run that used them.
func TestMemoryExpires(t *testing.T) { storetest.Each(t, testMemoryExpires) }

func testMemoryExpires(t *testing.T, db storetest.Database) {
	ctx := t.Context()
	s, now := clocked(t, db)
	used, head := run("one", "rule", "a"), push("", "a")
	head.Branch = "forgotten"
	key := codecheck.TaskKey(used.Event, used.Check)
	err := errors.Join(s.SaveTask(ctx, push("", "a"), key, codecheck.Task{ID: "1"}), s.SaveTask(ctx, push("", "a"), "unused", codecheck.Task{ID: "2"}),
		s.SaveRef(ctx, used.Event, codecheck.Pull))
	if err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *store.Tx) error { _, err := tx.AdvanceHead(ctx, head, "1"); return err })
	*now = noon.Add(200 * day)
	update(t, s, func(tx *store.Tx) error {
		if _, err := tx.AdvanceHead(ctx, used.Event, "2"); err != nil {
			return err
		}
		_, _, err := tx.AddRun(ctx, used)
		return err
	})
	for _, test := range []struct {
		after time.Duration
		want  store.Expired
	}{
		{399 * day, store.Expired{}},
		{401 * day, store.Expired{Heads: 1, Tasks: 1, Refs: 1}},
		// The run has not ended, and keeps the head.
		{601 * day, store.Expired{}},
	} {
		removed, err := s.Expire(ctx, noon.Add(test.after), 7*day, 30*day, 100)
		if removed != test.want || err != nil {
			t.Errorf("after %s: removed %+v, error %v; want %+v", test.after, removed, err, test.want)
		}
	}
}

// TestGoneBody walks a failed delivery through the loss of its body: it cannot be
// replayed, until the host sends it again.
func TestGoneBody(t *testing.T) { storetest.Each(t, testGoneBody) }

func testGoneBody(t *testing.T, db storetest.Database) {
	ctx := t.Context()
	s, now := clocked(t, db)
	today := noon.Add(100 * day)
	tell(t, s, now, today, story{name: "failed", state: event.DeliveryFailed, received: 8 * day, ended: 8 * day})
	*now = today
	if _, err := s.Expire(ctx, today, 7*day, 30*day, 100); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(ctx, func(tx *store.Tx) error { return tx.Replay(ctx, "failed") }); !errors.Is(err, store.ErrPayloadRemoved) {
		t.Errorf("replay: error %v, want gone", err)
	}
	update(t, s, func(tx *store.Tx) error {
		again, err := add(ctx, s, tx, delivery("other id", "failed", []byte("as before")))
		if !again.Duplicate || again.ID != "failed" {
			t.Errorf("sent again it is %+v", again)
		}
		return err
	})
	if gone, err := s.Expire(ctx, today, 7*day, 30*day, 100); err != nil || gone.Payloads != 0 {
		t.Errorf("what came again was removed: %+v, error %v", gone, err)
	}
	update(t, s, func(tx *store.Tx) error { return tx.Replay(ctx, "failed") })
	update(t, s, func(tx *store.Tx) error {
		d, err := tx.Delivery(ctx, "failed")
		if string(d.Body) != "as before" || d.PayloadRemoved || d.State != event.DeliveryReceived {
			t.Errorf("body %q, gone %v, state %s", d.Body, d.PayloadRemoved, d.State)
		}
		return err
	})
}

// TestWaitingBody: the body of a delivery stays while somebody may still vouch for its commit, and goes after that.
func TestWaitingBody(t *testing.T) { storetest.Each(t, testWaitingBody) }

func testWaitingBody(t *testing.T, db storetest.Database) {
	ctx := t.Context()
	s, now := clocked(t, db)
	today := noon.Add(100 * day)
	waits := event.Event{Connection: "github", Kind: event.MergeRequest, Repository: event.Repository{ID: "1"}, Number: 8, HeadSHA: "a"}
	tell(t, s, now, today, story{name: "waits", state: event.DeliveryIgnored, received: 8 * day, ended: 8 * day})
	update(t, s, func(tx *store.Tx) error { _, err := tx.AwaitTrust(ctx, waits, "waits"); return err })
	*now = today
	if removed, err := s.Expire(ctx, today, 7*day, 30*day, 100); err != nil || removed.Payloads != 0 {
		t.Errorf("removed %+v, error %v", removed, err)
	}
	update(t, s, func(tx *store.Tx) error { _, _, err := tx.GiveTrust(ctx, waits, "ann", "read it"); return err })
	if removed, err := s.Expire(ctx, today, 7*day, 30*day, 100); err != nil || removed.Payloads != 1 {
		t.Errorf("after that removed %+v, error %v", removed, err)
	}
	tell(t, s, now, today, story{name: "forgotten", state: event.DeliveryIgnored, received: 31 * day, ended: 31 * day})
	waits.HeadSHA = "b"
	update(t, s, func(tx *store.Tx) error { _, err := tx.AwaitTrust(ctx, waits, "forgotten"); return err })
	*now = today
	if removed, err := s.Expire(ctx, today, 7*day, 30*day, 100); err != nil || removed.Deliveries != 1 {
		t.Errorf("in the end removed %+v, error %v", removed, err)
	}
}

func TestReplay(t *testing.T) { storetest.Each(t, testReplay) }

func testReplay(t *testing.T, db storetest.Database) {
	ctx := t.Context()
	s, now := clocked(t, db)
	for i, state := range event.DeliveryStates() {
		tell(t, s, now, noon, story{name: string(state), state: state, received: time.Duration(9-i) * time.Hour})
	}
	for _, state := range event.DeliveryStates() {
		var want error
		if state == event.DeliveryReceived {
			want = store.ErrUndecided
		}
		if err := s.Update(ctx, func(tx *store.Tx) error { return tx.Replay(ctx, string(state)) }); !errors.Is(err, want) {
			t.Errorf("replay of a %s one: %v, want %v", state, err, want)
		}
	}
	if err := s.Update(ctx, func(tx *store.Tx) error { return tx.Replay(ctx, "nobody") }); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("replay of nothing: %v", err)
	}
	update(t, s, func(tx *store.Tx) error {
		waiting, err := tx.Deliveries(ctx, store.Filter{States: []string{string(event.DeliveryReceived)}, Limit: 10})
		if len(waiting) != len(event.DeliveryStates()) {
			t.Errorf("%d wait", len(waiting))
		}
		return err
	})
}
