package rules_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/golden"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// archive reads one case: rules files (*.yaml), the event, and what is wanted.
func archive(t testing.TB, file string) (a *txtar.Archive, sources []rules.Source, find func(name string) []byte) {
	t.Helper()
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range a.Files {
		if strings.HasSuffix(f.Name, ".yaml") {
			sources = append(sources, rules.Source{Name: f.Name, Data: f.Data})
		}
	}
	return a, sources, func(name string) []byte {
		for _, f := range a.Files {
			if f.Name == name {
				return f.Data
			}
		}
		return nil
	}
}

// source reads a rules file.
func source(t testing.TB, file string) rules.Source {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return rules.Source{Name: filepath.Base(file), Data: data}
}

// load loads rules that are right.
func load(t testing.TB, sources ...rules.Source) *rules.Policy {
	t.Helper()
	policy, complaints := rules.Load(sources...)
	if len(complaints) > 0 {
		t.Fatal(complaints)
	}
	return policy
}

func glob(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("glob %s: %v, %d files", pattern, err, len(files))
	}
	return files
}

// TestDecide decides the event of each testdata/cases/*.txtar by its rules and
// compares the decision and its explanation.
func TestDecide(t *testing.T) {
	for _, file := range glob(t, "testdata/cases/*.txtar") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			a, sources, find := archive(t, file)
			policy := load(t, sources...)
			var ev event.Event
			if err := json.Unmarshal(find("event.json"), &ev); err != nil {
				t.Fatal(err)
			}
			if files := find("files.json"); files != nil {
				if err := json.Unmarshal(files, &ev.Files); err != nil {
					t.Fatal(err)
				}
			}
			if origin := find("origin.json"); origin != nil {
				if err := json.Unmarshal(origin, &ev.Origin); err != nil {
					t.Fatal(err)
				}
			}
			decision := policy.Decide(ev)

			var explained, asJSON bytes.Buffer
			decision.Write(&explained)
			golden.Section(t, file, a, "explain.txt", explained.String())
			encoder := json.NewEncoder(&asJSON)
			encoder.SetEscapeHTML(false)
			encoder.SetIndent("", "  ")
			decision.Event = event.Event{}
			if err := encoder.Encode(decision); err != nil {
				t.Fatal(err)
			}
			golden.Section(t, file, a, "decision.json", asJSON.String())

			var again rules.Decision
			if err := json.Unmarshal(asJSON.Bytes(), &again); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(decision, again); diff != "" {
				t.Errorf("read back from JSON (-want +got):\n%s", diff)
			}
		})
	}
}

// TestEffective: the effective rules, as YAML and as JSON, load, are the same policy,
// and are as the golden file says.
func TestEffective(t *testing.T) {
	for _, file := range glob(t, "testdata/cases/*.txtar") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			a, sources, find := archive(t, file)
			policy := load(t, sources...)
			effective, err := policy.Effective()
			if err != nil {
				t.Fatal(err)
			}
			if find("effective.txt") != nil {
				golden.Section(t, file, a, "effective.txt", string(effective))
			}
			asJSON, err := policy.JSON()
			if err != nil || !json.Valid(asJSON) {
				t.Fatalf("not JSON: %v\n%s", err, asJSON)
			}
			for _, data := range [][]byte{effective, asJSON} {
				again, complaints := rules.Load(rules.Source{Name: "effective.yaml", Data: data})
				if len(complaints) > 0 {
					t.Fatalf("load effective rules: %v\n%s", complaints, data)
				}
				if again.Hash() != policy.Hash() {
					t.Errorf("hash of effective rules is %s, want %s:\n%s", again.Hash(), policy.Hash(), data)
				}
			}
		})
	}
}

// TestLoadComplains compares all complaints about each testdata/bad/*.yaml.
func TestLoadComplains(t *testing.T) {
	for _, file := range glob(t, "testdata/bad/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			policy, complaints := rules.Load(source(t, file))
			if policy != nil || len(complaints) == 0 {
				t.Fatal("loaded without a complaint")
			}
			golden.Text(t, strings.TrimSuffix(file, ".yaml")+".golden", complaints.Error()+"\n")
		})
	}
}

// TestWarnings compares the warnings about each testdata/warn/*.yaml: those of the rules
// alone, then those with two connections, one for a host that needs an auth_id.
func TestWarnings(t *testing.T) {
	for _, file := range glob(t, "testdata/warn/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			policy := load(t, source(t, file))
			got := policy.Warnings().Error() + "\n\n" + policy.WarningsFor(testServer).Error() + "\n"
			golden.Text(t, strings.TrimSuffix(file, ".yaml")+".golden", got)
		})
	}
}

var testServer = rules.Server{Connections: []rules.Connection{{Name: "github", RepoType: "GitHub"}, {Name: "repo", RepoType: "DevCloud"}},
	Groups: map[string]rules.Group{
		"leads": {People: []string{"ana", "mei"}}, "more": {People: []string{"mei", "tom"}}, "owners": {Claim: true}, "empty": {},
	},
	Accounts: map[string]rules.Account{"": {CreateV3: true}, "partner": {Pipelines: map[string]string{"theirs": "11111111-2222-4333-8444-555555555555"}}}}

// TestCheckFor compares the complaints about each testdata/server/*.yaml, which is right by
// itself: with the 2026 edition of CodeArts Check, then with that of 2023.
func TestCheckFor(t *testing.T) {
	for _, file := range glob(t, "testdata/server/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			policy, complaints := rules.LoadWith(testServer.Accounts["partner"].Pipelines, source(t, file))
			if len(complaints) > 0 {
				t.Fatal(complaints)
			}
			old := rules.Server{Connections: testServer.Connections, Accounts: map[string]rules.Account{"": {TemporaryRepository: true}}}
			got := policy.CheckFor(testServer).Error() + "\n\n" + policy.CheckFor(old).Error() + "\n"
			golden.Text(t, strings.TrimSuffix(file, ".yaml")+".golden", got)
		})
	}
}

// TestLoadFolder: several files are one policy, in the order of their names.
func TestLoadFolder(t *testing.T) {
	const (
		shared = "version: 1\ndefaults: {check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07}}}\n"
		one    = "version: 1\nrules:\n  - {name: one, on: push, match: {branch: main}, check: {}}\n"
		two    = "version: 1\nrules:\n  - {name: two, on: push, check: {}}\n"
	)
	a := rules.Source{Name: "a.yaml", Data: []byte(one)}
	b := rules.Source{Name: "b.yaml", Data: []byte(two)}
	z := rules.Source{Name: "z.yaml", Data: []byte(shared)}

	policy, complaints := rules.Load(z, b, a)
	if len(complaints) > 0 {
		t.Fatal(complaints)
	}
	infos := policy.Rules()
	if len(infos) != 2 || infos[0].Name != "one" || infos[0].File != "a.yaml" || infos[0].Line != 3 || infos[1].Name != "two" {
		t.Errorf("rules = %+v, want one of a.yaml:3, then two", infos)
	}
	if infos[0].Project != "41b8df4bf53f4d51b8e6c5b32e8d2a07" {
		t.Errorf("project = %q: the defaults of z.yaml do not hold for a.yaml", infos[0].Project)
	}

	other := rules.Source{Name: "y.yaml", Data: []byte(shared)}
	twin := rules.Source{Name: "c.yaml", Data: []byte(two)}
	_, complaints = rules.Load(a, b, z, other, twin)
	const wanted = `c.yaml:3: rules[0]: can never be reached: every such event is taken above by "two"; move this rule up, or narrow the rules above by match, or let it say continue: true
c.yaml:3: rules[0].name: "two" is the name of the rule at b.yaml:3 too; give each rule its own name
z.yaml:2: defaults: are in y.yaml too; keep the defaults in one file; they hold for all`
	if diff := cmp.Diff(wanted, complaints.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLoadNothing(t *testing.T) {
	if _, complaints := rules.Load(); complaints.Error() != "rules: has no rules; write at least one under rules" {
		t.Errorf("no files: %v", complaints)
	}
	empty := rules.Source{Name: "r.yaml", Data: []byte("version: 1\nrules: []\n")}
	if _, complaints := rules.Load(empty); complaints.Error() != "r.yaml: has no rules; write at least one under rules" {
		t.Errorf("no rules: %v", complaints)
	}
}

// TestHash: what does not change the meaning does not change the hash.
func TestHash(t *testing.T) {
	hash := func(text string) string {
		policy := load(t, rules.Source{Name: "r.yaml", Data: []byte(text)})
		if len(policy.Hash()) != 12 {
			t.Errorf("hash %q has not 12 digits", policy.Hash())
		}
		return policy.Hash()
	}
	const project = "project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07}"
	first := hash("version: 1\nrules:\n  - {name: a, on: push, check: {" + project + "}}\n")
	same := hash("# words\nversion: 1\ndefaults: {check: {" + project + ", timeout: 45m}}\nrules:\n  - check: {}\n    on: [push]\n    name: a\n")
	different := hash("version: 1\nrules:\n  - {name: a, on: push, check: {" + project + ", timeout: 46m}}\n")
	if first != same {
		t.Errorf("same rules written otherwise: %s and %s", first, same)
	}
	if first == different {
		t.Error("another timeout gives the same hash")
	}
}

// TestSharedPolicy decides from several goroutines, for the race detector.
func TestSharedPolicy(t *testing.T) {
	_, sources, find := archive(t, "testdata/cases/design.txtar")
	policy := load(t, sources...)
	var ev event.Event
	if err := json.Unmarshal(find("event.json"), &ev); err != nil {
		t.Fatal(err)
	}
	reasons := make(chan string)
	for range 8 {
		go func() { reasons <- policy.Decide(ev).Reason }()
	}
	for range 8 {
		if reason := <-reasons; reason != `rule "release-main" matched` {
			t.Errorf("reason = %q", reason)
		}
	}
}

func FuzzLoad(f *testing.F) {
	for _, file := range glob(f, "testdata/bad/*.yaml") {
		f.Add(source(f, file).Data)
	}
	for _, file := range glob(f, "testdata/cases/*.txtar") {
		_, sources, _ := archive(f, file)
		for _, source := range sources {
			f.Add(source.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		policy, complaints := rules.Load(rules.Source{Name: "r.yaml", Data: data})
		if (policy == nil) == (len(complaints) == 0) {
			t.Fatalf("policy %v with complaints %v", policy, complaints)
		}
		if policy == nil {
			return
		}
		effective, err := policy.Effective()
		if err != nil {
			t.Fatal(err)
		}
		again, complaints := rules.Load(rules.Source{Name: "effective.yaml", Data: effective})
		if len(complaints) > 0 {
			t.Fatalf("load effective rules: %v\n%s", complaints, effective)
		}
		if again.Hash() != policy.Hash() {
			t.Errorf("effective rules are another policy:\n%s", effective)
		}
	})
}

func FuzzDecide(f *testing.F) {
	var policies []*rules.Policy
	for _, file := range glob(f, "testdata/cases/*.txtar") {
		_, sources, find := archive(f, file)
		policy := load(f, sources...)
		policies = append(policies, policy)
		var ev event.Event
		if err := json.Unmarshal(find("event.json"), &ev); err != nil {
			f.Fatal(err)
		}
		f.Add(string(ev.Kind), ev.Connection, ev.Repository.FullName, ev.Branch, ev.SourceBranch, ev.HeadSHA, strings.Join(ev.Labels, ","), ev.IgnoredReason, ev.Number)
	}
	f.Fuzz(func(t *testing.T, kind, connection, repository, branch, source, sha, labels, ignored string, number int) {
		ev := event.Event{
			Kind: event.Kind(kind), Connection: connection, Branch: branch, SourceBranch: source,
			HeadSHA: sha, Number: number, Labels: strings.Split(labels, ","), IgnoredReason: ignored,
			Repository: event.Repository{FullName: repository},
		}
		for _, policy := range policies {
			decision := policy.Decide(ev)
			if len(decision.Trace)+decision.Omitted != len(policy.Rules()) {
				t.Fatalf("trace has %d rules and omits %d, want %d", len(decision.Trace), decision.Omitted, len(policy.Rules()))
			}
			if (decision.Outcome == rules.Matched) != (len(decision.Matches) > 0) {
				t.Errorf("outcome %s with %d matches", decision.Outcome, len(decision.Matches))
			}
			var out bytes.Buffer
			decision.Write(&out)
			lines := 1
			if ignored == "" {
				lines += len(decision.Trace)
				for _, match := range decision.Matches {
					lines += 1 + len(match.Releases)
				}
				dropped := slices.ContainsFunc(decision.Trace, func(r rules.RuleTrace) bool {
					return r.Result == rules.RuleMatched && !slices.ContainsFunc(decision.Matches, func(m rules.Match) bool { return m.Rule == r.Rule })
				})
				for _, more := range []bool{dropped, decision.Omitted > 0, decision.Outcome == rules.NoMatch} {
					if more {
						lines++
					}
				}
			} else {
				lines++
			}
			if got := strings.Count(out.String(), "\n"); got != lines {
				t.Errorf("explanation has %d lines, want %d:\n%q", got, lines, out.String())
			}
			if i := strings.IndexFunc(out.String(), func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }); i >= 0 {
				t.Errorf("explanation has a control character at %d: %q", i, out.String())
			}
		}
	})
}
