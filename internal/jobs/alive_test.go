package jobs

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/storetest"
)

// TestLiveReplicaKeepsItsJobs: a job whose step goes on is not given back, also
// after the connections of its replica were cut.
func TestLiveReplicaKeepsItsJobs(t *testing.T) {
	dsn, services := storetest.Postgres(t), newService(t, http.MethodGet)
	b := begin(t, dsn, services.url)
	b.addRelease(t)
	services.waits(t)
	a := begin(t, dsn, services.url)
	for range 3 {
		b.age(t)
		until(t, "all connections are cut", func() bool {
			_, err := a.alive.pool.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid()`)
			return err == nil
		})
		until(t, "the job is renewed", func() bool { return b.alive.renew(t.Context()) == nil })
		until(t, "others look for dead replicas", func() bool { return a.alive.giveBack(t.Context()) == nil })
		if state, attempt := a.job(t); state != "running" || attempt != 1 {
			t.Fatalf("the job is %s at attempt %d", state, attempt)
		}
	}
	close(services.free)
	if r := a.released(t); r.State != release.Succeeded {
		t.Errorf("the release ended %s: %s", r.State, r.Reason)
	}
	if _, starts := services.counts(); starts != 1 {
		t.Errorf("%d starts", starts)
	}
}

// TestJobGivenBackWhileItsStepGoesOn: a replica that was paused is still at its step,
// before and after its intent, when another has taken its job up and wants to do the
// same. The pipeline is started once.
func TestJobGivenBackWhileItsStepGoesOn(t *testing.T) {
	for _, test := range []struct {
		name, stall string
		// second waits until the second step has come as far as it can.
		second func(t *testing.T, s *service)
	}{
		{"before the intent", http.MethodGet, func(t *testing.T, s *service) {
			until(t, "the second step starts the pipeline", func() bool { _, starts := s.counts(); return starts == 1 })
		}},
		{"after the intent", http.MethodPost, func(t *testing.T, s *service) {
			until(t, "the second step looks twice", func() bool { looks, _ := s.counts(); return looks >= 3 })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dsn, services := storetest.Postgres(t), newService(t, test.stall)
			b := begin(t, dsn, services.url)
			b.addRelease(t)
			services.waits(t)
			a := begin(t, dsn, services.url)
			b.age(t)
			a.must(t, a.alive.giveBack)
			test.second(t, services)
			close(services.free)
			if r := a.released(t); r.State != release.Succeeded || len(r.Actions) != 1 {
				t.Errorf("the release ended %s after %+v: %s", r.State, r.Actions, r.Reason)
			}
			until(t, "both steps end", func() bool { return a.stepping()+b.stepping() == 0 })
			if _, starts := services.counts(); starts != 1 {
				t.Errorf("%d starts", starts)
			}
		})
	}
}

// TestStepThatIsNotRenewedIsCancelled, well before others may take its job up.
func TestStepThatIsNotRenewedIsCancelled(t *testing.T) {
	services := newService(t, http.MethodGet)
	b := newReplica(t, storetest.Postgres(t), services.url, 600*time.Millisecond)
	if err := b.Queue.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.alive.end() // from here on it is cut off
	b.addRelease(t)
	select {
	case <-services.waits(t).Context().Done():
	case <-time.After(45 * time.Second):
		t.Fatal("the step goes on")
	}
	if r := b.released(t); r.State != release.Succeeded {
		t.Errorf("the release ended %s: %s", r.State, r.Reason)
	}
}

// TestOnlyReplicasThatRenewLoseTheirJobs: a replica of an older version does not
// renew, so that nothing can be told from its jobs.
func TestOnlyReplicasThatRenewLoseTheirJobs(t *testing.T) {
	a := newReplica(t, storetest.Postgres(t), "http://127.0.0.1:1", 24*time.Hour)
	a.addRelease(t)
	for _, test := range []struct{ owners, want string }{
		{`'host_2026_11_22T15_10_46_000000'`, "running"},
		{`'alive_one', 'host_2026_11_22T15_10_46_000000'`, "running"},
		{`'host_2026_11_22T15_10_46_000000', 'alive_one'`, "available"},
		{`'alive_one'`, "available"},
	} {
		a.exec(t, `state = 'running', attempted_by = ARRAY[`+test.owners+`]`)
		a.age(t)
		a.must(t, a.alive.giveBack)
		if state, _ := a.job(t); state != test.want {
			t.Errorf("the job of %s is %s, want %s", test.owners, state, test.want)
		}
	}
}

// TestJobsAreRenewedUntilTheyEnd: also while the queue stops.
func TestJobsAreRenewedUntilTheyEnd(t *testing.T) {
	services := newService(t, http.MethodGet)
	b := newReplica(t, storetest.Postgres(t), services.url, 6*time.Second)
	if err := b.Queue.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.addRelease(t)
	services.waits(t)
	stopped := make(chan error, 1)
	go func() { stopped <- b.Queue.Stop(context.WithoutCancel(t.Context())) }()
	for range 2 {
		b.exec(t, `attempted_at = now() - interval '5 seconds'`)
		until(t, "the job is renewed", func() bool {
			var young bool
			err := b.alive.pool.QueryRow(t.Context(), `SELECT attempted_at > now() - interval '4 seconds' FROM river_job WHERE kind = 'act_release'`).Scan(&young)
			if err != nil {
				t.Fatal(err)
			}
			return young
		})
	}
	select {
	case err := <-stopped:
		t.Fatal("the queue stopped with a step under way:", err)
	default:
	}
	close(services.free)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if state, attempt := b.job(t); state != "completed" || attempt != 1 {
		t.Errorf("the job is %s at attempt %d", state, attempt)
	}
}

// Where the killed replica finds the database and the services of its parent.
const (
	replicaDSN = "GATEWRIGHT_TEST_REPLICA_DSN"
	replicaURL = "GATEWRIGHT_TEST_REPLICA_URL"
	killedFor  = 3 * time.Second
)

// TestReplicaProcess is the replica that TestKilledReplica kills, and no test.
func TestReplicaProcess(t *testing.T) {
	if os.Getenv(replicaDSN) == "" {
		return
	}
	b := newReplica(t, os.Getenv(replicaDSN), os.Getenv(replicaURL), killedFor)
	if err := b.Queue.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	fmt.Println("started")
	_, _ = os.Stdin.Read(make([]byte, 1)) // until killed, or the parent is gone
}

// TestKilledReplica kills a process in the middle of a step; another one takes its
// job up long before it would be rescued.
func TestKilledReplica(t *testing.T) {
	dsn, services := storetest.Postgres(t), newService(t, http.MethodGet)
	a := newReplica(t, dsn, services.url, killedFor)
	kill := startProcess(t, dsn, services.url)
	a.addRelease(t)
	services.waits(t)
	kill()
	if err := a.Queue.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := a.released(t); r.State != release.Succeeded {
		t.Errorf("the release ended %s: %s", r.State, r.Reason)
	}
	if _, starts := services.counts(); starts != 1 {
		t.Errorf("%d starts", starts)
	}
	if _, attempt := a.job(t); attempt != 2 {
		t.Errorf("the job was begun %d times, want 2", attempt)
	}
}
