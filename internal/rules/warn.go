package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/strictyaml"
)

// longestTimeout is how long a check or a release may reasonably take: what hangs
// longer than a day should have been seen by a person before.
const longestTimeout = 24 * time.Hour

// Warnings returns what the rules may say and what is unsafe or has no effect, each
// with its place and what to write instead.
func (p *Policy) Warnings() strictyaml.Complaints { return slices.Clone(p.warnings) }

// warn adds a warning about the value at path.
func (l *loader) warn(d *decodedFile, path, problem, instead string) {
	l.warnings = append(l.warnings, d.doc.Complain(path, problem, instead))
}

// warnOfRule warns of what is unsafe in a rule, or has no effect.
func (l *loader) warnOfRule(d *decodedFile, path string, r *rule, spec *ruleSpec) {
	on := func(kind event.Kind) bool { return slices.Contains(r.on, kind) }
	match := &spec.Match
	if names := included(match.Branch); on(event.Push) && on(event.Tag) && len(spec.Release) > 0 && len(names) > 0 {
		l.warn(d, path+".match.branch", "a tag whose name matches "+quoteAll(names)+" is released as the branch is",
			"write one rule with on: [push] for the branch, and one with on: [tag] for the tags that are meant")
	}
	if on(event.Comment) && spec.Check != nil {
		l.warn(d, path+".on", "a comment on a GitHub pull request names no commit, so nothing is checked; on other hosts everybody who may comment starts a check",
			"remove comment, or write ignore: true instead of check")
	}
	l.warnOfPatterns(d, path+".match.repository", match.Repository, repositoryFault, "write the full name as the host shows it: owner/name, or a pattern such as owner/* or **")
	const branchForm = "write the name as git branch shows it"
	l.warnOfPatterns(d, path+".match.branch", match.Branch, branchFault, branchForm)
	l.warnOfPatterns(d, path+".match.source_branch", match.SourceBranch, branchFault, branchForm)
}

// included are the patterns without `!`.
func included(patterns []string) []string {
	return slices.DeleteFunc(slices.Clone(patterns), func(pattern string) bool { return strings.HasPrefix(pattern, "!") })
}

// warnOfPatterns warns of each pattern that can match nothing. fault says why one does
// not, and the pattern that is meant when that is clear; else instead is advised.
func (l *loader) warnOfPatterns(d *decodedFile, path string, patterns []string, fault func(pattern string) (problem, meant string), instead string) {
	for i, text := range patterns {
		pattern, excludes := strings.CutPrefix(text, "!")
		problem, meant := fault(pattern)
		if problem == "" {
			continue
		}
		advice := instead
		if meant != "" && excludes {
			advice = "write " + quote("!"+meant)
		} else if meant != "" {
			advice = "write " + quote(meant)
		}
		l.warn(d, fmt.Sprintf("%s[%d]", path, i), quote(text)+" "+problem, advice)
	}
}

// repositoryFault says why a pattern matches no full name, or less than it seems to.
func repositoryFault(pattern string) (problem, meant string) {
	if name, isURL := nameInURL(pattern); isURL {
		return "is a URL, but the repository's full name is compared", name
	}
	if name, suffixed := strings.CutSuffix(pattern, ".git"); suffixed {
		return "matches nothing: no full name ends with .git", name
	}
	if problem, meant := pathFault(pattern); problem != "" {
		return problem, meant
	}
	if strings.ContainsAny(pattern, " :@") {
		return "matches nothing: no full name has a space, : or @", ""
	}
	if !strings.Contains(pattern, "/") && !strings.Contains(pattern, "**") {
		return "matches nothing: a full name has an owner and a name", ""
	}
	return "", ""
}

// branchFault says why a pattern matches no branch and no tag, by the rules for names
// in git-check-ref-format, or matches less than it seems to.
func branchFault(pattern string) (problem, meant string) {
	if problem, meant := pathFault(pattern); problem != "" {
		return problem, meant
	}
	if strings.ContainsAny(pattern, " ~:") || strings.Contains(pattern, "..") || strings.HasSuffix(pattern, ".lock") {
		return "matches nothing: git allows no such name", ""
	}
	return "", ""
}

// pathFault says what is wrong with a pattern for names with slashes.
func pathFault(pattern string) (problem, meant string) {
	if strings.Contains(pattern, "***") {
		return "has ***, which matches no more than *", manyStars.ReplaceAllLiteralString(pattern, "**")
	}
	if strings.HasPrefix(pattern, "/") || strings.HasSuffix(pattern, "/") || strings.Contains(pattern, "//") {
		return "matches nothing: a part of it between slashes is empty", ""
	}
	return "", ""
}

var manyStars = regexp.MustCompile(`\*{3,}`)

// nameInURL returns the full name in the address of a repository: a URL, or the scp
// form of ssh.
func nameInURL(address string) (name string, isURL bool) {
	_, path, isURL := strings.Cut(address, "://")
	if isURL {
		_, path, _ = strings.Cut(path, "/")
	} else if strings.HasPrefix(address, "git@") {
		_, path, isURL = strings.Cut(address, ":")
	}
	return strings.TrimSuffix(strings.Trim(path, "/"), ".git"), isURL
}

// KnownLanguages are the languages of CodeArts Check, as V3 spells them
// (specs/codearts-check.md 1.4). A project can have others of its own.
func KnownLanguages() []string {
	return []string{
		"C#", "CSS", "C++", "PYTHON", "CANGJIE", "C", "SCALA", "GO", "KOTLIN", "JAVASCRIPT", "SQL", "ARKTS",
		"RUST", "JAVA", "SHELL", "FORTRAN", "PHP", "LUA", "JSON", "HTML", "TYPESCRIPT",
	}
}

// warnOfLanguages warns of names that CodeArts Check does not have. A project can have
// languages of its own, so that they are not refused.
func (l *loader) warnOfLanguages(d *decodedFile, path string, names languages) {
	known := KnownLanguages()
	usual := map[string]string{
		"GOLANG": "GO", "CPP": "C++", "CXX": "C++", "C/C++": "C++", "CSHARP": "C#", "JS": "JAVASCRIPT", "NODE": "JAVASCRIPT",
		"NODEJS": "JAVASCRIPT", "TS": "TYPESCRIPT", "PY": "PYTHON", "PYTHON3": "PYTHON", "BASH": "SHELL", "SH": "SHELL",
	}
	for i, name := range names {
		if slices.Contains(known, name) {
			continue
		}
		upper := strings.ToUpper(name)
		instead := usual[upper]
		if slices.Contains(known, upper) {
			instead = upper
		}
		if instead == "" {
			instead = strings.Join(known, ", ") + "; keep it only if the project has such a language of its own"
		}
		l.warn(d, fmt.Sprintf("%s[%d]", path, i), quote(name)+" is not a language of CodeArts Check", "write "+instead)
	}
}

// codeArtsRepo is the repo_type that alone needs no auth_id (specs/codearts-check.md 1.4).
const codeArtsRepo = "DevCloud"

// rememberCreation keeps the warnings about new tasks that WarningsFor can need, while
// it is known where the values stand.
func (l *loader) rememberCreation(d *decodedFile, path string, r *rule, own, full *checkSpec) {
	if r.ignores || len(l.complaints) > 0 {
		return
	}
	place := func(ofRule bool, key, instead string) *strictyaml.Complaint {
		at, where := d, path+".check."+key
		if !ofRule {
			at, where = l.defaultsIn, "defaults.check."+key
		}
		c := at.doc.Complain(where, "", instead)
		return &c
	}
	ownCreate := own.Create != nil
	if full.Create.AuthID == "" && (ownCreate || l.defaults.Check != nil && l.defaults.Check.Create != nil) {
		r.createWithoutID = place(ownCreate, "create", "write auth_id, the id of the code-source extension point in the CodeArts project")
	}
	if full.Project.Name == "" && full.Project.ID != "" {
		r.unnamedProject = place(own.Project != nil, "project", "write name, as CodeArts shows it, after the id")
	}
}
