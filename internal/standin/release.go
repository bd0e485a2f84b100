package standin

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// releaseService is ServiceStage's new release management.
type releaseService struct {
	opts  Options
	spawn background

	mu        sync.Mutex
	pipelines []*releasePipeline
	nextID    int64
	nextPart  int64
}

// releasePipeline is a release task and what became of it.
type releasePipeline struct {
	spec      Pipeline
	createdAt time.Time
	releases  []*release // oldest first
	// idle is what details show before the first release.
	idle *release
	// failing is how often each task fails yet; -1: always.
	failing map[string]int
}

// releasesKept bounds what is remembered of one pipeline.
const releasesKept = 1000

func newReleaseService(opts Options, spawn background) *releaseService {
	s := &releaseService{opts: opts, spawn: spawn, nextID: opts.ExecutionIDFirst, nextPart: 1}
	for _, spec := range opts.Pipelines {
		setDefault(&spec.FailMode, failStop)
		p := &releasePipeline{spec: spec, createdAt: opts.Now(), failing: map[string]int{}}
		p.idle = s.newRelease(p)
		p.idle.tasks(func(t *taskState) {
			if p.failing[t.spec.Name] = t.spec.FailTimes; t.spec.Fail {
				p.failing[t.spec.Name] = -1
			}
		})
		s.pipelines = append(s.pipelines, p)
	}
	return s
}

// newRelease makes a release whose tasks all stand at the start.
func (s *releaseService) newRelease(p *releasePipeline) *release {
	r := &release{pipeline: p, status: statusInitialized}
	for _, stage := range p.spec.Stages {
		state := &stageState{id: s.part(), spec: stage}
		for _, group := range stage.groups() {
			var tasks []*taskState
			for _, task := range group {
				tasks = append(tasks, &taskState{id: s.part(), spec: task, status: statusInitialized})
			}
			state.groups = append(state.groups, tasks)
		}
		r.stages = append(r.stages, state)
	}
	return r
}

func (s *releaseService) part() int64 {
	s.nextPart++
	return s.nextPart - 1
}

// current returns the newest release, or the idle one.
func (p *releasePipeline) current() *release {
	if len(p.releases) == 0 {
		return p.idle
	}
	return p.releases[len(p.releases)-1]
}

// shown returns the releases that the service shows already.
func (s *releaseService) shown(p *releasePipeline) []*release {
	n := len(p.releases)
	if n > 0 && s.opts.Now().Before(p.releases[n-1].at.Add(s.opts.Release.RegisterDelay)) {
		n--
	}
	return p.releases[:n]
}

// newestShown returns the newest release that is shown, or the idle one.
func (s *releaseService) newestShown(p *releasePipeline) *release {
	if shown := s.shown(p); len(shown) > 0 {
		return shown[len(shown)-1]
	}
	return p.idle
}

// find returns a pipeline of the region's project. The caller holds mu.
func (s *releaseService) find(c *call) (*releasePipeline, bool) {
	i := slices.IndexFunc(s.pipelines, func(p *releasePipeline) bool { return p.spec.ID == c.pipeline() })
	if i < 0 || c.project() != s.opts.RegionProject.ID {
		return nil, false
	}
	return s.pipelines[i], true
}

// errNoPipeline refuses a pipeline, or a project, that does not exist or is
// somebody else's (specs/servicestage-release.md 5).
func (s *releaseService) errNoPipeline() answer {
	if s.opts.Release.NotFoundIs401 {
		return serviceError(http.StatusUnauthorized, "SVCSTG.00100401", "The requested resource does not exist.")
	}
	return serviceError(http.StatusNotFound, "SVCSTG.00100433", "application release not found")
}

// badRequest refuses a request; detail goes to the journal only.
func (s *releaseService) badRequest(c *call, detail string) answer {
	c.entry.Detail = detail
	return serviceError(http.StatusBadRequest, "SVCSTG.00100400", "parameter invalid")
}

// executionID is an execution's id in the type that the settings want.
func (s *releaseService) executionID(id int64) any {
	if s.opts.Release.TextIDs {
		return strconv.FormatInt(id, 10)
	}
	return id
}

// pipelineItem is one entry of the list (specs/servicestage-release.md 1.2).
type pipelineItem struct {
	ID                  string `json:"id"`
	Name                string `json:"name"`
	Description         string `json:"description"`
	CreateTime          int64  `json:"create_time"`
	UpdateTime          int64  `json:"update_time"`
	Version             int    `json:"version"`
	ModelVersion        int    `json:"model_version"`
	ConfigMode          string `json:"config_mode"`
	Status              status `json:"status"`
	Creator             string `json:"creator"`
	LastTriggerAt       *int64 `json:"last_trigger_at"`
	EnterpriseProjectID string `json:"enterprise_project_id"`
}

// list is GET /v3/{project_id}/pipeline/pipelines.
func (s *releaseService) list(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.project() != s.opts.RegionProject.ID {
		return s.errNoPipeline()
	}
	items := []pipelineItem{}
	for _, p := range s.pipelines {
		item := pipelineItem{
			ID: p.spec.ID, Name: p.spec.Name, Description: p.spec.Description,
			CreateTime: p.createdAt.UnixMilli(), UpdateTime: p.createdAt.UnixMilli(), Version: 1, ModelVersion: 2,
			ConfigMode: "ui", Status: s.newestShown(p).status, Creator: s.creator(), EnterpriseProjectID: "0",
		}
		if len(s.shown(p)) > 0 {
			item.LastTriggerAt = new(s.newestShown(p).at.UnixMilli())
		}
		items = append(items, item)
	}
	if s.opts.Release.ListObject {
		return ok(map[string]any{"pipelines": items})
	}
	return ok(items)
}

func (s *releaseService) creator() string {
	if s.opts.User != "" {
		return s.opts.User
	}
	return "standin"
}

// pipelineDetails is specs/servicestage-release.md 1.3; it has no status of its
// own. The stages are those of the newest release that is shown.
type pipelineDetails struct {
	ID                  string `json:"id"`
	Name                string `json:"name"`
	Description         string `json:"description"`
	ModelVersion        int    `json:"model_version"`
	ConfigMode          string `json:"config_mode"`
	FailMode            string `json:"fail_mode"`
	EnterpriseProjectID string `json:"enterprise_project_id"`
	PipelineDeclaration any    `json:"pipeline_declaration"`
}

type declaration struct {
	Sources []struct{}    `json:"sources"`
	Stages  []stageDetail `json:"stages"`
}

type stageDetail struct {
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	DisplayName string       `json:"display_name"`
	Type        string       `json:"type"`
	PipelineID  string       `json:"pipeline_id"`
	OrderIndex  int          `json:"order_index"`
	Status      *status      `json:"status,omitempty"`
	Tasks       []taskDetail `json:"tasks"`
}

type taskDetail struct {
	ID           int64    `json:"id"`
	Name         string   `json:"name"`
	DisplayName  string   `json:"display_name"`
	Type         string   `json:"type"`
	Input        struct{} `json:"input"`
	Output       struct{} `json:"output"`
	Status       *status  `json:"status,omitempty"`
	OrderIndex   int      `json:"order_index"`
	Skipped      bool     `json:"skipped"`
	GroupIndex   string   `json:"group_index"`
	DelayTime    int      `json:"delay_time"`
	ErrorDetails string   `json:"error_details"`
}

// details is GET /v3/{project_id}/pipeline/pipelines/{pipeline_id}.
func (s *releaseService) details(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, found := s.find(c)
	if !found {
		return s.errNoPipeline()
	}
	declared := declaration{Sources: []struct{}{}, Stages: []stageDetail{}}
	for i, stage := range s.newestShown(p).stages {
		declared.Stages = append(declared.Stages, s.stageDetail(p, stage, i))
	}
	body := pipelineDetails{
		ID: p.spec.ID, Name: p.spec.Name, Description: p.spec.Description, ModelVersion: 2, ConfigMode: "ui",
		FailMode: p.spec.FailMode, EnterpriseProjectID: "0", PipelineDeclaration: declared,
	}
	if s.opts.Release.DeclarationList {
		body.PipelineDeclaration = []declaration{declared}
	}
	return ok(body)
}

func (s *releaseService) stageDetail(p *releasePipeline, stage *stageState, index int) stageDetail {
	detail := stageDetail{
		ID: strconv.FormatInt(stage.id, 10), Name: stage.spec.Name, DisplayName: stage.spec.DisplayName, Type: "serial",
		PipelineID: p.spec.ID, OrderIndex: index, Status: s.statusField(stage.status()), Tasks: []taskDetail{},
	}
	setDefault(&detail.DisplayName, detail.Name)
	for g, group := range stage.groups {
		for i, t := range group {
			task := taskDetail{
				ID: t.id, Name: t.spec.Name, DisplayName: t.spec.DisplayName, Type: t.spec.Kind, Status: s.statusField(t.status),
				OrderIndex: i, Skipped: t.status == statusSkipped, GroupIndex: strconv.Itoa(g), ErrorDetails: t.problem,
			}
			setDefault(&task.DisplayName, task.Name)
			setDefault(&task.Type, kindCommand)
			detail.Tasks = append(detail.Tasks, task)
		}
	}
	return detail
}

// statusField is a status as details show it; nil when the settings hide it.
func (s *releaseService) statusField(of status) *status {
	if s.opts.Release.HideTaskStatus {
		return nil
	}
	return &of
}

// releaseRecords is specs/servicestage-release.md 1.4.
type releaseRecords struct {
	Count   int             `json:"count"`
	Records []releaseRecord `json:"records"`
}

type releaseRecord struct {
	Trigger     any    `json:"trigger"`
	Version     any    `json:"version"`
	ID          any    `json:"id"`
	PipelineID  string `json:"pipeline_id"`
	TriggerType int    `json:"trigger_type"`
	TriggerAt   int64  `json:"trigger_at"`
	Status      status `json:"status"`
}

// records is GET /v3/{project_id}/pipeline/pipelines/{id}/records: the releases,
// newest first.
func (s *releaseService) records(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, found := s.find(c)
	if !found {
		return s.errNoPipeline()
	}
	shown := s.shown(p)
	body := releaseRecords{Count: len(shown), Records: []releaseRecord{}}
	for _, r := range slices.Backward(shown) {
		record := releaseRecord{
			Trigger: r.trigger, Version: 1, ID: s.executionID(r.id), PipelineID: p.spec.ID,
			TriggerAt: r.at.UnixMilli(), Status: r.status,
		}
		if s.opts.Release.DeclaredRecords {
			record.Trigger, record.Version = 0, []map[string]int{{"version": 1}}
		}
		body.Records = append(body.Records, record)
	}
	return ok(body)
}
