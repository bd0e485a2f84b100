package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

// ErrGone is returned for a delivery whose body was removed when its time was over.
var ErrGone = errors.New("its payload was kept for store.payload_retention and is gone")

// ErrWaiting is returned for a delivery that waits for its decision already.
var ErrWaiting = errors.New("it waits for its decision already")

// Stretch says which deliveries are meant.
type Stretch struct {
	// State; empty means every state.
	State event.DeliveryState
	// Received at Since or later, and before Until; a zero time is no bound.
	Since, Until time.Time
}

// Stretch lists the deliveries of a stretch whose ids come after one, in the order of
// their ids, which is that of their receipt, without their bodies; limit bounds the
// list. An empty id begins with the first.
func (tx *Tx) Stretch(ctx context.Context, s Stretch, after string, limit int) ([]Delivery, error) {
	until := int64(1<<63 - 1)
	if !s.Until.IsZero() {
		until = micros(s.Until)
	}
	since := int64(0)
	if !s.Since.IsZero() {
		since = micros(s.Since)
	}
	rows, err := tx.query(ctx, `SELECT `+deliveryColumns+`, codec FROM deliveries
		WHERE id > $1 AND received_at >= $2 AND received_at < $3 AND ($4 = '' OR state = $4) ORDER BY id LIMIT $5`,
		after, since, until, string(s.State), limit)
	if err != nil {
		return nil, fmt.Errorf("list deliveries: %w", err)
	}
	defer rows.Close()
	var list []Delivery
	for rows.Next() {
		var codec string
		d, err := scanDelivery(rows, &codec)
		if err != nil {
			return nil, fmt.Errorf("list deliveries: %w", err)
		}
		d.Gone = codec == codecGone
		list = append(list, d)
	}
	return list, rows.Err()
}

// Replay makes a delivery wait for its decision again. ErrNotFound, ErrGone or
// ErrWaiting when that cannot be; then nothing is changed.
func (tx *Tx) Replay(ctx context.Context, id string) error {
	var state event.DeliveryState
	var codec string
	err := tx.queryRow(ctx, `SELECT state, codec FROM deliveries WHERE id = $1`+tx.lock(), id).Scan(&state, &codec)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		err = ErrNotFound
	case err != nil:
	case state == event.DeliveryReceived:
		err = ErrWaiting
	case codec == codecGone:
		err = ErrGone
	default:
		return tx.Reopen(ctx, id)
	}
	return fmt.Errorf("replay delivery %q: %w", id, err)
}
