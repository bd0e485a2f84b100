package jobs

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// failure is an error that knows whether trying again can help. Errors that do
// not know, such as those of the database, are tried again.
type failure interface {
	error
	Retryable() bool
	RetryAfter() time.Duration
}

// final reports whether err says that trying again cannot help.
func final(err error) bool {
	var f failure
	return errors.As(err, &f) && !f.Retryable() && !interrupted(err)
}

// interrupted reports whether err is only the end of the job's own time.
func interrupted(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// maxRetryAfter bounds how long a remote service can make a job wait.
const maxRetryAfter = 5 * time.Minute

// retry tells River when to try again: when the service said so, else by the
// backoff.
func retry(err error) error {
	var f failure
	if errors.As(err, &f) && f.RetryAfter() > 0 {
		return river.JobSnooze(min(f.RetryAfter(), maxRetryAfter))
	}
	return err
}

// backoff waits 1, 2, 4 … 60 seconds between attempts, each up to a quarter
// longer, so that many jobs that failed at once do not come back at once.
type backoff struct{ now func() time.Time }

func (b backoff) NextRetry(job *rivertype.JobRow) time.Time {
	wait := time.Minute
	if job.Attempt < 7 {
		wait = min(wait, time.Second<<max(job.Attempt-1, 0))
	}
	return b.now().Add(wait + rand.N(wait/4))
}
