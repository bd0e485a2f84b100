package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// jumpingClock runs like the real one, with a difference that a test sets.
type jumpingClock struct{ difference atomic.Int64 }

func (c *jumpingClock) now() time.Time {
	return time.Now().Add(time.Duration(c.difference.Load()))
}

func (c *jumpingClock) jump(difference time.Duration) { c.difference.Store(int64(difference)) }

// newClockBench is a bench whose every part has the one clock.
func newClockBench(t *testing.T, db storetest.Database, clock *jumpingClock) bench {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{SQLite: db.SQLite, Postgres: db.Postgres, Now: clock.now})
	if err != nil {
		t.Fatal(err)
	}
	policy, complaints := rules.Load(rules.Source{Name: "rules.yaml", Data: []byte(policyText)})
	if len(complaints) > 0 {
		t.Fatal(complaints)
	}
	client, err := huaweicloud.New(huaweicloud.Options{Service: "codecheck", Endpoint: "http://127.0.0.1:1", Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	checker, err := codecheck.New(codecheck.Options{Client: client, Memory: s, Now: clock.now})
	if err != nil {
		t.Fatal(err)
	}
	operator, err := release.New(release.Options{Client: client, Now: clock.now, ProjectID: func(context.Context) (string, error) { return "p", nil }})
	if err != nil {
		t.Fatal(err)
	}
	q, err := jobs.New(t.Context(), jobs.Options{
		Store: s, Policy: func() *rules.Policy { return policy }, Checker: checker, Releaser: operator, Now: clock.now,
		Parse: func(d event.Delivery) (event.Event, error) {
			if d.HostID == "d" {
				return push("c", "d"), nil
			}
			return events(d.HostID)
		},
		Log:     zaptest.NewLogger(t, zaptest.Level(zap.DPanicLevel)),
		Metrics: jobs.NewMetrics(prometheus.NewRegistry()),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := errors.Join(q.Stop(ctx), q.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
	return bench{q, s}
}

// acceptAt accepts a delivery whose id is made of the clock's time, as real ones are.
func (b bench) acceptAt(t *testing.T, clock *jumpingClock, hostID string) (id string, duplicate bool) {
	t.Helper()
	now := clock.now()
	d := event.Delivery{ID: fmt.Sprintf("%020d", now.UnixMicro()), Connection: "github", Host: event.GitHub, Key: hostID, HostID: hostID, ReceivedAt: now}
	id, duplicate, err := b.Accept(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return id, duplicate
}

// TestClockJumps accepts pushes of one branch while the clock jumps a day ahead and
// two days back: none is lost or taken twice, each is decided in the order in which
// they came, and what has passed its deadline ends.
func TestClockJumps(t *testing.T) { storetest.Each(t, testClockJumps) }

func testClockJumps(t *testing.T, db storetest.Database) {
	clock := &jumpingClock{}
	b := newClockBench(t, db, clock)
	var ids []string
	for i, push := range []struct {
		hostID string
		jump   time.Duration
	}{{"b", 0}, {"c", 24 * time.Hour}, {"d", -24 * time.Hour}} {
		clock.jump(push.jump)
		id, duplicate := b.acceptAt(t, clock, push.hostID)
		if duplicate {
			t.Errorf("%s is a duplicate", push.hostID)
		}
		ids = append(ids, id)
		d := b.ended(t, id)
		if d.State != event.DeliveryDecided {
			t.Errorf("%s ended %s: %s", push.hostID, d.State, d.Reason)
		}
		if runs := b.runs(t, id); len(runs) != 2 {
			t.Errorf("%s has %d runs: %s", push.hostID, len(runs), d.Reason)
		}
		if i == 1 {
			// The rule that does not supersede left a run of b, which is late now.
			b.until(t, ids[0], func(run codecheck.Run) bool { return run.Rule != "first" || run.State == codecheck.Errored })
			for _, run := range b.runs(t, ids[0]) {
				if run.Rule == "first" && !strings.Contains(run.Reason, "deadline") {
					t.Errorf("the run of b ended for %q", run.Reason)
				}
			}
		}
	}
	for _, run := range b.runs(t, ids[2]) {
		if run.State.Ended() || run.Deadline.After(clock.now().Add(24*time.Hour)) {
			t.Errorf("the run of d is %s until %v: %s", run.State, run.Deadline, run.Reason)
		}
	}
	for i, hostID := range []string{"b", "c", "d"} {
		if id, duplicate := b.acceptAt(t, clock, hostID); !duplicate || id != ids[i] {
			t.Errorf("%s came again and is stored as %q, duplicate %v", hostID, id, duplicate)
		}
	}
	for _, difference := range []time.Duration{-24 * time.Hour, 0, 24 * time.Hour} {
		if gone, err := b.store.Expire(t.Context(), time.Now().Add(difference), 7*24*time.Hour, 30*24*time.Hour, 100); err != nil || gone != (store.Expired{}) {
			t.Errorf("expired %+v, error %v", gone, err)
		}
	}
}

// until waits until a condition holds for every run of a delivery.
func (b bench) until(t *testing.T, deliveryID string, holds func(codecheck.Run) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		all := true
		runs := b.runs(t, deliveryID)
		for _, run := range runs {
			all = all && holds(run)
		}
		if all {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("never: %+v", runs)
		case <-ticker.C:
		}
	}
}
