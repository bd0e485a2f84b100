package standin

import (
	"bytes"
	"slices"
	"strconv"
)

// actionRequest is specs/servicestage-release.md 1.1.
type actionRequest struct {
	SelectedTasks []selectedTasks `json:"selected_tasks"`
	TaskName      string          `json:"task_name"`
	ApprovalType  string          `json:"approval_type"`
	Message       string          `json:"message"`
}

type selectedTasks struct {
	StageName string   `json:"stage_name"`
	Tasks     []string `json:"tasks"`
}

type actionAnswer struct {
	ID         any    `json:"id"`
	PipelineID string `json:"pipeline_id"`
	Status     status `json:"status"`
}

// operate is POST /v3/{project_id}/pipeline/pipelines/{pipeline_id}/action. The
// answer carries the status after the action. An action that the state does not
// allow is a bad request. A missing body is an empty one.
func (s *releaseService) operate(c *call) answer {
	action := c.query("action_id")
	if !slices.Contains([]string{"start", "approval", "stop", "continue", "retry", "rollback"}, action) {
		c.entry.Action = "unknown"
		return s.refuse(c, "action_id is not one of start, stop, retry, approval, continue, rollback")
	}
	c.entry.Action = action
	var body actionRequest
	if len(bytes.TrimSpace(c.body)) > 0 && !c.object(&body) {
		return s.refuse(c, "the body is not a JSON object with the documented types")
	}
	c.entry.TaskName, c.entry.ApprovalType, c.entry.Message = body.TaskName, body.ApprovalType, body.Message
	s.mu.Lock()
	defer s.mu.Unlock()
	p, found := s.find(c)
	if !found {
		return s.errNoPipeline()
	}
	r, problem := s.act(p, action, c.actor, body)
	if problem != "" {
		return s.badRequest(c, problem)
	}
	c.entry.Execution, c.entry.Acted = strconv.FormatInt(r.id, 10), true
	return ok(actionAnswer{ID: s.executionID(r.id), PipelineID: p.spec.ID, Status: r.status})
}

// refuse is badRequest before anything was looked at.
func (s *releaseService) refuse(c *call, detail string) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.badRequest(c, detail)
}

// act takes one of the six actions for trigger. The methods from here on return what
// forbids the action, and change nothing then. The caller holds mu.
func (s *releaseService) act(p *releasePipeline, action, trigger string, body actionRequest) (r *release, problem string) {
	r = p.current()
	switch action {
	case "start":
		return s.start(p, trigger, body)
	case "approval":
		return r, s.approve(r, body)
	case "stop":
		return r, s.stopRelease(r)
	case "continue":
		return s.restart(r, statusPaused)
	case "retry":
		return s.restart(r, statusFailed)
	case "rollback":
		return s.rollback(r)
	}
	return nil, "there is no such action"
}

// start makes a new release and runs it.
func (s *releaseService) start(p *releasePipeline, trigger string, body actionRequest) (*release, string) {
	busy := []status{statusReleasing, statusToBeApproved, statusRollingBack, statusStopping, statusRestarting}
	if s.opts.Release.PauseBlocksStart {
		busy = append(busy, statusPaused)
	}
	if slices.Contains(busy, p.current().status) {
		return nil, "the release task is not idle"
	}
	r := s.newRelease(p)
	if body.SelectedTasks != nil {
		if problem := r.selectOnly(body.SelectedTasks); problem != "" {
			return nil, problem
		}
	}
	r.id, r.trigger, r.at, r.status = s.nextID, trigger, s.opts.Now(), statusReleasing
	s.nextID++
	p.releases = append(p.releases, r)
	if len(p.releases) > releasesKept {
		p.releases = slices.Clone(p.releases[1:])
	}
	s.drive(r)
	return r, ""
}

// selectOnly skips all tasks but the selected ones.
func (r *release) selectOnly(selected []selectedTasks) string {
	if len(selected) == 0 {
		return "selected_tasks is empty"
	}
	wanted := map[string]bool{}
	for _, choice := range selected {
		i := slices.IndexFunc(r.stages, func(s *stageState) bool { return s.spec.Name == choice.StageName })
		if i < 0 {
			return "selected_tasks names an unknown stage"
		}
		if len(choice.Tasks) == 0 {
			return "selected_tasks names a stage without tasks"
		}
		known := map[string]bool{}
		r.stages[i].tasks(func(t *taskState) { known[t.spec.Name] = true })
		for _, name := range choice.Tasks {
			if !known[name] {
				return "selected_tasks names an unknown task"
			}
			wanted[name] = true
		}
	}
	r.tasks(func(t *taskState) {
		if !wanted[t.spec.Name] {
			t.status = statusSkipped
		}
	})
	return ""
}

// approve decides a checkpoint that waits, at once or after ApprovalDelay.
func (s *releaseService) approve(r *release, body actionRequest) string {
	if body.TaskName == "" || body.ApprovalType != "agree" && body.ApprovalType != "refuse" {
		return "approval needs task_name, and approval_type agree or refuse"
	}
	var waiting *taskState
	r.tasks(func(t *taskState) {
		if t.spec.Name == body.TaskName && t.status == statusToBeApproved {
			waiting = t
		}
	})
	if waiting == nil || r.status != statusToBeApproved {
		return "the task does not wait for an approval"
	}
	agreed := body.ApprovalType == "agree"
	if s.opts.Release.ApprovalDelay <= 0 {
		r.decide(waiting, agreed)
		return ""
	}
	asked := waiting.decided
	s.spawn.after(s.opts.Release.ApprovalDelay, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		// Stopped, or decided by another one, in the meantime.
		if waiting.decided == asked && waiting.status == statusToBeApproved && r.status == statusToBeApproved {
			r.decide(waiting, agreed)
		}
	})
	return ""
}

// decide carries out a decision. A refusal fails the release, whatever its
// fail_mode.
func (r *release) decide(waiting *taskState, agreed bool) {
	if agreed {
		waiting.status = statusSucceeded
		r.settle()
	} else {
		waiting.status, waiting.problem = statusFailed, "refused"
		r.status = statusFailed
		r.replace(statusInitialized, statusReleasing, statusToBeApproved)
		r.stop()
	}
	close(waiting.decided)
}

// stopRelease pauses a release that moves or waits: 13, then 7.
func (s *releaseService) stopRelease(r *release) string {
	if r.status != statusReleasing && r.status != statusToBeApproved {
		return "only a release that runs or waits can be stopped"
	}
	r.status = statusStopping
	r.stop()
	s.later(r, s.opts.Release.StopDelay, func() { r.status = statusPaused })
	return ""
}

// restart goes on with a paused or failed release, its from tasks first: 14,
// then 4.
func (s *releaseService) restart(r *release, from status) (*release, string) {
	if r.status != from {
		return nil, "the state does not allow this action"
	}
	r = s.next(r)
	r.status = statusRestarting
	s.later(r, s.opts.Release.RestartDelay, func() {
		r.replace(statusInitialized, from)
		r.status = statusReleasing
		s.drive(r)
	})
	return r, ""
}

// rollback undoes a release that has ended: 10, then 11 or 12.
func (s *releaseService) rollback(r *release) (*release, string) {
	if r.status != statusSucceeded && r.status != statusFailed {
		return nil, "only a release that succeeded or failed can be rolled back"
	}
	end := statusRolledBack
	if r.pipeline.spec.RollbackFails {
		end = statusRollbackFailed
	}
	r = s.next(r)
	r.status = statusRollingBack
	r.replace(statusRollingBack, statusSucceeded, statusFailed)
	s.later(r, s.opts.Release.RollbackDelay, func() {
		r.replace(end, statusRollingBack)
		r.status = end
	})
	return r, ""
}
