package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

// Head is the newest known state of a branch, tag or merge request.
type Head struct {
	// SHA is its commit; Branch the branch or tag, or the merge request's target.
	SHA    string
	Branch string
	// Gone: it was deleted, closed or merged.
	Gone bool

	deliveryID string
	before     string
	changedAt  string
	// toldAt is when this was written, in microseconds.
	toldAt int64
}

// disorder is by how much the order of delivery ids can be wrong, because replicas'
// clocks differ, in microseconds.
const disorder = 60_000_000

// MoveHead makes what e says the newest known state of its line, unless what
// stands there is newer; moved says which. Deliveries come late and are processed
// out of order: the host's own time decides where it sends one, then whether e's
// commit is the one that the newer event moved away from, then the order of
// receipt, which is the order of delivery ids.
func (tx *Tx) MoveHead(ctx context.Context, e event.Event, deliveryID string) (moved bool, err error) {
	next := Head{SHA: e.HeadSHA, Branch: e.Branch, Gone: e.Gone(), deliveryID: deliveryID, before: e.Before, changedAt: e.UpdatedAt}
	added, err := tx.exec(ctx, `INSERT INTO heads (line, delivery_id, sha, before, branch, gone, changed_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (line) DO NOTHING`,
		e.Line(), next.deliveryID, next.SHA, next.before, next.Branch, next.Gone, next.changedAt, tx.now())
	if err != nil {
		return false, fmt.Errorf("move head: %w", err)
	}
	if added == 1 {
		return true, nil
	}
	current, err := tx.head(ctx, e.Line(), tx.lock())
	if err != nil {
		return false, fmt.Errorf("move head: %w", err)
	}
	if current.newerThan(next, tx.now()) {
		return false, nil
	}
	same := next.SHA == current.SHA && next.Branch == current.Branch && next.Gone == current.Gone
	if same && next.before == "" {
		next.before = current.before
	}
	if _, err := tx.exec(ctx, `UPDATE heads SET delivery_id = $2, sha = $3, before = $4, branch = $5, gone = $6, changed_at = $7, updated_at = $8 WHERE line = $1`,
		e.Line(), next.deliveryID, next.SHA, next.before, next.Branch, next.Gone, next.changedAt, tx.now()); err != nil {
		return false, fmt.Errorf("move head: %w", err)
	}
	return true, nil
}

// newerThan reports whether h, which stands, is newer than what comes now.
func (h Head) newerThan(next Head, now int64) bool {
	mine, ok := hostTime(h.changedAt)
	theirs, also := hostTime(next.changedAt)
	if ok && also && !mine.Equal(theirs) {
		return mine.After(theirs)
	}
	if !h.Gone && !next.Gone && next.SHA != h.SHA && next.SHA == h.before && next.before != h.SHA {
		return true
	}
	if next.before != "" && next.before == h.SHA && now-h.toldAt < disorder {
		return false
	}
	if h.toldAt > now {
		// The clock was set back: the order of the ids says nothing.
		return false
	}
	return next.deliveryID < h.deliveryID
}

// hostTime reads a time as one of the hosts writes it.
func hostTime(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05 MST", "2006-01-02 15:04:05 -0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// Head returns the newest known state of a line; known is false when there is none.
func (tx *Tx) Head(ctx context.Context, line string) (head Head, known bool, err error) {
	head, err = tx.head(ctx, line, "")
	if errors.Is(err, sql.ErrNoRows) {
		return Head{}, false, nil
	}
	if err != nil {
		return Head{}, false, fmt.Errorf("read head: %w", err)
	}
	return head, true, nil
}

// LockHead is Head, and keeps the line from moving on before the transaction ends.
func (tx *Tx) LockHead(ctx context.Context, line string) (head Head, known bool, err error) {
	if _, err := tx.exec(ctx, `SELECT 1 FROM heads WHERE line = $1`+tx.lock(), line); err != nil {
		return Head{}, false, fmt.Errorf("lock head: %w", err)
	}
	return tx.Head(ctx, line)
}

func (tx *Tx) head(ctx context.Context, line, lock string) (h Head, err error) {
	err = tx.queryRow(ctx, `SELECT delivery_id, sha, before, branch, gone, changed_at, updated_at FROM heads WHERE line = $1`+lock, line).
		Scan(&h.deliveryID, &h.SHA, &h.before, &h.Branch, &h.Gone, &h.changedAt, &h.toldAt)
	return h, err
}

// ClaimEvent makes the delivery the owner of the change that e announces, unless
// another one is; it returns the owner's id. It must be called before MoveHead.
//
// The same change can be made once more, after a force push back to the commit
// before or after a deletion. That it was made, and not only announced again, shows
// by where it starts: at the head of the line as it stands.
func (tx *Tx) ClaimEvent(ctx context.Context, e event.Event, deliveryID string) (owner string, err error) {
	key := e.Key()
	claimed, err := tx.exec(ctx, `INSERT INTO event_keys (key, line, delivery_id, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (key) DO NOTHING`,
		key, e.Line(), deliveryID, tx.now())
	if err != nil {
		return "", fmt.Errorf("claim event: %w", err)
	}
	if claimed == 1 {
		return deliveryID, nil
	}
	head, err := tx.head(ctx, e.Line(), tx.lock())
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("claim event: %w", err)
	}
	if err == nil && head.startsAgain(e) {
		if _, err := tx.exec(ctx, `UPDATE event_keys SET delivery_id = $2, created_at = $3 WHERE key = $1`, key, deliveryID, tx.now()); err != nil {
			return "", fmt.Errorf("claim event: %w", err)
		}
		return deliveryID, nil
	}
	if err := tx.queryRow(ctx, `SELECT delivery_id FROM event_keys WHERE key = $1`, key).Scan(&owner); err != nil {
		return "", fmt.Errorf("claim event: %w", err)
	}
	return owner, nil
}

// startsAgain reports whether a known change was made once more.
func (h Head) startsAgain(e event.Event) bool {
	if h.Gone {
		return e.Before == "" && !e.Gone()
	}
	return e.Before == h.SHA && e.HeadSHA != h.SHA
}
