package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
)

// errStopped is returned by Accept when the queue is being stopped. The sender should try
// again later.
var errStopped = errors.New("the service is being stopped")

const (
	// maxBatch and maxBatchBytes bound one commit, so that a small delivery does
	// not wait long behind large ones.
	maxBatch      = 256
	maxBatchBytes = 4 << 20
	// commitTimeout bounds one commit: less than the hosts wait for their answer, so
	// that a database connection which loses answers blocks the endpoint only briefly.
	commitTimeout = 9 * time.Second
)

// groupCommit stores deliveries in batches: whatever arrives while a commit is in
// progress goes into the next one. No delivery waits for others to arrive. How many wait
// is bounded by the webhook endpoint, in whose memory they are.
type groupCommit struct {
	pending chan *pending
	ended   sync.WaitGroup

	// mu is held for writing to close, and for reading to add.
	mu     sync.RWMutex
	closed bool
}

// pending is a delivery that waits for its commit.
type pending struct {
	packed store.Packed
	// committed receives exactly one value.
	committed chan committed
}

// committed is what became of a pending delivery.
type committed struct {
	id        string
	duplicate bool
	// sameHostID is another delivery with the same id of the host and another body.
	sameHostID string
	err        error
}

func newGroupCommit() *groupCommit {
	return &groupCommit{pending: make(chan *pending, maxBatch)}
}

// start begins to commit batches. What was added before the end is still committed.
func (g *groupCommit) start(commit func([]*pending)) {
	g.ended.Go(func() {
		for first := range g.pending {
			commit(g.batch(first))
		}
	})
}

// batch takes what is pending, up to the size of one commit.
func (g *groupCommit) batch(first *pending) []*pending {
	batch, size := []*pending{first}, first.packed.Size()
	for len(batch) < maxBatch && size < maxBatchBytes && len(g.pending) > 0 {
		// This goroutine is the only receiver.
		next := <-g.pending
		batch, size = append(batch, next), size+next.packed.Size()
	}
	return batch
}

// stop commits what is pending and ends.
func (g *groupCommit) stop() {
	g.mu.Lock()
	if !g.closed {
		g.closed = true
		close(g.pending)
	}
	g.mu.Unlock()
	g.ended.Wait()
}

// add puts a delivery into the next commit that has room for it.
func (g *groupCommit) add(ctx context.Context, p store.Packed) (*pending, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return nil, errStopped
	}
	added := &pending{packed: p, committed: make(chan committed, 1)}
	select {
	case g.pending <- added:
		return added, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept makes a delivery durable together with the job that decides it: when it
// returns nil both are synced to disk. Deliveries that arrive at the same time share
// one commit. id is the stored delivery's: the earlier one's for a duplicate.
// duplicate says that the same delivery was stored before and its processing has not
// failed; a failed one is processed again.
//
// When ctx ends first, the delivery may still be stored; a sender that sends it again
// then gets duplicate.
func (q *Queue) Accept(ctx context.Context, d event.Delivery) (id string, duplicate bool, err error) {
	packed, err := q.store.Pack(d)
	if err != nil {
		return "", false, fmt.Errorf("accept delivery: %w", err)
	}
	added, err := q.commits.add(ctx, packed)
	if err != nil {
		return "", false, fmt.Errorf("accept delivery: %w", err)
	}
	select {
	case result := <-added.committed:
		if result.err != nil {
			return "", false, fmt.Errorf("accept delivery: %w", result.err)
		}
		return result.id, result.duplicate, nil
	case <-ctx.Done():
		return "", false, fmt.Errorf("accept delivery: %w", ctx.Err())
	}
}

// commit stores a batch with the job that decides it.
func (q *Queue) commit(batch []*pending) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	list := make([]store.Packed, len(batch))
	for i, p := range batch {
		list[i] = p.packed
	}
	var results []committed
	err := q.update(ctx, func(tx *transaction) (err error) {
		results, err = storeBatch(ctx, tx, list)
		if err == nil {
			q.recoverAfterRefusal(tx)
		}
		return err
	})
	if err == nil {
		q.opts.Metrics.perCommit.Observe(float64(len(batch)))
	}
	for i, p := range batch {
		if err != nil {
			p.committed <- committed{err: err}
		} else {
			q.warnOfSameHostID(p.packed.Delivery, results[i])
			p.committed <- results[i]
		}
	}
}

// warnOfSameHostID tells of a delivery that came under the id of another one: no host
// does that, and somebody who sends old bodies again may.
func (q *Queue) warnOfSameHostID(d event.Delivery, stored committed) {
	if stored.sameHostID == "" {
		return
	}
	q.log.Warn("suspicious delivery accepted", zap.String(event.LogDelivery, stored.id), zap.String(event.LogConnection, d.Connection),
		zap.String(event.LogHostID, d.HostID), zap.String(event.LogOtherDelivery, stored.sameHostID),
		zap.String(event.LogReason, "another delivery came under the same id of the host with another body"))
}

// storeBatch stores deliveries and inserts one job for all of them, because a job costs
// as much as a delivery.
func storeBatch(ctx context.Context, tx *transaction, list []store.Packed) ([]committed, error) {
	stored, err := tx.AddDeliveries(ctx, list)
	if err != nil {
		return nil, err
	}
	results := make([]committed, len(list))
	var undecided []string
	reopened := map[string]bool{}
	for i, s := range stored {
		results[i].id, results[i].sameHostID = s.ID, s.SameHostID
		if s.Duplicate {
			if s.State != event.DeliveryFailed || reopened[s.ID] {
				results[i].duplicate = true
				continue
			}
			reopened[s.ID] = true
			if err := tx.Reopen(ctx, s.ID); err != nil {
				return nil, err
			}
		}
		undecided = append(undecided, s.ID)
	}
	if len(undecided) > 0 {
		tx.enqueue(decideArgs{DeliveryIDs: undecided})
	}
	return results, nil
}
