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

// ListedTask is a row of a project's task list, with all its columns as the service sends
// them (003_406115daee00d6ba.txt, SimpleTaskInfoV2).
type ListedTask struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	CreatorID string `json:"creator_id"`
	URL       string `json:"url"`
	Branch    string `json:"branch"`
	// CreatedAt and LastCheckTime are in a zone that the older edition does not tell; empty
	// when there is none.
	CreatedAt     string `json:"created_at"`
	LastCheckTime string `json:"last_check_time"`
}

// ListTasks reads the whole task list of a CodeArts project, in its own order, however long
// that takes. It changes nothing.
func (c *Checker) ListTasks(ctx context.Context, project string) ([]ListedTask, error) {
	pages := newTaskPages(c.api, project, c.options.MaxPages)
	var tasks []ListedTask
	for {
		page, last, err := pages.next(ctx)
		if err != nil {
			return nil, err
		}
		for _, t := range page {
			tasks = append(tasks, ListedTask{ID: string(t.ID), Name: string(t.Name), CreatorID: string(t.Creator), URL: string(t.URL),
				Branch: string(t.Branch), CreatedAt: string(t.CreatedAt), LastCheckTime: string(t.CheckedAt)})
		}
		if last {
			return tasks, nil
		}
	}
}

// Lookup is what a run would find.
type Lookup struct {
	Task  Task
	Found bool
	// Remark says what was not certain; empty when it was.
	Remark string
	// Namesake is the listed task of the repository, for another branch, that the check
	// names by its id or that has the name which a new task would get; without an id when there is
	// none.
	Namesake Task
	// Languages are those of a task that would be created, as far as the rule names them, else the
	// default ones.
	Languages []string
}

// LookupTask finds the full task that a run of this event would use, in the project's
// task list or by the branch tasks of those listed there. When there is none, the error says why it
// could not be created either; nil means that it would be created. It changes nothing.
func (c *Checker) LookupTask(ctx context.Context, ev event.Event, check rules.Check) (l Lookup, err error) {
	run := Run{Event: ev, Check: check}
	s := search{Checker: c, run: &run}
	list, err := c.wholeList(ctx, check.ProjectID)
	if err != nil {
		return Lookup{}, err
	}
	branch := scannedBranch(ev, check)
	for _, row := range list.index.others(ev.Repository, branch) {
		if string(row.ID) == check.TaskID || check.TaskID == "" && check.TaskName != "" && string(row.Name) == validName(check.TaskName) {
			l.Namesake = row.task()
		}
	}
	if check.TaskID != "" {
		l.Task, _, err = s.given(check.TaskID)
		l.Found = err == nil
		return l, err
	}
	l.Languages = c.languages(check, nil)
	if l.Task, l.Found, err = s.choose(ctx, list.index, false); !l.Found && err == nil {
		l.Task, l.Found, err = s.branchOfOther(ctx, list.index)
	}
	l.Remark = run.TaskRemark
	if !l.Found && err == nil {
		_, err = c.creatable(run, branch)
	}
	return l, err
}

// TaskLanguages gives the languages that a task checks, as the service spells them; none
// when the service does not tell. It changes nothing.
func (c *Checker) TaskLanguages(ctx context.Context, project, task string) ([]string, error) {
	languages, err := c.api.taskLanguages(ctx, project, task)
	if Permanent(err) {
		return nil, nil
	}
	return languages, err
}

// SameRepository reports whether two addresses are those of one repository.
func SameRepository(a, b string) bool {
	key := RepositoryKey(a)
	return key != "" && key == RepositoryKey(b)
}
