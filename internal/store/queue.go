package store

import (
	"context"
	"fmt"
)

// CountJobs counts the queue's jobs that have not ended, by the queue's own
// state words: available, scheduled, retryable, running …; every word of those
// four is there, if only with 0.
func (tx *Tx) CountJobs(ctx context.Context) (map[string]int, error) {
	jobs, err := counts[string](ctx, tx, `SELECT state, COUNT(*) FROM river_job
		WHERE state IN ('available', 'scheduled', 'retryable', 'running') GROUP BY state`)
	if err != nil {
		return nil, err
	}
	for _, state := range []string{"available", "scheduled", "retryable", "running"} {
		jobs[state] += 0
	}
	return jobs, nil
}

// JobsComing returns the ids of the runs and releases that a job of the queue is at
// work on or is coming for. A job that is to come much later than any step waits does
// not count: it was put off by a clock that was set back since.
func (tx *Tx) JobsComing(ctx context.Context) (map[string]bool, error) {
	soon := `now() + interval '15 minutes'`
	if tx.store.SQLite() != nil {
		soon = `datetime('now', '+15 minutes')`
	}
	rows, err := tx.query(ctx, `SELECT COALESCE(args->>'run_id', args->>'release_id', '') FROM river_job
		WHERE state IN ('available', 'running', 'retryable', 'scheduled') AND scheduled_at < `+soon)
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	defer rows.Close()
	coming := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("list jobs: %w", err)
		}
		coming[id] = true
	}
	return coming, rows.Err()
}
