package jobs

import (
	"context"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/release"
)

// RoundBegin is when a round of recovery begins that begins now.
func (q *Queue) RoundBegin() time.Time { return q.roundBegin() }

// Look is one step of a round of recovery.
func (q *Queue) Look(ctx context.Context, begun time.Time) (wait time.Duration, err error) {
	return q.recoverMissed(ctx, recoverArgs{Begun: begun})
}

// Act is one step of a release that is about to act.
func (q *Queue) Act(ctx context.Context, releaseID string) (wait time.Duration, err error) {
	return q.actRelease(ctx, actReleaseArgs{ReleaseID: releaseID})
}

// Pass adds a run, and lets it pass.
func (q *Queue) Pass(ctx context.Context, run codecheck.Run) error {
	return q.update(ctx, func(tx *transaction) error {
		run.State = codecheck.Running
		if _, _, err := tx.AddRun(ctx, run); err != nil {
			return err
		}
		v, err := tx.LockRun(ctx, run.ID)
		if err != nil {
			return err
		}
		passed := v.Record
		passed.State, passed.Verdict, passed.FinishedAt = codecheck.Passed, &codecheck.Verdict{Passed: true}, q.now().UTC()
		return q.saveRun(ctx, tx, v.Record, passed, &v.Version)
	})
}

// HookTestID is what the test delivery of a webhook is expected under.
func HookTestID(repositoryID, branch, sha string) string { return testID(repositoryID, branch, sha) }

// HeldReason is the reason of a release that is held.
func HeldReason(h release.Hold) string { return heldReason(h) }
