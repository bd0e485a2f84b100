package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

// Head is the newest known state of a branch, tag or merge request.
type Head struct {
	// SHA is its commit; Branch the branch or tag, or the merge request's target.
	SHA    string
	Branch string
	// Ended: it was deleted, closed or merged.
	Ended bool
	// Uncertain: a push went back to an earlier commit from one that is not the head. It
	// may be an old push that somebody sent again, or the branch may have been reset
	// without our hearing of it. The next push that starts at the head makes it certain
	// again, and so does ConfirmHead.
	Uncertain bool

	deliveryID string
	before     string
	changedAt  string
	// savedAt is when this was written, in microseconds.
	savedAt int64
}

// DeliveredBy is the id of the delivery that told it.
func (h Head) DeliveredBy() string { return h.deliveryID }

// maxSkew is how far the clocks of replicas may differ, in microseconds: two deliveries
// received within it can have ids in the wrong order.
const maxSkew = 60_000_000

// maxAhead is how far ahead of our clock a host's time may be, in microseconds. One that
// is further ahead orders nothing: it would make every later change of the same merge
// request look old.
const maxAhead = 10 * 60_000_000

// HeadChange says what an event did to the head of its ref key.
type HeadChange string

const (
	// HeadAdvanced: the event tells the newest known state.
	HeadAdvanced HeadChange = "advanced"
	// HeadNewer: a newer state is known.
	HeadNewer HeadChange = "newer"
	// HeadRepeated: the push does not start at the head and ends at a commit that was the
	// head already, or is; or a deletion starts at one.
	HeadRepeated HeadChange = "repeated"
)

// AdvanceHead makes what e says the newest known state of its ref key, unless the
// stored state is newer or e repeats an earlier one. Deliveries come late and are
// processed out of order: the host's own time decides where it sends one, then whether
// e's commit is the one that the newer event started from, then the order of receipt,
// which is the order of delivery ids.
//
// A push that goes back to an earlier head from a commit that is not the head changes
// nothing, but that the head is uncertain from then on.
func (tx *Tx) AdvanceHead(ctx context.Context, e event.Event, deliveryID string) (HeadChange, error) {
	change, err := tx.advanceHead(ctx, e, deliveryID)
	if err != nil {
		return "", fmt.Errorf("advance head: %w", err)
	}
	return change, nil
}

func (tx *Tx) advanceHead(ctx context.Context, e event.Event, deliveryID string) (HeadChange, error) {
	next := Head{SHA: e.HeadSHA, Branch: e.Branch, Ended: e.EndsRef(), deliveryID: deliveryID, before: e.Before, changedAt: e.UpdatedAt}
	if t, ok := event.HostTime(next.changedAt); ok && micros(t) > tx.now()+maxAhead {
		next.changedAt = ""
	}
	added, err := tx.exec(ctx, `INSERT INTO heads (ref_key, delivery_id, sha, before, branch, ended, uncertain, changed_at, used_at, updated_at, repository_key, repository)
		VALUES ($1, $2, $3, $4, $5, $6, FALSE, $7, $8, $8, $9, $10) ON CONFLICT (ref_key) DO NOTHING`,
		e.RefKey(), next.deliveryID, next.SHA, next.before, next.Branch, next.Ended, next.changedAt, tx.now(), e.RepositoryKey(), e.Repository.FullName)
	if err != nil {
		return "", err
	}
	if added == 1 {
		return HeadAdvanced, tx.addFormerHeads(ctx, e, next.before)
	}
	current, err := tx.head(ctx, e.RefKey(), tx.forUpdate())
	if err != nil {
		return "", err
	}
	if current.newerThan(next, tx.now()) {
		if next.SHA != current.SHA {
			err = tx.addFormerHeads(ctx, e, next.SHA)
		}
		return HeadNewer, errors.Join(err, tx.useHead(ctx, e.RefKey()))
	}
	if repeated, err := tx.repeatsHead(ctx, e, current, next); err != nil || repeated {
		return HeadRepeated, errors.Join(err, tx.useHead(ctx, e.RefKey()))
	}
	same := next.SHA == current.SHA && next.Branch == current.Branch && next.Ended == current.Ended
	if same && next.before == "" {
		next.before = current.before
	}
	if !same {
		if err := tx.addFormerHeads(ctx, e, current.SHA, next.before); err != nil {
			return "", err
		}
	}
	_, err = tx.exec(ctx, `UPDATE heads SET delivery_id = $2, sha = $3, before = $4, branch = $5, ended = $6, uncertain = $7, changed_at = $8, used_at = $9, updated_at = $9, repository = $10 WHERE ref_key = $1`,
		e.RefKey(), next.deliveryID, next.SHA, next.before, next.Branch, next.Ended, current.Uncertain && same, next.changedAt, tx.now(), e.Repository.FullName)
	return HeadAdvanced, err
}

// repeatsHead reports whether the push e, which would become the head, does not start at
// the current one and ends at a commit that is or was the head, or deletes the branch at
// one that was. If it was, the head is uncertain. The delivery that told the head may tell it again.
func (tx *Tx) repeatsHead(ctx context.Context, e event.Event, current, next Head) (bool, error) {
	if !formerHeadsCount(e) || next.before == current.SHA || next.deliveryID == current.deliveryID {
		return false, nil
	}
	sha := next.SHA
	if next.Ended {
		sha = next.before
	} else if sha == current.SHA {
		return true, nil
	}
	was, err := tx.exec(ctx, `UPDATE heads SET uncertain = TRUE WHERE ref_key = $1 AND EXISTS (SELECT 1 FROM former_heads WHERE key = $2)`,
		e.RefKey(), formerKey(e, sha))
	return was > 0, err
}

// formerHeadsCount: pushes and tags alone need the memory of former heads. Merge requests
// carry the host's time of the change, which orders them.
func formerHeadsCount(e event.Event) bool { return e.Kind == event.Push || e.Kind == event.Tag }

func formerKey(e event.Event, sha string) string { return e.RefKey() + " " + sha }

// addFormerHeads notes commits that were the head of e's ref key.
func (tx *Tx) addFormerHeads(ctx context.Context, e event.Event, commits ...string) error {
	if !formerHeadsCount(e) {
		return nil
	}
	for i, sha := range commits {
		if sha == "" || slices.Contains(commits[:i], sha) {
			continue
		}
		if _, err := tx.exec(ctx, `INSERT INTO former_heads (key, was_at) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET was_at = excluded.was_at`,
			formerKey(e, sha), tx.now()); err != nil {
			return err
		}
	}
	return nil
}

// useHead notes, once a day, that a delivery spoke of a ref key: its head is kept.
func (tx *Tx) useHead(ctx context.Context, refKey string) error {
	_, err := tx.exec(ctx, `UPDATE heads SET used_at = $2 WHERE ref_key = $1 AND used_at < $3`,
		refKey, tx.now(), tx.now()-(24*time.Hour).Microseconds())
	return err
}

// ConfirmHead makes the head of a ref key certain: its tip was read from the host and is
// the commit sha. When another commit is the head, nothing changes.
func (tx *Tx) ConfirmHead(ctx context.Context, refKey, sha string) error {
	if _, err := tx.exec(ctx, `UPDATE heads SET uncertain = FALSE WHERE ref_key = $1 AND sha = $2 AND uncertain`, refKey, sha); err != nil {
		return fmt.Errorf("confirm head: %w", err)
	}
	return nil
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
	err = tx.queryRow(ctx, `SELECT delivery_id, sha, before, branch, ended, uncertain, changed_at, updated_at FROM heads WHERE ref_key = $1`+lock, refKey).
		Scan(&h.deliveryID, &h.SHA, &h.before, &h.Branch, &h.Ended, &h.Uncertain, &h.changedAt, &h.savedAt)
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
