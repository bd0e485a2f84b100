package codecheck

import (
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/rules"
)

// Languages are those of a repository as CodeArts Check names them, for a task that is
// created by a rule which names none.
type Languages struct {
	// Names are in the spelling of V3; empty: the default ones.
	Names []string `json:"names"`
	// Reason says where they come from.
	Reason string `json:"reason"`
}

// defaultLanguages are those that both the V2 list of 2023 and the V3 list of
// 2025 name (specs/codearts-check.md 1.3, 1.4); a language that a region does
// not know would make every creation fail.
func defaultLanguages() []string {
	return []string{"C#", "C++", "CSS", "GO", "HTML", "JAVA", "JAVASCRIPT", "PHP", "PYTHON", "TYPESCRIPT"}
}

// checkable gives CodeArts Check's word for a language of GitHub's, or of another host's;
// empty when it has none. Most are spelled alike, without regard to case.
func checkable(host string) string {
	word := strings.ToUpper(host)
	switch {
	case slices.Contains([]string{"PLSQL", "PLPGSQL", "TSQL"}, word):
		return "SQL"
	case slices.Contains(rules.KnownLanguages(), word):
		return word
	}
	return ""
}

// WithLanguages returns the run with what is to be checked of the languages that a host tells.
func (c *Checker) WithLanguages(run Run, host []string) Run {
	found := c.languagesOf(host)
	run.Languages, run.WantsLanguages = &found, false
	return run
}

// languagesOf turns the languages that a host tells into those that this service can check.
func (c *Checker) languagesOf(host []string) Languages {
	var names, dropped []string
	for _, name := range host {
		word := checkable(name)
		if _, old := languages2023[word]; word == "" || c.options.Dialect == Dialect2023 && !old {
			dropped = append(dropped, name)
		} else if !slices.Contains(names, word) {
			names = append(names, word)
		}
	}
	reason := "the host says " + strings.Join(host, ", ")
	switch {
	case len(host) == 0:
		reason = "the host names no language"
	case len(names) == 0:
		reason += ", none of which can be checked"
	case len(dropped) > 0:
		reason += "; " + strings.Join(dropped, ", ") + " cannot be checked"
	}
	if len(names) == 0 {
		reason += ": the default ones"
	}
	return Languages{Names: names, Reason: reason}
}

// wantsLanguages reports whether a task that is created for the run needs the languages of
// its repository, which are not known yet.
func wantsLanguages(run *Run) bool {
	return len(run.Check.Languages) == 0 && len(run.Check.RuleSets) == 0 && run.Languages == nil
}

// languages are the rule's, the repository's or the default ones, in the spelling of the
// dialect: the 2023 edition has other names of its ten languages (specs/codearts-check.md
// 1.3). Custom ones stay as they are.
func (c *Checker) languages(check rules.Check, detected *Languages) []string {
	languages := check.Languages
	if len(languages) == 0 && detected != nil {
		languages = detected.Names
	}
	if len(languages) == 0 {
		languages = c.options.DefaultLanguages
	}
	if c.options.Dialect != Dialect2023 {
		return languages
	}
	old := make([]string, len(languages))
	for i, language := range languages {
		old[i] = language
		if name, known := languages2023[language]; known {
			old[i] = name
		}
	}
	return old
}

var languages2023 = map[string]string{
	"C++": "cpp", "JAVA": "java", "JAVASCRIPT": "js", "PYTHON": "python", "PHP": "php",
	"CSS": "css", "HTML": "html", "GO": "go", "TYPESCRIPT": "typescript", "C#": "csharp",
}

// SameLanguage reports whether two names are one language's, whichever edition spelled
// each.
func SameLanguage(a, b string) bool {
	canonical := func(name string) string {
		for word, old := range languages2023 {
			if strings.EqualFold(name, old) {
				return word
			}
		}
		return strings.ToUpper(name)
	}
	return canonical(a) == canonical(b)
}
