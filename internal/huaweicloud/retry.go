package huaweicloud

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// longestRetryAfter bounds what a service may ask for: a longer wait would let
// one wrong header park work for ever.
const longestRetryAfter = 10 * time.Minute

// backoff is the wait before try number try (1 is the first repeat): a random
// time up to 250 ms doubled with every try, at least half of it, at most longest.
func backoff(try int, longest time.Duration) time.Duration {
	ceiling := min(250*time.Millisecond<<min(try-1, 10), longest)
	return ceiling/2 + rand.N(ceiling/2+1)
}

// retryAfter reads Retry-After, as seconds or as a date; 0 when it is absent,
// unreadable or past.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil && seconds > 0 {
		if seconds > int(longestRetryAfter/time.Second) {
			return longestRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil && at.After(now) {
		return min(at.Sub(now), longestRetryAfter)
	}
	return 0
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
