package codecheck

import (
	"context"
	"maps"
	"sync"
	"time"
)

// maxKeptTasks is how many listed tasks are kept of all projects together, but for
// the list that was read last: some 80 MB.
const maxKeptTasks = 200_000

// taskLists reads the task lists of projects and keeps the newest of each for a
// while. A list may be too long for one step: then its pages are kept, and the next
// step of any run continues. It is safe for concurrent use.
type taskLists struct {
	api api
	now func() time.Time
	// maxPages bounds one list.
	maxPages int
	// keepFor is how long a list is kept after its last page was read, whether it is
	// complete or not.
	keepFor time.Duration
	// most is maxKeptTasks.
	most int

	mu       sync.Mutex
	lastMark time.Time
	kept     map[string]*taskList
	reading  map[string]*taskList
}

// taskList is one reading of a project's task list.
type taskList struct {
	// begun is a mark.
	begun time.Time
	index *taskIndex
	// turn has room for one: whoever reads pages.
	turn chan struct{}
	// pages reads the rest; nil when the list is complete. It belongs to whoever has
	// the turn.
	pages *taskPages
	// progress is when the last page was read; guarded by taskLists.mu.
	progress time.Time
}

func newTaskLists(a api, o Options) *taskLists {
	return &taskLists{api: a, now: o.Now, maxPages: o.MaxPages, keepFor: o.KeepTaskListFor, most: maxKeptTasks,
		kept: map[string]*taskList{}, reading: map[string]*taskList{}}
}

// mark returns the time, and never the same twice, so that marks tell which of two
// things was first. Between processes they are as exact as the clocks.
func (l *taskLists) mark() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nextMark()
}

func (l *taskLists) nextMark() time.Time {
	now := l.now().UTC().Round(0)
	if !now.After(l.lastMark) {
		now = l.lastMark.Add(1)
	}
	l.lastMark = now
	return now
}

// recent gives the tasks of a list that is kept; nil when none is.
func (l *taskLists) recent(project string) *taskIndex {
	l.mu.Lock()
	defer l.mu.Unlock()
	x, ok := l.kept[project]
	if !ok || l.now().Sub(x.progress) >= l.keepFor {
		return nil
	}
	return x.index
}

// read gives the complete list that is kept, if it was begun after since, else the
// one that is being read, whenever that was begun, else a new one. Until then it
// reads pages, or waits for another caller that does. It returns notYet when it is
// not complete by the time until. Its other errors are those of the service and of
// ctx; unless they are permanent the pages read before stay.
func (l *taskLists) read(ctx context.Context, project string, since, until time.Time) (*taskList, error) {
	x := l.current(project, since)
	if err := x.takeTurn(ctx, until.Sub(l.now())); err != nil {
		return nil, err
	}
	defer func() { <-x.turn }()
	for x.pages != nil {
		complete, err := l.readPage(ctx, project, x)
		if err != nil {
			return nil, err
		}
		if !complete && !l.now().Before(until) {
			return nil, notYet{reason: "reading the project's task list (" + x.pages.progress() + ")", wait: minimalWait}
		}
	}
	return x, nil
}

// takeTurn waits, for a time, until nobody else reads pages of x.
func (x *taskList) takeTurn(ctx context.Context, wait time.Duration) error {
	select {
	case x.turn <- struct{}{}:
		return nil
	default:
	}
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	select {
	case x.turn <- struct{}{}:
		return nil
	case <-timeout.C:
		return notYet{reason: "another run is reading the project's task list; waits for it", wait: minimalWait}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// current is the list that read gives.
func (l *taskLists) current(project string, since time.Time) *taskList {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x, ok := l.kept[project]; ok && x.begun.After(since) {
		return x
	}
	x, ok := l.reading[project]
	if !ok || l.now().Sub(x.progress) >= l.keepFor {
		x = &taskList{begun: l.nextMark(), progress: l.now(), index: newTaskIndex(),
			turn: make(chan struct{}, 1), pages: newTaskPages(l.api, project, l.maxPages)}
		l.reading[project] = x
	}
	return x
}

// readPage reads the next page of x, whose turn the caller has.
func (l *taskLists) readPage(ctx context.Context, project string, x *taskList) (complete bool, err error) {
	tasks, complete, err := x.pages.next(ctx)
	x.index.add(tasks...)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case Permanent(err):
		l.finished(project, x)
		return false, err
	case err != nil:
		return false, err
	case complete:
		x.pages = nil
		l.finished(project, x)
		l.kept[project] = x
	}
	x.progress = l.now()
	l.trim(x)
	return complete, nil
}

// finished ends the reading of x, unless another has taken its place.
func (l *taskLists) finished(project string, x *taskList) {
	if l.reading[project] == x {
		delete(l.reading, project)
	}
}

// trim drops the lists that are too old, and then the oldest complete ones, except
// newest, until no more than most tasks are kept.
func (l *taskLists) trim(newest *taskList) {
	tooOld := func(_ string, x *taskList) bool { return l.now().Sub(x.progress) >= l.keepFor }
	maps.DeleteFunc(l.reading, tooOld)
	maps.DeleteFunc(l.kept, tooOld)
	tasks := 0
	for _, x := range l.kept {
		tasks += x.index.len()
	}
	for tasks > l.most {
		oldest := ""
		for project, x := range l.kept {
			if x != newest && (oldest == "" || x.begun.Before(l.kept[oldest].begun)) {
				oldest = project
			}
		}
		if oldest == "" {
			return
		}
		tasks -= l.kept[oldest].index.len()
		delete(l.kept, oldest)
	}
}

// add adds a task that we created to what is known of the project: a list that is
// being read may not show it.
func (l *taskLists) add(project string, t listedTask) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range []*taskList{l.kept[project], l.reading[project]} {
		if x != nil {
			x.index.add(t)
		}
	}
}
