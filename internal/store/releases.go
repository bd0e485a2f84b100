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
// its run has a release at that place already that was not marked by MarkRerun.
func (tx *Tx) AddRelease(ctx context.Context, r release.Release) (added bool, err error) {
	data, err := json.Marshal(r)
	if err != nil {
		return false, fmt.Errorf("add release %q: %w", r.ID, err)
	}
	ev := r.Event
	changed, err := tx.exec(ctx, `INSERT INTO releases
		(id, run_id, place, pipeline, connection, repository, kind, branch, number, sha, actor, rule,
			state, waits_for, rerun_as, version, unanswered, deadline, created_at, updated_at, data, held_ref)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, '', '', 0, FALSE, $14, $15, $16, $17, $18)
		ON CONFLICT DO NOTHING`,
		r.ID, r.RunID, r.Index, r.Plan.Pipeline, ev.Connection, ev.Repository.FullName, string(ev.Kind), ev.Branch, ev.Number, ev.HeadSHA, ev.Sender, r.Rule,
		string(r.State), micros(r.Deadline), micros(r.CreatedAt), tx.now(), string(data), heldRef(r))
	if err != nil {
		return false, fmt.Errorf("add release %q: %w", r.ID, err)
	}
	return changed == 1, nil
}

// SaveRelease writes a release that was read at a version, and counts the version
// up. When nothing could be written the error is ErrEnded (the stored release has
// ended), ErrStale (another step has saved it in the meantime) or ErrPipelineBusy (it
// is about to act on a pipeline on which another release's action has no answer yet).
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
	unanswered := r.Unanswered()
	if unanswered {
		var others int
		err := tx.queryRow(ctx, `SELECT COUNT(*) FROM releases WHERE unanswered AND pipeline = $1 AND id <> $2`, r.Plan.Pipeline, r.ID).Scan(&others)
		if err != nil {
			return err
		}
		if others > 0 {
			return ErrPipelineBusy
		}
	}
	changed, err := tx.exec(ctx, `UPDATE releases SET state = $3, waits_for = '', version = version + 1, unanswered = $4, deadline = $5, updated_at = $6, data = $7, held_ref = $8
		WHERE id = $1 AND version = $2 AND state IN `+activeReleases,
		r.ID, int64(version), string(r.State), unanswered, micros(r.Deadline), tx.now(), string(data), heldRef(r))
	if err == nil && changed == 0 {
		err = tx.whyNotSaved(ctx, `SELECT state IN `+activeReleases+` FROM releases WHERE id = $1`, r.ID)
	}
	return err
}

func heldRef(r release.Release) string {
	if r.State != release.Held {
		return ""
	}
	return r.Event.RefKey()
}

// HeldReleases lists the releases that are held, the oldest first; those of one branch, tag or merge request, or of all
// where refKey is empty.
func (tx *Tx) HeldReleases(ctx context.Context, refKey string) ([]release.Release, error) {
	if refKey == "" {
		return records[release.Release](ctx, tx, `SELECT data FROM releases WHERE held_ref <> '' ORDER BY created_at, id`)
	}
	return records[release.Release](ctx, tx, `SELECT data FROM releases WHERE held_ref = $1 AND held_ref <> '' ORDER BY created_at, id`, refKey)
}

// Release reads one release. ErrNotFound when there is none.
func (tx *Tx) Release(ctx context.Context, id string) (release.Release, error) {
	v, err := tx.ReleaseAt(ctx, id)
	return v.Record, err
}

// ReleaseAt reads one release and its version. ErrNotFound when there is none.
func (tx *Tx) ReleaseAt(ctx context.Context, id string) (Versioned[release.Release], error) {
	return tx.releaseAt(ctx, id, "")
}

// LockRelease is ReleaseAt, and keeps the release from changing before the
// transaction ends.
func (tx *Tx) LockRelease(ctx context.Context, id string) (Versioned[release.Release], error) {
	return tx.releaseAt(ctx, id, tx.forUpdate())
}

func (tx *Tx) releaseAt(ctx context.Context, id, lock string) (Versioned[release.Release], error) {
	v, err := scanVersioned[release.Release](tx.queryRow(ctx, `SELECT version, data FROM releases WHERE id = $1`+lock, id))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return v, fmt.Errorf("read release %q: %w", id, err)
	}
	return v, nil
}

// StaleReleases lists the ids of releases that have not ended, were not saved since a
// time and wait for no other record that can still change, oldest first, at most
// limit of them. One that waits counts once its deadline has passed. As far in the
// future counts as stale too: the clock was set back since.
func (tx *Tx) StaleReleases(ctx context.Context, since time.Time, limit int) (map[string]release.State, error) {
	return statesByID[release.State](ctx, tx, `SELECT t.id, t.state FROM releases AS t WHERE t.state IN `+activeReleases+`
		AND (t.updated_at < $1 OR t.updated_at > $2) AND (t.waits_for = '' OR t.deadline <= $3 OR NOT `+stillActive+`)
		ORDER BY t.updated_at LIMIT $4`, micros(since), tx.mirrored(since), tx.now(), limit)
}

// ReleasesOf lists the releases of a run, in the order of its rule, and those for one
// place oldest first.
func (tx *Tx) ReleasesOf(ctx context.Context, runID string) ([]release.Release, error) {
	return records[release.Release](ctx, tx, `SELECT data FROM releases WHERE run_id = $1 ORDER BY place, created_at, id`, runID)
}

// ExecutionsOf lists the executions that releases of a pipeline began, by a start or by an
// action on another one, but for one release: those of the releases that were saved last, at most limit of them.
func (tx *Tx) ExecutionsOf(ctx context.Context, pipeline, except string, limit int) (ids []string, err error) {
	list, err := records[release.Release](ctx, tx, `SELECT data FROM releases WHERE pipeline = $1 AND id <> $2 ORDER BY updated_at DESC LIMIT $3`, pipeline, except, limit)
	for _, r := range list {
		if !r.Plan.Action.Decides() && r.ExecutionID != "" {
			ids = append(append(ids, r.ExecutionID), r.OtherIDs...)
		}
	}
	return ids, err
}

// AbandonedExecutions lists the executions of a pipeline that releases began and that no
// release follows any more: those of the releases that were saved last, at most limit of
// them.
func (tx *Tx) AbandonedExecutions(ctx context.Context, pipeline string, limit int) (ids []string, err error) {
	list, err := records[release.Release](ctx, tx, `SELECT data FROM releases WHERE pipeline = $1 ORDER BY updated_at DESC LIMIT $2`, pipeline, limit)
	followed := map[string]bool{}
	for _, r := range list {
		if r.Plan.Action.Decides() || r.ExecutionID == "" {
			continue
		}
		for _, id := range append([]string{r.ExecutionID}, r.OtherIDs...) {
			followed[id] = followed[id] || !r.State.Ended()
		}
	}
	for id, yes := range followed {
		if !yes {
			ids = append(ids, id)
		}
	}
	return ids, err
}

// CountReleases counts the releases in each state.
func (tx *Tx) CountReleases(ctx context.Context) (map[release.State]int, error) {
	return counts[release.State](ctx, tx, `SELECT state, COUNT(*) FROM releases GROUP BY state`)
}

// CountUnresolved counts the releases in each end state that a person must look at and
// that no person has resolved or repeated.
func (tx *Tx) CountUnresolved(ctx context.Context) (map[release.State]int, error) {
	return counts[release.State](ctx, tx, `SELECT t.state, COUNT(*) FROM releases AS t WHERE t.state IN `+sqlList(release.AttentionStates())+`
		AND t.rerun_as = '' AND NOT EXISTS (SELECT 1 FROM actions a WHERE a.record_id = t.id AND a.action = '`+string(ActionResolve)+`')
		GROUP BY t.state`)
}
