package jobs

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
)

// ErrOverloaded is returned by Accept when as many deliveries wait for their commit
// as may wait. The sender should come again.
var ErrOverloaded = errors.New("too many deliveries wait to be stored")

const (
	// maxWaiting bounds the deliveries that wait for a commit; maxShare how many
	// of them one connection may have, so that it cannot fill the queue for the
	// others.
	maxWaiting = 2048
	maxShare   = maxWaiting / 2
	// maxBatch and maxBatchBytes bound one commit, so that a small delivery does
	// not wait long behind large ones.
	maxBatch      = 256
	maxBatchBytes = 4 << 20
	// commitTimeout bounds one commit: less than the hosts wait for their answer, so
	// that a connection which swallows answers does not close the door for long.
	commitTimeout = 9 * time.Second
	// rushBatch is how many deliveries a commit has, on average over the last
	// rushCommits or so, when the door is in a rush; it lasts until that has not been so
	// for rushCalm.
	rushBatch   = 8
	rushCommits = 8
	rushCalm    = 100 * time.Millisecond
	// yieldUntil is how long after a delivery was accepted its decision lets the door go
	// first.
	yieldUntil = 2 * time.Second
)

// intake groups commits: whatever arrives while a commit is in flight goes into
// the next one. Nothing waits for company.
type intake struct {
	waiting chan *arrival
	done    chan struct{}
	ended   sync.WaitGroup
	// average is of the deliveries in a commit.
	average float64
	// rush is when the last commit of a rush was made; nil: there was none.
	rush atomic.Pointer[time.Time]
	// turn is held by the one step that decides in a rush.
	turn chan struct{}

	mu     sync.Mutex
	shares map[string]int
	closed bool
}

// arrival is a delivery that waits for its commit.
type arrival struct {
	packed store.Packed
	// answer receives exactly one answer.
	answer chan answer
}

type answer struct {
	id        string
	duplicate bool
	err       error
}

func newIntake() *intake {
	return &intake{waiting: make(chan *arrival, maxWaiting), done: make(chan struct{}), turn: make(chan struct{}, 1), shares: map[string]int{}}
}

// start begins to commit batches.
func (in *intake) start(commit func([]*arrival)) {
	in.ended.Go(func() {
		for {
			select {
			case first := <-in.waiting:
				commit(in.batch(first))
			case <-in.done:
				// What came before the end is still committed.
				for {
					select {
					case first := <-in.waiting:
						commit(in.batch(first))
					default:
						return
					}
				}
			}
		}
	})
}

// batch takes what waits, without waiting for more; but whoever is ready to run may
// come aboard.
func (in *intake) batch(first *arrival) []*arrival {
	runtime.Gosched()
	batch, size := []*arrival{first}, first.packed.Size()
	for len(batch) < maxBatch && size < maxBatchBytes && len(in.waiting) > 0 {
		// Nobody else takes from it.
		next := <-in.waiting
		batch, size = append(batch, next), size+next.packed.Size()
	}
	in.average += (float64(len(batch)) - in.average) / rushCommits
	if in.average >= rushBatch {
		now := time.Now()
		in.rush.Store(&now)
	}
	return batch
}

// rushing returns how long the door will be in a rush if nothing more comes.
func (in *intake) rushing() time.Duration {
	last := in.rush.Load()
	if last == nil {
		return 0
	}
	return max(rushCalm-time.Since(*last), 0)
}

// yield lets the door go first, so that senders get their answers: while it is in a
// rush, a step that decides waits, for at most longest, and then until no other
// decides. done must be called when the step has ended.
func (in *intake) yield(ctx context.Context, longest time.Duration) (done func()) {
	for began := time.Now(); ; {
		wait := min(in.rushing(), longest-time.Since(began))
		if wait <= 0 || ctx.Err() != nil {
			break
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	if in.rushing() > 0 {
		select {
		case in.turn <- struct{}{}:
			return func() { <-in.turn }
		case <-ctx.Done():
		}
	}
	return func() {}
}

// stop commits what waits and ends.
func (in *intake) stop() {
	in.mu.Lock()
	closed := in.closed
	in.closed = true
	in.mu.Unlock()
	if !closed {
		close(in.done)
	}
	in.ended.Wait()
}

// enter gives a delivery to the next commit.
func (in *intake) enter(p store.Packed) (*arrival, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed || in.shares[p.Connection] >= maxShare {
		return nil, ErrOverloaded
	}
	a := &arrival{packed: p, answer: make(chan answer, 1)}
	select {
	case in.waiting <- a:
		in.shares[p.Connection]++
		return a, nil
	default:
		return nil, ErrOverloaded
	}
}

// leave ends the wait of a delivery.
func (in *intake) leave(connection string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.shares[connection]--
}

// Accept makes a delivery durable together with the job that decides it: when it
// returns nil both are synced to disk. Deliveries that come at once share one
// commit. id is the stored delivery's: an earlier one's when the same delivery was
// known already. duplicate says that it was known and its processing has not failed;
// a failed one is processed again.
//
// When ctx ends first, the delivery may still be stored; a sender that comes again
// is then told that it is known.
func (q *Queue) Accept(ctx context.Context, d event.Delivery) (id string, duplicate bool, err error) {
	packed, err := q.store.Pack(d)
	if err != nil {
		return "", false, fmt.Errorf("accept delivery: %w", err)
	}
	a, err := q.intake.enter(packed)
	if err != nil {
		return "", false, fmt.Errorf("accept delivery: %w", err)
	}
	select {
	case got := <-a.answer:
		if got.err != nil {
			return "", false, fmt.Errorf("accept delivery: %w", got.err)
		}
		return got.id, got.duplicate, nil
	case <-ctx.Done():
		return "", false, fmt.Errorf("accept delivery: %w", ctx.Err())
	}
}

// commit stores a batch with the jobs that decide it, and answers each.
func (q *Queue) commit(batch []*arrival) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	list := make([]store.Packed, len(batch))
	for i, a := range batch {
		list[i] = a.packed
	}
	answers := make([]answer, len(batch))
	err := q.store.Update(ctx, func(tx *store.Tx) error {
		stored, err := tx.AddDeliveries(ctx, list)
		if err != nil {
			return err
		}
		var ids []string
		reopened := map[string]bool{}
		for i, s := range stored {
			answers[i].id = s.ID
			if s.Known && (s.State != event.DeliveryFailed || reopened[s.ID]) {
				answers[i].duplicate = true
				continue
			}
			if s.Known {
				reopened[s.ID] = true
				if err := tx.Reopen(ctx, s.ID); err != nil {
					return err
				}
			}
			ids = append(ids, s.ID)
		}
		return q.enqueueDecisions(ctx, tx, ids)
	})
	if err == nil {
		q.opts.Metrics.together.Observe(float64(len(batch)))
	}
	for i, a := range batch {
		if err != nil {
			answers[i] = answer{err: err}
		}
		a.answer <- answers[i]
		q.intake.leave(a.packed.Connection)
	}
}

// enqueueDecisions inserts the job that decides deliveries: one for all that were
// stored together, because a job costs as much as a delivery.
func (q *Queue) enqueueDecisions(ctx context.Context, tx *store.Tx, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	return q.enqueue(ctx, tx, decideArgs{DeliveryIDs: ids, At: q.now()})
}
