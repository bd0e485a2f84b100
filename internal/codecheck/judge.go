package codecheck

import (
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/internal/rules"
)

// Judge compares the counts with the gate's limits: a run passes when no count
// exceeds its limit. With NewOnly the new counts are compared; when they are nil
// the verdict is failed, because what is not known has not passed. A gate
// without limits passes everything. Access is CodeArts Check's own opinion, kept
// beside ours and without a say.
func Judge(g rules.Gate, counts Counts, newCounts *Counts, access string) Verdict {
	v := Verdict{Passed: true, Reasons: []string{}, Access: access}
	prefix := ""
	if g.NewOnly {
		if newCounts == nil {
			return Verdict{Reasons: []string{"the counts of new defects are not known"}, Access: access}
		}
		counts, prefix = *newCounts, "new "
	}
	for _, severity := range []struct {
		name  string
		limit *int
		count int
	}{
		{"critical", g.Critical, counts.Critical},
		{"major", g.Major, counts.Major},
		{"minor", g.Minor, counts.Minor},
		{"suggestion", g.Suggestion, counts.Suggestion},
	} {
		if severity.limit == nil {
			continue
		}
		relation := "≤"
		if severity.count > *severity.limit {
			relation, v.Passed = ">", false
		}
		v.Reasons = append(v.Reasons, fmt.Sprintf("%s%s %d %s %d", prefix, severity.name, severity.count, relation, *severity.limit))
	}
	if len(v.Reasons) == 0 {
		v.Reasons = append(v.Reasons, "the gate sets no limit")
	}
	return v
}

// JudgedLike returns run with what the run of another rule found on the same task
// and commit, judged by run's own gate. other must have a verdict, and counts of new
// defects when the gate compares those.
func (run Run) JudgedLike(other Run) Run {
	run.Task, run.Origin, run.ExecID = other.Task, other.Origin, other.ExecID
	run.Ref, run.RefReason, run.RefsTried = other.Ref, other.RefReason, other.RefsTried
	run.Counts, run.NewCounts, run.Defects = other.Counts, other.NewCounts, other.Defects
	verdict := Judge(run.Check.Gate, other.Counts, other.NewCounts, other.Verdict.Access)
	run.Verdict = &verdict
	run.State, run.Reason = Passed, "judged from run "+other.ID+", which checked the same commit: "+strings.Join(verdict.Reasons, ", ")
	if !verdict.Passed {
		run.State = Failed
	}
	return run
}
