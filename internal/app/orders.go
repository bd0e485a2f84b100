package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// maxReason bounds the reason of an order in bytes.
const maxReason = 2000

// orders carries out what people and machines order by pages and API. It is an [access.Orders].
type orders struct {
	in  *jobs.Inserter
	log *zap.Logger
}

// newOrders makes orders that insert their jobs into the database of the service. Held releases are decided by the people
// and the rules in force.
func newOrders(s *store.Store, people jobs.People, policy func() *rules.Policy, log *zap.Logger) (*orders, error) {
	in, err := jobs.NewInserter(s, log)
	if err != nil {
		return nil, err
	}
	return &orders{in: in.WithPeople(people, policy), log: log}, nil
}

// Do implements [access.Orders]. Who may do what is asked here and nowhere above, so that no page and no
// route can forget it.
func (o *orders) Do(ctx context.Context, u access.User, order access.Order) (access.Result, error) {
	if !u.May(order.Action) {
		return access.Result{}, access.ErrForbidden
	}
	do, err := o.find(order)
	if err != nil {
		return access.Result{}, err
	}
	done, err := do(ctx, order.ID, jobs.Order{Actor: u.Actor(), Reason: strings.TrimSpace(order.Reason), Version: order.IfMatch}, u)
	if err != nil {
		return access.Result{}, translated(err)
	}
	o.log.Info("action ordered", zap.String(event.LogOperation, string(order.Action)), zap.String(event.LogIdentity, u.Identity),
		zap.String(event.LogVia, u.Via), zap.String(recordKeys[store.RecordKind(order.Kind)], order.ID))
	return resultOf(done), nil
}

// recordKeys are the log fields of records.
var recordKeys = map[store.RecordKind]string{store.RecordRun: event.LogRun, store.RecordRelease: event.LogRelease, store.RecordDelivery: event.LogDelivery}

// ordered carries out one action on the record with an id.
type ordered func(ctx context.Context, id string, o jobs.Order, u access.User) (jobs.Done, error)

// find is what carries an order out. The error says what the order lacks.
func (o *orders) find(order access.Order) (ordered, error) {
	switch {
	case strings.TrimSpace(order.Reason) == "":
		return nil, access.InvalidError{Message: "say why: the reason is kept with the record"}
	case len(order.Reason) > maxReason:
		return nil, access.InvalidError{Message: fmt.Sprintf("the reason is longer than %d bytes: write less", maxReason)}
	case order.ID == "" || strings.ContainsFunc(order.ID, func(r rune) bool { return r < ' ' || r > '~' }):
		return nil, access.ErrNotFound
	}
	does, known := o.table()[order.Action][store.RecordKind(order.Kind)]
	if !known {
		return nil, access.InvalidError{Message: fmt.Sprintf("%q is nothing that can be done with a %s", order.Action, order.Kind)}
	}
	switch {
	case order.Action == access.ActionResolve && !slices.Contains(jobs.Outcomes(), release.State(order.As)):
		return nil, access.InvalidError{Message: "say what really became of it: succeeded or failed"}
	case o.isHeld(order.Action) && order.Commit == "":
		return nil, access.InvalidError{Message: "say which commit you mean: all its digits"}
	}
	return does(order), nil
}

func (o *orders) isHeld(a access.Action) bool {
	return a == access.ActionApproveHeld || a == access.ActionRefuseHeld || a == access.ActionBreakGlass
}

// table says how each action is carried out on each kind of record that it is for.
func (o *orders) table() map[access.Action]map[store.RecordKind]func(access.Order) ordered {
	type kinds = map[store.RecordKind]func(access.Order) ordered
	simple := func(do func(context.Context, string, jobs.Order) (jobs.Done, error)) func(access.Order) ordered {
		return func(access.Order) ordered {
			return func(ctx context.Context, id string, by jobs.Order, _ access.User) (jobs.Done, error) {
				return do(ctx, id, by)
			}
		}
	}
	decide := func(decision rules.ReleaseAction) kinds {
		return kinds{store.RecordRelease: func(order access.Order) ordered {
			return func(ctx context.Context, id string, by jobs.Order, _ access.User) (jobs.Done, error) {
				return o.in.Decide(ctx, id, decision, order.Task, by)
			}
		}}
	}
	operate := func(action rules.ReleaseAction) kinds {
		return kinds{store.RecordRelease: simple(func(ctx context.Context, id string, by jobs.Order) (jobs.Done, error) {
			return o.in.Operate(ctx, id, action, by)
		})}
	}
	held := func(do func(context.Context, string, string, jobs.Approver, string) (jobs.Done, error)) kinds {
		return kinds{store.RecordRelease: func(order access.Order) ordered {
			return func(ctx context.Context, id string, by jobs.Order, u access.User) (jobs.Done, error) {
				return do(ctx, id, order.Commit, jobs.Approver{Person: u.Person, Identity: u.Identity, Via: u.Via, Claims: u.Claims, ClaimsAt: u.ClaimsAt, Version: by.Version}, by.Reason)
			}
		}}
	}
	return map[access.Action]kinds{
		access.ActionReplay: {store.RecordDelivery: simple(o.in.ReplayFor)},
		access.ActionRerun:  {store.RecordRun: simple(o.in.RerunRun), store.RecordRelease: simple(o.in.RerunRelease)},
		access.ActionStop:   {store.RecordRun: simple(o.in.StopRun)},
		access.ActionResolve: {store.RecordRelease: func(order access.Order) ordered {
			return func(ctx context.Context, id string, by jobs.Order, _ access.User) (jobs.Done, error) {
				return o.in.Resolve(ctx, id, release.State(order.As), by)
			}
		}},
		access.ActionOK:               {store.RecordDelivery: simple(o.in.TrustDelivery)},
		access.ActionApprove:          decide(rules.ReleaseApprove),
		access.ActionRefuse:           decide(rules.ReleaseRefuse),
		access.ActionPipelineRetry:    operate(rules.ReleaseRetry),
		access.ActionPipelineContinue: operate(rules.ReleaseContinue),
		access.ActionPipelineRollback: operate(rules.ReleaseRollback),
		access.ActionPipelineStop:     operate(rules.ReleaseStop),
		access.ActionApproveHeld:      held(o.in.ApproveHeld),
		access.ActionRefuseHeld:       held(o.in.RefuseHeld),
		access.ActionBreakGlass:       held(o.in.BreakGlass),
	}
}

// translated is an error of jobs in the words of access.
func translated(err error) error {
	why, refused := jobs.Refusal(err)
	switch {
	case refused:
		return access.ConflictError{Message: why}
	case errors.Is(err, store.ErrNotFound):
		return access.ErrNotFound
	case errors.Is(err, jobs.ErrChanged), errors.Is(err, store.ErrStale), errors.Is(err, store.ErrEnded):
		return access.ErrStale
	case errors.Is(err, store.ErrUndecided), errors.Is(err, store.ErrPayloadRemoved):
		return access.ConflictError{Message: err.Error()}
	}
	return err
}

func resultOf(done jobs.Done) access.Result {
	result := access.Result{Action: done.Action.ID, Deliveries: done.Deliveries}
	for _, run := range done.Runs {
		result.Runs = append(result.Runs, run.ID)
	}
	for _, r := range done.Releases {
		result.Releases = append(result.Releases, r.ID)
	}
	return result
}
