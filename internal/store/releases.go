package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

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
		(id, run_id, place, pipeline, state, version, unanswered, deadline, created_at, updated_at, data)
		VALUES ($1, $2, $3, $4, $5, 0, FALSE, $6, $7, $8, $9)
		ON CONFLICT (run_id, place) DO NOTHING`,
		r.ID, r.RunID, r.Index, r.Plan.Pipeline, string(r.State), micros(r.Deadline), micros(r.CreatedAt), tx.now(), string(data))
	if err != nil {
		return false, fmt.Errorf("add release %q: %w", r.ID, err)
	}
	return changed == 1, nil
}

// SaveRelease writes a release that was read at a version, and counts the version
// up. When nothing could be written the error is ErrEnded (the stored release has
// ended), ErrStale (somebody else has saved it meanwhile) or ErrBusy (it is about to
// act on a pipeline on which another release's action has no answer yet).
func (tx *Tx) SaveRelease(ctx context.Context, r release.Release, version *Version) error {
	if err := tx.saveRelease(ctx, r, *version); err != nil {
		return fmt.Errorf("save release %q: %w", r.ID, err)
	}
	*version++
	return nil
}

func (tx *Tx) saveRelease(ctx context.Context, r release.Release, version Version) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	unanswered := r.State == release.Starting && r.Intent != nil
	if unanswered {
		var others int
		err := tx.queryRow(ctx, `SELECT COUNT(*) FROM releases WHERE unanswered AND pipeline = $1 AND id <> $2`, r.Plan.Pipeline, r.ID).Scan(&others)
		if err != nil {
			return err
		}
		if others > 0 {
			return ErrBusy
		}
	}
	changed, err := tx.exec(ctx, `UPDATE releases SET state = $3, version = version + 1, unanswered = $4, deadline = $5, updated_at = $6, data = $7
		WHERE id = $1 AND version = $2 AND state IN ('held', 'starting', 'running', 'awaiting_approval')`,
		r.ID, int64(version), string(r.State), unanswered, micros(r.Deadline), tx.now(), string(data))
	if err == nil && changed == 0 {
		err = tx.whyNotSaved(ctx, `SELECT state IN ('held', 'starting', 'running', 'awaiting_approval') FROM releases WHERE id = $1`, r.ID)
	}
	return err
}

// Release reads one release. ErrNotFound when there is none.
func (tx *Tx) Release(ctx context.Context, id string) (release.Release, error) {
	r, _, err := tx.ReleaseAt(ctx, id)
	return r, err
}

// ReleaseAt reads one release and the version that it has. ErrNotFound when there
// is none.
func (tx *Tx) ReleaseAt(ctx context.Context, id string) (release.Release, Version, error) {
	r, version, err := scanVersioned[release.Release](tx.queryRow(ctx, `SELECT version, data FROM releases WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return release.Release{}, 0, fmt.Errorf("read release %q: %w", id, err)
	}
	return r, version, nil
}

// StaleReleases lists the ids of releases that have not ended and were not saved
// since a time, oldest first, at most limit of them. As far in the future counts as
// stale too: the clock was set back since.
func (tx *Tx) StaleReleases(ctx context.Context, since time.Time, limit int) (map[string]release.State, error) {
	return stale[release.State](ctx, tx, `SELECT id, state FROM releases WHERE state IN ('held', 'starting', 'running', 'awaiting_approval') AND (updated_at < $1 OR updated_at > $2)
		ORDER BY updated_at LIMIT $3`, since, limit)
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
	return list[release.Release](ctx, tx, "releases", query, args...)
}
