package webhook

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// A body must go on arriving: bodyStep bytes of it, or its end, within bodyPause.
	// Hosts send from a buffer; a sender slower than 13 KiB/s only keeps a place.
	bodyStep  = 64 << 10
	bodyPause = 5 * time.Second
	// refusalPause is how long a refused sender is listened to, so that one that is
	// still sending a small body gets to read the answer.
	refusalPause = 500 * time.Millisecond
)

// cutOffPause is how long bodies may still arrive when the service is being stopped.
const cutOffPause = 2 * time.Second

// errSlow says that a body did not arrive in time.
var errSlow = errors.New("the body arrives too slowly")

// bodyReader reads bodies within bounds of size, memory and time.
type bodyReader struct {
	// timeout bounds a whole body.
	timeout time.Duration

	mu sync.Mutex
	// reading are the connections from which a body is being read.
	reading map[*http.ResponseController]struct{}
	// cutOff is when every body must have arrived; zero while the service is not being
	// stopped.
	cutOff time.Time
}

// read returns the whole body, which it counts against the lease as it arrives. Its
// memory grows with what has arrived and not with what was announced. The error is an
// *http.MaxBytesError, errOverBudget, errSlow, or says that the sender went away.
func (b *bodyReader) read(w http.ResponseWriter, r *http.Request, limit int64, lease *lease) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	connection := http.NewResponseController(w)
	end := time.Now().Add(b.timeout)
	defer b.ended(connection)
	var body []byte
	for stepEnds := 0; ; {
		if len(body) >= stepEnds {
			stepEnds = len(body) + bodyStep
			b.extend(connection, end)
		}
		if len(body) == cap(body) {
			grown, err := grow(body, r.ContentLength, limit, lease)
			if err != nil {
				return nil, err
			}
			body = grown
		}
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case int64(len(body)) > limit:
			return nil, &http.MaxBytesError{Limit: limit}
		case errors.Is(err, io.EOF):
			return body, nil
		case isTimeout(err):
			return nil, errSlow
		case err != nil:
			return nil, fmt.Errorf("read body: %w", err)
		}
	}
}

// extend gives a connection the time for the next step of its body, up to its end.
func (b *bodyReader) extend(connection *http.ResponseController, end time.Time) {
	if next := time.Now().Add(bodyPause); next.Before(end) {
		end = next
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.cutOff.IsZero() && b.cutOff.Before(end) {
		end = b.cutOff
	}
	b.reading[connection] = struct{}{}
	// A connection without deadlines, as in a test without a network, has none.
	_ = connection.SetReadDeadline(end)
}

// ended leaves the connection to net/http, which sets deadlines of its own.
func (b *bodyReader) ended(connection *http.ResponseController) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.reading, connection)
	_ = connection.SetReadDeadline(time.Time{})
}

// stop gives up all bodies that have not arrived by a time.
func (b *bodyReader) stop(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cutOff = at
	for connection := range b.reading {
		_ = connection.SetReadDeadline(at)
	}
}

// grow makes room for more of a body: twice of what it had, and never more than was
// announced, or is allowed, and one byte, which tells that there is more.
func grow(body []byte, announced, limit int64, lease *lease) ([]byte, error) {
	most := limit + 1
	if announced >= 0 {
		most = announced + 1
	}
	size := min(max(2*int64(cap(body)), bodyStep), most)
	if err := lease.grow(size - int64(cap(body))); err != nil {
		return nil, err
	}
	grown := make([]byte, len(body), size)
	copy(grown, body)
	return grown, nil
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// unread prepares the answer to a request whose body is not read: what is left of a
// small body is waited for only briefly, of a large one not at all.
func unread(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(refusalPause))
}
