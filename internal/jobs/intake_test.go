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
	for range rushBatch {
		in.waiting <- &arrival{}
	}
	if batch := in.batch(<-in.waiting); len(batch) != rushBatch {
		t.Fatalf("a batch of %d, want %d", len(batch), rushBatch)
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
		"a rush without ends": {time.Minute, yieldFor},
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
					in.yield(t.Context())
					ended <- time.Since(began)
				}()
				for time.Since(began) < test.rush {
					time.Sleep(time.Millisecond)
					if time.Since(began) < test.rush {
						rushed(t, in)
					}
				}
				// The last look may come up to rushCalm after the longest wait.
				if took := <-ended; took < test.want || took > test.want+rushCalm {
					t.Errorf("yielded for %v, want %v", took, test.want)
				}
			})
		})
	}
}

// TestYieldEnds: a step that is cancelled does not wait.
func TestYieldEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newIntake()
		rushed(t, in)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		in.yield(ctx)
		if took := time.Since(began); took != 0 {
			t.Errorf("yielded for %v", took)
		}
	})
}
