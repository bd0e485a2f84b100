package codecheck

import (
	"context"
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
	"github.com/gatewright/gatewright/internal/standin"
)

func TestTasksAreFoundInAKeptListing(t *testing.T) {
	p := newProject(t, taskOf("main", 1), taskOf("dev", 2))
	// The task of each branch.
	tasks := map[string]string{"main": taskOf("main", 1).ID, "dev": taskOf("dev", 2).ID}
	create := func(branch string) { tasks[branch] = p.create(t.Context(), t, branch) }
	remove := func(branch string) { p.remove(t.Context(), t, tasks[branch]) }
	clock := time.Now()
	checker := testChecker(t, p, Options{Now: func() time.Time { return clock }})
	mergeRequest := runOf("main")
	mergeRequest.Event.Kind, mergeRequest.Event.Number, mergeRequest.Event.SourceBranch = event.MergeRequest, 7, "topic"
	mergeRequest.Check.Scan = rules.ScanIncremental

	for _, step := range []struct {
		what   string
		before func()
		run    Run
		origin Origin
		lists  int
	}{
		{"the first lists", func() {}, runOf("main"), Found, 1},
		{"another task is in the same listing", func() {}, runOf("dev"), Found, 1},
		{"a miss lists again before it creates", func() {}, runOf("new"), Created, 2},
		{"what was created is in the listing", func() {}, runOf("new"), Found, 2},
		{"a listing is kept for a while", func() { clock = clock.Add(5*time.Minute - 1) }, runOf("main"), Found, 2},
		{"and no longer", func() { clock = clock.Add(1) }, runOf("main"), Found, 3},
		{"a task made by hand since is not made again", func() { create("hand") }, runOf("hand"), Found, 4},
		{"a deleted task is looked for in a new list", func() { remove("dev"); create("dev") }, runOf("dev"), Found, 5},
		{"a deleted task that is nowhere else is created", func() { remove("dev") }, runOf("dev"), Created, 6},
		{"a deleted parent is looked for in a new list", func() { remove("main"); create("main") }, mergeRequest, Created, 7},
	} {
		step.before()
		checker.options.Memory = newMemory() // what only the database would know
		run, err := startInSteps(t.Context(), checker, step.run)
		if err != nil || run.State != Running {
			t.Fatalf("%s: %s: %s, error %v", step.what, run.State, run.Reason, err)
		}
		full := run.Task.ID
		switch {
		case run.Check.Scan == rules.ScanIncremental:
			full = run.Task.ParentID
		case step.origin == Created:
			tasks[run.Event.Branch] = full
		}
		if full != tasks[run.Event.Branch] || run.Origin != step.origin || p.listed() != step.lists {
			t.Errorf("%s: full task %s is %s after %d listings, want %s %s after %d", step.what,
				full, run.Origin, p.listed(), tasks[run.Event.Branch], step.origin, step.lists)
		}
	}
}

// startDuringListing starts a run of main under ctx, whose listing the service
// answers only after release, and runs of many new branches that come to wait for it.
// It returns what became of the many, and the error of the first.
func startDuringListing(ctx context.Context, t *testing.T, p *project, checker *Checker, reached <-chan struct{}, release func()) (others []Run, errs []error, firstErr error) {
	t.Helper()
	const many = 20
	others, errs = make([]Run, many), make([]error, many)
	var group sync.WaitGroup
	group.Go(func() { _, firstErr = startInSteps(ctx, checker, runOf("main")) })
	<-reached
	var waiters []waiter
	for i := range many {
		ctx := newWaiter(t.Context())
		waiters = append(waiters, ctx)
		group.Go(func() { others[i], errs[i] = startInSteps(ctx, checker, runOf(fmt.Sprint("new-", i))) })
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

// blockFirst lets the first listing wait for released, and closes reached then.
func blockFirst(reached, released chan struct{}) func(*http.Request, int) {
	return func(_ *http.Request, number int) {
		if number == 1 {
			close(reached)
			<-released
		}
	}
}

// Runs that come while a list is read cannot create by it, because it was begun
// before they came; they share the next one.
func TestManyMissesShareOneListing(t *testing.T) {
	reached, released := make(chan struct{}), make(chan struct{})
	p := newProject(t)
	p.before = blockFirst(reached, released)
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
	if made := p.Counts().Acted["create_task_v3"]; p.listed() != 2 || made != 21 {
		t.Errorf("%d listings and %d tasks, want 2 and 21", p.listed(), made)
	}
}

// When the run that reads the list is cancelled, one of those that wait reads on.
func TestCancelledReaderIsFollowedByAnother(t *testing.T) {
	reached := make(chan struct{})
	p := newProject(t)
	p.before = func(r *http.Request, number int) {
		if number == 1 {
			close(reached)
			<-r.Context().Done()
		}
	}
	checker := testChecker(t, p, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	runs, errs, err := startDuringListing(ctx, t, p, checker, reached, cancel)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the first reader: error %v", err)
	}
	for i, run := range runs {
		if errs[i] != nil || run.State != Running {
			t.Errorf("%s: %s, error %v", run.State, run.Reason, errs[i])
		}
	}
	// The page that was not answered is asked for again, and then the next list.
	if p.listed() != 3 {
		t.Errorf("%d listings, want 3", p.listed())
	}
}

// A run that waits for another's listing stops when its own context ends.
func TestWaitingForAListingEndsWithTheContext(t *testing.T) {
	reached, released := make(chan struct{}), make(chan struct{})
	p := newProject(t)
	p.before = blockFirst(reached, released)
	lists := testChecker(t, p, Options{}).lists
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := lists.read(t.Context(), testProject, lists.mark(), time.Now().Add(time.Minute)); err != nil {
			t.Error(err)
		}
	})
	<-reached
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lists.read(ctx, testProject, lists.mark(), time.Now().Add(time.Minute)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := lists.read(t.Context(), testProject, lists.mark(), time.Now()); !errors.As(err, new(notYet)) {
		t.Errorf("no time is left: error %v", err)
	}
	close(released)
	group.Wait()
}

// A task that is created while a list is read may be missing in it.
func TestCreatedTaskEntersTheListThatIsRead(t *testing.T) {
	reached, released := make(chan struct{}), make(chan struct{})
	p := newProject(t)
	p.before = blockFirst(reached, released)
	lists := testChecker(t, p, Options{}).lists
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := lists.read(t.Context(), testProject, lists.mark(), time.Now().Add(time.Minute)); err != nil {
			t.Error(err)
		}
	})
	<-reached
	lists.add(testProject, listedTask{ID: "mine", Name: "n", URL: text(testEvent().Repository.HTTPSURL), Branch: "main"})
	close(released)
	group.Wait()
	index := lists.recent(testProject)
	if got := firstID(index.match(testEvent().Repository, "main", "n")); got != "mine" || !index.taken("n") {
		t.Errorf("task %q", got)
	}
}

// longProject has a list of several pages; each takes 10 seconds of the clock.
func longProject(t *testing.T, pages int) (*project, *time.Time) {
	t.Helper()
	clock := time.Now()
	var tasks []standin.TaskSeed
	for i := range pages * pageSize {
		tasks = append(tasks, taskOf(fmt.Sprint("branch-", i), i))
	}
	p := newProject(t, tasks...)
	p.before = func(*http.Request, int) { clock = clock.Add(10 * time.Second) }
	return p, &clock
}

// A list that takes longer than a step is read on by the next one, of whichever run.
func TestLongListIsReadInSteps(t *testing.T) {
	p, clock := longProject(t, 5)
	checker := testChecker(t, p, Options{Now: func() time.Time { return *clock }})
	first, second := runOf("branch-499"), runOf("new")
	for _, step := range []struct {
		run    *Run
		state  State
		reason string
		lists  int
	}{
		{&first, Starting, "reading the project's task list (200 of 500 tasks)", 2},
		{&second, Starting, "reading the project's task list (400 of 500 tasks)", 4},
		{&first, Running, "the scan is running", 5},
		// What was begun before the second came does not show that its task is missing.
		{&second, Starting, "reading the project's task list (200 of 500 tasks)", 7},
	} {
		next, wait, err := start(t.Context(), checker, *step.run, noSave)
		if err != nil || next.State != step.state || next.Reason != step.reason || p.listed() != step.lists {
			t.Fatalf("%s: %s: %s after %d pages, error %v; want %s: %s after %d", step.run.ID, next.State, next.Reason, p.listed(), err, step.state, step.reason, step.lists)
		}
		if step.state == Starting && wait != minimalWait {
			t.Errorf("wait %s", wait)
		}
		*step.run = next
	}
	next, err := startInSteps(t.Context(), checker, second)
	if err != nil || next.State != Running || next.Origin != Created || p.listed() != 10 {
		t.Errorf("%s: %s, task %s after %d pages, error %v", next.State, next.Reason, next.Origin, p.listed(), err)
	}
}

// A page that cannot be read now does not cost those before it; what cannot be read
// at all is forgotten.
func TestPagesOutliveATransientFailure(t *testing.T) {
	p, clock := longProject(t, 3)
	p.before = nil
	p.failLists(t, standin.Fault{Kind: standin.FaultStatus, Status: http.StatusServiceUnavailable, Next: 1})
	checker := testChecker(t, p, Options{Now: func() time.Time { return *clock }})
	if run, _, err := start(t.Context(), checker, runOf("branch-299"), noSave); err == nil || run.State != Starting {
		t.Errorf("%s, error %v", run.State, err)
	}
	run, _, err := start(t.Context(), checker, runOf("branch-299"), noSave)
	if err != nil || run.State != Running || run.Task.ID != taskOf("", 299).ID || p.listed() != 4 {
		t.Errorf("%s: %s after %d pages, error %v", run.State, run.Reason, p.listed(), err)
	}

	// An answer that is not a task list, as a proxy sends its own page.
	p.failLists(t, standin.Fault{Kind: standin.FaultReplaced, Body: "<html></html>"})
	checker = testChecker(t, p, Options{Now: func() time.Time { return *clock }})
	if run, _, err := start(t.Context(), checker, runOf("branch-299"), noSave); err != nil || run.State != Errored {
		t.Errorf("%s, error %v", run.State, err)
	}
	if len(checker.lists.reading) != 0 {
		t.Error("the list that cannot be read is still being read")
	}
}

// Pages to which nobody has added for a while are too old to be read on.
func TestAbandonedListIsBegunAnew(t *testing.T) {
	p, clock := longProject(t, 3)
	checker := testChecker(t, p, Options{Now: func() time.Time { return *clock }})
	run, _, err := start(t.Context(), checker, runOf("branch-0"), noSave)
	if err != nil || run.Reason != "reading the project's task list (200 of 300 tasks)" {
		t.Fatalf("%s: %s, error %v", run.State, run.Reason, err)
	}
	*clock = clock.Add(5 * time.Minute)
	run, _, err = start(t.Context(), checker, run, noSave)
	if err != nil || run.Reason != "reading the project's task list (200 of 300 tasks)" || p.listed() != 4 {
		t.Errorf("%s: %s after %d pages, error %v", run.State, run.Reason, p.listed(), err)
	}
}

// A step leaves time, before its context ends, for what follows the list.
func TestListEndsBeforeTheContext(t *testing.T) {
	p, clock := longProject(t, 3)
	p.before = nil
	checker := testChecker(t, p, Options{Now: func() time.Time { return *clock }})
	ctx, cancel := context.WithTimeout(t.Context(), listReserve)
	defer cancel()
	run, _, err := start(ctx, checker, runOf("branch-0"), noSave)
	if err != nil || run.Reason != "reading the project's task list (100 of 300 tasks)" {
		t.Errorf("%s: %s, error %v", run.State, run.Reason, err)
	}
}

func TestKeptListsAreBounded(t *testing.T) {
	var tasks []standin.TaskSeed
	for letter, n := range map[string]int{"a": 1, "b": 2, "c": 1, "d": 4, "e": 1, "f": 1} {
		for range n {
			task := taskOf("main", len(tasks))
			task.ProjectID = strings.Repeat(letter, 32)
			tasks = append(tasks, task)
		}
	}
	p := newProject(t, tasks...)
	clock := time.Now()
	lists := testChecker(t, p, Options{Now: func() time.Time { return clock }}).lists
	lists.most = 3
	for _, step := range []struct {
		project string
		tasks   int
		after   time.Duration
		want    []string
	}{
		{"a", 1, 0, []string{"a"}},
		{"b", 2, 0, []string{"a", "b"}},
		{"c", 1, 0, []string{"b", "c"}}, // the oldest goes
		{"d", 4, 0, []string{"d"}},      // too large by itself, but the newest
		{"e", 1, 0, []string{"e"}},
		{"f", 1, 5 * time.Minute, []string{"f"}}, // too old goes
	} {
		clock = clock.Add(step.after)
		got, err := lists.read(t.Context(), strings.Repeat(step.project, 32), lists.mark(), clock.Add(time.Minute))
		if err != nil || got.index.len() != step.tasks {
			t.Fatalf("%s: error %v", step.project, err)
		}
		var kept []string
		for _, project := range slices.Sorted(maps.Keys(lists.kept)) {
			kept = append(kept, project[:1])
		}
		if diff := cmp.Diff(step.want, kept); diff != "" {
			t.Errorf("kept after %s (-want +got):\n%s", step.project, diff)
		}
	}
}
