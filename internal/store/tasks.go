package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
)

// Task returns the task that earlier runs found or created under a key.
func (s *Store) Task(ctx context.Context, key string) (task codecheck.Task, known bool, err error) {
	return s.savedTask(ctx, `SELECT data FROM tasks WHERE key = $1`, key)
}

// TaskByID returns what earlier runs saved last of the task with an id.
func (s *Store) TaskByID(ctx context.Context, id string) (task codecheck.Task, known bool, err error) {
	return s.savedTask(ctx, `SELECT data FROM tasks WHERE task_id = $1 ORDER BY updated_at DESC LIMIT 1`, id)
}

func (s *Store) savedTask(ctx context.Context, query, argument string) (task codecheck.Task, known bool, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		task, err = scanRecord[codecheck.Task](tx.queryRow(ctx, query, argument))
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

// SaveTask saves a task of an event's repository under a key, in place of an older one,
// and ends the claim of that key. Another repository of the connection that had this task
// loses it: it had the name before, and the task scans what has the name now.
func (s *Store) SaveTask(ctx context.Context, ev event.Event, key string, task codecheck.Task) error {
	data, err := json.Marshal(task)
	if err != nil {
		return fmt.Errorf("save task: %w", err)
	}
	err = s.Update(ctx, func(tx *Tx) error {
		refKey := ""
		if task.ParentID != "" || task.OfMergeGroup {
			refKey = ev.RefKey()
		}
		_, err := tx.exec(ctx, `INSERT INTO tasks (key, repository_key, repository, ref_key, task_id, data, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (key) DO UPDATE SET repository = excluded.repository, ref_key = excluded.ref_key, task_id = excluded.task_id, data = excluded.data, updated_at = excluded.updated_at`,
			key, ev.RepositoryKey(), ev.Repository.FullName, refKey, task.ID, string(data), tx.now())
		if err != nil {
			return err
		}
		others := ev.Connection + " "
		if _, err := tx.exec(ctx, `DELETE FROM tasks WHERE task_id = $1 AND repository_key <> $2 AND substr(repository_key, 1, length($3)) = $3`,
			task.ID, ev.RepositoryKey(), others); err != nil {
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

// claimAfterEnd is how long a run's claim lasts after the run has ended, as when a newer
// commit superseded it: longer than its last step may still be at work.
const claimAfterEnd = 30 * time.Second

// ClaimTask reports whether a run may create the task of a key until ttl from now. It
// may not while another run's claim lasts, which it does for claimAfterEnd at most once
// that run has ended; its own claim is renewed.
func (s *Store) ClaimTask(ctx context.Context, key, runID string, ttl time.Duration) (claimed bool, err error) {
	err = s.Update(ctx, func(tx *Tx) error {
		now := tx.now()
		if _, err := tx.exec(ctx, `DELETE FROM task_claims WHERE until <= $1`, now); err != nil {
			return err
		}
		changed, err := tx.exec(ctx, `INSERT INTO task_claims (key, run_id, until) VALUES ($1, $2, $3)
			ON CONFLICT (key) DO UPDATE SET run_id = excluded.run_id, until = excluded.until
			WHERE task_claims.run_id = excluded.run_id OR EXISTS (
				SELECT 1 FROM runs WHERE runs.id = task_claims.run_id AND runs.updated_at <= $4 AND runs.state NOT IN `+activeRuns+`)`,
			key, runID, now+ttl.Microseconds(), now-claimAfterEnd.Microseconds())
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

// Ref returns the ref that worked last for the merge requests of an event's repository.
func (s *Store) Ref(ctx context.Context, ev event.Event) (ref codecheck.Ref, known bool, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		return tx.queryRow(ctx, `SELECT ref FROM refs WHERE repository_key = $1`, ev.RepositoryKey()).Scan(&ref)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read ref: %w", err)
	}
	return ref, true, nil
}

// SaveRef saves the ref that worked for an event's repository, in place of an older one.
func (s *Store) SaveRef(ctx context.Context, ev event.Event, ref codecheck.Ref) error {
	err := s.Update(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, `INSERT INTO refs (repository_key, ref, updated_at) VALUES ($1, $2, $3)
			ON CONFLICT (repository_key) DO UPDATE SET ref = excluded.ref, updated_at = excluded.updated_at`, ev.RepositoryKey(), string(ref), tx.now())
		return err
	})
	if err != nil {
		return fmt.Errorf("save ref: %w", err)
	}
	return nil
}

// scanTook is how long the scan of a run took that has a verdict, in microseconds, else 0.
func scanTook(run codecheck.Run) int64 {
	if run.State != codecheck.Passed && run.State != codecheck.Failed {
		return 0
	}
	return run.ScanTook.Microseconds()
}

const scanTimesQuery = `SELECT scan_took FROM runs WHERE task_key = $1 AND scan_took > 0 ORDER BY created_at DESC LIMIT 5`

// ScanTimes returns how long the last scans of a run's task took, at most five. See
// [codecheck.Memory].
func (s *Store) ScanTimes(ctx context.Context, run codecheck.Run) (took []time.Duration, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		took, err = collect(ctx, tx, func(row scanner) (time.Duration, error) {
			var micros int64
			err := row.Scan(&micros)
			return time.Duration(micros) * time.Microsecond, err
		}, scanTimesQuery, codecheck.TaskKey(run.Event, run.Check))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read scan times: %w", err)
	}
	return took, nil
}

// MergeRequestTasks lists the tasks that we created for the merge request, or the merge group,
// of a ref key.
func (tx *Tx) MergeRequestTasks(ctx context.Context, refKey string) ([]RememberedTask, error) {
	return tx.rememberedTasks(ctx, `ref_key = $1`, refKey)
}

// LeftoverTasks lists the tasks that we created for merge requests and merge groups which ended
// since, or of which nothing was heard for so long that their heads were forgotten.
func (tx *Tx) LeftoverTasks(ctx context.Context) ([]RememberedTask, error) {
	return tx.rememberedTasks(ctx, `ref_key <> '' AND NOT EXISTS (SELECT 1 FROM heads WHERE heads.ref_key = tasks.ref_key AND NOT heads.ended)`)
}
