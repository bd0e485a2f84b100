package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/gatewright/gatewright/internal/event"
)

// ClaimEvent makes the delivery the owner of the change that e announces, unless
// another one is; it returns the owner's id. It must be called before AdvanceHead.
//
// The same change can be made a second time, after a force push back to the commit
// before or after a deletion. Where it starts tells that from a second announcement:
// a change that was made again starts at the stored head.
func (tx *Tx) ClaimEvent(ctx context.Context, e event.Event, deliveryID string) (owner string, err error) {
	key := e.Key()
	claimed, err := tx.exec(ctx, `INSERT INTO event_keys (key, delivery_id, created_at) VALUES ($1, $2, $3) ON CONFLICT (key) DO NOTHING`,
		key, deliveryID, tx.now())
	if err != nil {
		return "", fmt.Errorf("claim event: %w", err)
	}
	if claimed == 1 {
		return deliveryID, nil
	}
	head, err := tx.head(ctx, e.RefKey(), tx.forUpdate())
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("claim event: %w", err)
	}
	if err == nil && head.startsAgain(e) {
		if _, err := tx.exec(ctx, `UPDATE event_keys SET delivery_id = $2, created_at = $3 WHERE key = $1`, key, deliveryID, tx.now()); err != nil {
			return "", fmt.Errorf("claim event: %w", err)
		}
		return deliveryID, nil
	}
	if err := tx.useHead(ctx, e.RefKey()); err != nil {
		return "", fmt.Errorf("claim event: %w", err)
	}
	if err := tx.queryRow(ctx, `SELECT delivery_id FROM event_keys WHERE key = $1`, key).Scan(&owner); err != nil {
		return "", fmt.Errorf("claim event: %w", err)
	}
	return owner, nil
}

// startsAgain reports whether a known change was made a second time.
func (h Head) startsAgain(e event.Event) bool {
	if h.Ended {
		return e.Before == "" && !e.EndsRef()
	}
	return e.Before == h.SHA && e.HeadSHA != h.SHA
}
