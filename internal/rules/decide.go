package rules

import (
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/internal/event"
)

// Decide answers one event. The rules are tried in order; the first that matches
// wins, and with `continue: true` those below it are tried too. A rule that says
// `ignore: true` ends the trying: alone the event is ignored, below a rule that
// matched and continues it takes nothing back.
//
// An event with an IgnoredReason is ignored for that reason, and no rule is
// tried.
//
// The decision shares memory with the event and the policy: it is for reading.
func (p *Policy) Decide(ev event.Event) Decision {
	d := Decision{Event: ev, Outcome: NoMatch, Matches: []Match{}, Trace: make([]RuleTrace, 0, len(p.rules))}
	if ev.IgnoredReason != "" {
		d.Outcome, d.Reason = Dropped, ev.IgnoredReason
		for _, r := range p.rules {
			d.Trace = append(d.Trace, r.notTried("the event is ignored"))
		}
		return d
	}

	s := newSubject(&d.Event)
	matched, last := p.match(s)
	for _, i := range matched {
		if !p.rules[i].ignores {
			d.Matches = append(d.Matches, p.rules[i].match(&d.Event))
		}
	}
	switch {
	case len(d.Matches) > 0:
		d.Outcome, d.Reason = Matched, reasonOf(d.Matches)
	case len(matched) > 0:
		d.Outcome, d.Reason = Dropped, fmt.Sprintf("rule %q says ignore", p.rules[last].name)
	case len(p.rules) == 1:
		d.Reason = "the only rule does not match"
	default:
		d.Reason = fmt.Sprintf("none of the %d rules matches", len(p.rules))
	}
	for i, r := range p.rules {
		if i <= last {
			d.Trace = append(d.Trace, r.trace(s))
		} else {
			d.Trace = append(d.Trace, r.notTried(fmt.Sprintf("%q matched and does not continue", p.rules[last].name)))
		}
	}
	return d
}

// match returns the indexes of the rules that match, and of the last that is to
// be tried.
func (p *Policy) match(s *subject) (matched []int, last int) {
	for i, r := range p.rules {
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

// match returns what a rule that matched asks for.
func (r *rule) match(ev *event.Event) Match {
	m := Match{Rule: r.name, Check: r.check, Releases: r.releases}
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
