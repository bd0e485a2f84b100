package standin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/golden"
	"github.com/gatewright/gatewright/internal/standin"
)

// putFaults sets faults over HTTP, as an operator does.
func (c *client) putFaults(body string, status int) {
	c.t.Helper()
	if res, raw := c.send(http.MethodPut, "/standin/faults", body, nil); res.StatusCode != status {
		c.t.Fatalf("put faults: %d %s", res.StatusCode, raw)
	}
}

func TestFaults(t *testing.T) {
	opts := sample(t)
	c := serve(t, opts)
	list := "/v2/" + project + "/tasks"

	c.putFaults(`{"faults":[{"kind":"throttle","operations":["list_tasks"],"next":2,"retry_after":3}]}`, 204)
	for i, want := range []int{429, 429, 200} {
		res, raw := c.send(http.MethodGet, list, "", map[string]string{"X-Auth-Token": c.token})
		if res.StatusCode != want || want == 429 && (res.Header.Get("Retry-After") != "3" || !strings.Contains(string(raw), "APIGW.0308")) {
			t.Errorf("request %d: %d %q %s", i, res.StatusCode, res.Header.Get("Retry-After"), raw)
		}
	}
	c.putFaults(`{"faults":[{"kind":"throttle","next":1,"skip":1}]}`, 204)
	for i, want := range []int{200, 429, 200} {
		if res, _ := c.send(http.MethodGet, list, "", map[string]string{"X-Auth-Token": c.token}); res.StatusCode != want || res.Header.Get("Retry-After") != "" {
			t.Errorf("request %d: %d", i, res.StatusCode)
		}
	}
	for _, status := range []int{500, 502, 503, 504} {
		c.putFaults(fmt.Sprintf(`{"faults":[{"kind":"status","status":%d,"next":1}]}`, status), 204)
		res, raw := c.send(http.MethodGet, list, "", map[string]string{"X-Auth-Token": c.token})
		if res.StatusCode != status || json.Valid(raw) == (status == 502) {
			t.Errorf("status %d: %d %s", status, res.StatusCode, raw)
		}
	}
	c.putFaults(`{"faults":[{"kind":"busy","next":1}]}`, 204)
	if body := c.call(400, http.MethodGet, list, ""); body["error_code"] != "CC.00000000" {
		t.Errorf("busy: %v", body)
	}
	c.putFaults(`{"faults":[{"kind":"task_running","operations":["run_task"],"next":1}]}`, 204)
	if body := c.call(200, http.MethodPost, "/v2/tasks/"+opts.Tasks[0].ID+"/run", "{}"); body["error_code"] != "CC.00050015" {
		t.Errorf("task_running: %v", body)
	}
	c.putFaults(`{"faults":[{"kind":"latency","delay_ms":30,"next":1}]}`, 204)
	began := time.Now()
	c.call(200, http.MethodGet, list, "")
	if took := time.Since(began); took < 30*time.Millisecond {
		t.Errorf("latency: %v", took)
	}

	c.putFaults(`{"faults":[{"kind":"expired","operations":["list_tasks"],"next":1}]}`, 204)
	for range 2 {
		if body := c.call(401, http.MethodGet, list, ""); body["error_code"] != "APIGW.0307" {
			t.Errorf("expired: %v", body)
		}
	}
	c.token = c.login(opts)
	c.call(200, http.MethodGet, list, "")

	for _, bad := range []string{`{"faults":[{"kind":"earthquake"}]}`, `{"faults":[{"kind":"status","status":418}]}`, `{"faults":[{"kind":"lost","share":2}]}`, `nonsense`} {
		c.putFaults(bad, 400)
	}
	if _, raw := c.send(http.MethodGet, "/standin/faults", "", nil); !strings.Contains(string(raw), `"expired"`) {
		t.Errorf("a refused change changed the faults: %s", raw)
	}
}

func TestShareIsTheSameForOneSeed(t *testing.T) {
	pattern := func(seed int) string {
		c := serve(t, sample(t))
		c.putFaults(fmt.Sprintf(`{"faults":[{"kind":"throttle","share":0.5,"seed":%d}]}`, seed), 204)
		var hits strings.Builder
		for range 40 {
			res, _ := c.send(http.MethodGet, "/v2/"+project+"/tasks", "", map[string]string{"X-Auth-Token": c.token})
			fmt.Fprint(&hits, res.StatusCode/400)
		}
		return hits.String()
	}
	one, again, other := pattern(1), pattern(1), pattern(2)
	if one != again || one == other || !strings.Contains(one, "0") || !strings.Contains(one, "1") {
		t.Errorf("%s\n%s\n%s", one, again, other)
	}
}

// TestLostAnswers: the stand-in acts, the caller learns nothing.
func TestLostAnswers(t *testing.T) {
	opts := sample(t)
	c := serve(t, opts)
	c.putFaults(`{"faults":[{"kind":"lost","operations":["run_task","operate_pipeline"]}]}`, 204)
	headers := map[string]string{"X-Auth-Token": c.token, "Content-Type": "application/json"}
	for _, path := range []string{"/v2/tasks/" + opts.Tasks[0].ID + "/run", pipelines + "/" + pipeline + "/action?action_id=start"} {
		if _, _, err := c.try(http.MethodPost, path, "{}", headers); !errors.Is(err, io.EOF) {
			t.Errorf("%s: answered, or failed as %v", path, err)
		}
	}
	if records := c.call(200, http.MethodGet, pipelines+"/"+pipeline+"/records", ""); records["count"] != 1.0 {
		t.Errorf("the start had no effect: %v", records)
	}
	counts := c.server.Counts()
	if counts.Acted["run_task"] != 1 || counts.Acted["operate_pipeline/start"] != 1 {
		t.Errorf("counts: %+v", counts)
	}
	lost := 0
	for _, call := range c.server.Calls() {
		if call.Lost && call.Acted && call.Status == 200 && call.Execution != "" {
			lost++
		}
	}
	if lost != 2 {
		t.Errorf("the journal has %d lost answers", lost)
	}
}

func TestJournal(t *testing.T) {
	opts := sample(t)
	opts.JournalSize = 3
	c := serve(t, opts) // the login is call 1
	c.call(200, http.MethodPost, "/v2/tasks/"+opts.Tasks[0].ID+"/run", `{"ref":"pull"}`)
	c.call(200, http.MethodPost, pipelines+"/"+pipeline+"/action?action_id=start", "{}")
	c.call(400, http.MethodPost, pipelines+"/"+pipeline+"/action?action_id=approval", `{"task_name":"x","approval_type":"agree"}`)
	c.call(400, http.MethodPost, pipelines+"/"+pipeline+"/action?action_id=whatever-a-stranger-sends", "{}")

	calls := c.server.Calls()
	type brief struct {
		Seq                                     int64
		Operation, Pipeline, Action, Task, Exec string
		Status                                  int
		Code                                    string
		Acted                                   bool
	}
	var got []brief
	for _, call := range calls {
		if call.Time.IsZero() || call.Status >= 400 && call.Detail == "" {
			t.Errorf("call %+v", call)
		}
		got = append(got, brief{call.Seq, call.Operation, call.Pipeline, call.Action, call.TaskName, call.Execution, call.Status, call.Code, call.Acted})
	}
	want := []brief{
		{3, "operate_pipeline", pipeline, "start", "", "286541", 200, "", true},
		{4, "operate_pipeline", pipeline, "approval", "x", "", 400, "SVCSTG.00100400", false},
		{5, "operate_pipeline", pipeline, "unknown", "", "", 400, "SVCSTG.00100400", false},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	counts := standin.Counts{
		Calls:   map[string]int64{"create_token": 1, "run_task": 1, "operate_pipeline/start": 1, "operate_pipeline/approval": 1, "operate_pipeline/unknown": 1},
		Acted:   map[string]int64{"create_token": 1, "run_task": 1, "operate_pipeline/start": 1},
		Refused: map[string]int64{"SVCSTG.00100400": 2},
	}
	if diff := cmp.Diff(counts, c.server.Counts()); diff != "" {
		t.Error(diff)
	}
	_, raw := c.send(http.MethodGet, "/standin/calls?after=4", "", nil)
	var later []standin.Call
	if err := json.Unmarshal(raw, &later); err != nil || len(later) != 1 || later[0].Seq != 5 {
		t.Errorf("after 4: %v %s", err, raw)
	}
	if _, raw := c.send(http.MethodGet, "/standin/counts", "", nil); !strings.Contains(string(raw), `"operate_pipeline/start":1`) {
		t.Errorf("counts: %s", raw)
	}
}

func TestHelperPathsAreForTheLoopback(t *testing.T) {
	c := serve(t, sample(t))
	for _, path := range []string{"/standin/calls", "/standin/counts", "/standin/faults"} {
		req := httptest.NewRequest(http.MethodGet, path, nil)
		req.RemoteAddr = "192.0.2.1:1234"
		res := httptest.NewRecorder()
		c.server.Handler().ServeHTTP(res, req)
		if res.Code != http.StatusForbidden {
			t.Errorf("%s: %d", path, res.Code)
		}
	}
}

// TestOneExecutionAtATime: of many runs at once one is started, whoever wins.
func TestOneExecutionAtATime(t *testing.T) {
	opts := sample(t)
	opts.ScanDelay = time.Hour
	c := serve(t, opts)
	task := opts.Tasks[0].ID
	var (
		mu      sync.Mutex
		answers []string
		callers sync.WaitGroup
	)
	for range 8 {
		callers.Go(func() {
			body := c.call(200, http.MethodPost, "/v2/tasks/"+task+"/run", "{}")
			mu.Lock()
			defer mu.Unlock()
			if code, _ := body["error_code"].(string); code != "" {
				answers = append(answers, code)
			} else {
				answers = append(answers, "started")
			}
		})
	}
	callers.Wait()
	slices.Sort(answers)
	want := []string{"CC.00050015", "CC.00050015", "CC.00050015", "CC.00050015", "CC.00050015", "CC.00050015", "CC.00050015", "started"}
	if diff := cmp.Diff(want, answers); diff != "" {
		t.Error(diff)
	}

	progress := c.call(200, http.MethodGet, "/v2/tasks/"+task+"/progress", "")
	if info, _ := progress["progress"].(map[string]any); progress["task_status"] != 0.0 || info["ratio"] != "0%" || info["info"] != "running" {
		t.Errorf("while it runs: %v", progress)
	}
	c.call(200, http.MethodPost, "/v2/tasks/"+task+"/stop", "{}")
	if progress := c.call(200, http.MethodGet, "/v2/tasks/"+task+"/progress", ""); progress["task_status"] != 3.0 {
		t.Errorf("stopped: %v", progress)
	}
	if body := c.call(200, http.MethodPost, "/v2/tasks/"+task+"/run", "{}"); body["exec_id"] == nil {
		t.Errorf("after the stop: %v", body)
	}
	c.server.EndScans()
	until(t, "the scan to end", func() bool {
		return c.call(200, http.MethodGet, "/v2/tasks/"+task+"/progress", "")["task_status"] == 2.0
	})
}

// TestRegisterDelay: right after run the progress still tells of what was before.
func TestRegisterDelay(t *testing.T) {
	var mu sync.Mutex
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	opts := sample(t)
	opts.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	opts.RegisterDelay, opts.ScanDelay = time.Second, time.Hour
	c := serve(t, opts)
	task := opts.Tasks[0].ID
	id, _ := c.call(200, http.MethodPost, "/v2/tasks/"+task+"/run", "{}")["exec_id"].(string)
	for _, query := range []string{"", "?job_id=" + id} {
		if progress := c.call(200, http.MethodGet, "/v2/tasks/"+task+"/progress"+query, ""); progress["task_status"] != nil {
			t.Errorf("at once%s: %v", query, progress)
		}
	}
	mu.Lock()
	now = now.Add(30 * time.Minute)
	mu.Unlock()
	progress := c.call(200, http.MethodGet, "/v2/tasks/"+task+"/progress?job_id="+id, "")
	if info, _ := progress["progress"].(map[string]any); progress["task_status"] != 0.0 || info["ratio"] != "49%" {
		t.Errorf("after half of the time: %v", progress)
	}
}

// TestManyAtOnce runs everything in parallel, for the race detector.
func TestManyAtOnce(t *testing.T) {
	opts := sample(t)
	c := serve(t, opts)
	var callers sync.WaitGroup
	for _, seed := range opts.Tasks {
		callers.Go(func() {
			for range 3 {
				if status, _ := c.check(seed.ID, "{}"); status != 2 {
					t.Errorf("%s: task_status %d", seed.Name, status)
				}
				c.call(200, http.MethodGet, "/v2/tasks/"+seed.ID+"/defects-summary", "")
				c.call(200, http.MethodGet, "/v2/"+project+"/tasks?limit=100", "")
			}
		})
	}
	for range 3 {
		callers.Go(func() {
			for range 10 {
				c.send(http.MethodPost, pipelines+"/"+pipeline+"/action?action_id=start", "{}", map[string]string{"X-Auth-Token": c.token, "Content-Type": "application/json"})
				c.send(http.MethodPost, pipelines+"/"+pipeline+"/action?action_id=stop", "{}", map[string]string{"X-Auth-Token": c.token, "Content-Type": "application/json"})
				c.call(200, http.MethodGet, pipelines+"/"+pipeline+"/records", "")
				c.server.Calls()
			}
		})
	}
	callers.Wait()
}

func TestNewComplainsOfEverything(t *testing.T) {
	_, err := standin.New(standin.Options{
		SecretKey: "x", Dialect: "2020", Paging: "sideways", ExpiredAnswer: "never", JournalSize: -1,
		Tasks:     []standin.TaskSeed{{Name: "a"}, {Name: "b", RepoURL: "u", Branch: "m", ID: "short", ProjectID: "none"}},
		Pipelines: []standin.Pipeline{{ID: "x", Name: "1"}},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"AccessKey and SecretKey, or", "set together", "RegionProject", "at least one project", `task "a" needs a name`, `got "short"`,
		`unknown project "none"`, `dialect: "2020": write 2026 or 2023`, `paging: "sideways"`, `expired_answer: "never"`, "must not be negative", `"x" is not a UUID`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no complaint of %s in:\n%v", want, err)
		}
	}
}

// TestLoadPipelines holds testdata/pipelines: each .yaml with its complaint in
// the .txt of the same name, or with an empty one.
func TestLoadPipelines(t *testing.T) {
	files, _ := filepath.Glob("testdata/pipelines/*.yaml")
	if len(files) == 0 {
		t.Fatal("no files")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = standin.LoadPipelines(filepath.Base(file), data)
			got := ""
			if err != nil {
				got = err.Error() + "\n"
			}
			golden.Text(t, strings.TrimSuffix(file, ".yaml")+".txt", got)
		})
	}
}

func FuzzLoadPipelines(f *testing.F) {
	files, _ := filepath.Glob("testdata/pipelines/*.yaml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		pipelines, err := standin.LoadPipelines("f.yaml", data)
		if err != nil && len(pipelines) > 0 {
			t.Error("both pipelines and an error")
		}
	})
}
