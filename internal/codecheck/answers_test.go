package codecheck

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/huaweicloud"
)

// answering is an api whose every call is answered with a body, without a network.
func answering(tb testing.TB, body []byte) api {
	tb.Helper()
	client, err := huaweicloud.New(huaweicloud.Options{
		Service: "codecheck", Endpoint: "http://127.0.0.1", Retries: -1,
		HTTP: &http.Client{Transport: fixedAnswer(body)},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return api{client}
}

// fixedAnswer answers every request with itself.
type fixedAnswer []byte

func (b fixedAnswer) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: r, Body: io.NopCloser(strings.NewReader(string(b)))}, nil
}

// seed is a body of testdata/answers, which are from specs/codearts-check.md 1.8 to 1.12,
// 1.16 and 5.1.
func seed(tb testing.TB, name string) []byte {
	tb.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", "answers", name))
	if err != nil {
		tb.Fatal(err)
	}
	return body
}

// FuzzAnswers: whatever a service answers to a question about an execution, reading it
// does not panic, and what is taken from it is bounded and makes sense.
func FuzzAnswers(f *testing.F) {
	files, err := filepath.Glob("testdata/answers/*")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		f.Add(seed(f, filepath.Base(file)))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a, ctx := answering(t, body), context.Background()
		if status, err := a.progress(ctx, "t", "e"); err == nil && !status.set && status.n != 0 {
			t.Errorf("progress: %+v", status)
		}
		if _, err := a.latestJob(ctx, "t"); err != nil && len(err.Error()) > 2000 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
		s, err := a.summary(ctx, "t", "e")
		if c, counted := s.newCounts(); err == nil && counted && min(c.Critical, c.Major, c.Minor, c.Suggestion) < 0 {
			t.Errorf("summary counts %+v", c)
		}
		if c, counted, err := a.statistic(ctx, "t"); counted && (err != nil || min(c.Critical, c.Major, c.Minor, c.Suggestion) < 0) {
			t.Errorf("statistic %+v, error %v", c, err)
		}
		entries, _ := a.failureLog(ctx, "p", "t", "e")
		if why := summarizeLog(failingStep(entries)); len([]rune(why)) > longestReason+1 {
			t.Errorf("a reason of %d bytes", len(why))
		}
		page, err := a.defects(ctx, "t", 2, 0)
		if err != nil && len(page.findings) > 0 || len(page.findings) > page.rows || page.rows > laxLongest {
			t.Errorf("%d findings in %d rows, error %v", len(page.findings), page.rows, err)
		}
		ids := map[string]bool{}
		for _, found := range page.findings {
			if found.ID == "" || len(found.ID) > longestID || ids[found.ID] || len(found.Fingerprint) != 32 || found.Line < 0 ||
				len(found.Rule) > longestRule || len(found.RuleID) > longestRule || len(found.Path) > longestPath || len(found.Message) > longestMessage {
				t.Errorf("finding %+v", found)
			}
			if !utf8.ValidString(found.ID + found.Rule + found.RuleID + found.Path + found.Message) {
				t.Errorf("finding %+v is not UTF-8", found)
			}
			ids[found.ID] = true
		}
	})
}

// TestSummaryRows reads each row of defects-summary that we use, in the types that the
// editions have (specs/codearts-check.md 1.9; ShowTaskDetailV2).
func TestSummaryRows(t *testing.T) {
	example := string(seed(t, "summary.json"))
	fresh := Counts{Major: 1, Minor: 2}
	for row, change := range map[string][2]string{
		"as documented":               {`"critical_count":"0"`, `"critical_count":"0"`},
		"counts are numbers":          {`"major_count":"1","minor_count":"2"`, `"major_count":1,"minor_count":2.0`},
		"new counts are numbers":      {`"new_major_count":"1"`, `"new_major_count":1`},
		"is_access is a number":       {`"is_access":"1"`, `"is_access":1`},
		"taskId instead of task_id":   {`"task_id"`, `"taskId"`},
		"other fields of other types": {`"code_quality":1.5`, `"code_quality":"1.5","code_line":[],"git_url":{}`},
	} {
		if !strings.Contains(example, change[0]) {
			t.Fatalf("%s: %s is not in the example", row, change[0])
		}
		s, err := answering(t, []byte(strings.Replace(example, change[0], change[1], 1))).summary(t.Context(), "t", "e")
		counts, _ := fourCounts(s.Critical, s.Major, s.Minor, s.Suggestion)
		newCounts, counted := s.newCounts()
		if err != nil || !s.counted() || counts != fresh || !counted || newCounts != fresh || s.Access != "1" ||
			checkTime(s) != "2025-07-21T03:38:53Z 2025-07-21T03:40:10Z" {
			t.Errorf("%s: %+v, error %v", row, s, err)
		}
	}
	for row, change := range map[string][2]string{
		"a count is missing":  {`"critical_count":"0",`, ``},
		"a count is null":     {`"critical_count":"0"`, `"critical_count":null`},
		"a count is empty":    {`"critical_count":"0"`, `"critical_count":""`},
		"a count is negative": {`"critical_count":"0"`, `"critical_count":"-1"`},
	} {
		s, err := answering(t, []byte(strings.Replace(example, change[0], change[1], 1))).summary(t.Context(), "t", "e")
		if err != nil || s.counted() {
			t.Errorf("%s: counted %v, error %v", row, s.counted(), err)
		}
	}
}

// TestStatisticRows reads the four counts of defects-statistic
// (specs/codearts-check.md 1.10; codecheck_api_1024).
func TestStatisticRows(t *testing.T) {
	example := string(seed(t, "statistic.json"))
	for row, test := range map[string]struct {
		old, new string
		counted  bool
	}{
		"as documented":       {`"critical":0`, `"critical":0`, true},
		"counts are texts":    {`"major":1,"minor":2`, `"major":"1","minor":"2"`, true},
		"a count is missing":  {`"critical":0,`, ``, false},
		"a count is null":     {`"critical":0`, `"critical":null`, false},
		"a count is negative": {`"critical":0`, `"critical":-1`, false},
	} {
		counts, counted, err := answering(t, []byte(strings.Replace(example, test.old, test.new, 1))).statistic(t.Context(), "t")
		if err != nil || counted != test.counted {
			t.Errorf("%s: counted %v, error %v", row, counted, err)
		}
		if diff := cmp.Diff(Counts{Major: 1, Minor: 2}, counts); counted && diff != "" {
			t.Errorf("%s: (-want +got):\n%s", row, diff)
		}
	}
}

// TestBadResults: of summary and statistic one is enough, whatever the other one answers;
// with neither the run ends as errored and says why.
func TestBadResults(t *testing.T) {
	const noCounts = "neither its summary nor its statistic has counts"
	for name, bad := range map[string]string{
		"empty":               ``,
		"truncated":           `{"critical_count":"0","major_co`,
		"HTML":                string(seed(t, "gateway.html")),
		"an error inside 200": string(seed(t, "error.json")),
		"the old envelope":    string(seed(t, "summary-old-envelope.json")),
		"null":                `null`,
		"a list":              `[]`,
		"counts of no number": `{"critical_count":"many","severity":{"critical":"many"}}`,
		"counts are objects":  `{"critical_count":{},"severity":[]}`,
		"enormous":            `{"critical_count":"` + strings.Repeat("9", 1<<20) + `"}`,
	} {
		ends := func(summary, statistic string) Run {
			t.Helper()
			mux := http.NewServeMux()
			mux.HandleFunc("GET /v2/tasks/t/progress", answer(string(seed(t, "progress-finished.json"))))
			mux.HandleFunc("GET /v2/tasks/t/defects-summary", answer(summary))
			mux.HandleFunc("GET /v2/tasks/t/defects-statistic", answer(statistic))
			checker := testChecker(t, mux, Options{JobID: On, ResultReads: 1, MaxFindings: -1})
			run := reading(Counts{})
			run.Reading = nil
			run, _ = readAll(t, checker, run)
			if len(run.Reason) > 3000 {
				t.Errorf("%s: a reason of %d bytes", name, len(run.Reason))
			}
			return run
		}
		good := string(seed(t, "summary.json"))
		if run := ends(good, bad); run.State != Failed || run.Counts.Major != 1 {
			t.Errorf("%s as statistic: %s, %s", name, run.State, run.Reason)
		}
		if run := ends(bad, string(seed(t, "statistic.json"))); run.State != Failed || run.Counts.Major != 1 || len(run.Verdict.Remarks) == 0 {
			t.Errorf("%s as summary: %s, %s", name, run.State, run.Reason)
		}
		if run := ends(bad, bad); run.State != Errored || !strings.Contains(run.Reason, noCounts) {
			t.Errorf("%s as both: %s, %s", name, run.State, run.Reason)
		}
	}
}
