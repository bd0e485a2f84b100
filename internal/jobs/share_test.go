package jobs_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/storetest"
)

// sharingPolicy makes two runs of a push, of which the first has the execution and is
// superseded by a newer commit, and the second shares it and is not.
const sharingPolicy = `
version: 1
defaults:
  check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07, name: demo}}
rules:
  - name: superseded
    on: [push]
    check: {}
    continue: true
  - name: kept
    on: [push]
    check: {supersede: false}
`

func (w *world) runOf(t *testing.T, b bench, deliveryID, rule string) codecheck.Run {
	t.Helper()
	for _, run := range b.runs(t, deliveryID) {
		if run.Rule == rule {
			return run
		}
	}
	t.Fatalf("delivery %s has no run of rule %s", deliveryID, rule)
	return codecheck.Run{}
}

// TestSharedExecutionOutlivesItsOwner: a newer push supersedes the run that has the
// execution. The run that shares it goes on with it, to its verdict, and the execution
// is not stopped.
func TestSharedExecutionOutlivesItsOwner(t *testing.T) {
	storetest.Each(t, testSharedExecutionOutlivesItsOwner)
}

func testSharedExecutionOutlivesItsOwner(t *testing.T, db storetest.Database) {
	w := newWorld(t, db)
	w.policy = sharingPolicy
	w.services.SetScanDelay(time.Hour)
	q, _ := w.start(t, jobs.Options{})
	b := bench{q, w.store}
	b.decided(t, "b")
	w.until(t, w.runOf(t, b, "b", "superseded").ID, func(now record) bool { return now.state == string(codecheck.Running) })
	b.decided(t, "c")
	owner, kept := w.runOf(t, b, "b", "superseded"), w.runOf(t, b, "b", "kept")
	if owner.State != codecheck.Superseded || owner.ExecID == "" {
		t.Errorf("the owner is %s with execution %q", owner.State, owner.ExecID)
	}
	if kept.State != codecheck.Running || kept.ExecID != owner.ExecID || kept.SharesRunID != "" {
		t.Errorf("the other is %s with execution %q and shares %q", kept.State, kept.ExecID, kept.SharesRunID)
	}
	w.services.SetScanDelay(-1)
	w.services.EndScans()
	if now := w.until(t, kept.ID, func(now record) bool { return now.ended }); now.state != string(codecheck.Passed) {
		t.Errorf("it ended %s: %s", now.state, now.reason)
	}
	w.until(t, w.runOf(t, b, "c", "superseded").ID, func(now record) bool { return now.ended })
	if n := len(w.services.done("stop_task")); n != 0 {
		t.Errorf("the execution was stopped %d times", n)
	}
}

// TestWaitingRunHasNoJob: a run that shares an execution is not looked at while the
// owner goes on, and is judged when that has ended.
func TestWaitingRunHasNoJob(t *testing.T) { storetest.Each(t, testWaitingRunHasNoJob) }

func testWaitingRunHasNoJob(t *testing.T, db storetest.Database) {
	w := newWorld(t, db)
	w.services.SetScanDelay(time.Hour)
	q, _ := w.start(t, busy())
	b := bench{q, w.store}
	b.decided(t, "b")
	owner, waits := w.runOf(t, b, "b", "first"), w.runOf(t, b, "b", "second")
	if waits.SharesRunID != owner.ID {
		t.Fatalf("the second run shares %q, want %q", waits.SharesRunID, owner.ID)
	}
	w.until(t, owner.ID, func(now record) bool { return now.state == string(codecheck.Running) })
	w.until(t, waits.ID, func(record) bool {
		return w.count(t, fmt.Sprintf(`args->>'run_id' = '%s' AND finalized_at IS NULL`, waits.ID)) == 0
	})
	for i := range 3 {
		w.sweep(t, fmt.Sprint("late ", i))
		if n := w.count(t, fmt.Sprintf(`args->>'run_id' = '%s' AND finalized_at IS NULL`, waits.ID)); n != 0 {
			t.Errorf("the run that waits has %d jobs", n)
		}
	}
	w.services.EndScans()
	b.until(t, "b", func(run codecheck.Run) bool { return run.State == codecheck.Passed })
	if n := len(w.services.done("run_task")); n != 1 {
		t.Errorf("scanned %d times, want once", n)
	}
}
