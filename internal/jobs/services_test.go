package jobs_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/release"
)

// services are a small CodeArts Check and a small ServiceStage on one address. Every
// repository of acme has a task "task-" and its name, whose scans find nothing; every
// pipeline has one checkpoint, "gate". They count what they were asked to do.
type services struct {
	mu sync.Mutex
	// down: every request is answered 503.
	down bool
	// repositories are the names that the task list has.
	repositories []string
	// endless are the tasks whose scans never end.
	endless map[string]bool
	// scans and stops count by task.
	scans map[string]int
	stops map[string]int
	// stalling is the method of the next request that waits until it is released or its
	// caller has gone; empty: none.
	stalling          string
	stalled, released chan struct{}
	pipelines         map[string]*pipeline
}

// pipeline is one of ServiceStage, with what was done to it.
type pipeline struct {
	// waits: what is started waits at the checkpoint. moves: it is on its way there.
	waits, moves bool

	executions []execution
	gate       release.Status
	starts     int
	decisions  []string
}

type execution struct {
	id     int
	at     time.Time
	status release.Status
}

func newServices(t *testing.T) (*services, string) {
	s := &services{endless: map[string]bool{}, scans: map[string]int{}, stops: map[string]int{}, pipelines: map[string]*pipeline{}}
	mux := http.NewServeMux()
	for pattern, answer := range map[string]func(*http.Request) any{
		"GET /v2/{project}/tasks":                s.tasks,
		"POST /v2/tasks/{task}/run":              s.run,
		"POST /v2/tasks/{task}/stop":             s.stop,
		"GET /v2/tasks/{task}/progress":          s.progress,
		"GET /v2/tasks/{task}/defects-summary":   func(*http.Request) any { return counts("_count") },
		"GET /v2/tasks/{task}/defects-statistic": func(*http.Request) any { return map[string]any{"severity": counts("")} },

		"GET /v3/p/pipeline/pipelines":              s.list,
		"GET /v3/p/pipeline/pipelines/{id}":         s.details,
		"GET /v3/p/pipeline/pipelines/{id}/records": s.records,
		"POST /v3/p/pipeline/pipelines/{id}/action": s.act,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			s.wait(r)
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.down {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			_ = json.NewEncoder(w).Encode(answer(r))
		})
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return s, server.URL
}

// stall lets the next request with a method wait. stalled is closed when it has come,
// release lets it go on.
func (s *services) stall(method string) (stalled <-chan struct{}, release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalling, s.stalled, s.released = method, make(chan struct{}), make(chan struct{})
	return s.stalled, sync.OnceFunc(func() { close(s.released) })
}

func (s *services) wait(r *http.Request) {
	s.mu.Lock()
	stalls := s.stalling == r.Method
	if stalls {
		s.stalling = ""
	}
	s.mu.Unlock()
	if !stalls {
		return
	}
	close(s.stalled)
	select {
	case <-s.released:
	case <-r.Context().Done():
	}
}

// set changes what the services do, or looks at what they did.
func (s *services) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func counts(suffix string) map[string]any {
	return map[string]any{"critical" + suffix: 0, "major" + suffix: 0, "minor" + suffix: 0, "suggestion" + suffix: 0}
}

func (s *services) tasks(*http.Request) any {
	list := []any{}
	for _, name := range s.repositories {
		list = append(list, map[string]any{"task_id": "task-" + name, "task_name": name, "git_url": "https://github.com/acme/" + name + ".git", "git_branch": "main"})
	}
	return map[string]any{"tasks": list, "total": len(list)}
}

func (s *services) run(r *http.Request) any {
	task := r.PathValue("task")
	s.scans[task]++
	return map[string]any{"exec_id": fmt.Sprintf("%s-%d", task, s.scans[task])}
}

func (s *services) stop(r *http.Request) any {
	s.endless[r.PathValue("task")] = false
	s.stops[r.PathValue("task")]++
	return map[string]any{}
}

func (s *services) progress(r *http.Request) any {
	status := 2
	if s.endless[r.PathValue("task")] {
		status = 0
	}
	return map[string]any{"task_status": status}
}

func (s *services) list(*http.Request) any {
	list := []any{}
	for id, p := range s.pipelines {
		last := p.executions[len(p.executions)-1]
		list = append(list, map[string]any{"id": id, "name": id, "status": last.status, "last_trigger_at": last.at.UnixMilli()})
	}
	return list
}

func (s *services) records(r *http.Request) any {
	records := []any{}
	for _, e := range s.pipelines[r.PathValue("id")].executions {
		records = append(records, map[string]any{"id": e.id, "trigger_at": e.at.UnixMilli(), "status": e.status})
	}
	return map[string]any{"count": len(records), "records": records}
}

func (s *services) details(r *http.Request) any {
	gate := map[string]any{"name": "gate", "status": s.pipelines[r.PathValue("id")].gate}
	return map[string]any{"pipeline_declaration": map[string]any{"stages": []any{map[string]any{"name": "one", "tasks": []any{gate}}}}}
}

// act starts an execution, which succeeds at once or waits, or decides the checkpoint.
func (s *services) act(r *http.Request) any {
	p := s.pipelines[r.PathValue("id")]
	if r.URL.Query().Get("action_id") == "start" {
		p.starts++
		p.begin(release.StatusSucceeded)
		if p.waits {
			p.arrive()
		} else if p.moves {
			p.gate, p.executions[len(p.executions)-1].status = release.StatusInitial, release.StatusReleasing
		}
	} else {
		var body struct {
			ApprovalType string `json:"approval_type"`
		}
		_ = json.NewDecoder(r.Body).Decode(&body)
		p.decide(body.ApprovalType)
		p.decisions = append(p.decisions, body.ApprovalType)
	}
	last := p.executions[len(p.executions)-1]
	return map[string]any{"id": last.id, "status": last.status}
}

func (p *pipeline) begin(status release.Status) {
	p.executions = append(p.executions, execution{id: len(p.executions) + 1, at: time.Now(), status: status})
}

// arrive lets the last execution wait at the checkpoint.
func (p *pipeline) arrive() {
	p.gate, p.executions[len(p.executions)-1].status = release.StatusToBeApproved, release.StatusToBeApproved
}

// decide lets the last execution go on to its end, or end there.
func (p *pipeline) decide(how string) {
	p.gate = release.StatusFailed
	if how == "agree" {
		p.gate = release.StatusSucceeded
	}
	p.executions[len(p.executions)-1].status = p.gate
}
