package jobs

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// replica is a queue that shares a database, with the engine that does so.
type replica struct {
	*Queue
	*postgresEngine
}

// newReplica makes a queue whose releases go to the service at url. It is started by
// the test, and stopped after it.
func newReplica(t *testing.T, dsn, url string, aliveFor time.Duration) replica {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Postgres: dsn})
	if err != nil {
		t.Fatal(err)
	}
	client, err := huaweicloud.New(huaweicloud.Options{Service: "servicestage", Endpoint: url, Retries: -1, Timeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	checker, err := codecheck.New(codecheck.Options{Client: client, Memory: s})
	if err != nil {
		t.Fatal(err)
	}
	operator, err := release.New(release.Options{
		Client: client, ProjectID: func(context.Context) (string, error) { return "p", nil },
		Poll: release.Poll{Min: 20 * time.Millisecond, Max: 20 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	q, err := New(t.Context(), Options{
		Store: s, Checker: checker, Releaser: operator, AliveFor: aliveFor,
		Parse:  func(event.Delivery) (event.Event, error) { return event.Event{}, errors.New("there are no deliveries") },
		Policy: func() *rules.Policy { return nil },
		Log:    zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel)), Metrics: NewMetrics(prometheus.NewRegistry()),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := errors.Join(q.Stop(ctx), q.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		client.CloseIdle()
	})
	return replica{q, q.engine.(*postgresEngine)}
}

// begin starts a replica that looks after its jobs only when it is told to.
func begin(t *testing.T, dsn, url string) replica {
	t.Helper()
	r := newReplica(t, dsn, url, 24*time.Hour)
	if err := r.Queue.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

const pipelineID = "caf409b1-10df-483a-b14d-7b05f7e12c88"

// addRelease stores a release that may start, with its job.
func (r replica) addRelease(t *testing.T) {
	t.Helper()
	now := time.Now().UTC()
	ev := event.Event{
		Connection: "github", Kind: event.Push, Branch: "main", HeadSHA: "b",
		Repository: event.Repository{Host: event.GitHub, ID: "1", FullName: "acme/api", HTTPSURL: "https://github.com/acme/api.git"},
	}
	err := r.store.Update(t.Context(), func(tx *store.Tx) error {
		_, _, err := tx.AddRun(t.Context(), codecheck.Run{
			ID: "run", DeliveryID: "delivery", Rule: "rule", Event: ev, State: codecheck.Passed,
			Verdict: &codecheck.Verdict{Passed: true}, CreatedAt: now, StartedAt: now, FinishedAt: now, Deadline: now.Add(time.Hour),
		})
		if err != nil {
			return err
		}
		_, err = tx.AddRelease(t.Context(), release.Release{
			ID: "release", RunID: "run", Rule: "rule", Event: ev, State: release.Starting, CreatedAt: now, Deadline: now.Add(time.Hour),
			Plan: rules.Release{Pipeline: pipelineID, Action: rules.ReleaseStart, Timeout: time.Hour},
		})
		if err != nil {
			return err
		}
		return r.enqueue(t.Context(), tx, actReleaseArgs{ReleaseID: "release"})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// job reads the state of the release's job and how often it was begun.
func (r replica) job(t *testing.T) (state string, attempt int) {
	t.Helper()
	until(t, "the job can be read", func() bool {
		return r.alive.pool.QueryRow(t.Context(), `SELECT state::text, attempt FROM river_job WHERE kind = 'act_release'`).Scan(&state, &attempt) == nil
	})
	return state, attempt
}

// exec changes the release's job behind everybody's back.
func (r replica) exec(t *testing.T, set string) {
	t.Helper()
	until(t, "the job can be changed", func() bool {
		_, err := r.alive.pool.Exec(t.Context(), `UPDATE river_job SET `+set+` WHERE kind = 'act_release'`)
		return err == nil
	})
}

// age makes the job one that was not renewed for as long as a replica may be gone.
func (r replica) age(t *testing.T) {
	t.Helper()
	r.exec(t, `attempted_at = now() - interval '25 hours'`)
}

func (r replica) must(t *testing.T, do func(context.Context) error) {
	t.Helper()
	if err := do(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// stepping is how many steps the replica has under way.
func (r replica) stepping() int {
	r.alive.mu.Lock()
	defer r.alive.mu.Unlock()
	return len(r.alive.steps)
}

// released waits until the release has ended, and says how.
func (r replica) released(t *testing.T) (got release.Release) {
	t.Helper()
	until(t, "the release ends", func() bool {
		err := r.store.View(t.Context(), func(tx *store.Tx) (err error) { got, err = tx.Release(t.Context(), "release"); return err })
		return err == nil && got.State.Ended()
	})
	return got
}

// until waits for a condition that must come true some day.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatal("never: " + what)
		case <-ticker.C:
		}
	}
}

// service is a small ServiceStage with one pipeline, whose executions succeed at
// once: nothing but its caller keeps it from starting twice.
type service struct {
	url string

	mu sync.Mutex
	// stall names the method of the one request that waits; empty: none.
	stall string
	// looks and starts count what was asked, starts what took effect.
	looks, starts int
	// stalled gets the request that waits, which goes on when free is closed or its
	// caller has gone.
	stalled chan *http.Request
	free    chan struct{}
}

func newService(t *testing.T, stall string) *service {
	s := &service{stall: stall, stalled: make(chan *http.Request, 1), free: make(chan struct{})}
	mux := http.NewServeMux()
	base := "/v3/p/pipeline/pipelines"
	mux.HandleFunc("GET "+base, s.answer(func() any {
		return []any{map[string]any{"id": pipelineID, "status": release.StatusSucceeded}}
	}))
	mux.HandleFunc("GET "+base+"/"+pipelineID+"/records", s.answer(func() any {
		s.looks++
		var records []any
		for id := range s.starts {
			records = append(records, map[string]any{"id": id + 1, "status": release.StatusSucceeded})
		}
		return map[string]any{"records": records}
	}))
	mux.HandleFunc("POST "+base+"/"+pipelineID+"/action", s.answer(func() any {
		s.starts++
		return map[string]any{"id": s.starts, "status": release.StatusReleasing}
	}))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *service) answer(with func() any) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		s.mu.Lock()
		stalls := req.Method == s.stall
		if stalls {
			s.stall = ""
		}
		s.mu.Unlock()
		if stalls {
			s.stalled <- req
			select {
			case <-s.free:
			case <-req.Context().Done():
				return
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(with())
	}
}

func (s *service) counts() (looks, starts int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.looks, s.starts
}

// waits returns the request that stalls.
func (s *service) waits(t *testing.T) *http.Request {
	t.Helper()
	select {
	case req := <-s.stalled:
		return req
	case <-time.After(45 * time.Second):
		t.Fatal("no request came")
		return nil
	}
}

// startProcess starts a replica as a process of its own, and returns when it works.
func startProcess(t *testing.T, dsn, url string) (kill func()) {
	t.Helper()
	process := exec.Command(os.Args[0], "-test.run=^TestReplicaProcess$")
	process.Env = append(os.Environ(), replicaDSN+"="+dsn, replicaURL+"="+url)
	process.Stderr = os.Stderr
	stdin, err := process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = process.Process.Kill()
		_ = stdin.Close()
		_ = process.Wait()
	})
	t.Cleanup(kill)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); strings.TrimSpace(line) != "started" {
		t.Fatalf("the replica said %q, error %v", line, err)
	}
	return kill
}
