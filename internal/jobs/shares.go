package jobs

import (
	"sync"
	"time"
)

const (
	// assumedLimit is the limit of a host that tells none, in an hour: that of GitHub and Gitee.
	assumedLimit = 5000
	// leastShare is what recovery may use of the smallest limit, so that it can ask about a
	// repository at all.
	leastShare = 10
)

// shares are how many requests of each connection recovery has used since its host's limit was reset.
type shares struct {
	mu   sync.Mutex
	used map[string]*share
}

type share struct {
	requests int
	until    time.Time
}

func newShares() *shares { return &shares{used: map[string]*share{}} }

// wait is how long a connection is to be left alone; 0 when it may be asked.
func (s *shares) wait(r Recovery, connection string, now time.Time) time.Duration {
	limit := r.Limit(connection)
	remaining, reset, known := r.Remaining(connection)
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := s.used[connection]
	if mine == nil || !now.Before(mine.until) || mine.until.Sub(now) > time.Hour {
		mine = &share{until: now.Add(time.Hour)}
		s.used[connection] = mine
	}
	if known && reset.Before(mine.until) {
		mine.until = reset
	}
	if limit <= 0 {
		limit = assumedLimit
	}
	if mine.requests >= max(limit*r.Share/100, leastShare) || known && remaining < keptForEnds(limit) {
		return max(mine.until.Sub(now), time.Second)
	}
	return 0
}

// use notes requests of a connection.
func (s *shares) use(connection string, requests int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if mine := s.used[connection]; mine != nil {
		mine.requests += requests
	}
}
