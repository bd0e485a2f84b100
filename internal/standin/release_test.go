package standin_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/standin"
)

// console drives the pipelines of a stand-in within a synctest bubble, where
// delays cost nothing; it talks to the handler itself, as sockets do not belong
// to a bubble.
type console struct {
	t      *testing.T
	server *standin.Server
	token  string
}

func newConsole(t *testing.T, pipeline standin.Pipeline, settings standin.ReleaseSettings) *console {
	t.Helper()
	opts := standin.Options{
		User: "u", Password: "p", RegionProject: standin.RegionProject{ID: region, Name: "r"},
		Projects:  []standin.Project{{ID: project, Name: "payments"}},
		Pipelines: []standin.Pipeline{pipeline}, Release: settings,
	}
	server, err := standin.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	c := &console{t: t, server: server}
	opts.Domain = "u"
	_, header, _ := c.send(http.MethodPost, "/v3/auth/tokens", loginBody(opts))
	c.token = header.Get("X-Subject-Token")
	return c
}

func (c *console) send(method, path, body string) (int, http.Header, map[string]any) {
	c.t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Header.Set("X-Auth-Token", c.token)
	req.Header.Set("Content-Type", "application/json;charset=utf8")
	res := httptest.NewRecorder()
	c.server.Handler().ServeHTTP(res, req)
	raw := bytes.TrimSpace(res.Body.Bytes())
	if bytes.HasPrefix(raw, []byte("[")) {
		raw = []byte(`{"list":` + string(raw) + `}`)
	}
	var decoded map[string]any
	if err := json.Unmarshal(raw, &decoded); err != nil {
		c.t.Fatalf("%s %s: %v: %s", method, path, err, raw)
	}
	return res.Code, res.Header(), decoded
}

// act sends an action; it returns the HTTP status and the answered status.
func (c *console) act(action, body string) (int, int) {
	c.t.Helper()
	code, _, answer := c.send(http.MethodPost, pipelines+"/"+pipeline+"/action?action_id="+action, body)
	status, _ := answer["status"].(float64)
	return code, int(status)
}

// must sends an action that is accepted and returns the answered status.
func (c *console) must(action, body string) int {
	c.t.Helper()
	code, status := c.act(action, body)
	if code != http.StatusOK {
		c.t.Fatalf("%s is refused in state %d", action, c.status())
	}
	return status
}

func (c *console) approve(task, how string) int {
	c.t.Helper()
	return c.must("approval", fmt.Sprintf(`{"task_name":%q,"approval_type":%q}`, task, how))
}

// status is the pipeline's status in the list.
func (c *console) status() int {
	c.t.Helper()
	_, _, list := c.send(http.MethodGet, pipelines, "")
	return int(list["list"].([]any)[0].(map[string]any)["status"].(float64))
}

// tasks are the statuses of all tasks in details, and of the stages as
// "stage/<name>".
func (c *console) tasks() map[string]int {
	c.t.Helper()
	_, _, details := c.send(http.MethodGet, pipelines+"/"+pipeline, "")
	found := map[string]int{}
	for _, stage := range details["pipeline_declaration"].(map[string]any)["stages"].([]any) {
		stage := stage.(map[string]any)
		found["stage/"+stage["name"].(string)] = int(stage["status"].(float64))
		for _, task := range stage["tasks"].([]any) {
			task := task.(map[string]any)
			found[task["name"].(string)] = int(task["status"].(float64))
		}
	}
	return found
}

// pass lets time go by until everything waits, and then d.
func (c *console) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func task(name string) standin.PipelineTask { return standin.PipelineTask{Name: name} }

func checkpoint(name string) standin.PipelineTask {
	return standin.PipelineTask{Name: name, Kind: "approval"}
}

func failing(name string) standin.PipelineTask { return standin.PipelineTask{Name: name, Fail: true} }

// simple is a pipeline of one stage: build (3 s), gate, then last.
func simple(last standin.PipelineTask) standin.Pipeline {
	return standin.Pipeline{ID: pipeline, Name: "release", Stages: []standin.Stage{
		{Name: "only", Tasks: []standin.PipelineTask{task("build"), checkpoint("gate"), last}},
	}}
}

// TestEveryActionInEveryState walks the table of specs/servicestage-release.md
// 2 and 7.
func TestEveryActionInEveryState(t *testing.T) {
	good, bad := simple(task("last")), simple(failing("last"))
	stubborn := simple(task("last"))
	stubborn.RollbackFails = true
	reach := map[int]struct {
		pipeline standin.Pipeline
		walk     func(c *console)
	}{
		1: {good, func(*console) {}},
		4: {good, func(c *console) { c.must("start", "{}") }},
		5: {good, func(c *console) { c.must("start", "{}"); c.pass(4 * time.Second) }},
		2: {good, func(c *console) {
			c.must("start", "{}")
			c.pass(4 * time.Second)
			c.approve("gate", "agree")
			c.pass(4 * time.Second)
		}},
		3: {bad, func(c *console) {
			c.must("start", "{}")
			c.pass(4 * time.Second)
			c.approve("gate", "agree")
			c.pass(4 * time.Second)
		}},
		13: {good, func(c *console) { c.must("start", "{}"); c.must("stop", "{}") }},
		7:  {good, func(c *console) { c.must("start", "{}"); c.must("stop", "{}"); c.pass(3 * time.Second) }},
		14: {good, func(c *console) {
			c.must("start", "{}")
			c.must("stop", "{}")
			c.pass(3 * time.Second)
			c.must("continue", "{}")
		}},
		10: {good, func(c *console) {
			c.must("start", "{}")
			c.pass(4 * time.Second)
			c.approve("gate", "refuse")
			c.must("rollback", "{}")
		}},
		11: {good, func(c *console) {
			c.must("start", "{}")
			c.pass(4 * time.Second)
			c.approve("gate", "refuse")
			c.must("rollback", "{}")
			c.pass(3 * time.Second)
		}},
		12: {stubborn, func(c *console) {
			c.must("start", "{}")
			c.pass(4 * time.Second)
			c.approve("gate", "refuse")
			c.must("rollback", "{}")
			c.pass(3 * time.Second)
		}},
	}
	// The status that an accepted action answers with; all else is refused.
	accepted := map[string]map[int]int{
		"start":    {1: 4, 2: 4, 3: 4, 7: 4, 11: 4, 12: 4},
		"approval": {5: 4},
		"stop":     {4: 13, 5: 13},
		"continue": {7: 14},
		"retry":    {3: 14},
		"rollback": {2: 10, 3: 10},
	}
	for state, way := range reach {
		for action, answers := range accepted {
			t.Run(fmt.Sprintf("%s_in_%d", action, state), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newConsole(t, way.pipeline, standin.ReleaseSettings{})
					defer c.server.Close()
					way.walk(c)
					if got := c.status(); got != state {
						t.Fatalf("reached %d instead", got)
					}
					code, status := c.act(action, `{"task_name":"gate","approval_type":"agree"}`)
					want, ok := answers[state]
					if !ok {
						if code != http.StatusBadRequest || c.status() != state {
							t.Errorf("not refused: %d, then %d", code, c.status())
						}
						return
					}
					if code != http.StatusOK || status != want {
						t.Errorf("answered %d with status %d, want %d", code, status, want)
					}
				})
			})
		}
	}
}

func TestReleaseGoesThroughItsStages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := standin.Pipeline{ID: pipeline, Name: "release", Stages: []standin.Stage{
			{Name: "one", Groups: [][]standin.PipelineTask{{task("a"), task("b")}, {checkpoint("x")}, {checkpoint("y")}}},
			{Name: "two", Tasks: []standin.PipelineTask{task("c")}},
		}}
		c := newConsole(t, p, standin.ReleaseSettings{})
		defer c.server.Close()
		c.must("start", "{}")
		c.pass(time.Second)
		want := map[string]int{"stage/one": 4, "a": 4, "b": 1, "x": 5, "y": 5, "stage/two": 1, "c": 1}
		if diff := cmp.Diff(want, c.tasks()); diff != "" || c.status() != 5 {
			t.Fatalf("after 1 s: %d %s", c.status(), diff)
		}
		if status := c.approve("x", "agree"); status != 5 {
			t.Errorf("another checkpoint waits, the answer says %d", status)
		}
		c.pass(6 * time.Second)
		want = map[string]int{"stage/one": 5, "a": 2, "b": 2, "x": 2, "y": 5, "stage/two": 1, "c": 1}
		if diff := cmp.Diff(want, c.tasks()); diff != "" {
			t.Fatalf("after 7 s: %s", diff)
		}
		if status := c.approve("y", "agree"); status != 4 {
			t.Errorf("the last checkpoint: %d", status)
		}
		c.pass(4 * time.Second)
		want = map[string]int{"stage/one": 2, "a": 2, "b": 2, "x": 2, "y": 2, "stage/two": 2, "c": 2}
		if diff := cmp.Diff(want, c.tasks()); diff != "" || c.status() != 2 {
			t.Fatalf("at the end: %d %s", c.status(), diff)
		}
	})
}

func TestRetryGoesOnAtTheFailedTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := standin.Pipeline{ID: pipeline, Name: "release", Stages: []standin.Stage{
			{Name: "one", Tasks: []standin.PipelineTask{task("a")}},
			{Name: "two", Groups: [][]standin.PipelineTask{{checkpoint("gate"), task("b")}, {checkpoint("other")}}},
		}}
		c := newConsole(t, p, standin.ReleaseSettings{})
		defer c.server.Close()
		c.must("start", "{}")
		c.pass(4 * time.Second)
		if status := c.approve("gate", "refuse"); status != 3 {
			t.Fatalf("refused: %d", status)
		}
		c.pass(time.Second)
		want := map[string]int{"stage/one": 2, "a": 2, "stage/two": 3, "gate": 3, "b": 1, "other": 1}
		if diff := cmp.Diff(want, c.tasks()); diff != "" {
			t.Fatalf("refused: %s", diff)
		}
		c.must("retry", "{}")
		c.pass(2 * time.Second)
		want = map[string]int{"stage/one": 2, "a": 2, "stage/two": 5, "gate": 5, "b": 1, "other": 5}
		if diff := cmp.Diff(want, c.tasks()); diff != "" || c.status() != 5 {
			t.Fatalf("after the retry: %d %s", c.status(), diff)
		}
		_, _, records := c.send(http.MethodGet, pipelines+"/"+pipeline+"/records", "")
		if records["count"] != 1.0 {
			t.Errorf("a retry made another execution: %v", records)
		}
	})
}

func TestStopAndContinue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConsole(t, simple(task("last")), standin.ReleaseSettings{})
		defer c.server.Close()
		c.must("start", "{}")
		c.pass(4 * time.Second)
		c.must("stop", "{}")
		c.pass(3 * time.Second)
		if diff := cmp.Diff(map[string]int{"stage/only": 7, "build": 2, "gate": 7, "last": 1}, c.tasks()); diff != "" || c.status() != 7 {
			t.Fatalf("stopped: %d %s", c.status(), diff)
		}
		c.must("continue", "{}")
		c.pass(2 * time.Second)
		if diff := cmp.Diff(map[string]int{"stage/only": 5, "build": 2, "gate": 5, "last": 1}, c.tasks()); diff != "" || c.status() != 5 {
			t.Fatalf("continued: %d %s", c.status(), diff)
		}
	})
}

func TestFailModes(t *testing.T) {
	stages := []standin.Stage{
		{Name: "one", Groups: [][]standin.PipelineTask{{failing("a"), task("b")}, {checkpoint("gate")}}},
		{Name: "two", Tasks: []standin.PipelineTask{task("c")}},
	}
	tests := []struct {
		name     string
		mode     string
		settings standin.ReleaseSettings
		status   int
		tasks    map[string]int
	}{
		{"stop", "stop", standin.ReleaseSettings{}, 3, map[string]int{"stage/one": 3, "a": 3, "b": 1, "gate": 1, "stage/two": 1, "c": 1}},
		{"continue", "continue", standin.ReleaseSettings{}, 3, map[string]int{"stage/one": 3, "a": 3, "b": 2, "gate": 2, "stage/two": 2, "c": 2}},
		{"continue ends good", "continue", standin.ReleaseSettings{FailuresEndGood: true}, 2, map[string]int{"stage/one": 3, "a": 3, "b": 2, "gate": 2, "stage/two": 2, "c": 2}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newConsole(t, standin.Pipeline{ID: pipeline, Name: "release", FailMode: test.mode, Stages: stages}, test.settings)
				defer c.server.Close()
				c.must("start", "{}")
				c.pass(4 * time.Second)
				if test.mode == "continue" {
					c.approve("gate", "agree")
				}
				c.pass(10 * time.Second)
				if diff := cmp.Diff(test.tasks, c.tasks()); diff != "" || c.status() != test.status {
					t.Errorf("%d %s", c.status(), diff)
				}
			})
		})
	}
}

func TestRollbackMarksTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConsole(t, simple(failing("last")), standin.ReleaseSettings{})
		defer c.server.Close()
		c.must("start", `{"selected_tasks":[{"stage_name":"only","tasks":["build","last"]}]}`)
		c.pass(10 * time.Second)
		if diff := cmp.Diff(map[string]int{"stage/only": 3, "build": 2, "gate": 9, "last": 3}, c.tasks()); diff != "" {
			t.Fatal(diff)
		}
		c.must("rollback", "")
		if diff := cmp.Diff(map[string]int{"stage/only": 10, "build": 10, "gate": 9, "last": 10}, c.tasks()); diff != "" {
			t.Error(diff)
		}
		c.pass(3 * time.Second)
		if diff := cmp.Diff(map[string]int{"stage/only": 11, "build": 11, "gate": 9, "last": 11}, c.tasks()); diff != "" || c.status() != 11 {
			t.Errorf("%d %s", c.status(), diff)
		}
	})
}

// TestCommands runs real programs.
func TestCommands(t *testing.T) {
	quick, limit := 0.0, 0.05
	mark := filepath.Join(t.TempDir(), "mark")
	opts := sample(t)
	opts.Pipelines = []standin.Pipeline{{ID: pipeline, Name: "release", FailMode: "continue", Stages: []standin.Stage{{Name: "s", Tasks: []standin.PipelineTask{
		{Name: "good", Command: []string{"touch", mark}},
		{Name: "bad", Command: []string{"false"}},
		{Name: "missing", Command: []string{"/nonexistent/program"}},
		{Name: "slow", Command: []string{"sleep", "60"}, Seconds: &limit},
		{Name: "idle", Seconds: &quick},
	}}}}}
	c := serve(t, opts)
	c.call(http.StatusOK, http.MethodPost, pipelines+"/"+pipeline+"/action?action_id=start", "{}")
	want := map[string]float64{"good": 2, "bad": 3, "missing": 3, "slow": 3, "idle": 2}
	var got map[string]float64
	until(t, "the commands", func() bool {
		details := c.call(http.StatusOK, http.MethodGet, pipelines+"/"+pipeline, "")
		raw, _ := json.Marshal(details["pipeline_declaration"])
		var declared struct {
			Stages []struct {
				Tasks []struct {
					Name    string
					Status  float64
					Problem string `json:"error_details"`
				}
			}
		}
		if err := json.Unmarshal(raw, &declared); err != nil {
			t.Fatal(err)
		}
		got = map[string]float64{}
		for _, task := range declared.Stages[0].Tasks {
			got[task.Name] = task.Status
			if (task.Status == 3) != (task.Problem != "") {
				t.Errorf("%s: status %v, problem %q", task.Name, task.Status, task.Problem)
			}
		}
		return cmp.Equal(want, got) || got["idle"] == 2
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
