package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/store"
)

// evidence is what the database holds in the end, and what the stand-in was asked
// to do by its own count.
type evidence struct {
	deliveries []store.Delivery
	runs       []codecheck.Run
	releases   []release.Release
	calls      []standin.Call
}

// tally is what is counted of a round; usage says what each number is.
type tally struct {
	acknowledged, missing, decidedTwice, runAgain    int
	releasedTwice, approvedTwice, otherCommit, noEnd int
	felt                                             int
	runs                                             map[codecheck.State]int
	releases                                         map[release.State]int
	// complaints say of what must not be what it was.
	complaints []string
}

// held says that nothing was lost, done twice, done for another commit, or left.
func (t tally) held() bool {
	return t.missing == 0 && t.decidedTwice == 0 && t.releasedTwice == 0 && t.approvedTwice == 0 && t.otherCommit == 0 && t.noEnd == 0
}

func (t tally) verdict() string {
	if t.held() {
		return "the proof holds"
	}
	return "THE PROOF DOES NOT HOLD"
}

func (t *tally) add(other tally) {
	t.acknowledged += other.acknowledged
	t.missing += other.missing
	t.decidedTwice += other.decidedTwice
	t.runAgain += other.runAgain
	t.releasedTwice += other.releasedTwice
	t.approvedTwice += other.approvedTwice
	t.otherCommit += other.otherCommit
	t.noEnd += other.noEnd
	t.felt += other.felt
	if t.runs == nil {
		t.runs, t.releases = map[codecheck.State]int{}, map[release.State]int{}
	}
	for state, n := range other.runs {
		t.runs[state] += n
	}
	for state, n := range other.releases {
		t.releases[state] += n
	}
}

// line is the tally in one line of words and numbers.
func (t tally) line(name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-26s acknowledged %d missing %d decided_twice %d run_again %d released_twice %d approved_twice %d other_commit %d never_ended %d felt %d runs",
		name, t.acknowledged, t.missing, t.decidedTwice, t.runAgain, t.releasedTwice, t.approvedTwice, t.otherCommit, t.noEnd, t.felt)
	for _, state := range codecheck.States() {
		if n := t.runs[state]; n > 0 {
			fmt.Fprintf(&b, " %s %d", state, n)
		}
	}
	b.WriteString(" releases")
	for _, state := range release.States() {
		if n := t.releases[state]; n > 0 {
			fmt.Fprintf(&b, " %s %d", state, n)
		}
	}
	return b.String()
}

func (t *tally) complain(count *int, format string, args ...any) {
	*count++
	t.complaints = append(t.complaints, fmt.Sprintf(format, args...))
}

// judge counts what became of a round's changes.
func judge(r *round, all evidence) tally {
	t := tally{felt: r.felt, runs: map[codecheck.State]int{}, releases: map[release.State]int{}}
	states := map[string]event.DeliveryState{}
	for _, d := range all.deliveries {
		states[d.ID] = d.State
	}
	for _, c := range r.changes {
		t.judgeChange(c, states, all)
	}
	for _, repository := range r.repositories {
		own := all.of(repository)
		t.judgeRuns(own)
		t.judgeStarts(repository, own, r.changes)
		t.judgeApprovals(own)
		for _, rel := range own.releases {
			t.judgeCommit(rel, own, r.changes)
		}
	}
	return t
}

// of is the part of the evidence that is about one repository.
func (e evidence) of(r *repository) (own evidence) {
	tasks := map[string]bool{}
	for _, d := range e.deliveries {
		if d.Decision != nil && d.Decision.Event.Repository.FullName == r.name {
			own.deliveries = append(own.deliveries, d)
		}
	}
	for _, run := range e.runs {
		if run.Event.Repository.FullName == r.name {
			own.runs = append(own.runs, run)
			tasks[run.Task.ID] = true
		}
	}
	for _, rel := range e.releases {
		if rel.Event.Repository.FullName == r.name {
			own.releases = append(own.releases, rel)
		}
	}
	for _, call := range e.calls {
		if call.Pipeline == r.pipeline || call.Task != "" && tasks[call.Task] {
			own.calls = append(own.calls, call)
		}
	}
	return own
}

// judgeChange: an acknowledged change is known and decided, and acted upon once. An
// announcement that comes late may be decided too, when nothing comes of it.
func (t *tally) judgeChange(c *change, states map[string]event.DeliveryState, all evidence) {
	t.acknowledged += c.acknowledged
	open := false
	for _, id := range c.ids {
		state, stored := states[id]
		switch {
		case !stored:
			t.complain(&t.missing, "delivery %s was acknowledged and is not stored", id)
		case state == event.DeliveryReceived:
			open = true
			t.complain(&t.noEnd, "delivery %s is not decided", id)
		}
	}
	decided, acted := 0, 0
	for _, d := range all.deliveries {
		if d.State != event.DeliveryDecided || d.Decision == nil || !c.is(d.Decision.Event) {
			continue
		}
		decided++
		if slices.ContainsFunc(all.runs, func(run codecheck.Run) bool { return run.DeliveryID == d.ID }) {
			acted++
		}
	}
	switch {
	case decided == 0 && c.acknowledged > 0 && !open:
		t.complain(&t.missing, "%s %s of %s was acknowledged and never decided", c.kind, c.sha, c.repository.name)
	case acted > 1:
		t.complain(&t.decidedTwice, "%s %s of %s was acted upon %d times", c.kind, c.sha, c.repository.name, acted)
	}
}

// is says whether an event is of this change.
func (c *change) is(ev event.Event) bool {
	return ev.Repository.FullName == c.repository.name && ev.Kind == c.kind && ev.Branch == c.branch && ev.HeadSHA == c.sha
}

// judgeRuns: every run has ended. Executions that no run knows are counted.
func (t *tally) judgeRuns(own evidence) {
	known := 0
	for _, run := range own.runs {
		t.runs[run.State]++
		if !run.State.Ended() {
			t.complain(&t.noEnd, "run %s is %s: %s", run.ID, run.State, run.Reason)
		}
		if run.ExecID != "" {
			known += max(1, len(run.RefsTried))
		}
	}
	t.runAgain += max(0, len(acted(own.calls, "run_task", ""))-known)
}

// acted are the calls of an operation, and action, that changed something.
func acted(calls []standin.Call, operation, action string) []standin.Call {
	return slices.DeleteFunc(slices.Clone(calls), func(c standin.Call) bool {
		return !c.Acted || c.Operation != operation || c.Action != action
	})
}

// lastResult is what became of a release's last action, and on which execution;
// empty when none was sent.
func lastResult(r release.Release) (result release.Result, execution string) {
	if len(r.Actions) == 0 {
		return "", ""
	}
	last := r.Actions[len(r.Actions)-1]
	return last.Result, last.ExecutionID
}

// judgeStarts: the pipeline was started at most once for each release that may have
// started it, at most once for each commit that was pushed, and no two releases took
// the same execution for theirs.
func (t *tally) judgeStarts(r *repository, own evidence, changes []*change) {
	sent, commits, executions := 0, map[string]int{}, map[string]int{}
	for _, rel := range own.releases {
		t.releases[rel.State]++
		if !rel.State.Ended() {
			t.complain(&t.noEnd, "release %s (%s) is %s: %s", rel.ID, rel.Plan.Action, rel.State, rel.Reason)
		}
		if rel.Plan.Action != rules.ReleaseStart {
			continue
		}
		switch result, execution := lastResult(rel); result {
		case release.ResultAccepted, release.ResultAdopted:
			sent++
			commits[rel.Event.HeadSHA]++
			executions[execution]++
		case release.ResultUnknown:
			sent++
		}
	}
	pushes := 0
	for _, c := range changes {
		if c.repository == r && c.kind == event.Push {
			pushes++
		}
	}
	starts := acted(own.calls, "operate_pipeline", "start")
	for _, extra := range starts[min(len(starts), sent, pushes):] {
		t.complain(&t.releasedTwice, "pipeline %s was started %d times for %d releases of %d pushes; the last is execution %s", r.pipeline, len(starts), sent, pushes, extra.Execution)
	}
	for commit, n := range commits {
		if n > 1 {
			t.complain(&t.releasedTwice, "commit %s was released %d times by pipeline %s", commit, n, r.pipeline)
		}
	}
	for execution, n := range executions {
		if n > 1 {
			t.complain(&t.releasedTwice, "execution %s was taken by %d releases", execution, n)
		}
	}
}

// judgeApprovals: no checkpoint was approved twice, nor was it asked for. An approval
// that the pipeline's state refused is one of a checkpoint that did not wait for it.
// Who refuses is the person.
func (t *tally) judgeApprovals(own evidence) {
	seen := map[string]bool{}
	for _, call := range own.calls {
		if call.Operation != "operate_pipeline" || call.Action != "approval" || call.ApprovalType != "agree" {
			continue
		}
		if call.Acted && seen[call.Execution] || !call.Acted && call.Detail != "" {
			t.complain(&t.approvedTwice, "the checkpoint of pipeline %s was approved again at %s", call.Pipeline, call.Time.Format(timeFormat))
		}
		seen[call.Execution] = seen[call.Execution] || call.Acted
	}
}

// timeFormat shows milliseconds, because that is how close things are here.
const timeFormat = "15:04:05.000"

// judgeCommit: a release that started or approved did so for the commit that its run
// has passed, which was the newest one of its branch when it acted.
func (t *tally) judgeCommit(rel release.Release, own evidence, changes []*change) {
	result, execution := lastResult(rel)
	if result == "" || result == release.ResultRefused || rel.Plan.Action == rules.ReleaseRefuse {
		return
	}
	other := func(format string, args ...any) {
		t.complain(&t.otherCommit, "release %s (%s, %s): "+format, append([]any{rel.ID, rel.Plan.Action, result}, args...)...)
	}
	i := slices.IndexFunc(own.runs, func(run codecheck.Run) bool { return run.ID == rel.RunID })
	if i < 0 {
		other("its run %s is not there", rel.RunID)
		return
	}
	run, at := own.runs[i], rel.Actions[len(rel.Actions)-1].At
	if run.State != codecheck.Passed || run.Event.HeadSHA != rel.Event.HeadSHA {
		other("run %s is %s for commit %s", run.ID, run.State, run.Event.HeadSHA)
	}
	if !slices.ContainsFunc(acted(own.calls, "run_task", ""), func(c standin.Call) bool {
		return c.Execution == run.ExecID && c.Task == run.Task.ID && c.Time.Before(at)
	}) {
		other("the stand-in has not run execution %s before", run.ExecID)
	}
	if result != release.ResultUnknown && !slices.ContainsFunc(own.calls, func(c standin.Call) bool {
		return c.Acted && c.Operation == "operate_pipeline" && c.Execution == execution
	}) {
		other("the stand-in has not acted on execution %s", execution)
	}
	pushed := slices.IndexFunc(changes, func(c *change) bool { return c.is(rel.Event) && c.kind == event.Push })
	if pushed < 0 {
		other("commit %s was never pushed to %s", rel.Event.HeadSHA, rel.Event.Branch)
		return
	}
	for _, later := range changes {
		if later.repository != changes[pushed].repository || later.branch != rel.Event.Branch || later.before != rel.Event.HeadSHA || later.kind != event.Push {
			continue
		}
		for _, d := range own.deliveries {
			if d.State == event.DeliveryDecided && later.is(d.Decision.Event) && d.UpdatedAt.Before(at) {
				other("it acted at %s, and the branch had moved on at %s", at.Format(timeFormat), d.UpdatedAt.Format(timeFormat))
			}
		}
	}
}
