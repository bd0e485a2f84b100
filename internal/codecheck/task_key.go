package codecheck

import (
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
)

// TaskKey names the task that an event's check needs: connection, repository by its id,
// project and branch, for an incremental scan also the merge request and its source
// branch, and the task that the rule names, if it does. Two runs with the same key compete for one task, which runs one
// execution at a time.
func TaskKey(ev event.Event, c rules.Check) string {
	key := fullTaskKey(ev, c.ProjectID, scannedBranch(ev, c))
	if c.Scan == rules.ScanIncremental {
		key += " " + ev.SourceBranch + " #" + strconv.Itoa(ev.Number)
	}
	if c.TaskID != "" {
		key += " " + c.TaskID
	}
	return key
}

// BaselineKey is the task key of the runs that a run's findings are compared with: of a
// merge request and a merge group the full task of the target branch, else the run's own task.
func BaselineKey(run Run) string {
	if run.Event.Number != 0 || run.Event.Kind == event.MergeGroup {
		return fullTaskKey(run.Event, run.Check.ProjectID, run.Event.Branch)
	}
	return TaskKey(run.Event, run.Check)
}

// IsBaseline reports whether later runs can be compared with this one: all its findings
// are kept with it. It need not have a verdict, so that a gate that compares new defects
// gets something to compare with.
func (run Run) IsBaseline() bool {
	return run.State.Ended() && run.Findings != nil && run.Findings.Complete && run.Findings.RunID == run.ID
}

// fullTaskKey names the full task of a branch. Branch names have no spaces.
func fullTaskKey(ev event.Event, project, branch string) string {
	return strings.Join([]string{ev.RepositoryKey(), project, branch}, " ")
}

// address is the repository's http form, or what there is instead.
func address(r event.Repository) string {
	if r.HTTPSURL != "" {
		return r.HTTPSURL
	}
	return r.SSHURL
}

// scannedBranch is the branch of the full task: the target of a merge request that
// is scanned incrementally, because its changes are compared with that; else the branch or
// tag that has the commit. A tag
// stands in the place of a branch, as the API has no other field for it.
func scannedBranch(ev event.Event, c rules.Check) string {
	if c.Scan == rules.ScanFull {
		return ev.CommitRef()
	}
	return ev.Branch
}
