package standin_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/internal/standin"
)

// helper calls a helper path and returns the status and the body.
func (c *console) helper(method, path, body string) (int, string) {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.RemoteAddr = "127.0.0.1:1"
	res := httptest.NewRecorder()
	c.server.Handler().ServeHTTP(res, req)
	return res.Code, strings.TrimSpace(res.Body.String())
}

// TestHelperChangesPipelines drives a pipeline over /standin/pipelines: a task fails so
// often, rollbacks fail, somebody in the console pauses, an execution vanishes.
func TestHelperChangesPipelines(t *testing.T) {
	spec := standin.Pipeline{ID: pipeline, Name: "web", Stages: []standin.Stage{{Name: "one", Tasks: []standin.PipelineTask{
		{Name: "deploy", Seconds: new(1.0), FailTimes: 1}, {Name: "gate", Kind: "approval"},
	}}}}
	synctest.Test(t, func(t *testing.T) {
		c := newConsole(t, spec, standin.ReleaseSettings{})
		defer c.server.Close()
		path := "/standin/pipelines/" + pipeline
		change := func(body string) {
			t.Helper()
			if status, text := c.helper(http.MethodPatch, path, body); status != http.StatusNoContent {
				t.Fatalf("%s: %d %s", body, status, text)
			}
		}
		newest := func() standin.ExecutionState {
			t.Helper()
			time.Sleep(10 * time.Second)
			status, body := c.helper(http.MethodGet, "/standin/pipelines", "")
			var states []standin.PipelineState
			if err := json.Unmarshal([]byte(body), &states); status != http.StatusOK || err != nil || len(states) != 1 {
				t.Fatalf("%d %v %s", status, err, body)
			}
			if len(states[0].Executions) == 0 {
				return standin.ExecutionState{}
			}
			return states[0].Executions[0]
		}
		want := func(what string, got standin.ExecutionState, id int64, status int) {
			t.Helper()
			if got.ID != id || got.Status != status {
				t.Errorf("%s: %+v, want execution %d in %d", what, got, id, status)
			}
		}
		change(`{"action": "start"}`)
		want("fails once", newest(), 286541, 3)
		change(`{"action": "retry"}`)
		want("waits after the retry", newest(), 286541, 5)
		change(`{"action": "stop"}`)
		want("paused", newest(), 286541, 7)
		change(`{"action": "continue"}`)
		want("goes on", newest(), 286541, 5)
		change(`{"action": "approval", "task_name": "gate", "approval_type": "agree"}`)
		want("ends", newest(), 286541, 2)
		change(`{"rollback_fails": true}`)
		change(`{"action": "rollback"}`)
		want("rollback fails", newest(), 286541, 12)
		change(`{"fail": {"deploy": -1}}`)
		change(`{"action": "start"}`)
		want("fails always", newest(), 286542, 3)
		if status, text := c.helper(http.MethodPatch, "/standin/switches", `{"release_new_executions": true, "release_restart_delay": "500ms"}`); status != http.StatusNoContent {
			t.Fatalf("%d %s", status, text)
		}
		change(`{"action": "retry"}`)
		want("a retry makes an execution", newest(), 286543, 3)
		change(`{"forget": true}`)
		want("vanished", newest(), 286542, 3)

		for body, complaint := range map[string]string{
			`{"fial": {}}`:              "unknown field",
			`{"fail": {"gate": 1}}`:     "not a checkpoint",
			`{"fail": {"deploy": -2}}`:  "from -1 on",
			`{"action": "pause"}`:       "no such action",
			`{"action": "continue"}`:    "does not allow",
			`{"action": "approval"}`:    "needs task_name",
			`<html>`:                    "read pipeline change",
			`{"fail": {"deploy": "1"}}`: "read pipeline change",
		} {
			if status, text := c.helper(http.MethodPatch, path, body); status != http.StatusBadRequest || !strings.Contains(text, complaint) {
				t.Errorf("%s: %d %q, want %q", body, status, text, complaint)
			}
		}
		if status, text := c.helper(http.MethodPatch, "/standin/pipelines/none", `{}`); status != http.StatusBadRequest || !strings.Contains(text, "no pipeline") {
			t.Errorf("%d %q", status, text)
		}
	})
}

// TestPauseBlocksStart holds both readings of a start while the pipeline is paused.
func TestPauseBlocksStart(t *testing.T) {
	spec := standin.Pipeline{ID: pipeline, Name: "web", Stages: []standin.Stage{{Name: "one", Tasks: []standin.PipelineTask{{Name: "gate", Kind: "approval"}}}}}
	for blocks, want := range map[bool]int{false: http.StatusOK, true: http.StatusBadRequest} {
		synctest.Test(t, func(t *testing.T) {
			c := newConsole(t, spec, standin.ReleaseSettings{PauseBlocksStart: blocks})
			defer c.server.Close()
			c.must("start", "{}")
			time.Sleep(time.Second)
			c.must("stop", "{}")
			time.Sleep(10 * time.Second)
			if status, _ := c.act("start", "{}"); status != want {
				t.Errorf("blocks %t: %d, want %d", blocks, status, want)
			}
		})
	}
}

// TestActionWantsContentType holds the row Content-Type of 004_192d3ad45852e13d.txt.
func TestActionWantsContentType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConsole(t, standin.Pipeline{ID: pipeline, Name: "web", Stages: []standin.Stage{{Name: "one", Tasks: []standin.PipelineTask{{Name: "gate", Kind: "approval"}}}}}, standin.ReleaseSettings{})
		defer c.server.Close()
		for kind, want := range map[string]int{"": 400, "text/plain": 400, "application/json": 200} {
			req := httptest.NewRequest(http.MethodPost, pipelines+"/"+pipeline+"/action?action_id=start", strings.NewReader("{}"))
			req.Header.Set("X-Auth-Token", c.token)
			if kind != "" {
				req.Header.Set("Content-Type", kind)
			}
			res := httptest.NewRecorder()
			c.server.Handler().ServeHTTP(res, req)
			if res.Code != want {
				t.Errorf("Content-Type %q: %d, want %d", kind, res.Code, want)
			}
		}
	})
}
