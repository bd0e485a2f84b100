package release

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/rules"
)

// codeArtsPipeline is CodeArts Pipeline (specs/codearts-check.md 3.6) in one CodeArts
// project. It shows runs and takes actions by the id of a run. Several runs of a pipeline may
// go on at the same time.
type codeArtsPipeline struct {
	client  *huaweicloud.Client
	project string
	// poll says that it is asked whether an execution has ended.
	poll bool
}

const (
	// runsRead is how many runs are read, the newest ones.
	runsRead = 20
	// longestDescription is that of a run, in characters.
	longestDescription = 1024
)

// runBody is the body of a run. Without stages and jobs all are run; stages win over jobs.
type runBody struct {
	Description  string   `json:"description,omitempty"`
	ChooseJobs   []string `json:"choose_jobs,omitempty"`
	ChooseStages []string `json:"choose_stages,omitempty"`
}

// runsBody asks for the newest runs.
type runsBody struct {
	Offset  int    `json:"offset"`
	Limit   int    `json:"limit"`
	SortKey string `json:"sort_key"`
	SortDir string `json:"sort_dir"`
}

// look reads the run of r where it has one, else the newest runs of the pipeline; after a
// lost answer to a start also what those that may be ours are for.
func (s codeArtsPipeline) look(ctx context.Context, r Release) (snapshot, error) {
	if r.ExecutionID != "" {
		return s.lookAtRuns(ctx, r)
	}
	v, err := s.list(ctx, r.Plan.Pipeline)
	if err != nil || r.Intent == nil || r.Intent.Action != rules.ReleaseStart {
		return v, err
	}
	for _, candidate := range v.begunBy(*r.Intent) {
		run, err := s.show(ctx, r.Plan.Pipeline, string(candidate.ID))
		if err != nil {
			return v, err
		}
		i := slices.IndexFunc(v.records, func(e record) bool { return e.ID == candidate.ID })
		v.records[i].Purpose = run.purpose()
	}
	return v, nil
}

// lookAtRuns reads the run of r. One that the service refuses to show may be in the list.
func (s codeArtsPipeline) lookAtRuns(ctx context.Context, r Release) (snapshot, error) {
	v := snapshot{byExecution: true, listed: true}
	for _, id := range r.executions() {
		run, err := s.show(ctx, r.Plan.Pipeline, id)
		if err != nil {
			if notSent(err) && !retryable(err) && !permanent(err) {
				return s.list(ctx, r.Plan.Pipeline)
			}
			return v, err
		}
		v.records = append(v.records, run.record())
	}
	return v, nil
}

// list reads the newest runs. The pipeline is where the oldest of them stands that has not
// ended, or else the newest.
func (s codeArtsPipeline) list(ctx context.Context, pipeline string) (snapshot, error) {
	v := snapshot{byExecution: true, listed: true}
	var data answer
	err := s.client.Do(ctx, huaweicloud.Call{
		Operation: "list runs", Method: http.MethodPost, Safe: true, Poll: s.poll,
		Path: huaweicloud.Path("/v5/%s/api/pipelines/%s/pipeline-runs/list", s.project, pipeline),
		Body: runsBody{Limit: runsRead, SortKey: "start_time", SortDir: "desc"},
	}, &data)
	if err != nil {
		return v, err
	}
	if v.records, err = decodeRuns(data); err != nil {
		return v, fmt.Errorf("list runs: %w", err)
	}
	v.pipeline = pipelineOf(v.records)
	return v, nil
}

// pipelineOf is where a pipeline with these runs stands.
func pipelineOf(records []record) pipeline {
	newest, ok := snapshot{records: records}.newest()
	if !ok {
		return pipeline{Status: StatusInitial}
	}
	p := pipeline{Status: newest.Status, LastTriggerAt: newest.TriggerAt}
	active := slices.DeleteFunc(slices.Clone(records), func(e record) bool { return e.Status.Ended() })
	if len(active) > 0 {
		p.Status = slices.MinFunc(active, compareAge).Status
	}
	return p
}

// show reads one run.
func (s codeArtsPipeline) show(ctx context.Context, pipeline, id string) (codeRun, error) {
	var data answer
	err := s.client.Do(ctx, huaweicloud.Call{
		Operation: "show run", Method: http.MethodGet, Safe: true, Poll: s.poll,
		Path:  huaweicloud.Path("/v5/%s/api/pipelines/%s/pipeline-runs/detail", s.project, pipeline),
		Query: url.Values{"pipeline_run_id": {id}},
	}, &data)
	if err != nil {
		return codeRun{}, err
	}
	run, err := decodeRun(data)
	if err == nil && string(run.ID) != id {
		err = fmt.Errorf("read answer: it is of run %q, and run %q was asked for", run.ID, id)
	}
	if err != nil {
		return codeRun{}, fmt.Errorf("show run: %w", err)
	}
	return run, nil
}

// stages reads the stages of the run of r, or of the newest run of the pipeline.
func (s codeArtsPipeline) stages(ctx context.Context, r Release) ([]stage, error) {
	id := r.ExecutionID
	if id == "" {
		v, err := s.list(ctx, r.Plan.Pipeline)
		newest, ok := v.newest()
		if err != nil || !ok {
			return nil, err
		}
		id = string(newest.ID)
	}
	run, err := s.show(ctx, r.Plan.Pipeline, id)
	if err == nil && len(run.Stages) == 0 {
		// Without its stages nobody can tell where the run waits.
		err = errors.New("show run: read answer: the run has no stages")
	}
	return run.stages(), err
}

func (s codeArtsPipeline) act(ctx context.Context, r Release) (actionResponse, error) {
	pipeline := r.Plan.Pipeline
	job, step := "", ""
	if r.Intent != nil {
		job, step, _ = strings.Cut(r.Intent.CheckpointID, "/")
	}
	decision := func(word string) string {
		return huaweicloud.Path("/v5/%s/api/pipelines/%s/pipeline-runs/%s/jobs/%s/steps/%s/", s.project, pipeline, r.ExecutionID, job, step) + word
	}
	switch action := r.unanswered(); action {
	case rules.ReleaseStart:
		return s.start(ctx, r)
	case rules.ReleaseApprove:
		return s.change(ctx, "pass review", http.MethodPost, decision("pass"), StatusReleasing)
	case rules.ReleaseRefuse:
		return s.change(ctx, "refuse review", http.MethodPost, decision("refuse"), StatusFailed)
	case rules.ReleaseStop:
		return s.change(ctx, "stop run", http.MethodPost, huaweicloud.Path("/v5/%s/api/pipelines/%s/pipeline-runs/%s/stop", s.project, pipeline, r.ExecutionID), StatusStopping)
	case rules.ReleaseRetry:
		return s.change(ctx, "retry run", http.MethodPut, huaweicloud.Path("/v5/%s/api/pipelines/%s/pipeline-runs/%s/retry", s.project, pipeline, r.ExecutionID), StatusRestarting)
	default:
		return actionResponse{}, fmt.Errorf("CodeArts Pipeline has no %s", action)
	}
}

func (s codeArtsPipeline) start(ctx context.Context, r Release) (actionResponse, error) {
	body := runBody{Description: purpose(r)}
	for _, group := range r.Plan.Select {
		if len(group.Tasks) == 0 {
			body.ChooseStages = append(body.ChooseStages, group.Stage)
		}
		body.ChooseJobs = append(body.ChooseJobs, group.Tasks...)
	}
	var got struct {
		ID text `json:"pipeline_run_id"`
	}
	err := s.client.Do(ctx, huaweicloud.Call{
		Operation: "run pipeline", Method: http.MethodPost, Body: body,
		Path: huaweicloud.Path("/v5/%s/api/pipelines/%s/run", s.project, r.Plan.Pipeline),
	}, &got)
	return actionResponse{ID: got.ID}, err
}

// purpose is the description of the run that r starts, by which it can be found.
func purpose(r Release) string {
	commit := r.Event.HeadSHA
	text := fmt.Sprintf("Gatewright: release %s, run %s, commit %s", r.ID, r.RunID, commit[:min(len(commit), 7)])
	return strings.ToValidUTF8(text[:min(len(text), longestDescription)], "")
}

// change sends a request that changes a run, once and without a body. Only an answer that
// says so means that the service did it; then the run goes over into what shows says.
func (s codeArtsPipeline) change(ctx context.Context, operation, method, path string, shows Status) (actionResponse, error) {
	var data answer
	if err := s.client.Do(ctx, huaweicloud.Call{Operation: operation, Method: method, Path: path}, &data); err != nil {
		return actionResponse{}, err
	}
	if !decodeSuccess(data) {
		return actionResponse{}, fmt.Errorf("%s: the answer does not say that it was done", operation)
	}
	return actionResponse{Status: shows}, nil
}
