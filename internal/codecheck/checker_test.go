package codecheck

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewright/gatewright/internal/huaweicloud"
)

func testClient(t *testing.T, handler http.Handler) *huaweicloud.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	signer, err := huaweicloud.NewSigner(huaweicloud.SignerOptions{AccessKey: testAccessKey, SecretKey: testSecretKey})
	if err != nil {
		t.Fatal(err)
	}
	client, err := huaweicloud.New(huaweicloud.Options{Service: "codecheck", Endpoint: server.URL, Auth: signer, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	return client
}

func testChecker(t *testing.T, handler http.Handler, o Options) *Checker {
	t.Helper()
	kept := newMemory()
	o.Client, o.Memory, o.Findings = testClient(t, handler), kept, kept
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func testRun(now time.Time) Run {
	check := testCheck()
	return Run{ID: "run-1", Event: testEvent(), Check: check, State: Queued, CreatedAt: now, Deadline: now.Add(check.Timeout)}
}

func noSave(Run) {}

func TestNewRefusesWrongOptions(t *testing.T) {
	client := testClient(t, http.NotFoundHandler())
	for name, o := range map[string]Options{
		"no client":     {Memory: newMemory()},
		"no memory":     {Client: client},
		"other dialect": {Client: client, Memory: newMemory(), Dialect: "2024"},
		"bad pattern":   {Client: client, Memory: newMemory(), PullFailurePatterns: []string{"("}},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: a checker was made", name)
		}
	}
}

// The three readings of `offset` must all give every task once.
func TestListReadsEveryPage(t *testing.T) {
	readings := map[string]func(offset, total int) (from int){
		"page number from 0":        func(offset, _ int) int { return offset * 100 },
		"page 0 and 1 are the same": func(offset, _ int) int { return max(offset-1, 0) * 100 },
		"number of a record":        func(offset, _ int) int { return offset },
	}
	for name, from := range readings {
		for _, total := range []int{0, 1, 99, 100, 101, 200, 250, 1000} {
			for _, tells := range []bool{true, false} {
				var requests atomic.Int64
				handler := func(w http.ResponseWriter, r *http.Request) {
					requests.Add(1)
					offset, _ := strconv.Atoi(r.URL.Query().Get("offset"))
					tasks := []map[string]any{}
					for i := from(offset, total); i < min(from(offset, total)+100, total); i++ {
						tasks = append(tasks, map[string]any{"task_id": fmt.Sprint("t", i), "git_branch": "b"})
					}
					answer := map[string]any{"tasks": tasks}
					if tells {
						answer["total"] = total
					}
					_ = json.NewEncoder(w).Encode(answer)
				}
				client := testClient(t, http.HandlerFunc(handler))
				pages := newTaskPages(api{client}, testProject, 50)
				listed := 0
				for last := false; !last; {
					var tasks []listedTask
					var err error
					if tasks, last, err = pages.next(t.Context()); err != nil {
						t.Fatalf("%s, %d tasks: %v", name, total, err)
					}
					listed += len(tasks)
				}
				if listed != total {
					t.Errorf("%s, %d tasks: listed %d", name, total, listed)
				}
				if most := int64(total/100 + 4); requests.Load() > most {
					t.Errorf("%s, %d tasks: %d requests, want at most %d", name, total, requests.Load(), most)
				}
			}
		}
	}
}

func TestListIsBounded(t *testing.T) {
	var next atomic.Int64
	endless := func(w http.ResponseWriter, _ *http.Request) {
		var tasks []map[string]any
		for range 100 {
			tasks = append(tasks, map[string]any{"task_id": fmt.Sprint("t", next.Add(1))})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"tasks": tasks})
	}
	checker := testChecker(t, http.HandlerFunc(endless), Options{MaxPages: 5})
	run, _, err := start(t.Context(), checker, testRun(time.Now()), noSave)
	if err != nil || run.State != Errored || !strings.Contains(run.Reason, "more than 5 pages") {
		t.Errorf("%s: %s, error %v", run.State, run.Reason, err)
	}
}

// A server that is going down must not turn its runs into errored ones.
func TestCancelledStepsEndNothing(t *testing.T) {
	checker := testChecker(t, http.NotFoundHandler(), Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	run, _, err := start(ctx, checker, testRun(time.Now()), noSave)
	if err == nil || run.State.Ended() {
		t.Errorf("start: %s, error %v", run.State, err)
	}
	run = testRun(time.Now())
	run.State, run.Task.ID, run.ExecID = Running, "t", "e"
	for name, deadline := range map[string]time.Time{"poll": run.Deadline, "poll after the deadline": run.CreatedAt} {
		run.Deadline = deadline
		got, _, err := checker.Poll(ctx, run)
		if err == nil || got.State.Ended() {
			t.Errorf("%s: %s, error %v", name, got.State, err)
		}
	}
}

// A service that never answers takes all the time of every step; past its deadline
// the run ends all the same.
func TestDeadlineWithoutAnyAnswer(t *testing.T) {
	checker := testChecker(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	run := testRun(time.Now())
	run.State, run.Task.ID, run.ExecID, run.Deadline = Running, "t", "e", run.CreatedAt
	if got, _, err := checker.Poll(ctx, run); err != nil || got.State != Errored {
		t.Errorf("%s, error %v", got.State, err)
	}
}

// Prepare sends nothing that starts an execution, and Send nothing without an intent.
func TestIntentComesBeforeTheRequest(t *testing.T) {
	var ran atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v2/tasks/{task}/run", func(w http.ResponseWriter, _ *http.Request) {
		ran.Add(1)
		_, _ = w.Write([]byte(`{"exec_id":"e"}`))
	})
	checker := testChecker(t, mux, Options{})
	run := testRun(time.Now())
	run.Task.ID, run.State = "t", Starting
	if got, wait, err := checker.Send(t.Context(), run); err != nil || wait != 0 || ran.Load() != 0 {
		t.Errorf("send without an intent: %s, error %v, %d requests", got.State, err, ran.Load())
	}
	prepared, send, wait, err := checker.Prepare(t.Context(), run)
	if err != nil || !send || wait != 0 || prepared.State != Starting || prepared.Intent == nil || ran.Load() != 0 {
		t.Fatalf("prepare: %s, send %v, wait %s, intent %v, error %v, %d requests", prepared.State, send, wait, prepared.Intent, err, ran.Load())
	}
	if got, _, err := checker.Send(t.Context(), prepared); err != nil || got.State != Running || got.ExecID != "e" || ran.Load() != 1 {
		t.Errorf("send: %s, error %v, %d requests", got.State, err, ran.Load())
	}
}

func TestEndedRunsAreLeftAlone(t *testing.T) {
	checker := testChecker(t, http.NotFoundHandler(), Options{})
	for _, state := range States() {
		run := testRun(time.Now())
		run.State = state
		if state.Ended() || state == Running {
			got, wait, err := start(t.Context(), checker, run, noSave)
			if diff := cmp.Diff(run, got); diff != "" || wait != 0 || err != nil {
				t.Errorf("start of a %s run: %s", state, diff)
			}
		}
		if state != Running {
			got, wait, err := checker.Poll(t.Context(), run)
			if diff := cmp.Diff(run, got); diff != "" || wait != 0 || err != nil {
				t.Errorf("poll of a %s run: %s", state, diff)
			}
		}
	}
}

func TestRepoTypes(t *testing.T) {
	checker := testChecker(t, http.NotFoundHandler(), Options{RepoType: func(connection string) string {
		return map[string]string{"private": "self_gitlab"}[connection]
	}})
	for want, change := range map[string]func(*Run){
		"GitPub":      func(*Run) {},
		"self_gitlab": func(r *Run) { r.Event.Connection = "private" },
		"bitbucket":   func(r *Run) { r.Event.Connection, r.Check.RepoType = "private", "bitbucket" },
	} {
		run := testRun(time.Now())
		change(&run)
		if got := checker.repoType(run); got != want {
			t.Errorf("repo_type %s, want %s", got, want)
		}
	}
}

func TestPullFailures(t *testing.T) {
	checker := testChecker(t, http.NotFoundHandler(), Options{})
	for log, want := range map[string]bool{
		"":   true,
		"\n": true,
		"fatal: couldn't find remote ref refs/merge-requests/7/head": true,
		"reference not found":                       true,
		"Failed to pull the merge request's code":   true,
		"error: fetching code failed with status 1": true,
		"拉取MR代码失败":                                  true,
		"下载代码失败，请检查仓库权限":                            true,
		"CC.00070400.500 more than 300000 findings": false,
		"compilation failed: undefined symbol":      false,
		"building refs/pull/7/head\ncompile failed": false,
		"failed to fetch module example.com/x":      false,
		"failed to download dependencies":           false,
		"下载依赖失败":                                    false,
		"fatal: couldn't find remote ref x" + strings.Repeat("\nretrying", failingLines) + "\ncompilation failed": false,
	} {
		if got := checker.pullFailed(failingStep([]logEntry{{Log: text(log)}})); got != want {
			t.Errorf("%q: %v, want %v", log, got, want)
		}
	}
	if !checker.pullFailed(failingStep(nil)) {
		t.Error("an unreadable log was taken for a log without a pull failure")
	}
}

func TestSummarizedLog(t *testing.T) {
	entries := []logEntry{
		{Level: "info", Log: "Cloning"},
		{Level: "ERROR", Log: "Cloning\n> git fetch https://u:t0ken@git.acme/a.git\r\n\tfatal: no such ref\n\n"},
		{Level: "info", Log: "done"},
	}
	if got, want := summarizeLog(failingStep(entries)), "> git fetch https://***@git.acme/a.git fatal: no such ref"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := summarizeLog(failingStep(entries[2:])); got != "done" {
		t.Errorf("%q, want the last entry where none is an error", got)
	}
	if got := summarizeLog(strings.Repeat("x", 1000)); len(got) > longestReason+len("…") {
		t.Errorf("a long log is quoted in %d bytes", len(got))
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/{project}/tasks", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"tasks":[{"task_id":"t","git_url":"https://github.com/acme/api","git_branch":"main"}]}`))
	})
	mux.HandleFunc("POST /v2/tasks/{task}/run", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"error_code":"CC.00050000","error_msg":"parameters not valid"}`))
	})
	checker := testChecker(t, mux, Options{Metrics: NewMetrics(registry)})
	for range 2 {
		if run, _, err := start(t.Context(), checker, testRun(time.Now()), noSave); err != nil || run.State != Errored {
			t.Fatalf("%s, error %v", run.State, err)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if value := m.GetCounter().GetValue(); value > 0 {
				got[family.GetName()+" "+m.GetLabel()[0].GetValue()] = value
			}
		}
	}
	want := map[string]float64{
		"gatewright_task_lookups_total found":      1,
		"gatewright_task_lookups_total remembered": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
