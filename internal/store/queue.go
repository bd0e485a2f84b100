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
