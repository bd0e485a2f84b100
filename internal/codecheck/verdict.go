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
	// "major 3 > 0" or "critical 0 ≤ 0", and what is_access says where the gate requires
	// it; without either one line says why there are none.
	Reasons []string `json:"reasons"`
	// Remarks say what is unusual about the counts, and where those of new defects are
	// from.
	Remarks []string `json:"remarks"`
	// Access is CodeArts Check's own `is_access`, as sent, and AccessMeans our reading of
	// it. It decides only where the gate requires it.
	Access      string        `json:"is_access"`
	AccessMeans AccessMeaning `json:"is_access_means"`
}

// AccessMeaning is what `is_access` says. Its literals are not documented
// (specs/codearts-check.md 2).
type AccessMeaning string

const (
	AccessPassed  AccessMeaning = "passed"
	AccessFailed  AccessMeaning = "failed"
	AccessUnknown AccessMeaning = "unknown"
)

// defaultAccessPassed are the literals that say in the family of calls that something is
// so; failedAccess says that it is not (specs/codearts-check.md 2).
func defaultAccessPassed() []string { return []string{"1", "true", "success", "pass"} }

func failedAccess() []string { return []string{"0", "false", "error", "fail", "failed"} }

// accessMeaning reads `is_access`, without regard to case; any other value is unknown.
func accessMeaning(access string, passed []string) AccessMeaning {
	is := func(literal string) bool { return strings.EqualFold(strings.TrimSpace(access), literal) }
	switch {
	case slices.ContainsFunc(passed, is):
		return AccessPassed
	case slices.ContainsFunc(failedAccess(), is):
		return AccessFailed
	}
	return AccessUnknown
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

// Facts are what a run is judged by.
type Facts struct {
	Counts Counts
	// NewCounts are nil when they are not known.
	NewCounts   *Counts
	Access      string
	AccessMeans AccessMeaning
}

// facts are those of a run that has been judged, or is about to be.
func (run Run) facts(access string, means AccessMeaning) Facts {
	return Facts{Counts: run.Counts, NewCounts: run.NewCounts, Access: access, AccessMeans: means}
}

// Rejudge judges a run that has a verdict by another gate, from the counts that are stored
// with it. The run itself stays as it is.
func (run Run) Rejudge(g rules.Gate) Verdict {
	v := Judge(g, run.facts(run.Verdict.Access, run.Verdict.AccessMeans))
	v.Remarks = append(v.Remarks, run.Verdict.Remarks...)
	return v
}

// Judge compares the counts with the gate's limits: a run passes when no count
// exceeds its limit and, where the gate requires that, is_access says that it passed. Of
// new defects that are not known the verdict is failed, because what is not known has not
// passed. A gate without limits passes everything.
func Judge(g rules.Gate, f Facts) Verdict {
	v := Verdict{Comparisons: []Comparison{}, Remarks: []string{}, Access: f.Access, AccessMeans: f.AccessMeans}
	unknown := g.ComparesNew() && f.NewCounts == nil
	if !g.NewOnly {
		v.compare(g.All(), f.Counts, false)
	}
	if g.ComparesNew() && !unknown {
		limits := g.All()
		if !g.NewOnly {
			limits = *g.New
		}
		v.compare(limits, *f.NewCounts, true)
	}
	v.Reasons = inWords(v.Comparisons)
	if unknown {
		v.Reasons = append(v.Reasons, "the counts of new defects are not known")
	}
	required := g.CodeArtsGate == rules.AccessRequire
	if required {
		v.Reasons = append(v.Reasons, f.accessReason())
	}
	if len(v.Reasons) == 0 {
		v.Reasons = []string{"the gate sets no limit"}
	}
	v.Passed = len(v.exceeded()) == 0 && !unknown && (!required || f.AccessMeans == AccessPassed)
	return v
}

func (v *Verdict) compare(limits rules.Limits, counts Counts, fresh bool) {
	for i, limit := range []*int{limits.Critical, limits.Major, limits.Minor, limits.Suggestion} {
		if count := counts.bySeverity()[i]; limit != nil {
			v.Comparisons = append(v.Comparisons, Comparison{Severity: severities()[i], New: fresh,
				Count: count, Limit: *limit, Exceeded: count > *limit})
		}
	}
}

// accessPassed begins the only reason that speaks for a run and is not a comparison.
const accessPassed = "CodeArts Check's own gate passed"

// accessReason says what CodeArts Check's own gate says.
func (f Facts) accessReason() string {
	switch {
	case f.AccessMeans == AccessPassed:
		return fmt.Sprintf(accessPassed+" (is_access is %.40q)", f.Access)
	case f.AccessMeans == AccessFailed:
		return fmt.Sprintf("CodeArts Check's own gate failed (is_access is %.40q)", f.Access)
	case f.Access == "":
		return "CodeArts Check's own gate is unknown (is_access is empty)"
	}
	return fmt.Sprintf("CodeArts Check's own gate is unknown (is_access is %.40q, which huaweicloud.access_passed does not name)", f.Access)
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

// summary is the verdict in one line: what speaks against the run, or that all holds.
func (v Verdict) summary() string {
	if v.Passed {
		return "the gate holds: " + strings.Join(slices.Concat(v.Reasons, v.Remarks), ", ")
	}
	against := inWords(v.exceeded())
	for _, reason := range v.Reasons[len(v.Comparisons):] {
		if !strings.HasPrefix(reason, accessPassed) {
			against = append(against, reason)
		}
	}
	return "the gate is exceeded: " + strings.Join(against, ", ")
}
