package jobs

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
)

const (
	// watchEvery is how often the pipeline of an expired release is looked at, watchFor
	// how long after its end.
	watchEvery = 10 * time.Minute
	watchFor   = 7 * 24 * time.Hour
)

// watchRelease looks whether the execution of a release that expired goes on: the
// checkpoint still waits, and a person can decide it in the console. What happens is
// kept as a remark; the release stays expired.
func (q *Queue) watchRelease(ctx context.Context, args watchReleaseArgs) (time.Duration, error) {
	b, err := q.loadRelease(ctx, args.ReleaseID)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	expired, now := b.release, q.now()
	if expired.State != release.Expired || now.After(expired.FinishedAt.Add(watchFor)) {
		return 0, nil
	}
	seen := expired
	seen.State, seen.Deadline = release.Running, now.Add(watchFor)
	// It is only looked at: the rule does nothing any more.
	seen.Plan.OnFailure, seen.Plan.OnDeadline, seen.Plan.OnSuperseded = nil, "", ""
	seen, _, _, err = q.opts.Releaser.Follow(ctx, seen)
	if err != nil || (!seen.State.Ended() && seen.Status == expired.Status) {
		// What cannot be read now may be read the next time.
		return watchEvery, nil
	}
	if err := q.remark(ctx, expired, "the pipeline went on after the release had expired: "+seen.Reason); err != nil {
		return 0, err
	}
	if seen.State.Ended() {
		return 0, nil
	}
	return watchEvery, nil
}

// remark keeps what was learned of a release after its end, once.
func (q *Queue) remark(ctx context.Context, r release.Release, text string) error {
	return q.update(ctx, func(tx *transaction) error {
		actions, err := tx.ActionsOf(ctx, r.ID)
		if err != nil || slices.ContainsFunc(actions, func(a store.Action) bool { return a.Name == store.ActionRemark && a.Reason == text }) {
			return err
		}
		tx.AfterCommit(func() {
			q.log.Info("release remarked", zap.String(event.LogRelease, r.ID), zap.String(event.LogPipeline, r.Plan.Pipeline),
				zap.String(event.LogExecution, r.ExecutionID), zap.String(event.LogReason, text))
		})
		return tx.AddAction(ctx, store.Action{
			ID: q.opts.NewID(), Kind: store.RecordRelease, RecordID: r.ID, Name: store.ActionRemark, Actor: store.Gatewright, Reason: text,
		})
	})
}
