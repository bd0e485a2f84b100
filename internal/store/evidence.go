package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// WantEvidence notes that the bundle of a release is to be made.
func (tx *Tx) WantEvidence(ctx context.Context, releaseID string) error {
	_, err := tx.exec(ctx, `INSERT INTO evidence (release_id, wanted_at, made_at, root, body) VALUES ($1, $2, 0, '', $3) ON CONFLICT (release_id) DO NOTHING`,
		releaseID, tx.now(), []byte{})
	if err != nil {
		return fmt.Errorf("want evidence of release %q: %w", releaseID, err)
	}
	return nil
}

// SaveEvidence saves the bundle of a release, once: saved is false where there is one already, or where none
// is wanted any more. root is the hash of the bundle.
func (tx *Tx) SaveEvidence(ctx context.Context, releaseID, root string, bundle []byte) (saved bool, err error) {
	changed, err := tx.exec(ctx, `UPDATE evidence SET made_at = $2, root = $3, body = $4 WHERE release_id = $1 AND made_at = 0`,
		releaseID, tx.now(), root, tx.store.zip.EncodeAll(bundle, nil))
	if err != nil {
		return false, fmt.Errorf("save evidence of release %q: %w", releaseID, err)
	}
	return changed == 1, nil
}

// Evidence returns the bundle of a release, byte for byte; nil where it is wanted and not made yet.
// ErrNotFound where none is wanted.
func (tx *Tx) Evidence(ctx context.Context, releaseID string) (bundle []byte, err error) {
	var made int64
	err = tx.queryRow(ctx, `SELECT made_at, body FROM evidence WHERE release_id = $1`, releaseID).Scan(&made, &bundle)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		err = ErrNotFound
	case err == nil && made == 0:
		return nil, nil
	case err == nil:
		bundle, err = tx.store.unzip.DecodeAll(bundle, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("read evidence of release %q: %w", releaseID, err)
	}
	return bundle, nil
}

// EvidenceIDs lists the ids of releases that have evidence, or shall have, and begin with some digits; at
// most limit.
func (tx *Tx) EvidenceIDs(ctx context.Context, digits string, limit int) ([]string, error) {
	return texts(ctx, tx, `SELECT release_id FROM evidence WHERE release_id >= $1 AND release_id < $2 ORDER BY release_id LIMIT $3`, digits, digits+"\U0010FFFF", limit)
}

// EvidenceToMake lists the releases whose bundles are wanted since before a time, at most limit.
func (tx *Tx) EvidenceToMake(ctx context.Context, before time.Time, limit int) ([]string, error) {
	return texts(ctx, tx, `SELECT release_id FROM evidence WHERE made_at = 0 AND wanted_at <= $1 ORDER BY wanted_at LIMIT $2`, micros(before), limit)
}

// ExpireEvidence removes bundles of releases that ended before a time, at most limit, and returns how many.
func (s *Store) ExpireEvidence(ctx context.Context, before time.Time, limit int) (removed int64, err error) {
	err = s.Update(ctx, func(tx *Tx) (err error) {
		removed, err = tx.exec(ctx, `DELETE FROM evidence WHERE release_id IN (SELECT release_id FROM evidence WHERE wanted_at < $1 ORDER BY wanted_at LIMIT $2)`, micros(before), limit)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("remove old evidence: %w", err)
	}
	return removed, nil
}
