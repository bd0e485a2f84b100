package main

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/rules"
)

// noticeRate is the requests a second to which one of the measurements is limited.
const noticeRate = 20

// notice measures how long after its end an execution is noticed, and how often it is asked
// for, with many runs in flight and the default poll settings: by the real client on a
// simulated clock. Nine of ten scans take about as long as the earlier ones of their task, up
// to a twentieth more or less; the others between a third of that and twice as long.
func (m *measurer) notice(ctx context.Context) error {
	for round := range m.rounds {
		free, err := simulate(ctx, m.sizes.inFlight, 0, uint64(round))
		if err != nil {
			return err
		}
		limited, err := simulate(ctx, m.sizes.inFlight, noticeRate, uint64(round))
		if err != nil {
			return err
		}
		m.add("notice_seconds_usual", free.usual.Seconds(), "s")
		m.add("notice_seconds", free.longest.Seconds(), "s")
		m.add(fmt.Sprintf("notice_seconds_at_%d", noticeRate), limited.longest.Seconds(), "s")
		m.add("polls_per_run", free.polls, "polls")
		m.add("polls_per_run_unlearned", free.unlearned, "polls")
	}
	return nil
}

// noticed is what a simulation found: the longest time until an end was noticed of all runs
// and of those of usual length, and the polls of a run, on the average, and what they would be
// with nothing known of earlier scans.
type noticed struct {
	longest, usual   time.Duration
	polls, unlearned float64
}

// simulation is a service that answers for many tasks on a clock of its own, and the memory of
// their earlier scans.
type simulation struct {
	codecheck.Memory
	now time.Time
	// took are the earlier scans by task, ends when the running one ends.
	took map[string][]time.Duration
	ends map[string]time.Time
	// seen is when an ended scan was asked for.
	seen map[string]time.Time
}

// ScanTimes tells of the earlier scans.
func (s *simulation) ScanTimes(_ context.Context, run codecheck.Run) ([]time.Duration, error) {
	return s.took[run.Event.Repository.ID], nil
}

// ServeHTTP starts scans and tells of their progress.
func (s *simulation) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	task := r.PathValue("task")
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.Method == http.MethodPost:
		fmt.Fprintf(w, `{"exec_id": %q}`, task)
	case s.now.Before(s.ends[task]):
		fmt.Fprint(w, `{"task_status": 0, "progress": {"ratio": "50%", "info": ""}}`)
	default:
		s.seen[task] = s.now
		fmt.Fprint(w, `{"task_status": 3, "progress": {"ratio": null, "info": null}}`)
	}
}

const simulatedProject = "41b8df4bf53f4d51b8e6c5b32e8d2a07"

func pushOf(id string) event.Event {
	return event.Event{
		Connection: "github", Kind: event.Push, Branch: "main", HeadSHA: "a",
		Repository: event.Repository{Host: event.GitHub, ID: id, FullName: "acme/" + id, HTTPSURL: "https://github.com/acme/" + id + ".git"},
	}
}

// followed is a run and when it is looked at next.
type followed struct {
	run codecheck.Run
	due time.Time
}

// byDue is a heap of what is followed.
type byDue []followed

func (h byDue) Len() int           { return len(h) }
func (h byDue) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h byDue) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byDue) Push(f any)        { *h = append(*h, f.(followed)) }
func (h *byDue) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// simulate follows a number of runs to their ends. rate is the requests a second that may be
// sent; 0 is any number.
func simulate(ctx context.Context, runs int, rate float64, seed uint64) (n noticed, err error) {
	s := &simulation{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), took: map[string][]time.Duration{}, ends: map[string]time.Time{}, seen: map[string]time.Time{}}
	mux := http.NewServeMux()
	mux.Handle("POST /v2/tasks/{task}/run", s)
	mux.Handle("GET /v2/tasks/{task}/progress", s)
	server := httptest.NewServer(mux)
	defer server.Close()
	client, err := huaweicloud.New(huaweicloud.Options{Service: "codecheck", Endpoint: server.URL, Retries: -1})
	if err != nil {
		return n, err
	}
	defer client.CloseIdle()
	checker, err := codecheck.New(codecheck.Options{Client: client, Memory: s, JobID: codecheck.On, Now: func() time.Time { return s.now }})
	if err != nil {
		return n, err
	}
	random := rand.New(rand.NewPCG(seed, 1))
	about := func(d time.Duration) time.Duration { return time.Duration(float64(d) * (0.95 + 0.1*random.Float64())) }
	began := s.now
	var queue byDue
	for i := range runs {
		id := fmt.Sprintf("%032x", i+1)
		usually := 2*time.Minute + time.Duration(random.Int64N(int64(3*time.Minute)))
		for range 5 {
			s.took[id] = append(s.took[id], about(usually))
		}
		// All of them start within a minute, so that all are in flight at once.
		s.now = began.Add(time.Duration(random.Int64N(int64(time.Minute))))
		run := codecheck.Run{
			ID: id, Event: pushOf(id), State: codecheck.Queued, CreatedAt: s.now, Deadline: s.now.Add(time.Hour), Task: codecheck.Task{ID: id},
			Check: rules.Check{ProjectID: simulatedProject, Scan: rules.ScanFull, Ref: rules.RefOmit},
		}
		run, _, _, err := checker.Prepare(ctx, run)
		var wait time.Duration
		if err == nil {
			run, wait, err = checker.Send(ctx, run)
		}
		if err != nil || run.State != codecheck.Running {
			return n, cmp.Or(err, fmt.Errorf("a run is %s: %s", run.State, run.Reason))
		}
		scan := about(usually)
		if random.IntN(10) == 0 {
			scan = usually/3 + time.Duration(random.Int64N(int64(usually*5/3)))
		}
		s.ends[id] = s.now.Add(scan)
		for since, quarter := time.Duration(0), time.Duration(0); since < scan; since += quarter {
			quarter = min(max(since/4, 3*time.Second), 15*time.Second)
			n.unlearned++
		}
		queue = append(queue, followed{run, s.now.Add(wait)})
	}
	heap.Init(&queue)
	free := began
	for len(queue) > 0 && ctx.Err() == nil {
		next := heap.Pop(&queue).(followed)
		if s.now = next.due; rate > 0 {
			if s.now.Before(free) {
				s.now = free
			}
			free = s.now.Add(time.Duration(float64(time.Second) / rate))
		}
		run, wait, err := checker.Poll(ctx, next.run)
		n.polls++
		seen, ended := s.seen[run.ID]
		switch {
		case ended:
			late := seen.Sub(s.ends[run.ID])
			n.longest = max(n.longest, late)
			if scan := s.ends[run.ID].Sub(run.StartedAt); scan >= run.Usual.From && scan <= run.Usual.To {
				n.usual = max(n.usual, late)
			}
		case err != nil || run.State != codecheck.Running:
			return n, cmp.Or(err, fmt.Errorf("a run is %s: %s", run.State, run.Reason))
		default:
			heap.Push(&queue, followed{run, s.now.Add(wait)})
		}
	}
	n.polls, n.unlearned = n.polls/float64(runs), n.unlearned/float64(runs)
	return n, ctx.Err()
}
