package release

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/gatewright/gatewright/internal/huaweicloud"
)

// service is one of the services that have pipelines, as a step of a release uses it. What
// distinguishes them stands in their files and in what they return: an Operator does not ask
// which one it is.
type service interface {
	// look reads of the pipeline of r what its next step needs to know.
	look(ctx context.Context, r Release) (snapshot, error)
	// stages reads the stages and tasks of the execution of r, or of the last one when r has
	// none. No stages are not an error.
	stages(ctx context.Context, r Release) ([]stage, error)
	// act sends the one request that r announces: its operation, or else its intent.
	act(ctx context.Context, r Release) (actionResponse, error)
}

// service is the one that has the pipeline of r. poll says that it is asked whether an
// execution has ended.
func (o *Operator) service(ctx context.Context, r Release, poll bool) (service, error) {
	return o.services[r.Plan.Target.OrDefault()](ctx, r, poll)
}

// tasksOf reads the tasks of all stages, in their order.
func tasksOf(ctx context.Context, s service, r Release) ([]task, error) {
	stages, err := s.stages(ctx, r)
	var tasks []task
	for _, stage := range stages {
		tasks = append(tasks, stage.tasks...)
	}
	return tasks, err
}

// stage is one stage of a pipeline with its tasks.
type stage struct {
	name string
	// also is another name of it; may be empty.
	also  string
	tasks []task
}

// task is one task of a pipeline, as its details show it.
type task struct {
	Name string
	// Also are further names by which a rule can call it.
	Also []string
	// ID is what the service wants in a decision about it; empty where that is the name.
	ID     string
	Status Status
	// Error is the service's text about a failed task, shortened; may be empty.
	Error string
}

// record is one execution of a pipeline (1.4). All but the id may be missing.
type record struct {
	ID          text   `json:"id"`
	Status      Status `json:"status"`
	TriggerAt   millis `json:"trigger_at"`
	TriggerAtV2 millis `json:"triggerAt"`

	// The rest is of a service that has it.

	// Number counts the executions of the pipeline; 0: not told.
	Number int64 `json:"-"`
	// Word is a status that is not known, as the service wrote it.
	Word string `json:"-"`
	// Purpose is the description that a start gave the execution; nil: not told.
	Purpose *string `json:"-"`
}

// triggeredAt is the time at which the execution was started, in milliseconds
// since 1970; 0 when the service does not say.
func (r record) triggeredAt() int64 { return int64(max(r.TriggerAt, r.TriggerAtV2)) }

// actionResponse is what an action answers (1.1). ID is the execution's.
type actionResponse struct {
	ID     text   `json:"id"`
	Status Status `json:"status"`
}

// called reports whether a rule or a person may mean the task by a name.
func (t task) called(name string) bool {
	return name != "" && (t.Name == name || slices.Contains(t.Also, name))
}

// notSent reports whether err proves that the service did not act.
func notSent(err error) bool {
	var e *huaweicloud.Error
	return errors.As(err, &e) && e.NotSent()
}

// queued reports whether the service will do what was asked once it has done other things.
func queued(err error) bool {
	var e *huaweicloud.Error
	return errors.As(err, &e) && e.Queued()
}

// retryable reports whether the same request may succeed later.
func retryable(err error) bool {
	var e interface{ Retryable() bool }
	return errors.As(err, &e) && e.Retryable()
}

// permanent reports whether a refusal has nothing to do with the pipeline's
// state, so that reading that again cannot help: no such pipeline, no rights.
func permanent(err error) bool {
	var e *huaweicloud.Error
	return errors.As(err, &e) && (e.NotFound() || e.Forbidden() || e.Status == http.StatusNotFound)
}
