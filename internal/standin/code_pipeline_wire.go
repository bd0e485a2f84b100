package standin

import (
	"strconv"
	"strings"
	"time"
)

// reviewTask is the task of a step that is a manual review.
const reviewTask = "official_devcloud_checkpoint"

// codePipelineItem is an entry of the list of pipelines.
type codePipelineItem struct {
	PipelineID      string       `json:"pipeline_id"`
	Name            string       `json:"name"`
	ProjectID       string       `json:"project_id"`
	ProjectName     string       `json:"project_name"`
	ComponentID     *string      `json:"component_id"`
	IsPublish       bool         `json:"is_publish"`
	IsCollect       bool         `json:"is_collect"`
	ManifestVersion string       `json:"manifest_version"`
	CreateTime      int64        `json:"create_time"`
	LatestRun       *codeRunItem `json:"latest_run"`
	ConvertSign     int          `json:"convert_sign"`
}

// codeRunItem is an entry of the list of runs.
type codeRunItem struct {
	PipelineID      string            `json:"pipeline_id"`
	PipelineRunID   string            `json:"pipeline_run_id"`
	ExecutorID      string            `json:"executor_id"`
	ExecutorName    string            `json:"executor_name"`
	StageStatusList []codeStageStatus `json:"stage_status_list"`
	Status          codeState         `json:"status"`
	RunNumber       int               `json:"run_number"`
	TriggerType     string            `json:"trigger_type"`
	BuildParams     codeBuildParams   `json:"build_params"`
	StartTime       *int64            `json:"start_time"`
	EndTime         *int64            `json:"end_time"`
	DetailURL       string            `json:"detail_url"`
	ModifyURL       string            `json:"modify_url"`
}

type codeStageStatus struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Sequence  int       `json:"sequence"`
	Status    codeState `json:"status"`
	StartTime *string   `json:"start_time"`
	EndTime   *string   `json:"end_time"`
}

type codeBuildParams struct {
	Action       *string `json:"action"`
	BuildType    string  `json:"build_type"`
	CommitID     *string `json:"commit_id"`
	EventType    string  `json:"event_type"`
	MergeID      *string `json:"merge_id"`
	Message      *string `json:"message"`
	SourceBranch *string `json:"source_branch"`
	TargetBranch string  `json:"target_branch"`
	Tag          string  `json:"tag"`
	CodehubID    string  `json:"codehub_id"`
	GitURL       string  `json:"git_url"`
}

// codeRunDetail is the answer of …/pipeline-runs/detail.
type codeRunDetail struct {
	ID                string            `json:"id"`
	PipelineID        string            `json:"pipeline_id"`
	ManifestVersion   string            `json:"manifest_version"`
	Name              string            `json:"name"`
	Description       string            `json:"description"`
	IsPublish         bool              `json:"is_publish"`
	ExecutorID        string            `json:"executor_id"`
	ExecutorName      string            `json:"executor_name"`
	Status            codeState         `json:"status"`
	TriggerType       string            `json:"trigger_type"`
	RunNumber         int               `json:"run_number"`
	PauseTime         *int64            `json:"pause_time"`
	StartTime         *int64            `json:"start_time"`
	EndTime           *int64            `json:"end_time"`
	Stages            []codeStageDetail `json:"stages"`
	DomainID          string            `json:"domain_id"`
	ProjectID         string            `json:"project_id"`
	Region            string            `json:"region"`
	ComponentID       *string           `json:"component_id"`
	Language          string            `json:"language"`
	Sources           []codeRunSource   `json:"sources"`
	Artifacts         []struct{}        `json:"artifacts"`
	SubjectID         string            `json:"subject_id"`
	GroupID           *string           `json:"group_id"`
	GroupName         *string           `json:"group_name"`
	DetailURL         string            `json:"detail_url"`
	CurrentSystemTime int64             `json:"current_system_time"`
}

type codeRunSource struct {
	Type   string     `json:"type"`
	Params codeSource `json:"params"`
}

type codeStageDetail struct {
	ID         string          `json:"id"`
	Category   *string         `json:"category"`
	Name       string          `json:"name"`
	Identifier string          `json:"identifier"`
	RunAlways  bool            `json:"run_always"`
	Parallel   *string         `json:"parallel"`
	IsSelect   bool            `json:"is_select"`
	Sequence   int             `json:"sequence"`
	DependsOn  []string        `json:"depends_on"`
	Condition  *string         `json:"condition"`
	Status     codeState       `json:"status"`
	StartTime  *int64          `json:"start_time"`
	EndTime    *int64          `json:"end_time"`
	PauseTime  *int64          `json:"pause_time"`
	Pre        []struct{}      `json:"pre"`
	Post       []struct{}      `json:"post"`
	Jobs       []codeJobDetail `json:"jobs"`
}

type codeJobDetail struct {
	ID             string           `json:"id"`
	Category       *string          `json:"category"`
	Sequence       int              `json:"sequence"`
	Async          *string          `json:"async"`
	Name           string           `json:"name"`
	Identifier     string           `json:"identifier"`
	DependsOn      []string         `json:"depends_on"`
	Condition      *string          `json:"condition"`
	Resource       *string          `json:"resource"`
	IsSelect       bool             `json:"is_select"`
	Timeout        *string          `json:"timeout"`
	LastDispatchID *string          `json:"last_dispatch_id"`
	Status         codeState        `json:"status"`
	Message        *string          `json:"message"`
	StartTime      *int64           `json:"start_time"`
	EndTime        *int64           `json:"end_time"`
	ExecID         *string          `json:"exec_id"`
	Steps          []codeStepDetail `json:"steps"`
}

type codeStepDetail struct {
	ID                  string          `json:"id"`
	Name                string          `json:"name"`
	Task                string          `json:"task"`
	BusinessType        string          `json:"business_type"`
	Inputs              []codeStepInput `json:"inputs"`
	Sequence            int             `json:"sequence"`
	OfficialTaskVersion string          `json:"official_task_version"`
	Identifier          string          `json:"identifier"`
	MultiStepEditable   int             `json:"multi_step_editable"`
	EndpointIDs         []string        `json:"endpoint_ids"`
	LastDispatchID      *string         `json:"last_dispatch_id"`
	Status              codeState       `json:"status"`
	Message             *string         `json:"message"`
	StartTime           *int64          `json:"start_time"`
	EndTime             *int64          `json:"end_time"`
	DailyBuildNumber    *string         `json:"daily_build_number"`
}

type codeStepInput struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

// shown is the state of a stage, a job or a run, as the switch wants a waiting review shown.
func (s *codePipelineService) shown(state codeState, waits bool) codeState {
	if waits && state == codeRunning && s.opts.ReviewState != "running" {
		return codeSuspended
	}
	return state
}

func (s *codePipelineService) runItem(p *codePipelineState, r *codeRun) codeRunItem {
	item := codeRunItem{
		PipelineID: p.spec.ID, PipelineRunID: r.id, ExecutorID: stableID("user", r.executor), ExecutorName: r.executor,
		Status: s.shown(r.state, r.waits()), RunNumber: r.number, TriggerType: "Manual", BuildParams: r.source.buildParams(),
		StartTime: milliseconds(r.from), EndTime: milliseconds(r.to), StageStatusList: []codeStageStatus{},
	}
	for i, stage := range r.stages {
		item.StageStatusList = append(item.StageStatusList, codeStageStatus{
			ID: stage.id, Name: stage.spec.Name, Sequence: i, Status: s.shown(stage.state, stage.waits()),
			StartTime: millisecondsText(stage.from), EndTime: millisecondsText(stage.to),
		})
	}
	return item
}

func (c codeSource) buildParams() codeBuildParams {
	b := c.BuildParams
	setDefault(&b.BuildType, "branch")
	setDefault(&b.EventType, "Manual")
	setDefault(&b.TargetBranch, c.DefaultBranch)
	return codeBuildParams{BuildType: b.BuildType, EventType: b.EventType, TargetBranch: b.TargetBranch, Tag: b.Tag,
		CodehubID: c.CodehubID, GitURL: c.GitURL}
}

func (s *codePipelineService) runDetail(p *codePipelineState, r *codeRun) codeRunDetail {
	detail := codeRunDetail{
		ID: r.id, PipelineID: p.spec.ID, ManifestVersion: "3.0", Name: p.spec.Name, Description: r.description,
		ExecutorID: stableID("user", r.executor), ExecutorName: r.executor, Status: s.shown(r.state, r.waits()), TriggerType: "Manual",
		RunNumber: r.number, StartTime: milliseconds(r.from), EndTime: milliseconds(r.to), Stages: []codeStageDetail{},
		DomainID: stableID("domain", s.opts.Domain), ProjectID: p.spec.ProjectID, Region: s.opts.RegionProject.Name, Language: "zh-cn",
		Sources: []codeRunSource{{Type: "code", Params: r.source}}, Artifacts: []struct{}{}, SubjectID: p.spec.ID,
		CurrentSystemTime: s.opts.Now().UnixMilli(),
	}
	for i, stage := range r.stages {
		shown := codeStageDetail{
			ID: stage.id, Name: stage.spec.Name, Identifier: stage.spec.Name, IsSelect: stage.state != codeUnselected, Sequence: i,
			DependsOn: []string{}, Status: s.shown(stage.state, stage.waits()), StartTime: milliseconds(stage.from), EndTime: milliseconds(stage.to),
			Pre: []struct{}{}, Post: []struct{}{}, Jobs: []codeJobDetail{},
		}
		for n, job := range stage.jobs {
			shown.Jobs = append(shown.Jobs, s.jobDetail(job, n))
		}
		detail.Stages = append(detail.Stages, shown)
	}
	return detail
}

func (s *codePipelineService) jobDetail(job *codeJobRun, sequence int) codeJobDetail {
	shown := codeJobDetail{
		ID: job.id, Sequence: sequence, Name: job.spec.Name, Identifier: job.spec.Name, DependsOn: []string{},
		IsSelect: job.state != codeUnselected, Status: s.shown(job.state, job.waits()), Message: reason(job.codePart),
		StartTime: milliseconds(job.from), EndTime: milliseconds(job.to), Steps: []codeStepDetail{},
	}
	for i, step := range job.steps {
		detail := codeStepDetail{
			ID: step.id, Name: step.spec.Name, Task: "official_shell_plugin", BusinessType: "Normal", Inputs: []codeStepInput{}, Sequence: i,
			Identifier: step.spec.Name, EndpointIDs: []string{}, Status: step.state, Message: reason(step.codePart),
			StartTime: milliseconds(step.from), EndTime: milliseconds(step.to),
		}
		if step.spec.Review {
			detail.Task = reviewTask
			detail.Inputs = []codeStepInput{{"audit_source", "members"}, {"check_strategy", "all"}, {"timeout_strategy", "reject"}, {"timeout", 300}, {"comment", ""}}
			if s.opts.ReviewState == "suspend_step" && step.open() {
				detail.Status = codeSuspended
			}
		}
		shown.Steps = append(shown.Steps, detail)
	}
	return shown
}

func reason(p codePart) *string {
	if p.reason == "" {
		return nil
	}
	return &p.reason
}

// milliseconds is nil for what has not happened yet.
func milliseconds(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	return new(t.UnixMilli())
}

func millisecondsText(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return new(strconv.FormatInt(t.UnixMilli(), 10))
}

// Reviews are the names of the steps that wait for a manual review, in order.
func (p CodePipeline) Reviews() []string {
	var names []string
	for _, stage := range p.Stages {
		for _, job := range stage.Jobs {
			for _, step := range job.Steps {
				if step.Review {
					names = append(names, strings.Join([]string{stage.Name, job.Name, step.Name}, "/"))
				}
			}
		}
	}
	return names
}
