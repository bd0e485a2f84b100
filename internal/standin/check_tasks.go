package standin

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// success is the answer of a V1, V3 or V4 call.
func (s *checkService) success(result any) answer {
	body := struct {
		HTTPStatus any    `json:"httpStatus"`
		Result     any    `json:"result"`
		Status     string `json:"status"`
	}{s.opts.EnvelopeStatus, result, "success"}
	if s.opts.EnvelopeStatus == "200" {
		body.HTTPStatus = http.StatusOK
	}
	return ok(body)
}

// badEnvelope refuses a V1, V3 or V4 call, inside the envelope where the switch says so.
func (s *checkService) badEnvelope(c *call, detail string) answer {
	if s.opts.EnvelopeErrors {
		c.entry.Detail = detail
		return answer{status: http.StatusOK, body: envelope{HTTPStatus: "BAD_REQUEST", Status: "error"}, code: "BAD_REQUEST"}
	}
	return s.badParameter(c, detail)
}

// The values of check_type: a task's branches, tags, merge requests, and commits outside of those.
const (
	ofBranch = "branch"
	ofTag    = "tag"
	ofMerge  = "mr"
	ofCommit = "cr"
)

// family returns the full task that t belongs to.
func (t *checkTask) family() *checkTask { return cmp.Or(t.parent, t.trunk, t) }

// members are the tasks of a full task that are of a check type, oldest first; the full task is
// the one of its default branch. The caller holds mu.
func (s *checkService) members(full *checkTask, checkType string) []*checkTask {
	var found []*checkTask
	for _, t := range s.tasks {
		is := map[string]bool{
			ofBranch: t == full || t.trunk == full,
			ofMerge:  t.parent == full && t.mergeID != "",
			ofCommit: t.parent == full && t.mergeID == "",
		}
		if is[checkType] {
			found = append(found, t)
		}
	}
	return found
}

// branchTask is a row of specs/codearts-check.md 1.12, for a branch or for a merge request.
type branchTask struct {
	TaskID     string  `json:"taskId"`
	BranchName *string `json:"branchName,omitempty"`
	IsDefault  *string `json:"isDefault,omitempty"`
	MergeID    *string `json:"mergeId,omitempty"`
	JobType    *string `json:"jobType,omitempty"`
	Status     *string `json:"status"`
}

func (s *checkService) branchTask(full, t *checkTask) branchTask {
	row := branchTask{TaskID: t.id}
	if e := t.latest(); e != nil {
		row.Status = new(jobWord(e.state))
	}
	if t.parent == nil {
		row.BranchName, row.IsDefault = &t.branch, new("false")
		if t == full {
			row.IsDefault = new("true")
		}
		return row
	}
	row.MergeID, row.JobType = &t.mergeID, new("merge_request")
	if t.mergeID == "" {
		row.MergeID, row.JobType = &t.source, new("push_request")
	}
	return row
}

// branches is GET /v3/{project_id}/tasks/{task_id}/branches.
func (s *checkService) branches(c *call) answer {
	page, okPage := c.number("page_num", 1, 1, 100)
	size, okSize := c.number("page_size", 10, 1, 100)
	kinds, okKind := c.choices("check_type", []string{ofBranch}, ofBranch, ofTag, ofMerge, ofCommit)
	if !okPage || !okSize || !okKind || len(kinds) != 1 {
		return s.badParameter(c, "page_num is 1 to 100, page_size 1 to 100, check_type branch, tag, mr or cr")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	task, found := s.find(c.task())
	if !found || task.project != c.project() {
		return errNoProject()
	}
	rows := []branchTask{}
	for _, t := range s.members(task.family(), kinds[0]) {
		rows = append(rows, s.branchTask(task.family(), t))
	}
	first, last := pageFromOne(len(rows), page, size)
	return ok(struct {
		BranchTasks []branchTask `json:"branchTasks"`
		Total       int          `json:"total"`
	}{rows[first:last], len(rows)})
}

// pageFromOne cuts a page out of n rows.
func pageFromOne(n, page, size int) (from, to int) {
	from = min((page-1)*size, n)
	return from, min(from+size, n)
}

// checkList is GET /v4/task/{task_id}/check-list: the same rows in the envelope, with a search.
// The name of the result's list is not documented.
func (s *checkService) checkList(c *call) answer {
	page, okPage := c.number("page", 1, 1, 1<<30)
	size, okSize := c.number("page_size", 200, 1, 200)
	kinds, okKind := c.choices("check_type", []string{ofBranch}, ofBranch, ofTag, ofMerge, ofCommit)
	from, okFrom := instant(c.query("time_start"))
	to, okTo := instant(c.query("time_end"))
	if !okPage || !okSize || !okKind || len(kinds) != 1 || !okFrom || !okTo || s.opts.CheckListNeedsType && c.query("check_type") == "" {
		return s.badEnvelope(c, "page is from 1, page_size 1 to 200, check_type branch, tag, mr or cr, the times yyyy-MM-ddTHH:mm:ssZ")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	task, found := s.find(c.task())
	if !found {
		return errNoProject()
	}
	rows := []branchTask{}
	for _, t := range s.members(task.family(), kinds[0]) {
		row := s.branchTask(task.family(), t)
		name := cmp.Or(row.BranchName, row.MergeID)
		last := s.lastCheck(t)
		if kinds[0] != ofMerge && kinds[0] != ofCommit {
			last = time.Time{}
		}
		if strings.Contains(*name, c.query("search")) && (last.IsZero() || within(last, from, to)) {
			rows = append(rows, row)
		}
	}
	first, last := pageFromOne(len(rows), page, size)
	return s.success(map[string]any{"checkList": rows[first:last], "total": len(rows)})
}

// within reports whether t lies between from and to, each of which may be zero.
func within(t, from, to time.Time) bool {
	return !t.Before(from) && (to.IsZero() || !t.After(to))
}

// jobWord is the status of an execution in the list of jobs; an initial one is "quering", as the
// document spells it, and is never seen here.
func jobWord(state executionState) string {
	return map[executionState]string{checking: "running", checkFailed: "failed", checkSucceeded: "success", checkStopped: "aborted"}[state]
}

// job is a row of GET /v4/tasks/{task_id}/jobs; its fields are not documented.
type job struct {
	ID        string  `json:"id"`
	TaskID    string  `json:"taskId"`
	Status    string  `json:"status"`
	StartTime *string `json:"startTime"`
	EndTime   *string `json:"endTime"`
}

// jobs is GET /v4/tasks/{task_id}/jobs: the executions, newest first.
func (s *checkService) jobs(c *call) answer {
	page, okPage := c.number("page", 1, 1, 1<<30)
	size, okSize := c.number("page_size", 200, 1, 200)
	legal := []string{"quering", "running", "success", "failed", "aborted"}
	words := []string{}
	for _, value := range c.http.URL.Query()["statuses"] {
		words = append(words, strings.Split(value, ",")...)
	}
	from, okFrom := instant(c.query("begin_start_time"))
	to, okTo := instant(c.query("end_start_time"))
	known := !slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(legal, w) })
	if !okPage || !okSize || !okFrom || !okTo || !known {
		return s.badEnvelope(c, "page is from 1, page_size 1 to 200, statuses of "+strings.Join(legal, ", ")+", the times yyyy-MM-ddTHH:mm:ssZ")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	task, found := s.find(c.task())
	if !found {
		return errNoProject()
	}
	rows := []job{}
	for _, e := range slices.Backward(task.executions) {
		if word := jobWord(e.state); s.registered(e) && within(e.startedAt, from, to) && (len(words) == 0 || slices.Contains(words, word)) {
			rows = append(rows, job{ID: e.id, TaskID: task.id, Status: word, StartTime: s.time(e.startedAt), EndTime: s.time(e.finishedAt)})
		}
	}
	first, last := pageFromOne(len(rows), page, size)
	return s.success(map[string]any{"jobs": rows[first:last], "total": len(rows)})
}

// taskInfo is TaskBasicInfoV3. Of its fields avastarType, branchName and canChangeIgnoreMode are
// documented by name, the next seven by their meaning, and the rest not at all.
type taskInfo struct {
	AvastarType         string  `json:"avastarType"`
	BranchName          string  `json:"branchName"`
	CanChangeIgnoreMode bool    `json:"canChangeIgnoreMode"`
	ID                  string  `json:"id"`
	Name                string  `json:"name"`
	ProjectID           string  `json:"projectId"`
	ProjectName         string  `json:"projectName"`
	RepoURL             string  `json:"repoUrl"`
	ConfigTemplateID    string  `json:"configTemplateId"`
	RepoType            string  `json:"repoType"`
	TaskType            string  `json:"taskType"`
	ParentTaskID        *string `json:"parentTaskId"`
	MergeID             *string `json:"mergeId"`
	SourceBranch        *string `json:"sourceBranch"`
	TargetBranch        *string `json:"targetBranch"`
	MRCheckMode         int     `json:"mrCheckMode"`
	JobID               *string `json:"jobId"`
}

// info is GET /v3/task/{task_id}: the task, or with merge_id its merge request's. A job_id must be
// one of its executions.
func (s *checkService) info(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	task, found := s.find(c.task())
	if id := c.query("merge_id"); found && id != "" && task.parent == nil {
		merge := s.members(task, ofMerge)
		i := slices.IndexFunc(merge, func(t *checkTask) bool { return t.mergeID == id })
		if found = i >= 0; found {
			task = merge[i]
		}
	}
	if !found {
		return errNoProject()
	}
	shown := task.latest()
	if id := c.query("job_id"); id != "" {
		i := slices.IndexFunc(task.executions, func(e *execution) bool { return e.id == id })
		if i < 0 {
			return s.badEnvelope(c, "the task has no such execution")
		}
		shown = task.executions[i]
	}
	body := taskInfo{
		BranchName: task.branch, ID: task.id, Name: task.name, ProjectID: task.project, ProjectName: s.opts.projectName(task.project),
		RepoURL: task.url, ConfigTemplateID: stableID("template", task.family().id), RepoType: task.repoType, TaskType: "full",
		MRCheckMode: task.family().mode,
	}
	if task.parent != nil {
		body.TaskType, body.ParentTaskID, body.MergeID = "inc", &task.parent.id, &task.mergeID
		body.SourceBranch, body.TargetBranch = &task.source, &task.target
	}
	if task.trunk != nil {
		body.ParentTaskID = &task.trunk.id
	}
	if shown != nil {
		body.JobID, c.entry.Execution = &shown.id, shown.id
	}
	return s.success(body)
}

// listedTask is a row of GET /v1/tasks. Of its fields only id is documented by name.
type listedTask struct {
	ID               string   `json:"id"`
	Name             string   `json:"name"`
	ProjectID        string   `json:"projectId"`
	ProjectName      string   `json:"projectName"`
	RepoURL          string   `json:"repoUrl"`
	BranchName       string   `json:"branchName"`
	ConfigTemplateID string   `json:"configTemplateId"`
	RuleSets         []v1Rule `json:"ruleSets"`
	JobStatus        string   `json:"jobStatus"`
	ReviewResult     *string  `json:"reviewResult"`
	LastExecTime     *string  `json:"lastExecTime"`
}

type v1Rule struct {
	Language string `json:"language"`
}

// listV1 is GET /v1/tasks: full tasks, of all projects unless project_id names one.
func (s *checkService) listV1(c *call) answer {
	page, okPage := c.number("page", 1, 1, 1<<30)
	size, okSize := c.number("page_size", 10, 1, 200)
	reviews, okReview := c.choices("review_result_types", nil, "success", "error")
	states, okState := c.choices("job_status_types", nil, "success", "failed", "aborted", "executing", "never_execute")
	project := c.query("project_id")
	if !okPage || !okSize || !okReview || !okState || project != "" && !hexID(project) {
		return s.badEnvelope(c, "page is from 1, page_size 1 to 200, project_id 32 hex digits, review_result_types success and error, "+
			"job_status_types success, failed, aborted, executing and never_execute")
	}
	if project != "" && !s.opts.hasProject(project) {
		return errNoProject()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := []listedTask{}
	for _, t := range s.tasks {
		row := s.v1Row(t)
		if t.parent != nil || t.trunk != nil || project != "" && t.project != project || !strings.Contains(t.name, c.query("search")) ||
			len(states) > 0 && !slices.Contains(states, row.JobStatus) ||
			len(reviews) > 0 && (row.ReviewResult == nil || !slices.Contains(reviews, *row.ReviewResult)) {
			continue
		}
		rows = append(rows, row)
	}
	first, last := pageFromOne(len(rows), page, size)
	return s.success(map[string]any{"tasks": rows[first:last], "total": len(rows)})
}

func (s *checkService) v1Row(t *checkTask) listedTask {
	row := listedTask{
		ID: t.id, Name: t.name, ProjectID: t.project, ProjectName: s.opts.projectName(t.project), RepoURL: t.url, BranchName: t.branch,
		ConfigTemplateID: stableID("template", t.id), RuleSets: []v1Rule{}, JobStatus: "never_execute", LastExecTime: s.time(s.lastCheck(t)),
	}
	for _, language := range t.languages {
		row.RuleSets = append(row.RuleSets, v1Rule{language})
	}
	if e := t.latest(); e != nil {
		row.JobStatus = jobWord(e.state)
		if e.state == checking {
			row.JobStatus = "executing"
		}
	}
	if e := t.latestSuccess(); e != nil {
		row.ReviewResult = new("error")
		if t.passes(countBySeverity(e.result.found.Defects)) {
			row.ReviewResult = new("success")
		}
	}
	return row
}

// addTask is POST /standin/tasks with a TaskSeed: 201 with the task's id, or 400 with the reason.
// So a task can appear that the API cannot create: that of another branch.
func (s *Server) addTask(w http.ResponseWriter, r *http.Request) {
	var seed TaskSeed
	if !readHelper(w, r, "task", &seed) {
		return
	}
	s.check.mu.Lock()
	defer s.check.mu.Unlock()
	problems := seed.problems(s.check.opts, func(id string) bool {
		task, found := s.check.find(id)
		return found && task.family() == task
	})
	if _, taken := s.check.find(seed.ID); taken {
		problems = append(problems, "needs an id of its own")
	}
	if len(problems) > 0 {
		http.Error(w, "the task "+strings.Join(problems, ", and "), http.StatusBadRequest)
		return
	}
	task := s.check.seed(seed)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]string{"task_id": task.id})
}
