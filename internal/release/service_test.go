package release

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/rules"
)

const (
	projectID  = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
	pipelineID = "caf409b1-10df-483a-b14d-7b05f7e12c88"
)

// epoch is when every test begins.
func epoch() time.Time { return time.Date(2025, 7, 21, 6, 44, 24, 0, time.UTC) }

// clock is a time that only tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: epoch()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// newOperator returns an operator that speaks to the server at url.
func newOperator(t testing.TB, url string, c *clock) *Operator {
	t.Helper()
	client, err := huaweicloud.New(huaweicloud.Options{Service: "servicestage", Endpoint: url, Retries: -1, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	o, err := New(Options{Client: client, ProjectID: fixedProject, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// newRelease returns a release that is due for its first step.
func newRelease(action rules.ReleaseAction) Release {
	r := Release{
		ID: "rel-1", RunID: "run-1", Rule: "release-main", State: Starting,
		Plan:  rules.Release{Pipeline: pipelineID, Action: action, Timeout: time.Hour},
		Event: event.Event{HeadSHA: "1f2e3d4c5b6a79880716253443526170f1e2d3c4"},

		CreatedAt: epoch(), Deadline: epoch().Add(time.Hour),
	}
	if action != rules.ReleaseStart {
		r.Plan.Task = "gate"
	}
	return r
}

// fault is what the pipeline server does with the next action it is sent.
type fault string

const (
	noFault        fault = "none"
	lostRequest    fault = "lost request"    // connection dropped, nothing done
	lostAnswer     fault = "lost answer"     // done, connection dropped
	errorBefore    fault = "error, not done" // 500, nothing done
	errorAfter     fault = "error, but done" // 500, done
	garbageAnswer  fault = "garbage answer"  // done, answer cannot be read
	emptyAnswer    fault = "empty answer"    // done, 200 without a body
	throttled      fault = "throttled"       // 429, nothing done
	refusedRequest fault = "refused request" // 400, nothing done
	looksFail      fault = "looks fail"      // every GET is answered 503
	crashBefore    fault = "crash before"    // the process dies between intent and request
	crashAfter     fault = "crash after"     // the process dies with the answer in hand
	saveFails      fault = "save fails"      // nothing can be saved in this step
	slowEffect     fault = "slow effect"     // done, answer lost, effect shows 20 s later
)

func faults() []fault {
	return []fault{noFault, lostRequest, lostAnswer, errorBefore, errorAfter, garbageAnswer, emptyAnswer, throttled,
		refusedRequest, looksFail, crashBefore, crashAfter, saveFails, slowEffect}
}

// execution is one execution of the server's pipeline.
type execution struct {
	id     int64
	at     time.Time
	status Status
}

// pipelineServer is a small ServiceStage with one pipeline: a task "build", the
// checkpoint "gate", a task "deploy". It is unkind on purpose: with instant set
// an execution ends at once, so that nothing but the client keeps a second start
// from being accepted, and with rearm the checkpoint waits again after each
// decision, so that a second one is accepted too.
type pipelineServer struct {
	clock *clock

	mu         sync.Mutex
	fault      fault
	instant    bool
	rearm      bool
	executions []execution
	gate       Status
	// starts and decisions count what took effect.
	starts    int
	decisions []string
	// hiddenUntil is when the last effect shows in the answers to GETs.
	hiddenUntil time.Time
}

func newPipelineServer(t testing.TB, c *clock) (*pipelineServer, string) {
	p := &pipelineServer{clock: c, gate: StatusInitial}
	p.executions = []execution{{id: 286540, at: epoch().Add(-time.Hour), status: StatusSucceeded}}
	mux := http.NewServeMux()
	base := "/v3/" + projectID + "/pipeline/pipelines"
	mux.HandleFunc("GET "+base, p.look(p.list))
	mux.HandleFunc("GET "+base+"/"+pipelineID, p.look(p.details))
	mux.HandleFunc("GET "+base+"/"+pipelineID+"/records", p.look(p.records))
	mux.HandleFunc("POST "+base+"/"+pipelineID+"/action", p.action)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return p, server.URL
}

// set lets the server do f with the next action.
func (p *pipelineServer) set(f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
}

// begin adds an execution that somebody else started.
func (p *pipelineServer) begin(status Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(status)
}

// become changes where the last execution and the checkpoint stand.
func (p *pipelineServer) become(last, gate Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.executions[len(p.executions)-1].status, p.gate = last, gate
}

// done tells what took effect: the number of starts, and the decisions.
func (p *pipelineServer) done() (int, []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.starts, slices.Clone(p.decisions)
}

func (p *pipelineServer) add(status Status) {
	last := p.executions[len(p.executions)-1]
	p.executions = append(p.executions, execution{id: last.id + 1, at: p.clock.Now(), status: status})
}

func (p *pipelineServer) look(answer func() any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.fault == looksFail {
			http.Error(w, `{"error_code":"APIGW.0613","error_msg":"try later"}`, http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(answer())
	}
}

// visible are the executions that show already.
func (p *pipelineServer) visible() []execution {
	if p.clock.Now().Before(p.hiddenUntil) {
		return p.executions[:len(p.executions)-1]
	}
	return p.executions
}

func (p *pipelineServer) list() any {
	last := p.visible()[len(p.visible())-1]
	return []any{
		map[string]any{"id": "4105b37a-947e-4aca-90d8-cec7c04c6f38", "name": "other", "status": 4},
		map[string]any{"id": pipelineID, "name": "release", "status": last.status, "last_trigger_at": last.at.UnixMilli()},
	}
}

func (p *pipelineServer) records() any {
	var records []any
	for _, e := range p.visible() {
		records = append([]any{map[string]any{
			"id": e.id, "pipeline_id": pipelineID, "trigger": "test", "trigger_at": e.at.UnixMilli(), "status": e.status,
		}}, records...)
	}
	return map[string]any{"count": len(records), "records": records}
}

func (p *pipelineServer) details() any {
	task := func(name string, status Status) any { return map[string]any{"name": name, "status": status} }
	return map[string]any{"id": pipelineID, "pipeline_declaration": map[string]any{"stages": []any{
		map[string]any{"name": "one", "tasks": []any{task("build", StatusSucceeded), task("gate", p.gate)}},
		map[string]any{"name": "two", "tasks": []any{task("deploy", StatusInitial)}},
	}}}
}

func (p *pipelineServer) action(w http.ResponseWriter, req *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.fault
	switch f {
	case lostRequest:
		panic(http.ErrAbortHandler)
	case errorBefore:
		fail(w, http.StatusInternalServerError, "SVCSTG.00100500")
		return
	case throttled:
		w.Header().Set("Retry-After", "7")
		fail(w, http.StatusTooManyRequests, "APIGW.0308")
		return
	case refusedRequest:
		fail(w, http.StatusBadRequest, "SVCSTG.00100400")
		return
	}
	if !p.act(req) {
		fail(w, http.StatusBadRequest, "SVCSTG.00100400")
		return
	}
	last := p.executions[len(p.executions)-1]
	switch f {
	case slowEffect:
		if req.URL.Query().Get("action_id") == "start" {
			p.hiddenUntil = p.clock.Now().Add(20 * time.Second)
		}
		panic(http.ErrAbortHandler)
	case lostAnswer:
		panic(http.ErrAbortHandler)
	case errorAfter:
		fail(w, http.StatusInternalServerError, "SVCSTG.00100500")
		return
	case garbageAnswer:
		fmt.Fprint(w, `<html>ok</html>`)
		return
	case emptyAnswer:
		return
	}
	fmt.Fprintf(w, `{"id":%d,"pipeline_id":%q,"status":%d}`, last.id, pipelineID, last.status)
}

// act does what is asked and reports whether the pipeline's state allows it.
func (p *pipelineServer) act(req *http.Request) bool {
	var body struct {
		TaskName     string `json:"task_name"`
		ApprovalType string `json:"approval_type"`
	}
	if err := json.NewDecoder(req.Body).Decode(&body); err != nil {
		return false
	}
	last := &p.executions[len(p.executions)-1]
	switch req.URL.Query().Get("action_id") {
	case "start":
		if !last.status.Ended() {
			return false
		}
		p.starts++
		p.add(StatusReleasing)
		if p.instant {
			p.executions[len(p.executions)-1].status = StatusSucceeded
		}
	case "approval":
		if p.gate != StatusToBeApproved || body.TaskName != "gate" {
			return false
		}
		p.decisions = append(p.decisions, body.ApprovalType)
		switch {
		case p.rearm:
		case body.ApprovalType == "agree":
			p.gate, last.status = StatusSucceeded, StatusReleasing
		default:
			p.gate, last.status = StatusFailed, StatusFailed
		}
	case "stop":
		last.status = StatusStopping
	default:
		return false
	}
	return true
}

func fail(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error_code":%q,"error_msg":"%s"}`, code, strings.ToLower(http.StatusText(status)))
}
