package codecheck

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/standin"
)

// The keys of the stand-in and of the clients of the tests.
const (
	testAccessKey = "STANDINACCESSKEY0001"
	testSecretKey = "standin-secret-key"
)

// project is the stand-in, whose repositories cannot be reached, so that every scan
// fails soon. It counts the pages of task lists that it is asked for.
type project struct {
	*standin.Server
	client *huaweicloud.Client

	mu    sync.Mutex
	lists int
	// before, if set, is called with the number of each page before it is read.
	before func(r *http.Request, number int)
}

// newProject is a stand-in with tasks, and the projects that they are of.
func newProject(t *testing.T, tasks ...standin.TaskSeed) *project {
	t.Helper()
	options := standin.Options{
		AccessKey: testAccessKey, SecretKey: testSecretKey, ScanDelay: -1,
		RegionProject: standin.RegionProject{ID: "0a1b2c3d4e5f60718293a4b5c6d7e8f9", Name: "cn-north-4"},
		Projects:      []standin.Project{{ID: testProject, Name: "payments"}},
		Tasks:         tasks,
	}
	known := map[string]bool{"": true}
	for _, task := range tasks {
		if !known[task.ProjectID] {
			known[task.ProjectID] = true
			options.Projects = append(options.Projects, standin.Project{ID: task.ProjectID, Name: task.ProjectID})
		}
	}
	server, err := standin.New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	p := &project{Server: server}
	p.client = testClient(t, p)
	return p
}

func (p *project) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/tasks") {
		p.mu.Lock()
		p.lists++
		number, before := p.lists, p.before
		p.mu.Unlock()
		if before != nil {
			before(r, number)
		}
	}
	p.Handler().ServeHTTP(w, r)
}

func (p *project) listed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lists
}

// failLists lets every page of a task list after the first fail.
func (p *project) failLists(t *testing.T, fault standin.Fault) {
	t.Helper()
	fault.Operations, fault.Skip = []string{"list_tasks"}, 1
	if err := p.SetFaults(standin.Faults{Faults: []standin.Fault{fault}}); err != nil {
		t.Fatal(err)
	}
}

// create creates the task of a branch by hand, and returns its id.
func (p *project) create(ctx context.Context, t *testing.T, branch string) string {
	t.Helper()
	var created struct {
		ID string `json:"task_id"`
	}
	err := p.client.Do(ctx, huaweicloud.Call{
		Operation: "create task", Method: http.MethodPost, Path: huaweicloud.Path("/v2/%s/task", testProject),
		Body: map[string]any{"git_url": testEvent().Repository.HTTPSURL, "git_branch": branch, "language": []string{"GO"}},
	}, &created)
	if err != nil {
		t.Fatal(err)
	}
	return created.ID
}

// remove deletes a task by hand.
func (p *project) remove(ctx context.Context, t *testing.T, id string) {
	t.Helper()
	err := p.client.Do(ctx, huaweicloud.Call{Operation: "delete task", Method: http.MethodDelete, Path: huaweicloud.Path("/v2/tasks/%s", id)}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// taskOf is the task of a branch, with a number of its own.
func taskOf(branch string, number int) standin.TaskSeed {
	return standin.TaskSeed{ID: fmt.Sprintf("%032x", number), Name: "by-hand-" + branch, RepoURL: testEvent().Repository.HTTPSURL, Branch: branch}
}

func runOf(branch string) Run {
	run := testRun(time.Now())
	run.ID = "run of " + branch
	run.Event.Branch, run.Check.TaskName = branch, "api-"+branch
	return run
}
