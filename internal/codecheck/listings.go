package codecheck

import (
	"context"
	"sync"
	"time"
)

// mostKept is how many listed tasks are kept at most, of all projects together:
// some 50 MB.
const mostKept = 200_000

// listings keeps the newest listing of each project's tasks for a while, and lets
// those who need a new one at the same time share it. It is safe for concurrent
// use.
type listings struct {
	list func(ctx context.Context, project string) ([]listedTask, error)
	now  func() time.Time
	// keepFor is how long after its begin a listing is kept.
	keepFor time.Duration
	// most is how many tasks are kept; a listing that alone has more serves only
	// those who waited for it.
	most int

	mu sync.Mutex
	// begun counts the listings of all projects.
	begun  int
	kept   map[string]*listing
	flying map[string]*listing
}

// listing is one reading of a project's task list.
type listing struct {
	// number and at say when it was begun.
	number int
	at     time.Time
	// created are tasks that we made since, which it may not show.
	created []listedTask

	// done is closed when the rest is set. An abandoned listing has nothing for
	// anybody else: the one who made it stopped before the service had answered,
	// because its context ended. A listing is abandoned until read says otherwise.
	done      chan struct{}
	index     *taskIndex
	err       error
	abandoned bool
}

func newListings(a api, now func() time.Time, keepFor time.Duration) *listings {
	return &listings{list: a.list, now: now, keepFor: keepFor, most: mostKept,
		kept: map[string]*listing{}, flying: map[string]*listing{}}
}

// mark is a point in time for after.
func (l *listings) mark() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begun
}

// recent gives a listing that was begun less than keepFor ago.
func (l *listings) recent(ctx context.Context, project string) (*listing, error) {
	now := l.now()
	return l.get(ctx, project, func(x *listing) bool { return now.Sub(x.at) < l.keepFor })
}

// after gives a listing that was begun after mark.
func (l *listings) after(ctx context.Context, project string, mark int) (*listing, error) {
	return l.get(ctx, project, func(x *listing) bool { return x.number > mark })
}

// get gives a listing that is enough: the kept one, one that somebody is making, or
// else a new one, which always is enough. Its error is that of the listing, or
// the end of ctx.
func (l *listings) get(ctx context.Context, project string, enough func(*listing) bool) (*listing, error) {
	for {
		l.mu.Lock()
		if kept, ok := l.kept[project]; ok && enough(kept) {
			l.mu.Unlock()
			return kept, nil
		}
		others, flying := l.flying[project]
		if !flying {
			l.begun++
			mine := &listing{number: l.begun, at: l.now(), done: make(chan struct{}), abandoned: true}
			l.flying[project] = mine
			l.mu.Unlock()
			l.read(ctx, project, mine)
			return mine, mine.err
		}
		l.mu.Unlock()
		select {
		case <-others.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if enough(others) && !others.abandoned {
			return others, others.err
		}
	}
}

// read lists the project's tasks into x.
func (l *listings) read(ctx context.Context, project string, x *listing) {
	defer l.finish(project, x)
	listed, err := l.list(ctx, project)
	x.err, x.abandoned = err, err != nil && ctx.Err() != nil
	if err == nil {
		x.index = newTaskIndex(listed)
	}
}

// finish keeps x, when it has something, and wakes those who wait for it.
func (l *listings) finish(project string, x *listing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.flying, project)
	if x.index != nil {
		for _, t := range x.created {
			x.index.add(t)
		}
		l.kept[project] = x
		l.trim()
	}
	close(x.done)
}

// trim drops the listings that are too old, and then the oldest ones until no more
// than most tasks are kept.
func (l *listings) trim() {
	now, tasks := l.now(), 0
	for project, x := range l.kept {
		if now.Sub(x.at) >= l.keepFor {
			delete(l.kept, project)
			continue
		}
		tasks += x.index.len()
	}
	for tasks > l.most {
		oldest := ""
		for project, x := range l.kept {
			if oldest == "" || x.number < l.kept[oldest].number {
				oldest = project
			}
		}
		tasks -= l.kept[oldest].index.len()
		delete(l.kept, oldest)
	}
}

// created adds a task that we made to what is listed of the project.
func (l *listings) created(project string, t listedTask) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if kept, ok := l.kept[project]; ok {
		kept.index.add(t)
	}
	if flying, ok := l.flying[project]; ok {
		flying.created = append(flying.created, t)
	}
}
