package jobs

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
)

const (
	// expireEvery is how often what is old is looked for, expireBatch how many rows
	// go in one transaction.
	expireEvery = time.Hour
	expireBatch = 500
	// expireTimeout bounds one sweep; the next one goes on.
	expireTimeout = 10 * time.Minute
)

// expireArgs: remove what is older than the retention.
type expireArgs struct{}

func (expireArgs) Kind() string { return "expire" }

// expire removes what has ended long ago, so that the database stays bounded.
func (q *Queue) expire(ctx context.Context, _ expireArgs) (time.Duration, error) {
	gone, err := q.store.Expire(ctx, q.now(), q.opts.PayloadRetention, q.opts.Retention, expireBatch)
	if gone.Deliveries+gone.Payloads+gone.Runs+gone.Releases > 0 {
		q.log.Info("old records removed", zap.String(event.LogOperation, expireArgs{}.Kind()),
			zap.Int("deliveries", gone.Deliveries), zap.Int("payloads", gone.Payloads), zap.Int("runs", gone.Runs), zap.Int("releases", gone.Releases))
	}
	return 0, err
}
