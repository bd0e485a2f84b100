package store

import (
	"context"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/huaweicloud"
)

const (
	// replicaLives is how long after its last word a replica counts.
	replicaLives = 15 * time.Second
	// keepPause is how long a pause that is over is kept, with its count of refusals.
	keepPause = 24 * time.Hour
)

var _ huaweicloud.Shared = (*Store)(nil)

// SyncReplica implements [huaweicloud.Shared]. A SQLite file has one process.
func (s *Store) SyncReplica(ctx context.Context, replica string) (pauses []huaweicloud.Pause, replicas int, err error) {
	if s.SQLite() != nil {
		pauses, err = s.Pauses(ctx)
		return pauses, 1, err
	}
	err = s.Update(ctx, func(tx *Tx) error {
		now := tx.now()
		// A replica that is still there, with a clock behind ours, adds its row again.
		if _, err := tx.exec(ctx, `DELETE FROM replicas WHERE seen_at < $1`, now-replicaLives.Microseconds()-maxSkew); err != nil {
			return err
		}
		if _, err := tx.exec(ctx, `INSERT INTO replicas (id, seen_at) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at`, replica, now); err != nil {
			return err
		}
		if err := tx.queryRow(ctx, `SELECT COUNT(*) FROM replicas WHERE seen_at > $1`, now-replicaLives.Microseconds()).Scan(&replicas); err != nil {
			return err
		}
		pauses, err = tx.pauses(ctx)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("sync replica: %w", err)
	}
	return pauses, replicas, nil
}

// Pauses returns all pauses of calls to remote services, also those that are over.
func (s *Store) Pauses(ctx context.Context) (pauses []huaweicloud.Pause, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		pauses, err = tx.pauses(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read pauses: %w", err)
	}
	return pauses, nil
}

func (tx *Tx) pauses(ctx context.Context) ([]huaweicloud.Pause, error) {
	rows, err := tx.query(ctx, `SELECT key, reason, refusals, since, until FROM pauses ORDER BY key`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var pauses []huaweicloud.Pause
	for rows.Next() {
		var p huaweicloud.Pause
		var since, until int64
		if err := rows.Scan(&p.Key, &p.Reason, &p.Refusals, &since, &until); err != nil {
			return nil, err
		}
		p.Since, p.Until = fromMicros(since), fromMicros(until)
		pauses = append(pauses, p)
	}
	return pauses, rows.Err()
}

// SavePause implements [huaweicloud.Shared].
func (s *Store) SavePause(ctx context.Context, p huaweicloud.Pause) error {
	err := s.Update(ctx, func(tx *Tx) error {
		now := tx.now()
		if _, err := tx.exec(ctx, `DELETE FROM pauses WHERE until < $1`, now-keepPause.Microseconds()); err != nil {
			return err
		}
		_, err := tx.exec(ctx, `INSERT INTO pauses (key, reason, refusals, since, until) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (key) DO UPDATE SET
				reason = CASE WHEN pauses.until > $6 THEN pauses.reason ELSE excluded.reason END,
				since = CASE WHEN pauses.until > $6 THEN pauses.since ELSE excluded.since END,
				refusals = pauses.refusals + excluded.refusals,
				until = CASE WHEN pauses.until > excluded.until THEN pauses.until ELSE excluded.until END`,
			p.Key, p.Reason, p.Refusals, micros(p.Since), micros(p.Until), now)
		return err
	})
	if err != nil {
		return fmt.Errorf("save pause: %w", err)
	}
	return nil
}

// EndPause implements [huaweicloud.Shared].
func (s *Store) EndPause(ctx context.Context, key string) error {
	err := s.Update(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, `DELETE FROM pauses WHERE key = $1`, key)
		return err
	})
	if err != nil {
		return fmt.Errorf("end pause: %w", err)
	}
	return nil
}
