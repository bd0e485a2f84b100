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
		"all and new": {gate: rules.Gate{Critical: n(1), New: &rules.Limits{Critical: n(0), Major: n(0)}}, newCounts: &newCounts,
			reasons:     []string{"critical 1 ≤ 1", "new critical 0 ≤ 0", "new major 1 > 0"},
			comparisons: []Comparison{{"critical", false, 1, 1, false}, {"critical", true, 0, 0, false}, {"major", true, 1, 0, true}},
			summary:     "the gate is exceeded: new major 1 > 0"},
		"all and new, not known": {gate: rules.Gate{Critical: n(1), New: &rules.Limits{Critical: n(0)}},
			reasons:     []string{"critical 1 ≤ 1", "the counts of new defects are not known"},
			comparisons: []Comparison{{"critical", false, 1, 1, false}}, summary: "the gate is exceeded: the counts of new defects are not known"},
		"any number of new ones": {gate: rules.Gate{Critical: n(1), New: &rules.Limits{}}, passed: true, reasons: []string{"critical 1 ≤ 1"},
			comparisons: []Comparison{{"critical", false, 1, 1, false}}, summary: "the gate holds: critical 1 ≤ 1"},
		"new only, not known": {gate: rules.Gate{Critical: n(0), NewOnly: true}, reasons: []string{"the counts of new defects are not known"},
			comparisons: []Comparison{}, summary: "the gate is exceeded: the counts of new defects are not known"},
	}
	for name, test := range tests {
		for _, access := range []string{"1", "0", ""} {
			want := Verdict{Passed: test.passed, Comparisons: test.comparisons, Reasons: test.reasons, Remarks: []string{}, Access: access, AccessMeans: AccessUnknown}
			got := Judge(test.gate, Facts{Counts: counts, NewCounts: test.newCounts, Access: access, AccessMeans: AccessUnknown})
			if diff := cmp.Diff(want, got); diff != "" || got.summary() != test.summary {
				t.Errorf("%s: %s (-want +got):\n%s", name, got.summary(), diff)
			}
		}
	}
}

// TestRequiredAccess holds that a run passes only when is_access says passed, where the gate
// requires that, whatever the counts say. Its literals: specs/codearts-check.md 2.
func TestRequiredAccess(t *testing.T) {
	gate := rules.Gate{CodeArtsGate: rules.AccessRequire}
	for _, test := range []struct {
		access  string
		passed  []string
		want    bool
		summary string
	}{
		{"1", nil, true, `the gate holds: CodeArts Check's own gate passed (is_access is "1")`},
		{"true", nil, true, `the gate holds: CodeArts Check's own gate passed (is_access is "true")`},
		{"Success", nil, true, `the gate holds: CodeArts Check's own gate passed (is_access is "Success")`},
		{"pass", nil, true, `the gate holds: CodeArts Check's own gate passed (is_access is "pass")`},
		{"0", nil, false, `the gate is exceeded: CodeArts Check's own gate failed (is_access is "0")`},
		{"failed", nil, false, `the gate is exceeded: CodeArts Check's own gate failed (is_access is "failed")`},
		{"", nil, false, `the gate is exceeded: CodeArts Check's own gate is unknown (is_access is empty)`},
		{"2", nil, false, `the gate is exceeded: CodeArts Check's own gate is unknown (is_access is "2", which huaweicloud.access_passed does not name)`},
		{"2", []string{"2"}, true, `the gate holds: CodeArts Check's own gate passed (is_access is "2")`},
		{"1", []string{"2"}, false, `the gate is exceeded: CodeArts Check's own gate is unknown (is_access is "1", which huaweicloud.access_passed does not name)`},
	} {
		if test.passed == nil {
			test.passed = defaultAccessPassed()
		}
		facts := Facts{Access: test.access, AccessMeans: accessMeaning(test.access, test.passed)}
		if got := Judge(gate, facts); got.Passed != test.want || got.summary() != test.summary {
			t.Errorf("%q with %q: %v, %s", test.access, test.passed, got.Passed, got.summary())
		}
		if got := Judge(rules.Gate{}, facts); !got.Passed {
			t.Errorf("%q decides where it is only shown", test.access)
		}
	}
	none := 0
	gate.Critical = &none
	got := Judge(gate, Facts{Counts: Counts{Critical: 2}, Access: "1", AccessMeans: AccessPassed})
	if got.Passed || got.summary() != "the gate is exceeded: critical 2 > 0" {
		t.Errorf("with a count above its limit: %v, %s", got.Passed, got.summary())
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
