package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/rules"
)

// service makes the calls of the release management chapter
// (specs/servicestage-release.md 1) in one IAM region project.
type service struct {
	client  *huaweicloud.Client
	project string
	// poll says that it is asked whether an execution has ended.
	poll bool
}

// pipeline is one entry of the list (1.2). Its status is that of its last
// execution.
type pipeline struct {
	ID            text   `json:"id"`
	Status        Status `json:"status"`
	LastTriggerAt millis `json:"last_trigger_at"`
}

// record is one execution of a pipeline (1.4). All but the id may be missing.
type record struct {
	ID          text   `json:"id"`
	Status      Status `json:"status"`
	TriggerAt   millis `json:"trigger_at"`
	TriggerAtV2 millis `json:"triggerAt"`
}

// triggeredAt is the time at which the execution was started, in milliseconds
// since 1970; 0 when the service does not say.
func (r record) triggeredAt() int64 { return int64(max(r.TriggerAt, r.TriggerAtV2)) }

// actionResponse is what an action answers (1.1). ID is the execution's.
type actionResponse struct {
	ID     text   `json:"id"`
	Status Status `json:"status"`
}

// startBody is the body of `start`; without selected tasks all are run.
type startBody struct {
	SelectedTasks []selectedTasks `json:"selected_tasks,omitempty"`
}

type selectedTasks struct {
	StageName string   `json:"stage_name"`
	Tasks     []string `json:"tasks"`
}

// approvalBody is the body of `approval`; its approval_type is agree or refuse.
type approvalBody struct {
	TaskName     string `json:"task_name"`
	ApprovalType string `json:"approval_type"`
	Message      string `json:"message,omitempty"`
}

// list returns the project's pipelines.
func (s service) list(ctx context.Context) ([]pipeline, error) {
	data, err := s.get(ctx, "list pipelines", huaweicloud.Path("/v3/%s/pipeline/pipelines", s.project))
	if err != nil {
		return nil, err
	}
	pipelines, err := decodeList[pipeline](data, "pipelines")
	if err != nil {
		return nil, fmt.Errorf("list pipelines: %w", err)
	}
	return pipelines, nil
}

// records returns the executions of a pipeline, in the service's order. One
// without an id is left out: it cannot be identified.
func (s service) records(ctx context.Context, id string) ([]record, error) {
	data, err := s.get(ctx, "list pipeline records",
		huaweicloud.Path("/v3/%s/pipeline/pipelines/%s/records", s.project, id))
	if err != nil {
		return nil, err
	}
	records, err := decodeList[record](data, "records")
	if err != nil {
		return nil, fmt.Errorf("list pipeline records: %w", err)
	}
	return slices.DeleteFunc(records, func(r record) bool { return r.ID == "" }), nil
}

// tasks returns the tasks of a pipeline with the status that they have in its
// last execution; StatusNone where the details carry none.
func (s service) tasks(ctx context.Context, id string) ([]task, error) {
	data, err := s.details(ctx, id)
	if err != nil {
		return nil, err
	}
	tasks, err := decodeTasks(data)
	if err != nil {
		return nil, fmt.Errorf("show pipeline: %w", err)
	}
	return tasks, nil
}

func (s service) details(ctx context.Context, id string) (json.RawMessage, error) {
	return s.get(ctx, "show pipeline", huaweicloud.Path("/v3/%s/pipeline/pipelines/%s", s.project, id))
}

// start starts the pipeline: all tasks, or the selected ones. Like every action
// it is sent once: the client repeats none after a lost answer.
func (s service) start(ctx context.Context, id string, selected []rules.Select) (actionResponse, error) {
	var body startBody
	for _, group := range selected {
		body.SelectedTasks = append(body.SelectedTasks, selectedTasks{StageName: group.Stage, Tasks: group.Tasks})
	}
	return s.act(ctx, "start pipeline", id, "start", body)
}

// decide approves or refuses the checkpoint called task.
func (s service) decide(ctx context.Context, id, task string, decision rules.ReleaseAction, message string) (actionResponse, error) {
	approvalType := "agree"
	if decision == rules.ReleaseRefuse {
		approvalType = "refuse"
	}
	return s.act(ctx, "decide checkpoint", id, "approval", approvalBody{TaskName: task, ApprovalType: approvalType, Message: message})
}

// operate takes an action on the newest execution of the pipeline: stop, retry, continue or
// rollback. No parameter of these is documented.
func (s service) operate(ctx context.Context, id string, action rules.ReleaseAction) (actionResponse, error) {
	return s.act(ctx, string(action)+" pipeline", id, string(action), struct{}{})
}

func (s service) act(ctx context.Context, operation, id, action string, body any) (actionResponse, error) {
	var got actionResponse
	err := s.client.Do(ctx, huaweicloud.Call{
		Operation: operation,
		Method:    http.MethodPost,
		Path:      huaweicloud.Path("/v3/%s/pipeline/pipelines/%s/action", s.project, id),
		Query:     url.Values{"action_id": {action}},
		Body:      body,
	}, &got)
	return got, err
}

func (s service) get(ctx context.Context, operation, path string) (json.RawMessage, error) {
	var data json.RawMessage
	err := s.client.Do(ctx, huaweicloud.Call{Operation: operation, Method: http.MethodGet, Path: path, Safe: true, Poll: s.poll}, &data)
	return data, err
}

// notSent reports whether err proves that the service did not act.
func notSent(err error) bool {
	var e *huaweicloud.Error
	return errors.As(err, &e) && e.NotSent()
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
	return errors.As(err, &e) && (e.NotFound() || e.Status == http.StatusForbidden || e.Status == http.StatusNotFound)
}
