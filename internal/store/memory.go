package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gatewright/gatewright/internal/codecheck"
)

// Task returns the task that earlier runs found or created under a key.
func (s *Store) Task(ctx context.Context, key string) (task codecheck.Task, known bool, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		task, err = scanData[codecheck.Task](tx.queryRow(ctx, `SELECT data FROM tasks WHERE key = $1`, key))
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

// SaveTask remembers a task under a key, in place of an older one.
func (s *Store) SaveTask(ctx context.Context, key string, task codecheck.Task) error {
	data, err := json.Marshal(task)
	if err != nil {
		return fmt.Errorf("save task: %w", err)
	}
	err = s.Update(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, `INSERT INTO tasks (key, data, updated_at) VALUES ($1, $2, $3)
			ON CONFLICT (key) DO UPDATE SET data = excluded.data, updated_at = excluded.updated_at`, key, string(data), tx.now())
		return err
	})
	if err != nil {
		return fmt.Errorf("save task: %w", err)
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

// SaveRef remembers the ref that worked for a connection.
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
