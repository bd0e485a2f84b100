package codecheck

import (
	"cmp"
	"slices"
	"sync"

	"github.com/gatewright/gatewright/internal/event"
)

// taskIndex finds the listed tasks of one project by repository and branch. It is
// safe for concurrent use.
type taskIndex struct {
	mu sync.RWMutex
	// byRepository has the tasks of each repository, by its RepositoryKey.
	byRepository map[string][]indexedTask
	names        map[text]struct{}
	size         int
}

// indexedTask is a listed task and its place in the list.
type indexedTask struct {
	listedTask
	place int
}

func newTaskIndex() *taskIndex {
	return &taskIndex{byRepository: map[string][]indexedTask{}, names: map[text]struct{}{}}
}

// add puts tasks at the end of the list. Adding a task twice does no harm.
func (x *taskIndex) add(tasks ...listedTask) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, t := range tasks {
		t.Creator, t.CheckedAt = "", "" // nothing is found by them
		key := RepositoryKey(string(t.URL))
		x.byRepository[key] = append(x.byRepository[key], indexedTask{t, x.size})
		x.names[t.Name] = struct{}{}
		x.size++
	}
}

// match gives the tasks of a repository whose branch is the given one, the best match
// first: the one with the name that we would give, then the oldest, then the first in the
// list. Where the service lists the tasks of merge requests too, some of them may be
// such ones, because their branch is the source branch then.
func (x *taskIndex) match(repository event.Repository, branch, name string) []listedTask {
	wanted := text(validName(name))
	return x.sorted(repository, func(t listedTask) bool { return string(t.Branch) == branch }, wanted)
}

// others gives the tasks of a repository whose branch is another one, the oldest first:
// the branch may be one of theirs beside their own.
func (x *taskIndex) others(repository event.Repository, branch string) []listedTask {
	return x.sorted(repository, func(t listedTask) bool { return string(t.Branch) != branch }, "")
}

func (x *taskIndex) sorted(repository event.Repository, wanted func(listedTask) bool, name text) []listedTask {
	var found []indexedTask
	x.mu.RLock()
	for _, key := range repositoryKeys(repository) {
		for _, t := range x.byRepository[key] {
			if wanted(t.listedTask) {
				found = append(found, t)
			}
		}
	}
	x.mu.RUnlock()
	slices.SortFunc(found, func(a, b indexedTask) int { return preference(a, b, name) })
	tasks := make([]listedTask, len(found))
	for i, t := range found {
		tasks[i] = t.listedTask
	}
	return tasks
}

// preference orders two tasks: the one with the name, then the older one, then the one
// that is listed first. The service's times sort as text; an unknown one is the last.
func preference(a, b indexedTask, name text) int {
	if aNamed, bNamed := a.Name == name, b.Name == name; name != "" && aNamed != bNamed {
		if aNamed {
			return -1
		}
		return 1
	}
	if a.CreatedAt != b.CreatedAt && (name == "" || a.Name != name) {
		if a.CreatedAt == "" || b.CreatedAt == "" {
			return cmp.Compare(b.CreatedAt, a.CreatedAt)
		}
		return cmp.Compare(a.CreatedAt, b.CreatedAt)
	}
	return cmp.Compare(a.place, b.place)
}

// repositoryKeys are the keys of a repository's addresses, each once.
func repositoryKeys(r event.Repository) []string {
	var keys []string
	for _, address := range []string{r.HTTPSURL, r.SSHURL} {
		if key := RepositoryKey(address); key != "" && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// taken reports whether a task of the project has the name.
func (x *taskIndex) taken(name string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	_, ok := x.names[text(name)]
	return ok
}

func (x *taskIndex) len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.size
}
