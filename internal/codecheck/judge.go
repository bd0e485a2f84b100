package codecheck

import (
	"fmt"

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
