package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gatewright/gatewright/internal/release"
)

// AddRelease stores a new release. added is false, and nothing is stored, when
// its run has a release at that place already.
func (tx *Tx) AddRelease(ctx context.Context, r release.Release) (added bool, err error) {
	data, err := json.Marshal(r)
	if err != nil {
		return false, fmt.Errorf("add release %q: %w", r.ID, err)
	}
	changed, err := tx.exec(ctx, `INSERT INTO releases
		(id, run_id, place, pipeline, state, unanswered, deadline, created_at, updated_at, data)
		VALUES ($1, $2, $3, $4, $5, FALSE, $6, $7, $8, $9)
		ON CONFLICT (run_id, place) DO NOTHING`,
		r.ID, r.RunID, r.Index, r.Plan.Pipeline, string(r.State), micros(r.Deadline), micros(r.CreatedAt), tx.now(), string(data))
	if err != nil {
		return false, fmt.Errorf("add release %q: %w", r.ID, err)
	}
	return changed == 1, nil
}

// SaveRelease writes a release. ErrEnded when the stored release has ended, and
// ErrBusy when it is about to act on a pipeline on which the action of another
// release has no answer yet: then nothing is written.
func (tx *Tx) SaveRelease(ctx context.Context, r release.Release) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("save release %q: %w", r.ID, err)
	}
	unanswered := r.State == release.Starting && r.Intent != nil
	if unanswered {
		var others int
		err := tx.queryRow(ctx, `SELECT COUNT(*) FROM releases WHERE unanswered AND pipeline = $1 AND id <> $2`, r.Plan.Pipeline, r.ID).Scan(&others)
		if err == nil && others > 0 {
			err = ErrBusy
		}
		if err != nil {
			return fmt.Errorf("save release %q: %w", r.ID, err)
		}
	}
	changed, err := tx.exec(ctx, `UPDATE releases SET state = $2, unanswered = $3, deadline = $4, updated_at = $5, data = $6
		WHERE id = $1 AND state IN ('held', 'starting', 'running', 'awaiting_approval')`,
		r.ID, string(r.State), unanswered, micros(r.Deadline), tx.now(), string(data))
	if err == nil && changed == 0 {
		err = ErrEnded
	}
	if err != nil {
		return fmt.Errorf("save release %q: %w", r.ID, err)
	}
	return nil
}

// Release reads one release. ErrNotFound when there is none.
func (tx *Tx) Release(ctx context.Context, id string) (release.Release, error) {
	r, err := scanData[release.Release](tx.queryRow(ctx, `SELECT data FROM releases WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return release.Release{}, fmt.Errorf("read release %q: %w", id, err)
	}
	return r, nil
}

// LockRelease reads one release and keeps it from changing before the transaction
// ends.
func (tx *Tx) LockRelease(ctx context.Context, id string) (release.Release, error) {
	if _, err := tx.exec(ctx, `SELECT 1 FROM releases WHERE id = $1`+tx.lock(), id); err != nil {
		return release.Release{}, fmt.Errorf("lock release %q: %w", id, err)
	}
	return tx.Release(ctx, id)
}

// ReleasesOf lists the releases of a run, in the order of its rule.
func (tx *Tx) ReleasesOf(ctx context.Context, runID string) ([]release.Release, error) {
	return tx.releases(ctx, `SELECT data FROM releases WHERE run_id = $1 ORDER BY place`, runID)
}

// Releases lists releases, newest first. An empty state lists all of them; limit
// bounds the list.
func (tx *Tx) Releases(ctx context.Context, state release.State, limit int) ([]release.Release, error) {
	return tx.releases(ctx, `SELECT data FROM releases WHERE $1 = '' OR state = $1 ORDER BY created_at DESC, id DESC LIMIT $2`, string(state), limit)
}

// CountReleases counts the releases in each state.
func (tx *Tx) CountReleases(ctx context.Context) (map[release.State]int, error) {
	return counts[release.State](ctx, tx, `SELECT state, COUNT(*) FROM releases GROUP BY state`)
}

func (tx *Tx) releases(ctx context.Context, query string, args ...any) ([]release.Release, error) {
	rows, err := tx.query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list releases: %w", err)
	}
	defer rows.Close()
	var list []release.Release
	for rows.Next() {
		r, err := scanData[release.Release](rows)
		if err != nil {
			return nil, fmt.Errorf("list releases: %w", err)
		}
		list = append(list, r)
	}
	return list, rows.Err()
}
