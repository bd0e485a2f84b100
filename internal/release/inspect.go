package release

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/rules"
)

// ErrNoTasks reports that the service shows a pipeline without its tasks.
var ErrNoTasks = errors.New("the service shows the pipeline without its tasks")

// Inspect reads the pipeline that a plan names and returns nil when it has the stages
// and tasks that the plan names. Errors of the service are *huaweicloud.Error; ErrNoTasks
// says that the tasks could not be compared. Whether a task is a checkpoint is not
// documented to be shown, and not checked. It changes nothing.
func (o *Operator) Inspect(ctx context.Context, plan rules.Release) error {
	r := Release{Plan: plan}
	s, err := o.service(ctx, r, false)
	if err != nil {
		return err
	}
	stages, err := s.stages(ctx, r)
	if err != nil {
		return err
	}
	named := append(slices.Clone(plan.Select), rules.Select{Tasks: []string{plan.Task}})
	if plan.Task == "" {
		named = plan.Select
	}
	for _, want := range named {
		if err := missing(stages, want); err != nil {
			return err
		}
	}
	return nil
}

// missing returns what of a selection the stages do not have. Without a stage its tasks
// may be in any.
func missing(stages []stage, want rules.Select) error {
	var tasks []task
	found := want.Stage == ""
	for _, s := range stages {
		if want.Stage != "" && s.name != want.Stage && s.also != want.Stage {
			continue
		}
		found = true
		tasks = append(tasks, s.tasks...)
	}
	switch {
	case !found && len(stages) > 0:
		return fmt.Errorf("the pipeline has no stage %q", want.Stage)
	case len(tasks) == 0:
		return ErrNoTasks
	}
	for _, name := range want.Tasks {
		if !slices.ContainsFunc(tasks, func(t task) bool { return t.called(name) }) {
			return fmt.Errorf("the pipeline has no task %q; it has [%s]", name, strings.ReplaceAll(quoted(tasks), ", ", " "))
		}
	}
	return nil
}
