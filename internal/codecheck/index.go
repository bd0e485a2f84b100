package codecheck

import (
	"hash/maphash"
	"slices"
	"sync"

	"github.com/gatewright/gatewright/internal/event"
)

// taskIndex is the listed tasks of one project, found by repository and branch
// at a cost that does not grow with their number. It is safe for concurrent use.
type taskIndex struct {
	seed maphash.Seed

	mu sync.RWMutex
	// tasks are in the order of the list. The other fields name them by their
	// place in it, counted from 1; 0 is none.
	tasks []packedTask
	// last is the last task of each hash of a repository and branch. Different ones
	// may share a hash, so what is found by it is still compared.
	last  map[uint64]int32
	names map[string]struct{}
}

// packedTask is a listed task in little memory: its fields stand one after the
// other in words, where id, name, address and branch end at ends.
type packedTask struct {
	words string
	ends  [4]uint32
	// before is the task before this one that has the same hash.
	before int32
}

func packed(t listedTask, before int32) packedTask {
	p := packedTask{words: string(t.ID + t.Name + t.URL + t.Branch + t.CreatedAt), before: before}
	end := 0
	for i, word := range []text{t.ID, t.Name, t.URL, t.Branch} {
		end += len(word)
		p.ends[i] = uint32(end)
	}
	return p
}

func (p *packedTask) unpacked() listedTask {
	w, e := text(p.words), p.ends
	return listedTask{ID: w[:e[0]], Name: w[e[0]:e[1]], URL: w[e[1]:e[2]], Branch: w[e[2]:e[3]], CreatedAt: w[e[3]:]}
}

func newTaskIndex(listed []listedTask) *taskIndex {
	x := &taskIndex{
		seed:  maphash.MakeSeed(),
		tasks: make([]packedTask, 0, len(listed)),
		last:  make(map[uint64]int32, len(listed)),
		names: make(map[string]struct{}, len(listed)),
	}
	for _, t := range listed {
		x.add(t)
	}
	return x
}

// add puts t at the end of the list. A task that is added twice does no harm.
func (x *taskIndex) add(t listedTask) {
	hash := x.hash(RepositoryKey(string(t.URL)), string(t.Branch))
	x.mu.Lock()
	defer x.mu.Unlock()
	p := packed(t, x.last[hash])
	x.tasks = append(x.tasks, p)
	x.last[hash] = int32(len(x.tasks))
	x.names[p.words[p.ends[0]:p.ends[1]]] = struct{}{}
}

func (x *taskIndex) hash(repositoryKey, branch string) uint64 {
	return maphash.Comparable(x.seed, [2]string{repositoryKey, branch})
}

// match finds the full task of a repository and branch. Where several fit, the
// one with the name that we would give wins, else the oldest, else the first in
// the list: a service that lists the tasks of merge requests too does not mark
// them, but each is younger than the full task that it hangs under.
func (x *taskIndex) match(repository event.Repository, branch, name string) (Task, bool) {
	name = legalName(name)
	keys := repositoryKeys(repository)
	x.mu.RLock()
	defer x.mu.RUnlock()
	var best listedTask
	for _, at := range x.candidates(keys, branch) {
		t := x.tasks[at-1].unpacked()
		if string(t.Branch) != branch || !slices.Contains(keys, RepositoryKey(string(t.URL))) {
			continue
		}
		if string(t.Name) == name {
			best = t
			break
		}
		if best.ID == "" || older(t.CreatedAt, best.CreatedAt) {
			best = t
		}
	}
	return Task{ID: string(best.ID), Name: string(best.Name), URL: string(best.URL), Branch: string(best.Branch)}, best.ID != ""
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

// candidates are the places of the tasks that may be those of one of the keys and
// the branch, in the order of the list.
func (x *taskIndex) candidates(keys []string, branch string) []int32 {
	var places []int32
	for _, key := range keys {
		for at := x.last[x.hash(key, branch)]; at != 0; at = x.tasks[at-1].before {
			places = append(places, at)
		}
	}
	slices.Sort(places)
	return places
}

// older compares two times of the service's, which sort as text; an unknown one
// is not older than any.
func older(a, b text) bool { return a != "" && (b == "" || a < b) }

// taken reports whether a task of the project has the name.
func (x *taskIndex) taken(name string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	_, ok := x.names[name]
	return ok
}

func (x *taskIndex) len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.tasks)
}
