package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gatewright/gatewright/internal/codecheck"
)

// AddRun stores a new run. added is false, and nothing is stored, when the same
// rule has checked the same commit on the same task already, or is about to:
// then the other run's id is returned.
func (tx *Tx) AddRun(ctx context.Context, run codecheck.Run) (id string, added bool, err error) {
	data, err := json.Marshal(run)
	if err != nil {
		return "", false, fmt.Errorf("add run %q: %w", run.ID, err)
	}
	taskKey := codecheck.TaskKey(run.Event, run.Check)
	changed, err := tx.exec(ctx, `INSERT INTO runs
		(id, delivery_id, rule, line, sha, task_key, state, deadline, created_at, updated_at, data)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		ON CONFLICT DO NOTHING`,
		run.ID, run.DeliveryID, run.Rule, run.Event.Line(), run.Event.HeadSHA, taskKey, string(run.State),
		micros(run.Deadline), micros(run.CreatedAt), tx.now(), string(data))
	if err != nil {
		return "", false, fmt.Errorf("add run %q: %w", run.ID, err)
	}
	if changed == 1 {
		return run.ID, true, nil
	}
	err = tx.queryRow(ctx, `SELECT id FROM runs WHERE task_key = $1 AND sha = $2 AND rule = $3
		AND state NOT IN ('errored', 'superseded', 'stopped')`, taskKey, run.Event.HeadSHA, run.Rule).Scan(&id)
	if err != nil {
		return "", false, fmt.Errorf("read run of the same commit: %w", err)
	}
	return id, false, nil
}

// SaveRun writes a run. ErrEnded when the stored run has ended: then nothing is
// written.
func (tx *Tx) SaveRun(ctx context.Context, run codecheck.Run) error {
	data, err := json.Marshal(run)
	if err != nil {
		return fmt.Errorf("save run %q: %w", run.ID, err)
	}
	changed, err := tx.exec(ctx, `UPDATE runs SET state = $2, deadline = $3, updated_at = $4, data = $5
		WHERE id = $1 AND state IN ('queued', 'starting', 'running')`,
		run.ID, string(run.State), micros(run.Deadline), tx.now(), string(data))
	if err == nil && changed == 0 {
		err = ErrEnded
	}
	if err != nil {
		return fmt.Errorf("save run %q: %w", run.ID, err)
	}
	return nil
}

// Run reads one run. ErrNotFound when there is none.
func (tx *Tx) Run(ctx context.Context, id string) (codecheck.Run, error) {
	run, err := scanRun(tx.queryRow(ctx, `SELECT data FROM runs WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return codecheck.Run{}, fmt.Errorf("read run %q: %w", id, err)
	}
	return run, nil
}

// LockRun reads one run and keeps it from changing before the transaction ends.
func (tx *Tx) LockRun(ctx context.Context, id string) (codecheck.Run, error) {
	if _, err := tx.exec(ctx, `SELECT 1 FROM runs WHERE id = $1`+tx.lock(), id); err != nil {
		return codecheck.Run{}, fmt.Errorf("lock run %q: %w", id, err)
	}
	return tx.Run(ctx, id)
}

// ActiveRuns lists the runs of a line that have not ended, oldest first, and keeps
// them from changing before the transaction ends.
func (tx *Tx) ActiveRuns(ctx context.Context, line string) ([]codecheck.Run, error) {
	return tx.runs(ctx, `SELECT data FROM runs WHERE line = $1 AND state IN ('queued', 'starting', 'running') ORDER BY created_at, id`+tx.lock(), line)
}

// RunsOf lists the runs that a delivery caused, oldest first.
func (tx *Tx) RunsOf(ctx context.Context, deliveryID string) ([]codecheck.Run, error) {
	return tx.runs(ctx, `SELECT data FROM runs WHERE delivery_id = $1 ORDER BY created_at, id`, deliveryID)
}

// Runs lists runs, newest first. An empty state lists all of them; limit bounds
// the list.
func (tx *Tx) Runs(ctx context.Context, state codecheck.State, limit int) ([]codecheck.Run, error) {
	return tx.runs(ctx, `SELECT data FROM runs WHERE $1 = '' OR state = $1 ORDER BY created_at DESC, id DESC LIMIT $2`, string(state), limit)
}

// CountRuns counts the runs in each state.
func (tx *Tx) CountRuns(ctx context.Context) (map[codecheck.State]int, error) {
	return counts[codecheck.State](ctx, tx, `SELECT state, COUNT(*) FROM runs GROUP BY state`)
}

func (tx *Tx) runs(ctx context.Context, query string, args ...any) ([]codecheck.Run, error) {
	rows, err := tx.query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	defer rows.Close()
	var list []codecheck.Run
	for rows.Next() {
		run, err := scanRun(rows)
		if err != nil {
			return nil, fmt.Errorf("list runs: %w", err)
		}
		list = append(list, run)
	}
	return list, rows.Err()
}

func scanRun(row scanner) (codecheck.Run, error) { return scanData[codecheck.Run](row) }

// scanData reads a row that is one JSON record.
func scanData[T any](row scanner) (record T, err error) {
	var data string
	if err := row.Scan(&data); err != nil {
		return record, err
	}
	if err := json.Unmarshal([]byte(data), &record); err != nil {
		return record, fmt.Errorf("unmarshal record: %w", err)
	}
	return record, nil
}

// counts reads rows of a state and a number.
func counts[S ~string](ctx context.Context, tx *Tx, query string) (map[S]int, error) {
	rows, err := tx.query(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("count: %w", err)
	}
	defer rows.Close()
	result := map[S]int{}
	for rows.Next() {
		var state string
		var number int
		if err := rows.Scan(&state, &number); err != nil {
			return nil, fmt.Errorf("count: %w", err)
		}
		result[S(state)] = number
	}
	return result, rows.Err()
}
