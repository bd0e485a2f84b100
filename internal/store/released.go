package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
)

// Released is the release that was the first to take an action on a pipeline for a
// commit, and when.
type Released struct {
	ReleaseID string
	At        time.Time
}

// ClaimReleased notes, for good, that r takes its action for its commit, unless an earlier
// release has: then claimed is false and earlier is that one. It belongs into the
// transaction that commits the intent.
func (tx *Tx) ClaimReleased(ctx context.Context, r release.Release) (earlier Released, claimed bool, err error) {
	key, selection, err := releasedKey(r)
	if err != nil {
		return earlier, false, err
	}
	ev := r.Event
	if _, err := tx.exec(ctx, `INSERT INTO released (key, connection, repository_id, ref_key, sha, pipeline, action, task, selection, release_id, released_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (key) DO NOTHING`,
		key, ev.Connection, ev.Repository.ID, ev.RefKey(), ev.HeadSHA, r.Plan.Pipeline, string(r.Plan.Action), r.Plan.Task, selection, r.ID, tx.now()); err != nil {
		return earlier, false, fmt.Errorf("claim released: %w", err)
	}
	earlier, _, err = tx.Released(ctx, r)
	return earlier, earlier.ReleaseID == r.ID, err
}

// Released is the release that took the action of r for its commit; known is false when
// none has.
func (tx *Tx) Released(ctx context.Context, r release.Release) (earlier Released, known bool, err error) {
	key, _, err := releasedKey(r)
	if err != nil {
		return earlier, false, err
	}
	var at int64
	err = tx.queryRow(ctx, `SELECT release_id, released_at FROM released WHERE key = $1`, key).Scan(&earlier.ReleaseID, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return Released{}, false, nil
	}
	if err != nil {
		return Released{}, false, fmt.Errorf("read released: %w", err)
	}
	earlier.At = fromMicros(at)
	return earlier, true, nil
}

// UnclaimReleased takes back what a release claimed: its action certainly had no effect.
func (tx *Tx) UnclaimReleased(ctx context.Context, releaseID string) error {
	if _, err := tx.exec(ctx, `DELETE FROM released WHERE release_id = $1`, releaseID); err != nil {
		return fmt.Errorf("unclaim released: %w", err)
	}
	return nil
}

// releasedKey stands for what a release does and for which commit. The order of a
// selection does not count.
func releasedKey(r release.Release) (key, selection string, err error) {
	sorted := make([]rules.Select, len(r.Plan.Select))
	for i, s := range r.Plan.Select {
		sorted[i] = rules.Select{Stage: s.Stage, Tasks: slices.Sorted(slices.Values(s.Tasks))}
	}
	slices.SortFunc(sorted, func(a, b rules.Select) int { return strings.Compare(a.Stage, b.Stage) })
	text, err := json.Marshal(sorted)
	if err != nil {
		return "", "", fmt.Errorf("marshal selection: %w", err)
	}
	whole, err := json.Marshal([]string{r.Event.RefKey(), r.Event.HeadSHA, r.Plan.Pipeline, string(r.Plan.Action), r.Plan.Task, string(text)})
	if err != nil {
		return "", "", fmt.Errorf("marshal key: %w", err)
	}
	sum := sha256.Sum256(whole)
	return hex.EncodeToString(sum[:]), string(text), nil
}
