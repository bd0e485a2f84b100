package codecheck

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/gatewright/gatewright/internal/huaweicloud"
)

// api is the calls of CodeArts Check that we use, in their own words. Sections
// are those of specs/codearts-check.md.
type api struct {
	client *huaweicloud.Client
	// maxPages bounds a listing.
	maxPages int
}

// listedTask is SimpleTaskInfoV2 (1.1).
type listedTask struct {
	ID        text `json:"task_id"`
	Name      text `json:"task_name"`
	URL       text `json:"git_url"`
	Branch    text `json:"git_branch"`
	CreatedAt text `json:"created_at"`
}

// pageSize is the most that the V2 list gives at once.
const pageSize = 100

// list gives every task of a project (1.1). `offset` is a page number in newer
// editions and a record's number in older ones: pages are asked for by number
// from 0, each task is taken once, and only a second page that is the first one
// moved by a single record shows that records are counted.
func (a api) list(ctx context.Context, project string) ([]listedTask, error) {
	var all, previous []listedTask
	seen := map[text]bool{}
	step, idle := 1, 0
	for page, offset := 0, 0; page < a.maxPages; page, offset = page+1, offset+step {
		var answer struct {
			Tasks []listedTask `json:"tasks"`
			Total number       `json:"total"`
		}
		err := a.client.Do(ctx, huaweicloud.Call{
			Operation: "list tasks",
			Method:    http.MethodGet,
			Path:      huaweicloud.Path("/v2/%s/tasks", project),
			Query:     url.Values{"offset": {strconv.Itoa(offset)}, "limit": {strconv.Itoa(pageSize)}},
			Safe:      true,
		}, &answer)
		if err != nil {
			return nil, err
		}
		if answer.Tasks == nil && !answer.Total.set {
			return nil, hopeless("list tasks: the answer holds neither tasks nor their number")
		}
		before := len(all)
		for _, task := range answer.Tasks {
			if task.ID != "" && !seen[task.ID] {
				seen[task.ID] = true
				all = append(all, task)
			}
		}
		if len(answer.Tasks) < pageSize || answer.Total.set && len(all) >= answer.Total.n {
			return all, nil
		}
		// Page 0 and page 1 may be the same page, so one page without news is
		// not the end; two in a row are.
		if idle++; len(all) > before {
			idle = 0
		}
		if idle == 2 {
			return all, nil
		}
		if page == 1 && answer.Tasks[0].ID == previous[1].ID && answer.Tasks[0].ID != previous[0].ID {
			step, offset = pageSize, 0
		}
		previous = answer.Tasks
	}
	return nil, hopeless(fmt.Sprintf("list tasks: project has more than %d pages of %d", a.maxPages, pageSize))
}

// taskV3 is the body of CreateTaskV3 (1.4).
type taskV3 struct {
	RepoURL     string   `json:"repo_url"`
	Branch      string   `json:"branch"`
	Name        string   `json:"name"`
	Template    template `json:"config_template"`
	ProjectID   string   `json:"project_id"`
	ProjectName string   `json:"project_name"`
}

type template struct {
	RepoType    string    `json:"repo_type"`
	Branch      string    `json:"branch"`
	RuleSets    []ruleSet `json:"rule_sets"`
	ProjectID   string    `json:"project_id"`
	ProjectName string    `json:"project_name"`
	AuthID      string    `json:"authId,omitempty"`
	AuthType    string    `json:"authType,omitempty"`
}

type ruleSet struct {
	Language string `json:"language"`
}

// createV3 makes a full task and gives its id (1.4).
func (a api) createV3(ctx context.Context, body taskV3) (string, error) {
	var answer struct {
		Result struct {
			ID text `json:"id"`
		} `json:"result"`
	}
	err := a.client.Do(ctx, huaweicloud.Call{
		Operation: "create task", Method: http.MethodPost, Path: "/v3/task", Body: body,
	}, &answer)
	if err == nil && answer.Result.ID == "" {
		err = fmt.Errorf("create task: %w", errNoID)
	}
	return string(answer.Result.ID), err
}

// errNoID is an answer to a creation or a start that names nothing.
var errNoID = errors.New("answer has no id")

// taskV2 is the body of CreateTaskV2 (1.3).
type taskV2 struct {
	GitURL     string     `json:"git_url"`
	GitBranch  string     `json:"git_branch"`
	Languages  []string   `json:"language"`
	TaskType   string     `json:"task_type"`
	EndpointID string     `json:"endpoint_id,omitempty"`
	Increment  *increment `json:"inc_config,omitempty"`
}

// increment is IncConfigV2 (1.3).
type increment struct {
	ParentTaskID string `json:"parent_task_id"`
	SourceBranch string `json:"git_source_branch"`
	TargetBranch string `json:"git_target_branch"`
	MergeID      string `json:"merge_id"`
	EventType    string `json:"event_type"`
	Action       string `json:"action"`
	Title        string `json:"title"`
}

// createV2 makes a full or a merge request task and gives its id (1.3).
func (a api) createV2(ctx context.Context, project string, body taskV2) (string, error) {
	var answer struct {
		ID    text `json:"task_id"`
		Camel text `json:"taskId"`
	}
	err := a.client.Do(ctx, huaweicloud.Call{
		Operation: "create task", Method: http.MethodPost, Path: huaweicloud.Path("/v2/%s/task", project), Body: body,
	}, &answer)
	if err == nil && answer.ID+answer.Camel == "" {
		err = fmt.Errorf("create task: %w", errNoID)
	}
	return string(either(answer.ID, answer.Camel)), err
}

func either(a, b text) text {
	if a != "" {
		return a
	}
	return b
}

// run starts an execution and gives its id (1.5). The body is always there: the
// service refuses a missing one.
func (a api) run(ctx context.Context, task string, ref Ref) (string, error) {
	var answer struct {
		ExecID text `json:"exec_id"`
	}
	err := a.client.Do(ctx, huaweicloud.Call{
		Operation: "run task",
		Method:    http.MethodPost,
		Path:      huaweicloud.Path("/v2/tasks/%s/run", task),
		Body: struct {
			Ref Ref `json:"ref,omitempty"`
		}{ref},
	}, &answer)
	if err == nil && answer.ExecID == "" {
		err = fmt.Errorf("run task: %w", errNoID)
	}
	return string(answer.ExecID), err
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
	var answer struct {
		Status number `json:"task_status"`
	}
	err := a.read(ctx, "read progress", huaweicloud.Path("/v2/tasks/%s/progress", task), jobQuery(job), &answer)
	return answer.Status, err
}

// jobQuery asks for one execution; none when job is empty.
func jobQuery(job string) url.Values {
	if job == "" {
		return nil
	}
	return url.Values{"job_id": {job}}
}

// summary is the part of defects-summary that we read (1.9).
type summary struct {
	LastCheckTime text `json:"last_check_time"`
	LastExecTime  text `json:"last_exec_time"`
	Access        text `json:"is_access"`

	Critical   number `json:"critical_count"`
	Major      number `json:"major_count"`
	Minor      number `json:"minor_count"`
	Suggestion number `json:"suggestion_count"`

	NewCritical   number `json:"new_critical_count"`
	NewMajor      number `json:"new_major_count"`
	NewMinor      number `json:"new_minor_count"`
	NewSuggestion number `json:"new_suggestion_count"`
}

func (s summary) counts() (Counts, bool) {
	return fourCounts(s.Critical, s.Major, s.Minor, s.Suggestion)
}

func (s summary) newCounts() (Counts, bool) {
	return fourCounts(s.NewCritical, s.NewMajor, s.NewMinor, s.NewSuggestion)
}

// fourCounts reports false when one of the four is missing.
func fourCounts(critical, major, minor, suggestion number) (Counts, bool) {
	return Counts{critical.n, major.n, minor.n, suggestion.n},
		critical.set && major.set && minor.set && suggestion.set
}

func (a api) summary(ctx context.Context, task, job string) (summary, error) {
	var answer summary
	err := a.read(ctx, "read summary", huaweicloud.Path("/v2/tasks/%s/defects-summary", task), jobQuery(job), &answer)
	return answer, err
}

// statistic gives the counts of defects-statistic, and whether all four are
// there (1.10).
func (a api) statistic(ctx context.Context, task string) (Counts, bool, error) {
	var answer struct {
		Severity struct {
			Critical   number `json:"critical"`
			Major      number `json:"major"`
			Minor      number `json:"minor"`
			Suggestion number `json:"suggestion"`
		} `json:"severity"`
	}
	err := a.read(ctx, "read statistic", huaweicloud.Path("/v2/tasks/%s/defects-statistic", task), nil, &answer)
	counts, all := fourCounts(answer.Severity.Critical, answer.Severity.Major, answer.Severity.Minor, answer.Severity.Suggestion)
	return counts, all && err == nil, err
}

// defects gives up to limit open defects of one severity (1.11); severity is
// its number, 0 for critical to 3 for suggestion.
func (a api) defects(ctx context.Context, task string, severity, limit int) ([]Defect, error) {
	var answer struct {
		Defects []struct {
			ID       text `json:"defect_id"`
			RuleName text `json:"rule_name"`
			Checker  text `json:"defect_checker_name"`
			Content  text `json:"defect_content"`
			File     text `json:"file_path"`
			Line     text `json:"line_number"`
		} `json:"defects"`
	}
	err := a.read(ctx, "read defects", huaweicloud.Path("/v2/tasks/%s/defects-detail", task), url.Values{
		"offset":     {"0"},
		"limit":      {strconv.Itoa(limit)},
		"status_ids": {"0"},
		"severity":   {strconv.Itoa(severity)},
	}, &answer)
	if err != nil {
		return nil, err
	}
	var found []Defect
	seen := map[text]bool{}
	for _, d := range answer.Defects {
		if d.ID != "" && seen[d.ID] || len(found) == limit {
			continue
		}
		seen[d.ID] = true
		line, _ := strconv.Atoi(string(d.Line)) // a line that is no number is unknown: 0
		found = append(found, Defect{ID: string(d.ID), Severity: severityName(severity),
			Rule: string(either(d.RuleName, d.Checker)), Text: string(d.Content), File: string(d.File), Line: line})
	}
	return found, nil
}

func severityName(level int) string {
	return [...]string{"critical", "major", "minor", "suggestion"}[level]
}

// logEntry is one part of a failed execution's log (1.12).
type logEntry struct {
	Level text `json:"level"`
	Log   text `json:"log"`
}

// failureLog gives the log of a failed execution (1.12).
func (a api) failureLog(ctx context.Context, project, task, exec string) ([]logEntry, error) {
	var answer struct {
		Entries []logEntry `json:"log_info"`
	}
	query := url.Values{}
	if exec != "" {
		query.Set("execute_id", exec)
	}
	err := a.read(ctx, "read failure log", huaweicloud.Path("/v2/%s/tasks/%s/log-detail", project, task), query, &answer)
	return answer.Entries, err
}

func (a api) read(ctx context.Context, operation, path string, query url.Values, out any) error {
	return a.client.Do(ctx, huaweicloud.Call{
		Operation: operation, Method: http.MethodGet, Path: path, Query: query, Safe: true,
	}, out)
}
