package main

import (
	"slices"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/store"
)

// good is a round of one repository with one push that was checked, released and
// approved once, and what is known of it.
func good() (*round, evidence) {
	repo := newRepository(1)
	c := &change{repository: repo, kind: event.Push, branch: mainBranch, sha: "c0ffee", acknowledged: 2, ids: []string{"d1"}}
	start := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	ev := event.Event{Kind: event.Push, Branch: mainBranch, HeadSHA: c.sha, Repository: event.Repository{FullName: repo.name}}
	run := codecheck.Run{ID: "run", DeliveryID: "d1", Event: ev, State: codecheck.Passed, Task: codecheck.Task{ID: "task"}, ExecID: "exec"}
	act := func(id, action string, when int) release.Release {
		return release.Release{
			ID: id, RunID: run.ID, Event: ev, State: release.Succeeded, Plan: rules.Release{Pipeline: repo.pipeline, Action: rules.ReleaseAction(action)},
			Actions: []release.Action{{Name: rules.ReleaseAction(action), At: at(when), ExecutionID: "77", Result: release.ResultAccepted}},
		}
	}
	return &round{repositories: []*repository{repo}, changes: []*change{c}}, evidence{
		deliveries: []store.Delivery{{
			Delivery: event.Delivery{ID: "d1"}, State: event.DeliveryDecided, Decision: &rules.Decision{Event: ev}, UpdatedAt: at(1),
		}},
		runs:     []codecheck.Run{run},
		releases: []release.Release{act("start", "start", 3), act("approve", "approve", 5)},
		calls: []standin.Call{
			{Time: at(2), Operation: "run_task", Acted: true, Task: "task", Execution: "exec"},
			{Time: at(3), Operation: "operate_pipeline", Action: "start", Acted: true, Pipeline: repo.pipeline, Execution: "77"},
			{Time: at(5), Operation: "operate_pipeline", Action: "approval", ApprovalType: "agree", Acted: true, Pipeline: repo.pipeline, Execution: "77"},
		},
	}
}

// TestJudge holds that each fault that the proof is there to find is found: the good
// case is changed in one place, and one number changes.
func TestJudge(t *testing.T) {
	again := func(e *evidence, i int, change func(*standin.Call)) {
		call := e.calls[i]
		change(&call)
		e.calls = append(e.calls, call)
	}
	cases := map[string]struct {
		spoil func(*round, *evidence)
		want  tally
	}{
		"good": {func(*round, *evidence) {}, tally{}},
		"a delivery is gone": {func(r *round, _ *evidence) {
			r.changes[0].ids = append(r.changes[0].ids, "d2")
		}, tally{missing: 1}},
		"a change was never decided": {func(_ *round, e *evidence) {
			e.deliveries[0].State, e.deliveries[0].Decision = event.DeliveryFailed, nil
		}, tally{missing: 1}},
		"a delivery waits": {func(_ *round, e *evidence) {
			e.deliveries[0].State, e.deliveries[0].Decision = event.DeliveryReceived, nil
		}, tally{noEnd: 1}},
		"decided twice": {func(_ *round, e *evidence) {
			second, run := e.deliveries[0], e.runs[0]
			second.ID, run.ID, run.DeliveryID, run.State, run.ExecID = "d2", "run2", "d2", codecheck.Errored, ""
			e.deliveries, e.runs = append(e.deliveries, second), append(e.runs, run)
		}, tally{decidedTwice: 1}},
		"decided again without effect": {func(_ *round, e *evidence) {
			second := e.deliveries[0]
			second.ID = "d2"
			e.deliveries = append(e.deliveries, second)
		}, tally{}},
		"run again": {func(_ *round, e *evidence) {
			again(e, 0, func(c *standin.Call) { c.Execution = "other" })
		}, tally{runAgain: 1}},
		"a run waits": {func(_ *round, e *evidence) {
			e.runs = append(e.runs, codecheck.Run{ID: "run2", Event: e.runs[0].Event, State: codecheck.Starting})
		}, tally{noEnd: 1}},
		"a release waits": {func(_ *round, e *evidence) {
			e.releases[0].State = release.AwaitingApproval
		}, tally{noEnd: 1}},
		"started twice": {func(_ *round, e *evidence) {
			again(e, 1, func(c *standin.Call) { c.Execution = "78" })
		}, tally{releasedTwice: 1}},
		"two releases for one commit": {func(_ *round, e *evidence) {
			second := e.releases[0]
			second.ID, second.Actions = "second", slices.Clone(second.Actions)
			second.Actions[0].ExecutionID = "78"
			e.releases = append(e.releases, second)
			again(e, 1, func(c *standin.Call) { c.Execution = "78" })
		}, tally{releasedTwice: 2}},
		"approved twice": {func(_ *round, e *evidence) {
			again(e, 2, func(*standin.Call) {})
		}, tally{approvedTwice: 1}},
		"a second approval was refused": {func(_ *round, e *evidence) {
			again(e, 2, func(c *standin.Call) { c.Acted, c.Execution, c.Detail = false, "", "the task does not wait" })
		}, tally{approvedTwice: 1}},
		"an approval met a fault": {func(_ *round, e *evidence) {
			again(e, 2, func(c *standin.Call) { c.Acted, c.Execution, c.Code = false, "", "APIGW.0308" })
		}, tally{}},
		"a person refused": {func(_ *round, e *evidence) {
			again(e, 2, func(c *standin.Call) { c.ApprovalType = "refuse" })
		}, tally{}},
		"released before it was checked": {func(_ *round, e *evidence) {
			e.calls[0].Time = e.calls[2].Time
		}, tally{otherCommit: 2}},
		"released for a run of another commit": {func(_ *round, e *evidence) {
			e.runs[0].Event.HeadSHA = "decaf"
		}, tally{otherCommit: 2}},
		"released after a failed check": {func(_ *round, e *evidence) {
			e.runs[0].State = codecheck.Failed
		}, tally{otherCommit: 2}},
		"approved after the branch had moved on": {func(r *round, e *evidence) {
			next := &change{repository: r.repositories[0], kind: event.Push, branch: mainBranch, before: "c0ffee", sha: "decaf", acknowledged: 1}
			r.changes = append(r.changes, next)
			d := e.deliveries[0]
			later := d.Decision.Event
			later.HeadSHA, later.Before = next.sha, next.before
			d.ID, d.Decision, d.UpdatedAt = "d2", &rules.Decision{Event: later}, d.UpdatedAt.Add(3*time.Second)
			e.deliveries = append(e.deliveries, d)
		}, tally{otherCommit: 1}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r, all := good()
			c.spoil(r, &all)
			got := judge(r, all)
			if got.missing != c.want.missing || got.decidedTwice != c.want.decidedTwice || got.runAgain != c.want.runAgain ||
				got.releasedTwice != c.want.releasedTwice || got.approvedTwice != c.want.approvedTwice ||
				got.otherCommit != c.want.otherCommit || got.noEnd != c.want.noEnd {
				t.Errorf("got %s\n%q", got.line(name), got.complaints)
			}
			if want := c.want.held(); got.held() != want {
				t.Errorf("held is %v", got.held())
			}
		})
	}
}
