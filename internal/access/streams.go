package access

import (
	"errors"
	"fmt"
	"sync"

	"github.com/labstack/echo/v4"
)

// Streams bounds the answers of a process that have no end, in all and for one user, so that nobody
// keeps the others from theirs. All who are not logged in are one user.
type Streams struct {
	most, each int

	mu     sync.Mutex
	open   map[string]int
	closed bool
	all    sync.WaitGroup
}

// Errors of [Streams.Open].
var (
	ErrTooManyStreams = errors.New("all streams are taken, or the service stops: ask again later")
	ErrTooManyOfUser  = errors.New("all your streams are taken: end one first")
)

// NewStreams returns a bound of most streams, and of each for one user.
func NewStreams(most, each int) *Streams {
	return &Streams{most: most, each: each, open: map[string]int{}}
}

// Open counts a stream that answers a request, until done is called.
func (s *Streams) Open(c echo.Context) (done func(), err error) {
	u, _ := Current(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	total := 0
	for _, n := range s.open {
		total += n
	}
	switch {
	case s.closed || total >= s.most:
		return nil, fmt.Errorf("%w; there are %d", ErrTooManyStreams, s.most)
	case s.open[u.Identity] >= s.each:
		return nil, fmt.Errorf("%w; there are %d", ErrTooManyOfUser, s.each)
	}
	s.open[u.Identity]++
	s.all.Add(1)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.open[u.Identity]--; s.open[u.Identity] == 0 {
			delete(s.open, u.Identity)
		}
		s.all.Done()
	}, nil
}

// Close opens no more, and waits for those that are open.
func (s *Streams) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.all.Wait()
}
