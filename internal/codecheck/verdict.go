package codecheck

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/rules"
)

// Verdict is what the gate said of a run's defects, and why.
type Verdict struct {
	Passed bool `json:"passed"`
	// Comparisons are the limits of the gate, each with the count it was compared
	// with; empty when the gate sets none.
	Comparisons []Comparison `json:"comparisons"`
	// Reasons says the same in words, one line for each comparison, e.g.
	// "major 3 > 0" or "critical 0 ≤ 0"; without comparisons one line says why there
	// are none.
	Reasons []string `json:"reasons"`
	// Remarks say what is unusual about the counts.
	Remarks []string `json:"remarks"`
	// Access is CodeArts Check's own `is_access`, as sent; it is shown beside
	// our counts and never decides.
	Access string `json:"is_access"`
}

// Comparison is one limit of a gate and the count that was compared with it.
type Comparison struct {
	// Severity is critical, major, minor or suggestion.
	Severity string `json:"severity"`
	// New says that only new defects were counted.
	New   bool `json:"new"`
	Count int  `json:"count"`
	Limit int  `json:"limit"`
	// Exceeded says that the count is above the limit.
	Exceeded bool `json:"exceeded"`
}

// String is the comparison in words, e.g. "new major 3 > 0".
func (c Comparison) String() string {
	defects, relation := c.Severity, "≤"
	if c.New {
		defects = "new " + c.Severity
	}
	if c.Exceeded {
		relation = ">"
	}
	return fmt.Sprintf("%s %d %s %d", defects, c.Count, relation, c.Limit)
}

// Judge compares the counts with the gate's limits: a run passes when no count
// exceeds its limit. With NewOnly the new counts are compared; when they are nil
// the verdict is failed, because what is not known has not passed. A gate
// without limits passes everything. Access is CodeArts Check's own opinion, shown
// and without effect.
func Judge(g rules.Gate, counts Counts, newCounts *Counts, access string) Verdict {
	v := Verdict{Comparisons: []Comparison{}, Remarks: []string{}, Access: access}
	if g.NewOnly {
		if newCounts == nil {
			v.Reasons = []string{"the counts of new defects are not known"}
			return v
		}
		counts = *newCounts
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
		if severity.limit != nil {
			v.Comparisons = append(v.Comparisons, Comparison{Severity: severity.name, New: g.NewOnly,
				Count: severity.count, Limit: *severity.limit, Exceeded: severity.count > *severity.limit})
		}
	}
	v.Passed = len(v.exceeded()) == 0
	v.Reasons = inWords(v.Comparisons)
	if len(v.Comparisons) == 0 {
		v.Reasons = []string{"the gate sets no limit"}
	}
	return v
}

// exceeded are the comparisons whose limit is exceeded.
func (v Verdict) exceeded() []Comparison {
	return slices.DeleteFunc(slices.Clone(v.Comparisons), func(c Comparison) bool { return !c.Exceeded })
}

func inWords(comparisons []Comparison) []string {
	lines := make([]string, len(comparisons))
	for i, c := range comparisons {
		lines[i] = c.String()
	}
	return lines
}

// summary is the verdict in one line: the exceeded limits, or that all hold.
func (v Verdict) summary() string {
	switch exceeded := v.exceeded(); {
	case len(exceeded) > 0:
		return "the gate is exceeded: " + strings.Join(inWords(exceeded), ", ")
	case !v.Passed:
		return "the gate is exceeded: " + strings.Join(v.Reasons, ", ")
	}
	return "the gate holds: " + strings.Join(slices.Concat(v.Reasons, v.Remarks), ", ")
}
