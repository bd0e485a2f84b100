package rules_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/rules"
)

// TestRuleDigest: the digest of a rule changes with the rule and with a window that it names, and with
// nothing else; the policy's hash changes with every window and freeze, too.
func TestRuleDigest(t *testing.T) {
	const (
		office = "office: {time_zone: Europe/Berlin, hours: '09:00-17:00'}"
		night  = "night: {time_zone: UTC, hours: '22:00-06:00'}"
		held   = "{name: held, on: push, match: {branch: main}, check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07}}, release: [{pipeline: caf409b1-10df-483a-b14d-7b05f7e12c88, action: start, hold: {window: office, expires: 8h}}]}"
		other  = "{name: other, on: push, check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07}}}"
		freeze = "freezes: [{name: f, from: 2026-12-20, to: 2027-01-03, time_zone: UTC, reason: books}]\n"
	)
	policy := func(windows, top, first, second string) *rules.Policy {
		return load(t, rules.Source{Name: "r.yaml", Data: []byte("version: 1\n" + top + "windows: {" + windows + "}\nrules:\n  - " + first + "\n  - " + second + "\n")})
	}
	first := policy(office+", "+night, "", held, other)
	if len(first.RuleDigest("held")) != 64 || first.RuleDigest("held") == first.RuleDigest("other") || first.RuleDigest("nothing") != "" {
		t.Errorf("digests %q, %q and %q", first.RuleDigest("held"), first.RuleDigest("other"), first.RuleDigest("nothing"))
	}
	for _, test := range []struct {
		what                  string
		policy                *rules.Policy
		held, other, sameHash bool
	}{
		{"written otherwise", policy(night+", office: {hours: ['09:00-17:00'], weekdays: mon-sun, time_zone: Europe/Berlin}", "# words\n", held, other), true, true, true},
		{"another window", policy(office+", night: {time_zone: UTC, hours: '21:00-06:00'}", "", held, other), true, true, false},
		{"the window that it names", policy("office: {time_zone: Europe/Berlin, hours: '09:00-18:00'}, "+night, "", held, other), false, true, false},
		{"a freeze", policy(office+", "+night, freeze, held, other), true, true, false},
		{"break-glass", policy(office+", "+night, "break_glass: {groups: [on-call]}\n", held, other), true, true, false},
		{"expires", policy(office+", "+night, "", held[:len(held)-len("8h}}]}")]+"9h}}]}", other), false, true, false},
		{"the other rule", policy(office+", "+night, "", held, "{name: other, on: tag, check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07}}}"), true, false, false},
	} {
		if got := test.policy.RuleDigest("held") == first.RuleDigest("held"); got != test.held {
			t.Errorf("%s: the digest of held is the same: %t", test.what, got)
		}
		if got := test.policy.RuleDigest("other") == first.RuleDigest("other"); got != test.other {
			t.Errorf("%s: the digest of other is the same: %t", test.what, got)
		}
		if got := test.policy.Hash() == first.Hash(); got != test.sameHash {
			t.Errorf("%s: the hash is the same: %t", test.what, got)
		}
	}
}

// TestCalendarOfSeveralFiles: windows, freezes and who breaks the glass are for the rules of all
// files; each name is there once, and break_glass in one file.
func TestCalendarOfSeveralFiles(t *testing.T) {
	const (
		calendar = "version: 1\nwindows: {office: {time_zone: UTC}}\nfreezes: [{name: f, from: 2026-12-20, to: 2027-01-03, time_zone: UTC, reason: books}]\nbreak_glass: {groups: [on-call]}\nrules: []\n"
		rule     = "version: 1\nrules: [{name: a, on: push, check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07}}, release: [{pipeline: caf409b1-10df-483a-b14d-7b05f7e12c88, action: start, hold: {window: office}}]}]\n"
	)
	source := func(name, text string) rules.Source { return rules.Source{Name: name, Data: []byte(text)} }
	policy := load(t, source("a.yaml", rule), source("z.yaml", calendar))
	if _, known := policy.Window("office"); !known || len(policy.Windows()) != 1 || len(policy.Freezes()) != 1 || !slices.Equal(policy.BreakGlass(), []string{"on-call"}) {
		t.Errorf("windows %v, freezes %v, break-glass %q", policy.Windows(), policy.Freezes(), policy.BreakGlass())
	}
	if groups := load(t, source("a.yaml", "version: 1\nrules: [{name: a, on: push, ignore: true}]\n")).BreakGlass(); len(groups) != 0 {
		t.Errorf("without break_glass, %q may", groups)
	}
	_, complaints := rules.Load(source("a.yaml", rule), source("y.yaml", calendar), source("z.yaml", calendar))
	const want = `z.yaml:2: windows.office: is the name of a window of y.yaml too; give each window its own name
z.yaml:3: freezes[0].name: "f" is the name of a freeze of y.yaml too; give each freeze its own name
z.yaml:4: break_glass: is in y.yaml too; keep it in one file; it holds for all`
	if diff := cmp.Diff(want, complaints.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
