package jobs

import (
	"context"
	"time"
)

// Look is one step of a new round of recovery.
func (q *Queue) Look(ctx context.Context) (wait time.Duration, err error) {
	return q.recoverMissed(ctx, recoverArgs{Begun: q.roundBegin()})
}
