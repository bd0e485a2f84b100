package jobs_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

var ann = jobs.Order{Actor: "ann", Reason: "the scanner is mended"}

// people is a world in which commands work beside the queue, on a store of their own.
type people struct {
	*world
	*jobs.Inserter
}

func eachPeople(t *testing.T, test func(t *testing.T, p people)) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		w := newWorld(t, db)
		// The queue's tables must exist.
		_, stop := w.start(t, jobs.Options{ReconcileEvery: time.Hour})
		stop()
		beside, err := store.Open(t.Context(), store.Options{SQLite: db.SQLite, Postgres: db.Postgres, WithoutLock: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := beside.Close(); err != nil {
				t.Error(err)
			}
		})
		inserter, err := jobs.NewInserter(beside, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		test(t, people{w, inserter})
	})
}

// serve lets a queue work whose reconciler does nothing: what goes on has its job from
// the command.
func (p people) serve(t *testing.T) {
	p.start(t, jobs.Options{ReconcileEvery: time.Hour, ReconcileAfter: time.Hour})
}

func (p people) run(t *testing.T, id string) (run codecheck.Run) {
	t.Helper()
	p.view(t, func(tx *store.Tx) (err error) { run, err = tx.Run(t.Context(), id); return err })
	return run
}

func (p people) release(t *testing.T, id string) (r release.Release) {
	t.Helper()
	p.view(t, func(tx *store.Tx) (err error) { r, err = tx.Release(t.Context(), id); return err })
	return r
}

func (p people) view(t *testing.T, read func(*store.Tx) error) {
	t.Helper()
	if err := p.store.View(t.Context(), read); err != nil {
		t.Fatal(err)
	}
}

// releases are the ids of a run's releases.
func releases(t *testing.T, p people, run string) (ids []string) {
	t.Helper()
	p.view(t, func(tx *store.Tx) error {
		list, err := tx.ReleasesOf(t.Context(), run)
		for _, r := range list {
			ids = append(ids, r.ID)
		}
		return err
	})
	return ids
}

// actions are those of a record, as "name details by actor: reason".
func (p people) actions(t *testing.T, id string) (list []string) {
	t.Helper()
	p.view(t, func(tx *store.Tx) error {
		actions, err := tx.ActionsOf(t.Context(), id)
		for _, a := range actions {
			list = append(list, strings.TrimSpace(string(a.Name)+" "+a.Details)+" by "+a.Actor+": "+a.Reason)
			if a.At.IsZero() || a.RecordID != id {
				t.Errorf("action %+v", a)
			}
		}
		return err
	})
	return list
}

func (w *world) untilState(t *testing.T, id, state string) {
	t.Helper()
	w.until(t, id, func(now record) bool { return now.state == state })
}

// refused checks that an order was refused, and why.
func refused(t *testing.T, what string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: error %v, want %q", what, err, want)
	}
}

// moveOn makes another commit the head of a record's branch.
func (p people) moveOn(t *testing.T, ev event.Event) {
	t.Helper()
	ev.Before, ev.HeadSHA = ev.HeadSHA, "newer"
	if err := p.store.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.AdvanceHead(t.Context(), ev, "zz-later")
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestRerunRun repeats runs in every state: those that have ended are checked and
// released again as new runs, and stay as they are.
func TestRerunRun(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		p.leave(t, func(l *lost) {
			for _, state := range codecheck.States() {
				run := l.newRun(string(state), l.push(string(state)))
				run.Releases = []rules.Release{{Pipeline: pipelineID(number(run.Event)), Action: rules.ReleaseStart, Timeout: time.Hour}}
				l.add(&run, state)
			}
		})
		ctx := t.Context()
		before := map[codecheck.State]codecheck.Run{}
		again := map[codecheck.State]string{}
		for _, state := range codecheck.States() {
			before[state] = p.run(t, string(state))
			done, err := p.RerunRun(ctx, string(state), ann)
			if !state.Ended() {
				refused(t, string(state), err, "gatewright stop run")
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			again[state] = done.Runs[0].ID
			_, err = p.RerunRun(ctx, string(state), ann)
			refused(t, "a second time", err, "run "+again[state]+" repeats it already")
		}
		p.serve(t)
		for state, id := range again {
			p.untilState(t, id, "passed")
			run := p.run(t, id)
			if run.RerunOf != string(state) || run.ExecID == "" || run.Event.HeadSHA != before[state].Event.HeadSHA {
				t.Errorf("run %+v", run)
			}
			list := releases(t, p, id)
			if len(list) != 1 {
				t.Fatalf("releases %q of the rerun of what %s", list, state)
			}
			p.untilState(t, list[0], "succeeded")
			if diff := cmp.Diff(before[state], p.run(t, string(state))); diff != "" {
				t.Errorf("the run that %s was changed:\n%s", state, diff)
			}
			if diff := cmp.Diff([]string{"rerun " + id + " by ann: the scanner is mended"}, p.actions(t, string(state))); diff != "" {
				t.Errorf("actions (-want +got):\n%s", diff)
			}
		}
		// The rerun can be repeated in its turn, while its commit is the newest.
		if _, err := p.RerunRun(ctx, again[codecheck.Errored], ann); err != nil {
			t.Error(err)
		}
		p.moveOn(t, before[codecheck.Failed].Event)
		_, err := p.RerunRun(ctx, again[codecheck.Failed], ann)
		refused(t, "an older commit", err, "has the newer commit")
		_, err = p.RerunRun(ctx, again[codecheck.Passed], jobs.Order{Actor: "ann", Reason: " "})
		refused(t, "without a reason", err, "say who acts and why")
		_, err = p.RerunRun(ctx, "nobody", ann)
		refused(t, "what is not there", err, "not found")
	})
}

// TestRerunRelease repeats releases in every state, with the approval that follows.
func TestRerunRelease(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		p.leave(t, func(l *lost) {
			for _, state := range release.States() {
				r := l.newRelease(string(state))
				r.Plan.Pipeline = gateID(number(r.Event))
				approval := r
				r.State, r.ExecutionID = state, "1"
				_, err := l.tx.AddRelease(l.ctx, r)
				l.check(err)
				approval.ID, approval.Index, approval.State, approval.After = "approval of "+r.ID, 1, release.Failed, r.ID
				approval.Plan.Action, approval.Plan.Task = rules.ReleaseApprove, "gate"
				_, err = l.tx.AddRelease(l.ctx, approval)
				l.check(err)
			}
		})
		ctx := t.Context()
		before := map[release.State]release.Release{}
		again := map[release.State]jobs.Done{}
		for _, state := range release.States() {
			before[state] = p.release(t, string(state))
			if state.Ended() {
				_, err := p.RerunRelease(ctx, "approval of "+string(state), ann)
				refused(t, "only the approval", err, "rerun that one")
			}
			done, err := p.RerunRelease(ctx, string(state), ann)
			if !state.Ended() {
				refused(t, string(state), err, "it is "+string(state))
				continue
			}
			if err != nil || len(done.Releases) != 2 {
				t.Fatalf("%+v, error %v", done, err)
			}
			again[state] = done
			_, err = p.RerunRelease(ctx, string(state), ann)
			refused(t, "a second time", err, "repeats it already")
		}
		p.serve(t)
		for state, done := range again {
			for i, r := range done.Releases {
				p.untilState(t, r.ID, "succeeded")
				old := []string{string(state), "approval of " + string(state)}[i]
				if r.RerunOf != old {
					t.Errorf("release %+v", r)
				}
				if diff := cmp.Diff([]string{"rerun " + r.ID + " by ann: the scanner is mended"}, p.actions(t, old)); diff != "" {
					t.Errorf("actions (-want +got):\n%s", diff)
				}
			}
			if diff := cmp.Diff(before[state], p.release(t, string(state))); diff != "" {
				t.Errorf("the release that %s was changed:\n%s", state, diff)
			}
			if starts, decisions := p.services.operated(before[state].Plan.Pipeline); starts != 1 || !slices.Equal(decisions, []string{"agree"}) {
				t.Errorf("%s: started %d times, decisions %q", state, starts, decisions)
			}
		}
		p.moveOn(t, before[release.Unknown].Event)
		_, err := p.RerunRelease(ctx, again[release.Unknown].Releases[0].ID, ann)
		refused(t, "an older commit", err, "has the newer commit")
	})
}

// TestStopRun stops runs in every state.
func TestStopRun(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		executions := map[string]string{}
		p.services.SetScanDelay(time.Hour)
		p.leave(t, func(l *lost) {
			for _, state := range codecheck.States() {
				ev := l.push(string(state))
				run := l.newRun(string(state), ev)
				if state == codecheck.Running {
					l.execute(&run)
					executions[run.ID] = run.Task.ID
				}
				l.add(&run, state)
			}
			// Its execution is shared by a run of another rule.
			ev := l.push("shared")
			shared := l.newRun("shared", ev)
			l.execute(&shared)
			l.add(&shared, codecheck.Running)
			executions["shared"] = shared.Task.ID
			other := l.newRun("sharing", ev)
			other.SharesRunID, other.Rule = "shared", "other"
			l.add(&other, codecheck.Queued)
		})
		p.serve(t)
		for _, state := range append(codecheck.States(), "shared") {
			_, err := p.StopRun(t.Context(), string(state), ann)
			if state.Ended() && state != "shared" {
				refused(t, string(state), err, "it has ended as "+string(state))
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if run := p.run(t, string(state)); run.State != codecheck.Stopped || run.Reason != "stopped by ann: the scanner is mended" || run.FinishedAt.IsZero() {
				t.Errorf("run %+v", run)
			}
		}
		p.untilStopped(t, executions["running"])
		p.services.EndScans()
		p.untilState(t, "sharing", "passed")
		if p.stops(executions["shared"]) != 0 {
			t.Error("the execution that another run shares was stopped")
		}
	})
}

// stops is how often the queue stopped what a task ran.
func (p people) stops(task string) (n int) {
	for _, call := range p.services.done("stop_task") {
		if call.Task == task {
			n++
		}
	}
	return n
}

// untilStopped waits until a task was stopped.
func (p people) untilStopped(t *testing.T, task string) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for p.stops(task) == 0 {
		select {
		case <-deadline:
			t.Fatalf("%s was not stopped", task)
		case <-ticker.C:
		}
	}
}

// TestResolve resolves releases in every state.
func TestResolve(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		p.leave(t, func(l *lost) {
			for _, state := range release.States() {
				r := l.newRelease(string(state))
				r.State = state
				_, err := l.tx.AddRelease(l.ctx, r)
				l.check(err)
			}
		})
		ctx := t.Context()
		// The gauge that an alert watches.
		collector := jobs.NewStateCollector(p.store, time.Now, time.Hour)
		unresolved := func(want int) {
			t.Helper()
			const name = "gatewright_unresolved_releases"
			text := "# HELP " + name + " Releases that ended in a state after which a person must look at the pipeline, and that no person has resolved or repeated.\n# TYPE " + name + " gauge\n"
			for _, state := range release.AttentionStates() {
				text += fmt.Sprintf("%s{state=%q} %d\n", name, state, want)
			}
			if err := testutil.CollectAndCompare(collector, strings.NewReader(text), name); err != nil {
				t.Error(err)
			}
		}
		unresolved(1)
		for _, state := range release.States() {
			before := p.release(t, string(state))
			_, err := p.Resolve(ctx, string(state), release.Failed, ann)
			_, err2 := p.Resolve(ctx, string(state), release.Succeeded, ann)
			if state != release.Failed && state != release.Expired && state != release.Unknown {
				refused(t, string(state), err, "it is "+string(state))
				refused(t, string(state), err2, "it is "+string(state))
				continue
			}
			if err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
			if diff := cmp.Diff([]string{"resolve failed by ann: the scanner is mended", "resolve succeeded by ann: the scanner is mended"}, p.actions(t, string(state))); diff != "" {
				t.Errorf("actions (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, p.release(t, string(state))); diff != "" {
				t.Errorf("the release was changed:\n%s", diff)
			}
		}
		unresolved(0)
		_, err := p.Resolve(ctx, "unknown", release.Running, ann)
		refused(t, "as running", err, `cannot be resolved as "running"`)
	})
}
