package store_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// movedClock is a time that only a test moves.
type movedClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *movedClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *movedClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func openAt(t *testing.T, db storetest.Database, now func() time.Time) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{SQLite: db.SQLite, Postgres: db.Postgres, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestPauses(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		clock := &movedClock{at: noon}
		s := openAt(t, db, clock.now)
		save := func(p huaweicloud.Pause) {
			t.Helper()
			if err := s.SavePause(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		first := huaweicloud.Pause{Key: "credentials a", Reason: "first", Since: noon, Until: noon.Add(time.Minute), Refusals: 1}
		second := huaweicloud.Pause{Key: "credentials a", Reason: "second", Since: noon.Add(time.Second), Until: noon.Add(time.Second), Refusals: 1}
		endpoint := huaweicloud.Pause{Key: "codecheck https://h", Reason: "throttled", Since: noon, Until: noon.Add(time.Hour)}
		save(first)
		save(second)
		save(endpoint)
		merged := first
		merged.Refusals = 2
		pauses, _, err := s.SyncReplica(t.Context(), "r1")
		if diff := cmp.Diff([]huaweicloud.Pause{endpoint, merged}, pauses); err != nil || diff != "" {
			t.Errorf("pauses: %v (-want +got)\n%s", err, diff)
		}

		clock.add(time.Minute)
		third := huaweicloud.Pause{Key: "credentials a", Reason: "third", Since: clock.now(), Until: clock.now().Add(time.Minute), Refusals: 1}
		save(third)
		third.Refusals = 3
		if err := s.EndPause(t.Context(), endpoint.Key); err != nil {
			t.Fatal(err)
		}
		pauses, err = s.Pauses(t.Context())
		if diff := cmp.Diff([]huaweicloud.Pause{third}, pauses); err != nil || diff != "" {
			t.Errorf("after the first is over: %v (-want +got)\n%s", err, diff)
		}

		clock.add(25 * time.Hour)
		endpoint.Until = clock.now().Add(time.Second)
		save(endpoint)
		pauses, err = s.Pauses(t.Context())
		if diff := cmp.Diff([]huaweicloud.Pause{endpoint}, pauses); err != nil || diff != "" {
			t.Errorf("a day later: %v (-want +got)\n%s", err, diff)
		}
	})
}

// TestReplicasAreCounted holds that a replica counts for 15 seconds after its last word, and
// that a SQLite file has one.
func TestReplicasAreCounted(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		clock := &movedClock{at: noon}
		s := openAt(t, db, clock.now)
		for _, step := range []struct {
			replica string
			after   time.Duration
			want    int
		}{{"a", 0, 1}, {"b", 0, 2}, {"a", 10 * time.Second, 2}, {"a", 5 * time.Second, 1}, {"b", 0, 2}} {
			clock.add(step.after)
			_, replicas, err := s.SyncReplica(t.Context(), step.replica)
			want := step.want
			if db.SQLite != "" {
				want = 1
			}
			if err != nil || replicas != want {
				t.Errorf("%+v: %d replicas, want %d: %v", step, replicas, want, err)
			}
		}
	})
}

// TestRowsOfEndedReplicasAreDeleted holds that the table has no row for each start of a
// process: a replica that says that it is there deletes those that are long gone.
func TestRowsOfEndedReplicasAreDeleted(t *testing.T) {
	db := storetest.Database{Postgres: storetest.Postgres(t)}
	clock := &movedClock{at: noon}
	s := openAt(t, db, clock.now)
	rows := func() (n int) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), db.Postgres)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		if err := conn.QueryRow(t.Context(), `SELECT COUNT(*) FROM replicas`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i, want := range []int{1, 2, 3, 3, 3} {
		if _, _, err := s.SyncReplica(t.Context(), fmt.Sprintf("start %d", i)); err != nil {
			t.Fatal(err)
		}
		if n := rows(); n != want {
			t.Errorf("after start %d: %d rows, want %d", i, n, want)
		}
		clock.add(30 * time.Second)
	}
}

// replica is a client of a service in a process of its own.
type replica struct {
	client      *huaweicloud.Client
	credentials *huaweicloud.Credentials
	all         *huaweicloud.Replicas
	clock       *movedClock
}

func newReplica(t *testing.T, url string, s *store.Store, clock *movedClock) *replica {
	t.Helper()
	r := &replica{all: huaweicloud.NewReplicas(s, nil, clock.now), clock: clock}
	r.credentials = huaweicloud.NewCredentials(r.key(t, "wrong"), clock.now)
	var err error
	r.client, err = huaweicloud.New(huaweicloud.Options{Service: "codecheck", Endpoint: url, Auth: r.credentials, Replicas: r.all, Now: clock.now, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.CloseIdle)
	return r
}

func (r *replica) key(t *testing.T, secret string) *huaweicloud.Signer {
	t.Helper()
	signer, err := huaweicloud.NewSigner(huaweicloud.SignerOptions{AccessKey: "AK", SecretKey: secret, Replicas: r.all, Now: r.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// call returns the text of the error, or "works".
func (r *replica) call(t *testing.T) string {
	t.Helper()
	err := r.client.Do(t.Context(), huaweicloud.Call{Operation: "list tasks", Method: "GET", Path: "/x", Safe: true}, nil)
	if err == nil {
		return "works"
	}
	return err.Error()
}

// TestRefusedKeyPausesAllReplicas holds that of many replicas two send a refused key, also
// after a restart; that a replaced key is used at once; and that a key which works again
// ends the pause of all.
func TestRefusedKeyPausesAllReplicas(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		clock := &movedClock{at: noon}
		s := openAt(t, db, clock.now)
		var requests atomic.Int64
		var works atomic.Bool
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			requests.Add(1)
			if !works.Load() {
				w.Header()["Date"] = nil
				w.WriteHeader(http.StatusUnauthorized)
				_, _ = w.Write([]byte(`{"error_code":"APIGW.0301","error_msg":"verify aksk signature fail"}`))
			}
		}))
		defer server.Close()
		replicas := []*replica{newReplica(t, server.URL, s, clock), newReplica(t, server.URL, s, clock), newReplica(t, server.URL, s, clock), newReplica(t, server.URL, s, clock)}
		for i, r := range replicas {
			for range 3 {
				if got := r.call(t); !strings.Contains(got, "verify aksk signature fail") {
					t.Fatalf("replica %d: %s", i, got)
				}
			}
			clock.add(time.Second)
		}
		if requests.Load() != 2 {
			t.Errorf("%d requests with a refused key, want 2", requests.Load())
		}
		pauses, err := s.Pauses(t.Context())
		if err != nil || len(pauses) != 1 || pauses[0].Refusals != 2 || strings.Contains(pauses[0].Key+pauses[0].Reason, "wrong") || strings.Contains(pauses[0].Key, "AK") {
			t.Errorf("pauses %+v, %v", pauses, err)
		}
		restarted := newReplica(t, server.URL, s, clock)
		if got := restarted.call(t); !strings.Contains(got, "so that they are not locked") || requests.Load() != 2 {
			t.Errorf("after a restart: %s, %d requests", got, requests.Load())
		}

		works.Store(true)
		renewed := replicas[3]
		renewed.credentials.Replace(t.Context(), renewed.key(t, "right"))
		if got := renewed.call(t); got != "works" {
			t.Errorf("with another key of the same id: %s", got)
		}
		clock.add(3 * time.Second)
		if got := replicas[2].call(t); got != "works" {
			t.Errorf("a replica that was told of the refusals: %s", got)
		}
		if pauses, err := s.Pauses(t.Context()); err != nil || len(pauses) != 0 {
			t.Errorf("pauses %v, %v", pauses, err)
		}
	})
}

// TestThrottledEndpointPausesAllReplicas holds that a Retry-After to one replica is waited
// for by all, and that a 429 without one is waited for a second, then for two, and so on.
func TestThrottledEndpointPausesAllReplicas(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		clock := &movedClock{at: noon}
		s := openAt(t, db, clock.now)
		var requests atomic.Int64
		answers := map[int64]func(http.ResponseWriter){
			1: func(w http.ResponseWriter) { w.Header().Set("Retry-After", "60"); w.WriteHeader(429) },
			3: func(w http.ResponseWriter) { w.WriteHeader(429) },
			6: func(w http.ResponseWriter) { w.WriteHeader(429) },
			7: func(w http.ResponseWriter) { w.WriteHeader(429) },
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if answer := answers[requests.Add(1)]; answer != nil {
				answer(w)
			}
		}))
		defer server.Close()
		one, two := newReplica(t, server.URL, s, clock), newReplica(t, server.URL, s, clock)
		for _, step := range []struct {
			of    *replica
			after time.Duration
			want  string
			sent  int64
		}{
			{one, 0, "list tasks: Too Many Requests (status 429)", 1},
			{two, 0, "list tasks: nothing is sent for 1m0s, because the service asked for a pause: list tasks: Too Many Requests (status 429): not sent", 1},
			{one, 59 * time.Second, "list tasks: nothing is sent for 1s, because the service asked for a pause: list tasks: Too Many Requests (status 429): not sent", 1},
			{two, time.Second, "works", 2},
			{two, 20 * time.Second, "list tasks: Too Many Requests (status 429)", 3},
			{two, 900 * time.Millisecond, "list tasks: nothing is sent for 100ms, because the service asked for a pause: list tasks: Too Many Requests (status 429): not sent", 3},
			{two, 100 * time.Millisecond, "works", 4},
			{one, 2 * time.Second, "works", 5},
			// Again within ten seconds after the pause: twice as long, in all replicas.
			{one, 0, "list tasks: Too Many Requests (status 429)", 6},
			{two, 2 * time.Second, "list tasks: Too Many Requests (status 429)", 7},
			{two, 3900 * time.Millisecond, "list tasks: nothing is sent for 100ms, because the service asked for a pause: list tasks: Too Many Requests (status 429): not sent", 7},
			{one, 100 * time.Millisecond, "works", 8},
		} {
			clock.add(step.after)
			if got := step.of.call(t); got != step.want || requests.Load() != step.sent {
				t.Errorf("%d requests, %s\nwant %d, %s", requests.Load(), got, step.sent, step.want)
			}
		}
	})
}

// TestPauseOfAWrongClock holds that the pause of a replica whose clock is a day ahead keeps the
// others waiting for its length, from when they see it, and not for a day.
func TestPauseOfAWrongClock(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		clock, ahead := &movedClock{at: noon}, &movedClock{at: noon.Add(24 * time.Hour)}
		var requests atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if requests.Add(1) == 1 {
				w.Header().Set("Retry-After", "30")
				w.WriteHeader(429)
			}
		}))
		defer server.Close()
		s := openAt(t, db, clock.now)
		wrong, right := newReplica(t, server.URL, s, ahead), newReplica(t, server.URL, s, clock)
		wrong.call(t)
		if got := right.call(t); !strings.Contains(got, "nothing is sent for 30s") {
			t.Error(got)
		}
		clock.add(29 * time.Second)
		if got := right.call(t); !strings.Contains(got, "nothing is sent for 1s") {
			t.Error(got)
		}
		clock.add(time.Second)
		if got := right.call(t); got != "works" {
			t.Error(got)
		}
	})
}
