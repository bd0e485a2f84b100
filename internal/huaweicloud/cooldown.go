package huaweicloud

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// probeTime is how long one request with credentials that were refused before is
// given until others follow, unless it works; longer than a response takes.
const probeTime = 10 * time.Second

// askAgain is when a call that refused credentials kept from being sent should be made
// again. It is shorter than the cooldown, during which that costs no request, so that
// what waits goes on soon after the credentials were replaced.
const askAgain = 20 * time.Second

// spread is within what time after a pause the replicas begin to try, each by itself, so
// that they do not get a key locked together.
const spread = 20 * time.Second

// cooldown keeps refused credentials from being used again and again, which would
// lock the key or the account. After it one request is sent first, alone; when that
// works, or is not refused within the probe time, the others follow. Two refusals in any
// replicas begin the cooldown in all of them.
type cooldown struct {
	length   time.Duration
	now      func() time.Time
	key      string // what the replicas call the credentials; empty: they are not told
	replicas *Replicas

	mu      sync.Mutex
	refused bool
	probing bool
	// learned: another replica's refusals began it.
	learned bool
	// reason is the first refusal.
	reason string
	until  time.Time
}

func newCooldown(length time.Duration, now func() time.Time, key string, replicas *Replicas) *cooldown {
	return &cooldown{length: length, now: now, key: key, replicas: replicas}
}

// check returns nil when the credentials may be used, else an error that says why they
// were refused.
func (c *cooldown) check(ctx context.Context, operation string) error {
	pause, known := c.replicas.find(ctx, c.key)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case known && pause.InForce(c.now()) && (!c.refused || pause.Until.After(c.until)):
		c.refused, c.probing, c.learned, c.reason = true, false, true, pause.Reason
		c.until = pause.Until.Add(rand.N(spread))
	case !known && c.learned:
		c.clear() // they were replaced, or work, elsewhere
	}
	if !c.refused {
		return nil
	}
	if left := c.until.Sub(c.now()); left > 0 {
		return &Error{Operation: operation, kind: kindNotAuthorized, refused: true, retryAfter: min(left, askAgain),
			Message: "credentials are not used for " + left.Round(time.Second).String() + ", so that they are not locked; they were refused: " + c.reason}
	}
	if c.probing {
		c.clear()
		return nil
	}
	c.probing = true
	c.until = c.now().Add(probeTime)
	return nil
}

func (c *cooldown) clear() {
	c.refused, c.probing, c.learned, c.reason = false, false, false, ""
}

// begin starts a cooldown, after the credentials were refused.
func (c *cooldown) begin(ctx context.Context, refusal error) {
	c.mu.Lock()
	if !c.refused {
		c.reason = refusal.Error()
	}
	now := c.now()
	c.refused, c.probing, c.learned = true, false, false
	c.until = now.Add(c.length)
	pause := Pause{Key: c.key, Reason: c.reason, Since: now, Until: c.until, Refusals: 1}
	c.mu.Unlock()
	c.replicas.pause(ctx, pause)
}

// worked ends what refusals of the credentials began. A call that was sent before they
// were refused says nothing.
func (c *cooldown) worked(ctx context.Context) {
	c.mu.Lock()
	late := c.refused && !c.probing
	if !late {
		c.clear()
	}
	c.mu.Unlock()
	if late || c.replicas == nil {
		return
	}
	if _, known := c.replicas.cached(c.key); known {
		c.replicas.end(ctx, c.key)
	}
}

// forget ends the pause of the credentials in all replicas: they have changed, or a
// person wants them tried.
func (c *cooldown) forget(ctx context.Context) { c.replicas.end(ctx, c.key) }
