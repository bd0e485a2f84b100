package jobs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/storetest"
)

const onePolicy = `
version: 1
defaults:
  check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07, name: demo}}
rules:
  - name: first
    on: [push]
    check: {}
`

// TestTwoConnectionsOfOneRepository: the runs of one CodeArts task that two connections
// caused have their executions one after the other. Who waits has no job meanwhile, and
// does not ask the service.
func TestTwoConnectionsOfOneRepository(t *testing.T) {
	storetest.Each(t, testTwoConnectionsOfOneRepository)
}

func testTwoConnectionsOfOneRepository(t *testing.T, db storetest.Database) {
	w := newWorld(t, db)
	w.policy = onePolicy
	w.parse = func(id string) (event.Event, error) {
		ev := push("", id)
		ev.Connection = id
		return ev, nil
	}
	w.services.SetScanDelay(time.Hour)
	q, _ := w.start(t, jobs.Options{})
	b := bench{q, w.store}
	b.decided(t, "github")
	first := w.runOf(t, b, "github", "first").ID
	w.until(t, first, func(now record) bool { return now.state == string(codecheck.Running) })
	b.decided(t, "mirror")
	second := w.runOf(t, b, "mirror", "first").ID
	w.until(t, second, func(now record) bool { return strings.Contains(now.reason, "waits for run "+first) })
	w.until(t, second, func(record) bool {
		return w.count(t, fmt.Sprintf(`args->>'run_id' = '%s' AND finalized_at IS NULL`, second)) == 0
	})
	asked := 0
	for _, call := range w.services.Calls() {
		if call.Operation == "run_task" {
			asked++
		}
	}
	if asked != 1 {
		t.Errorf("the service was asked %d times for an execution while there was one, want once", asked)
	}
	w.services.SetScanDelay(-1)
	w.services.EndScans()
	for _, id := range []string{first, second} {
		if now := w.until(t, id, func(now record) bool { return now.ended }); now.state != string(codecheck.Passed) {
			t.Errorf("run %s ended %s: %s", id, now.state, now.reason)
		}
	}
	if a, b := w.runOf(t, b, "github", "first"), w.runOf(t, b, "mirror", "first"); a.Task.ID != b.Task.ID || a.ExecID == b.ExecID {
		t.Errorf("executions %s of task %s and %s of task %s, want two of one task", a.ExecID, a.Task.ID, b.ExecID, b.Task.ID)
	}
}
