package rules_test

import (
	"testing"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
)

// TestNeedsOrigin: a host is asked about a merge request only where the decision can depend on it.
func TestNeedsOrigin(t *testing.T) {
	fork, trust := rules.Needs{Fork: true}, rules.Needs{Trust: true}
	for name, tc := range map[string]struct {
		rules  string
		origin event.Origin
		want   rules.Needs
	}{
		"a rule wants no forks":           {`{name: a, on: merge_request, match: {fork: false}, check: {}}`, event.Origin{}, fork},
		"a rule wants forks":              {`{name: a, on: merge_request, match: {fork: true}, ignore: true}`, event.Origin{}, fork},
		"a rule wants trust":              {`{name: a, on: merge_request, match: {fork: trusted}, check: {}}`, event.Origin{}, trust},
		"a rule below wants trust":        {`{name: a, on: merge_request, match: {fork: true}, check: {}}, {name: b, on: merge_request, match: {fork: trusted}, check: {}}`, event.Origin{}, rules.Needs{Fork: true, Trust: true}},
		"the host was asked":              {`{name: a, on: merge_request, match: {fork: trusted}, check: {}}`, event.Origin{Unknown: "no answer"}, rules.Needs{}},
		"another kind":                    {`{name: a, on: [push, merge_request], match: {branch: next, fork: trusted}, check: {}}`, event.Origin{}, rules.Needs{}},
		"an earlier rule takes the event": {`{name: a, on: merge_request, match: {branch: main}, check: {}}, {name: b, on: merge_request, match: {fork: trusted}, check: {}}`, event.Origin{}, rules.Needs{}},
		"no rule speaks of forks":         {`{name: a, on: merge_request, check: {}}`, event.Origin{}, rules.Needs{}},
		"files and trust":                 {`{name: a, on: merge_request, match: {fork: trusted, paths: "**/*.go"}, check: {}}`, event.Origin{}, rules.Needs{Files: true, Trust: true}},
		"files of what is not trusted":    {`{name: a, on: merge_request, match: {fork: trusted, paths: "**/*.go"}, check: {}}`, event.Origin{Told: true, Fork: true}, rules.Needs{}},
		"files of what is trusted":        {`{name: a, on: merge_request, match: {fork: trusted, paths: "**/*.go"}, check: {}}`, event.Origin{Told: true, Fork: true, Trusted: "x"}, rules.Needs{Files: true}},
	} {
		policy := load(t, rules.Source{Name: "rules.yaml", Data: []byte("version: 1\ndefaults: {check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07}}}\nrules: [" + tc.rules + "]\n")})
		ev := event.Event{Kind: event.MergeRequest, Number: 7, Branch: "main", Repository: event.Repository{FullName: "acme/api"}, Origin: tc.origin, Files: event.Files{Unknown: "not listed", AskHost: true}}
		if got := policy.Needs(ev); got != tc.want {
			t.Errorf("%s: %+v", name, got)
		}
		ev.IgnoredReason = "nothing to check"
		if got := policy.Needs(ev); got != (rules.Needs{}) {
			t.Errorf("%s: also for an ignored event", name)
		}
	}
}

// TestPossibleForks: a rule that wants trust hides no rule below it from what may be asked for.
func TestPossibleForks(t *testing.T) {
	policy := load(t, rules.Source{Name: "rules.yaml", Data: []byte(`version: 1
defaults: {check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07}}}
rules:
  - {name: trusted, on: merge_request, match: {fork: trusted}, check: {}}
  - {name: own, on: merge_request, match: {fork: false}, check: {}}
  - {name: never, on: merge_request, ignore: true}`)})
	matches := policy.Possible(event.Event{Kind: event.MergeRequest, Number: 7, Branch: "main"})
	if len(matches) != 2 || matches[0].Rule != "trusted" || matches[1].Rule != "own" {
		t.Errorf("possible are %+v", matches)
	}
}
