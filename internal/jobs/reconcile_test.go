package jobs_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/storetest"
)

// left is a record as a crash, or a fault that nobody thought of, may have left it:
// without a job, and not touched for ten minutes.
type left[R any, S ~string] struct {
	state S
	// how says in which of its forms the state was left; change makes that form.
	how    string
	change func(l *lost, r *R)
	// inTime is how it ends when the services answer and its deadline is to come,
	// late when they do not and it has passed. Empty: it stays as it is.
	inTime, late S
	// starts and decisions are what the pipeline sees of it, in time; late nothing.
	starts    int
	decisions string
}

// name is the id of the record, such as "codecheck.Run queued new".
func (l left[R, S]) name() string {
	return strings.TrimSpace(fmt.Sprintf("%T %s %s", *new(R), l.state, l.how))
}

func leftRuns() []left[codecheck.Run, codecheck.State] {
	type run = codecheck.Run
	const passed, errored = codecheck.Passed, codecheck.Errored
	return []left[run, codecheck.State]{
		{codecheck.Queued, "new", nil, passed, errored, 0, ""},
		{codecheck.Queued, "for another ref", func(l *lost, r *run) {
			l.execute(r)
			r.Ref, r.RefReason, r.RefsTried = codecheck.Pull, "merge_request was tried first", []codecheck.Ref{codecheck.MergeRequest}
		}, passed, errored, 0, ""},
		{codecheck.Queued, "sharing a judged run", func(l *lost, r *run) {
			r.SharesRunID = l.addRun(codecheck.Passed, r, "shared").ID
		}, passed, passed, 0, ""},
		{codecheck.Queued, "sharing a run that lost its job", func(l *lost, r *run) {
			r.SharesRunID = l.addRun(codecheck.Queued, r, "shared").ID
		}, passed, errored, 0, ""},
		{codecheck.Queued, "sharing a run that is gone", func(_ *lost, r *run) { r.SharesRunID = "gone" }, passed, errored, 0, ""},
		{codecheck.Queued, "superseding an execution", func(l *lost, r *run) {
			older := *r
			l.services.SetScanDelay(time.Hour)
			l.execute(&older)
			l.services.SetScanDelay(-1)
			r.Supersedes = []string{l.addRun(codecheck.Superseded, &older, "older").ID}
		}, passed, errored, 0, ""},
		{codecheck.Queued, "superseding a run that is gone", func(_ *lost, r *run) { r.Supersedes = []string{"gone"} }, passed, errored, 0, ""},
		{codecheck.Starting, "before its intent", nil, passed, errored, 0, ""},
		{codecheck.Starting, "without an answer", func(l *lost, r *run) {
			r.Task, r.Intent = codecheck.Task{ID: taskID(number(r.Event))}, &codecheck.Intent{SentAt: l.at}
		}, passed, errored, 0, ""},
		{codecheck.Running, "never looked at", (*lost).execute, passed, errored, 0, ""},
		{codecheck.Running, "seen running", func(l *lost, r *run) {
			l.execute(r)
			r.SeenRunning, r.Polls = true, 3
		}, passed, errored, 0, ""},
		{codecheck.Running, "with half its results", func(l *lost, r *run) {
			l.execute(r)
			r.Reads = 2
		}, passed, errored, 0, ""},
		{state: codecheck.Passed}, {state: codecheck.Failed}, {state: codecheck.Errored}, {state: codecheck.Superseded}, {state: codecheck.Stopped},
	}
}

func leftReleases() []left[release.Release, release.State] {
	type rel = release.Release
	const succeeded, failed, refused, unknown = release.Succeeded, release.Failed, release.Refused, release.Unknown
	sent := func(l *lost, r *rel, action rules.ReleaseAction) {
		r.Intent = &release.Intent{SentAt: l.at, Action: action}
	}
	// starts starts an execution, and returns its id.
	starts := func(l *lost, r *rel, reaches release.Status) string {
		id, err := l.services.startPipeline(l.ctx, r.Plan.Pipeline, reaches)
		l.check(err)
		return id
	}
	// waits makes r decide the checkpoint of an execution that waits there, and returns
	// its id.
	waits := func(l *lost, r *rel, action rules.ReleaseAction) string {
		r.Plan.Pipeline, r.Plan.Action, r.Plan.Task = gateID(number(r.Event)), action, "gate"
		return starts(l, r, release.StatusToBeApproved)
	}
	// decided is waits, with the checkpoint decided; r is bound to the execution.
	decided := func(l *lost, r *rel, action rules.ReleaseAction, how string) {
		r.ExecutionID = waits(l, r, action)
		l.check(l.services.decide(l.ctx, r.Plan.Pipeline, how))
	}
	return []left[rel, release.State]{
		{release.Held, "with nothing that keeps it any more", func(l *lost, r *rel) { r.Hold = &release.Hold{Since: l.at, Until: r.Deadline} }, succeeded, release.Expired, 1, ""},
		{release.Starting, "new", nil, succeeded, failed, 1, ""},
		{release.Starting, "after its branch moved on", func(l *lost, r *rel) {
			ev := r.Event
			ev.Before, ev.HeadSHA = ev.HeadSHA, "c"
			_, err := l.tx.AdvanceHead(l.ctx, ev, "later")
			l.check(err)
		}, refused, refused, 0, ""},
		{release.Starting, "behind a delivery that lost its job", func(l *lost, r *rel) {
			l.addDelivery(event.Delivery{ID: "before " + r.ID, Connection: r.Event.Connection, HostID: "unwanted", ReceivedAt: l.at.Add(-time.Second)}, event.DeliveryReceived)
		}, succeeded, failed, 1, ""},
		{release.Starting, "sent, and started", func(l *lost, r *rel) {
			sent(l, r, rules.ReleaseStart)
			starts(l, r, release.StatusSucceeded)
		}, succeeded, unknown, 0, ""},
		{release.Starting, "sent, and not started", func(l *lost, r *rel) { sent(l, r, rules.ReleaseStart) }, unknown, unknown, 0, ""},
		{release.Starting, "approving", func(l *lost, r *rel) { waits(l, r, rules.ReleaseApprove) }, succeeded, failed, 0, "agree"},
		{release.Starting, "refusing", func(l *lost, r *rel) {
			waits(l, r, rules.ReleaseRefuse)
			run := l.newRun(r.ID, r.Event)
			r.RunID = l.addRun(codecheck.Failed, &run, "refuses").ID
		}, succeeded, failed, 0, "refuse"},
		{release.Starting, "approved, without an answer", func(l *lost, r *rel) {
			decided(l, r, rules.ReleaseApprove, "agree")
			sent(l, r, rules.ReleaseApprove)
		}, succeeded, unknown, 0, ""},
		{release.Starting, "approving, without a trace", func(l *lost, r *rel) {
			r.ExecutionID = waits(l, r, rules.ReleaseApprove)
			sent(l, r, rules.ReleaseApprove)
		}, unknown, unknown, 0, ""},
		{release.Starting, "approving what another release started", func(l *lost, r *rel) {
			r.After = l.addRelease(release.AwaitingApproval, r, waits(l, r, rules.ReleaseApprove)).ID
		}, succeeded, failed, 0, "agree"},
		{release.Starting, "approving what another release did not start", func(l *lost, r *rel) {
			waits(l, r, rules.ReleaseApprove)
			r.After = l.addRelease(release.Failed, r, "").ID
		}, failed, failed, 0, ""},
		{release.Starting, "withdrawn", func(l *lost, r *rel) {
			r.Withdrawn, r.ExecutionID = "the branch moved on", waits(l, r, rules.ReleaseRefuse)
			r.After = l.addRelease(release.AwaitingApproval, r, r.ExecutionID).ID
		}, refused, failed, 0, "refuse"},
		{release.Starting, "withdrawn, without an answer", func(l *lost, r *rel) {
			decided(l, r, rules.ReleaseRefuse, "refuse")
			r.Withdrawn = "the branch moved on"
			sent(l, r, rules.ReleaseRefuse)
		}, refused, unknown, 0, ""},
		{release.Running, "never looked at", func(l *lost, r *rel) { r.ExecutionID = starts(l, r, release.StatusSucceeded) }, succeeded, failed, 0, ""},
		{release.AwaitingApproval, "at a checkpoint that was approved since", func(l *lost, r *rel) {
			decided(l, r, rules.ReleaseStart, "agree")
			r.Plan.Task, r.Waiting = "", []string{"gate"}
		}, succeeded, failed, 0, ""},
		{release.Running, "to be rolled back", func(l *lost, r *rel) {
			r.ExecutionID = starts(l, r, release.StatusSucceeded)
			r.Operation = &release.Operation{Action: rules.ReleaseRollback, By: "ann", Reason: "errors in production"}
		}, release.RolledBack, failed, 0, ""},
		{release.Running, "rolled back, without an answer", func(l *lost, r *rel) {
			r.ExecutionID = starts(l, r, release.StatusSucceeded)
			_, err := l.services.operate(l.ctx, r.Plan.Pipeline, "rollback", struct{}{})
			l.check(err)
			r.Actions = []release.Action{{Name: rules.ReleaseRollback, At: l.at, Result: release.ResultUnknown}}
			r.Operation = &release.Operation{Action: rules.ReleaseRollback, SentAt: l.at, Before: int(release.StatusSucceeded)}
		}, release.RolledBack, unknown, 0, ""},
		{release.Paused, "to be stopped", func(l *lost, r *rel) {
			r.ExecutionID = waits(l, r, rules.ReleaseStart)
			r.Plan.Task = ""
			_, err := l.services.operate(l.ctx, r.Plan.Pipeline, "stop", struct{}{})
			l.check(err)
			r.Operation = &release.Operation{Action: rules.ReleaseStop, By: "ann", Reason: "not today"}
		}, release.Stopped, failed, 0, ""},
		{state: release.Succeeded}, {state: release.Failed}, {state: release.Refused}, {state: release.Stopped}, {state: release.RolledBack}, {state: release.Expired}, {state: release.Unknown},
	}
}

func leftDeliveries() []left[event.Delivery, event.DeliveryState] {
	return []left[event.Delivery, event.DeliveryState]{
		{state: event.DeliveryReceived, inTime: event.DeliveryDecided, late: event.DeliveryDecided},
		{state: event.DeliveryDecided}, {state: event.DeliveryIgnored}, {state: event.DeliveryDuplicate}, {state: event.DeliveryFailed},
	}
}

// TestReconcileKnowsEveryState fails when there is a state that the tables above lack.
func TestReconcileKnowsEveryState(t *testing.T) {
	missing(t, event.DeliveryStates(), leftDeliveries())
	missing(t, codecheck.States(), leftRuns())
	missing(t, release.States(), leftReleases())
}

func missing[R any, S ~string](t *testing.T, states []S, table []left[R, S]) {
	for _, state := range states {
		if !slices.ContainsFunc(table, func(l left[R, S]) bool { return l.state == state }) {
			t.Errorf("no record was left %s", state)
		}
	}
}

// TestReconcile leaves a record in every form of every state, without a job, and lets
// a queue start. Each that had not ended ends, and each that had stays as it was.
func TestReconcile(t *testing.T) {
	for name, late := range map[string]bool{"in time": false, "late": true} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db storetest.Database) { testReconcile(t, db, late) })
		})
	}
}

func testReconcile(t *testing.T, db storetest.Database, late bool) {
	w := newWorld(t, db)
	w.leave(t, func(l *lost) {
		if late {
			l.deadline = l.at.Add(time.Minute)
		}
		for _, left := range leftDeliveries() {
			l.addDelivery(event.Delivery{ID: left.name(), Connection: left.name(), HostID: "comment", ReceivedAt: l.at}, left.state)
		}
		for _, left := range leftRuns() {
			run := l.newRun(left.name(), l.push(left.name()))
			if left.change != nil {
				left.change(l, &run)
			}
			l.add(&run, left.state)
		}
		for _, left := range leftReleases() {
			r := l.newRelease(left.name())
			r.State = left.state
			if left.change != nil {
				left.change(l, &r)
			}
			_, err := l.tx.AddRelease(l.ctx, r)
			l.check(err)
		}
	})
	before := map[string]record{}
	for _, name := range slices.Concat(names(leftDeliveries()), names(leftRuns()), names(leftReleases())) {
		before[name] = w.record(t, name)
	}
	if late {
		w.services.setFaults(t, down())
	}
	w.start(t, jobs.Options{})
	settled(t, w, before, leftDeliveries(), late)
	settled(t, w, before, leftRuns(), late)
	settled(t, w, before, leftReleases(), late)
	for _, left := range leftReleases() {
		starts, decisions := left.starts, left.decisions
		if late {
			starts, decisions = 0, ""
		}
		gotStarts, gotDecisions := 0, []string{}
		for _, call := range w.services.done("operate_pipeline") {
			switch {
			case call.Pipeline != before[left.name()].pipeline:
			case call.Action == "start":
				gotStarts++
			case call.ApprovalType != "":
				gotDecisions = append(gotDecisions, call.ApprovalType)
			}
		}
		if gotStarts != starts || strings.Join(gotDecisions, ",") != decisions {
			t.Errorf("%s: the pipeline was started %d times and decided %q, want %d and %q", left.name(), gotStarts, gotDecisions, starts, decisions)
		}
	}
}

func names[R any, S ~string](table []left[R, S]) []string {
	var ids []string
	for _, left := range table {
		ids = append(ids, left.name())
	}
	return ids
}

// settled waits until what was left is as it should be.
func settled[R any, S ~string](t *testing.T, w *world, before map[string]record, table []left[R, S], late bool) {
	for _, left := range table {
		want := left.inTime
		if late {
			want = left.late
		}
		if want == "" {
			if now := w.record(t, left.name()); now != before[left.name()] {
				t.Errorf("%s: changed from %+v to %+v", left.name(), before[left.name()], now)
			}
			continue
		}
		now := w.until(t, left.name(), func(now record) bool { return now.state != string(left.state) && now.ended })
		if now.state != string(want) {
			t.Errorf("%s: ended %s (%s), want %s", left.name(), now.state, now.reason, want)
		}
	}
}

// busy makes a queue look for what lost its job all the time, and take everything for
// untouched.
func busy() jobs.Options {
	return jobs.Options{ReconcileEvery: 20 * time.Millisecond, ReconcileAfter: time.Nanosecond}
}

// sweep waits for a sweep that begins after it was called: until a run that has lost
// its job and is late was ended.
func (w *world) sweep(t *testing.T, id string) {
	t.Helper()
	w.leave(t, func(l *lost) {
		l.deadline = l.at
		run := l.newRun(id, l.push(id))
		l.add(&run, codecheck.Queued)
	})
	w.until(t, id, func(now record) bool { return now.ended })
}

// TestReconcileBesideTheJob holds that a record which has its job gets no second one,
// and is run once.
func TestReconcileBesideTheJob(t *testing.T) { storetest.Each(t, testReconcileBesideTheJob) }

func testReconcileBesideTheJob(t *testing.T, db storetest.Database) {
	w := newWorld(t, db)
	w.services.setFaults(t, down())
	q, _ := w.start(t, busy())
	b := bench{q, w.store}
	b.decided(t, "b")
	const starting = `kind = 'start_run' AND args->>'run_id' NOT LIKE 'late%' AND finalized_at IS NULL`
	// One run scans, the other shares its verdict and soon waits for it without a job.
	w.until(t, b.runs(t, "b")[0].ID, func(record) bool { return w.count(t, starting) == 1 })
	for i := range 3 {
		w.sweep(t, fmt.Sprint("late ", i))
		if n := w.count(t, starting); n != 1 {
			t.Errorf("%d jobs start the one run", n)
		}
	}
	w.services.setFaults(t)
	b.until(t, "b", func(run codecheck.Run) bool { return run.State == codecheck.Passed })
	if n := len(w.services.done("run_task")); n != 1 {
		t.Errorf("scanned %d times, want once", n)
	}
}

// TestReconcileAfterTheJobDied holds that a record gets a new job when the one that the
// reconciler gave it has ended and the record has not.
func TestReconcileAfterTheJobDied(t *testing.T) { storetest.Each(t, testReconcileAfterTheJobDied) }

func testReconcileAfterTheJobDied(t *testing.T, db storetest.Database) {
	w := newWorld(t, db)
	w.leave(t, func(l *lost) {
		run := l.newRun("run", l.push("run"))
		l.add(&run, codecheck.Queued)
	})
	for _, state := range []string{"discarded", "cancelled"} {
		w.services.setFaults(t, down())
		_, stop := w.start(t, busy())
		w.until(t, "run", func(record) bool {
			return w.count(t, `kind = 'start_run' AND state IN ('available', 'retryable')`) == 1
		})
		stop()
		w.execute(t, `UPDATE river_job SET state = '`+state+`', finalized_at = CURRENT_TIMESTAMP WHERE kind = 'start_run' AND finalized_at IS NULL`)
	}
	w.services.setFaults(t)
	w.start(t, busy())
	if now := w.until(t, "run", func(now record) bool { return now.ended }); now.state != string(codecheck.Passed) {
		t.Errorf("ended %s: %s", now.state, now.reason)
	}
}

// TestReconcileAfterTheClockWasSetBack holds that a record does not wait for a job that
// was put off by a clock which was a day ahead.
func TestReconcileAfterTheClockWasSetBack(t *testing.T) {
	storetest.Each(t, testReconcileAfterTheClockWasSetBack)
}

func testReconcileAfterTheClockWasSetBack(t *testing.T, db storetest.Database) {
	w := newWorld(t, db)
	w.leave(t, func(l *lost) {
		run := l.newRun("run", l.push("run"))
		l.add(&run, codecheck.Queued)
	})
	w.services.setFaults(t, down())
	_, stop := w.start(t, busy())
	w.until(t, "run", func(record) bool {
		return w.count(t, `kind = 'start_run' AND state IN ('available', 'retryable')`) == 1
	})
	stop()
	tomorrow := time.Now().UTC().AddDate(0, 0, 1).Format(time.DateTime)
	w.execute(t, `UPDATE river_job SET state = 'scheduled', scheduled_at = '`+tomorrow+`' WHERE kind = 'start_run'`)
	w.services.setFaults(t)
	w.start(t, busy())
	w.until(t, "run", func(now record) bool { return now.ended })
}

// TestReconcileBehindMany holds that a record which has lost its job is found behind
// more records that wait, with their jobs, than one transaction takes.
func TestReconcileBehindMany(t *testing.T) { storetest.Each(t, testReconcileBehindMany) }

func testReconcileBehindMany(t *testing.T, db storetest.Database) {
	const many = 510
	w := newWorld(t, db)
	w.services.setFaults(t, down())
	w.leave(t, func(l *lost) {
		first := l.newRun("run", l.push("run"))
		l.add(&first, codecheck.Queued)
		for i := range many - 1 {
			run := first
			run.SharesRunID = "run"
			l.addRun(codecheck.Queued, &run, fmt.Sprint("shares ", i))
		}
	})
	_, stop := w.start(t, jobs.Options{})
	w.until(t, "run", func(record) bool { return w.count(t, `kind = 'start_run'`) >= many })
	stop()
	soon := time.Now().UTC().Add(10 * time.Minute).Format(time.DateTime)
	w.execute(t, `UPDATE river_job SET state = 'scheduled', scheduled_at = '`+soon+`', finalized_at = NULL WHERE kind = 'start_run'`)
	w.start(t, busy())
	w.sweep(t, "late")
}

// TestReleaseEndsBehindAnUnreadDelivery holds that a release which waits for a delivery
// to be read ends at its deadline.
func TestReleaseEndsBehindAnUnreadDelivery(t *testing.T) {
	storetest.Each(t, testReleaseEndsBehindAnUnreadDelivery)
}

func testReleaseEndsBehindAnUnreadDelivery(t *testing.T, db storetest.Database) {
	w := newWorld(t, db)
	w.leave(t, func(l *lost) {
		l.deadline = l.at
		r := l.newRelease("late")
		r.State = release.Starting
		_, err := l.tx.AddRelease(l.ctx, r)
		l.check(err)
		// It was stored just now, so that nobody enqueues it.
		w.clock.jump(0)
		l.addDelivery(event.Delivery{ID: "unread", Connection: r.Event.Connection, ReceivedAt: l.at.Add(-time.Second)}, event.DeliveryReceived)
	})
	w.start(t, jobs.Options{})
	if now := w.until(t, "late", func(now record) bool { return now.ended }); now.state != string(release.Failed) {
		t.Errorf("ended %s: %s", now.state, now.reason)
	}
}
