package rules

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/google/go-cmp/cmp"
)

func TestOwnerAndName(t *testing.T) {
	for _, test := range []struct{ pattern, owner, name string }{
		{"acme/api", "acme", "api"},
		{"acme/*", "acme", ""},
		{"acme/**", "acme", ""},
		{"acme/x-*", "acme", ""},
		{"acme/**/", "acme", ""},
		{"acme/platform/*", "acme", ""},
		{"acme/**/api", "acme", "api"},
		{"*/service-17", "", "service-17"},
		{"**/service-17", "", "service-17"},
		{"{**,acme}/api", "", "api"},
		{"größe/?", "größe", ""},
		{"acme/[ab]/x]y", "acme", ""},
		{`acme\*/api`, "", "api"},
		{`*/\api`, "", ""},
		{"acme-{a,b}/*", "", ""},
		{"[a/b]*", "", ""},
		{"{a/b,c}", "", ""},
		{"*-api", "", ""},
		{"/*", "", ""},
		{"*/", "", ""},
		{"**", "", ""},
		{"*/*", "", ""},
		{"*/{a,b}", "", ""},
	} {
		g := glob{pattern: test.pattern}
		if owner, name := g.ownerAndName(); owner != test.owner || name != test.name {
			t.Errorf("%s: %q and %q, want %q and %q", test.pattern, owner, name, test.owner, test.name)
		}
	}
}

func TestCandidates(t *testing.T) {
	policy := patternPolicy([]string{
		0:  "acme/api",
		1:  "acme/*",
		2:  "*/api",
		3:  "**",
		4:  "",
		5:  "!acme/*",
		6:  "acme/api acme/a* acme/*",
		7:  "other/api Other/*",
		8:  "other/api */*",
		9:  "ACME/A?I",
		10: "@main",
		11: "!acme/* @main @dev",
		12: "** @main @rel*",
		13: "@!main",
		14: "acme/web @dev",
	})
	for _, test := range []struct {
		repository, branch string
		want               []int
	}{
		{"acme/api", "", []int{0, 1, 2, 3, 4, 5, 6, 8, 9, 12, 13}},
		{"Acme/API", "", []int{0, 1, 2, 3, 4, 5, 6, 8, 9, 12, 13}},
		{"acme/web", "", []int{1, 3, 4, 5, 6, 8, 9, 12, 13, 14}},
		{"other/api", "", []int{2, 3, 4, 5, 7, 8, 12, 13}},
		{"acme", "", []int{1, 3, 4, 5, 6, 8, 9, 12, 13}},
		{"", "", []int{3, 4, 5, 8, 12, 13}},
		{"", "main", []int{3, 4, 5, 8, 10, 11, 12, 13}},
		{"", "dev", []int{3, 4, 5, 8, 11, 12, 13}},
		{"", "Dev", []int{3, 4, 5, 8, 12, 13}},
	} {
		if diff := cmp.Diff(test.want, policy.index.candidates(test.repository, test.branch)); diff != "" {
			t.Errorf("%q %q (-want +got):\n%s", test.repository, test.branch, diff)
		}
	}
}

// TestIndexIsComplete compares the index with trying all rules, for rules,
// repositories and branches that are put together from pieces at random, always the same.
func TestIndexIsComplete(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pattern := []string{
		"a", "b", "ab", "-", "Ä", "/", "/", "*", "**", "**/", "/**", "?", "[ab]", "[^a]", "[a-]", "[/]",
		"{a,b}", "{a/**,b}", "{**,a}", "{,a}", "{/**,a}", "{[}],a}", `\a`, `\*`, `\/`, "]", ",", "!",
	}
	name := []string{"a", "b", "ab", "-", "ä", "Ä", "/", "/", "*", "]", ",", "}", "\xff", "\ufffd"}
	branch := []string{"", "", "", " @main", " @ma*", " @!main", " @main @dev"}
	text := func(pieces []string, most int) string {
		var b strings.Builder
		for range random.IntN(most + 1) {
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
		return b.String()
	}
	matched := 0
	for range 20_000 {
		var lists []string
		for range 8 {
			list := text(pattern, 5)
			for random.IntN(3) == 0 {
				list += " " + text(pattern, 5)
			}
			lists = append(lists, list+text(branch, 1))
		}
		matched += compareWithAll(t, lists, text(name, 6), []string{"main", "dev", ""}[random.IntN(3)])
	}
	if matched < 10_000 {
		t.Errorf("only %d rules matched: the test is too weak", matched)
	}
}

func FuzzIndex(f *testing.F) {
	f.Add("acme/api\nacme/*\n*/api\n** @main\n!acme/*\n@main @dev\nacme/{api,web}", "acme/api", "main")
	f.Add("acme/**\n**/acme\n{**,x}/acme\n*/\n/*\n@!dev", "acme", "dev")
	f.Add("a[b/]c\na\\*\na\\{\nA?ö\n[!a]*/x]y\n@[m]ain", "a*", "main")
	f.Fuzz(func(t *testing.T, lists, repository, branch string) {
		if strings.Count(lists, "{") > 5 || len(lists)+len(repository)+len(branch) > 300 {
			return // matching braces takes time that doubles with each of them
		}
		compareWithAll(t, strings.Split(lists, "\n"), repository, branch)
	})
}

// compareWithAll decides a push to the repository's branch by the index and by
// trying all rules, and returns how many match.
func compareWithAll(t *testing.T, lists []string, repository, branch string) int {
	t.Helper()
	policy := patternPolicy(lists)
	ev := event.Event{Kind: event.Push, Branch: branch, Repository: event.Repository{FullName: repository}}
	candidates := policy.index.candidates(repository, branch)
	if !slices.IsSorted(candidates) || len(slices.Compact(slices.Clone(candidates))) != len(candidates) {
		t.Errorf("candidates %v are not ascending", candidates)
	}
	matched := 0
	for i, r := range policy.rules {
		if r.firstFailing(newSubject(&ev)) < len(r.clauses) {
			continue
		}
		matched++
		if !slices.Contains(candidates, i) {
			t.Errorf("%q: the index leaves out %q, which matches", repository, lists[i])
		}
	}

	got, want := policy.decide(ev, candidates, len(lists)), policy.Explain(ev)
	if len(want.Trace) != len(lists) || want.Omitted != 0 {
		t.Errorf("explanation has %d rules and omits %d, want all %d", len(want.Trace), want.Omitted, len(lists))
	}
	shown := make([]RuleTrace, 0, len(candidates))
	for _, i := range candidates {
		shown = append(shown, want.Trace[i])
	}
	want.Trace, want.Omitted = shown, len(lists)-len(candidates)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q with %q (-all +index):\n%s", repository, lists, cmp.Diff(want, got))
	}
	return matched
}

// patternPolicy returns a rule for each list of patterns with spaces between them:
// those with a @ before them are for the branch, the others for the repository. A list
// without patterns makes no condition, and what is not a pattern is left out. Three of four rules
// continue.
func patternPolicy(lists []string) *Policy {
	p := &Policy{}
	for i, list := range lists {
		r := &rule{name: fmt.Sprint("rule-", i), clauses: []clause{onClause{event.Push}}, continues: i%4 != 3}
		var repositories, branches []string
		for _, pattern := range strings.Fields(list) {
			if branch, ok := strings.CutPrefix(pattern, "@"); ok {
				branches = append(branches, branch)
			} else {
				repositories = append(repositories, pattern)
			}
		}
		ignore := func(int, string, string) {}
		if len(repositories) > 0 {
			r.clauses = append(r.clauses, &globClause{name: "repository", globs: compileGlobs(repositories, true, ignore), value: repositoryOf})
		}
		if len(branches) > 0 {
			r.clauses = append(r.clauses, &globClause{name: "branch", globs: compileGlobs(branches, false, ignore), value: branchOf})
		}
		p.rules = append(p.rules, r)
	}
	p.index = newIndex(p.rules)
	return p
}

// TestTraceIsBounded: a large policy traces the rules for the event's repository,
// twenty of them at most, but all that match.
func TestTraceIsBounded(t *testing.T) {
	for _, test := range []struct {
		name string
		// rules for the same repository: first some that do not match, then some
		// that do and continue; and rules for others.
		skipped, matching, others int
		shown, omitted            int
		text                      string
	}{
		{"few", 10, 1, 9, 20, 0, ""},
		{"one more", 10, 1, 10, 11, 10, "  omitted   10 rules for other repositories or branches\n"},
		{"none for the repository", 0, 0, 30, 0, 30, "  omitted   30 rules for other repositories or branches\n"},
		{"one for another", 18, 1, 2, 19, 2, "  omitted   2 rules for other repositories or branches\n"},
		{"as many as are shown", 15, 5, 7, 20, 7, "  omitted   7 rules for other repositories or branches, without a match, or not tried\n"},
		{"many for the repository", 300, 2, 50, 20, 332, "  omitted   332 rules for other repositories or branches, without a match, or not tried\n"},
		{"many that match", 30, 150, 5, 150, 35, "  omitted   35 rules for other repositories or branches, without a match, or not tried\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var text strings.Builder
			text.WriteString("version: 1\ndefaults: {check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07}}}\nrules:\n")
			for i := range test.others {
				fmt.Fprintf(&text, "  - {name: other-%d, on: push, match: {repository: acme/other-%d}, check: {}}\n", i, i)
			}
			for i := range test.skipped {
				fmt.Fprintf(&text, "  - {name: skipped-%d, on: tag, match: {repository: acme/api}, check: {}}\n", i)
			}
			for i := range test.matching {
				fmt.Fprintf(&text, "  - {name: matching-%d, on: push, match: {repository: acme/*}, check: {}, continue: true}\n", i)
			}
			policy, complaints := Load(Source{Name: "r.yaml", Data: []byte(text.String())})
			if len(complaints) > 0 {
				t.Fatal(complaints)
			}
			ev := event.Event{Kind: event.Push, Branch: "main", Repository: event.Repository{FullName: "acme/api"}}
			d, whole := policy.Decide(ev), policy.Explain(ev)

			matched := 0
			for _, rule := range d.Trace {
				if rule.Result == RuleMatched {
					matched++
				}
			}
			if len(d.Trace) != test.shown || d.Omitted != test.omitted || matched != test.matching || len(d.Matches) != test.matching {
				t.Errorf("%d rules shown, %d omitted, %d matched, %d matches; want %d, %d, %d, %d",
					len(d.Trace), d.Omitted, matched, len(d.Matches), test.shown, test.omitted, test.matching, test.matching)
			}
			if len(whole.Trace) != test.others+test.skipped+test.matching || whole.Omitted != 0 {
				t.Errorf("explanation has %d rules and omits %d", len(whole.Trace), whole.Omitted)
			}
			var out strings.Builder
			d.Write(&out)
			if !strings.Contains(out.String(), test.text) || strings.Contains(out.String(), "  omitted") != (test.text != "") {
				t.Errorf("want %q in\n%s", test.text, out.String())
			}
			whole.Trace, whole.Omitted = d.Trace, d.Omitted
			if diff := cmp.Diff(whole, d); diff != "" {
				t.Errorf("apart from the trace (-all +index):\n%s", diff)
			}
		})
	}
}
