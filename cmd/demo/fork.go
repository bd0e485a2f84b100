package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/view"
)

// demoFork is a merge request from a fork and what became of its commit.
type demoFork struct {
	Host     event.Host `json:"host"`
	Number   int        `json:"number"`
	Commit   string     `json:"commit"`
	Delivery string     `json:"delivery"`
	// Waited says why it was not checked at first, StatusBefore and StatusAfter what the host showed then
	// and at the end.
	Waited       string `json:"waited"`
	StatusBefore string `json:"status_before"`
	StatusAfter  string `json:"status_after"`
	// VouchedBy is who vouched for the commit, Run how the check ended after that.
	VouchedBy string          `json:"vouched_by"`
	Run       codecheck.State `json:"run"`
}

// tellFork sends the merge request from a fork, waits until its host is told that it waits, and then does what
// gatewright ok does.
func tellFork(ctx context.Context, d *demo.Demo, n *narrator, w *watcher) (f demoFork, last told, err error) {
	const actor = "demo"
	last.episode = episode{"merge request 8 from a fork", demo.Delivery{Host: event.GitHub, Kind: "merge-request", ID: uuid.NewString(),
		Change: demo.Change{Branch: "main", SourceBranch: "patch-1", Before: d.World.Clean, SHA: d.World.Fork, Number: demo.ForkRequest, Fork: true}}}
	if last.Sent, err = d.Send(ctx, last.Delivery); err != nil {
		return f, last, fmt.Errorf("%s: %w", last.title, err)
	}
	n.tellAnswer(last.episode, last.Sent)
	f = demoFork{Host: event.GitHub, Number: demo.ForkRequest, Commit: d.World.Fork, Delivery: last.Sent.ID}
	err = watch(ctx, d, w, func(r demo.Records) bool {
		f.StatusBefore = statusOf(d, f)
		return r.Told() && f.StatusBefore != ""
	})
	if err != nil {
		return f, last, err
	}
	delivery, err := forkDelivery(ctx, d, f)
	if err != nil {
		return f, last, err
	}
	f.Waited = delivery.Reason
	inserter, err := jobs.NewInserter(d.Store(), zap.NewNop())
	if err != nil {
		return f, last, err
	}
	if _, err := inserter.TrustDelivery(ctx, f.Delivery, jobs.Order{Actor: actor, Reason: "the code was read"}); err != nil {
		return f, last, err
	}
	f.VouchedBy = actor
	n.say(f.Host, "ok", "somebody vouches for commit %s (gatewright ok): it is decided again", f.Commit[:8])
	if err := watch(ctx, d, w, demo.Records.Told); err != nil {
		return f, last, err
	}
	f.StatusAfter = statusOf(d, f)
	if delivery, err = forkDelivery(ctx, d, f); err == nil && len(delivery.Runs) > 0 {
		f.Run = delivery.Runs[0].State
	}
	return f, last, err
}

func forkDelivery(ctx context.Context, d *demo.Demo, f demoFork) (view.DeliveryDetail, error) {
	r, err := d.Records(ctx)
	if err != nil {
		return view.DeliveryDetail{}, err
	}
	i := slices.IndexFunc(r.Deliveries, func(delivery view.DeliveryDetail) bool { return delivery.ID == f.Delivery })
	if i < 0 {
		return view.DeliveryDetail{}, fmt.Errorf("delivery %q is not stored", f.Delivery)
	}
	return r.Deliveries[i], nil
}

// statusOf is what the host shows of the commit; empty before anything.
func statusOf(d *demo.Demo, f demoFork) string {
	statuses := d.Standin.Reports().Statuses
	i := slices.IndexFunc(statuses, func(s standin.HostStatus) bool {
		return s.Host == string(f.Host) && s.Commit == f.Commit && s.Context == "gatewright/check"
	})
	if i < 0 {
		return ""
	}
	return statuses[i].State
}
