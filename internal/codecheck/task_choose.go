package codecheck

import (
	"context"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
)

// maxCompared bounds how many tasks of one repository are looked at more closely.
const maxCompared = 20

// choose finds the full task of the run's branch among the listed tasks of its repository;
// withoutGone leaves out those that the service no longer knew.
//
// A service may list the tasks of merge requests too, with their source branch in the place
// of the branch (specs/codearts-check.md 1.1). A task with the name that we give is taken
// at once. Of the others, those are left out that we made for a merge request, whose
// branch tasks do not name the branch, or whose details name another one. Where more than
// one remains the oldest is taken, because the task of a merge request is younger than that of its
// branch, and a remark names both.
func (s search) choose(ctx context.Context, index *taskIndex, withoutGone bool) (Task, bool, error) {
	branch, name := scannedBranch(s.run.Event, s.run.Check), s.run.Check.TaskName
	rows := index.match(s.run.Event.Repository, branch, name)
	if withoutGone {
		rows = slices.DeleteFunc(rows, func(row listedTask) bool { return s.run.isGone(string(row.ID)) })
	}
	if len(rows) > 0 && name != "" && string(rows[0].Name) == validName(name) {
		return rows[0].task(), true, nil
	}
	var sure, possible []Task
	for _, row := range rows[:min(len(rows), maxCompared)] {
		t, whose, err := s.whose(ctx, row, branch)
		if err != nil {
			return Task{}, false, err
		}
		switch whose {
		case branchsOwn:
			sure = append(sure, t)
		case notKnown:
			possible = append(possible, t)
		}
	}
	tasks := sure
	if len(tasks) == 0 {
		tasks = possible
	}
	tasks = slices.CompactFunc(tasks, func(a, b Task) bool { return a.ID == b.ID })
	if len(tasks) == 0 {
		return Task{}, false, nil
	}
	s.run.TaskRemark = ""
	if len(tasks) > 1 {
		s.run.TaskRemark = fmt.Sprintf("several tasks fit branch %q of %s: %s is taken, the oldest, and not %s; write the one that is meant as check.task_id",
			branch, s.run.Event.Repository.FullName, tasks[0].naming(), tasks[1].naming())
		s.options.Log.Warn("several tasks fit", zap.String(event.LogRun, s.run.ID), zap.String(event.LogReason, s.run.TaskRemark))
	}
	return tasks[0], true, nil
}

// branchOfOther finds the branch among the branch tasks of the repository's other tasks:
// it is read before a new task is created, because a task may have more branches than the
// one that the list names.
func (s search) branchOfOther(ctx context.Context, index *taskIndex) (Task, bool, error) {
	if !s.options.BranchTasks.In(s.options.Dialect) {
		return Task{}, false, nil
	}
	branch := scannedBranch(s.run.Event, s.run.Check)
	rows := index.others(s.run.Event.Repository, branch)
	for _, row := range rows[:min(len(rows), maxCompared)] {
		known, ok, err := s.options.Memory.TaskByID(ctx, string(row.ID))
		if err != nil {
			return Task{}, false, fmt.Errorf("read task: %w", err)
		}
		if ok && known.ParentID != "" {
			continue
		}
		id, _, err := s.api.branchTask(ctx, s.run.Check.ProjectID, string(row.ID), branch)
		if err != nil && !Permanent(err) {
			return Task{}, false, err
		}
		if err != nil {
			return Task{}, false, nil // the service does not tell
		}
		if id != "" && !s.run.isGone(id) {
			return Task{ID: id, Name: string(row.Name), URL: string(row.URL), Branch: branch}, true, nil
		}
	}
	return Task{}, false, nil
}

// whose says of what a listed task is.
type whose int

const (
	notKnown whose = iota
	// branchsOwn: the full task of the branch.
	branchsOwn
	// anothers: the task of a merge request, or of another branch.
	anothers
)

// whose says whether a listed task is that of the branch, by what we know of it and by what
// the service tells beside the list. The task of the branch may be another one than the
// listed: one of that one's branch tasks.
func (s search) whose(ctx context.Context, row listedTask, branch string) (Task, whose, error) {
	t := row.task()
	known, ok, err := s.options.Memory.TaskByID(ctx, t.ID)
	switch {
	case err != nil:
		return t, notKnown, fmt.Errorf("read task: %w", err)
	case ok && known.ParentID != "":
		return t, anothers, nil
	case ok && known.Branch == branch:
		return t, branchsOwn, nil
	case !s.options.BranchTasks.In(s.options.Dialect):
		return t, notKnown, nil
	}
	id, listed, err := s.api.branchTask(ctx, s.run.Check.ProjectID, t.ID, branch)
	switch {
	case err != nil && !Permanent(err):
		return t, notKnown, err
	case id != "":
		t.ID = id
		return t, branchsOwn, nil
	case listed > 0:
		return t, anothers, nil
	}
	details, err := s.api.taskBranch(ctx, t.ID)
	switch {
	case err != nil && !Permanent(err):
		return t, notKnown, err
	case details == branch:
		return t, branchsOwn, nil
	case details != "":
		return t, anothers, nil
	}
	return t, notKnown, nil
}

// task is the listed task as a run has it.
func (l listedTask) task() Task {
	return Task{ID: string(l.ID), Name: string(l.Name), URL: string(l.URL), Branch: string(l.Branch)}
}

// naming is the task's name and id.
func (t Task) naming() string { return fmt.Sprintf("%q (%s)", t.Name, t.ID) }
