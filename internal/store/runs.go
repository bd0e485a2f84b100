package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

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
		(id, delivery_id, rule, line, sha, task_key, state, version, deadline, created_at, updated_at, data)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9, $10, $11)
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

// Sibling returns the oldest run of another rule that checks, or has checked, the
// same commit on the same task; empty when there is none.
func (tx *Tx) Sibling(ctx context.Context, run codecheck.Run) (id string, err error) {
	err = tx.queryRow(ctx, `SELECT id FROM runs WHERE task_key = $1 AND sha = $2 AND rule <> $3
		AND state NOT IN ('errored', 'superseded', 'stopped') ORDER BY created_at, id LIMIT 1`,
		codecheck.TaskKey(run.Event, run.Check), run.Event.HeadSHA, run.Rule).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read run of another rule: %w", err)
	}
	return id, nil
}

// SaveRun writes a run that was read at a version, and counts the version up. When
// nothing could be written the error is ErrEnded (the stored run has ended) or
// ErrStale (somebody else has saved it meanwhile).
func (tx *Tx) SaveRun(ctx context.Context, run codecheck.Run, version *Version) error {
	data, err := json.Marshal(run)
	if err != nil {
		return fmt.Errorf("save run %q: %w", run.ID, err)
	}
	changed, err := tx.exec(ctx, `UPDATE runs SET state = $3, version = version + 1, deadline = $4, updated_at = $5, data = $6
		WHERE id = $1 AND version = $2 AND state IN ('queued', 'starting', 'running')`,
		run.ID, int64(*version), string(run.State), micros(run.Deadline), tx.now(), string(data))
	if err == nil && changed == 0 {
		err = tx.whyNotSaved(ctx, `SELECT state IN ('queued', 'starting', 'running') FROM runs WHERE id = $1`, run.ID)
	}
	if err != nil {
		return fmt.Errorf("save run %q: %w", run.ID, err)
	}
	*version++
	return nil
}

// whyNotSaved tells ended from stale.
func (tx *Tx) whyNotSaved(ctx context.Context, query, id string) error {
	var active bool
	err := tx.queryRow(ctx, query, id).Scan(&active)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	case err != nil:
		return err
	case active:
		return ErrStale
	}
	return ErrEnded
}

// Run reads one run. ErrNotFound when there is none.
func (tx *Tx) Run(ctx context.Context, id string) (codecheck.Run, error) {
	run, _, err := tx.RunAt(ctx, id)
	return run, err
}

// RunAt reads one run and the version that it has. ErrNotFound when there is none.
func (tx *Tx) RunAt(ctx context.Context, id string) (codecheck.Run, Version, error) {
	run, version, err := scanVersioned[codecheck.Run](tx.queryRow(ctx, `SELECT version, data FROM runs WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return codecheck.Run{}, 0, fmt.Errorf("read run %q: %w", id, err)
	}
	return run, version, nil
}

// EndRuns ends the runs of a line that have not ended and of which the function
// says so; it returns them as they were saved, oldest first. A step that is at work
// on one of them finds its own save refused.
func (tx *Tx) EndRuns(ctx context.Context, line string, end func(*codecheck.Run) bool) ([]codecheck.Run, error) {
	active, err := tx.runs(ctx, `SELECT data FROM runs WHERE line = $1 AND state IN ('queued', 'starting', 'running') ORDER BY created_at, id`+tx.lock(), line)
	if err != nil {
		return nil, err
	}
	var ended []codecheck.Run
	for _, run := range active {
		if !end(&run) {
			continue
		}
		data, err := json.Marshal(run)
		if err != nil {
			return nil, fmt.Errorf("end run %q: %w", run.ID, err)
		}
		if _, err := tx.exec(ctx, `UPDATE runs SET state = $2, version = version + 1, updated_at = $3, data = $4 WHERE id = $1`,
			run.ID, string(run.State), tx.now(), string(data)); err != nil {
			return nil, fmt.Errorf("end run %q: %w", run.ID, err)
		}
		ended = append(ended, run)
	}
	return ended, nil
}

// StaleRuns lists the ids of runs that have not ended and were not saved since a
// time, oldest first, at most limit of them. As far in the future counts as stale
// too: the clock was set back since.
func (tx *Tx) StaleRuns(ctx context.Context, since time.Time, limit int) (map[string]codecheck.State, error) {
	return stale[codecheck.State](ctx, tx, `SELECT id, state FROM runs WHERE state IN ('queued', 'starting', 'running') AND (updated_at < $1 OR updated_at > $2)
		ORDER BY updated_at LIMIT $3`, since, limit)
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
	return list[codecheck.Run](ctx, tx, "runs", query, args...)
}

// list reads rows that are one JSON record each.
func list[T any](ctx context.Context, tx *Tx, what, query string, args ...any) ([]T, error) {
	rows, err := tx.query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", what, err)
	}
	defer rows.Close()
	var records []T
	for rows.Next() {
		record, err := scanData[T](rows)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", what, err)
		}
		records = append(records, record)
	}
	return records, rows.Err()
}

// scanVersioned reads a row that is a version and one JSON record.
func scanVersioned[T any](row scanner) (record T, version Version, err error) {
	var data string
	if err := row.Scan(&version, &data); err != nil {
		return record, 0, err
	}
	if err := json.Unmarshal([]byte(data), &record); err != nil {
		return record, 0, fmt.Errorf("unmarshal record: %w", err)
	}
	return record, version, nil
}

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

// stale reads rows of an id and a state.
func stale[S ~string](ctx context.Context, tx *Tx, query string, since time.Time, limit int) (map[string]S, error) {
	rows, err := tx.query(ctx, query, micros(since), tx.mirrored(since), limit)
	if err != nil {
		return nil, fmt.Errorf("list stale records: %w", err)
	}
	defer rows.Close()
	result := map[string]S{}
	for rows.Next() {
		var id string
		var state S
		if err := rows.Scan(&id, &state); err != nil {
			return nil, fmt.Errorf("list stale records: %w", err)
		}
		result[id] = state
	}
	return result, rows.Err()
}

// mirrored is the time that is as long after now as since is before it.
func (tx *Tx) mirrored(since time.Time) int64 { return 2*tx.now() - micros(since) }

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
