package codecheck

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/rules"
)

func TestJudge(t *testing.T) {
	n := func(i int) *int { return &i }
	counts := Counts{Critical: 1, Major: 3, Minor: 9, Suggestion: 20}
	newCounts := Counts{Major: 1}
	tests := map[string]struct {
		gate        rules.Gate
		newCounts   *Counts
		passed      bool
		reasons     []string
		comparisons []Comparison
		summary     string
	}{
		"no limit": {passed: true, reasons: []string{"the gate sets no limit"}, comparisons: []Comparison{},
			summary: "the gate holds: the gate sets no limit"},
		"equal to every limit": {gate: rules.Gate{Critical: n(1), Major: n(3), Minor: n(9), Suggestion: n(20)}, passed: true,
			reasons: []string{"critical 1 ≤ 1", "major 3 ≤ 3", "minor 9 ≤ 9", "suggestion 20 ≤ 20"},
			comparisons: []Comparison{{"critical", false, 1, 1, false}, {"major", false, 3, 3, false},
				{"minor", false, 9, 9, false}, {"suggestion", false, 20, 20, false}},
			summary: "the gate holds: critical 1 ≤ 1, major 3 ≤ 3, minor 9 ≤ 9, suggestion 20 ≤ 20"},
		"one above": {gate: rules.Gate{Critical: n(1), Major: n(2)}, reasons: []string{"critical 1 ≤ 1", "major 3 > 2"},
			comparisons: []Comparison{{"critical", false, 1, 1, false}, {"major", false, 3, 2, true}},
			summary:     "the gate is exceeded: major 3 > 2"},
		"suggestion above": {gate: rules.Gate{Suggestion: n(0)}, reasons: []string{"suggestion 20 > 0"},
			comparisons: []Comparison{{"suggestion", false, 20, 0, true}}, summary: "the gate is exceeded: suggestion 20 > 0"},
		"minor above": {gate: rules.Gate{Minor: n(8)}, reasons: []string{"minor 9 > 8"},
			comparisons: []Comparison{{"minor", false, 9, 8, true}}, summary: "the gate is exceeded: minor 9 > 8"},
		"new only": {gate: rules.Gate{Critical: n(0), Major: n(1), NewOnly: true}, newCounts: &newCounts, passed: true,
			reasons:     []string{"new critical 0 ≤ 0", "new major 1 ≤ 1"},
			comparisons: []Comparison{{"critical", true, 0, 0, false}, {"major", true, 1, 1, false}},
			summary:     "the gate holds: new critical 0 ≤ 0, new major 1 ≤ 1"},
		"new only above": {gate: rules.Gate{Major: n(0), NewOnly: true}, newCounts: &newCounts, reasons: []string{"new major 1 > 0"},
			comparisons: []Comparison{{"major", true, 1, 0, true}}, summary: "the gate is exceeded: new major 1 > 0"},
		"new only, not known": {gate: rules.Gate{NewOnly: true}, reasons: []string{"the counts of new defects are not known"},
			comparisons: []Comparison{}, summary: "the gate is exceeded: the counts of new defects are not known"},
	}
	for name, test := range tests {
		for _, access := range []string{"1", "0", ""} {
			want := Verdict{Passed: test.passed, Comparisons: test.comparisons, Reasons: test.reasons, Remarks: []string{}, Access: access}
			got := Judge(test.gate, counts, test.newCounts, access)
			if diff := cmp.Diff(want, got); diff != "" || got.summary() != test.summary {
				t.Errorf("%s: %s (-want +got):\n%s", name, got.summary(), diff)
			}
		}
	}
}

// A remark that has the form of an exceeded limit is not taken for one.
func TestRemarksAreNotComparisons(t *testing.T) {
	v := Verdict{Comparisons: []Comparison{{Severity: "major", Count: 3, Limit: 2, Exceeded: true}},
		Reasons: []string{"major 3 > 2"}, Remarks: []string{"the summary says 3 > 2"}}
	if got := v.summary(); got != "the gate is exceeded: major 3 > 2" {
		t.Errorf("summary %q", got)
	}
}
