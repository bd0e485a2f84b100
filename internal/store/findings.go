package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gatewright/gatewright/internal/codecheck"
)

// SaveFindings keeps the findings of a run, in place of what was kept of it. They stay
// until the run is removed.
func (s *Store) SaveFindings(ctx context.Context, runID string, list []codecheck.Finding) error {
	data, err := json.Marshal(list)
	if err == nil && len(data) > maxBody {
		err = fmt.Errorf("they take %d bytes, and at most %d can be kept: lower huaweicloud.max_findings", len(data), maxBody)
	}
	if err == nil {
		body := s.zip.EncodeAll(data, nil)
		err = s.Update(ctx, func(tx *Tx) error {
			_, err := tx.exec(ctx, `INSERT INTO findings (run_id, body, saved_at) VALUES ($1, $2, $3)
				ON CONFLICT (run_id) DO UPDATE SET body = excluded.body, saved_at = excluded.saved_at`, runID, body, tx.now())
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("save findings of run %q: %w", runID, err)
	}
	return nil
}

// Findings returns the findings that are kept of a run, in the order in which they were
// saved; none when none are.
func (s *Store) Findings(ctx context.Context, runID string) (list []codecheck.Finding, err error) {
	err = s.View(ctx, func(tx *Tx) (err error) {
		list, err = tx.Findings(ctx, runID)
		return err
	})
	return list, err
}

// Findings is [Store.Findings] in a transaction.
func (tx *Tx) Findings(ctx context.Context, runID string) (list []codecheck.Finding, err error) {
	var body []byte
	err = tx.queryRow(ctx, `SELECT body FROM findings WHERE run_id = $1`, runID).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err == nil {
		body, err = tx.store.unzip.DecodeAll(body, nil)
	}
	if err == nil {
		err = json.Unmarshal(body, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("read findings of run %q: %w", runID, err)
	}
	return list, nil
}

// Baseline returns the id of the run that a run's findings are compared with; empty when
// there is none. See [codecheck.Findings].
func (s *Store) Baseline(ctx context.Context, run codecheck.Run) (id string, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		return tx.queryRow(ctx, baselineQuery, codecheck.BaselineKey(run), micros(run.CreatedAt), run.ID, run.Event.HeadSHA).Scan(&id)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("find baseline of run %q: %w", run.ID, err)
	}
	return id, nil
}

const baselineQuery = `SELECT id FROM runs WHERE baseline AND task_key = $1 AND created_at <= $2 AND id <> $3 AND sha <> $4
	ORDER BY created_at DESC, id DESC LIMIT 1`
