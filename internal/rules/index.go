package rules

import (
	"maps"
	"slices"
	"strings"
)

// index finds the rules that a repository leaves possible without looking at the
// others: what it leaves out cannot match, what it gives may.
//
// A rule is found by each of its repository patterns: by its text when that has no
// wildcard, else by the longer of the text before its first wildcard and the text
// behind its last. A rule for any repository, or with a pattern that has no such
// text (`**`, `*/*`, `*/{a,b}`), is a candidate for every event. So a decision
// takes time in proportion to these rules and those for the same repository.
type index struct {
	exact          map[string][]int
	prefix, suffix affixes
	anywhere       []int
}

// affixes maps the beginnings, or the ends, of names to rules.
type affixes struct {
	rules map[string][]int
	// lengths are those of the keys in bytes, each once, ascending.
	lengths []int
}

func newIndex(rules []*rule) *index {
	x := &index{
		exact:  map[string][]int{},
		prefix: affixes{rules: map[string][]int{}},
		suffix: affixes{rules: map[string][]int{}},
	}
	for i, r := range rules {
		x.add(i, r.repositories())
	}
	x.prefix.measure()
	x.suffix.measure()
	return x
}

// repositories returns the patterns one of which the repository must match; none
// when it may be any, but for those that are excluded.
func (r *rule) repositories() []glob {
	for _, c := range r.clauses {
		if g, ok := c.(*globClause); ok && g.name == "repository" {
			return g.globs.include
		}
	}
	return nil
}

func (x *index) add(i int, patterns []glob) {
	unbound := func(g glob) bool {
		prefix, suffix := g.affixes()
		return prefix == "" && suffix == ""
	}
	if len(patterns) == 0 || slices.ContainsFunc(patterns, unbound) {
		x.anywhere = append(x.anywhere, i)
		return
	}
	for _, g := range patterns {
		prefix, suffix := g.affixes()
		switch {
		case g.literal:
			x.exact[g.pattern] = append(x.exact[g.pattern], i)
		case len(prefix) >= len(suffix):
			x.prefix.rules[prefix] = append(x.prefix.rules[prefix], i)
		default:
			x.suffix.rules[suffix] = append(x.suffix.rules[suffix], i)
		}
	}
}

// affixes returns the text that every value which the pattern matches begins with,
// and the text that it ends with. A slash next to the wildcard does not count,
// because acme/** matches acme, and **/api matches api.
func (g *glob) affixes() (prefix, suffix string) {
	if g.literal {
		return g.pattern, g.pattern
	}
	const meta = `*?[]{}\`
	prefix = g.pattern[:strings.IndexAny(g.pattern, meta)]
	suffix = g.pattern[strings.LastIndexAny(g.pattern, meta)+1:]
	return strings.TrimSuffix(prefix, "/"), strings.TrimPrefix(suffix, "/")
}

func (a *affixes) measure() {
	lengths := map[int]bool{}
	for text := range a.rules {
		lengths[len(text)] = true
	}
	a.lengths = slices.Sorted(maps.Keys(lengths))
}

// candidates returns the indexes of the rules that may match an event of the
// repository; ascending, each once.
func (x *index) candidates(repository string) []int {
	repository = strings.ToLower(repository)
	found := slices.Concat(x.anywhere, x.exact[repository])
	for _, n := range x.prefix.lengths {
		if n > len(repository) {
			break
		}
		found = append(found, x.prefix.rules[repository[:n]]...)
	}
	for _, n := range x.suffix.lengths {
		if n > len(repository) {
			break
		}
		found = append(found, x.suffix.rules[repository[len(repository)-n:]]...)
	}
	slices.Sort(found)
	return slices.Compact(found)
}
