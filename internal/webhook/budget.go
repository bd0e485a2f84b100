package webhook

import (
	"errors"
	"io"
	"sync"
)

// errOverBudget says that too many bytes of bodies are in flight.
var errOverBudget = errors.New("too many bodies are in flight")

// budget bounds the bytes of bodies that are held at once, in all and for each
// connection, so that one connection cannot take the memory of the others. What
// counts is what has arrived, not what was announced.
type budget struct {
	total, share int64

	mu   sync.Mutex
	used int64
	by   map[string]int64
}

func newBudget(total int64) *budget {
	return &budget{total: total, share: total / 2, by: map[string]int64{}}
}

// take counts n bytes for a connection and reports whether they may be held; they
// are counted in either case, until they are given back.
func (b *budget) take(connection string, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used += n
	b.by[connection] += n
	return b.used <= b.total && b.by[connection] <= b.share
}

func (b *budget) give(connection string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	b.by[connection] -= n
}

// counted reads from r and counts what it reads.
type counted struct {
	r          io.Reader
	budget     *budget
	connection string
	n          int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if !c.budget.take(c.connection, int64(n)) {
		return n, errOverBudget
	}
	return n, err
}

// done gives back what was counted.
func (c *counted) done() { c.budget.give(c.connection, c.n) }
