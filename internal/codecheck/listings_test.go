package codecheck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
)

// project is a service with one project: it lists, creates and runs its tasks, and
// counts how often it was asked for the list.
type project struct {
	mu    sync.Mutex
	tasks []projectTask
	lists int
	made  int
	// hold, if set, is called with the number of each listing, after what it will
	// show is settled; an answer other than 200 is the status that is sent.
	hold func(r *http.Request, number int) int
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
	number, hold := p.lists, p.hold
	b, _ := json.Marshal(map[string]any{"tasks": append([]projectTask{}, p.tasks...), "total": len(p.tasks)})
	p.mu.Unlock()
	if hold != nil {
		w.WriteHeader(hold(r, number))
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
	run.Event.Branch, run.Check.TaskName = branch, "api-"+branch
	return run
}

func TestTasksAreFoundInAKeptListing(t *testing.T) {
	p := &project{}
	p.has(taskOf("main", "1"), taskOf("dev", "2"))
	clock := time.Now()
	checker := testChecker(t, p, Options{Now: func() time.Time { return clock }})
	mergeRequest := runOf("main")
	mergeRequest.Event.Kind, mergeRequest.Event.Number, mergeRequest.Event.SourceBranch = event.MergeRequest, 7, "topic"
	mergeRequest.Check.Scan = rules.ScanIncremental

	for _, step := range []struct {
		what   string
		before func()
		run    Run
		task   string
		origin Origin
		lists  int
	}{
		{"the first lists", func() {}, runOf("main"), "1", Found, 1},
		{"another task is in the same listing", func() {}, runOf("dev"), "2", Found, 1},
		{"a miss lists anew before it creates", func() {}, runOf("new"), "made-1", Created, 2},
		{"what was created is in the listing", func() {}, runOf("new"), "made-1", Found, 2},
		{"a listing is kept for a while", func() { clock = clock.Add(5*time.Minute - 1) }, runOf("main"), "1", Found, 2},
		{"and no longer", func() { clock = clock.Add(1) }, runOf("main"), "1", Found, 3},
		{"a task made by hand since is not made again",
			func() { p.has(taskOf("main", "1"), taskOf("dev", "2"), taskOf("hand", "3")) }, runOf("hand"), "3", Found, 4},
		{"a deleted task is looked for afresh", func() { p.has(taskOf("main", "1"), taskOf("dev", "20")) }, runOf("dev"), "20", Found, 5},
		{"a deleted task that is nowhere else is created", func() { p.has(taskOf("main", "1")) }, runOf("dev"), "made-2", Created, 6},
		{"a deleted parent is looked for afresh", func() { p.has(taskOf("main", "10")) }, mergeRequest, "under-10", Created, 7},
	} {
		step.before()
		checker.options.Memory = newMemory() // what only the database would know
		run, _, err := checker.Start(t.Context(), step.run, noSave)
		if err != nil || run.State != Running {
			t.Fatalf("%s: %s: %s, error %v", step.what, run.State, run.Reason, err)
		}
		if run.Task.ID != step.task || run.Origin != step.origin || p.listed() != step.lists {
			t.Errorf("%s: task %s is %s after %d listings, want %s %s after %d", step.what,
				run.Task.ID, run.Origin, p.listed(), step.task, step.origin, step.lists)
		}
	}
}

// waiter is a context that tells when somebody first waits for its end.
type waiter struct {
	context.Context
	waits chan struct{}
	once  *sync.Once
}

func newWaiter(ctx context.Context) waiter {
	return waiter{Context: ctx, waits: make(chan struct{}), once: &sync.Once{}}
}

func (w waiter) Done() <-chan struct{} {
	w.once.Do(func() { close(w.waits) })
	return w.Context.Done()
}

// startDuringListing starts a run of main under ctx, whose listing the service
// holds once it is reached, and runs of many new branches that come to wait for it.
// Then it calls release, which must end the holding. It gives what became of the
// many, and the error of the first.
func startDuringListing(ctx context.Context, t *testing.T, p *project, checker *Checker, reached <-chan struct{}, release func()) (others []Run, errs []error, firstErr error) {
	t.Helper()
	const many = 20
	others, errs = make([]Run, many), make([]error, many)
	var group sync.WaitGroup
	group.Go(func() { _, _, firstErr = checker.Start(ctx, runOf("main"), noSave) })
	<-reached
	var waiters []waiter
	for i := range many {
		ctx := newWaiter(t.Context())
		waiters = append(waiters, ctx)
		group.Go(func() { others[i], _, errs[i] = checker.Start(ctx, runOf(fmt.Sprint("new-", i)), noSave) })
	}
	for _, w := range waiters {
		<-w.waits
	}
	if p.listed() != 1 {
		t.Errorf("%d listings are made at once", p.listed())
	}
	release()
	group.Wait()
	return others, errs, firstErr
}

// Those who come while a listing is made cannot create by it, because it was begun
// before they came; they share the next one.
func TestManyMissesShareOneListing(t *testing.T) {
	reached, released := make(chan struct{}), make(chan struct{})
	p := &project{hold: func(_ *http.Request, number int) int {
		if number == 1 {
			close(reached)
			<-released
		}
		return http.StatusOK
	}}
	checker := testChecker(t, p, Options{})
	runs, errs, err := startDuringListing(t.Context(), t, p, checker, reached, func() { close(released) })
	if err != nil {
		t.Error(err)
	}
	for i, run := range runs {
		if errs[i] != nil || run.State != Running || run.Origin != Created {
			t.Errorf("%s: %s, task %s, error %v", run.State, run.Reason, run.Origin, errs[i])
		}
	}
	if p.listed() != 2 || p.made != 21 {
		t.Errorf("%d listings and %d tasks, want 2 and 21", p.listed(), p.made)
	}
}

// The end of the one who lists is not the end of those who wait: one of them lists.
func TestAbandonedListingIsMadeByAnother(t *testing.T) {
	reached := make(chan struct{})
	p := &project{hold: func(r *http.Request, number int) int {
		if number == 1 {
			close(reached)
			<-r.Context().Done()
		}
		return http.StatusOK
	}}
	checker := testChecker(t, p, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	runs, errs, err := startDuringListing(ctx, t, p, checker, reached, cancel)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the one who listed: error %v", err)
	}
	for i, run := range runs {
		if errs[i] != nil || run.State != Running {
			t.Errorf("%s: %s, error %v", run.State, run.Reason, errs[i])
		}
	}
	if p.listed() != 2 {
		t.Errorf("%d listings, want 2", p.listed())
	}
}

// A service that fails is not asked once more for each who waited.
func TestFailedListingIsShared(t *testing.T) {
	reached, released := make(chan struct{}), make(chan struct{})
	p := &project{hold: func(_ *http.Request, number int) int {
		if number == 1 {
			close(reached)
			<-released
		}
		return http.StatusServiceUnavailable
	}}
	checker := testChecker(t, p, Options{})
	runs, errs, err := startDuringListing(t.Context(), t, p, checker, reached, func() { close(released) })
	if err == nil {
		t.Error("the one who listed had no error")
	}
	for i, run := range runs {
		if errs[i] == nil || run.State != Starting {
			t.Errorf("%s, error %v", run.State, errs[i])
		}
	}
	if p.listed() != 1 {
		t.Errorf("%d listings, want 1", p.listed())
	}
}

// Who waits for another's listing stops when its own context ends.
func TestWaitingForAListingEndsWithTheContext(t *testing.T) {
	reached, released := make(chan struct{}), make(chan struct{})
	p := &project{hold: func(*http.Request, int) int {
		close(reached)
		<-released
		return http.StatusOK
	}}
	checker := testChecker(t, p, Options{})
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := checker.listings.recent(t.Context(), testProject); err != nil {
			t.Error(err)
		}
	})
	<-reached
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := checker.listings.recent(ctx, testProject); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	close(released)
	group.Wait()
}

// A task that is created while a listing is made may be missing in the answer.
func TestCreatedTaskEntersTheListingThatIsBeingMade(t *testing.T) {
	reached, released := make(chan struct{}), make(chan struct{})
	p := &project{hold: func(*http.Request, int) int {
		close(reached)
		<-released
		return http.StatusOK
	}}
	l := testChecker(t, p, Options{}).listings
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := l.recent(t.Context(), testProject); err != nil {
			t.Error(err)
		}
	})
	<-reached
	l.created(testProject, listedTask{ID: "mine", Name: "n", URL: text(testEvent().Repository.HTTPSURL), Branch: "main"})
	close(released)
	group.Wait()
	kept, err := l.recent(t.Context(), testProject)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := kept.index.match(testEvent().Repository, "main", "n"); got.ID != "mine" || !kept.index.taken("n") {
		t.Errorf("task %q", got.ID)
	}
}

func TestKeptListingsAreBounded(t *testing.T) {
	p := &project{}
	clock := time.Now()
	l := testChecker(t, p, Options{Now: func() time.Time { return clock }}).listings
	l.most = 3
	for _, step := range []struct {
		project string
		tasks   int
		after   time.Duration
		want    []string
	}{
		{"a", 1, 0, []string{"a"}},
		{"b", 2, 0, []string{"a", "b"}},
		{"c", 1, 0, []string{"b", "c"}}, // the oldest goes
		{"d", 4, 0, nil},                // too large by itself, and the others are older
		{"e", 1, 0, []string{"e"}},
		{"f", 1, 5 * time.Minute, []string{"f"}}, // too old goes
	} {
		clock = clock.Add(step.after)
		p.has(slices.Repeat([]projectTask{{}}, step.tasks)...)
		for i := range p.tasks {
			p.tasks[i] = taskOf("main", fmt.Sprint(i))
		}
		got, err := l.recent(t.Context(), step.project)
		if err != nil || got.index.len() != step.tasks {
			t.Fatalf("%s: error %v", step.project, err)
		}
		if diff := cmp.Diff(step.want, slices.Sorted(maps.Keys(l.kept))); diff != "" {
			t.Errorf("kept after %s (-want +got):\n%s", step.project, diff)
		}
	}
}

// A listing that is too large to be kept serves the one who made it all the same.
func TestListingThatIsNotKept(t *testing.T) {
	p := &project{}
	p.has(taskOf("main", "1"))
	checker := testChecker(t, p, Options{})
	checker.listings.most = 0
	run, _, err := checker.Start(t.Context(), runOf("new"), noSave)
	if err != nil || run.State != Running || run.Origin != Created || p.listed() != 1 {
		t.Errorf("%s: %s, error %v, %d listings", run.State, run.Reason, err, p.listed())
	}
	if len(checker.listings.kept) != 0 {
		t.Error("the listing was kept")
	}
}
