package store

import (
	"context"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
)

// A record that cannot go on before another one has changed waits for it: its row
// names the other's id, and no job looks at it meanwhile. Whoever waits locks the
// other record first, and whoever changes a record wakes those that wait for it in the
// same transaction. So either the one sees the change or the other sees the wait. A
// save of the waiting record ends its wait too.

// RunWaits marks a run that has not ended as waiting for the record with the id other.
func (tx *Tx) RunWaits(ctx context.Context, id, other string) error {
	return tx.waits(ctx, `UPDATE runs SET waits_for = $2, updated_at = $3 WHERE id = $1 AND state IN `+activeRuns, id, other)
}

// ReleaseWaits marks a release that has not ended as waiting for the record with the
// id other.
func (tx *Tx) ReleaseWaits(ctx context.Context, id, other string) error {
	return tx.waits(ctx, `UPDATE releases SET waits_for = $2, updated_at = $3 WHERE id = $1 AND state IN `+activeReleases, id, other)
}

func (tx *Tx) waits(ctx context.Context, query, id, other string) error {
	if _, err := tx.exec(ctx, query, id, other, tx.now()); err != nil {
		return fmt.Errorf("let %q wait for %q: %w", id, other, err)
	}
	return nil
}

// Wake ends the waits for the records with these ids, and returns the runs and releases
// that waited, with their states: whoever calls it inserts their jobs.
func (tx *Tx) Wake(ctx context.Context, ids []string) (runs map[string]codecheck.State, releases map[string]release.State, err error) {
	if len(ids) == 0 {
		return nil, nil, nil
	}
	args := append([]any{tx.now()}, anys(ids)...)
	if runs, err = statesByID[codecheck.State](ctx, tx, wakeQuery("runs", len(ids)), args...); err != nil {
		return nil, nil, err
	}
	releases, err = statesByID[release.State](ctx, tx, wakeQuery("releases", len(ids)), args...)
	return runs, releases, err
}

// wakeQuery ends the waits of a table for a number of records. What has ended does not
// wait, so it does not ask for the state: SQLite would then read all that is active
// rather than the few that wait. Naming the condition of the index lets it be used.
func wakeQuery(table string, records int) string {
	return `UPDATE ` + table + ` SET waits_for = '', updated_at = $1
		WHERE waits_for IN ` + placeholders(2, records) + ` AND waits_for <> '' RETURNING id, state`
}

// LockOldestUndecided returns the id of the oldest delivery of a connection that was received
// up to a time and still waits for its decision, and keeps it undecided until the
// transaction ends; empty when there is none.
func (tx *Tx) LockOldestUndecided(ctx context.Context, connection string, until time.Time) (id string, err error) {
	return tx.lockFirst(ctx, `SELECT id FROM deliveries WHERE state = $1 AND received_at <= $2 AND connection = $3 ORDER BY received_at LIMIT 1`,
		string(event.DeliveryReceived), micros(until), connection)
}

// LockUnanswered returns the id of another release whose action on a pipeline has no
// answer yet, and keeps it so until the transaction ends; empty when there is none.
func (tx *Tx) LockUnanswered(ctx context.Context, pipeline, except string) (id string, err error) {
	return tx.lockFirst(ctx, `SELECT id FROM releases WHERE unanswered AND pipeline = $1 AND id <> $2 LIMIT 1`, pipeline, except)
}

// LockOccupant returns the id of another run that occupies a CodeArts task, and keeps it so
// until the transaction ends; empty when there is none.
func (tx *Tx) LockOccupant(ctx context.Context, taskID, except string) (id string, err error) {
	return tx.lockFirst(ctx, `SELECT id FROM runs WHERE occupied_task = $1 AND occupied_task <> '' AND id <> $2 LIMIT 1`, taskID, except)
}

func (tx *Tx) lockFirst(ctx context.Context, query string, args ...any) (id string, err error) {
	ids, err := texts(ctx, tx, query+tx.forUpdate(), args...)
	if err != nil || len(ids) == 0 {
		return "", err
	}
	return ids[0], nil
}
