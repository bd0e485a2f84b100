package codecheck

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// project is a service with one project: it lists, creates and runs its tasks, and
// counts how many pages of the list it was asked for.
type project struct {
	mu    sync.Mutex
	tasks []projectTask
	lists int
	made  int
	// before, if set, is called with the number of each listing, after what it will
	// show is settled, and returns the status that is sent.
	before func(r *http.Request, number int) int
}

type projectTask struct {
	ID     string `json:"task_id"`
	Name   string `json:"task_name"`
	URL    string `json:"git_url"`
	Branch string `json:"git_branch"`
}

func (p *project) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodGet:
		p.serveList(w, r)
	case r.URL.Path == "/v3/task":
		var body taskV3
		_ = json.NewDecoder(r.Body).Decode(&body)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.made++
		t := projectTask{ID: fmt.Sprint("made-", p.made), Name: body.Name, URL: body.RepoURL, Branch: body.Branch}
		p.tasks = append(p.tasks, t)
		_, _ = fmt.Fprintf(w, `{"result":{"id":%q}}`, t.ID)
	case strings.HasSuffix(r.URL.Path, "/task"):
		var body taskV2
		_ = json.NewDecoder(r.Body).Decode(&body)
		p.answerFor(w, body.Increment.ParentTaskID, `{"task_id":"under-%s"}`)
	default:
		id := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/v2/tasks/"), "/run")
		p.answerFor(w, strings.TrimPrefix(id, "under-"), `{"exec_id":"of-%s"}`)
	}
}

func (p *project) serveList(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.lists++
	number, before := p.lists, p.before
	offset, _ := strconv.Atoi(r.URL.Query().Get("offset"))
	from, to := min(offset*pageSize, len(p.tasks)), min((offset+1)*pageSize, len(p.tasks))
	b, _ := json.Marshal(map[string]any{"tasks": append([]projectTask{}, p.tasks[from:to]...), "total": len(p.tasks)})
	p.mu.Unlock()
	if before != nil {
		w.WriteHeader(before(r, number))
	}
	_, _ = w.Write(b)
}

// answerFor answers with format and the task's id, or that there is no such task.
func (p *project) answerFor(w http.ResponseWriter, id, format string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.ContainsFunc(p.tasks, func(t projectTask) bool { return t.ID == id }) {
		_, _ = fmt.Fprint(w, `{"error_code":"CC.00050013","error_msg":"project not exist"}`)
		return
	}
	_, _ = fmt.Fprintf(w, format, id)
}

// has replaces the project's tasks.
func (p *project) has(tasks ...projectTask) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tasks = tasks
}

func (p *project) listed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lists
}

func taskOf(branch, id string) projectTask {
	return projectTask{ID: id, Name: "by-hand-" + branch, URL: testEvent().Repository.HTTPSURL, Branch: branch}
}

func runOf(branch string) Run {
	run := testRun(time.Now())
	run.ID = "run of " + branch
	run.Event.Branch, run.Check.TaskName = branch, "api-"+branch
	return run
}
