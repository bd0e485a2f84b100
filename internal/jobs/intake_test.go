package jobs

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// rushed fills an intake with as many arrivals as make a rush, and takes them.
func rushed(t *testing.T, in *intake) {
	t.Helper()
	const number = rushBatch * rushCommits
	for range number {
		in.waiting <- &arrival{}
	}
	if batch := in.batch(<-in.waiting); len(batch) != number {
		t.Fatalf("a batch of %d, want %d", len(batch), number)
	}
}

// TestYield: deciding lets the door go first in a rush, for a while.
func TestYield(t *testing.T) {
	for name, test := range map[string]struct {
		// rush is how long arrivals come in numbers.
		rush time.Duration
		want time.Duration
	}{
		"calm":                {0, 0},
		"one rush":            {time.Nanosecond, rushCalm},
		"a rush without ends": {time.Minute, yieldUntil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := newIntake()
				began := time.Now()
				if test.rush > 0 {
					rushed(t, in)
				}
				ended := make(chan time.Duration, 1)
				go func() {
					in.yield(t.Context(), yieldUntil)()
					ended <- time.Since(began)
				}()
				for time.Since(began) < test.rush {
					time.Sleep(time.Millisecond)
					if time.Since(began) < test.rush {
						rushed(t, in)
					}
				}
				if took := <-ended; took != test.want {
					t.Errorf("yielded for %v, want %v", took, test.want)
				}
			})
		})
	}
}

// TestNoRush: single deliveries with a burst now and then are no rush.
func TestNoRush(t *testing.T) {
	in := newIntake()
	for range 100 {
		for _, size := range []int{1, 2, 1, 1, 3, 1, 1, 2, 10} {
			for range size {
				in.waiting <- &arrival{}
			}
			in.batch(<-in.waiting)
		}
	}
	if left := in.rushing(); left > 0 {
		t.Errorf("a rush of %v", left)
	}
}

// TestTurn: in a rush one step decides at a time, and one that is cancelled does not
// wait for its turn.
func TestTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newIntake()
		rushed(t, in)
		first := in.yield(t.Context(), 0)
		second := make(chan func(), 1)
		go func() { second <- in.yield(t.Context(), 0) }()
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		in.yield(cancelled, 0)()
		synctest.Wait()
		select {
		case <-second:
			t.Error("two steps decide in a rush")
		default:
		}
		first()
		(<-second)()
		in.yield(t.Context(), 0)()
	})
}

// TestYieldAfterTheClockWasSetBack: a rush that seems to be yet to come holds nobody up.
func TestYieldAfterTheClockWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newIntake()
		began := time.Now()
		later := began.Add(time.Hour)
		in.rush.Store(&later)
		in.yield(t.Context(), yieldUntil)()
		if took := time.Since(began); took > yieldUntil {
			t.Errorf("yielded for %v", took)
		}
	})
}

// TestYieldEnds: a step that is cancelled does not wait.
func TestYieldEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newIntake()
		rushed(t, in)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		in.yield(ctx, yieldUntil)()
		if took := time.Since(began); took != 0 {
			t.Errorf("yielded for %v", took)
		}
	})
}
