package rules

import (
	"slices"
	"strings"
)

// index finds the rules that an event leaves possible without looking at the
// others: what it leaves out cannot match, what it gives may.
//
// A rule is found by each of its repository patterns: by the full name when that
// has no wildcard (acme/api), by the owner when that has none (acme/*, acme/x-*), by
// the bare name when that has none (*/api). A rule for any repository, or with a
// pattern that begins and ends with a wildcard, is found by its branches; when one
// of these is a pattern, or it has none, it is tried for every event. So a decision
// takes time in proportion to these rules and those for the same repository, owner,
// name or branch.
type index struct {
	byFullName, byOwner, byName, byBranch map[string][]int
	others                                []int
}

func newIndex(rules []*rule) *index {
	x := &index{
		byFullName: map[string][]int{}, byOwner: map[string][]int{},
		byName: map[string][]int{}, byBranch: map[string][]int{},
	}
	for i, r := range rules {
		repositories, branches := r.patterns("repository"), r.patterns("branch")
		switch {
		case len(repositories) > 0 && !slices.ContainsFunc(repositories, unbound):
			for _, g := range repositories {
				x.addRepository(i, g)
			}
		case len(branches) > 0 && !slices.ContainsFunc(branches, func(g glob) bool { return !g.literal }):
			for _, g := range branches {
				x.byBranch[g.pattern] = append(x.byBranch[g.pattern], i)
			}
		default:
			x.others = append(x.others, i)
		}
	}
	return x
}

func (x *index) addRepository(rule int, g glob) {
	owner, name := g.ownerAndName()
	switch {
	case g.literal:
		x.byFullName[g.pattern] = append(x.byFullName[g.pattern], rule)
	case owner != "":
		x.byOwner[owner] = append(x.byOwner[owner], rule)
	default:
		x.byName[name] = append(x.byName[name], rule)
	}
}

// patterns returns the patterns one of which the field must match; none when it may
// be anything, but for what is excluded.
func (r *rule) patterns(field string) []glob {
	for _, c := range r.clauses {
		if g, ok := c.(*globClause); ok && g.name == field {
			return g.globs.include
		}
	}
	return nil
}

// unbound says that neither the owner nor the bare name is the same for every
// repository that the pattern matches.
func unbound(g glob) bool {
	owner, name := g.ownerAndName()
	return !g.literal && owner == "" && name == ""
}

// ownerAndName returns the owner and the bare name of every repository that the pattern
// matches; empty where they differ. A slash inside brackets has half of a bracket
// on either side, so that no text next to it is taken for a name.
func (g *glob) ownerAndName() (owner, name string) {
	owner, name = ownerAndName(g.pattern)
	if strings.ContainsAny(owner, meta) {
		owner = ""
	}
	if strings.ContainsAny(name, meta) {
		name = ""
	}
	return owner, name
}

// meta has every character that has a meaning in a pattern.
const meta = `*?[]{}\`

// ownerAndName returns the text before the first slash of a full name and the text
// after its last; both are the whole name when it has none.
func ownerAndName(fullName string) (owner, name string) {
	owner, _, _ = strings.Cut(fullName, "/")
	return owner, fullName[strings.LastIndex(fullName, "/")+1:]
}

// candidates returns the indexes of the rules that may match an event of the
// repository and branch; ascending, each once.
func (x *index) candidates(repository, branch string) []int {
	repository = strings.ToLower(repository)
	owner, name := ownerAndName(repository)
	found := slices.Concat(x.byFullName[repository], x.byOwner[owner], x.byName[name], x.byBranch[branch])
	slices.Sort(found)
	found = slices.Compact(found)

	all := make([]int, 0, len(found)+len(x.others))
	for _, i := range x.others {
		for len(found) > 0 && found[0] < i {
			all, found = append(all, found[0]), found[1:]
		}
		all = append(all, i)
	}
	return append(all, found...)
}
