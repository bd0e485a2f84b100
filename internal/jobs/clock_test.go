package jobs_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// jumpingClock runs like the real one, with a difference that a test sets.
type jumpingClock struct{ difference atomic.Int64 }

func (c *jumpingClock) now() time.Time {
	return time.Now().Add(time.Duration(c.difference.Load()))
}

func (c *jumpingClock) jump(difference time.Duration) { c.difference.Store(int64(difference)) }

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
	b := newBenchAt(t, db, events, clock.now)
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
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
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
