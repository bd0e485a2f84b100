package jobs

import (
	"context"
	"time"

	"github.com/gatewright/gatewright/internal/release"
)

// RoundBegin is when a round of recovery begins that begins now.
func (q *Queue) RoundBegin() time.Time { return q.roundBegin() }

// Look is one step of a round of recovery.
func (q *Queue) Look(ctx context.Context, begun time.Time) (wait time.Duration, err error) {
	return q.recoverMissed(ctx, recoverArgs{Begun: begun})
}

// HookTestID is what the test delivery of a webhook is expected under.
func HookTestID(repositoryID, branch, sha string) string { return testID(repositoryID, branch, sha) }

// HeldReason is the reason of a release that is held.
func HeldReason(h release.Hold) string { return heldReason(h) }
