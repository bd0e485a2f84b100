package huaweicloud

import (
	"sync"
	"time"
)

// probeTime is how long one request with credentials that were refused before is
// given until others follow; longer than a response takes.
const probeTime = 10 * time.Second

// askAgain is when a call that refused credentials kept from being sent should be made
// again. It is shorter than the cooldown, during which that costs no request, so that
// what waits goes on soon after the credentials were replaced.
const askAgain = 20 * time.Second

// cooldown keeps refused credentials from being used again and again, which would
// lock the key or the account. After it one request is sent first, alone; when that
// is not refused within the probe time, the others follow.
type cooldown struct {
	length time.Duration
	now    func() time.Time

	mu      sync.Mutex
	refused bool
	probing bool
	// reason is the first refusal.
	reason string
	until  time.Time
}

func newCooldown(length time.Duration, now func() time.Time) *cooldown {
	return &cooldown{length: length, now: now}
}

// check returns nil when the credentials may be used, else an error that says why they
// were refused.
func (c *cooldown) check(operation string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.refused {
		return nil
	}
	if left := c.until.Sub(c.now()); left > 0 {
		return &Error{Operation: operation, kind: kindNotAuthorized, refused: true, retryAfter: min(left, askAgain),
			Message: "credentials are not used for " + left.Round(time.Second).String() + ", so that they are not locked; they were refused: " + c.reason}
	}
	if c.probing {
		c.refused, c.probing, c.reason = false, false, ""
		return nil
	}
	c.probing = true
	c.until = c.now().Add(probeTime)
	return nil
}

// begin starts a cooldown, after the credentials were refused.
func (c *cooldown) begin(refusal error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.refused {
		c.reason = refusal.Error()
	}
	c.refused, c.probing = true, false
	c.until = c.now().Add(c.length)
}
