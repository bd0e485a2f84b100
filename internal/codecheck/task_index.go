package codecheck

import (
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
		key := RepositoryKey(string(t.URL))
		x.byRepository[key] = append(x.byRepository[key], indexedTask{t, x.size})
		x.names[t.Name] = struct{}{}
		x.size++
	}
}

// match finds the full task of a repository and branch. Where several fit, the
// one with the name that we would give wins, else the oldest, else the first in
// the list: a service that lists the tasks of merge requests too does not mark
// them, but each is younger than the full task that it hangs under.
func (x *taskIndex) match(repository event.Repository, branch, name string) (Task, bool) {
	wanted := text(validName(name))
	x.mu.RLock()
	defer x.mu.RUnlock()
	var best indexedTask
	for _, key := range repositoryKeys(repository) {
		for _, t := range x.byRepository[key] {
			if string(t.Branch) == branch && (best.ID == "" || preferred(t, best, wanted)) {
				best = t
			}
		}
	}
	return Task{ID: string(best.ID), Name: string(best.Name), URL: string(best.URL), Branch: string(best.Branch)}, best.ID != ""
}

// preferred reports whether a is a better match than b, of which the one with the
// name wins.
func preferred(a, b indexedTask, name text) bool {
	switch aNamed, bNamed := a.Name == name, b.Name == name; {
	case aNamed != bNamed:
		return aNamed
	case !aNamed && a.CreatedAt != b.CreatedAt:
		return older(a.CreatedAt, b.CreatedAt)
	}
	return a.place < b.place
}

// older compares two times of the service's, which sort as text; an unknown one
// is not older than any.
func older(a, b text) bool { return a != "" && (b == "" || a < b) }

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
