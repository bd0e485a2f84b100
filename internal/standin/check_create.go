package standin

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// createTaskV3 is the body of POST /v3/task (specs/codearts-check.md 1.4).
type createTaskV3 struct {
	RepoURL        string `json:"repo_url"`
	Branch         string `json:"branch"`
	Name           string `json:"name"`
	ProjectID      string `json:"project_id"`
	ProjectName    string `json:"project_name"`
	ConfigTemplate *struct {
		RepoType string `json:"repo_type"`
		Branch   string `json:"branch"`
		RuleSets []struct {
			Language string `json:"language"`
		} `json:"rule_sets"`
		ProjectID   string `json:"project_id"`
		ProjectName string `json:"project_name"`
		AuthID      string `json:"authId"`
		AuthType    string `json:"authType"`
	} `json:"config_template"`
}

// complaint says what of the documented limits the request breaks; empty when
// it keeps them all. Fields that every example has count as mandatory.
func (b createTaskV3) complaint(o Options) string {
	t := b.ConfigTemplate
	switch {
	case t == nil:
		return "config_template is missing"
	case !slices.Contains(repoTypes(), t.RepoType):
		return "config_template.repo_type is not one of " + strings.Join(repoTypes(), ", ")
	case t.RepoType == "DevCloud" && !strings.HasPrefix(b.RepoURL, "git"):
		return "repo_url of a CodeArts Repo repository starts with git"
	case t.RepoType != "DevCloud" && !strings.HasPrefix(b.RepoURL, "http"):
		return "repo_url outside of CodeArts Repo starts with http"
	case t.RepoType != "DevCloud" && t.AuthID == "":
		return "config_template.authId is missing"
	case t.RepoType != "DevCloud" && !slices.Contains(repoTypes(), t.AuthType):
		return "config_template.authType is not one of " + strings.Join(repoTypes(), ", ")
	case !branchLegal(b.Branch):
		return "branch has 1 to 200 characters"
	case t.Branch != b.Branch:
		return "config_template.branch is another one than branch"
	case !taskNameForm.MatchString(b.Name):
		return "name has 1 to 128 letters, digits, '.', '-' and '_'"
	case !hexID(b.ProjectID) || t.ProjectID != b.ProjectID:
		return "project_id and config_template.project_id are the same 32 hex digits"
	case t.ProjectName != b.ProjectName || b.ProjectName == "" && o.ProjectNames != "optional":
		return "project_name and config_template.project_name are the same and not empty"
	case o.ProjectNames == "right" && o.hasProject(b.ProjectID) && b.ProjectName != o.projectName(b.ProjectID):
		return "project_name is not that of the project"
	case len(t.RuleSets) == 0:
		return "config_template.rule_sets is empty"
	}
	for _, set := range t.RuleSets {
		if set.Language == "" {
			return "config_template.rule_sets has an entry without language"
		}
	}
	return ""
}

func branchLegal(branch string) bool {
	n := utf8.RuneCountInString(branch)
	return n >= 1 && n <= 200
}

// envelope is how V1, V3 and V4 answer (specs/codearts-check.md 1.13).
type envelope struct {
	HTTPStatus string `json:"httpStatus"`
	Result     any    `json:"result"`
	Status     string `json:"status"`
}

type createdV3 struct {
	CheckParamList         []struct{} `json:"checkParamList"`
	CriterionSets          []struct{} `json:"criterionSets"`
	CustomParams           []struct{} `json:"customParams"`
	ID                     string     `json:"id"`
	ModelSets              []struct{} `json:"modelSets"`
	ReviewData             []struct{} `json:"reviewData"`
	RuleSets               []struct{} `json:"ruleSets"`
	TaskIDs                []struct{} `json:"taskIds"`
	VersionUpdateDelayDays []struct{} `json:"versionUpdateDelayDays"`
}

// createV3 is POST /v3/task: makes a full task.
func (s *checkService) createV3(c *call) answer {
	var body createTaskV3
	problem := "the body is not a JSON object with the documented types"
	if c.object(&body) {
		problem = body.complaint(s.opts)
	}
	c.entry.Project = body.ProjectID
	if problem != "" {
		return s.badEnvelope(c, problem)
	}
	if !s.opts.hasProject(body.ProjectID) {
		return errNoProject()
	}
	task := s.newTask(body.ProjectID, body.RepoURL, body.Branch)
	task.name, task.repoType = body.Name, body.ConfigTemplate.RepoType
	for _, set := range body.ConfigTemplate.RuleSets {
		task.languages = append(task.languages, set.Language)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nameTaken(task) && !s.opts.AllowDuplicateNames {
		c.entry.Detail = "the project has a task of this name"
		return errCreateFailed()
	}
	s.tasks = append(s.tasks, task)
	c.entry.Task, c.entry.Address, c.entry.Acted = task.id, task.url, true
	none := []struct{}{}
	return s.success(createdV3{
		CheckParamList: none, CriterionSets: none, CustomParams: none, ID: task.id, ModelSets: none,
		ReviewData: none, RuleSets: none, TaskIDs: none, VersionUpdateDelayDays: none,
	})
}

func (s *checkService) nameTaken(task *checkTask) bool {
	return slices.ContainsFunc(s.tasks, func(t *checkTask) bool {
		return t.project == task.project && t.name == task.name
	})
}

// createTaskV2 is the body of POST /v2/{project_id}/task (specs/codearts-check.md 1.3).
type createTaskV2 struct {
	GitURL    string   `json:"git_url"`
	GitBranch string   `json:"git_branch"`
	Language  []string `json:"language"`
	RuleSets  []struct {
		RulesetID string `json:"ruleset_id"`
		Language  string `json:"language"`
	} `json:"rule_sets"`
	TaskType       string   `json:"task_type"`
	Username       string   `json:"username"`
	AccessToken    string   `json:"access_token"`
	EndpointID     string   `json:"endpoint_id"`
	CheckType      []string `json:"check_type"`
	EnableFossbot  bool     `json:"enable_fossbot"`
	ResourcePoolID string   `json:"resource_pool_id"`
	IncConfig      *struct {
		ParentTaskID    string `json:"parent_task_id"`
		GitSourceBranch string `json:"git_source_branch"`
		GitTargetBranch string `json:"git_target_branch"`
		MergeID         string `json:"merge_id"`
		EventType       string `json:"event_type"`
		Action          string `json:"action"`
		Title           string `json:"title"`
	} `json:"inc_config"`
}

// complaint says what of the documented limits the request breaks.
func (b createTaskV2) complaint(d Dialect) string {
	inc := b.IncConfig
	switch {
	case !strings.HasPrefix(b.GitURL, "git") && !strings.HasPrefix(b.GitURL, "http"):
		return "git_url starts with git or http"
	case !branchLegal(b.GitBranch):
		return "git_branch has 1 to 200 characters"
	case d == Dialect2023 && len(b.Language) == 0:
		return "language is missing"
	case len(b.Language) == 0 && len(b.RuleSets) == 0:
		return "language and rule_sets are both missing"
	case !slices.Contains([]string{"", "full", "inc"}, b.TaskType):
		return "task_type is full or inc"
	case (b.Username == "") != (b.AccessToken == ""):
		return "username and access_token go together"
	case b.TaskType != "inc":
		return ""
	case inc == nil || inc.ParentTaskID == "":
		return "inc_config.parent_task_id is missing"
	case inc.MergeID == "" && inc.GitSourceBranch == "":
		return "inc_config names neither a merge request nor a source branch"
	case inc.GitTargetBranch == "":
		return "inc_config.git_target_branch is missing"
	case !slices.Contains([]string{"", "merge_request", "push_request"}, inc.EventType):
		return "inc_config.event_type is merge_request or push_request"
	case !slices.Contains([]string{"", "open", "close", "update"}, inc.Action):
		return "inc_config.action is open, close or update"
	}
	return ""
}

type createdV2 struct {
	TaskID string `json:"task_id"`
}

// createV2 is POST /v2/{project_id}/task: makes a full task, or an incremental
// one under a full task of the same project. The service chooses the name.
func (s *checkService) createV2(c *call) answer {
	if !s.opts.hasProject(c.project()) {
		return errNoProject()
	}
	var body createTaskV2
	if !c.object(&body) {
		return s.badParameter(c, "the body is not a JSON object with the documented types")
	}
	problem := body.complaint(s.opts.Dialect)
	if problem == "" {
		problem = s.languageProblem(body)
	}
	if problem != "" {
		return s.badParameter(c, problem)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	task := s.newTask(c.project(), body.GitURL, body.GitBranch)
	task.languages, task.credentials = body.Language, repositoryCredentials{body.Username, body.AccessToken}
	for _, set := range body.RuleSets {
		task.languages = append(task.languages, set.Language)
		if set.RulesetID == "" {
			continue
		}
		if !slices.ContainsFunc(s.ruleSets(), func(r RuleSet) bool { return r.ID == set.RulesetID && strings.EqualFold(r.Language, set.Language) }) {
			c.entry.Detail = "rule_sets names a rule set that is unknown or of another language"
			return errCreateFailed()
		}
		task.ruleSets = append(task.ruleSets, set.RulesetID)
	}
	if body.TaskType == "inc" {
		parent, found := s.find(body.IncConfig.ParentTaskID)
		if !found || parent.parent != nil || parent.project != task.project {
			c.entry.Detail = "inc_config.parent_task_id is not a full task of the project"
			return errCreateFailed()
		}
		task.parent, task.repoType = parent.family(), parent.repoType
		task.mergeID = body.IncConfig.MergeID
		task.source, task.target = body.IncConfig.GitSourceBranch, body.IncConfig.GitTargetBranch
	}
	base := strings.TrimSuffix(path.Base(strings.ReplaceAll(body.GitURL, ":", "/")), ".git") + "_" + task.createdAt.Format("01021504")
	task.name = base
	for n := 1; s.nameTaken(task); n++ {
		task.name = base + "_" + strconv.Itoa(n)
	}
	s.tasks = append(s.tasks, task)
	c.entry.Task, c.entry.Address, c.entry.Acted = task.id, task.url, true
	return ok(createdV2{TaskID: task.id})
}

// languageProblem says which language of a V2 creation is refused; empty when none is.
func (s *checkService) languageProblem(body createTaskV2) string {
	named := slices.Clone(body.Language)
	for _, set := range body.RuleSets {
		named = append(named, set.Language)
	}
	for _, language := range named {
		if language == "" {
			return "a language is empty"
		}
		if s.opts.Languages == "edition" && !slices.Contains(languages2023(), language) {
			return "language is of " + strings.Join(languages2023(), ", ")
		}
	}
	return ""
}
