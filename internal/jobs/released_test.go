package jobs_test

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// startingPolicy releases every push that passes.
var startingPolicy = `
version: 1
defaults:
  check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07, name: demo}}
rules:
  - name: release
    on: [push]
    check: {}
    release: [{pipeline: ` + pipelineID(0) + `, action: start}]
`

// releasing is a queue at work by startingPolicy.
func releasing(t *testing.T, db storetest.Database) (*world, bench) {
	t.Helper()
	w := newWorld(t, db)
	w.policy = startingPolicy
	q, _ := w.start(t, jobs.Options{})
	return w, bench{q, w.store}
}

// releaseOf waits until the one release that a delivery caused has ended.
func (w *world) releaseOf(t *testing.T, b bench, deliveryID string) release.Release {
	t.Helper()
	runs := b.runs(t, deliveryID)
	if len(runs) != 1 {
		t.Fatalf("%s has %d runs: %s", deliveryID, len(runs), b.ended(t, deliveryID).Reason)
	}
	w.until(t, runs[0].ID, func(now record) bool { return now.ended })
	var releases []release.Release
	err := w.store.View(t.Context(), func(tx *store.Tx) (err error) {
		releases, err = tx.ReleasesOf(t.Context(), runs[0].ID)
		return err
	})
	if err != nil || len(releases) != 1 {
		t.Fatalf("%s has %d releases, error %v", deliveryID, len(releases), err)
	}
	w.until(t, releases[0].ID, func(now record) bool { return now.ended })
	err = w.store.View(t.Context(), func(tx *store.Tx) (err error) {
		releases[0], err = tx.Release(t.Context(), releases[0].ID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return releases[0]
}

// starts is how often the pipeline was started.
func (w *world) starts() int { return len(w.services.done("operate_pipeline")) }

// expire removes what can be removed after some days.
func (w *world) expire(t *testing.T, days int) {
	t.Helper()
	if _, err := w.store.Expire(t.Context(), time.Now().Add(time.Duration(days)*24*time.Hour), 7*24*time.Hour, 30*24*time.Hour, 100); err != nil {
		t.Fatal(err)
	}
}

// TestReleasedOnceForGood: a captured push that is sent again under a new id when
// everything but what was released has been removed is not released again. What a person
// reruns is, be it the release or its run.
func TestReleasedOnceForGood(t *testing.T) { storetest.Each(t, testReleasedOnceForGood) }

func testReleasedOnceForGood(t *testing.T, db storetest.Database) {
	w, b := releasing(t, db)
	b.decided(t, "b")
	first := w.releaseOf(t, b, "b")
	if first.State != release.Succeeded {
		t.Fatalf("the first release ended %s: %s", first.State, first.Reason)
	}
	w.expire(t, 401)
	if _, known := b.head(t, push("", "")); known {
		t.Fatal("the head is still known")
	}
	d := event.Delivery{ID: "replayed", Connection: "github", Host: event.GitHub, Key: "replayed", HostID: "b", ReceivedAt: time.Now()}
	if _, _, err := b.Accept(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	b.ended(t, "replayed")
	second := w.releaseOf(t, b, "replayed")
	if second.State != release.Refused || !strings.Contains(second.Reason, "was released before, by release "+first.ID) {
		t.Errorf("the second release ended %s: %s", second.State, second.Reason)
	}
	if n := w.starts(); n != 1 {
		t.Errorf("the pipeline was started %d times", n)
	}

	inserter, err := jobs.NewInserter(w.store, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	rerun, err := inserter.RerunRelease(t.Context(), second.ID, ann)
	if err != nil {
		t.Fatal(err)
	}
	w.untilSucceeded(t, rerun.Releases[0].ID)
	if rerun, err = inserter.RerunRun(t.Context(), second.RunID, ann); err != nil {
		t.Fatal(err)
	}
	w.until(t, rerun.Runs[0].ID, func(now record) bool { return now.ended })
	if err := w.store.View(t.Context(), func(tx *store.Tx) (err error) {
		rerun.Releases, err = tx.ReleasesOf(t.Context(), rerun.Runs[0].ID)
		return err
	}); err != nil || len(rerun.Releases) != 1 {
		t.Fatalf("the rerun run has releases %+v, error %v", rerun.Releases, err)
	}
	w.untilSucceeded(t, rerun.Releases[0].ID)
	if n := w.starts(); n != 3 {
		t.Errorf("the pipeline was started %d times", n)
	}
}

func (w *world) untilSucceeded(t *testing.T, id string) {
	t.Helper()
	if now := w.until(t, id, func(now record) bool { return now.ended }); now.state != string(release.Succeeded) {
		t.Errorf("what a person reruns ended %s: %s", now.state, now.reason)
	}
}

// TestRefusedActionIsNoRelease: an action that certainly had no effect does not keep the
// next one from being taken.
func TestRefusedActionIsNoRelease(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		w, b := releasing(t, db)
		w.services.setFaults(t, standin.Fault{Kind: standin.FaultRefused, Operations: []string{"operate_pipeline"}})
		b.decided(t, "b")
		if first := w.releaseOf(t, b, "b"); first.State != release.Failed {
			t.Fatalf("the first release ended %s: %s", first.State, first.Reason)
		}
		w.services.setFaults(t)
		w.expire(t, 401)
		d := event.Delivery{ID: "later", Connection: "github", Host: event.GitHub, Key: "later", HostID: "b", ReceivedAt: time.Now()}
		if _, _, err := b.Accept(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		b.ended(t, "later")
		if second := w.releaseOf(t, b, "later"); second.State != release.Succeeded {
			t.Errorf("the second release ended %s: %s", second.State, second.Reason)
		}
	})
}
