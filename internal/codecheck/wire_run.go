package codecheck

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/gatewright/gatewright/internal/huaweicloud"
)

// runBody is the body of RunTaskV2 (1.5). It is always there, at least as {}: the service
// refuses a missing one. All but ref are of the 2023 edition and deprecated since.
type runBody struct {
	Ref       Ref    `json:"ref,omitempty"`
	GitURL    string `json:"git_url,omitempty"`
	GitBranch string `json:"git_branch,omitempty"`
	Login
}

// run starts an execution and gives its id (1.5).
func (a api) run(ctx context.Context, task string, body runBody) (string, error) {
	var response struct {
		ExecID text `json:"exec_id"`
	}
	err := a.client.Do(ctx, huaweicloud.Call{
		Operation: "run task",
		Method:    http.MethodPost,
		Path:      huaweicloud.Path("/v2/tasks/%s/run", task),
		Body:      body,
		Secrets:   []string{body.Token},
	}, &response)
	if err == nil && response.ExecID == "" {
		err = fmt.Errorf("run task: %w", errNoID)
	}
	return string(response.ExecID), err
}

// stop ends the running execution of a task (1.6), whichever that is: so it is not
// sent again after a lost answer, without a look at what runs by then.
func (a api) stop(ctx context.Context, task string) error {
	return a.client.Do(ctx, huaweicloud.Call{
		Operation: "stop task", Method: http.MethodPost, Path: huaweicloud.Path("/v2/tasks/%s/stop", task),
		Body: struct{}{},
	}, nil)
}

// The values of task_status (1.8); null is an execution that nobody knows yet.
const (
	checking  = 0
	scanError = 1
	scanDone  = 2
	stopped   = 3
)

// progress is the task_status of one execution, or of the task's latest when
// job is empty (1.8).
func (a api) progress(ctx context.Context, task, job string) (number, error) {
	var response struct {
		Status number `json:"task_status"`
	}
	err := a.read(ctx, readProgress, huaweicloud.Path("/v2/tasks/%s/progress", task), jobQuery(job), &response)
	return response.Status, err
}

// latestJob is the id of a task's latest execution (1.12, last-jobs); empty when it is not
// told.
func (a api) latestJob(ctx context.Context, task string) (string, error) {
	var response struct {
		Result struct {
			Last text `json:"last_job_id"`
		} `json:"result"`
	}
	err := a.read(ctx, "read last jobs", huaweicloud.Path("/v4/tasks/%s/last-jobs", task), nil, &response)
	return string(response.Result.Last), err
}

// jobQuery asks for one execution; none when job is empty.
func jobQuery(job string) url.Values {
	if job == "" {
		return nil
	}
	return url.Values{"job_id": {job}}
}
