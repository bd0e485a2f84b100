package jobs

import (
	"context"
	"errors"
	"strings"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// evaluation is a delivery, the event that it announces, and what the rules say of it.
type evaluation struct {
	delivery store.Delivery
	// failed says why the delivery cannot be read; empty when it can.
	failed string
	event  event.Event
	// asks: it cannot be decided before more is found out about it.
	asks bool
	// onlyTests: it is the test delivery by which a webhook was switched on again.
	onlyTests bool
	// decision is that of the rules; without meaning for an ignored event.
	decision rules.Decision
}

// evaluate reads those of the deliveries that wait for their decision and evaluates them
// by the rules.
func (q *Queue) evaluate(ctx context.Context, ids []string) ([]evaluation, error) {
	var list []evaluation
	err := q.store.View(ctx, func(tx *store.Tx) error {
		for _, id := range ids {
			delivery, err := tx.Delivery(ctx, id)
			switch {
			case errors.Is(err, store.ErrNotFound):
			case err != nil && !errors.Is(err, store.ErrCorrupt):
				return err
			case delivery.State != event.DeliveryReceived:
			case err != nil:
				list = append(list, evaluation{delivery: delivery, failed: shortened(err.Error())})
			default:
				list = append(list, evaluation{delivery: delivery})
			}
		}
		return nil
	})
	for i := range list {
		if list[i].failed == "" {
			q.evaluateOne(&list[i])
		}
	}
	return list, err
}

// evaluateOne parses a delivery and asks the rules. A parser that panics on what a
// stranger sent fails that one delivery, not the worker.
func (q *Queue) evaluateOne(e *evaluation) {
	defer func() {
		if p := recover(); p != nil {
			q.log.Error("reading delivery panicked", zap.String(event.LogDelivery, e.delivery.ID), zap.Any(event.LogError, p), zap.Stack("stack"))
			e.failed = "read event: internal error; please report it with the id of the delivery, " + e.delivery.ID
		}
	}()
	var err error
	if e.event, err = q.opts.Parse(e.delivery.Delivery); err != nil {
		e.failed = shortened(err.Error())
		return
	}
	e.event.Recovered = e.delivery.Recovered
	if e.event.IgnoredReason == "" {
		policy := q.opts.Policy()
		if e.asks = q.addGathered(policy, e); e.asks {
			return
		}
		e.decision = policy.Decide(e.event)
		for _, field := range e.event.Cut {
			e.decision.Reason += "; " + field + " cut: the host sent more than is kept"
		}
	}
}

// maxReason bounds a reason, in bytes: a library's error may quote a whole payload.
const maxReason = 2000

func shortened(text string) string {
	if len(text) <= maxReason {
		return text
	}
	return strings.ToValidUTF8(text[:maxReason], "") + "…"
}
