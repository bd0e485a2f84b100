package huaweicloud

import (
	"sync"
	"time"
)

// probe is how long one try with credentials that were refused before is given
// until others follow; longer than an answer takes.
const probe = 10 * time.Second

// hold keeps refused credentials from being used again and again, which would
// lock the key or the account. After the hold one request goes first, alone;
// when it is not refused within the probe time the others follow.
type hold struct {
	length time.Duration
	now    func() time.Time

	mu      sync.Mutex
	refused bool
	probing bool
	until   time.Time
}

func newHold(length time.Duration, now func() time.Time) *hold {
	return &hold{length: length, now: now}
}

// check returns nil when the credentials may be used, else an error that says
// for how long they may not.
func (h *hold) check(operation string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.refused {
		return nil
	}
	if left := h.until.Sub(h.now()); left > 0 {
		return &Error{Operation: operation, kind: kindHeld, retryAfter: left,
			Message: "credentials were refused a short while ago and are not used for now, so that they are not locked"}
	}
	if h.probing {
		h.refused, h.probing = false, false
		return nil
	}
	h.probing = true
	h.until = h.now().Add(probe)
	return nil
}

// refuse starts a hold.
func (h *hold) refuse() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused, h.probing = true, false
	h.until = h.now().Add(h.length)
}
