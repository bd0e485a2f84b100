package standin

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"
)

// scanTimeout ends a run whose repository does not answer.
const scanTimeout = 10 * time.Minute

// runTask is the body of POST /v2/tasks/{task_id}/run
// (specs/codearts-check.md 1.5). The temporary repository counts in the 2023 edition
// only, Ref in the newer only.
type runTask struct {
	Ref         *string `json:"ref"`
	GitURL      string  `json:"git_url"`
	GitBranch   string  `json:"git_branch"`
	Username    string  `json:"username"`
	AccessToken string  `json:"access_token"`
}

type runStarted struct {
	ExecID string `json:"exec_id"`
}

// run is POST /v2/tasks/{task_id}/run: starts an execution and answers at once.
// A missing body or null is refused, and so is a task that is running.
func (s *checkService) run(c *call) answer {
	var body runTask
	if !c.object(&body) {
		return s.badParameter(c, "the body is not a JSON object, at least {}")
	}
	if body.Ref != nil && s.opts.RefuseRef {
		return s.badParameter(c, "ref is not known")
	}
	ref := ""
	if body.Ref != nil && s.opts.Dialect != Dialect2023 {
		if ref = *body.Ref; ref != "pull" && ref != "merge_request" {
			return s.badParameter(c, "ref is pull or merge_request")
		}
	}
	c.entry.Ref = ref

	s.mu.Lock()
	defer s.mu.Unlock()
	task, found := s.find(c.task())
	if !found {
		return errNoProject()
	}
	if e := task.latest(); e != nil && e.state == checking {
		c.entry.Execution = e.id
		return errTaskRunning()
	}
	started := &execution{id: newID(), ref: ref, startedAt: s.opts.Now().UTC(), delay: s.opts.ScanDelay, hurry: s.hurry}
	task.executions = append(task.executions, started)
	if len(task.executions) > executionsKept {
		task.executions = append([]*execution(nil), task.executions[1:]...)
	}
	code := s.codeOf(task, ref)
	if s.opts.Dialect == Dialect2023 {
		code = code.temporary(task, body)
		c.entry.Address, c.entry.Branch = body.GitURL, body.GitBranch
	}
	started.stop = s.spawn.start(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, scanTimeout)
		defer cancel()
		s.execute(ctx, task, started, code)
	})
	c.entry.Execution, c.entry.Acted = started.id, true
	return ok(runStarted{ExecID: started.id})
}

// SetScanDelay changes ScanDelay for the runs that start from now on; negative: none.
func (s *Server) SetScanDelay(d time.Duration) {
	s.change(func(o *Options) { o.ScanDelay = max(d, 0) })
}

// EndScans ends the delay of every run that was started before: each ends as soon as
// its scan is done.
func (s *Server) EndScans() {
	s.check.mu.Lock()
	defer s.check.mu.Unlock()
	close(s.check.hurry)
	s.check.hurry = make(chan struct{})
}

// execute scans and records the outcome, after ScanDelay at the earliest. An
// execution that was stopped meanwhile keeps its state.
func (s *checkService) execute(ctx context.Context, task *checkTask, e *execution, code code) {
	least := time.NewTimer(e.delay)
	defer least.Stop()
	var result scanned
	err := s.admits(code)
	if err == nil {
		result, err = s.scan(ctx, code)
	}
	select {
	case <-least.C:
	case <-e.hurry:
	case <-ctx.Done():
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if e.state != checking {
		return
	}
	e.finishedAt = s.opts.Now().UTC()
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		e.state, e.failure = checkFailed, failureLog(code, err)
		s.opts.Log.Info("check failed", zap.String("task_id", task.id), zap.String("execution_id", e.id), zap.Error(err))
		return
	}
	if before := task.latestSuccess(); result.base == nil && before != nil {
		result.base = before.result.found
	}
	e.state, e.result = checkSucceeded, compareReports(result.found, result.base)
	if code.target != "" && code.mode == modeCode {
		e.result = e.result.changedCode(result.base)
	}
	s.opts.Log.Info("check done", zap.String("task_id", task.id), zap.String("execution_id", e.id))
}

// stop is POST /v2/tasks/{task_id}/stop: an empty 200, also when nothing runs.
func (s *checkService) stop(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	task, found := s.find(c.task())
	if !found {
		return errNoProject()
	}
	if e := task.latest(); e != nil && e.state == checking {
		e.state, e.finishedAt = checkStopped, s.opts.Now().UTC()
		e.stop()
		c.entry.Execution, c.entry.Acted = e.id, true
	}
	return answer{status: http.StatusOK}
}

// progressAnswer is specs/codearts-check.md 1.8; before the first check both
// fields are null.
type progressAnswer struct {
	TaskStatus *int          `json:"task_status"`
	Progress   *progressInfo `json:"progress"`
}

type progressInfo struct {
	Ratio *string `json:"ratio"`
	Info  *string `json:"info"`
}

// progress is GET /v2/tasks/{task_id}/progress: of the execution job_id, or of
// the latest. An execution is not shown before RegisterDelay has passed, nor is
// one that is not known; without job_id the one before it is shown meanwhile.
func (s *checkService) progress(c *call) answer {
	jobID := s.jobID(c)
	if jobID != "" && !hexID(jobID) {
		return s.badParameter(c, "job_id has 32 hex digits")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	task, found := s.find(c.task())
	if !found {
		return errNoProject()
	}
	shown := s.latest(task, jobID)
	if shown == nil {
		return s.noProgress(c, task, jobID)
	}
	c.entry.Execution = shown.id
	status := int(shown.state)
	return ok(progressAnswer{TaskStatus: &status, Progress: s.progressInfo(shown)})
}

// noProgress is what progress says when there is no execution to tell of.
func (s *checkService) noProgress(c *call, task *checkTask, jobID string) answer {
	known := slices.ContainsFunc(task.executions, func(e *execution) bool { return e.id == jobID })
	if jobID != "" && !known && s.opts.UnknownJobID == "error" {
		return s.badParameter(c, "the task has no such execution")
	}
	var body progressAnswer
	if s.opts.NeverChecked == "object" {
		body.Progress = &progressInfo{}
	}
	return ok(body)
}

// jobID is the execution that a call asks about; empty where the service takes no job_id.
func (s *checkService) jobID(c *call) string {
	if s.opts.Dialect == Dialect2023 || s.opts.IgnoreJobID {
		return ""
	}
	return c.query("job_id")
}

// latest is the newest execution of a task that is shown yet, of those with the id jobID
// unless that is empty; nil when there is none. The caller holds mu.
func (s *checkService) latest(task *checkTask, jobID string) (shown *execution) {
	for _, e := range task.executions {
		if s.registered(e) && (jobID == "" || e.id == jobID) {
			shown = e
		}
	}
	return shown
}

// registered reports whether the service shows an execution yet.
func (s *checkService) registered(e *execution) bool {
	return s.opts.Now().Sub(e.startedAt) >= s.opts.RegisterDelay || e.state != checking
}

// lastJobs is GET /v4/tasks/{task_id}/last-jobs. Of its two ids only the name of the
// latest execution's is documented (specs/codearts-check.md 1.12).
func (s *checkService) lastJobs(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	task, found := s.find(c.task())
	if !found {
		return errNoProject()
	}
	var result struct {
		LastJobID string `json:"last_job_id"`
	}
	if shown := s.latest(task, ""); shown != nil {
		result.LastJobID = shown.id
	}
	return s.success(result)
}

// progressInfo words the progress in the dialect's way.
func (s *checkService) progressInfo(e *execution) *progressInfo {
	var ratio, info string
	switch e.state {
	case checking:
		percent := 99
		if passed := s.opts.Now().Sub(e.startedAt); passed < s.opts.ScanDelay {
			percent = int(99 * passed / s.opts.ScanDelay)
		}
		ratio, info = strconv.Itoa(percent)+"%", "running"
		if s.opts.Dialect == Dialect2023 {
			info = "Performing the check..."
		}
	case checkSucceeded:
		ratio, info = "100%", "success"
	default:
		return &progressInfo{}
	}
	return &progressInfo{Ratio: &ratio, Info: &info}
}
