package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

// gatheredAsked is the column gathered of a delivery while its host has not answered.
const gatheredAsked = "asked"

// Ask notes that the decision of a delivery waits for what is found out about it, most of it by
// its host. Its decision has not ended a process (BeginDecision). What waits already waits on. since
// is when the wait began, UpdatedAt; waits is false when it was found out meanwhile, unless it is to be
// found out again.
func (tx *Tx) Ask(ctx context.Context, id string, again bool) (since time.Time, waits bool, err error) {
	var at int64
	err = tx.queryRow(ctx, `UPDATE deliveries SET attempts = 0, updated_at = CASE WHEN gathered = $2 THEN updated_at ELSE $3 END, gathered = $2, reason = $4
		WHERE id = $1 AND state = 'received' AND (gathered IN ('', $2) OR $5) RETURNING updated_at`, id, gatheredAsked, tx.now(), "waits until its git host tells more of it", again).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return since, false, nil
	}
	if err != nil {
		return since, false, fmt.Errorf("ask about delivery %q: %w", id, err)
	}
	return fromMicros(at), true, nil
}

// SaveGathered keeps what was found out until the delivery is decided. saved is false when that does
// not wait for it, or not any more.
func (tx *Tx) SaveGathered(ctx context.Context, id string, g event.Gathered) (saved bool, err error) {
	text, err := json.Marshal(g)
	if err != nil {
		return false, fmt.Errorf("save what was found out about delivery %q: %w", id, err)
	}
	changed, err := tx.exec(ctx, `UPDATE deliveries SET gathered = $2, updated_at = $3 WHERE id = $1 AND state = 'received' AND gathered = $4`,
		id, string(text), tx.now(), gatheredAsked)
	if err != nil {
		return false, fmt.Errorf("save what was found out about delivery %q: %w", id, err)
	}
	return changed > 0, nil
}
