package jobs

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
)

const (
	// closeFor is how long after the end of a merge request its tasks are tried to be
	// deleted; `tasks prune` finds what is left then.
	closeFor = 24 * time.Hour
	// closeWait is the wait while one of them is occupied by a run.
	closeWait = 30 * time.Second
)

// closeTasks deletes the tasks that we created for a merge request or a merge group, after that
// has ended: nothing else shows them. A merge request that is open again keeps them.
func (q *Queue) closeTasks(ctx context.Context, args closeTasksArgs) (time.Duration, error) {
	var tasks []store.RememberedTask
	occupied := false
	err := q.store.View(ctx, func(tx *store.Tx) error {
		head, known, err := tx.Head(ctx, args.RefKey)
		if err != nil || known && !head.Ended {
			return err
		}
		if tasks, err = tx.MergeRequestTasks(ctx, args.RefKey); err != nil {
			return err
		}
		tasks = slices.DeleteFunc(tasks, func(t store.RememberedTask) bool { return q.opts.KeepTasks[t.Task.Account] })
		for _, t := range tasks {
			_, found, err := tx.Occupant(ctx, t.Task.ID, "")
			if err != nil {
				return err
			}
			occupied = occupied || found
		}
		return nil
	})
	switch {
	case err != nil || len(tasks) == 0 || q.now().After(args.Until):
		return 0, err
	case occupied:
		return closeWait, nil
	}
	for _, t := range tasks {
		if err := q.opts.Checker.Delete(ctx, t.Task); final(err) {
			q.log.Warn("task of a closed merge request not deleted", zap.String(event.LogRepository, t.Repository), zap.String(event.LogTask, t.Task.ID), zap.Error(err))
			continue
		} else if err != nil {
			return 0, err
		}
		if err := q.update(ctx, func(tx *transaction) error { return tx.ForgetTask(ctx, t) }); err != nil {
			return 0, err
		}
		q.log.Info("task of a closed merge request deleted", zap.String(event.LogRepository, t.Repository), zap.String(event.LogTask, t.Task.ID))
	}
	return 0, nil
}
