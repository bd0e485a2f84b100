package view

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
)

// Find returns the delivery, run or release whose id is id or begins with it: a
// [DeliveryDetail], [RunDetail] or [ReleaseDetail]. An id that nothing or more than one
// record begins with is an error that says so.
func Find(ctx context.Context, tx *store.Tx, id string) (any, error) {
	found, err := findExact(ctx, tx, id)
	if !errors.Is(err, store.ErrNotFound) {
		return found, err
	}
	if id, err = fullID(ctx, tx, id); err != nil {
		return nil, err
	}
	return findExact(ctx, tx, id)
}

// FindRun returns the run whose id is id or begins with it. An id of something else is an
// error that says so.
func FindRun(ctx context.Context, tx *store.Tx, id string) (codecheck.Run, error) {
	run, err := tx.Run(ctx, id)
	if !errors.Is(err, store.ErrNotFound) {
		return run, err
	}
	if id, err = fullID(ctx, tx, id); err != nil {
		return run, err
	}
	if run, err = tx.Run(ctx, id); errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("%s is not a run", id)
	}
	return run, err
}

// IDError says that an id, or the beginning of one, belongs to no record, or to several.
type IDError struct {
	Message string
	Several bool
}

func (e IDError) Error() string { return e.Message }

// fullID returns the one id that begins with id.
func fullID(ctx context.Context, tx *store.Tx, id string) (string, error) {
	const shown = 5
	ids, err := tx.IDs(ctx, id, shown+1)
	if err != nil {
		return "", err
	}
	switch {
	case id == "" || len(ids) == 0:
		return "", IDError{Message: fmt.Sprintf("no delivery, run or release has an id that begins with %q", id)}
	case len(ids) > 1:
		list := strings.Join(ids[:min(len(ids), shown)], ", ")
		if len(ids) > shown {
			list += ", …"
		}
		return "", IDError{Message: fmt.Sprintf("more than one id begins with %q: %s", id, list), Several: true}
	}
	return ids[0], nil
}

// findExact returns the record with this id, or store.ErrNotFound.
func findExact(ctx context.Context, tx *store.Tx, id string) (any, error) {
	d, err := tx.Delivery(ctx, id)
	if err == nil {
		return delivery(ctx, tx, d)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	run, err := tx.Run(ctx, id)
	if err == nil {
		releases, err := tx.ReleasesOf(ctx, id)
		if err != nil {
			return nil, err
		}
		detail, err := runDetail(ctx, tx, run, releases)
		if err != nil {
			return nil, err
		}
		return detail, standInLine(ctx, tx, &detail.Run)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	r, err := tx.Release(ctx, id)
	if err != nil {
		return nil, err
	}
	return releaseDetail(ctx, tx, r)
}

// runDetail reads what belongs to a run.
func runDetail(ctx context.Context, tx *store.Tx, run codecheck.Run, releases []release.Release) (RunDetail, error) {
	actions, err := tx.ActionsOf(ctx, run.ID)
	if err != nil {
		return RunDetail{}, err
	}
	reports, err := tx.ReportsOf(ctx, run.Event.Connection, run.Event.Repository.ID, run.Event.HeadSHA, run.Event.Number)
	return NewRunDetail(run, releases, reports, actions), err
}

func delivery(ctx context.Context, tx *store.Tx, d store.Delivery) (DeliveryDetail, error) {
	runs, err := tx.RunsOf(ctx, d.ID)
	releases := map[string][]release.Release{}
	for _, run := range runs {
		var failed error
		releases[run.ID], failed = tx.ReleasesOf(ctx, run.ID)
		err = errors.Join(err, failed)
	}
	actions, failed := tx.ActionsOf(ctx, d.ID)
	err = errors.Join(err, failed)
	detail, failed := withCommand(ctx, tx, NewDeliveryDetail(d, runs, releases, actions))
	err = errors.Join(err, failed)
	var views []*Run
	for i := range detail.Runs {
		views = append(views, &detail.Runs[i].Run)
	}
	return detail, errors.Join(err, standInLine(ctx, tx, views...))
}
