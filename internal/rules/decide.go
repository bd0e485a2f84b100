package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/event"
)

// traceLimit is how many rules the trace of a decision has, unless more than that
// match.
const traceLimit = 20

// Decide answers one event. The rules are tried in order; the first that matches
// wins, and with `continue: true` those below it are tried too. A rule that says
// `ignore: true` ends the trying: alone the event is ignored, below a rule that
// matched and continues it takes nothing back.
//
// An event with an IgnoredReason is ignored for that reason, and no rule is
// tried.
//
// The trace of a policy with at most 20 rules has all of them. Else it has every
// rule that matched, and of the others those that may be for the event's repository
// and branch, up to 20 rules in all. Time and size do not grow with the number of
// rules for other repositories.
//
// The decision shares memory with the event and the policy: it is for reading.
func (p *Policy) Decide(ev event.Event) Decision {
	if len(p.rules) <= traceLimit {
		return p.Explain(ev)
	}
	return p.decide(ev, p.index.candidates(ev.Repository.FullName, ev.Branch), traceLimit)
}

// Explain is Decide with every rule in the trace, however many there are.
func (p *Policy) Explain(ev event.Event) Decision {
	every := make([]int, len(p.rules))
	for i := range every {
		every[i] = i
	}
	return p.decide(ev, every, len(every))
}

// decide tries the candidates, which are indexes of rules, and traces all that
// match and others of them up to limit in all.
func (p *Policy) decide(ev event.Event, candidates []int, limit int) Decision {
	d := Decision{Event: ev, Outcome: NoMatch, Matches: []Match{}}
	s := newSubject(&d.Event)
	if ev.IgnoredReason != "" {
		d.Outcome, d.Reason = Ignored, ev.IgnoredReason
		p.trace(&d, s, shown(candidates, nil, limit), -1, "the event is ignored")
		return d
	}

	matched, last := p.match(s, candidates)
	var withoutReleases []string
	for _, i := range matched {
		if r := p.rules[i]; !r.ignores {
			d.Matches = append(d.Matches, r.match(&d.Event))
			if len(r.releases) > 0 && neverReleased(&d.Event) != "" {
				withoutReleases = append(withoutReleases, r.name)
			}
		}
	}
	switch {
	case len(d.Matches) > 0:
		d.Outcome, d.Reason = Matched, reasonOf(d.Matches)+widenCheckModes(d.Matches)
	case len(matched) > 0:
		d.Outcome, d.Reason = Ignored, fmt.Sprintf("rule %q says ignore", p.rules[last].name)
	case len(p.rules) == 1:
		d.Reason = "the only rule does not match"
	default:
		d.Reason = fmt.Sprintf("none of the %d rules matches", len(p.rules))
	}
	p.trace(&d, s, shown(candidates, matched, limit), last, fmt.Sprintf("%q matched and does not continue", p.rules[last].name))
	p.noteFiles(&d, s, matched)
	d.noteReleases(withoutReleases, neverReleased(&d.Event))
	p.noteTrust(&d, s, candidates, matched, last)
	return d
}

// match returns the indexes of the candidates that match, and that of the last
// rule to be tried.
func (p *Policy) match(s *subject, candidates []int) (matched []int, last int) {
	for _, i := range candidates {
		r := p.rules[i]
		if r.firstFailing(s) < len(r.clauses) {
			continue
		}
		matched = append(matched, i)
		if !r.continues {
			return matched, i
		}
	}
	return matched, len(p.rules) - 1
}

// shown returns those of the candidates that the trace has: at most limit, but
// all that matched. Both lists are ascending.
func shown(candidates, matched []int, limit int) []int {
	if len(candidates) <= limit {
		return candidates
	}
	others := max(limit-len(matched), 0)
	kept := make([]int, 0, len(matched)+others)
	for _, i := range candidates {
		switch _, matches := slices.BinarySearch(matched, i); {
		case matches:
			kept = append(kept, i)
		case others > 0:
			kept, others = append(kept, i), others-1
		}
	}
	return kept
}

// trace fills in the trace of the decision: what became of the rules with these
// indexes. Those below the last that was tried were not, for the reason notTried.
func (p *Policy) trace(d *Decision, s *subject, rules []int, last int, notTried string) {
	d.Trace = make([]RuleTrace, 0, len(rules))
	for _, i := range rules {
		if i <= last {
			d.Trace = append(d.Trace, p.rules[i].trace(s))
		} else {
			d.Trace = append(d.Trace, p.rules[i].notTried(notTried))
		}
	}
	d.Omitted = len(p.rules) - len(rules)
}

// firstFailing returns the index of the first clause that does not hold, and the
// number of clauses when all do.
func (r *rule) firstFailing(s *subject) int {
	for i, c := range r.clauses {
		if !c.holds(s) {
			return i
		}
	}
	return len(r.clauses)
}

func reasonOf(matches []Match) string {
	names := make([]string, 0, len(matches))
	for _, m := range matches {
		names = append(names, m.Rule)
	}
	if len(names) == 1 {
		return "rule " + quote(names[0]) + " matched"
	}
	return "rules " + quoteAll(names) + " matched"
}

// widenCheckModes gives the matches that use one task of a merge request, and so share one
// execution, the widest check mode that one of them wants: a narrow one would leave out
// what the other's gate is for. It returns what the decision's reason adds.
func widenCheckModes(matches []Match) (reason string) {
	width := func(m Match) int {
		return slices.Index([]CheckMode{CheckChangedCode, CheckChangedFiles, CheckFull}, m.Check.CheckMode)
	}
	taskOf := func(m Match) [2]string { return [2]string{m.Check.ProjectID, m.Check.TaskID} }
	widest := map[[2]string]Match{}
	for _, m := range matches {
		w, found := widest[taskOf(m)]
		if m.Check.Scan == ScanIncremental && (!found || width(m) > width(w)) {
			widest[taskOf(m)] = m
		}
	}
	for i := range matches {
		m := &matches[i]
		if w := widest[taskOf(*m)]; m.Check.Scan == ScanIncremental && width(w) > width(*m) {
			m.Check.CheckMode = w.Check.CheckMode
			reason += fmt.Sprintf("; check_mode %s of rule %q holds for rule %q too, because they use one task", m.Check.CheckMode, w.Rule, m.Rule)
		}
	}
	return reason
}

// fromFork reports whether the event is about a merge request that comes from a fork, or may do so because
// somebody vouches for it and its host has not said that it does not. Such a one releases nothing.
func fromFork(ev *event.Event) bool {
	o := &ev.Origin
	return ev.Number != 0 && (ev.Fork || o.Fork || !o.Told && o.Trusted != "")
}

// neverReleased says why nothing of an event is released, whatever a rule says; empty when it may be.
func neverReleased(ev *event.Event) string {
	switch {
	case fromFork(ev):
		return "the merge request comes from a fork"
	case ev.Kind == event.MergeGroup:
		return "a merge group is released by the push that it becomes"
	}
	return ""
}

// match returns what a rule that matched asks for.
func (r *rule) match(ev *event.Event) Match {
	m := Match{Rule: r.name, Check: r.check, Releases: r.releases}
	if neverReleased(ev) != "" {
		m.Releases = []Release{}
	}
	m.Check.TaskName = r.taskName.expand(ev)
	m.Check.Scan, m.Check.Ref = ScanFull, RefOmit
	if ev.Kind == event.MergeRequest {
		m.Check.Ref = r.ref
		if r.scan != ScanFull {
			m.Check.Scan = ScanIncremental
		}
	}
	return m
}

// trace says what became of a rule that was tried.
func (r *rule) trace(s *subject) RuleTrace {
	failing := r.firstFailing(s)
	tried := r.clauses[:min(failing+1, len(r.clauses))]
	t := RuleTrace{
		Rule: r.name, Result: RuleSkipped, File: r.file, Line: r.line,
		Clauses: make([]Clause, 0, len(tried)),
	}
	for i, c := range tried {
		t.Clauses = append(t.Clauses, Clause{Field: c.field(), Holds: i < failing, Text: c.explain(s)})
	}
	if failing < len(r.clauses) {
		t.Reason = t.Clauses[failing].Text
		return t
	}
	t.Result, t.Reason = RuleMatched, t.Clauses[0].Text
	if len(t.Clauses) > 1 {
		texts := make([]string, 0, len(t.Clauses)-1)
		for _, c := range t.Clauses[1:] {
			texts = append(texts, c.Text)
		}
		t.Reason = strings.Join(texts, "; ")
	}
	return t
}

func (r *rule) notTried(reason string) RuleTrace {
	return RuleTrace{
		Rule: r.name, Result: RuleNotTried, Reason: reason,
		File: r.file, Line: r.line, Clauses: []Clause{},
	}
}
