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

// Task returns the task that earlier runs found or created under a key.
func (s *Store) Task(ctx context.Context, key string) (task codecheck.Task, known bool, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		task, err = scanRecord[codecheck.Task](tx.queryRow(ctx, `SELECT data FROM tasks WHERE key = $1`, key))
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return codecheck.Task{}, false, nil
	}
	if err != nil {
		return codecheck.Task{}, false, fmt.Errorf("read task: %w", err)
	}
	return task, true, nil
}

// SaveTask saves a task under a key, in place of an older one, and ends the claim of
// that key.
func (s *Store) SaveTask(ctx context.Context, key string, task codecheck.Task) error {
	data, err := json.Marshal(task)
	if err != nil {
		return fmt.Errorf("save task: %w", err)
	}
	err = s.Update(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, `INSERT INTO tasks (key, data, updated_at) VALUES ($1, $2, $3)
			ON CONFLICT (key) DO UPDATE SET data = excluded.data, updated_at = excluded.updated_at`, key, string(data), tx.now())
		if err != nil {
			return err
		}
		_, err = tx.exec(ctx, `DELETE FROM task_claims WHERE key = $1`, key)
		return err
	})
	if err != nil {
		return fmt.Errorf("save task: %w", err)
	}
	return nil
}

// ClaimTask reports whether a run may create the task of a key until ttl from now. It
// may not while another run's claim lasts; its own claim is renewed.
func (s *Store) ClaimTask(ctx context.Context, key, runID string, ttl time.Duration) (claimed bool, err error) {
	err = s.Update(ctx, func(tx *Tx) error {
		now := tx.now()
		if _, err := tx.exec(ctx, `DELETE FROM task_claims WHERE until <= $1`, now); err != nil {
			return err
		}
		changed, err := tx.exec(ctx, `INSERT INTO task_claims (key, run_id, until) VALUES ($1, $2, $3)
			ON CONFLICT (key) DO UPDATE SET until = excluded.until WHERE task_claims.run_id = excluded.run_id`,
			key, runID, now+ttl.Microseconds())
		claimed = changed > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("claim task: %w", err)
	}
	return claimed, nil
}

// ReleaseTask ends a run's claim on the task of a key, if it has one.
func (s *Store) ReleaseTask(ctx context.Context, key, runID string) error {
	err := s.Update(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, `DELETE FROM task_claims WHERE key = $1 AND run_id = $2`, key, runID)
		return err
	})
	if err != nil {
		return fmt.Errorf("release task: %w", err)
	}
	return nil
}

// Ref returns the ref that worked last for the merge requests of a connection.
func (s *Store) Ref(ctx context.Context, connection string) (ref codecheck.Ref, known bool, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		return tx.queryRow(ctx, `SELECT ref FROM refs WHERE connection = $1`, connection).Scan(&ref)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read ref: %w", err)
	}
	return ref, true, nil
}

// SaveRef saves the ref that worked for a connection, in place of an older one.
func (s *Store) SaveRef(ctx context.Context, connection string, ref codecheck.Ref) error {
	err := s.Update(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, `INSERT INTO refs (connection, ref, updated_at) VALUES ($1, $2, $3)
			ON CONFLICT (connection) DO UPDATE SET ref = excluded.ref, updated_at = excluded.updated_at`, connection, string(ref), tx.now())
		return err
	})
	if err != nil {
		return fmt.Errorf("save ref: %w", err)
	}
	return nil
}
