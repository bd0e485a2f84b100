package standin

import (
	"cmp"
	"slices"
	"strings"
)

// The values of mrCheckMode (specs/codearts-check.md 1.14).
const (
	modeCode  = 0 // what the merge request's changes bring
	modeFiles = 4 // all of the files that it changes; what a task has at first is not documented
	modeFull  = 5 // everything
)

// gate is a task's own gate: the most defects of each severity; nil sets no limit.
type gate [4]*int

// defaultGate lets no critical and no major defect pass; what a new task has is not documented.
func defaultGate() gate { return gate{new(0), new(0)} }

// passes reports whether the counts are within the gate of the task.
func (t *checkTask) passes(c counts) bool {
	for severity, most := range t.family().gate {
		if most != nil && c[severity] > *most {
			return false
		}
	}
	return true
}

// access is the word of is_access for a result of the task.
func (s *checkService) access(t *checkTask, open counts) string {
	failed, passed, _ := strings.Cut(s.opts.IsAccess, "_")
	if s.opts.IsAccess == "empty" {
		failed = ""
	}
	failed, passed = cmp.Or(s.opts.Results.AccessFailed, failed), cmp.Or(s.opts.Results.AccessPassed, passed)
	if t.passes(open) {
		return passed
	}
	return failed
}

// updateMode is PUT /v1/task/check-mode: how the task's merge requests are checked.
func (s *checkService) updateMode(c *call) answer {
	var body struct {
		ID   string `json:"id"`
		Mode *int   `json:"mrCheckMode"`
	}
	if !c.object(&body) || !hexID(body.ID) || body.Mode == nil || !slices.Contains([]int{modeCode, modeFiles, modeFull}, *body.Mode) {
		return s.badEnvelope(c, "id has 32 hex digits, mrCheckMode is 0, 4 or 5")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	task, found := s.find(body.ID)
	if !found {
		return errNoProject()
	}
	task.family().mode = *body.Mode
	c.entry.Task, c.entry.Acted = task.id, true
	return s.success(c.text("Check mode configuration updated.", "更新检查模式配置成功"))
}

// gateNames are the Chinese names of a gate's items, worst first.
var gateNames = []string{"致命问题数", "严重问题数", "一般问题数", "提示问题数"}

// updateGate is PUT /v1/task/code-gate: the items that are named change, the others stay.
func (s *checkService) updateGate(c *call) answer {
	var body struct {
		ID         string `json:"id"`
		ReviewData []struct {
			CompareType string `json:"compareType"`
			IsCheck     *int   `json:"isCheck"`
			Name        string `json:"name"`
			Value       *int   `json:"value"`
		} `json:"reviewData"`
	}
	if !c.object(&body) || !hexID(body.ID) || len(body.ReviewData) == 0 {
		return s.badEnvelope(c, "id has 32 hex digits, and reviewData is a list")
	}
	for _, item := range body.ReviewData {
		switch {
		case item.CompareType != "≤":
			return s.badEnvelope(c, "compareType is ≤")
		case !slices.Contains(gateNames, item.Name):
			return s.badEnvelope(c, "name is of "+strings.Join(gateNames, ", "))
		case item.IsCheck == nil || *item.IsCheck != 0 && *item.IsCheck != 1:
			return s.badEnvelope(c, "isCheck is 0 or 1")
		case item.Value == nil || *item.Value < 0 || *item.Value > 1<<31-1:
			return s.badEnvelope(c, "value is 0 to 2147483647")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	task, found := s.find(body.ID)
	if !found {
		return errNoProject()
	}
	for _, item := range body.ReviewData {
		severity := slices.Index(gateNames, item.Name)
		task.family().gate[severity] = nil
		if *item.IsCheck == 1 {
			task.family().gate[severity] = new(*item.Value)
		}
	}
	c.entry.Task, c.entry.Acted = task.id, true
	return s.success(c.text("Gate configuration updated.", "更新门禁配置成功"))
}

// languagesV3 are the languages that the documents name (specs/codearts-check.md 1.4).
func languagesV3() []string {
	return strings.Split("C#,CSS,C++,PYTHON,CANGJIE,C,SCALA,GO,KOTLIN,JAVASCRIPT,SQL,ARKTS,RUST,JAVA,SHELL,FORTRAN,PHP,LUA,JSON,HTML,TYPESCRIPT", ",")
}

// languages2023 are those of the 2023 edition (specs/codearts-check.md 1.3).
func languages2023() []string {
	return []string{"cpp", "java", "js", "python", "php", "css", "html", "go", "typescript", "csharp"}
}

// ruleSets are the system's, one for each language, and then the projects' own.
func (s *checkService) ruleSets() []RuleSet {
	var all []RuleSet
	for _, language := range languagesV3() {
		all = append(all, RuleSet{ID: stableID("ruleset", language), Name: language + " default rules", Language: language})
	}
	return append(all, s.opts.RuleSets...)
}

// ruleSetItem is specs/codearts-check.md 1.15: all strings, flags "0" and "1".
type ruleSetItem struct {
	TemplateID               string `json:"template_id"`
	Language                 string `json:"language"`
	TemplateName             string `json:"template_name"`
	CreatorID                string `json:"creator_id"`
	CreatorName              string `json:"creator_name"`
	TemplateCreateTime       string `json:"template_create_time"`
	IsUsed                   string `json:"is_used"`
	RuleIDs                  string `json:"rule_ids"`
	IsDefault                string `json:"is_default"`
	IsDevcloudProjectDefault string `json:"is_devcloud_project_default"`
	IsDefaultTemplate        string `json:"is_default_template"`
}

// listRuleSets is GET /v2/{project_id}/rulesets. The limit is not documented; here it is that of
// the task list.
func (s *checkService) listRuleSets(c *call) answer {
	offset, okOffset := c.number("offset", 0, 0, 999999)
	limit, okLimit := c.number("limit", 10, 1, 100)
	categories, okCategory := c.choices("category", []string{"0", "1", "2"}, "0", "1", "2")
	if !okOffset || !okLimit || !okCategory {
		return s.badParameter(c, "offset is 0 to 999999, limit 1 to 100, category of 0 to 2")
	}
	if !s.opts.hasProject(c.project()) {
		return errNoProject()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	items := []ruleSetItem{}
	for i, set := range s.ruleSets() {
		category, system := "1", "0"
		if i < len(languagesV3()) {
			category, system = "0", "1"
		}
		if !slices.Contains(categories, category) {
			continue
		}
		used := slices.ContainsFunc(s.tasks, func(t *checkTask) bool { return slices.Contains(t.ruleSets, set.ID) })
		items = append(items, ruleSetItem{
			TemplateID: set.ID, Language: set.Language, TemplateName: set.Name, CreatorID: s.creator(), CreatorName: s.opts.User,
			IsUsed: map[bool]string{false: "0", true: "1"}[used], IsDefault: system, IsDevcloudProjectDefault: system, IsDefaultTemplate: system,
		})
	}
	first, last := s.page(len(items), offset, limit)
	return ok(struct {
		Info  []ruleSetItem `json:"info"`
		Total int           `json:"total"`
	}{items[first:last], len(items)})
}

// taskRuleSet is a rule set of a task, specs/codearts-check.md 1.15: all strings.
type taskRuleSet struct {
	TemplateID   string `json:"template_id"`
	Language     string `json:"language"`
	TemplateName string `json:"template_name"`
	Type         string `json:"type"`
	Status       string `json:"status"`
}

// taskRuleSets is GET /v2/{project_id}/tasks/{task_id}/rulesets: a bare array, of the rule set of
// each language that the task checks. A language that has none gets one of its name.
func (s *checkService) taskRuleSets(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	task, found := s.find(c.task())
	if !found || task.project != c.project() {
		return errNoProject()
	}
	sets := []taskRuleSet{}
	for _, language := range task.languages {
		chosen := RuleSet{ID: stableID("ruleset", language), Name: language + " default rules"}
		for _, set := range s.ruleSets() {
			if set.Language == language && slices.Contains(task.ruleSets, set.ID) {
				chosen = set
			}
		}
		sets = append(sets, taskRuleSet{TemplateID: chosen.ID, Language: language, TemplateName: chosen.Name, Type: "selected", Status: "1"})
	}
	return ok(sets)
}
