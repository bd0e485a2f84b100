package codecheck

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/rules"
)

// listedTask is SimpleTaskInfoV2 (1.1).
type listedTask struct {
	ID        text `json:"task_id"`
	Name      text `json:"task_name"`
	Creator   text `json:"creator_id"`
	URL       text `json:"git_url"`
	Branch    text `json:"git_branch"`
	CreatedAt text `json:"created_at"`
	CheckedAt text `json:"last_check_time"`
}

// pageSize is the most that the V2 list gives at once.
const pageSize = 100

// taskPages reads every task of a project, a page at a time (1.1). `offset` is a
// page number in newer editions and a record's number in older ones: pages are asked
// for by number from 0, each task is taken once, and only a second page that is the
// first one moved by a single record shows that records are counted.
type taskPages struct {
	api      api
	project  string
	maxPages int
	// page counts the pages that were read; offset is that of the next, step what is
	// added to it for each.
	page, offset, step int
	// idle counts the last pages that had nothing new.
	idle     int
	previous []listedTask
	seen     map[text]bool
	// total is the number of tasks, if the service tells it.
	total number
}

func newTaskPages(a api, project string, maxPages int) *taskPages {
	return &taskPages{api: a, project: project, maxPages: maxPages, step: 1, seen: map[text]bool{}}
}

// next reads one page, and gives those of its tasks that are new and whether it was
// the last. After an error it can be called again for the same page.
func (p *taskPages) next(ctx context.Context) (tasks []listedTask, last bool, err error) {
	if p.page >= p.maxPages {
		return nil, false, permanentError(fmt.Sprintf("list tasks: project has more than %d pages of %d", p.maxPages, pageSize))
	}
	var response struct {
		Tasks []listedTask `json:"tasks"`
		Total number       `json:"total"`
	}
	err = p.api.read(ctx, "list tasks", huaweicloud.Path("/v2/%s/tasks", p.project),
		url.Values{"offset": {strconv.Itoa(p.offset)}, "limit": {strconv.Itoa(pageSize)}}, &response)
	if err != nil {
		return nil, false, err
	}
	if response.Tasks == nil && !response.Total.set {
		return nil, false, permanentError("list tasks: the response holds neither tasks nor their number")
	}
	p.total = response.Total
	for _, task := range response.Tasks {
		if task.ID != "" && !p.seen[task.ID] {
			p.seen[task.ID] = true
			tasks = append(tasks, task)
		}
	}
	// Page 0 and page 1 may be the same page, so one page without news is not the
	// end; two in a row are.
	if p.idle++; len(tasks) > 0 {
		p.idle = 0
	}
	if len(response.Tasks) < pageSize || p.total.set && len(p.seen) >= p.total.n || p.idle == 2 {
		return tasks, true, nil
	}
	if p.page == 1 && response.Tasks[0].ID == p.previous[1].ID && response.Tasks[0].ID != p.previous[0].ID {
		p.step, p.offset = pageSize, 0
	}
	p.page, p.offset, p.previous = p.page+1, p.offset+p.step, response.Tasks
	return tasks, false, nil
}

// progress says how many tasks were read.
func (p *taskPages) progress() string {
	if p.total.set {
		return fmt.Sprintf("%d of %d tasks", len(p.seen), p.total.n)
	}
	return fmt.Sprintf("%d tasks so far", len(p.seen))
}

// maxBranchPages bounds the reading of a task's branches, 100 a page.
const maxBranchPages = 20

// branchTask is the id of the task of one branch among the branch tasks of a task (1.12,
// branches); empty when that branch is not listed. listed is how many are.
func (a api) branchTask(ctx context.Context, project, task, branch string) (id string, listed int, err error) {
	for page := 1; page <= maxBranchPages; page++ {
		var response struct {
			Branches []struct {
				TaskID text `json:"taskId"`
				Name   text `json:"branchName"`
			} `json:"branchTasks"`
		}
		err := a.read(ctx, "list branch tasks", huaweicloud.Path("/v3/%s/tasks/%s/branches", project, task), url.Values{
			"check_type": {"branch"}, "page_num": {strconv.Itoa(page)}, "page_size": {strconv.Itoa(pageSize)}}, &response)
		if err != nil {
			return "", listed, err
		}
		listed += len(response.Branches)
		for _, b := range response.Branches {
			if string(b.Name) == branch && b.TaskID != "" {
				return string(b.TaskID), listed, nil
			}
		}
		if len(response.Branches) < pageSize {
			break
		}
	}
	return "", listed, nil
}

// taskBranch is the branch that the details of a task name (1.12, GetTaskInfoByID); empty
// when they name none.
func (a api) taskBranch(ctx context.Context, task string) (string, error) {
	var response struct {
		Result struct {
			Branch text `json:"branchName"`
		} `json:"result"`
	}
	err := a.read(ctx, "read task", huaweicloud.Path("/v3/task/%s", task), nil, &response)
	return string(response.Result.Branch), err
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
	var response struct {
		Result struct {
			ID text `json:"id"`
		} `json:"result"`
	}
	err := a.client.Do(ctx, huaweicloud.Call{
		Operation: "create task", Method: http.MethodPost, Path: "/v3/task", Body: body,
	}, &response)
	if err == nil && response.Result.ID == "" {
		err = fmt.Errorf("create task: %w", errNoID)
	}
	return string(response.Result.ID), err
}

// taskV2 is the body of CreateTaskV2 (1.3).
type taskV2 struct {
	GitURL     string      `json:"git_url"`
	GitBranch  string      `json:"git_branch"`
	Languages  []string    `json:"language,omitempty"`
	RuleSets   []ruleSetV2 `json:"rule_sets,omitempty"`
	TaskType   string      `json:"task_type"`
	EndpointID string      `json:"endpoint_id,omitempty"`
	Increment  *increment  `json:"inc_config,omitempty"`
	Login
}

type ruleSetV2 struct {
	ID       string `json:"ruleset_id,omitempty"`
	Language string `json:"language"`
}

// Login is the account with which the service itself reads a repository.
type Login struct {
	User  string `json:"username,omitempty"`
	Token string `json:"access_token,omitempty"`
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
	var response struct {
		ID    text `json:"task_id"`
		Camel text `json:"taskId"`
	}
	err := a.client.Do(ctx, huaweicloud.Call{
		Operation: "create task", Method: http.MethodPost, Path: huaweicloud.Path("/v2/%s/task", project), Body: body, Secrets: []string{body.Token},
	}, &response)
	if err == nil && response.ID+response.Camel == "" {
		err = fmt.Errorf("create task: %w", errNoID)
	}
	return string(either(response.ID, response.Camel)), err
}

// deleteTask removes a task with its results (1.7).
func (a api) deleteTask(ctx context.Context, task string) error {
	return a.client.Do(ctx, huaweicloud.Call{
		Operation: "delete task", Method: http.MethodDelete, Path: huaweicloud.Path("/v2/tasks/%s", task), Safe: true,
	}, nil)
}

// taskLanguages are the languages that a task checks, by its rule sets (1.15).
func (a api) taskLanguages(ctx context.Context, project, task string) ([]string, error) {
	var response []struct {
		Language text `json:"language"`
	}
	err := a.read(ctx, "list rule sets", huaweicloud.Path("/v2/%s/tasks/%s/rulesets", project, task), nil, &response)
	var languages []string
	for _, set := range response {
		if language := string(set.Language); language != "" && !slices.Contains(languages, language) {
			languages = append(languages, language)
		}
	}
	return languages, err
}

// setCheckMode says what the scans of a merge request's task look at (1.14).
func (a api) setCheckMode(ctx context.Context, task string, mode rules.CheckMode) error {
	numbers := map[rules.CheckMode]int{rules.CheckChangedCode: 0, rules.CheckChangedFiles: 4, rules.CheckFull: 5}
	return a.client.Do(ctx, huaweicloud.Call{
		Operation: "set check mode", Method: http.MethodPut, Path: "/v1/task/check-mode", Safe: true,
		Body: struct {
			ID   string `json:"id"`
			Mode int    `json:"mrCheckMode"`
		}{task, numbers[mode]},
	}, nil)
}
