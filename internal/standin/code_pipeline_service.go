package standin

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// codePipelineService is CodeArts Pipeline, as far as a release by it needs
// (specs/codearts-check.md 3.6, specs/servicestage-release.md 10.2).
type codePipelineService struct {
	opts Options

	mu        sync.Mutex
	pipelines []*codePipelineState
}

type codePipelineState struct {
	spec      CodePipeline
	createdAt time.Time
	runs      []*codeRun // oldest first
	started   int
}

func newCodePipelineService(opts Options) *codePipelineService {
	s := &codePipelineService{opts: opts}
	for _, spec := range opts.CodePipelines {
		setDefault(&spec.ProjectID, opts.Projects[0].ID)
		s.pipelines = append(s.pipelines, &codePipelineState{spec: spec, createdAt: opts.Now()})
	}
	return s
}

// codePipelineError is a refusal in the form that the switch wants.
func (s *codePipelineService) codePipelineError(code, message string) answer {
	switch s.opts.CodePipelineErrors {
	case "200":
		return serviceError(200, code, message)
	case "nested_200":
		return answer{status: 200, code: code, body: map[string]any{"error": map[string]string{"code": code, "message": message}}}
	default:
		return serviceError(400, code, message)
	}
}

// codeRefused is the code of a refusal for which none is documented; it is ours.
const codeRefused = "DEVPIPE.00000000"

// refuse refuses a call for a reason that has no documented code; detail goes to the journal.
func (s *codePipelineService) refuse(c *call, detail string) answer {
	c.entry.Detail = detail
	return s.codePipelineError(codeRefused, "parameter invalid")
}

// on finds the pipeline of a call and, brought up to now, the run run_id of it, then lets handle
// answer. Without a run_id the run is nil.
func (s *codePipelineService) on(c *call, runID string, handle func(*codePipelineState, *codeRun) answer) answer {
	if !s.opts.hasProject(c.project()) {
		return s.codePipelineError("DEVPIPE.00011412", "project not found")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.pipelines, func(p *codePipelineState) bool { return p.spec.ID == c.pipeline() })
	if i < 0 {
		return s.codePipelineError("DEVPIPE.00011401", "pipeline not found")
	}
	p := s.pipelines[i]
	if p.spec.ProjectID != c.project() {
		return s.codePipelineError("DEVPIPE.00011136", "project_id is not the pipeline's owner")
	}
	for _, r := range p.runs {
		r.advance(s.opts.Now())
	}
	if runID == "" {
		return handle(p, nil)
	}
	c.entry.Execution = runID
	n := slices.IndexFunc(p.runs, func(r *codeRun) bool { return r.id == runID })
	if n < 0 {
		return s.refuse(c, "the pipeline has no such run")
	}
	return handle(p, p.runs[n])
}

// codeRunRequest is RunPipelineDto.
type codeRunRequest struct {
	Sources []struct {
		Type   string     `json:"type"`
		Params codeSource `json:"params"`
	} `json:"sources"`
	Description string `json:"description"`
	Variables   []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"variables"`
	ChooseJobs   []string `json:"choose_jobs"`
	ChooseStages []string `json:"choose_stages"`
}

type codeSource struct {
	GitType          string   `json:"git_type"`
	GitURL           string   `json:"git_url"`
	Alias            string   `json:"alias"`
	CodehubID        string   `json:"codehub_id"`
	DefaultBranch    string   `json:"default_branch"`
	EndpointID       string   `json:"endpoint_id"`
	ChangeRequestIDs []string `json:"change_request_ids"`
	BuildParams      struct {
		BuildType    string `json:"build_type"`
		EventType    string `json:"event_type"`
		TargetBranch string `json:"target_branch"`
		Tag          string `json:"tag"`
	} `json:"build_params"`
}

// complaint says what of the documented limits the request breaks.
func (b codeRunRequest) complaint(spec CodePipeline) string {
	if utf8.RuneCountInString(b.Description) > 1024 {
		return "description has at most 1024 characters"
	}
	for _, v := range b.Variables {
		if v.Name == "" || utf8.RuneCountInString(v.Value) > 8192 {
			return "a variable has a name and a value of at most 8192 characters"
		}
	}
	for _, source := range b.Sources {
		p := source.Params
		switch {
		case source.Type != "code":
			return "a source's type is code"
		case !slices.Contains([]string{"", "codehub", "gitee", "github", "gitcode", "gitlab"}, p.GitType):
			return "git_type is codehub, gitee, github, gitcode or gitlab"
		case !slices.Contains([]string{"", "branch", "tag"}, p.BuildParams.BuildType):
			return "build_type is branch or tag"
		case !slices.Contains([]string{"", "Manual", "Scheduler", "MR", "Push", "CreateTag", "Issue", "Note"}, p.BuildParams.EventType):
			return "event_type is Manual, Scheduler, MR, Push, CreateTag, Issue or Note"
		}
	}
	stages, jobs := spec.names()
	for _, name := range b.ChooseStages {
		if !slices.Contains(stages, name) {
			return "choose_stages names an unknown stage"
		}
	}
	for _, name := range b.ChooseJobs {
		if !slices.Contains(jobs, name) {
			return "choose_jobs names an unknown job"
		}
	}
	return ""
}

// names are the names of the stages and jobs.
func (p CodePipeline) names() (stages, jobs []string) {
	for _, stage := range p.Stages {
		stages = append(stages, stage.Name)
		for _, job := range stage.Jobs {
			jobs = append(jobs, job.Name)
		}
	}
	return stages, jobs
}

// selects reports whether a job is run: choose_stages wins over choose_jobs. Stages and jobs are
// named by their names, which are their identifiers too.
func (b codeRunRequest) selects(stage, job string) bool {
	switch {
	case len(b.ChooseStages) > 0:
		return slices.Contains(b.ChooseStages, stage)
	case len(b.ChooseJobs) > 0:
		return slices.Contains(b.ChooseJobs, job)
	default:
		return true
	}
}

// run is POST …/{pipeline_id}/run. A missing body is an empty one.
func (s *codePipelineService) run(c *call) answer {
	var body codeRunRequest
	if len(bytes.TrimSpace(c.body)) > 0 && !c.object(&body) {
		return s.refuse(c, "the body is not a JSON object with the documented types")
	}
	return s.on(c, "", func(p *codePipelineState, _ *codeRun) answer {
		if problem := body.complaint(p.spec); problem != "" {
			return s.refuse(c, problem)
		}
		r := newCodeRun(p, s.opts.Now(), body.selects)
		p.started++
		r.number, r.executor, r.description = p.started, c.actor, body.Description
		if len(body.Sources) > 0 {
			r.source = body.Sources[0].Params
		}
		p.runs = append(p.runs, r)
		if len(p.runs) > releasesKept {
			p.runs = slices.Clone(p.runs[1:])
		}
		c.entry.Execution, c.entry.Acted = r.id, true
		return ok(map[string]string{"pipeline_run_id": r.id})
	})
}

// act answers a call that changes the run in its path: {"success": true}, or a refusal that tells
// the journal why.
func (s *codePipelineService) act(why string, change func(*call, *codeRun) bool) func(*call) answer {
	return func(c *call) answer {
		return s.on(c, c.http.PathValue("run_id"), func(_ *codePipelineState, r *codeRun) answer {
			if !change(c, r) {
				return s.refuse(c, why)
			}
			c.entry.Acted = true
			return ok(map[string]bool{"success": true})
		})
	}
}

// stop is POST …/pipeline-runs/{run}/stop, retry PUT …/retry; pass and refuse are POST
// …/jobs/{job}/steps/{step}/pass and …/refuse.
func (s *codePipelineService) stop() func(*call) answer {
	return s.act("the run has ended", func(_ *call, r *codeRun) bool { return r.stop(s.opts.Now()) })
}

func (s *codePipelineService) retry() func(*call) answer {
	return s.act("only a run that failed or was canceled can be retried", func(_ *call, r *codeRun) bool { return r.retry(s.opts.Now()) })
}

func (s *codePipelineService) decide(passed bool) func(*call) answer {
	return s.act("no manual review waits there", func(c *call, r *codeRun) bool {
		c.entry.TaskName = c.http.PathValue("step_id")
		return r.decide(c.http.PathValue("job_id"), c.entry.TaskName, passed, s.opts.Now())
	})
}

// detail is GET …/pipeline-runs/detail: the run pipeline_run_id, or the latest.
func (s *codePipelineService) detail(c *call) answer {
	return s.on(c, c.query("pipeline_run_id"), func(p *codePipelineState, r *codeRun) answer {
		if r == nil && len(p.runs) > 0 {
			r = p.runs[len(p.runs)-1]
		}
		if r == nil {
			return s.refuse(c, "the pipeline was never run")
		}
		c.entry.Execution = r.id
		return ok(s.runDetail(p, r))
	})
}

// codeListRequest is the body of POST …/pipeline-runs/list and of POST …/pipelines/list.
type codeListRequest struct {
	Status    []string        `json:"status"`
	StartTime json.RawMessage `json:"start_time"`
	EndTime   json.RawMessage `json:"end_time"`
	Offset    int             `json:"offset"`
	Limit     *int            `json:"limit"`
	SortKey   string          `json:"sort_key"`
	SortDir   string          `json:"sort_dir"`
}

func (b codeListRequest) limit() int {
	if b.Limit == nil {
		return 10
	}
	return *b.Limit
}

// complaint checks what is documented, and limit from 1 to 100.
func (b codeListRequest) complaint() string {
	_, okFrom := codeInstant(b.StartTime)
	_, okTo := codeInstant(b.EndTime)
	switch {
	case b.Offset < 0 || b.limit() < 1 || b.limit() > 100:
		return "offset is not negative, limit 1 to 100"
	case !slices.Contains([]string{"", "start_time", "update_time"}, b.SortKey):
		return "sort_key is start_time or update_time"
	case !slices.Contains([]string{"", "asc", "desc"}, b.SortDir):
		return "sort_dir is asc or desc"
	case !okFrom || !okTo:
		return "start_time and end_time are milliseconds or yyyy-MM-dd HH:mm:ss"
	}
	for _, word := range b.Status {
		if !slices.Contains([]string{"COMPLETED", "RUNNING", "FAILED", "CANCELED", "PAUSED", "SUSPEND", "IGNORED"}, word) {
			return "status is of COMPLETED, RUNNING, FAILED, CANCELED, PAUSED, SUSPEND, IGNORED"
		}
	}
	return ""
}

// codeInstant reads a time of a filter: milliseconds, as a number or in a string, or a text.
func codeInstant(raw json.RawMessage) (time.Time, bool) {
	text := string(bytes.Trim(raw, `"`))
	if text == "" || text == "null" {
		return time.Time{}, true
	}
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.UnixMilli(ms), true
	}
	return instant(text)
}

// listRuns is POST …/pipeline-runs/list: newest first, unless sort_dir is asc.
func (s *codePipelineService) listRuns(c *call) answer {
	body, refusal, readable := s.listRequest(c)
	if !readable {
		return refusal
	}
	return s.on(c, "", func(p *codePipelineState, _ *codeRun) answer {
		from, _ := codeInstant(body.StartTime)
		to, _ := codeInstant(body.EndTime)
		shown := []codeRunItem{}
		for _, r := range p.runs {
			item := s.runItem(p, r)
			if len(body.Status) > 0 && !slices.Contains(body.Status, string(item.Status)) ||
				r.from.Before(from) || !to.IsZero() && r.from.After(to) {
				continue
			}
			shown = append(shown, item)
		}
		if body.SortDir != "asc" {
			slices.Reverse(shown)
		}
		first := min(body.Offset, len(shown))
		return ok(map[string]any{"offset": body.Offset, "limit": body.limit(), "total": len(shown),
			"pipeline_runs": shown[first:min(first+body.limit(), len(shown))]})
	})
}

// listRequest reads the body of a list; a missing one is an empty one.
func (s *codePipelineService) listRequest(c *call) (codeListRequest, answer, bool) {
	var body codeListRequest
	if len(bytes.TrimSpace(c.body)) > 0 && !c.object(&body) {
		return body, s.refuse(c, "the body is not a JSON object with the documented types"), false
	}
	if problem := body.complaint(); problem != "" {
		return body, s.refuse(c, problem), false
	}
	return body, answer{}, true
}

// listPipelines is POST /v5/{project_id}/api/pipelines/list.
func (s *codePipelineService) listPipelines(c *call) answer {
	body, refusal, readable := s.listRequest(c)
	if !readable {
		return refusal
	}
	if !s.opts.hasProject(c.project()) {
		return s.codePipelineError("DEVPIPE.00011412", "project not found")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	shown := []codePipelineItem{}
	for _, p := range s.pipelines {
		if p.spec.ProjectID != c.project() {
			continue
		}
		item := codePipelineItem{
			PipelineID: p.spec.ID, Name: p.spec.Name, ProjectID: p.spec.ProjectID, ProjectName: s.opts.projectName(p.spec.ProjectID),
			ManifestVersion: "3.0", CreateTime: p.createdAt.UnixMilli(),
		}
		if n := len(p.runs); n > 0 {
			p.runs[n-1].advance(s.opts.Now())
			item.LatestRun = new(s.runItem(p, p.runs[n-1]))
		}
		shown = append(shown, item)
	}
	slices.SortStableFunc(shown, func(a, b codePipelineItem) int { return cmp.Compare(a.CreateTime, b.CreateTime) })
	first := min(body.Offset, len(shown))
	return ok(map[string]any{"offset": body.Offset, "limit": body.limit(), "total": len(shown),
		"pipelines": shown[first:min(first+body.limit(), len(shown))]})
}
