package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/store"
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

// tellFork sends the merge request from a fork, waits until its host is told that it waits, and then lets somebody
// vouch for its commit in a comment.
func tellFork(ctx context.Context, d *demo.Demo, n *narrator, w *watcher) (f demoFork, story []told, err error) {
	var opened told
	opened.episode = episode{"merge request 8 from a fork", demo.Delivery{Host: event.GitHub, Kind: "merge-request", ID: uuid.NewString(),
		Change: demo.Change{Branch: "main", SourceBranch: "patch-1", Before: d.World.Clean, SHA: d.World.Fork, Number: demo.ForkRequest, Fork: true}}}
	if opened.Sent, err = d.Send(ctx, opened.Delivery); err != nil {
		return f, nil, fmt.Errorf("%s: %w", opened.title, err)
	}
	n.tellAnswer(opened.episode, opened.Sent)
	f = demoFork{Host: event.GitHub, Number: demo.ForkRequest, Commit: d.World.Fork, Delivery: opened.Sent.ID}
	err = watch(ctx, d, w, func(r demo.Records) bool {
		f.StatusBefore = statusOf(d, f)
		return r.Told() && f.StatusBefore != ""
	})
	if err != nil {
		return f, nil, err
	}
	delivery, err := deliveryOf(ctx, d, f.Delivery)
	if err != nil {
		return f, nil, err
	}
	f.Waited = delivery.Reason
	vouch, err := say(ctx, d, n, event.GitHub, demo.Mona(), demo.ForkRequest, f.Commit, "/ok "+f.Commit)
	if err != nil {
		return f, nil, err
	}
	if err := watch(ctx, d, w, func(r demo.Records) bool { return r.Obeyed() && r.Told() }); err != nil {
		return f, nil, err
	}
	if said, err := deliveryOf(ctx, d, vouch.ID); err == nil && said.Command != nil && said.Command.Outcome == store.CommandDone {
		f.VouchedBy = said.Command.Author
	}
	f.StatusAfter = statusOf(d, f)
	if delivery, err = deliveryOf(ctx, d, f.Delivery); err == nil && len(delivery.Runs) > 0 {
		f.Run = delivery.Runs[0].State
	}
	return f, []told{opened, vouch}, err
}

func deliveryOf(ctx context.Context, d *demo.Demo, id string) (view.DeliveryDetail, error) {
	r, err := d.Records(ctx)
	if err != nil {
		return view.DeliveryDetail{}, err
	}
	i := slices.IndexFunc(r.Deliveries, func(delivery view.DeliveryDetail) bool { return delivery.ID == id })
	if i < 0 {
		return view.DeliveryDetail{}, fmt.Errorf("delivery %q is not stored", id)
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
