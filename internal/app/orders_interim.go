package app

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// interimOrders carries orders out until the branch wt-access brings its own, which replaces this file.
type interimOrders struct{ inserter *jobs.Inserter }

func newOrders(s *store.Store, log *zap.Logger) (access.Orders, error) {
	inserter, err := jobs.NewInserter(s, log)
	return interimOrders{inserter}, err
}

func (o interimOrders) Do(ctx context.Context, u access.User, order access.Order) (access.Result, error) {
	if !u.May(order.Action) {
		return access.Result{}, access.ErrForbidden
	}
	by := jobs.Order{Actor: u.Name, Reason: order.Reason}
	var done jobs.Done
	var err error
	switch order.Action {
	case access.ActionReplay:
		var replayed []jobs.Replayed
		if replayed, err = o.inserter.Replay(ctx, []string{order.ID}); err == nil {
			err = replayed[0].Err
		}
		if err == nil {
			return access.Result{Deliveries: []string{order.ID}}, nil
		}
	case access.ActionRerun:
		if order.Kind == "run" {
			done, err = o.inserter.RerunRun(ctx, order.ID, by)
		} else {
			done, err = o.inserter.RerunRelease(ctx, order.ID, by)
		}
	case access.ActionStop:
		done, err = o.inserter.StopRun(ctx, order.ID, by)
	case access.ActionResolve:
		done, err = o.inserter.Resolve(ctx, order.ID, release.State(order.As), by)
	case access.ActionOK:
		done, err = o.inserter.TrustDelivery(ctx, order.ID, by)
	case access.ActionApprove:
		done, err = o.inserter.Decide(ctx, order.ID, rules.ReleaseApprove, order.Task, by)
	case access.ActionRefuse:
		done, err = o.inserter.Decide(ctx, order.ID, rules.ReleaseRefuse, order.Task, by)
	case access.ActionPipelineRetry:
		done, err = o.inserter.Operate(ctx, order.ID, rules.ReleaseRetry, by)
	case access.ActionPipelineContinue:
		done, err = o.inserter.Operate(ctx, order.ID, rules.ReleaseContinue, by)
	case access.ActionPipelineRollback:
		done, err = o.inserter.Operate(ctx, order.ID, rules.ReleaseRollback, by)
	case access.ActionPipelineStop:
		done, err = o.inserter.Operate(ctx, order.ID, rules.ReleaseStop, by)
	default:
		err = errors.New("no rule holds it")
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return access.Result{}, access.ErrNotFound
	case err != nil:
		return access.Result{}, access.ConflictError{Message: err.Error()}
	}
	result := access.Result{Action: done.Action.ID, Deliveries: done.Deliveries}
	for _, run := range done.Runs {
		result.Runs = append(result.Runs, run.ID)
	}
	for _, r := range done.Releases {
		result.Releases = append(result.Releases, r.ID)
	}
	return result, nil
}
