package codecheck

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
)

const (
	// claimFor is how long a run's claim on a task lasts; each of its steps renews it.
	claimFor = 2 * time.Minute
	// claimWait is the wait of a run whose task another run is creating.
	claimWait = 2 * time.Second
	// releaseTimeout bounds the release of a claim, which outlives its step.
	releaseTimeout = 5 * time.Second
	// listReserve is how much of a step's time is left for what follows the reading
	// of a task list.
	listReserve = 5 * time.Second
)

// search is one step's search for the task of a run.
type search struct {
	*Checker
	run *Run
	// until is when the step reads no further page of the project's task list.
	until time.Time
}

// findTask gives the run its task and says where it came from: what an earlier run
// saved, found in the project's list, or created.
func (c *Checker) findTask(ctx context.Context, run *Run) error {
	s := search{Checker: c, run: run, until: c.listUntil(ctx)}
	key := TaskKey(run.Event, run.Check)
	find := s.fullTask
	if run.Check.Scan == rules.ScanIncremental {
		find = s.mergeRequestTask
	}
	task, origin, err := find(ctx, key)
	if !errors.As(err, new(notYet)) {
		run.ListSince = time.Time{}
	}
	if err == nil {
		run.Task, run.Origin = task, origin
	}
	return err
}

// listUntil is when a step that begins now reads no further page.
func (c *Checker) listUntil(ctx context.Context) time.Time {
	d := c.options.ReadTaskListFor
	if deadline, ok := ctx.Deadline(); ok {
		d = min(d, time.Until(deadline)-listReserve)
	}
	return c.options.Now().Add(d)
}

// fullTask finds the full task of a branch, or creates it.
func (s search) fullTask(ctx context.Context, key string) (Task, Origin, error) {
	if id := s.run.Check.TaskID; id != "" {
		return s.given(id)
	}
	if t, ok, err := s.remembered(ctx, key); ok || err != nil {
		return t, Remembered, err
	}
	if t, ok, err := s.recentlyListed(ctx); err != nil {
		return Task{}, "", err
	} else if ok {
		return s.save(ctx, key, t, Found)
	}
	return s.claimed(ctx, key, func() (Task, Origin, error) { return s.listOrCreate(ctx, key) })
}

// given is the task that the rule names.
func (s search) given(id string) (Task, Origin, error) {
	if s.run.isGone(id) {
		return Task{}, "", permanentError("the task " + id + " of check.task_id does not exist: correct the rule, or leave task_id out")
	}
	s.options.Metrics.countLookup(Given)
	return Task{ID: id, URL: address(s.run.Event.Repository), Branch: scannedBranch(s.run.Event, s.run.Check)}, Given, nil
}

// mergeRequestTask finds the incremental task of a merge request, or creates it
// under the full task of its target branch. The list does not show these tasks
// (specs/codearts-check.md 1.1), so one whose creation was not answered is not
// found again: a second one is created and the first stays unused.
func (s search) mergeRequestTask(ctx context.Context, key string) (Task, Origin, error) {
	if t, ok, err := s.remembered(ctx, key); err != nil {
		return t, Remembered, err
	} else if ok {
		mode, origin, err := s.inMode(ctx, key, t, Remembered)
		if !notFound(err) || s.run.GoneTask != nil {
			return mode, origin, err
		}
		// It was deleted, as when a run of it finds that; another one is created.
		s.run.GoneTask = &t
	}
	parent, origin, err := s.fullTask(ctx, fullTaskKey(s.run.Event, s.run.Check.ProjectID, s.run.Event.Branch))
	if err != nil {
		return Task{}, "", err
	}
	t, mrOrigin, err := s.claimed(ctx, key, func() (Task, Origin, error) {
		if err := s.needLanguages(); err != nil {
			return Task{}, "", err
		}
		t, err := s.createIncremental(ctx, *s.run, parent)
		if err != nil {
			return Task{}, "", err
		}
		return s.save(ctx, key, t, Created)
	})
	if err == nil {
		return s.inMode(ctx, key, t, mrOrigin)
	}
	if parentGone(err) && origin != Created && !s.run.isGone(parent.ID) {
		// The parent may have been deleted since it was found: look for another one.
		gone := Task{ParentID: parent.ID}
		if s.run.GoneTask != nil {
			gone.ID = s.run.GoneTask.ID
		}
		s.run.GoneTask = &gone
		return s.mergeRequestTask(ctx, key)
	}
	return t, mrOrigin, err
}

// inMode gives the task of a merge request in the check mode that the rule wants. A task
// that an earlier rule put into a mode keeps it when the rule names none.
func (s search) inMode(ctx context.Context, key string, t Task, origin Origin) (Task, Origin, error) {
	mode := s.run.Check.CheckMode
	if mode == "" || mode == t.CheckMode {
		return t, origin, nil
	}
	if err := s.api.setCheckMode(ctx, t.ID, mode); err != nil {
		return Task{}, "", err
	}
	t.CheckMode = mode
	if err := s.options.Memory.SaveTask(ctx, s.run.Event, key, t); err != nil {
		return Task{}, "", fmt.Errorf("save task: %w", err)
	}
	return t, origin, nil
}

// remembered is the task that an earlier run saved under key.
func (s search) remembered(ctx context.Context, key string) (Task, bool, error) {
	t, ok, err := s.options.Memory.Task(ctx, key)
	if err != nil {
		return Task{}, false, fmt.Errorf("read task: %w", err)
	}
	if !ok || s.run.isGone(t.ID) {
		return Task{}, false, nil
	}
	s.options.Metrics.countLookup(Remembered)
	return t, true, nil
}

// save saves a task that was found or created, for later runs.
func (s search) save(ctx context.Context, key string, t Task, origin Origin) (Task, Origin, error) {
	s.options.Metrics.countLookup(origin)
	t.Account = s.run.Check.Account
	t.OfMergeGroup = origin == Created && s.run.Event.Kind == event.MergeGroup
	if err := s.options.Memory.SaveTask(ctx, s.run.Event, key, t); err != nil {
		return Task{}, "", fmt.Errorf("save task: %w", err)
	}
	return t, origin, nil
}

// recentlyListed finds the run's full task in a kept list. A miss does not show that
// there is no task.
func (s search) recentlyListed(ctx context.Context) (Task, bool, error) {
	index := s.lists.recent(s.run.Check.ProjectID)
	if index == nil {
		return Task{}, false, nil
	}
	return s.choose(ctx, index, true)
}

// claimed calls find while no other run, on any replica, creates the task of key:
// the service does not refuse a second task for the same repository and branch. If
// the previous holder of the claim has saved the task meanwhile, that one is used.
func (s search) claimed(ctx context.Context, key string, find func() (Task, Origin, error)) (t Task, origin Origin, err error) {
	ours, err := s.options.Memory.ClaimTask(ctx, key, s.run.ID, claimFor)
	if err != nil {
		return Task{}, "", fmt.Errorf("claim task: %w", err)
	}
	if !ours {
		s.run.ListSince = time.Time{}
		return Task{}, "", notYet{reason: "another run is creating this task; waits for it", wait: claimWait}
	}
	t, ok, err := s.remembered(ctx, key)
	if ok {
		origin = Remembered
	} else if err == nil {
		t, origin, err = find()
	}
	if origin == Remembered || err != nil && !keepsClaim(err) {
		s.release(ctx, key)
	}
	return t, origin, err
}

// keepsClaim reports whether a run keeps its claim until its next step: while it is
// reading the list, and while the service may still be creating the task.
func keepsClaim(err error) bool {
	return errors.As(err, new(notYet)) || uncertain(err) && !Permanent(err)
}

// release ends a claim. If that fails, the claim expires.
func (s search) release(ctx context.Context, key string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	_ = s.options.Memory.ReleaseTask(ctx, key, s.run.ID)
}

// listOrCreate finds the full task in the project's list, or creates it. The caller
// has the claim.
func (s search) listOrCreate(ctx context.Context, key string) (Task, Origin, error) {
	if s.run.ListSince.IsZero() {
		s.run.ListSince = s.lists.mark()
	}
	t, index, err := s.listed(ctx)
	if err != nil {
		return Task{}, "", err
	}
	if t.ID != "" {
		return s.save(ctx, key, t, Found)
	}
	if t, ok, err := s.branchOfOther(ctx, index); err != nil {
		return Task{}, "", err
	} else if ok {
		return s.save(ctx, key, t, Found)
	}
	if err := s.needLanguages(); err != nil {
		return Task{}, "", err
	}
	branch := scannedBranch(s.run.Event, s.run.Check)
	t, err = s.createFull(ctx, *s.run, branch, index)
	if err == nil {
		s.lists.add(s.run.Check.ProjectID, listedTask{ID: text(t.ID), Name: text(t.Name), URL: text(t.URL), Branch: text(branch)})
		return s.save(ctx, key, t, Created)
	}
	if !uncertain(err) {
		return Task{}, "", err
	}
	// The task may have been created although the response does not say so.
	s.run.ListSince = s.lists.mark()
	t, _, listErr := s.listed(ctx)
	if listErr != nil {
		return Task{}, "", listErr
	}
	if t.ID != "" {
		return s.save(ctx, key, t, Created)
	}
	return Task{}, "", err
}

// needLanguages ends the step when a task is about to be created, and the languages of the
// repository have to be found out before.
func (s search) needLanguages() error {
	if s.run.WantsLanguages = wantsLanguages(s.run); s.run.WantsLanguages {
		return notYet{reason: "asks the host for the repository's languages", wait: minimalWait}
	}
	return nil
}

// listed finds the run's full task in the project's task list, and returns the index
// of that list; a task without an id means that there is none. A list that was begun before
// the run's ListSince may show that there is a task, unless it is known to be gone;
// only one that was begun after it shows that there is none.
func (s search) listed(ctx context.Context) (Task, *taskIndex, error) {
	for {
		list, err := s.lists.read(ctx, s.run.Check.ProjectID, s.run.ListSince, s.until)
		if err != nil {
			return Task{}, nil, err
		}
		current := list.begun.After(s.run.ListSince)
		t, found, err := s.choose(ctx, list.index, !current)
		if err != nil {
			return Task{}, nil, err
		}
		if current || found {
			return t, list.index, nil
		}
	}
}
