package webhook

import (
	"errors"
	"fmt"
	"sync"
)

// errOverBudget says that too many bytes of bodies are in memory.
var errOverBudget = errors.New("too many bodies are being received")

// requestWeight is what a request weighs before its body has arrived, in bytes, so that
// many small requests are bounded too.
const requestWeight = 64 << 10

// budget bounds the bytes that are in memory at once. Each owner may have up to four
// times of what is free: one owner alone has four fifths of the total, three have four
// thirteenths each, and however many there are, something is left for the next one.
// It counts what has arrived, not what was announced.
type budget struct {
	total int64

	mu   sync.Mutex
	used int64
	// owned is what each owner has; what belongs to nobody is bounded by the total
	// alone.
	owned map[string]int64
}

// ownerShare is how many times of what is free an owner may have.
const ownerShare = 4

// budgetFor is the total of a budget in which one owner can have n bytes.
func budgetFor(n int64) int64 { return n + n/ownerShare + 1 }

func newBudget(total int64) *budget { return &budget{total: total, owned: map[string]int64{}} }

// acquire takes n bytes for an owner, or nothing when they are over its share.
func (b *budget) acquire(owner string, n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	free := b.total - b.used - n
	if free < 0 || owner != "" && b.owned[owner]+n > ownerShare*free {
		return fmt.Errorf("%w: %d of %d bytes are taken, %d of them by this sender", errOverBudget, b.used, b.total, b.owned[owner])
	}
	b.used += n
	if owner != "" {
		b.owned[owner] += n
	}
	return nil
}

func (b *budget) release(owner string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	if owner == "" {
		return
	}
	if b.owned[owner] -= n; b.owned[owner] == 0 {
		delete(b.owned, owner)
	}
}

// lease is what one request has of a budget.
type lease struct {
	budget *budget
	owner  string
	n      int64
}

func (l *lease) grow(n int64) error {
	err := l.budget.acquire(l.owner, n)
	if err == nil {
		l.n += n
	}
	return err
}

// moveTo takes the same bytes of another budget in place of this one.
func (l *lease) moveTo(b *budget, owner string) error {
	if err := b.acquire(owner, l.n); err != nil {
		return err
	}
	l.release()
	l.budget, l.owner = b, owner
	return nil
}

// release gives the bytes back. Only once: moveTo counts.
func (l *lease) release() { l.budget.release(l.owner, l.n) }
