package codecheck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/rules"
)

func testClient(t *testing.T, handler http.Handler) *huaweicloud.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	client, err := huaweicloud.New(huaweicloud.Options{Service: "codecheck", Endpoint: server.URL, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	return client
}

func testChecker(t *testing.T, handler http.Handler, o Options) *Checker {
	t.Helper()
	o.Client, o.Memory = testClient(t, handler), newMemory()
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

func noSave(context.Context, Run) error { return nil }

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
				listed, err := api{client: client, maxPages: 50}.list(t.Context(), testProject)
				if err != nil || len(listed) != total {
					t.Errorf("%s, %d tasks: listed %d, error %v", name, total, len(listed), err)
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
	run, _, err := checker.Start(t.Context(), testRun(time.Now()), noSave)
	if err != nil || run.State != Errored || !strings.Contains(run.Reason, "more than 5 pages") {
		t.Errorf("%s: %s, error %v", run.State, run.Reason, err)
	}
}

// Merge requests that come at once into a branch without a task make one full
// task for it, not one each.
func TestParentIsCreatedOnce(t *testing.T) {
	var mu sync.Mutex
	full, incremental := 0, 0
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/{project}/tasks", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"tasks":[],"total":0}`))
	})
	mux.HandleFunc("POST /v3/task", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		full++
		_, _ = fmt.Fprintf(w, `{"httpStatus":"OK","status":"success","result":{"id":"full-%d"}}`, full)
	})
	mux.HandleFunc("POST /v2/{project}/task", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		incremental++
		_, _ = fmt.Fprintf(w, `{"task_id":"inc-%d"}`, incremental)
	})
	mux.HandleFunc("POST /v2/tasks/{task}/run", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"exec_id":"of-%s"}`, r.PathValue("task"))
	})
	checker := testChecker(t, mux, Options{})
	var group sync.WaitGroup
	for number := range 20 {
		group.Go(func() {
			run := testRun(time.Now())
			run.Event.Kind, run.Event.Number, run.Event.SourceBranch = event.MergeRequest, number+1, "topic"
			run.Check.Scan = rules.ScanIncremental
			run, _, err := checker.Start(t.Context(), run, noSave)
			if err != nil || run.State != Running || run.Task.ParentID != "full-1" {
				t.Errorf("%s: %s (parent %s), error %v", run.State, run.Reason, run.Task.ParentID, err)
			}
		})
	}
	group.Wait()
	if full != 1 || incremental != 20 {
		t.Errorf("%d full and %d incremental tasks, want 1 and 20", full, incremental)
	}
}

func TestWaitingForALockEndsWithTheContext(t *testing.T) {
	locks := newKeyedLock()
	unlock, err := locks.lock(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := locks.lock(ctx, "key"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	unlock()
	again, err := locks.lock(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	again()
	if len(locks.held) != 0 {
		t.Errorf("%d locks are left", len(locks.held))
	}
}

// A server that is going down must not turn its runs into errored ones.
func TestCancelledStepsEndNothing(t *testing.T) {
	checker := testChecker(t, http.NotFoundHandler(), Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	run, _, err := checker.Start(ctx, testRun(time.Now()), noSave)
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

// Nothing is sent when the intent cannot be saved.
func TestIntentComesBeforeTheRequest(t *testing.T) {
	var ran atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v2/tasks/{task}/run", func(http.ResponseWriter, *http.Request) { ran.Store(true) })
	checker := testChecker(t, mux, Options{})
	run := testRun(time.Now())
	run.Task.ID = "t"
	broken := errors.New("disk full")
	got, _, err := checker.Start(t.Context(), run, func(context.Context, Run) error { return broken })
	if !errors.Is(err, broken) || got.State.Ended() || ran.Load() {
		t.Errorf("%s, error %v, ran %v", got.State, err, ran.Load())
	}
}

func TestEndedRunsAreLeftAlone(t *testing.T) {
	checker := testChecker(t, http.NotFoundHandler(), Options{})
	for _, state := range States() {
		run := testRun(time.Now())
		run.State = state
		if state.Ended() || state == Running {
			got, wait, err := checker.Start(t.Context(), run, noSave)
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
	} {
		if got := checker.pullFailed([]logEntry{{Log: text(log)}}); got != want {
			t.Errorf("%q: %v, want %v", log, got, want)
		}
	}
	if !checker.pullFailed(nil) {
		t.Error("an unreadable log was taken for a log without a pull failure")
	}
}

func TestQuotedLog(t *testing.T) {
	entries := []logEntry{
		{Level: "info", Log: "Cloning"},
		{Level: "ERROR", Log: "Cloning\n> git fetch https://u:t0ken@git.acme/a.git\r\n\tfatal: no such ref\n\n"},
		{Level: "info", Log: "done"},
	}
	if got, want := quoted(entries), "> git fetch https://***@git.acme/a.git fatal: no such ref"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := quoted(entries[2:]); got != "done" {
		t.Errorf("%q, want the last entry where none is an error", got)
	}
	if got := quoted([]logEntry{{Log: text(strings.Repeat("x", 1000))}}); len(got) > longestReason+len("…") {
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
		if run, _, err := checker.Start(t.Context(), testRun(time.Now()), noSave); err != nil || run.State != Errored {
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
		"gatewright_runs_finished_total errored":   2,
		"gatewright_task_lookups_total found":      1,
		"gatewright_task_lookups_total remembered": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
