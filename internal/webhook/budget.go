package webhook

import (
	"errors"
	"io"
	"sync"
)

// errOverBudget says that too many bytes of bodies are in flight.
var errOverBudget = errors.New("too many bodies are in flight")

// budget bounds the bytes of bodies that are in memory at once, in total and for
// each connection, so that one connection cannot use up the memory of the others.
// It counts what has arrived, not what was announced.
type budget struct {
	total, share int64

	mu           sync.Mutex
	used         int64
	byConnection map[string]int64
}

func newBudget(total int64) *budget {
	return &budget{total: total, share: total / 2, byConnection: map[string]int64{}}
}

// acquire counts n bytes for a connection and reports whether they are within the
// budget; they are counted in either case, until they are released.
func (b *budget) acquire(connection string, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used += n
	b.byConnection[connection] += n
	return b.used <= b.total && b.byConnection[connection] <= b.share
}

func (b *budget) release(connection string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	b.byConnection[connection] -= n
}

// budgetReader reads from r and counts what it reads against the budget. Release
// it when the bytes are no longer needed.
type budgetReader struct {
	r          io.Reader
	budget     *budget
	connection string
	n          int64
}

func (b *budgetReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.n += int64(n)
	if !b.budget.acquire(b.connection, int64(n)) {
		return n, errOverBudget
	}
	return n, err
}

func (b *budgetReader) release() { b.budget.release(b.connection, b.n) }
