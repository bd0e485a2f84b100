package rules

import "strings"

// Repositories are patterns of full names, as `match.repository` of a rule has them.
type Repositories struct{ globs globs }

// NewRepositories compiles patterns; no pattern is every repository. bad is called
// with the index and fault of each that is not a pattern; those are left out.
func NewRepositories(patterns []string, bad func(i int, problem, instead string)) Repositories {
	return Repositories{compileGlobs(patterns, true, bad)}
}

// Include reports whether a repository is one of r, and says which pattern decided.
func (r *Repositories) Include(fullName string) (included bool, why string) {
	folded := strings.ToLower(fullName)
	return r.globs.holds(folded), r.globs.explain("repository", fullName, folded)
}
