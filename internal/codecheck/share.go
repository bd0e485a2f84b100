package codecheck

import "strings"

// JudgedLike returns run with what the run of another rule found on the same task
// and commit, judged by run's own gate. other must have a verdict, and counts of new
// defects when the gate compares those.
func (run Run) JudgedLike(other Run) Run {
	run.Task, run.Origin, run.ExecID = other.Task, other.Origin, other.ExecID
	run.Ref, run.RefReason, run.RefsTried = other.Ref, other.RefReason, other.RefsTried
	run.Counts, run.NewCounts, run.NewCountsFrom = other.Counts, other.NewCounts, other.NewCountsFrom
	run.Defects, run.Findings = other.Defects, other.Findings
	verdict := other.Rejudge(run.Check.Gate)
	run.Verdict = &verdict
	run.State, run.Reason = Passed, "judged from run "+other.ID+", which checked the same commit: "+strings.Join(verdict.Reasons, ", ")
	if !verdict.Passed {
		run.State = Failed
	}
	return run
}

// TakeOver returns run, which shared the execution of other, with that execution as its
// own: other ends without waiting for it. Where other has none yet, run starts by
// itself.
func (run Run) TakeOver(other Run) Run {
	run.SharesRunID = ""
	run.Task, run.Origin = other.Task, other.Origin
	if other.State != Running {
		return run
	}
	run.Reason = "took over the execution of run " + other.ID
	run.State, run.Intent, run.ExecID, run.StartedAt = Running, other.Intent, other.ExecID, other.StartedAt
	run.Ref, run.RefReason, run.RefsTried = other.Ref, other.RefReason, other.RefsTried
	run.SeenRunning, run.Polls, run.Reads = other.SeenRunning, other.Polls, other.Reads
	run.Usual, run.LastSeen, run.ScanTook = other.Usual, other.LastSeen, other.ScanTook
	return run
}
