package store_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// TestReports: a report is written by one at a time, again when it was wanted meanwhile, and
// not before it is due.
func TestReports(t *testing.T) { storetest.Each(t, testReports) }

func testReports(t *testing.T, db storetest.Database) {
	clock := &movedClock{at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	s := openAt(t, db, clock.now)
	ctx := t.Context()
	report := store.Report{Connection: "hub", Repository: event.Repository{ID: "7", FullName: "acme/shop"}, SHA: "abc", Ref: "main"}
	want := func() {
		t.Helper()
		if err := s.Update(ctx, func(tx *store.Tx) error { return tx.Want(ctx, report) }); err != nil {
			t.Fatal(err)
		}
	}
	process := 0
	name := func(process int) string { return fmt.Sprint("process ", process) }
	claim := func() (store.Outgoing, bool) {
		t.Helper()
		process++
		return claimOne(t, s, name(process), clock.now())
	}
	save := func(o store.Outgoing, by int) {
		t.Helper()
		if err := s.Update(ctx, func(tx *store.Tx) error { return tx.SaveReport(ctx, o, name(by)) }); err != nil {
			t.Fatal(err)
		}
	}
	toTell := func() (connections []string) {
		t.Helper()
		err := s.View(ctx, func(tx *store.Tx) (err error) { connections, err = tx.ConnectionsToTell(ctx); return err })
		if err != nil {
			t.Fatal(err)
		}
		return connections
	}
	if _, claimed := claim(); claimed {
		t.Error("what nobody wants was claimed")
	}
	want()
	first, claimed := claim()
	if !claimed || first.Report != report || first.Version != 1 || !first.WantedAt.Equal(clock.now()) {
		t.Fatalf("claimed %t: %+v", claimed, first)
	}
	if _, claimed := claim(); claimed {
		t.Error("claimed twice")
	}
	want()
	first.Done, first.State, first.Written, first.Handle, first.Writes = first.Version, "pending", "digest", "42", 1
	save(first, 2)
	if got := toTell(); !slices.Equal(got, []string{"hub"}) {
		t.Errorf("what was wanted meanwhile is not seen: %q", got)
	}
	clock.add(time.Second)
	second, claimed := claim()
	if !claimed || second.Version != 2 || second.Handle != "42" || second.Written != "digest" || second.Writes != 1 {
		t.Fatalf("claimed %t: %+v", claimed, second)
	}
	// It cannot be written yet.
	second.Problem, second.DueAt = "the host does not answer", clock.now().Add(time.Hour)
	save(second, process)
	want()
	if _, claimed := claim(); claimed {
		t.Error("claimed before it is due")
	}
	clock.add(time.Hour)
	third, claimed := claim()
	if !claimed || third.Version != 3 || third.Handle != "42" || !third.WantedAt.Equal(clock.now().Add(-time.Hour-time.Second)) {
		t.Fatalf("claimed %t: %+v", claimed, third)
	}
	// A process that dies keeps its claim for a while only.
	clock.add(2 * time.Minute)
	if got := toTell(); !slices.Equal(got, []string{"hub"}) {
		t.Errorf("to tell: %q", got)
	}
	if third, claimed = claim(); !claimed {
		t.Error("not claimed after its claim has ended")
	}
	third.GivenUp, third.Problem = true, "given up"
	save(third, process)
	if _, claimed := claim(); claimed || len(toTell()) > 0 {
		t.Error("what was given up is tried again")
	}
	var counts map[string]store.ReportCounts
	if err := s.View(ctx, func(tx *store.Tx) (err error) { counts, err = tx.CountReports(ctx); return err }); err != nil {
		t.Fatal(err)
	}
	if counts["hub"] != (store.ReportCounts{GivenUp: 1}) {
		t.Errorf("counts %+v", counts)
	}
	want()
	again, claimed := claim()
	if !claimed || again.GivenUp || !again.WantedAt.Equal(clock.now()) {
		t.Errorf("claimed %t after a new change: %+v", claimed, again)
	}
	// Two write it, because one lost its claim: it is written once more, when both are done.
	again.Done, again.Written = again.Version, "of one of two"
	save(again, process-1)
	save(again, process)
	if _, claimed := claim(); claimed {
		t.Error("claimed while one of two may write it still")
	}
	clock.add(2 * time.Minute)
	if last, claimed := claim(); !claimed || last.Written != "" || last.Version <= again.Version {
		t.Errorf("claimed %t after two wrote it: %+v", claimed, last)
	}
}

// TestReportHasOneWriter: of many that want and write a report at the same time, one writes
// at any time, and the last word is written.
func TestReportHasOneWriter(t *testing.T) { storetest.Each(t, testReportHasOneWriter) }

func testReportHasOneWriter(t *testing.T, db storetest.Database) {
	s := openAt(t, db, time.Now)
	ctx := t.Context()
	report := store.Report{Connection: "hub", Repository: event.Repository{ID: "7"}, SHA: "abc"}
	var mutex sync.Mutex
	writers, written := 0, int64(0)
	write := func(by string) error {
		for {
			o, claimed := claimOne(t, s, by, time.Now())
			if !claimed {
				return nil
			}
			mutex.Lock()
			if writers++; writers > 1 || o.Version < written {
				t.Errorf("%d writers, version %d after %d", writers, o.Version, written)
			}
			written = o.Version
			mutex.Unlock()
			o.Done = o.Version
			mutex.Lock()
			writers--
			mutex.Unlock()
			if err := s.Update(ctx, func(tx *store.Tx) error { return tx.SaveReport(ctx, o, by) }); err != nil {
				return err
			}
		}
	}
	const each, at = 10, 8
	var group sync.WaitGroup
	for i := range at {
		group.Go(func() {
			for range each {
				err := s.Update(ctx, func(tx *store.Tx) error { return tx.Want(ctx, report) })
				if err == nil {
					err = write(fmt.Sprint("process ", i))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if written != each*at {
		t.Errorf("version %d was written last, want %d", written, each*at)
	}
	if err := s.View(ctx, func(tx *store.Tx) error {
		list, err := tx.Reports(ctx)
		if err == nil && (len(list) != 1 || list[0].Done != each*at) {
			err = fmt.Errorf("reports %+v", list)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// claimOne claims the report of connection hub that is to be written.
func claimOne(t *testing.T, s *store.Store, by string, now time.Time) (o store.Outgoing, claimed bool) {
	t.Helper()
	var list []store.Outgoing
	err := s.Update(t.Context(), func(tx *store.Tx) (err error) {
		list, err = tx.ClaimReports(t.Context(), "hub", by, now.Add(time.Minute), 10)
		return err
	})
	if err != nil || len(list) > 1 {
		t.Errorf("claimed %d, error %v", len(list), err)
	}
	if len(list) == 0 {
		return o, false
	}
	return list[0], true
}
