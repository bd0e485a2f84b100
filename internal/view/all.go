package view

import (
	"context"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
)

// Details are deliveries, runs and releases, each as `show` prints it.
type Details struct {
	Deliveries []DeliveryDetail
	Runs       []RunDetail
	Releases   []ReleaseDetail
}

// All returns what a small database holds, oldest first: the first limit deliveries,
// runs and releases.
func All(ctx context.Context, tx *store.Tx, limit int) (Details, error) {
	f := store.Filter{OldestFirst: true, Limit: limit}
	deliveries, err := tx.Deliveries(ctx, f)
	if err != nil {
		return Details{}, err
	}
	runs, err := tx.Runs(ctx, f)
	if err != nil {
		return Details{}, err
	}
	releases, err := tx.Releases(ctx, f)
	if err != nil {
		return Details{}, err
	}
	runsOf := map[string][]codecheck.Run{}
	for _, run := range runs {
		runsOf[run.DeliveryID] = append(runsOf[run.DeliveryID], run)
	}
	releasesOf := map[string][]release.Release{}
	for _, r := range releases {
		releasesOf[r.RunID] = append(releasesOf[r.RunID], r)
	}
	var all Details
	for _, d := range deliveries {
		actions, err := tx.ActionsOf(ctx, d.ID)
		if err != nil {
			return Details{}, err
		}
		detail, err := withCommand(ctx, tx, NewDeliveryDetail(d, runsOf[d.ID], releasesOf, actions))
		if err != nil {
			return Details{}, err
		}
		all.Deliveries = append(all.Deliveries, detail)
	}
	for _, run := range runs {
		detail, err := runDetail(ctx, tx, run, releasesOf[run.ID])
		if err != nil {
			return Details{}, err
		}
		all.Runs = append(all.Runs, detail)
	}
	for _, r := range releases {
		detail, err := releaseDetail(ctx, tx, r)
		if err != nil {
			return Details{}, err
		}
		all.Releases = append(all.Releases, detail)
	}
	return all, nil
}
