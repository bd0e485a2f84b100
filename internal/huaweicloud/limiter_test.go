package huaweicloud

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func alone() int { return 1 }

// TestRate holds that a rate is kept, that replicas take equal parts of it, and that calls
// that follow one another slowly do not wait.
func TestRate(t *testing.T) {
	for replicas, want := range map[int]time.Duration{1: 9 * 200 * time.Millisecond, 2: 9 * 400 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter(Limit{PerSecond: 5, AtOnce: 16}, func() int { return replicas })
			began := time.Now()
			var group sync.WaitGroup
			for range 10 {
				group.Go(func() {
					if err := l.acquire(t.Context(), false); err != nil {
						t.Error(err)
					}
					l.release()
				})
			}
			group.Wait()
			if took := time.Since(began); took != want {
				t.Errorf("%d replicas: ten requests took %v, want %v", replicas, took, want)
			}
			time.Sleep(time.Second)
			began = time.Now()
			if err := l.acquire(t.Context(), false); err != nil || time.Since(began) != 0 {
				t.Errorf("a single request: %v after %v", err, time.Since(began))
			}
			l.release()
		})
	}
}

// TestAtOnceIsShared holds that replicas take equal parts of what may be in flight, and
// each at least one.
func TestAtOnceIsShared(t *testing.T) {
	for replicas, want := range map[int]int{1: 6, 2: 3, 4: 1, 100: 1} {
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter(Limit{AtOnce: 6}, func() int { return replicas })
			ctx, cancel := context.WithCancel(t.Context())
			let := 0
			var group sync.WaitGroup
			var mu sync.Mutex
			for range 10 {
				group.Go(func() {
					if l.acquire(ctx, false) == nil {
						mu.Lock()
						let++
						mu.Unlock()
					}
				})
			}
			synctest.Wait()
			if let != want {
				t.Errorf("%d replicas: %d in flight, want %d", replicas, let, want)
			}
			cancel()
			group.Wait()
		})
	}
}

// TestPollsWait holds that what is not a poll goes first, each in turn, and that who gives up
// keeps nobody waiting.
func TestPollsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(Limit{AtOnce: 1}, alone)
		if err := l.acquire(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		var order []string
		var group sync.WaitGroup
		wait := func(ctx context.Context, name string, poll bool) {
			group.Go(func() {
				if err := l.acquire(ctx, poll); err != nil {
					order = append(order, name+" "+err.Error())
					return
				}
				order = append(order, name)
				l.release()
			})
			synctest.Wait()
		}
		wait(t.Context(), "poll 1", true)
		wait(t.Context(), "results 1", false)
		ctx, cancel := context.WithCancel(t.Context())
		wait(ctx, "results 2", false)
		wait(t.Context(), "poll 2", true)
		wait(t.Context(), "run", false)
		cancel()
		synctest.Wait()
		l.release()
		group.Wait()
		if got, want := strings.Join(order, ", "), "results 2 context canceled, results 1, run, poll 1, poll 2"; got != want {
			t.Errorf("order %s, want %s", got, want)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if err := l.acquire(ended, false); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that has gone was let go: %v", err)
		}
	})
}

// TestRateAndAbandonedWait holds that a caller who goes takes nothing of the rate with it.
func TestRateAndAbandonedWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(Limit{PerSecond: 1, AtOnce: 4}, alone)
		if err := l.acquire(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			if err := l.acquire(ctx, false); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(fmt.Errorf("caller %d: %w", i, err))
			}
			cancel()
		}
		began := time.Now()
		if err := l.acquire(t.Context(), false); err != nil || time.Since(began) != 700*time.Millisecond {
			t.Errorf("%v after %v, want 700ms", err, time.Since(began))
		}
	})
}
