package jobs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

const debouncePolicy = `
version: 1
defaults:
  check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07, name: demo}}
rules:
  - {name: slow, on: push, match: {repository: acme/1}, check: {debounce: {quiet: 20m, max: 30m}}}
  - {name: quick, on: push, check: {debounce: {quiet: 20s, max: 60s}}}
`

// TestDebounce: of a quick series the last commit is checked, and the others cost no call. The
// wait outlives a restart. The quiet time is long enough for three decisions on a slow machine.
func TestDebounce(t *testing.T) { storetest.Each(t, testDebounce) }

func testDebounce(t *testing.T, db storetest.Database) {
	w, b, stop := pushed(t, db, debouncePolicy, -1, jobs.Options{})
	for _, id := range []string{"0 a b", "0 b c", "0 c d"} {
		b.decided(t, id)
	}
	if n := len(w.services.Calls()); n != 0 {
		t.Errorf("%d calls were made while the runs wait for a newer commit", n)
	}
	for _, id := range []string{"0 a b", "0 b c"} {
		if run := b.runs(t, id)[0]; run.State != codecheck.Superseded {
			t.Errorf("the run of %q is %s: %s", id, run.State, run.Reason)
		}
	}
	run := b.runs(t, "0 c d")[0]
	if run.State != codecheck.Queued || !strings.HasSuffix(run.Reason, "UTC for a newer commit (debounce)") || !run.StartsAt.Equal(run.CreatedAt.Add(20*time.Second)) {
		t.Errorf("the last run is %s until %v for %q", run.State, run.StartsAt, run.Reason)
	}
	if n := w.gauge(t, "gatewright_waiting_runs", "quiet"); n != 1 {
		t.Errorf("%v runs wait by the metric, want 1", n)
	}
	stop()
	w.start(t, jobs.Options{})
	if now := w.until(t, run.ID, func(now record) bool { return now.ended }); now.state != string(codecheck.Passed) {
		t.Errorf("it ended %s: %s", now.state, now.reason)
	}
	if run = b.runs(t, "0 c d")[0]; run.StartedAt.Before(run.StartsAt) {
		t.Errorf("started at %v, before %v", run.StartedAt, run.StartsAt)
	}
	if n := len(w.started()); n != 1 {
		t.Errorf("scanned %d times, want once", n)
	}
}

// TestDebounceMax: a series that does not end is checked at the latest max after its first
// commit, and the next series begins at its own first.
func TestDebounceMax(t *testing.T) { storetest.Each(t, testDebounceMax) }

func testDebounceMax(t *testing.T, db storetest.Database) {
	w, b, _ := pushed(t, db, debouncePolicy, time.Hour, jobs.Options{})
	b.decided(t, "1 a b")
	first := b.runs(t, "1 a b")[0]
	w.clock.jump(15 * time.Minute)
	b.decided(t, "1 b c")
	second := b.runs(t, "1 b c")[0]
	if want := first.CreatedAt.Add(30 * time.Minute); !second.StartsAt.Equal(want) {
		t.Errorf("the second starts at %v, want %v", second.StartsAt, want)
	}
	// Its job has seen that it waits: else it may begin after the jump, and so end the series.
	w.until(t, second.ID, func(record) bool {
		return w.count(t, `kind = 'start_run' AND state IN ('available', 'running')`) == 0
	})
	w.clock.jump(31 * time.Minute)
	b.decided(t, "1 c d")
	third := b.runs(t, "1 c d")[0]
	w.untilState(t, third.ID, string(codecheck.Running))
	b.decided(t, "1 d e")
	if next := b.runs(t, "1 d e")[0]; !next.StartsAt.Equal(next.CreatedAt.Add(20 * time.Minute)) {
		t.Errorf("the next series starts at %v, %v after its commit", next.StartsAt, next.StartsAt.Sub(next.CreatedAt))
	}
	// The execution of the older commit is stopped at once, not after the wait.
	w.until(t, third.ID, func(record) bool { return len(w.services.done("stop_task")) == 1 })
}

const finishPolicy = `
version: 1
defaults:
  check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07, name: demo}, supersede: waiting}
rules:
  - name: first
    on: push
    check: {}
    continue: true
    release: [{pipeline: caf409b1-10df-483a-b14d-000000000000, action: start}]
  - name: shares
    on: push
    check: {}
`

// TestSupersedeWaiting: a scan that runs may finish, with what shares it; its verdict is kept
// and its releases are refused. What waits for it is superseded, and the newest commit is
// checked after it.
func TestSupersedeWaiting(t *testing.T) { storetest.Each(t, testSupersedeWaiting) }

func testSupersedeWaiting(t *testing.T, db storetest.Database) {
	w, b, _ := pushed(t, db, finishPolicy, time.Hour, jobs.Options{MaxRuns: map[string]int{"": 1}})
	b.decided(t, "0 a b")
	runs := w.runOf(t, b, "0 a b", "first")
	w.untilState(t, runs.ID, string(codecheck.Running))
	for _, id := range []string{"0 b c", "0 c d", "0 d e"} {
		b.decided(t, id)
	}
	for _, id := range []string{"0 b c", "0 c d"} {
		b.until(t, id, func(run codecheck.Run) bool { return run.State == codecheck.Superseded })
	}
	// Two runs of each of these commits, in a branch that has no verdict.
	if n, age := w.gauge(t, "gatewright_refs_without_verdict", ""), w.gauge(t, "gatewright_longest_without_verdict_seconds", ""); n != 1 || age <= 0 {
		t.Errorf("the metrics tell of %v branches without a verdict, for %v s", n, age)
	}
	if now := w.record(t, runs.ID); now.state != string(codecheck.Running) {
		t.Errorf("the run that runs is %s: %s", now.state, now.reason)
	}
	w.services.EndScans()
	b.until(t, "0 a b", func(run codecheck.Run) bool { return run.State == codecheck.Passed })
	newest := w.runOf(t, b, "0 d e", "first")
	w.untilState(t, newest.ID, string(codecheck.Running))
	if before, now := w.runOf(t, b, "0 a b", "first"), w.runOf(t, b, "0 d e", "first"); before.Usual != nil || now.Usual == nil || before.ScanTook < now.Usual.From || before.ScanTook > now.Usual.To {
		t.Errorf("the first scan took %v and was expected after %+v, the next is expected after %+v", before.ScanTook, before.Usual, now.Usual)
	}
	err := w.store.View(t.Context(), func(tx *store.Tx) error {
		releases, err := tx.ReleasesOf(t.Context(), runs.ID)
		if len(releases) != 1 || releases[0].State != release.Refused || !strings.Contains(releases[0].Reason, "newer commit") {
			t.Errorf("the releases of the older commit are %+v", releases)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.services.EndScans()
	b.until(t, "0 d e", func(run codecheck.Run) bool { return run.State == codecheck.Passed })
	if n := w.gauge(t, "gatewright_refs_without_verdict", ""); n != 0 {
		t.Errorf("%v branches are without a verdict after it", n)
	}
	if started, stopped := len(w.started()), len(w.services.done("stop_task")); started != 2 || stopped != 0 {
		t.Errorf("%d scans were started and %d stopped, want 2 and none", started, stopped)
	}
}

// TestSupersedeWaitingTurnsBack: a run that had an execution and must start another one is
// superseded then, when there is a newer commit.
func TestSupersedeWaitingTurnsBack(t *testing.T) { storetest.Each(t, testSupersedeWaitingTurnsBack) }

func testSupersedeWaitingTurnsBack(t *testing.T, db storetest.Database) {
	w := newWorld(t, db)
	w.leave(t, func(l *lost) {
		run := l.newRun("turns back", l.push("github"))
		run.Check.Supersede, run.Check.LetFinish = true, true
		l.add(&run, codecheck.Queued)
		newer := run.Event
		newer.Before, newer.HeadSHA = run.Event.HeadSHA, "c"
		_, err := l.tx.AdvanceHead(l.ctx, newer, "delivery")
		l.check(err)
	})
	w.start(t, jobs.Options{})
	if now := w.until(t, "turns back", func(now record) bool { return now.ended }); now.state != string(codecheck.Superseded) {
		t.Errorf("it ended %s: %s", now.state, now.reason)
	}
}
