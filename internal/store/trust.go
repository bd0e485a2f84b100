package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

// Trust says that somebody vouches for one commit of a merge request. It does not extend to the
// next one.
type Trust struct {
	// Actor is who vouches for it; empty while nobody does, and DeliveryID is then the newest
	// delivery that waits for that.
	Actor, Reason string
	DeliveryID    string
	At            time.Time
}

func trustKey(ev event.Event) string { return ev.RefKey() + " " + ev.HeadSHA }

// Trust returns who vouches for the commit of an event; found is false when nobody does.
func (tx *Tx) Trust(ctx context.Context, ev event.Event) (t Trust, found bool, err error) {
	var at int64
	err = tx.queryRow(ctx, `SELECT actor, reason, delivery_id, updated_at FROM trust WHERE key = $1 AND actor <> ''`, trustKey(ev)).Scan(&t.Actor, &t.Reason, &t.DeliveryID, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return Trust{}, false, nil
	}
	if err != nil {
		return Trust{}, false, fmt.Errorf("read trust: %w", err)
	}
	t.At = fromMicros(at)
	return t, true, nil
}

// AwaitTrust notes that a delivery waits for somebody who vouches for its commit. given is true when
// somebody does already. Of two transactions, one that gives trust and one that waits for it, the
// second sees what the first has done.
func (tx *Tx) AwaitTrust(ctx context.Context, ev event.Event, deliveryID string) (given bool, err error) {
	err = tx.queryRow(ctx, `INSERT INTO trust (key, connection, repository_id, number, sha, delivery_id, actor, reason, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, '', '', $7)
		ON CONFLICT (key) DO UPDATE SET delivery_id = CASE WHEN trust.actor = '' THEN excluded.delivery_id ELSE trust.delivery_id END,
			updated_at = CASE WHEN trust.actor = '' THEN excluded.updated_at ELSE trust.updated_at END
		RETURNING actor <> ''`,
		trustKey(ev), ev.Connection, ev.Repository.ID, ev.Number, ev.HeadSHA, deliveryID, tx.now()).Scan(&given)
	if err != nil {
		return false, fmt.Errorf("await trust: %w", err)
	}
	return given, nil
}

// ForgetWaiting notes that nothing of the commit of an event waits for trust any more.
func (tx *Tx) ForgetWaiting(ctx context.Context, ev event.Event) error {
	if _, err := tx.exec(ctx, `DELETE FROM trust WHERE key = $1 AND actor = ''`, trustKey(ev)); err != nil {
		return fmt.Errorf("forget what waits for trust: %w", err)
	}
	return nil
}

// TrustAwaited reports whether a merge request waits for somebody who vouches for a commit: one that is
// open and has that commit still.
func (tx *Tx) TrustAwaited(ctx context.Context, connection, repositoryID, sha string) (awaited bool, err error) {
	err = tx.queryRow(ctx, `SELECT EXISTS (SELECT 1 FROM trust t JOIN heads h ON h.ref_key = t.connection || ' ' || t.repository_id || ' merge_request ' || CAST(t.number AS TEXT)
		WHERE t.connection = $1 AND t.repository_id = $2 AND t.sha = $3 AND t.actor = '' AND h.sha = t.sha AND NOT h.ended)`, connection, repositoryID, sha).Scan(&awaited)
	if err != nil {
		return false, fmt.Errorf("look for what waits for trust: %w", err)
	}
	return awaited, nil
}

// GiveTrust notes that somebody vouches for the commit of an event, and returns the delivery that
// waits for that, or empty. isNew is false when somebody does already; then nothing is changed.
func (tx *Tx) GiveTrust(ctx context.Context, ev event.Event, actor, reason string) (deliveryID string, isNew bool, err error) {
	err = tx.queryRow(ctx, `INSERT INTO trust (key, connection, repository_id, number, sha, delivery_id, actor, reason, updated_at)
		VALUES ($1, $2, $3, $4, $5, '', $6, $7, $8)
		ON CONFLICT (key) DO UPDATE SET actor = excluded.actor, reason = excluded.reason, updated_at = excluded.updated_at WHERE trust.actor = ''
		RETURNING delivery_id`,
		trustKey(ev), ev.Connection, ev.Repository.ID, ev.Number, ev.HeadSHA, actor, reason, tx.now()).Scan(&deliveryID)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("give trust: %w", err)
	}
	return deliveryID, true, nil
}
