package rules

import (
	"maps"
	"slices"

	"github.com/gatewright/gatewright/internal/event"
)

// Target is what one rule names outside of Gatewright.
type Target struct {
	Rule string
	// On lists the kinds of events that the rule is for.
	On []event.Kind
	// Account and Project are the account of its check and its CodeArts project; empty when
	// the rule ignores. Account is empty, too, for the server file's huaweicloud.
	Account, Project string
	// Connections, Repositories and Branches are the names in the rule's match that
	// have no wildcard. Open reports that it matches by a wildcard, or by leaving
	// repository or branch out, so that there may be others.
	Connections, Repositories, Branches []string
	Open                                bool
	Releases                            []Release
}

// Targets returns what the rules name, in the order in which they are tried.
func (p *Policy) Targets() []Target {
	var targets []Target
	for _, r := range p.rules {
		t := Target{Rule: r.name, On: slices.Clone(r.on), Releases: r.releases}
		if !r.ignores {
			t.Account, t.Project = r.check.Account, r.check.ProjectID
		}
		var open [3]bool
		t.Connections, open[0] = names(r.spec.Match.Connection)
		t.Repositories, open[1] = names(r.spec.Match.Repository)
		t.Branches, open[2] = names(r.spec.Match.Branch)
		t.Open = open[0] || open[1] || open[2] || len(t.Repositories) == 0 || len(t.Branches) == 0
		targets = append(targets, t)
	}
	return targets
}

// Accounts returns the accounts of Huawei Cloud that checks and releases are in, each once.
func (p *Policy) Accounts() []string {
	accounts := map[string]bool{}
	for _, r := range p.rules {
		if !r.ignores {
			accounts[r.check.Account] = true
		}
		for _, release := range r.releases {
			accounts[release.Account] = true
		}
	}
	return slices.Sorted(maps.Keys(accounts))
}

// names returns the patterns that have no wildcard, and whether there are others.
func names(patterns []string) (literal []string, open bool) {
	compiled := compileGlobs(patterns, false, func(int, string, string) {})
	for _, g := range compiled.include {
		if g.literal {
			literal = append(literal, g.text)
		} else {
			open = true
		}
	}
	return literal, open
}

// Kinds returns the kinds of events, each once and sorted, for which a rule that checks may be for a
// repository of a connection, whatever branch they are of.
func (p *Policy) Kinds(connection, fullName string) []event.Kind {
	s := newSubject(&event.Event{Connection: connection, Repository: event.Repository{FullName: fullName}})
	var kinds []event.Kind
	for _, r := range p.rules {
		if !r.ignores && r.mayBeFor(s) {
			kinds = append(kinds, r.on...)
		}
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// mayBeFor reports whether the connection and the repository of a rule are those of s.
func (r *rule) mayBeFor(s *subject) bool {
	for _, c := range r.clauses {
		if field := c.field(); (field == "connection" || field == "repository") && !c.holds(s) {
			return false
		}
	}
	return true
}
