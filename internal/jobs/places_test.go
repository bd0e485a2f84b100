package jobs_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
	"github.com/gatewright/gatewright/internal/view"
)

// parsePush reads a host id such as "7 a b": a push to acme/7 from commit a to b.
func parsePush(id string) (event.Event, error) {
	var repository, before, sha string
	if _, err := fmt.Sscan(id, &repository, &before, &sha); err != nil {
		return event.Event{}, err
	}
	ev := push(before, sha)
	ev.Repository.ID, ev.Repository.FullName = "10"+repository, "acme/"+repository
	ev.Repository.HTTPSURL = "https://github.com/acme/" + repository + ".git"
	return ev, nil
}

// pushed is a world with a queue that decides pushes, read by parsePush, by a policy. scan is how
// long a scan takes, less where EndScans ends it.
func pushed(t *testing.T, db storetest.Database, policy string, scan time.Duration, o jobs.Options) (w *world, b bench, stop func()) {
	t.Helper()
	w = newWorld(t, db)
	w.policy, w.parse = policy, parsePush
	w.services.SetScanDelay(scan)
	q, stop := w.start(t, o)
	return w, bench{q, w.store}, stop
}

// run decides a push and returns the id of the first run for it.
func (b bench) run(t *testing.T, id string) string {
	t.Helper()
	b.decided(t, id)
	return b.runs(t, id)[0].ID
}

const priorityPolicy = `
version: 1
defaults:
  check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07, name: demo}}
rules:
  - {name: late, on: push, match: {repository: acme/2}, check: {priority: low}}
  - {name: early, on: push, match: {repository: acme/4}, check: {priority: high}}
  - {name: others, on: push, check: {supersede: false}}
`

// started lists the tasks for which an execution was asked, in order.
func (w *world) started() (tasks []string) {
	for _, call := range w.services.done("run_task") {
		tasks = append(tasks, call.Task)
	}
	return tasks
}

func (w *world) gauge(t *testing.T, name, label string) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(jobs.NewStateCollector(w.store, w.clock.now, time.Hour))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == name && (label == "" || metric.GetLabel()[0].GetValue() == label) {
				return metric.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("there is no metric %s of %s", name, label)
	return 0
}

// TestMaxRuns: what has no place waits without a job and without a call, and goes on by
// priority, then in turn by repository, then by age.
func TestMaxRuns(t *testing.T) { storetest.Each(t, testMaxRuns) }

func testMaxRuns(t *testing.T, db storetest.Database) {
	w, b, stop := pushed(t, db, priorityPolicy, time.Hour, jobs.Options{MaxRuns: map[string]int{"": 1}})
	run := func(id string) string { return b.run(t, id) }
	first := run("0 a b")
	w.untilState(t, first, string(codecheck.Running))
	calls := len(w.services.Calls())
	// acme/0 has had a turn, acme/2 is low and acme/4 is high.
	ids := []string{run("0 b c"), run("2 a b"), run("3 a b"), run("4 a b"), run("3 b c")}
	order := []string{ids[3], ids[2], ids[0], ids[4], ids[1]}
	for _, id := range ids {
		w.until(t, id, func(now record) bool { return now.reason == "waits for one of 1 place (max_runs)" })
		w.until(t, id, func(record) bool {
			return w.count(t, fmt.Sprintf(`args->>'run_id' = '%s' AND finalized_at IS NULL`, id)) == 0
		})
	}
	for _, call := range w.services.Calls()[calls:] {
		if !strings.Contains(call.Operation, "progress") {
			t.Errorf("while they wait the service was asked for %s", call.Operation)
		}
	}
	err := w.store.View(t.Context(), func(tx *store.Tx) error {
		page, err := view.Runs(t.Context(), tx, store.Filter{Limit: 10})
		for _, r := range page.Items {
			place := slices.Index(order, r.ID) + 1
			if place == 0 {
				if r.InLine != nil {
					t.Errorf("the run that runs is in line: %+v", r.InLine)
				}
				continue
			}
			if want := fmt.Sprintf("place %d of 5; waits for one of 1 place (max_runs)", place); r.InLine == nil || r.InLine.Place != place || r.Reason != want {
				t.Errorf("%s of %s is at %+v for %q, want %q", r.Rule, r.Repository, r.InLine, r.Reason, want)
			}
		}
		found, findErr := view.Find(t.Context(), tx, order[2])
		if detail, is := found.(view.RunDetail); !is || detail.InLine == nil || *detail.InLine != (view.InLine{Place: 3, Of: 5}) {
			t.Errorf("shown as %+v, error %v", found, findErr)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, used := w.gauge(t, "gatewright_waiting_runs", "place"), w.gauge(t, "gatewright_used_places", ""); n != 5 || used != 1 {
		t.Errorf("the metrics tell of %v that wait and %v places, want 5 and 1", n, used)
	}
	if wait := w.gauge(t, "gatewright_longest_wait_seconds", "place"); wait <= 0 {
		t.Errorf("the longest wait is %v", wait)
	}
	// The order holds over a restart.
	stop()
	w.start(t, jobs.Options{MaxRuns: map[string]int{"": 1}})
	for i, id := range order {
		w.services.EndScans()
		w.untilState(t, id, string(codecheck.Running))
		if started := w.started(); len(started) != i+2 {
			t.Errorf("%d runs were started, want %d", len(started), i+2)
		}
	}
	w.services.EndScans()
	w.until(t, order[4], func(now record) bool { return now.ended })
	if want := []string{taskID(0), taskID(4), taskID(3), taskID(0), taskID(3), taskID(2)}; !slices.Equal(w.started(), want) {
		t.Errorf("started %v, want %v", w.started(), want)
	}
}

// TestMaxRunsRemoved: what waits goes on when a start finds no limit any more; and a person can
// stop what waits, or whatever has the place.
func TestMaxRunsRemoved(t *testing.T) { storetest.Each(t, testMaxRunsRemoved) }

func testMaxRunsRemoved(t *testing.T, db storetest.Database) {
	w, b, stop := pushed(t, db, priorityPolicy, time.Hour, jobs.Options{MaxRuns: map[string]int{"": 1}})
	var ids []string
	for i := range 4 {
		id := fmt.Sprintf("%d a b", 10+i)
		ids = append(ids, b.run(t, id))
		if i == 0 {
			w.untilState(t, ids[0], string(codecheck.Running))
		}
	}
	for _, id := range ids[1:] {
		w.until(t, id, func(now record) bool { return strings.Contains(now.reason, "waits for one of") })
	}
	in, err := jobs.NewInserter(w.store, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{ids[1], ids[0]} {
		if _, err := in.StopRun(t.Context(), id, jobs.Order{Actor: "ann", Reason: "not needed"}); err != nil {
			t.Fatal(err)
		}
	}
	w.untilState(t, ids[2], string(codecheck.Running))
	if now := w.record(t, ids[3]); !strings.Contains(now.reason, "waits for one of") {
		t.Errorf("the last is %s: %s", now.state, now.reason)
	}
	stop()
	w.start(t, jobs.Options{})
	w.untilState(t, ids[3], string(codecheck.Running))
}

// TestMaxRunsDeadline: a run that gets no place ends at its deadline.
func TestMaxRunsDeadline(t *testing.T) { storetest.Each(t, testMaxRunsDeadline) }

func testMaxRunsDeadline(t *testing.T, db storetest.Database) {
	w, b, stop := pushed(t, db, priorityPolicy, time.Hour, jobs.Options{MaxRuns: map[string]int{"": 1}})
	w.untilState(t, b.run(t, "0 a b"), string(codecheck.Running))
	waits := b.run(t, "1 a b")
	w.until(t, waits, func(now record) bool { return strings.Contains(now.reason, "waits for one of") })
	stop()
	w.clock.jump(50 * time.Minute)
	w.start(t, jobs.Options{MaxRuns: map[string]int{"": 1}, ReconcileEvery: 50 * time.Millisecond})
	now := w.until(t, waits, func(now record) bool { return now.ended })
	if want := "its deadline passed before it could start; last: waits for one of 1 place (max_runs)"; now.reason != want {
		t.Errorf("ended %s for %q, want %q", now.state, now.reason, want)
	}
}

// TestMaxRunsOfAccounts: each account has places of its own.
func TestMaxRunsOfAccounts(t *testing.T) { storetest.Each(t, testMaxRunsOfAccounts) }

func testMaxRunsOfAccounts(t *testing.T, db storetest.Database) {
	policy := strings.Replace(priorityPolicy, "{supersede: false}", "{supersede: false, account: partner}", 1)
	w, b, _ := pushed(t, db, policy, time.Hour, jobs.Options{MaxRuns: map[string]int{"": 1, "partner": 1}})
	running := func(now record) bool { return now.state == string(codecheck.Running) }
	for _, id := range []string{"2 a b", "3 a b"} { // of the first account and of the partner's
		b.decided(t, id)
		w.until(t, b.runs(t, id)[0].ID, running)
	}
	for _, id := range []string{"4 a b", "5 a b"} {
		b.decided(t, id)
		w.until(t, b.runs(t, id)[0].ID, func(now record) bool { return strings.HasPrefix(now.reason, "waits for one of 1 place") })
	}
	err := w.store.View(t.Context(), func(tx *store.Tx) error {
		for account, id := range map[string]string{"": "4 a b", "partner": "5 a b"} {
			line, err := tx.Line(t.Context(), account)
			if err != nil {
				return err
			}
			if want := b.runs(t, id)[0].ID; !slices.Equal(line, []string{want}) {
				t.Errorf("%v wait in account %q, want %s", line, account, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// A place that is freed in one account is no use to the other.
	in, err := jobs.NewInserter(w.store, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if _, err = in.StopRun(t.Context(), b.runs(t, "3 a b")[0].ID, ann); err != nil {
		t.Fatal(err)
	}
	w.until(t, b.runs(t, "5 a b")[0].ID, running)
	if now := b.runs(t, "4 a b")[0]; now.State == codecheck.Running {
		t.Errorf("run %s of the first account runs beside another one", now.ID)
	}
}

const historyPolicy = `
version: 1
defaults:
  check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07, name: demo}}
rules:
  - {name: waiting, on: push, match: {repository: ["acme/0", "acme/1"]}, check: {supersede: waiting}, continue: true}
  - {name: shares, on: push, match: {repository: ["acme/1", "acme/2"]}, check: {}, continue: true}
  - {name: kept, on: push, match: {repository: ["acme/2", "acme/3"]}, check: {supersede: false, priority: high}, continue: true}
  - {name: quick, on: push, match: {repository: "acme/*"}, check: {debounce: {quiet: 20ms, max: 60ms}, priority: low}}
`

// TestHistoriesWithMaxRuns lets random pushes, stops and ends of scans happen while at most two
// runs may have an execution: never more do, and in the end every run has ended.
func TestHistoriesWithMaxRuns(t *testing.T) { storetest.Each(t, testHistoriesWithMaxRuns) }

func testHistoriesWithMaxRuns(t *testing.T, db storetest.Database) {
	const limit = 2
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	w, b, _ := pushed(t, db, historyPolicy, time.Hour, jobs.Options{MaxRuns: map[string]int{"": limit}})
	if db.Postgres != "" {
		w.start(t, jobs.Options{MaxRuns: map[string]int{"": limit}})
	}
	in, err := jobs.NewInserter(w.store, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	look := func() (active []codecheck.Run) {
		err := w.store.View(t.Context(), func(tx *store.Tx) error {
			used, err := tx.UsedPlaces(t.Context())
			if err != nil {
				return err
			}
			if used[""] > limit {
				t.Errorf("%d runs have a place, want at most %d", used[""], limit)
			}
			active, err = tx.Runs(t.Context(), store.Filter{States: []string{"queued", "starting", "running"}, Limit: 1000})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return active
	}
	heads := map[int]string{}
	for step := range 40 {
		active := look()
		switch action := random.IntN(10); {
		case action < 6:
			repository := random.IntN(5)
			before := heads[repository]
			if before == "" {
				before = "0"
			}
			heads[repository] = fmt.Sprint("c", step)
			b.decided(t, fmt.Sprintf("%d %s c%d", repository, before, step))
		case action < 9:
			w.services.EndScans()
		case len(active) > 0:
			// It may have ended meanwhile.
			_, _ = in.StopRun(t.Context(), active[random.IntN(len(active))].ID, jobs.Order{Actor: "ann", Reason: "at random"})
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for active := look(); len(active) > 0; active = look() {
		w.services.EndScans()
		select {
		case <-ctx.Done():
			for _, run := range active {
				t.Errorf("run %s of %s for %s and %s is %s for ever: %s", run.ID, run.Event.Repository.FullName, run.Event.HeadSHA, run.Rule, run.State, run.Reason)
			}
			return
		case <-ticker.C:
		}
	}
}
