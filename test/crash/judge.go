package main

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/report"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/test/harness"
)

// evidence is what a proof is judged by: our database, what the stand-in did by its
// own count, and what the sender sent and was told.
type evidence struct {
	database string
	// kills is how often a server was killed, databaseKills how often PostgreSQL was.
	kills, databaseKills int
	statuses             map[int]int
	records              harness.Records
	acted, refused       []standin.Call
	changes              []*harness.Change
	accepted             []harness.Answer
	left                 harness.Left
	// host is what the reports were made to; nil: none were.
	host *harness.GitHost
}

// tally is the judgement.
type tally struct {
	acknowledged int
	// These must be 0.
	missing, decidedTwice, runTwice, releasedTwice, approvedTwice, otherCommit, hanging int
	// wrongStatus counts the commits whose last status is not what their runs say, and
	// twoComments the merge requests with more than one comment. They must be 0, too.
	wrongStatus, twoComments int
	// told counts the commits that have a status.
	told int
	// startedAgain counts the executions that no run names: the answer that named
	// them was lost, and the run was started once more.
	startedAgain int
	// adopted counts the starts and approvals whose answer was lost, and that were
	// found done when the release was looked at again.
	adopted int
	// These say how much was at stake.
	executions, starts, approvals int
	runs                          map[codecheck.State]int
	releases                      map[release.State]int
	// examples are some of the things that must not be, in words.
	examples []string
}

// maxExamples is how many broken promises are described.
const maxExamples = 20

func (t *tally) broke(count *int, format string, args ...any) {
	*count++
	if len(t.examples) < maxExamples {
		t.examples = append(t.examples, fmt.Sprintf(format, args...))
	}
}

// judge counts.
func judge(e evidence) tally {
	t := tally{hanging: e.left.Deliveries + e.left.Runs + e.left.Releases + e.left.Reports, runs: map[codecheck.State]int{}, releases: map[release.State]int{}}
	for _, run := range e.records.Runs {
		t.runs[run.State]++
	}
	for _, r := range e.records.Releases {
		t.releases[r.State]++
		for _, action := range r.Actions {
			if action.Result == release.ResultAdopted {
				t.adopted++
			}
		}
	}
	t.judgeDeliveries(e)
	t.judgeRuns(e)
	t.judgeStarts(e)
	t.judgeApprovals(e)
	t.judgeReports(e)
	return t
}

// judgeDeliveries: what was acknowledged is in the database and was decided, each
// decision has its runs unless there is a newer commit, and no change was decided
// twice. Each change has a commit of its own.
func (t *tally) judgeDeliveries(e evidence) {
	stored, decided, caused := map[string]bool{}, map[string]int{}, map[string]bool{}
	overtaken := map[string]bool{}
	for _, change := range e.changes {
		overtaken[change.Before] = true
	}
	for _, run := range e.records.Runs {
		caused[run.DeliveryID+" "+run.Rule] = true
	}
	for _, d := range e.records.Deliveries {
		stored[d.ID] = true
		if d.State != event.DeliveryDecided || d.Decision == nil {
			continue
		}
		decided[d.Decision.Event.HeadSHA]++
		for _, match := range d.Decision.Matches {
			if sha := d.Decision.Event.HeadSHA; !caused[d.ID+" "+match.Rule] && !overtaken[sha] {
				t.broke(&t.missing, "delivery %s was decided by rule %s and has no run", d.ID, match.Rule)
			}
		}
	}
	for _, answer := range e.accepted {
		t.acknowledged++
		if !stored[answer.Delivery] {
			t.broke(&t.missing, "delivery %s was acknowledged and is not stored", answer.Delivery)
		}
	}
	for _, change := range e.changes {
		switch n := decided[change.SHA]; {
		case n == 0 && !change.Acknowledged.IsZero():
			t.broke(&t.missing, "commit %s of %s was acknowledged and never decided", change.SHA, change.Line().Name())
		case n > 1:
			t.broke(&t.decidedTwice, "commit %s of %s was decided %d times", change.SHA, change.Line().Name(), n)
		}
	}
}

// judgeRuns: no two runs that were executed check the same commit by the same rule.
func (t *tally) judgeRuns(e evidence) {
	named := map[string]bool{}
	executed := map[string]int{}
	for _, run := range e.records.Runs {
		if run.ExecID == "" {
			continue
		}
		named[run.ExecID] = true
		key := run.Event.HeadSHA + " by rule " + run.Rule
		if executed[key]++; executed[key] == 2 {
			t.broke(&t.runTwice, "commit %s was run twice", key)
		}
	}
	for _, call := range e.acted {
		if call.Operation != "run_task" {
			continue
		}
		t.executions++
		if !named[call.Execution] {
			t.startedAgain++
		}
	}
}

// judgeStarts: each execution of a pipeline belongs to one release, no commit has
// two, and it was checked after all that the sender knew to be newer. A pipeline that
// runs refuses to be started again, which is the stand-in's merit and not ours. An
// execution that no release names is one too many, unless a release of that pipeline
// says that the effect of its start is unknown.
func (t *tally) judgeStarts(e evidence) {
	runs := runsByID(e)
	checkedAt := map[string]time.Time{}
	for _, call := range e.acted {
		if call.Operation == "run_task" {
			checkedAt[call.Execution] = call.Time
		}
	}
	owner := map[string]release.Release{}
	unknown := map[string]int{}
	commits := map[string]int{}
	for _, r := range e.records.Releases {
		switch {
		case r.Plan.Action != rules.ReleaseStart:
			continue
		case r.ExecutionID != "":
			owner[r.ExecutionID] = r
		case r.State == release.Unknown:
			unknown[r.Plan.Pipeline]++
		default:
			continue
		}
		// A start that may have had its effect counts as one that had.
		if commits[r.Event.HeadSHA]++; commits[r.Event.HeadSHA] == 2 {
			t.broke(&t.releasedTwice, "commit %s was released twice, the second time by release %s", r.Event.HeadSHA, r.ID)
		}
	}
	newer := newerThan(e.changes)
	for _, call := range e.refused {
		if call.Action == "start" {
			t.broke(&t.releasedTwice, "pipeline %s was asked to start while it ran", call.Pipeline)
		}
	}
	for _, call := range e.acted {
		if call.Operation != "operate_pipeline" || call.Action != "start" {
			continue
		}
		t.starts++
		r, found := owner[call.Execution]
		if !found {
			if unknown[call.Pipeline]--; unknown[call.Pipeline] < 0 {
				t.broke(&t.releasedTwice, "execution %s of pipeline %s belongs to no release", call.Execution, call.Pipeline)
			}
			continue
		}
		sha := r.Event.HeadSHA
		run := runs[r.RunID]
		at, checked := checkedAt[run.ExecID]
		switch next := newer[sha]; {
		case r.Plan.Pipeline != call.Pipeline:
			t.broke(&t.otherCommit, "release %s is for pipeline %s and started %s", r.ID, r.Plan.Pipeline, call.Pipeline)
		case !checked || run.Event.HeadSHA != sha || run.State != codecheck.Passed:
			t.broke(&t.otherCommit, "release %s of commit %s stands on run %s of commit %s (%s)", r.ID, sha, run.ID, run.Event.HeadSHA, run.State)
		case next != nil && next.Acknowledged.Before(at):
			t.broke(&t.otherCommit, "release %s of commit %s: its check was asked for %s after commit %s was acknowledged",
				r.ID, sha, at.Sub(next.Acknowledged).Round(time.Millisecond), next.SHA)
		}
	}
}

// runInMessage finds the run that an approval's message names.
var runInMessage = regexp.MustCompile(`run ([0-9a-f-]{36}), commit ([0-9a-f]{7})`)

// judgeApprovals: each checkpoint is approved once, each run approves once, and in
// the execution that was started for its own commit.
func (t *tally) judgeApprovals(e evidence) {
	runs := runsByID(e)
	commitOf := map[string]string{}
	for _, r := range e.records.Releases {
		if r.Plan.Action == rules.ReleaseStart && r.ExecutionID != "" {
			commitOf[r.ExecutionID] = r.Event.HeadSHA
		}
	}
	seen := map[string]int{}
	for _, call := range e.acted {
		if call.Operation != "operate_pipeline" || call.Action != "approval" || call.ApprovalType != "agree" {
			continue
		}
		t.approvals++
		said := runInMessage.FindStringSubmatch(call.Message)
		if said == nil {
			t.broke(&t.otherCommit, "the approval of execution %s does not say for what: %q", call.Execution, call.Message)
			continue
		}
		for _, key := range []string{"execution " + call.Execution, "run " + said[1]} {
			if seen[key]++; seen[key] == 2 {
				t.broke(&t.approvedTwice, "%s approved twice", key)
			}
		}
		started, sha := commitOf[call.Execution], runs[said[1]].Event.HeadSHA
		if sha == "" || !strings.HasPrefix(sha, said[2]) || started != "" && started != sha {
			t.broke(&t.otherCommit, "execution %s was started for commit %q and approved for %q", call.Execution, started, sha)
		}
	}
}

// judgeReports: the host was told at last what the runs of each commit say, whatever was
// killed between a call and its commit, and no merge request has two comments.
func (t *tally) judgeReports(e evidence) {
	if e.host == nil {
		return
	}
	settings := report.Settings{Statuses: true, Context: "gatewright", Ignored: report.IgnoredSuccess, Language: "en"}
	type commit struct{ connection, id, repository, sha string }
	runs := map[commit][]codecheck.Run{}
	for _, run := range e.records.Runs {
		if run.Event.Repository.Host == event.GitHub {
			key := commit{run.Event.Connection, run.Event.Repository.ID, run.Event.Repository.FullName, run.Event.HeadSHA}
			runs[key] = append(runs[key], run)
		}
	}
	for key, of := range runs {
		status, _ := settings.Check(of, "", false)
		want := map[forge.StatusState]string{forge.StateSuccess: "success", forge.StateFailure: "failure", forge.StateError: "error", forge.StateCanceled: "error"}[status.State]
		states, _ := e.host.Statuses(key.connection, key.repository, key.sha, status.Context)
		if len(states) == 0 || states[len(states)-1] != want {
			t.broke(&t.wrongStatus, "commit %s of %s shows %q, and its runs say %s", key.sha, key.connection, states, want)
		}
		t.told++
	}
	for request, n := range e.host.Comments() {
		if n > 1 {
			t.broke(&t.twoComments, "merge request %s has %d comments", request, n)
		}
	}
}

func runsByID(e evidence) map[string]codecheck.Run {
	runs := make(map[string]codecheck.Run, len(e.records.Runs))
	for _, run := range e.records.Runs {
		runs[run.ID] = run
	}
	return runs
}

// newerThan gives for each commit the change that came next on its line, if that
// was acknowledged.
func newerThan(changes []*harness.Change) map[string]*harness.Change {
	newer := map[string]*harness.Change{}
	for _, change := range changes {
		if change.Before != "" && !change.Acknowledged.IsZero() {
			newer[change.Before] = change
		}
	}
	return newer
}

// print writes the figures and then the line of the proof. The error is errBroken
// when something that must be 0 is not.
func (t tally) print(out io.Writer, e evidence) error {
	figure := func(name string, value int, unit string) {
		fmt.Fprintln(out, harness.Figure{Name: "crash_" + e.database + "_" + name, Value: int64(value), Unit: unit})
	}
	figure("kills", e.kills, "kills")
	figure("database_kills", e.databaseKills, "kills")
	for _, status := range slices.Sorted(maps.Keys(e.statuses)) {
		figure(fmt.Sprintf("answers_%d", status), e.statuses[status], "requests")
	}
	for _, state := range codecheck.States() {
		figure("runs_"+string(state), t.runs[state], "runs")
	}
	for _, state := range release.States() {
		figure("releases_"+string(state), t.releases[state], "releases")
	}
	figure("commits_with_status", t.told, "commits")
	figure("executions", t.executions, "executions")
	figure("starts", t.starts, "starts")
	figure("approvals", t.approvals, "approvals")
	for _, example := range t.examples {
		fmt.Fprintf(out, "# broken: %s\n", example)
	}
	fmt.Fprintf(out, "%s: kills %d / database kills %d / acknowledged %d / executions %d / starts %d / approvals %d / missing %d / decided twice %d / run twice %d / released twice %d / approved twice %d / other commit %d / wrong status %d / two comments %d / hanging %d (after a lost answer: %d runs started again, %d releases adopted)\n",
		e.database, e.kills, e.databaseKills, t.acknowledged, t.executions, t.starts, t.approvals, t.missing, t.decidedTwice, t.runTwice, t.releasedTwice, t.approvedTwice, t.otherCommit, t.wrongStatus, t.twoComments, t.hanging, t.startedAgain, t.adopted)
	if t.missing+t.decidedTwice+t.runTwice+t.releasedTwice+t.approvedTwice+t.otherCommit+t.wrongStatus+t.twoComments+t.hanging > 0 {
		return errBroken
	}
	return nil
}
