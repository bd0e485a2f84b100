package codecheck

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/rules"
)

// reading is a run whose counts are known and whose findings are to be read.
func reading(counts Counts) Run {
	run := testRun(time.Now())
	run.State, run.Task.ID, run.ExecID, run.Counts = Running, "t", "e", counts
	run.Reading = &Reading{Access: "1"}
	return run
}

// readAll polls until the run has ended, and returns how many steps that took.
func readAll(t *testing.T, c *Checker, run Run) (Run, int) {
	t.Helper()
	for steps := 1; steps < 1000; steps++ {
		// What the database keeps between two steps.
		data, err := json.Marshal(run)
		if err != nil {
			t.Fatal(err)
		}
		var again Run
		if err := json.Unmarshal(data, &again); err != nil {
			t.Fatal(err)
		}
		if run, _, err = c.Poll(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		if run.State.Ended() {
			return run, steps
		}
	}
	t.Fatalf("the findings are read for ever: %s", run.Reason)
	return run, 0
}

// defectService serves lists of defects, as a reading of offset cuts them.
type defectService struct {
	// defects is how many there are of each severity.
	defects [4]int
	from    func(offset int) int
	// tells: total is sent; twice: every defect is sent twice, in a page that has more
	// rows than limit for it.
	tells, twice bool
	requests     atomic.Int64
}

func (s *defectService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	query := r.URL.Query()
	offset, _ := strconv.Atoi(query.Get("offset"))
	severity, _ := strconv.Atoi(query.Get("severity"))
	total := s.defects[severity]
	rows := []map[string]any{}
	for i := s.from(offset); i < min(s.from(offset)+defectPageSize, total); i++ {
		row := map[string]any{"defect_id": fmt.Sprintf("%d-%d", severity, i), "line_number": strconv.Itoa(i), "file_path": "a.go", "defect_level": strconv.Itoa(severity)}
		rows = append(rows, row)
		if s.twice {
			rows = append(rows, row)
		}
	}
	answer := map[string]any{"defects": rows}
	if s.tells {
		answer["total"] = total
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// offsets are the readings of offset that the editions of defects-detail have
// (specs/codearts-check.md 1.11 and 8).
func offsets() map[string]func(int) int {
	return map[string]func(int) int{
		"a page's number from 0 (2024-11)":                func(offset int) int { return offset * defectPageSize },
		"a page's number, 0 and 1 are the same":           func(offset int) int { return max(offset-1, 0) * defectPageSize },
		"a record's number (2023, \"offset\" of 2025-12)": func(offset int) int { return offset },
	}
}

// TestFindingsAreReadUnderEveryReading: each reading of offset gives every defect once, also
// where a page has more rows than limit (2025-12), in about as many requests as pages.
func TestFindingsAreReadUnderEveryReading(t *testing.T) {
	for name, from := range offsets() {
		for _, total := range []int{1, 99, 100, 101, 199, 200, 201, 250, 1000} {
			for _, tells := range []bool{true, false} {
				for _, twice := range []bool{true, false} {
					service := &defectService{defects: [4]int{0, total, 3, 0}, from: from, tells: tells, twice: twice}
					checker := testChecker(t, service, Options{})
					run, _ := readAll(t, checker, reading(Counts{Major: total, Minor: 3}))
					at := fmt.Sprintf("%s, %d defects, total %v, twice %v", name, total, tells, twice)
					if run.State != Failed || run.Findings.Count != total+3 || !run.Findings.Complete {
						t.Errorf("%s: %s with %+v", at, run.State, run.Findings)
					}
					if most := int64(total/defectPageSize + 7); service.requests.Load() > most {
						t.Errorf("%s: %d requests, want at most %d", at, service.requests.Load(), most)
					}
				}
			}
		}
	}
}

// TestFindingsInSteps: a slow service is read in several steps, which keep nothing of the
// findings in the run.
func TestFindingsInSteps(t *testing.T) {
	service := &defectService{defects: [4]int{450, 0, 0, 120}, from: offsets()["a page's number from 0 (2024-11)"], tells: true}
	checker := testChecker(t, service, Options{ReadFindingsFor: time.Nanosecond})
	// No step has the time for a page: each of them fails, and the counts are judged.
	run, steps := readAll(t, checker, reading(Counts{Critical: 450, Suggestion: 120}))
	if run.State != Failed || steps != 6 || run.Findings.Complete || !strings.Contains(run.Findings.Note, "only 0 findings were read") {
		t.Errorf("%s after %d steps: %+v", run.State, steps, run.Findings)
	}
	if want := []string{run.Findings.Note}; !slices.Equal(run.Verdict.Remarks, want) {
		t.Errorf("remarks %q, want %q", run.Verdict.Remarks, want)
	}

	// Every second request fails, so that each step reads a page.
	var requests atomic.Int64
	checker = testChecker(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1)%2 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		service.ServeHTTP(w, r)
	}), Options{ResultReads: 20})
	run, steps = readAll(t, checker, reading(Counts{Critical: 450, Suggestion: 120}))
	if run.State != Failed || steps != 7 || !run.Findings.Complete || run.Findings.Count != 570 {
		t.Errorf("%s after %d steps: %+v", run.State, steps, run.Findings)
	}
	if data, err := json.Marshal(run); err != nil || len(data) > 20_000 {
		t.Errorf("the run has %d bytes, error %v", len(data), err)
	}
	if len(run.Defects) != mostDefects || run.Defects[0].Severity != "critical" {
		t.Errorf("the run shows %d defects", len(run.Defects))
	}
}

// TestFindingsAreBounded: no more than the most severe are kept, and a service that
// never comes to an end is not asked for ever.
func TestFindingsAreBounded(t *testing.T) {
	service := &defectService{defects: [4]int{30, 300, 0, 5}, from: offsets()["a page's number from 0 (2024-11)"], tells: true}
	checker := testChecker(t, service, Options{MaxFindings: 150})
	run, _ := readAll(t, checker, reading(Counts{Critical: 30, Major: 300, Suggestion: 5}))
	if run.Findings.Complete || run.Findings.Count != 150 || !strings.Contains(run.Findings.Note, "more findings than the 150, the most severe") {
		t.Errorf("%+v", run.Findings)
	}
	// As many as there is room for are complete.
	checker = testChecker(t, service, Options{MaxFindings: 335})
	if run, _ = readAll(t, checker, reading(Counts{Critical: 30, Major: 300, Suggestion: 5})); !run.Findings.Complete || run.Findings.Count != 335 {
		t.Errorf("%+v", run.Findings)
	}

	var next atomic.Int64
	endless := func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"defects":[{"defect_id":"%d"}],"total":1000000}`, next.Add(1))
	}
	checker = testChecker(t, http.HandlerFunc(endless), Options{MaxFindings: 1000})
	if run, _ = readAll(t, checker, reading(Counts{Critical: 1000})); run.Findings.Complete || next.Load() > 100 {
		t.Errorf("%d requests, %+v", next.Load(), run.Findings)
	}
	// A service that repeats itself has no more.
	same := func(w http.ResponseWriter, _ *http.Request) {
		next.Add(1)
		_, _ = w.Write([]byte(`{"defects":[{"defect_id":"1"},{"defect_id":"2"}],"total":7}`))
	}
	next.Store(0)
	checker = testChecker(t, http.HandlerFunc(same), Options{})
	if run, _ = readAll(t, checker, reading(Counts{Critical: 7})); run.Findings.Complete || run.Findings.Note != "2 of 7 critical findings could be read" || next.Load() != 3 {
		t.Errorf("%d requests, %+v", next.Load(), run.Findings)
	}
}

// TestFindingsAreNotRead: with no place for them nothing is asked, and a gate that needs
// them says so.
func TestFindingsAreNotRead(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/tasks/t/progress", answer(`{"task_status":2}`))
	mux.HandleFunc("GET /v2/tasks/t/defects-summary", answer(`{"critical_count":"1","major_count":"0","minor_count":"0","suggestion_count":"0"}`))
	mux.HandleFunc("GET /v2/tasks/t/defects-statistic", answer(`{"severity":{"critical":1,"major":0,"minor":0,"suggestion":0}}`))
	checker := testChecker(t, mux, Options{MaxFindings: -1, JobID: On, ResultReads: 1})
	run := reading(Counts{})
	run.Reading = nil
	ended, _ := readAll(t, checker, run)
	if ended.State != Failed || ended.Findings != nil || len(ended.Verdict.Remarks) != 0 {
		t.Errorf("%s: %+v, remarks %q", ended.State, ended.Findings, ended.Verdict.Remarks)
	}
	none := 0
	run.Check.Gate = rules.Gate{New: &rules.Limits{Major: &none}}
	if ended, _ = readAll(t, checker, run); ended.State != Errored || !strings.Contains(ended.Reason, "huaweicloud.max_findings is 0") {
		t.Errorf("%s: %s", ended.State, ended.Reason)
	}
}

func answer(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
}

// TestBadFindings: whatever defects-detail answers, the counts are judged.
func TestBadFindings(t *testing.T) {
	for name, body := range map[string]string{
		"empty":                 ``,
		"truncated":             `{"defects":[{"defect_id":"1","def`,
		"HTML":                  `<html><body>please log in</body></html>`,
		"an error inside 200":   `{"error_code":"CC.00050013","error_msg":"project not exist"}`,
		"null":                  `null`,
		"a list":                `[{"defect_id":"1"}]`,
		"nothing of ours":       `{"result":[]}`,
		"defects are a text":    `{"defects":"none","total":1}`,
		"rows of other types":   `{"defects":[1,null,"x",[],{"defect_id":{"a":1}}],"total":"1"}`,
		"total is not a number": `{"defects":[{"defect_id":"1"}],"total":"many"}`,
		"total is negative":     `{"defects":[{"defect_id":"1"}],"total":-1}`,
		"many rows of nothing":  `{"defects":[` + strings.Repeat(`{},`, 100_000) + `{}],"total":100001}`,
		"a deep row":            `{"defects":[{"fragment":` + strings.Repeat(`[`, 5000) + strings.Repeat(`]`, 5000) + `}],"total":1}`,
	} {
		checker := testChecker(t, answer(body), Options{ResultReads: 1})
		run, _ := readAll(t, checker, reading(Counts{Major: 2}))
		if run.State != Failed || run.Verdict == nil || run.Findings.Complete || run.Findings.Note == "" || !slices.Contains(run.Verdict.Remarks, run.Findings.Note) {
			t.Errorf("%s: %s, %s, %+v", name, run.State, run.Reason, run.Findings)
		}
		if len(run.Findings.Note) > 500 {
			t.Errorf("%s: the note has %d bytes", name, len(run.Findings.Note))
		}
	}
}

// TestDefectItem reads each row of DefectInfoV2 that we use (specs/codearts-check.md 1.11,
// composed example in 1.16).
func TestDefectItem(t *testing.T) {
	const full = `{"defect_id":"5f3b","defect_checker_name":"gofmt","defect_status":"0","rule_system_tags":"style","rule_id":"123","rule_name":"G.FMT.01","line_number":"12","defect_content":"not formatted","defect_level":"1","file_path":"a/b.go","created_at":"2025-07-21T03:40:10Z","issue_key":"k","fragment":[{"line_num":"11","line_content":"{","start_offset":0,"end_offset":6},{"line_num":"12","line_content":"x := 1","start_offset":0,"end_offset":6}],"events":[]}`
	read := func(body string) Finding {
		t.Helper()
		var item defectItem
		if err := json.Unmarshal([]byte(body), &item); err != nil {
			t.Fatal(err)
		}
		return item.finding(3)
	}
	want := Finding{ID: "5f3b", Fingerprint: fingerprint("123", "a/b.go", "x := 1", ""), Severity: "major", Rule: "G.FMT.01", RuleID: "123",
		Path: "a/b.go", Line: 12, Message: "not formatted"}
	if diff := cmp.Diff(want, read(full)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	change := func(old, new string) string {
		t.Helper()
		if !strings.Contains(full, old) {
			t.Fatalf("%s is not in the example", old)
		}
		return strings.Replace(full, old, new, 1)
	}
	for row, test := range map[string]struct {
		body string
		same bool // the fingerprint
		want func(*Finding)
	}{
		"line_number is a number":          {change(`"line_number":"12"`, `"line_number":12`), true, func(*Finding) {}},
		"line_number has moved":            {strings.ReplaceAll(full, `"12"`, `"99"`), true, func(f *Finding) { f.Line = 99 }},
		"line_number is not a number":      {change(`"line_number":"12"`, `"line_number":"?"`), false, func(f *Finding) { f.Line = 0 }},
		"line_number is negative":          {change(`"line_number":"12"`, `"line_number":"-4"`), false, func(f *Finding) { f.Line = 0 }},
		"defect_level is a number":         {change(`"defect_level":"1"`, `"defect_level":0`), true, func(f *Finding) { f.Severity = "critical" }},
		"defect_level is a word":           {change(`"defect_level":"1"`, `"defect_level":"prompt"`), true, func(f *Finding) { f.Severity = "suggestion" }},
		"defect_level is normal":           {change(`"defect_level":"1"`, `"defect_level":"normal"`), true, func(f *Finding) { f.Severity = "minor" }},
		"defect_level is unknown":          {change(`"defect_level":"1"`, `"defect_level":"9"`), true, func(f *Finding) { f.Severity = "suggestion" }},
		"rule_name is missing":             {change(`"rule_name":"G.FMT.01",`, ``), true, func(f *Finding) { f.Rule = "gofmt" }},
		"rule_id is a number":              {change(`"rule_id":"123"`, `"rule_id":123`), true, func(*Finding) {}},
		"another rule":                     {change(`"rule_id":"123"`, `"rule_id":"124"`), false, func(f *Finding) { f.RuleID = "124" }},
		"another file":                     {change(`a/b.go`, `a/c.go`), false, func(f *Finding) { f.Path = "a/c.go" }},
		"another indent":                   {change(`x := 1`, `\t x :=  1 `), true, func(*Finding) {}},
		"another line of code":             {change(`x := 1`, `x := 2`), false, func(*Finding) {}},
		"another message":                  {change(`not formatted`, `unformatted`), true, func(f *Finding) { f.Message = "unformatted" }},
		"the lines around have changed":    {change(`"line_content":"{"`, `"line_content":"}"`), true, func(*Finding) {}},
		"defect_content is missing":        {change(`"defect_content":"not formatted",`, `"events":[{"main":false,"description":"no"},{"main":true,"description":"the event"}],"x":[],`), true, nil},
		"fragment is an object":            {change(`"fragment":[`, `"fragment":{"a":1},"other":[`), false, func(*Finding) {}},
		"defect_id is missing":             {change(`"defect_id":"5f3b"`, `"defect_id":null`), true, func(f *Finding) { f.ID = hashed("", f.Fingerprint, "12", f.Message) }},
		"defect_id has control characters": {change(`"5f3b"`, `"a\u0000\u202e"`), true, func(f *Finding) { f.ID = hashed("a\x00\u202e", f.Fingerprint, "12", f.Message) }},
	} {
		got := read(test.body)
		if (got.Fingerprint == want.Fingerprint) != test.same {
			t.Errorf("%s: the fingerprint is the same: %v, want %v", row, !test.same, test.same)
		}
		if test.want == nil {
			continue
		}
		changed := want
		test.want(&changed)
		got.Fingerprint = changed.Fingerprint
		if diff := cmp.Diff(changed, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row, diff)
		}
	}
	long := read(change(`not formatted`, strings.Repeat("很", 2000)))
	if len(long.Message) > longestMessage || !strings.HasSuffix(long.Message, "很…") {
		t.Errorf("a long message has %d bytes: %s", len(long.Message), long.Message[len(long.Message)-9:])
	}
	// Without code the message tells findings apart, but for the lines that it names.
	messages := map[string]bool{}
	for _, text := range []string{"declared at line 12", "declared at line 99", "not declared"} {
		messages[read(`{"rule_id":"1","file_path":"a","defect_content":"`+text+`"}`).Fingerprint] = true
	}
	if len(messages) != 2 {
		t.Errorf("three messages have %d fingerprints, want 2", len(messages))
	}
}

// TestCompareFindings: of several equal findings as many are old as there were before.
func TestCompareFindings(t *testing.T) {
	list := []Finding{
		{Fingerprint: "a", Severity: "critical"}, {Fingerprint: "b", Severity: "major"}, {Fingerprint: "b", Severity: "major"},
		{Fingerprint: "b", Severity: "major"}, {Fingerprint: "c", Severity: "minor"}, {Fingerprint: "d", Severity: "suggestion"},
	}
	fresh := compareFindings(list, []Finding{{Fingerprint: "b"}, {Fingerprint: "b"}, {Fingerprint: "c"}, {Fingerprint: "gone"}})
	if want := (Counts{Critical: 1, Major: 1, Suggestion: 1}); fresh != want {
		t.Errorf("new: %+v, want %+v", fresh, want)
	}
	var states []Baseline
	for _, f := range list {
		states = append(states, f.Baseline)
	}
	if want := []Baseline{"new", "unchanged", "unchanged", "new", "unchanged", "new"}; !slices.Equal(states, want) {
		t.Errorf("%q, want %q", states, want)
	}
}

// TestSharedFindings: a run that shares an execution is judged by its own gate, from the
// counts and findings of the other one.
func TestSharedFindings(t *testing.T) {
	none := 0
	other := testRun(time.Now())
	other.ID, other.State, other.Counts, other.NewCounts, other.NewCountsFrom = "other", Passed, Counts{Major: 2}, &Counts{Major: 1}, NewFromFindings
	other.Findings = &FindingsState{RunID: "other", Count: 2, Complete: true, BaselineRunID: "base"}
	verdict := Judge(rules.Gate{}, other.facts("1", AccessPassed))
	other.Verdict = &verdict
	for reason, gate := range map[string]rules.Gate{
		"new major 1 > 0":                  {New: &rules.Limits{Major: &none}},
		"CodeArts Check's own gate passed": {CodeArtsGate: rules.AccessRequire},
	} {
		run := testRun(time.Now())
		run.Check.Gate = gate
		got := run.JudgedLike(other)
		if !strings.Contains(got.Reason, reason) || got.NewCountsFrom != NewFromFindings || got.Findings.RunID != "other" || got.IsBaseline() {
			t.Errorf("%s: %s, findings %+v", got.State, got.Reason, got.Findings)
		}
	}
	if !other.IsBaseline() {
		t.Error("the other one is not a baseline")
	}
}

// TestFindingsAfterALostSave: of what a step read the findings were kept and the position was
// not, or the other way round. The next step reads from the start, and misses nothing.
func TestFindingsAfterALostSave(t *testing.T) {
	for _, lost := range []string{"position", "findings"} {
		service := &defectService{defects: [4]int{0, 950, 0, 0}, from: offsets()["a page's number from 0 (2024-11)"]}
		var requests atomic.Int64
		checker := testChecker(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if requests.Add(1) == 5 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			service.ServeHTTP(w, r)
		}), Options{})
		before := reading(Counts{Major: 950})
		run, _, err := checker.Poll(t.Context(), before)
		if err != nil || run.Reading.Pages != 4 {
			t.Fatalf("%+v, %v", run.Reading, err)
		}
		if lost == "position" {
			run = before
		} else if err := checker.options.Findings.SaveFindings(t.Context(), run.ID, nil); err != nil {
			t.Fatal(err)
		}
		if run, _ = readAll(t, checker, run); !run.Findings.Complete || run.Findings.Count != 950 {
			t.Errorf("%s lost: %+v", lost, run.Findings)
		}
	}
}
