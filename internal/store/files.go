package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/gatewright/gatewright/internal/event"
)

// filesAsked is the column files of a delivery while its host has not answered.
const filesAsked = "asked"

// AskFiles notes that the decision of a delivery waits for the files that it changes, which
// its host is asked for. Its decision has not ended a process (BeginDecision). What waits
// already waits on, since when it did: UpdatedAt. waits is false when the host has told them
// meanwhile.
func (tx *Tx) AskFiles(ctx context.Context, id string) (waits bool, err error) {
	changed, err := tx.exec(ctx, `UPDATE deliveries SET attempts = 0, updated_at = CASE WHEN files = $2 THEN updated_at ELSE $3 END, files = $2, reason = $4
		WHERE id = $1 AND state = 'received' AND files IN ('', $2)`, id, filesAsked, tx.now(), "waits until its git host tells which files it changes")
	if err != nil {
		return false, fmt.Errorf("ask for files of delivery %q: %w", id, err)
	}
	return changed > 0, nil
}

// SaveFiles keeps what the host told until the delivery is decided. saved is false when that
// does not wait for them, or not any more.
func (tx *Tx) SaveFiles(ctx context.Context, id string, files event.Files) (saved bool, err error) {
	text, err := json.Marshal(files)
	if err != nil {
		return false, fmt.Errorf("save files of delivery %q: %w", id, err)
	}
	changed, err := tx.exec(ctx, `UPDATE deliveries SET files = $2, updated_at = $3 WHERE id = $1 AND state = 'received' AND files = $4`,
		id, string(text), tx.now(), filesAsked)
	if err != nil {
		return false, fmt.Errorf("save files of delivery %q: %w", id, err)
	}
	return changed > 0, nil
}
