package jobs_test

import (
	"testing"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/storetest"
)

// TestRepositoryIsItsID: a renamed repository keeps its head and its task; a new
// repository under the old name, and the same repository on another connection, inherit
// nothing. The task of the old name belongs to the repository that has the name now.
func TestRepositoryIsItsID(t *testing.T) { storetest.Each(t, testRepositoryIsItsID) }

func testRepositoryIsItsID(t *testing.T, db storetest.Database) {
	w := newWorld(t, db)
	w.parse = func(id string) (event.Event, error) {
		ev := push("a", "b")
		switch id {
		case "2 renamed":
			ev = push("b", "c")
			ev.Repository.FullName, ev.Repository.HTTPSURL = "acme/shop", "https://github.com/acme/shop.git"
		case "3 replaced":
			ev = push("x", "y")
			ev.Repository.ID = "2"
		case "4 elsewhere":
			ev.Connection = "other"
		}
		return ev, nil
	}
	q, _ := w.start(t, jobs.Options{})
	b := bench{q, w.store}
	for _, test := range []struct {
		id     string
		origin codecheck.Origin
	}{{"1 first", codecheck.Found}, {"2 renamed", codecheck.Remembered}, {"3 replaced", codecheck.Found}, {"4 elsewhere", codecheck.Found}} {
		b.decided(t, test.id)
		b.until(t, test.id, func(run codecheck.Run) bool { return run.State == codecheck.Passed })
		runs := b.runs(t, test.id)
		if len(runs) != 2 || runs[0].Task.Name != "api-main" || runs[0].Origin != test.origin {
			t.Errorf("%s: %d runs, task %+v is %s, want %s", test.id, len(runs), runs[0].Task, runs[0].Origin, test.origin)
		}
	}
	old := push("", "")
	if head, known := b.head(t, old); !known || head.SHA != "c" {
		t.Errorf("the head of the renamed repository is %+v", head)
	}
	if _, known, err := w.store.Task(t.Context(), codecheck.TaskKey(old, b.runs(t, "1 first")[0].Check)); known || err != nil {
		t.Errorf("the renamed repository keeps a task that scans another one; error %v", err)
	}
}
