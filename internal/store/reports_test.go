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
	job := int64(0)
	claim := func() (store.Outgoing, bool) {
		t.Helper()
		job++
		o, claimed, err := s.ClaimReport(ctx, report.Key(), job, clock.now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		return o, claimed
	}
	save := func(o store.Outgoing, by int64) (newer bool) {
		t.Helper()
		err := s.Update(ctx, func(tx *store.Tx) (err error) {
			newer, err = tx.SaveReport(ctx, o, by)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return newer
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
	if !save(first, 2) {
		t.Error("what was wanted meanwhile is not seen")
	}
	clock.add(time.Second)
	second, claimed := claim()
	if !claimed || second.Version != 2 || second.Handle != "42" || second.Written != "digest" || second.Writes != 1 {
		t.Fatalf("claimed %t: %+v", claimed, second)
	}
	// It cannot be written yet.
	second.Problem, second.DueAt = "the host does not answer", clock.now().Add(time.Hour)
	if save(second, job-1) {
		t.Error("saved by a job that has no claim")
	}
	if _, claimed, err := s.ClaimReport(ctx, report.Key(), job, clock.now().Add(time.Minute)); err != nil || !claimed {
		t.Errorf("the job that has the claim cannot begin once more: %v", err)
	}
	save(second, job)
	want()
	if _, claimed := claim(); claimed {
		t.Error("claimed before it is due")
	}
	clock.add(time.Hour)
	third, claimed := claim()
	if !claimed || third.Version != 3 || !third.WantedAt.Equal(clock.now().Add(-time.Hour-time.Second)) {
		t.Fatalf("claimed %t: %+v", claimed, third)
	}
	// A process that dies keeps its claim for a while only.
	clock.add(2 * time.Minute)
	keys := func(since time.Time) (keys []string) {
		t.Helper()
		err := s.View(ctx, func(tx *store.Tx) (err error) {
			keys, err = tx.ReportsToWrite(ctx, since, 10)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	if got := keys(clock.now()); !slices.Equal(got, []string{report.Key()}) {
		t.Errorf("to write: %q", got)
	}
	if third, claimed = claim(); !claimed {
		t.Error("not claimed after its claim has ended")
	}
	third.GivenUp, third.Problem = true, "given up"
	save(third, job)
	if _, claimed := claim(); claimed || len(keys(clock.now())) > 0 {
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
	if again, claimed := claim(); !claimed || again.GivenUp || !again.WantedAt.Equal(clock.now()) {
		t.Errorf("claimed %t after a new change: %+v", claimed, again)
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
	write := func(job int64) error {
		for {
			o, claimed, err := s.ClaimReport(ctx, report.Key(), job, time.Now().Add(time.Minute))
			if err != nil || !claimed {
				return err
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
			newer := false
			err = s.Update(ctx, func(tx *store.Tx) (err error) { newer, err = tx.SaveReport(ctx, o, job); return err })
			if err != nil || !newer {
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
					err = write(int64(i + 1))
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
