package huaweicloud

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limit bounds the requests to one endpoint, of all replicas together.
type Limit struct {
	// PerSecond is how many are sent in a second. Default: any number.
	PerSecond float64
	// AtOnce is how many are in flight; each replica has at least one. Default 16.
	AtOnce int
}

// limiter lets requests go as its limit allows, polls after all others.
type limiter struct {
	limit    Limit
	replicas func() int

	mu       sync.Mutex
	inFlight int
	rate     *rate.Limiter // nil: any number in a second
	// waiting are those that wait: first calls that are not polls, then polls, each in turn.
	waiting [2][]chan struct{}
	// later lets the next one go when the rate allows it; nil when nobody waits for that.
	later *time.Timer
}

func newLimiter(limit Limit, replicas func() int) *limiter {
	l := &limiter{limit: limit, replicas: replicas}
	if limit.PerSecond > 0 {
		// A tenth of a second may be made up for.
		l.rate = rate.NewLimiter(rate.Limit(limit.PerSecond), max(1, int(limit.PerSecond/10)))
	}
	return l
}

// acquire waits until a request may be sent, or until ctx ends, whose error it then
// returns. After nil the caller calls release when the request has ended.
func (l *limiter) acquire(ctx context.Context, poll bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	place := 0
	if poll {
		place = 1
	}
	mine := make(chan struct{})
	l.mu.Lock()
	l.waiting[place] = append(l.waiting[place], mine)
	l.grant()
	l.mu.Unlock()
	select {
	case <-mine:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.waiting[place], mine); i >= 0 {
		l.waiting[place] = slices.Delete(l.waiting[place], i, i+1)
		return ctx.Err()
	}
	return nil // it was let go at the same time
}

func (l *limiter) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight--
	l.grant()
}

// grant lets go whom the limits allow. l.mu is held.
func (l *limiter) grant() {
	replicas := l.replicas()
	for l.inFlight < max(1, l.limit.AtOnce/replicas) {
		place := slices.IndexFunc(l.waiting[:], func(w []chan struct{}) bool { return len(w) > 0 })
		if place < 0 || !l.allowed(replicas) {
			return
		}
		close(l.waiting[place][0])
		l.waiting[place] = l.waiting[place][1:]
		l.inFlight++
	}
}

// allowed takes one from the rate; false when there is none, and grant is called again when
// there will be one.
func (l *limiter) allowed(replicas int) bool {
	if l.rate == nil {
		return true
	}
	if part := rate.Limit(l.limit.PerSecond / float64(replicas)); part != l.rate.Limit() {
		l.rate.SetLimit(part)
	}
	reserved := l.rate.Reserve()
	wait := reserved.Delay()
	if wait == 0 {
		return true
	}
	reserved.Cancel()
	if l.later == nil {
		l.later = time.AfterFunc(wait, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.later = nil
			l.grant()
		})
	}
	return false
}
