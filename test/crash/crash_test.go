package main

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
	"github.com/gatewright/gatewright/test/harness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestCrash runs the proof's short form on each database, which must find nothing,
// and then tampers with the evidence: each thing that must not be has to be seen.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes its time")
	}
	binary, remove, err := harness.Program(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := remove(); err != nil {
			t.Error(err)
		}
	})
	o := options{rounds: 4, cycle: 4, rate: 100, replicas: 2, databaseEvery: 2, binary: binary, seed: 7, drainWithin: 2 * time.Minute, ageJobs: true}
	for _, database := range []string{harness.SQLite, harness.Postgres} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			testCrash(t, o, database)
		})
	}
}

func testCrash(t *testing.T, o options, database string) {
	var out bytes.Buffer
	e, err := gather(t.Context(), o, database, &out)
	if errors.Is(err, storetest.ErrNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	honest := judge(e)
	if err := honest.print(&out, e); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if e.kills == 0 || honest.acknowledged == 0 || honest.executions == 0 || honest.starts == 0 || honest.approvals == 0 {
		t.Fatalf("nothing was at stake:\n%s", &out)
	}
	if database == harness.Postgres && os.Getenv(storetest.Variable) == "" && e.databaseKills == 0 {
		t.Error("PostgreSQL did not crash")
	}
	for name, test := range tampering() {
		t.Run(name, func(t *testing.T) {
			tampered := e
			tampered.records.Deliveries = slices.Clone(e.records.Deliveries)
			tampered.records.Runs = slices.Clone(e.records.Runs)
			tampered.records.Releases = slices.Clone(e.records.Releases)
			tampered.acted = slices.Clone(e.acted)
			test.tamper(t, &tampered)
			got := judge(tampered)
			if test.count(got) <= test.count(honest) {
				t.Errorf("not seen: %+v", got)
			}
			if err := got.print(&bytes.Buffer{}, tampered); test.mustBreak && !errors.Is(err, errBroken) {
				t.Errorf("the proof ended with %v", err)
			}
		})
	}
}

// tamper is a change to the evidence, and the count that has to rise by it.
type tamper struct {
	tamper    func(*testing.T, *evidence)
	count     func(tally) int
	mustBreak bool
}

func tampering() map[string]tamper {
	return map[string]tamper{
		"an acknowledged delivery is gone": {func(t *testing.T, e *evidence) {
			id := e.accepted[0].Delivery
			e.records.Deliveries = slices.DeleteFunc(e.records.Deliveries, func(d store.Delivery) bool { return d.ID == id })
		}, func(t tally) int { return t.missing }, true},
		"an acknowledged change was not decided": {func(t *testing.T, e *evidence) {
			d := firstDecided(t, e)
			d.State = event.DeliveryFailed
		}, func(t tally) int { return t.missing }, true},
		"a change was decided twice": {func(t *testing.T, e *evidence) {
			e.records.Deliveries = append(e.records.Deliveries, *firstDecided(t, e))
		}, func(t tally) int { return t.decidedTwice }, true},
		"a commit was run twice": {func(t *testing.T, e *evidence) {
			i := slices.IndexFunc(e.records.Runs, func(r codecheck.Run) bool { return r.ExecID != "" })
			again := e.records.Runs[i]
			again.ID, again.ExecID = "another", "another"
			e.records.Runs = append(e.records.Runs, again)
		}, func(t tally) int { return t.runTwice }, true},
		"an execution that no run names": {func(t *testing.T, e *evidence) {
			e.acted = append(e.acted, standin.Call{Operation: "run_task", Execution: "unnamed"})
		}, func(t tally) int { return t.startedAgain }, false},
		"a host that was told something else": {func(t *testing.T, e *evidence) {
			i := slices.IndexFunc(e.records.Runs, func(r codecheck.Run) bool {
				return r.Event.Repository.Host == event.GitHub && r.State == codecheck.Passed
			})
			e.records.Runs[i].State = codecheck.Failed
		}, func(t tally) int { return t.wrongStatus }, true},
		"an answer was lost": {func(t *testing.T, e *evidence) {
			r := firstStarted(t, e)
			r.Actions = append(slices.Clone(r.Actions), release.Action{Result: release.ResultAdopted})
		}, func(t tally) int { return t.adopted }, false},
		"a start that no release names": {func(t *testing.T, e *evidence) {
			again := firstCall(t, e, "start")
			// Of another pipeline: of its own there may be a release whose start is unknown.
			again.Execution, again.Pipeline = "unnamed", "unnamed"
			e.acted = append(e.acted, again)
		}, func(t tally) int { return t.releasedTwice }, true},
		"a commit was released twice": {func(t *testing.T, e *evidence) {
			r := firstStarted(t, e)
			e.acted = append(e.acted, standin.Call{Operation: "operate_pipeline", Action: "start", Pipeline: r.Plan.Pipeline, Execution: "another"})
			again := *r
			again.ID, again.ExecutionID = "another", "another"
			e.records.Releases = append(e.records.Releases, again)
		}, func(t tally) int { return t.releasedTwice }, true},
		"a commit was released again after an unknown start": {func(t *testing.T, e *evidence) {
			again := *firstStarted(t, e)
			again.ID, again.ExecutionID, again.State = "another", "", release.Unknown
			e.acted = append(e.acted, standin.Call{Operation: "operate_pipeline", Action: "start", Pipeline: again.Plan.Pipeline, Execution: "another"})
			e.records.Releases = append(e.records.Releases, again)
		}, func(t tally) int { return t.releasedTwice }, true},
		"a pipeline that ran was asked to start": {func(t *testing.T, e *evidence) {
			e.refused = append(e.refused, firstCall(t, e, "start"))
		}, func(t tally) int { return t.releasedTwice }, true},
		"the newest commit lost its run": {func(t *testing.T, e *evidence) {
			overtaken := map[string]bool{}
			for _, change := range e.changes {
				overtaken[change.Before] = true
			}
			i := slices.IndexFunc(e.records.Runs, func(r codecheck.Run) bool { return !overtaken[r.Event.HeadSHA] })
			newest := e.records.Runs[i].Event.HeadSHA
			e.records.Runs = slices.DeleteFunc(e.records.Runs, func(r codecheck.Run) bool { return r.Event.HeadSHA == newest })
		}, func(t tally) int { return t.missing }, true},
		"a checkpoint was approved twice": {func(t *testing.T, e *evidence) {
			e.acted = append(e.acted, firstCall(t, e, "approval"))
		}, func(t tally) int { return t.approvedTwice }, true},
		"another commit was approved": {func(t *testing.T, e *evidence) {
			i := slices.IndexFunc(e.acted, func(c standin.Call) bool { return c.Action == "approval" && c.ApprovalType == "agree" })
			e.acted[i].Message = "Gatewright: gate passed, run 00000000-0000-0000-0000-000000000000, commit 1234567"
		}, func(t tally) int { return t.otherCommit }, true},
		"a release stands on a run of another commit": {func(t *testing.T, e *evidence) {
			runID := firstStarted(t, e).RunID
			i := slices.IndexFunc(e.records.Runs, func(r codecheck.Run) bool { return r.ID == runID })
			e.records.Runs[i].Event.HeadSHA = strings.Repeat("1", 40)
		}, func(t tally) int { return t.otherCommit }, true},
		"a check was asked for when a newer commit was known": {func(t *testing.T, e *evidence) {
			newer := *e.changes[0]
			newer.Before, newer.Acknowledged = firstStarted(t, e).Event.HeadSHA, time.Unix(0, 0)
			e.changes = append(slices.Clone(e.changes), &newer)
		}, func(t tally) int { return t.otherCommit }, true},
		"something hangs": {func(t *testing.T, e *evidence) {
			e.left.Runs = 1
		}, func(t tally) int { return t.hanging }, true},
	}
}

func firstDecided(t *testing.T, e *evidence) *store.Delivery {
	t.Helper()
	i := slices.IndexFunc(e.records.Deliveries, func(d store.Delivery) bool { return d.State == event.DeliveryDecided })
	if i < 0 {
		t.Fatal("no delivery was decided")
	}
	return &e.records.Deliveries[i]
}

func firstStarted(t *testing.T, e *evidence) *release.Release {
	t.Helper()
	i := slices.IndexFunc(e.records.Releases, func(r release.Release) bool {
		return r.Plan.Action == rules.ReleaseStart && r.ExecutionID != ""
	})
	if i < 0 {
		t.Fatal("nothing was released")
	}
	return &e.records.Releases[i]
}

func firstCall(t *testing.T, e *evidence, action string) standin.Call {
	t.Helper()
	i := slices.IndexFunc(e.acted, func(c standin.Call) bool {
		return c.Action == action && (action != "approval" || c.ApprovalType == "agree")
	})
	if i < 0 {
		t.Fatalf("no %s", action)
	}
	return e.acted[i]
}

// TestWrongFlags holds that nothing is started for a wrong command line.
func TestWrongFlags(t *testing.T) {
	for _, args := range [][]string{{"-database", "oracle"}, {"-rounds", "0"}, {"-rate", "0"}, {"-cycle", "0"}, {"-replicas", "0"}, {"-crash-database", "0"}} {
		if err := run(t.Context(), args, &bytes.Buffer{}); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}

// TestMoments holds that a seed decides when the server is killed.
func TestMoments(t *testing.T) {
	draw := func(seed uint64) map[int64]bool {
		moments, drawn := newMoments(seed), map[int64]bool{}
		for range 10 {
			drawn[moments.Int64()] = true
		}
		return drawn
	}
	if !maps.Equal(draw(1), draw(1)) || maps.Equal(draw(1), draw(2)) {
		t.Error("the moments do not follow from the seed")
	}
}
