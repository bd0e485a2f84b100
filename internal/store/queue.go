package store

import "context"

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

// RecordsWithJobs returns the ids of the runs and releases for which the queue has a job
// that runs, or is due within 15 minutes: longer than any step waits. A later job was
// delayed by a clock that was set back since.
func (tx *Tx) RecordsWithJobs(ctx context.Context) (map[string]bool, error) {
	soon := `now() + interval '15 minutes'`
	if tx.store.SQLite() != nil {
		soon = `datetime('now', '+15 minutes')`
	}
	ids, err := texts(ctx, tx, `SELECT COALESCE(args->>'run_id', args->>'release_id', '') FROM river_job
		WHERE state IN ('available', 'running', 'retryable', 'scheduled') AND scheduled_at < `+soon)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, id := range ids {
		found[id] = true
	}
	return found, nil
}
