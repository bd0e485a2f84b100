package release

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gatewright/gatewright/internal/rules"
)

// ErrNoTasks reports that the service shows a pipeline without its tasks.
var ErrNoTasks = errors.New("the service shows the pipeline without its tasks")

// Inspect reads the pipeline that a plan names and returns nil when it has the stages
// and tasks that the plan names. Errors of the service are *huaweicloud.Error; ErrNoTasks
// says that the tasks could not be compared. Whether a task is a checkpoint is not
// documented to be shown, and not checked. It changes nothing.
func (o *Operator) Inspect(ctx context.Context, plan rules.Release) error {
	s, err := o.service(ctx)
	if err != nil {
		return err
	}
	data, err := s.details(ctx, plan.Pipeline)
	if err != nil {
		return err
	}
	stages, err := decodeStages(data)
	if err != nil {
		return fmt.Errorf("show pipeline: %w", err)
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
	var tasks []string
	found := want.Stage == ""
	for _, s := range stages {
		if want.Stage != "" && s.name != want.Stage {
			continue
		}
		found = true
		for _, t := range s.tasks {
			tasks = append(tasks, t.Name)
		}
	}
	switch {
	case !found && len(stages) > 0:
		return fmt.Errorf("the pipeline has no stage %q", want.Stage)
	case len(tasks) == 0:
		return ErrNoTasks
	}
	for _, name := range want.Tasks {
		if !slices.Contains(tasks, name) {
			return fmt.Errorf("the pipeline has no task %q; it has %q", name, tasks)
		}
	}
	return nil
}
