package jobs

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// told is an error that says what it is.
type told struct {
	retryable bool
	after     time.Duration
}

func (told) Error() string               { return "told" }
func (e told) Retryable() bool           { return e.retryable }
func (e told) RetryAfter() time.Duration { return e.after }

func TestFinal(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"none":                     {nil, false},
		"an error that says no":    {fmt.Errorf("do: %w", told{retryable: false}), true},
		"an error that says yes":   {fmt.Errorf("do: %w", told{retryable: true}), false},
		"an error that says none":  {errors.New("database is locked"), false},
		"the end of the job":       {errors.Join(told{retryable: false}, context.DeadlineExceeded), false},
		"the end of the programme": {errors.Join(told{retryable: false}, context.Canceled), false},
	} {
		if got := final(test.err); got != test.want {
			t.Errorf("%s: final %v, want %v", name, got, test.want)
		}
	}
}

func TestRetryWaitsAsLongAsTheServiceSays(t *testing.T) {
	for after, want := range map[time.Duration]time.Duration{
		2 * time.Second: 2 * time.Second,
		time.Hour:       maxRetryAfter,
	} {
		var snooze *river.JobSnoozeError
		if err := retry(told{retryable: true, after: after}); !errors.As(err, &snooze) || snooze.Duration != want {
			t.Errorf("after %v: %v, want a snooze of %v", after, err, want)
		}
	}
	plain := told{retryable: true}
	if err := retry(plain); !errors.Is(err, plain) {
		t.Errorf("an error without a time became %v", err)
	}
}

func TestBackoff(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	b := backoff{now: func() time.Time { return now }}
	for attempt, want := range map[int]time.Duration{
		0: time.Second, 1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 7: time.Minute, 1000: time.Minute,
	} {
		for range 100 {
			wait := b.NextRetry(&rivertype.JobRow{Attempt: attempt}).Sub(now)
			if wait < want || wait > want+want/4 {
				t.Fatalf("attempt %d waits %v, want %v and up to a quarter more", attempt, wait, want)
			}
		}
	}
}
