package standin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// checkResult is what a successful execution found. It is not changed once made.
type checkResult struct {
	found *report
	// fresh counts the defects that were not there before: in the task's last
	// successful execution, or on a merge request's target branch.
	fresh counts
	// resolved are the defects that were there before and are gone.
	resolved []defect
}

// compareReports makes a result of a report and the one before, nil when there
// was none: then every defect is new.
func compareReports(found, before *report) *checkResult {
	result := &checkResult{found: found}
	old := map[string]bool{}
	if before != nil {
		for _, d := range before.Defects {
			old[d.ID] = true
		}
	}
	now := map[string]bool{}
	for _, d := range found.Defects {
		now[d.ID] = true
		if !old[d.ID] {
			result.fresh[d.Severity]++
		}
	}
	if before != nil {
		for _, d := range before.Defects {
			if !now[d.ID] {
				result.resolved = append(result.resolved, d)
			}
		}
	}
	return result
}

// changedCode leaves of what was found what a merge request's own changes bring: what was not
// there before, base being what was.
func (r *checkResult) changedCode(base *report) *checkResult {
	old := map[string]bool{}
	for _, d := range base.Defects {
		old[d.ID] = true
	}
	found := *r.found
	found.Defects = slices.DeleteFunc(slices.Clone(found.Defects), func(d defect) bool { return old[d.ID] })
	return &checkResult{found: &found, fresh: r.fresh, resolved: r.resolved}
}

// ResultSettings are the points of a summary that are not documented or came late
// (specs/codearts-check.md 1.9 and 2).
type ResultSettings struct {
	// SummaryDelay is how long after the end of an execution the summary still shows the
	// one before. Default none.
	SummaryDelay time.Duration
	// OmitNewCounts leaves the four new_*_count null, which older editions do not name;
	// default: they are there.
	OmitNewCounts bool
	// AccessPassed and AccessFailed are literals of is_access in place of those of
	// Options.IsAccess. Default: none.
	AccessPassed, AccessFailed string
}

func (c counts) sum() int { return c[critical] + c[major] + c[minor] + c[suggestion] }

// chosen returns the task of a call and the execution whose results it shows:
// job_id's, else the latest successful one. The execution is nil when that one
// has no results (yet). merge_id leads from a full task to its incremental one.
// The caller holds mu.
func (s *checkService) chosen(c *call) (*checkTask, *execution, bool) {
	task, found := s.find(c.task())
	if !found {
		return nil, nil, false
	}
	if mergeID := c.query("merge_id"); mergeID != "" && task.parent == nil {
		for _, t := range s.tasks {
			if t.parent == task && t.mergeID == mergeID {
				task = t
			}
		}
	}
	shown := task.latestSuccess()
	if jobID := s.jobID(c); jobID != "" {
		shown = nil
		for _, e := range task.executions {
			if e.id == jobID && e.state == checkSucceeded {
				shown = e
			}
		}
	}
	if shown != nil {
		c.entry.Execution = shown.id
	}
	return task, shown, true
}

// taskSummary is specs/codearts-check.md 1.9. Without results all that a scan
// gives is null.
type taskSummary struct {
	TaskID                     string   `json:"task_id"`
	TaskName                   string   `json:"task_name"`
	CreatorID                  string   `json:"creator_id"`
	GitURL                     string   `json:"git_url"`
	GitBranch                  string   `json:"git_branch"`
	LastCheckTime              *string  `json:"last_check_time"`
	CodeLineTotal              *int     `json:"code_line_total"`
	CodeLine                   *int     `json:"code_line"`
	CodeQuality                *float64 `json:"code_quality"`
	IssueCount                 *int     `json:"issue_count"`
	RiskCoefficient            *float64 `json:"risk_coefficient"`
	DuplicationRatio           *string  `json:"duplication_ratio"`
	ComplexityCount            *int     `json:"complexity_count"`
	DuplicatedLines            *int     `json:"duplicated_lines"`
	CommentLines               *int     `json:"comment_lines"`
	CommentRatio               *string  `json:"comment_ratio"`
	DuplicatedBlocks           *int     `json:"duplicated_blocks"`
	LastExecTime               *string  `json:"last_exec_time"`
	CheckType                  string   `json:"check_type"`
	CreatedAt                  *string  `json:"created_at"`
	CyclomaticComplexityMethod *string  `json:"cyclomatic_complexity_per_method"`
	CyclomaticComplexityFile   *string  `json:"cyclomatic_complexity_per_file"`
	CriticalCount              *string  `json:"critical_count"`
	MajorCount                 *string  `json:"major_count"`
	MinorCount                 *string  `json:"minor_count"`
	SuggestionCount            *string  `json:"suggestion_count"`
	IsAccess                   *string  `json:"is_access"`
	TriggerType                *string  `json:"trigger_type"`
	FileDuplicationRatio       *string  `json:"file_duplication_ratio"`
	NewCount                   *int     `json:"new_count"`
	SolveCount                 *int     `json:"solve_count"`
	DuplicatedFiles            *int     `json:"duplicated_files"`
	NewCriticalCount           *string  `json:"new_critical_count"`
	NewMajorCount              *string  `json:"new_major_count"`
	NewMinorCount              *string  `json:"new_minor_count"`
	NewSuggestionCount         *string  `json:"new_suggestion_count"`
}

// summary is GET /v2/tasks/{task_id}/defects-summary. Duplication and
// complexity are not measured and always 0.
func (s *checkService) summary(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	task, shown, found := s.chosen(c)
	if !found {
		return errNoProject()
	}
	if shown != nil && s.opts.Now().Sub(shown.finishedAt) < s.opts.Results.SummaryDelay {
		shown = task.successBefore(shown)
	}
	body := taskSummary{
		TaskID: task.id, TaskName: task.name, CreatorID: s.creator(), GitURL: task.url, GitBranch: task.branch,
		CheckType: "source", CreatedAt: s.time(task.createdAt),
	}
	if shown == nil {
		return ok(body)
	}
	started, finished := task.shownTimes(shown)
	body.LastCheckTime, body.LastExecTime = s.time(started), s.time(finished)
	body.fill(shown.result, s.opts.Results)
	body.IsAccess = new(s.access(task, countBySeverity(shown.result.found.Defects)))
	return ok(body)
}

// successBefore returns the newest execution before e that succeeded, or nil.
func (t *checkTask) successBefore(e *execution) (before *execution) {
	for _, other := range t.executions {
		if other == e {
			break
		}
		if other.state == checkSucceeded {
			before = other
		}
	}
	return before
}

// shownTimes are the times of an execution, in whole seconds. No two executions of a task
// have the same: at the service none takes less than that.
func (t *checkTask) shownTimes(e *execution) (started, finished time.Time) {
	for _, other := range t.executions {
		if next := other.startedAt.Truncate(time.Second); next.After(started) {
			started = next
		} else {
			started = started.Add(time.Second)
		}
		if other == e {
			break
		}
	}
	return started, started.Add(e.finishedAt.Sub(e.startedAt))
}

func (b *taskSummary) fill(r *checkResult, settings ResultSettings) {
	lines, open := r.found.Lines, countBySeverity(r.found.Defects)
	b.CodeLineTotal, b.CodeLine, b.CommentLines = &lines.total, &lines.code, &lines.comment
	b.CodeQuality = new(perThousand(open.sum(), lines.code))
	b.RiskCoefficient = new(perThousand(10*open[critical]+3*open[major]+open[minor], lines.code))
	b.CommentRatio = new(percent(lines.comment, lines.comment+lines.code))
	b.DuplicationRatio, b.FileDuplicationRatio = new(percent(0, 1)), new(percent(0, 1))
	b.ComplexityCount, b.DuplicatedLines, b.DuplicatedBlocks, b.DuplicatedFiles = new(0), new(0), new(0), new(0)
	b.CyclomaticComplexityMethod, b.CyclomaticComplexityFile = new("0.0"), new("0.0")
	b.IssueCount, b.NewCount, b.SolveCount = new(open.sum()), new(r.fresh.sum()), new(len(r.resolved))
	b.CriticalCount, b.MajorCount = new(strconv.Itoa(open[critical])), new(strconv.Itoa(open[major]))
	b.MinorCount, b.SuggestionCount = new(strconv.Itoa(open[minor])), new(strconv.Itoa(open[suggestion]))
	if !settings.OmitNewCounts {
		b.NewCriticalCount, b.NewMajorCount = new(strconv.Itoa(r.fresh[critical])), new(strconv.Itoa(r.fresh[major]))
		b.NewMinorCount, b.NewSuggestionCount = new(strconv.Itoa(r.fresh[minor])), new(strconv.Itoa(r.fresh[suggestion]))
	}
	b.TriggerType = new("0")
}

func perThousand(part, whole int) float64 {
	return float64(part*100000/max(whole, 1)) / 100
}

func percent(part, whole int) string {
	return fmt.Sprintf("%.1f%%", 100*float64(part)/float64(max(whole, 1)))
}

// taskStatistic is specs/codearts-check.md 1.10.
type taskStatistic struct {
	Severity struct {
		Critical   int `json:"critical"`
		Major      int `json:"major"`
		Minor      int `json:"minor"`
		Suggestion int `json:"suggestion"`
	} `json:"severity"`
	Status struct {
		Unresolved int `json:"unresolved"`
		Resolved   int `json:"resolved"`
		Dismissed  int `json:"dismissed"`
	} `json:"status"`
	LastCheckTime       *string `json:"last_check_time,omitempty"`
	LastCheckFinishTime *string `json:"last_check_finish_time,omitempty"`
}

// statistic is GET /v2/tasks/{task_id}/defects-statistic. The severities count
// what is unresolved; without results every count is 0.
func (s *checkService) statistic(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	task, shown, found := s.chosen(c)
	if !found {
		return errNoProject()
	}
	var body taskStatistic
	if shown == nil {
		return ok(body)
	}
	open := countBySeverity(shown.result.found.Defects)
	body.Severity.Critical, body.Severity.Major = open[critical], open[major]
	body.Severity.Minor, body.Severity.Suggestion = open[minor], open[suggestion]
	body.Status.Unresolved, body.Status.Resolved = open.sum(), len(shown.result.resolved)
	if c.query("time_info_switch") == "true" {
		started, finished := task.shownTimes(shown)
		body.LastCheckTime, body.LastCheckFinishTime = s.time(started), s.time(finished)
	}
	return ok(body)
}

// records is GET /v2/{project_id}/tasks/{task_id}/checkrecord: the successful
// executions, newest first, without their ids.
func (s *checkService) records(c *call) answer {
	offset, okOffset := c.number("offset", 0, 0, 999999)
	limit, okLimit := c.number("limit", 10, 1, 1000)
	from, okFrom := instant(c.query("start_time"))
	to, okTo := instant(c.query("end_time"))
	if !okOffset || !okLimit || !okFrom || !okTo {
		return s.badParameter(c, "offset is 0 to 999999, limit 1 to 1000, the times yyyy-MM-ddTHH:mm:ssZ")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	task, found := s.find(c.task())
	if !found || task.project != c.project() {
		return errNoProject()
	}
	var shown []checkRecord
	for _, e := range slices.Backward(task.executions) {
		if e.state != checkSucceeded || e.startedAt.Before(from) || !to.IsZero() && e.startedAt.After(to) {
			continue
		}
		open := countBySeverity(e.result.found.Defects)
		shown = append(shown, checkRecord{
			CheckTime: s.time(e.startedAt), CheckEndTime: s.time(e.finishedAt),
			IssueCounts: issueCounts{Critical: open[critical], Serious: open[major], Normal: open[minor], Prompt: open[suggestion]},
		})
	}
	first, last := s.page(len(shown), offset, limit)
	return ok(recordList{Data: append([]checkRecord{}, shown[first:last]...), Total: len(shown)})
}

// recordList is specs/codearts-check.md 1.12; it has severity names of its own.
type recordList struct {
	Data  []checkRecord `json:"data"`
	Total int           `json:"total"`
}

type checkRecord struct {
	CheckTime    *string     `json:"check_time"`
	CheckEndTime *string     `json:"check_end_time"`
	IssueCounts  issueCounts `json:"issue_counts"`
}

type issueCounts struct {
	Critical int `json:"critical"`
	Serious  int `json:"serious"`
	Normal   int `json:"normal"`
	Prompt   int `json:"prompt"`
}

// instant reads a time of a query in either dialect; empty is the zero time.
func instant(text string) (time.Time, bool) {
	if text == "" {
		return time.Time{}, true
	}
	for _, layout := range []string{time.RFC3339, time.DateTime} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// logDetail is GET /v2/{project_id}/tasks/{task_id}/log-detail: why the
// execution execute_id, or the latest, failed; no log when it did not.
func (s *checkService) logDetail(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	task, found := s.find(c.task())
	if !found || task.project != c.project() {
		return errNoProject()
	}
	shown := task.latest()
	if id := c.query("execute_id"); id != "" {
		shown = nil
		for _, e := range task.executions {
			if e.id == id {
				shown = e
			}
		}
	}
	body := taskLog{
		ParamInfo: logParameters{URL: task.url, Branch: task.branch, Language: strings.Join(task.languages, ",")},
		LogInfo:   []logStep{},
	}
	if shown != nil {
		c.entry.Execution = shown.id
	}
	if shown != nil && shown.state == checkFailed {
		body.LogInfo = append(body.LogInfo, logStep{DisplayName: "Code Download", Log: shown.failure, Level: "error"})
	}
	return ok(body)
}

// taskLog is specs/codearts-check.md 1.12.
type taskLog struct {
	ParamInfo logParameters `json:"param_info"`
	LogInfo   []logStep     `json:"log_info"`
}

type logParameters struct {
	URL           string `json:"url"`
	Branch        string `json:"branch"`
	Language      string `json:"language"`
	ExcludeDir    string `json:"exclude_dir"`
	Encode        string `json:"encode"`
	CompileConfig string `json:"compile_config"`
	RuleTemplate  string `json:"rule_template"`
}

type logStep struct {
	DisplayName string `json:"display_name"`
	Log         string `json:"log"`
	Level       string `json:"level"`
	Analysis    string `json:"analysis"`
	FAQ         string `json:"faq"`
}
