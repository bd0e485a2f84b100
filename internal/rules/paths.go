package rules

import (
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/internal/event"
)

// pathsClause compares the files that an event changes; it holds when one of them matches.
// Where not all of them are known and none that is known matches, it holds too, because
// another might: nothing goes unchecked for a list that was cut short.
type pathsClause struct{ globs globs }

func (c *pathsClause) field() string         { return "paths" }
func (c *pathsClause) always() bool          { return false }
func (c *pathsClause) holds(s *subject) bool { return !s.ev.Files.Complete || c.match(s) != "" }

// match returns the first file that matches; empty when none does.
func (c *pathsClause) match(s *subject) string {
	for _, path := range s.ev.Files.Paths {
		if c.globs.holds(path) {
			return path
		}
	}
	return ""
}

func (c *pathsClause) explain(s *subject) string {
	paths := s.ev.Files.Paths
	if path := c.match(s); path != "" {
		return c.globs.explain("changed file", path, path)
	}
	none := fmt.Sprintf("none of %d changed files matches %s", len(paths), c.patterns())
	if len(paths) == 1 {
		none = c.globs.explain("changed file", paths[0], paths[0])
	}
	switch {
	case !s.ev.Files.Complete && len(paths) == 0:
		return "the changed files are not known, so the rule counts as matching: " + unknown(s.ev)
	case !s.ev.Files.Complete:
		return none + ", and there may be others, so the rule counts as matching: " + unknown(s.ev)
	case len(paths) == 0:
		return "no file is changed, rule wants " + c.patterns()
	}
	return none
}

// patterns are the patterns as they are written.
func (c *pathsClause) patterns() string {
	var texts []string
	for _, list := range [][]glob{c.globs.include, c.globs.exclude} {
		for _, g := range list {
			texts = append(texts, g.text)
		}
	}
	return quoteAll(texts)
}

// unknown says why not all changed files are known.
func unknown(ev *event.Event) string {
	if ev.Files.Unknown == "" {
		return "nothing tells which files are changed"
	}
	return plainText(ev.Files.Unknown)
}

// ComparedFiles says which files a decision compared.
type ComparedFiles struct {
	// Count is how many were known.
	Count int `json:"count"`
	// Complete: there are no others; else Unknown says why there may be.
	Complete bool   `json:"complete"`
	Unknown  string `json:"unknown,omitempty"`
	// FromHost: the git host was asked for them.
	FromHost bool `json:"from_host,omitempty"`
}

// assumes reports whether a rule that matches does so only because not all changed files are
// known.
func (r *rule) assumes(s *subject) bool {
	c, ok := r.clauses[len(r.clauses)-1].(*pathsClause)
	return ok && !s.ev.Files.Complete && c.match(s) == ""
}

// Possible returns what the rules ask for an event, whatever files it changes and whoever vouches
// for it: a rule that compares those ends the trying for some events only.
func (p *Policy) Possible(ev event.Event) []Match {
	ev.Files, ev.Origin = event.Files{}, event.Origin{Fork: ev.Fork, Trusted: "somebody may vouch for it"}
	s := newSubject(&ev)
	var matches []Match
	for _, i := range p.index.candidates(ev.Repository.FullName, ev.Branch) {
		r := p.rules[i]
		if r.firstFailing(s) < len(r.clauses) {
			continue
		}
		if !r.ignores {
			matches = append(matches, r.match(&ev))
		}
		if !r.continues && !r.assumes(s) && !r.wantsTrust() {
			break
		}
	}
	return matches
}

// noteFiles writes into the decision which files were compared, and which of the rules that
// matched did so only because not all of them are known.
func (p *Policy) noteFiles(d *Decision, s *subject, matched []int) {
	compared := false
	for _, t := range d.Trace {
		for _, c := range t.Clauses {
			compared = compared || c.Field == "paths"
		}
	}
	if !compared {
		return
	}
	files := &d.Event.Files
	d.Files = &ComparedFiles{Count: len(files.Paths), Complete: files.Complete, FromHost: files.FromHost}
	if !files.Complete {
		d.Files.Unknown = unknown(&d.Event)
	}
	var assumed []string
	for _, i := range matched {
		if p.rules[i].assumes(s) {
			assumed = append(assumed, p.rules[i].name)
		}
	}
	if len(assumed) > 0 {
		subject := "rule " + quoteAll(assumed) + " counts"
		if len(assumed) > 1 {
			subject = "rules " + quoteAll(assumed) + " count"
		}
		d.Reason += "; " + subject + " as matching, because not all changed files are known: " + d.Files.Unknown
	}
}

// checkPaths checks what goes with paths.
func (l *loader) checkPaths(d *decodedFile, path string, on []event.Kind, spec *ruleSpec) {
	if spec.Match.Paths == nil {
		return
	}
	path += ".match.paths"
	for _, kind := range on {
		if kind == event.Tag {
			l.complain(d, path, "a tag has no commit before it to compare with, so that every tag would match", "write a rule of its own for tags, without paths")
		}
	}
	if spec.Ignore {
		l.complain(d, path, "one file that matches, or a list of files that is not known, would ignore all the others",
			`write the files that are to be checked in the rule that checks them, such as paths: ["!docs/**"], and no rule that ignores`)
	}
	l.warnOfPatterns(d, path, spec.Match.Paths, fileFault, "write the path as git shows it, such as docs/** or **/*.go")
}

// fileFault says why a pattern matches no path of a file, or less than it seems to.
func fileFault(pattern string) (problem, meant string) {
	rooted := strings.TrimLeft(strings.TrimPrefix(pattern, "."), "/")
	switch {
	case strings.HasPrefix(pattern, "/"), strings.HasPrefix(pattern, "./"):
		return "matches nothing: a path begins at the root of the repository, without a slash", rooted
	case strings.HasSuffix(pattern, "/"):
		return "matches nothing: the paths of files are compared, and not those of folders", pattern + "**"
	case strings.Contains("/"+pattern+"/", "/../"):
		return "matches nothing: no path has a part ..", ""
	}
	return pathFault(pattern)
}
