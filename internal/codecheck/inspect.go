package codecheck

import (
	"context"
	"errors"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
)

// ReadProject reads the whole task list of a CodeArts project, however long that takes,
// and returns nil when it is there and we may read it. It changes nothing.
func (c *Checker) ReadProject(ctx context.Context, project string) error {
	_, err := c.wholeList(ctx, project)
	return err
}

// wholeList is a list that was begun a short while ago, or is read now.
func (c *Checker) wholeList(ctx context.Context, project string) (*taskList, error) {
	for {
		list, err := c.lists.read(ctx, project, c.options.Now().Add(-c.options.KeepTaskListFor), c.listUntil(ctx))
		if !errors.As(err, new(notYet)) {
			return list, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// LookupTask finds the full task that a run of this event would use in the project's
// task list. When there is none, the error says why it could not be created either; nil
// means that it would be created. It changes nothing.
func (c *Checker) LookupTask(ctx context.Context, ev event.Event, check rules.Check) (t Task, found bool, err error) {
	list, err := c.wholeList(ctx, check.ProjectID)
	if err != nil {
		return Task{}, false, err
	}
	run := Run{Event: ev, Check: check}
	s := search{Checker: c, run: &run}
	if t, found, err = s.choose(ctx, list.index, false); found || err != nil {
		return t, found, err
	}
	if t, found, err = s.branchOfOther(ctx, list.index); found || err != nil {
		return t, found, err
	}
	_, err = c.creatable(run, scannedBranch(ev, check))
	return Task{}, false, err
}
