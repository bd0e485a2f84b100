package standin

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// What pipelines do can be changed while they run, by the helper path /standin/pipelines.

// PipelineState is what /standin/pipelines tells of a pipeline.
type PipelineState struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	RollbackFails bool   `json:"rollback_fails"`
	// Fail is how often each task fails yet; -1: always. Tasks that do not fail are left out.
	Fail map[string]int `json:"fail"`
	// Executions are newest first.
	Executions []ExecutionState `json:"executions"`
}

// ExecutionState is one execution of a pipeline.
type ExecutionState struct {
	ID      int64             `json:"id"`
	Trigger string            `json:"trigger"`
	Status  int               `json:"status"`
	Tasks   map[string]status `json:"tasks"`
}

// PipelineChange is what PATCH /standin/pipelines/{pipeline_id} takes. Absent fields change
// nothing.
type PipelineChange struct {
	// Fail lets each task of these names fail so often; -1: always, 0: no more.
	Fail map[string]int `json:"fail"`
	// RollbackFails lets rollbacks fail, or succeed.
	RollbackFails *bool `json:"rollback_fails"`
	// Action is one of the six actions, taken by somebody in the console. TaskName and
	// ApprovalType are those of an approval.
	Action       string `json:"action"`
	TaskName     string `json:"task_name"`
	ApprovalType string `json:"approval_type"`
	// Forget lets the newest execution vanish from the records.
	Forget bool `json:"forget"`
}

// Pipelines tells how the pipelines stand.
func (s *Server) Pipelines() []PipelineState {
	s.release.mu.Lock()
	defer s.release.mu.Unlock()
	states := []PipelineState{}
	for _, p := range s.release.pipelines {
		state := PipelineState{ID: p.spec.ID, Name: p.spec.Name, RollbackFails: p.spec.RollbackFails, Fail: map[string]int{}, Executions: []ExecutionState{}}
		for name, times := range p.failing {
			if times != 0 {
				state.Fail[name] = times
			}
		}
		for _, r := range slices.Backward(p.releases) {
			execution := ExecutionState{ID: r.id, Trigger: r.trigger, Status: int(r.status), Tasks: map[string]status{}}
			r.tasks(func(t *taskState) { execution.Tasks[t.spec.Name] = t.status })
			state.Executions = append(state.Executions, execution)
		}
		states = append(states, state)
	}
	return states
}

// ChangePipeline changes what a pipeline does. The error says why it cannot; then nothing is
// changed.
func (s *Server) ChangePipeline(id string, change PipelineChange) error {
	s.release.mu.Lock()
	defer s.release.mu.Unlock()
	i := slices.IndexFunc(s.release.pipelines, func(p *releasePipeline) bool { return p.spec.ID == id })
	if i < 0 {
		return fmt.Errorf("no pipeline %q", id)
	}
	p := s.release.pipelines[i]
	names := map[string]bool{}
	p.idle.tasks(func(t *taskState) { names[t.spec.Name] = !t.spec.checkpoint() })
	for name, times := range change.Fail {
		if !names[name] || times < -1 {
			return fmt.Errorf("fail %q %d times: name a task that is not a checkpoint, and a number from -1 on", name, times)
		}
	}
	if change.Forget && len(p.releases) == 0 {
		return errors.New("no execution can be forgotten")
	}
	if change.Action != "" {
		body := actionRequest{TaskName: change.TaskName, ApprovalType: change.ApprovalType}
		if _, problem := s.release.act(p, change.Action, "console", body); problem != "" {
			return errors.New(problem)
		}
	}
	for name, times := range change.Fail {
		p.failing[name] = times
	}
	if change.RollbackFails != nil {
		p.spec.RollbackFails = *change.RollbackFails
	}
	if change.Forget {
		p.releases = slices.Clone(p.releases[:len(p.releases)-1])
	}
	return nil
}

// fails reports whether a task is to fail now, and counts it. The caller holds mu.
func (p *releasePipeline) fails(t PipelineTask) bool {
	left := p.failing[t.Name]
	if left > 0 {
		p.failing[t.Name]--
	}
	return left != 0
}

// servePipelines is GET /standin/pipelines.
func (s *Server) servePipelines(w http.ResponseWriter, _ *http.Request) {
	writeHelper(w, s.Pipelines())
}

// patchPipeline is PATCH /standin/pipelines/{pipeline_id} with a PipelineChange: 204, or 400
// with the reason as text.
func (s *Server) patchPipeline(w http.ResponseWriter, r *http.Request) {
	var change PipelineChange
	if !readHelper(w, r, "pipeline change", &change) {
		return
	}
	if err := s.ChangePipeline(r.PathValue("pipeline_id"), change); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
