package codecheck

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
)

// keyGroups reads testdata/repository_keys.txt: key → addresses.
func keyGroups(t testing.TB) map[string][]string {
	t.Helper()
	b, err := os.ReadFile("testdata/repository_keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	groups, key := map[string][]string{}, ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case line == "":
			key = ""
		case key == "":
			key = line
		default:
			groups[key] = append(groups[key], line)
		}
	}
	return groups
}

func TestRepositoryKey(t *testing.T) {
	groups := keyGroups(t)
	if len(groups) < 8 {
		t.Fatalf("only %d groups were read", len(groups))
	}
	for key, addresses := range groups {
		for _, address := range addresses {
			if got := RepositoryKey(address); got != key {
				t.Errorf("%q: key %q, want %q", address, got, key)
			}
		}
	}
}

func FuzzRepositoryKey(f *testing.F) {
	for _, addresses := range keyGroups(f) {
		for _, address := range addresses {
			f.Add(address)
		}
	}
	f.Fuzz(func(t *testing.T, address string) {
		key := RepositoryKey(address)
		if key != RepositoryKey(" "+address+"\n") || key != RepositoryKey(strings.ToLower(address)) {
			t.Errorf("%q: key %q depends on case or on space around it", address, key)
		}
		if path, _, _ := strings.Cut(address, "@"); strings.Contains(RepositoryKey("https://u:s3cret@host/"+path), "s3cret") && !strings.Contains(strings.ToLower(path), "s3cret") {
			t.Errorf("the key of https://u:s3cret@host/%s has the password", path)
		}
	})
}

func TestTaskNames(t *testing.T) {
	for name, want := range map[string]string{
		"api-main":                    "api-main",
		"acme/api-feature/discount":   "acme-api-feature-discount",
		"支付 服务_v1.2":                  "支付-服务_v1.2",
		"a  b":                        "a-b",
		"//x//":                       "x",
		"":                            "task-e3b0c442",
		strings.Repeat("x", 128):      strings.Repeat("x", 128),
		strings.Repeat("é", 3) + "ok": "ok",
	} {
		if got := validName(name); got != want || !isLegal(got) {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	long := strings.Repeat("长", 200)
	a, b := validName(long+"a"), validName(long+"b")
	if a == b || !isLegal(a) || utf8.RuneCountInString(a) != 128 {
		t.Errorf("two long names became %q and %q", a, b)
	}
	taken := indexOf(listedTask{ID: "t", Name: "a-b"}).taken
	if got := uniqueName("a b", "github.com/acme/api", "main", taken); got == "a-b" || !isLegal(got) || !strings.HasPrefix(got, "a-b-") {
		t.Errorf("taken name became %q", got)
	}
	if uniqueName("a b", "k", "main", taken) == uniqueName("a b", "k", "dev", taken) {
		t.Error("two branches got one name")
	}
}

func isLegal(name string) bool {
	n := utf8.RuneCountInString(name)
	return n >= 1 && n <= 128 && !strings.ContainsFunc(name, func(r rune) bool { return !validInName(r) })
}

func FuzzTaskName(f *testing.F) {
	f.Add("acme/api-main")
	f.Add(strings.Repeat("中", 300))
	f.Fuzz(func(t *testing.T, name string) {
		legal := validName(name)
		if !isLegal(legal) || validName(legal) != legal {
			t.Errorf("%q became %q", name, legal)
		}
		if unique := uniqueName(name, "k", "b", func(name string) bool { return name == legal }); !isLegal(unique) || unique == legal {
			t.Errorf("%q became %q although taken", name, unique)
		}
	})
}

func TestTaskKey(t *testing.T) {
	push := testEvent()
	merge := push
	merge.Kind, merge.Number, merge.SourceBranch = event.MergeRequest, 7, "feature/x"
	full, incremental := testCheck(), testCheck()
	incremental.Scan = rules.ScanIncremental
	sshOnly := push
	sshOnly.Repository.HTTPSURL = ""
	const base = testProject + " github.com/acme/api "
	for want, got := range map[string]string{
		base + "main":              TaskKey(push, full),
		base + "feature/x":         TaskKey(merge, full),
		base + "main feature/x #7": TaskKey(merge, incremental),
	} {
		if got != want {
			t.Errorf("key %q, want %q", got, want)
		}
	}
	if TaskKey(sshOnly, full) != TaskKey(push, full) {
		t.Error("the same repository has two keys")
	}
}

func TestJudge(t *testing.T) {
	n := func(i int) *int { return &i }
	counts := Counts{Critical: 1, Major: 3, Minor: 9, Suggestion: 20}
	newCounts := Counts{Major: 1}
	tests := map[string]struct {
		gate        rules.Gate
		newCounts   *Counts
		passed      bool
		reasons     []string
		comparisons []Comparison
		summary     string
	}{
		"no limit": {passed: true, reasons: []string{"the gate sets no limit"}, comparisons: []Comparison{},
			summary: "the gate holds: the gate sets no limit"},
		"equal to every limit": {gate: rules.Gate{Critical: n(1), Major: n(3), Minor: n(9), Suggestion: n(20)}, passed: true,
			reasons: []string{"critical 1 ≤ 1", "major 3 ≤ 3", "minor 9 ≤ 9", "suggestion 20 ≤ 20"},
			comparisons: []Comparison{{"critical", false, 1, 1, false}, {"major", false, 3, 3, false},
				{"minor", false, 9, 9, false}, {"suggestion", false, 20, 20, false}},
			summary: "the gate holds: critical 1 ≤ 1, major 3 ≤ 3, minor 9 ≤ 9, suggestion 20 ≤ 20"},
		"one above": {gate: rules.Gate{Critical: n(1), Major: n(2)}, reasons: []string{"critical 1 ≤ 1", "major 3 > 2"},
			comparisons: []Comparison{{"critical", false, 1, 1, false}, {"major", false, 3, 2, true}},
			summary:     "the gate is exceeded: major 3 > 2"},
		"suggestion above": {gate: rules.Gate{Suggestion: n(0)}, reasons: []string{"suggestion 20 > 0"},
			comparisons: []Comparison{{"suggestion", false, 20, 0, true}}, summary: "the gate is exceeded: suggestion 20 > 0"},
		"minor above": {gate: rules.Gate{Minor: n(8)}, reasons: []string{"minor 9 > 8"},
			comparisons: []Comparison{{"minor", false, 9, 8, true}}, summary: "the gate is exceeded: minor 9 > 8"},
		"new only": {gate: rules.Gate{Critical: n(0), Major: n(1), NewOnly: true}, newCounts: &newCounts, passed: true,
			reasons:     []string{"new critical 0 ≤ 0", "new major 1 ≤ 1"},
			comparisons: []Comparison{{"critical", true, 0, 0, false}, {"major", true, 1, 1, false}},
			summary:     "the gate holds: new critical 0 ≤ 0, new major 1 ≤ 1"},
		"new only above": {gate: rules.Gate{Major: n(0), NewOnly: true}, newCounts: &newCounts, reasons: []string{"new major 1 > 0"},
			comparisons: []Comparison{{"major", true, 1, 0, true}}, summary: "the gate is exceeded: new major 1 > 0"},
		"new only, not known": {gate: rules.Gate{NewOnly: true}, reasons: []string{"the counts of new defects are not known"},
			comparisons: []Comparison{}, summary: "the gate is exceeded: the counts of new defects are not known"},
	}
	for name, test := range tests {
		for _, access := range []string{"1", "0", ""} {
			want := Verdict{Passed: test.passed, Comparisons: test.comparisons, Reasons: test.reasons, Access: access}
			got := Judge(test.gate, counts, test.newCounts, access)
			if diff := cmp.Diff(want, got); diff != "" || got.summary() != test.summary {
				t.Errorf("%s: %s (-want +got):\n%s", name, got.summary(), diff)
			}
		}
	}
}

// A remark that has the form of an exceeded limit is not taken for one.
func TestRemarksAreNotComparisons(t *testing.T) {
	v := Verdict{Comparisons: []Comparison{{Severity: "major", Count: 3, Limit: 2, Exceeded: true}},
		Reasons: []string{"major 3 > 2"}, Remarks: []string{"the summary says 3 > 2"}}
	if got := v.summary(); got != "the gate is exceeded: major 3 > 2" {
		t.Errorf("summary %q", got)
	}
}

func TestLooseNumbers(t *testing.T) {
	for in, want := range map[string]number{
		`null`: {}, `""`: {}, `" "`: {}, `0`: {0, true}, `"0"`: {0, true}, `"12"`: {12, true}, `3.0`: {3, true}, `-1`: {-1, true},
	} {
		var got number
		if err := json.Unmarshal([]byte(in), &got); err != nil || got != want {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{`"abc"`, `1.5`, `true`, `{}`, `[1]`, `1e40`, `"NaN"`, `"Inf"`} {
		var got number
		if err := json.Unmarshal([]byte(in), &got); err == nil {
			t.Errorf("%s was read as %+v", in, got)
		}
	}
}

// Whatever a service sends where a number is expected, reading it does not
// panic, and what is read is never more than what was sent.
func FuzzLooseValues(f *testing.F) {
	for _, seed := range []string{`{"task_status":2}`, `{"task_status":null}`, `{"task_status":"0","n":{}}`, `{"task_status":[]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var answer struct {
			Status number `json:"task_status"`
			Text   text   `json:"n"`
		}
		if err := json.Unmarshal(b, &answer); err == nil && !answer.Status.set && answer.Status.n != 0 {
			t.Errorf("%s: a value without being set", b)
		}
	})
}
