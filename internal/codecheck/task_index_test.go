package codecheck

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

func indexOf(tasks ...listedTask) *taskIndex {
	x := newTaskIndex()
	x.add(tasks...)
	return x
}

func TestMatchAmongSeveral(t *testing.T) {
	row := func(id, name, branch, created string) listedTask {
		return listedTask{ID: text(id), Name: text(name), URL: "https://github.com/acme/api", Branch: text(branch), CreatedAt: text(created)}
	}
	tests := map[string]struct {
		listed []listedTask
		want   string
	}{
		"other branch":     {[]listedTask{row("a", "n", "dev", "2026-01-01T00:00:00Z")}, ""},
		"our name":         {[]listedTask{row("a", "n", "main", "2026-01-01T00:00:00Z"), row("b", "acme-api", "main", "2026-02-01T00:00:00Z")}, "b"},
		"the oldest":       {[]listedTask{row("a", "n", "main", "2026-02-01T00:00:00Z"), row("b", "m", "main", "2026-01-01T00:00:00Z")}, "b"},
		"an old spelling":  {[]listedTask{row("a", "n", "main", "2026-02-01T00:00:00Z"), row("b", "m", "main", "2020-02-20 11:21:11")}, "b"},
		"no times":         {[]listedTask{row("a", "n", "main", ""), row("b", "m", "main", "")}, "a"},
		"one time unknown": {[]listedTask{row("a", "n", "main", ""), row("b", "m", "main", "2026-01-01T00:00:00Z"), row("c", "m", "main", "")}, "b"},
	}
	for name, test := range tests {
		if got := firstID(indexOf(test.listed...).match(testEvent().Repository, "main", "acme/api")); got != test.want {
			t.Errorf("%s: task %q, want %q", name, got, test.want)
		}
	}
	if got := indexOf(listedTask{ID: "a", Branch: "main"}).match(event.Repository{}, "main", "n"); len(got) > 0 {
		t.Error("a task without an address was taken for a repository without one")
	}
}

// firstID is the id of the first task; empty when there is none.
func firstID(tasks []listedTask) string {
	if len(tasks) == 0 {
		return ""
	}
	return string(tasks[0].ID)
}

// Among many tasks, spread over few repositories in both forms of their addresses,
// each choice is the one that a walk over the whole list makes.
func TestIndexChoosesLikeAWalkOverTheList(t *testing.T) {
	pick := func(random *rand.Rand, of ...string) string { return of[random.IntN(len(of))] }
	// The ssh address of this repository is on a host of its own.
	repository := event.Repository{HTTPSURL: "https://git.acme/team/api.git", SSHURL: "git@ssh.git.acme:team/api.git"}
	found := 0
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 0))
		var listed []listedTask
		for i := range random.IntN(12) {
			listed = append(listed, listedTask{
				ID:        text(fmt.Sprint("t", i)),
				Name:      text(pick(random, "a", "b", "ours", "d", "e", "f")),
				URL:       text(pick(random, repository.HTTPSURL, repository.SSHURL, "https://git.acme/team/web", "")),
				Branch:    text(pick(random, "main", "main", "dev")),
				CreatedAt: text(pick(random, "", "2026-01-01", "2026-01-02", "2026-01-03")),
			})
		}
		want := walkOver(listed, repository, "main", "ours")
		if got := firstID(indexOf(listed...).match(repository, "main", "ours")); got != want {
			t.Errorf("seed %d: task %q, want %q of %+v", seed, got, want, listed)
		}
		if want != "" {
			found++
		}
	}
	if found < 100 {
		t.Errorf("only %d lists had a task that fits", found)
	}
}

// walkOver gives the id of the task that fits best, in the plainest way.
func walkOver(listed []listedTask, repository event.Repository, branch, name string) string {
	best := listedTask{}
	for _, t := range listed {
		key := RepositoryKey(string(t.URL))
		if string(t.Branch) != branch || key != RepositoryKey(repository.HTTPSURL) && key != RepositoryKey(repository.SSHURL) {
			continue
		}
		if string(t.Name) == name {
			return string(t.ID)
		}
		if best.ID == "" || t.CreatedAt != "" && (best.CreatedAt == "" || t.CreatedAt < best.CreatedAt) {
			best = t
		}
	}
	return string(best.ID)
}

// BenchmarkTaskLookup is one lookup in a kept task list, each of another task, for
// an event that was just read; index-bytes is the memory of that list.
func BenchmarkTaskLookup(b *testing.B) {
	for _, n := range []int{10, 100_000, maxKeptTasks} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			before := liveBytes()
			index := indexOf(numberedTasks(n)...)
			size := liveBytes() - before

			options := Options{Now: time.Now, KeepTaskListFor: 24 * time.Hour}
			checker := &Checker{options: options, lists: newTaskLists(api{}, options)}
			checker.lists.kept[testProject] = &taskList{progress: time.Now(), index: index}
			runs := make([]Run, 64)
			b.ResetTimer()
			for i := range b.N {
				if i%len(runs) == 0 {
					b.StopTimer()
					for j := range runs {
						runs[j] = numberedRun((i + j) * 7919 % n)
					}
					b.StartTimer()
				}
				run := &runs[i%len(runs)]
				if _, ok, err := (search{Checker: checker, run: run}).recentlyListed(b.Context()); !ok || err != nil {
					b.Fatalf("%s of %s was not found: %v", run.Event.Branch, run.Event.Repository.FullName, err)
				}
			}
			b.ReportMetric(float64(size), "index-bytes")
		})
	}
}

// numberedTasks are n tasks as a project may have them.
func numberedTasks(n int) []listedTask {
	listed := make([]listedTask, n)
	for i := range listed {
		run := numberedRun(i)
		listed[i] = listedTask{
			ID:        text(fmt.Sprintf("%032x", i)),
			Name:      text(validName(run.Check.TaskName)),
			URL:       text(run.Event.Repository.HTTPSURL),
			Branch:    text(run.Event.Branch),
			CreatedAt: text(time.Unix(int64(1_700_000_000+i), 0).UTC().Format(time.RFC3339)),
		}
	}
	return listed
}

// numberedRun needs task i: each repository has ten branches.
func numberedRun(i int) Run {
	run := testRun(time.Time{})
	name := fmt.Sprintf("acme-payments/service-%05d", i/10)
	run.Event.Branch = fmt.Sprintf("release/%d", i%10)
	run.Event.Repository.FullName = name
	run.Event.Repository.HTTPSURL = "https://github.com/" + name + ".git"
	run.Event.Repository.SSHURL = "git@github.com:" + name + ".git"
	run.Check.TaskName = name + "-" + run.Event.Branch
	return run
}

// liveBytes is what the heap holds after a collection.
func liveBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
