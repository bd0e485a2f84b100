package rules_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
)

// TestNeedsFiles: a host is asked for files only where the decision can depend on them.
func TestNeedsFiles(t *testing.T) {
	unlisted := event.Files{Unknown: "not listed", AskHost: true}
	partial := event.Files{Paths: []string{"main.go"}, Unknown: "cut", AskHost: true}
	for name, tc := range map[string]struct {
		rules string
		files event.Files
		want  bool
	}{
		"a rule compares them":              {`{name: a, on: push, match: {paths: "**/*.go"}, check: {}}`, unlisted, true},
		"they are known":                    {`{name: a, on: push, match: {paths: "**/*.go"}, check: {}}`, event.Files{Complete: true, AskHost: true}, false},
		"the host knows no more":            {`{name: a, on: push, match: {paths: "**/*.go"}, check: {}}`, event.Files{Unknown: "the branch is new"}, false},
		"one that is known matches":         {`{name: a, on: push, match: {paths: "**/*.go"}, check: {}}`, partial, false},
		"none that is known matches":        {`{name: a, on: push, match: {paths: "**/*.py"}, check: {}}`, partial, true},
		"another kind":                      {`{name: a, on: merge_request, match: {paths: "**/*.go"}, check: {}}`, unlisted, false},
		"another clause fails":              {`{name: a, on: push, match: {branch: next, paths: "**/*.go"}, check: {}}`, unlisted, false},
		"no rule compares them":             {`{name: a, on: push, check: {}}`, unlisted, false},
		"an earlier rule takes the event":   {`{name: a, on: push, match: {branch: main}, check: {}}, {name: b, on: push, match: {paths: x}, check: {}}`, unlisted, false},
		"an earlier rule ignores the event": {`{name: a, on: push, match: {branch: main}, ignore: true}, {name: b, on: push, match: {paths: x}, check: {}}`, unlisted, false},
		"an earlier rule continues":         {`{name: a, on: push, check: {}, continue: true}, {name: b, on: push, match: {paths: x}, check: {}}`, unlisted, true},
	} {
		for _, others := range []int{0, 30} { // the index is used from 20 rules on
			before := ""
			for i := range others {
				before += fmt.Sprintf(`{name: other-%d, on: push, match: {repository: acme/other, paths: "**"}, check: {}}, `, i)
			}
			policy, complaints := rules.Load(rules.Source{Name: "rules.yaml", Data: []byte("version: 1\ndefaults: {check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07}}}\nrules: [" + before + tc.rules + "]\n")})
			if len(complaints) > 0 {
				t.Fatal(complaints)
			}
			ev := event.Event{Kind: event.Push, Branch: "main", Repository: event.Repository{FullName: "acme/api"}, Files: tc.files}
			if got := policy.Needs(ev).Files; got != tc.want {
				t.Errorf("%s: %t", name, got)
			}
			ev.IgnoredReason = "nothing to check"
			if policy.Needs(ev).Files {
				t.Errorf("%s: also for an ignored event", name)
			}
		}
	}
}

// TestPossible: a rule that compares files hides no rule below it from what may be asked for,
// and one that takes all events does.
func TestPossible(t *testing.T) {
	policy, complaints := rules.Load(rules.Source{Name: "rules.yaml", Data: []byte(`version: 1
defaults: {check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07}}}
rules:
  - {name: docs, on: push, match: {branch: main, paths: "docs/**"}, check: {}}
  - {name: next, on: push, match: {branch: next, paths: "docs/**"}, check: {}}
  - {name: go, on: push, match: {branch: main, paths: "**/*.go"}, check: {}}
  - {name: rest, on: push, match: {branch: main}, check: {}}
  - {name: never, on: push, check: {}}`)})
	if len(complaints) > 0 {
		t.Fatal(complaints)
	}
	ev := event.Event{Kind: event.Push, Branch: "main", Repository: event.Repository{FullName: "acme/api"}, Files: event.NewFiles([]string{"a.go"}, "")}
	var names []string
	for _, match := range policy.Possible(ev) {
		names = append(names, match.Rule)
	}
	if got := strings.Join(names, " "); got != "docs go rest" {
		t.Errorf("possible are %s", got)
	}
}
