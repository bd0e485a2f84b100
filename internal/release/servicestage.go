package release

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/rules"
)

// serviceStage is the release management of ServiceStage (specs/servicestage-release.md 1)
// in one IAM region project. It shows executions and takes actions for a pipeline: an action
// carries no execution id.
type serviceStage struct {
	client  *huaweicloud.Client
	project string
	// poll says that it is asked whether an execution has ended.
	poll bool
}

// look reads the records and then the list, so that an execution that starts in between
// shows in the pipeline's status.
func (s serviceStage) look(ctx context.Context, r Release) (snapshot, error) {
	records, err := s.records(ctx, r.Plan.Pipeline)
	if err != nil {
		return snapshot{}, err
	}
	pipelines, err := s.list(ctx)
	if err != nil {
		return snapshot{}, err
	}
	v := snapshot{records: records, pipelines: len(pipelines)}
	for _, p := range pipelines {
		if string(p.ID) == r.Plan.Pipeline {
			v.listed, v.pipeline = true, p
		}
	}
	return v, nil
}

// stages reads them with the status that they have in the pipeline's last execution;
// StatusNone where the details carry none.
func (s serviceStage) stages(ctx context.Context, r Release) ([]stage, error) {
	data, err := s.get(ctx, "show pipeline", huaweicloud.Path("/v3/%s/pipeline/pipelines/%s", s.project, r.Plan.Pipeline))
	if err != nil {
		return nil, err
	}
	stages, err := decodeStages(data)
	if err != nil {
		return nil, fmt.Errorf("show pipeline: %w", err)
	}
	return stages, nil
}

func (s serviceStage) act(ctx context.Context, r Release) (actionResponse, error) {
	switch action := r.unanswered(); action {
	case rules.ReleaseStart:
		return s.start(ctx, r.Plan.Pipeline, r.Plan.Select)
	case rules.ReleaseApprove, rules.ReleaseRefuse:
		return s.decide(ctx, r.Plan.Pipeline, r.Plan.Task, action, message(r))
	default:
		return s.operate(ctx, r.Plan.Pipeline, action)
	}
}

// pipeline is one entry of the list (1.2). Its status is that of its last
// execution.
type pipeline struct {
	ID            text   `json:"id"`
	Status        Status `json:"status"`
	LastTriggerAt millis `json:"last_trigger_at"`
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
func (s serviceStage) list(ctx context.Context) ([]pipeline, error) {
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
func (s serviceStage) records(ctx context.Context, id string) ([]record, error) {
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

// start starts the pipeline: all tasks, or the selected ones. Like every action
// it is sent once: the client repeats none after a lost answer.
func (s serviceStage) start(ctx context.Context, id string, selected []rules.Select) (actionResponse, error) {
	var body startBody
	for _, group := range selected {
		body.SelectedTasks = append(body.SelectedTasks, selectedTasks{StageName: group.Stage, Tasks: group.Tasks})
	}
	return s.post(ctx, "start pipeline", id, "start", body)
}

// decide approves or refuses the checkpoint called task.
func (s serviceStage) decide(ctx context.Context, id, task string, decision rules.ReleaseAction, message string) (actionResponse, error) {
	approvalType := "agree"
	if decision == rules.ReleaseRefuse {
		approvalType = "refuse"
	}
	return s.post(ctx, "decide checkpoint", id, "approval", approvalBody{TaskName: task, ApprovalType: approvalType, Message: message})
}

// operate takes an action on the newest execution of the pipeline: stop, retry, continue or
// rollback. No parameter of these is documented.
func (s serviceStage) operate(ctx context.Context, id string, action rules.ReleaseAction) (actionResponse, error) {
	return s.post(ctx, string(action)+" pipeline", id, string(action), struct{}{})
}

func (s serviceStage) post(ctx context.Context, operation, id, action string, body any) (actionResponse, error) {
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

func (s serviceStage) get(ctx context.Context, operation, path string) (json.RawMessage, error) {
	var data json.RawMessage
	err := s.client.Do(ctx, huaweicloud.Call{Operation: operation, Method: http.MethodGet, Path: path, Safe: true, Poll: s.poll}, &data)
	return data, err
}
