package jobs

import (
	"context"
	"errors"
	"time"

	"github.com/riverqueue/river"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
)

const (
	// expireEvery is how often old rows are removed; expireBatch how many of them in one
	// transaction.
	expireEvery = time.Hour
	expireBatch = 500
	// expireFor is how long one step removes rows; the next step goes on.
	expireFor = 5 * time.Second
)

// expireArgs: remove what is older than the retention.
type expireArgs struct{}

func (expireArgs) Kind() string { return "expire" }

// InsertOpts keeps it apart from remote calls and decisions.
func (expireArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: maintenanceQueue} }

// expire removes what has ended long ago, so that the database stays bounded.
func (q *Queue) expire(ctx context.Context, _ expireArgs) (time.Duration, error) {
	limited, cancel := context.WithTimeout(ctx, expireFor)
	defer cancel()
	removed, err := q.store.Expire(limited, q.now(), q.opts.PayloadRetention, q.opts.Retention, expireBatch)
	if removed.Total() > 0 {
		q.log.Info("old records removed", zap.String(event.LogOperation, expireArgs{}.Kind()),
			zap.Int("deliveries", removed.Deliveries), zap.Int("payloads", removed.Payloads), zap.Int("runs", removed.Runs), zap.Int("releases", removed.Releases))
	}
	if err == nil && limited.Err() == nil {
		_, err = q.store.ExpireEvidence(ctx, q.now().Add(-q.opts.EvidenceRetention), expireBatch)
	}
	if err == nil && limited.Err() == nil {
		err = q.expireAudit(ctx)
	}
	if errors.Is(limited.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
		return soon, nil
	}
	return 0, err
}

// expireAudit removes the beginning of the audit log where that is bounded, and logs its newest hash.
func (q *Queue) expireAudit(ctx context.Context) error {
	if q.opts.AuditRetention > 0 {
		removed, err := q.store.TrimAudit(ctx, q.now().Add(-q.opts.AuditRetention))
		if err != nil {
			return err
		}
		if removed > 0 {
			q.log.Info("old rows of the audit log removed", zap.Int64("rows", removed))
		}
	}
	return q.logAudit(ctx, true)
}
