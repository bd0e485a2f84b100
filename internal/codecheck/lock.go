package codecheck

import (
	"context"
	"sync"
)

// keyedLock lets one caller at a time in for each key. The service does not
// refuse a second task for the same repository and branch, and several merge
// requests may need the same full task at once. It holds within one process;
// between processes the name that both would give the task is the only guard.
type keyedLock struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

func newKeyedLock() *keyedLock { return &keyedLock{held: map[string]chan struct{}{}} }

// lock waits until key is free or ctx ends, and returns how to free it.
func (l *keyedLock) lock(ctx context.Context, key string) (unlock func(), err error) {
	for {
		l.mu.Lock()
		released, taken := l.held[key]
		if !taken {
			mine := make(chan struct{})
			l.held[key] = mine
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				delete(l.held, key)
				l.mu.Unlock()
				close(mine)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-released:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
