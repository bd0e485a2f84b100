package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/gatewright/gatewright/internal/event"
)

// Head is the newest known state of a branch, tag or merge request.
type Head struct {
	// SHA is its commit; Branch the branch or tag, or the merge request's target.
	SHA    string
	Branch string
	// Ended: it was deleted, closed or merged.
	Ended bool

	deliveryID string
	before     string
	changedAt  string
	// savedAt is when this was written, in microseconds.
	savedAt int64
}

// maxSkew is how far the clocks of replicas may differ, in microseconds: two deliveries
// received within it can have ids in the wrong order.
const maxSkew = 60_000_000

// maxAhead is how far ahead of our clock a host's time may be, in microseconds. One that
// is further ahead orders nothing: it would make every later change of the same merge
// request look old.
const maxAhead = 10 * 60_000_000

// AdvanceHead makes what e says the newest known state of its ref key, unless the
// stored state is newer; advanced says which. Deliveries come late and are processed
// out of order: the host's own time decides where it sends one, then whether e's
// commit is the one that the newer event started from, then the order of receipt,
// which is the order of delivery ids.
func (tx *Tx) AdvanceHead(ctx context.Context, e event.Event, deliveryID string) (advanced bool, err error) {
	next := Head{SHA: e.HeadSHA, Branch: e.Branch, Ended: e.EndsRef(), deliveryID: deliveryID, before: e.Before, changedAt: e.UpdatedAt}
	if t, ok := event.HostTime(next.changedAt); ok && micros(t) > tx.now()+maxAhead {
		next.changedAt = ""
	}
	added, err := tx.exec(ctx, `INSERT INTO heads (ref_key, delivery_id, sha, before, branch, ended, changed_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (ref_key) DO NOTHING`,
		e.RefKey(), next.deliveryID, next.SHA, next.before, next.Branch, next.Ended, next.changedAt, tx.now())
	if err != nil {
		return false, fmt.Errorf("advance head: %w", err)
	}
	if added == 1 {
		return true, nil
	}
	current, err := tx.head(ctx, e.RefKey(), tx.forUpdate())
	if err != nil {
		return false, fmt.Errorf("advance head: %w", err)
	}
	if current.newerThan(next, tx.now()) {
		return false, nil
	}
	same := next.SHA == current.SHA && next.Branch == current.Branch && next.Ended == current.Ended
	if same && next.before == "" {
		next.before = current.before
	}
	if _, err := tx.exec(ctx, `UPDATE heads SET delivery_id = $2, sha = $3, before = $4, branch = $5, ended = $6, changed_at = $7, updated_at = $8 WHERE ref_key = $1`,
		e.RefKey(), next.deliveryID, next.SHA, next.before, next.Branch, next.Ended, next.changedAt, tx.now()); err != nil {
		return false, fmt.Errorf("advance head: %w", err)
	}
	return true, nil
}

// newerThan reports whether h, which is stored, is newer than next.
func (h Head) newerThan(next Head, now int64) bool {
	mine, ok := event.HostTime(h.changedAt)
	theirs, also := event.HostTime(next.changedAt)
	if ok && also && !mine.Equal(theirs) {
		return mine.After(theirs)
	}
	if !h.Ended && !next.Ended && next.SHA != h.SHA && next.SHA == h.before && next.before != h.SHA {
		return true
	}
	if next.before != "" && next.before == h.SHA && now-h.savedAt < maxSkew {
		return false
	}
	if h.savedAt > now {
		// The clock was set back: the order of the ids says nothing.
		return false
	}
	return next.deliveryID < h.deliveryID
}

// Head returns the newest known state of a ref key; known is false when there is none.
func (tx *Tx) Head(ctx context.Context, refKey string) (head Head, known bool, err error) {
	head, err = tx.head(ctx, refKey, "")
	if errors.Is(err, sql.ErrNoRows) {
		return Head{}, false, nil
	}
	if err != nil {
		return Head{}, false, fmt.Errorf("read head: %w", err)
	}
	return head, true, nil
}

// LockHead is Head, and keeps the head from advancing before the transaction ends.
func (tx *Tx) LockHead(ctx context.Context, refKey string) (head Head, known bool, err error) {
	if _, err := tx.exec(ctx, `SELECT 1 FROM heads WHERE ref_key = $1`+tx.forUpdate(), refKey); err != nil {
		return Head{}, false, fmt.Errorf("lock head: %w", err)
	}
	return tx.Head(ctx, refKey)
}

func (tx *Tx) head(ctx context.Context, refKey, lock string) (h Head, err error) {
	err = tx.queryRow(ctx, `SELECT delivery_id, sha, before, branch, ended, changed_at, updated_at FROM heads WHERE ref_key = $1`+lock, refKey).
		Scan(&h.deliveryID, &h.SHA, &h.before, &h.Branch, &h.Ended, &h.changedAt, &h.savedAt)
	return h, err
}

// LockHeads locks the heads of these ref keys, as far as they are known, in one fixed
// order: transactions that change several heads do not deadlock then.
func (tx *Tx) LockHeads(ctx context.Context, refKeys []string) error {
	if tx.forUpdate() == "" || len(refKeys) == 0 {
		return nil
	}
	_, err := tx.exec(ctx, `SELECT 1 FROM heads WHERE ref_key IN `+placeholders(1, len(refKeys))+` ORDER BY ref_key`+tx.forUpdate(), anys(refKeys)...)
	if err != nil {
		return fmt.Errorf("lock heads: %w", err)
	}
	return nil
}
