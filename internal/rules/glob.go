package rules

import (
	"fmt"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// globs is a list of patterns, compiled. A value matches when a pattern without
// `!` matches it, or when there are only patterns with `!`; and when no pattern
// with `!` does. `*` stays within one path segment, `**` crosses them.
type globs struct {
	include, exclude []glob
	// fold compares without regard to case.
	fold bool
}

// glob is one pattern.
type glob struct {
	// text is the pattern as it is written, with its `!`.
	text string
	// pattern is what is compared: without `!`, in lower case when folded.
	pattern string
	// literal says that the pattern has no wildcard, so that it is compared as
	// text.
	literal bool
}

// compileGlobs compiles patterns. bad is called with the index and fault of each
// that is not a pattern; those are left out.
func compileGlobs(patterns []string, fold bool, bad func(i int, problem, instead string)) globs {
	compiled := globs{fold: fold}
	for i, text := range patterns {
		pattern, excludes := strings.CutPrefix(text, "!")
		if fold {
			pattern = strings.ToLower(pattern)
		}
		switch {
		case pattern == "":
			bad(i, fmt.Sprintf("%q is an empty pattern", text), "write a name or a pattern such as main or release/*")
			continue
		case !doublestar.ValidatePattern(pattern):
			bad(i, fmt.Sprintf("%q is not a pattern", text), `close every [ and {, or put \ before one that is meant as itself`)
			continue
		}
		g := glob{text: text, pattern: pattern, literal: !strings.ContainsAny(pattern, `*?[{\`)}
		if excludes {
			compiled.exclude = append(compiled.exclude, g)
		} else {
			compiled.include = append(compiled.include, g)
		}
	}
	return compiled
}

// matches reports whether the pattern matches value, which is in lower case when
// the pattern is folded.
func (g *glob) matches(value string) bool {
	if g.literal {
		return g.pattern == value
	}
	return doublestar.MatchUnvalidated(g.pattern, value)
}

// holds reports whether value matches the list; folded when gs.fold.
func (gs *globs) holds(value string) bool {
	if len(gs.include) > 0 && first(gs.include, value) == nil {
		return false
	}
	return first(gs.exclude, value) == nil
}

// all says that every value matches.
func (gs *globs) all() bool {
	if len(gs.exclude) > 0 {
		return false
	}
	for _, g := range gs.include {
		if g.pattern == "**" {
			return true
		}
	}
	return len(gs.include) == 0
}

// explain says which pattern decided, for the same value that holds was given;
// shown is the value in its own spelling.
func (gs *globs) explain(field, shown, value string) string {
	subject := field + " " + quote(shown)
	if g := first(gs.exclude, value); g != nil {
		return subject + " is excluded by " + quote(g.text)
	}
	if len(gs.include) == 0 {
		return subject + " is not excluded"
	}
	if g := first(gs.include, value); g != nil {
		return subject + " matches " + quote(g.text)
	}
	if len(gs.include) == 1 {
		return subject + " does not match " + quote(gs.include[0].text)
	}
	texts := make([]string, 0, len(gs.include))
	for _, g := range gs.include {
		texts = append(texts, g.text)
	}
	return subject + " matches none of " + quoteAll(texts)
}

// first returns the first pattern that matches value, nil when none does.
func first(list []glob, value string) *glob {
	for i := range list {
		if list[i].matches(value) {
			return &list[i]
		}
	}
	return nil
}
