package store

import (
	"context"
	"fmt"
	"time"
)

// SecretUse is when a webhook secret last proved a delivery.
type SecretUse struct {
	// Connection and Secret say which: Secret is a short hash of it.
	Connection, Secret string
	// Since is when a server first knew it, LastUsed the newest use; zero for never.
	Since, LastUsed time.Time
}

// SaveSecretUses keeps the newest use of each secret, and of one that is new also that it is there.
func (s *Store) SaveSecretUses(ctx context.Context, uses []SecretUse) error {
	err := s.Update(ctx, func(tx *Tx) error {
		for _, use := range uses {
			if _, err := tx.exec(ctx, `INSERT INTO webhook_secrets (connection, secret, since, last_used) VALUES ($1, $2, $3, $4)
				ON CONFLICT (connection, secret) DO UPDATE SET
					last_used = CASE WHEN webhook_secrets.last_used > excluded.last_used THEN webhook_secrets.last_used ELSE excluded.last_used END`,
				use.Connection, use.Secret, tx.now(), orZero(use.LastUsed)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("save use of webhook secrets: %w", err)
	}
	return nil
}

// SecretUses reads what SaveSecretUses has kept.
func (s *Store) SecretUses(ctx context.Context) (uses []SecretUse, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		rows, err := tx.query(ctx, `SELECT connection, secret, since, last_used FROM webhook_secrets ORDER BY connection, secret`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var use SecretUse
			var since, last int64
			if err := rows.Scan(&use.Connection, &use.Secret, &since, &last); err != nil {
				return err
			}
			if use.Since = fromMicros(since); last > 0 {
				use.LastUsed = fromMicros(last)
			}
			uses = append(uses, use)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("read use of webhook secrets: %w", err)
	}
	return uses, nil
}

// orZero is a time in microseconds, 0 for the zero time.
func orZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return micros(t)
}
