package standin

import (
	"slices"
	"strconv"
	"strings"
)

// defectList is specs/codearts-check.md 1.11.
type defectList struct {
	Defects []defectItem `json:"defects"`
	Total   int          `json:"total"`
}

// defectItem is a DefectInfoV2; its numbers are strings.
type defectItem struct {
	DefectID          string           `json:"defect_id"`
	DefectCheckerName string           `json:"defect_checker_name"`
	DefectStatus      string           `json:"defect_status"`
	RuleSystemTags    string           `json:"rule_system_tags"`
	RuleID            string           `json:"rule_id"`
	RuleName          string           `json:"rule_name"`
	LineNumber        string           `json:"line_number"`
	DefectContent     string           `json:"defect_content"`
	DefectLevel       string           `json:"defect_level"`
	FilePath          string           `json:"file_path"`
	CreatedAt         *string          `json:"created_at"`
	IssueKey          string           `json:"issue_key"`
	Fragment          []defectFragment `json:"fragment"`
	Events            []defectEvent    `json:"events"`
}

type defectFragment struct {
	LineNum     string `json:"line_num"`
	LineContent string `json:"line_content"`
	StartOffset int    `json:"start_offset"`
	EndOffset   int    `json:"end_offset"`
}

type defectEvent struct {
	Events               string   `json:"events"`
	Description          string   `json:"description"`
	FixSuggestions       []string `json:"fix_suggestions"`
	Line                 string   `json:"line"`
	EndLine              string   `json:"end_line"`
	CodeContextStartLine string   `json:"code_context_start_line"`
	Main                 bool     `json:"main"`
	Path                 string   `json:"path"`
	Tag                  string   `json:"tag"`
	MainBuggyCode        string   `json:"main_buggy_code"`
	CodeContext          string   `json:"code_context"`
}

// DefectSettings are the points on which the editions of defects-detail disagree
// (specs/codearts-check.md 1.11 and 8).
type DefectSettings struct {
	// Paging is what offset means: a record's number (2023, 2025-12), a page's from 0
	// (2024-11), or a page's (2025-08). Default: Options.Paging.
	Paging Paging
	// Duplicates sends the first defect of each page twice, so that a page has more rows
	// than limit, as the 2025-12 edition says that it may; default: each once.
	Duplicates bool
}

// The values of status_ids and defect_status that occur here; nothing is ever
// ignored (2).
const (
	statusUnresolved = "0"
	statusResolved   = "1"
	statusIgnored    = "2"
)

// defects is GET /v2/tasks/{task_id}/defects-detail: worst first. status_ids
// defaults to the unresolved ones, severity to all.
func (s *checkService) defects(c *call) answer {
	most := 200
	if s.opts.Dialect == Dialect2023 {
		most = 100
	}
	offset, okOffset := c.number("offset", 0, 0, 999999)
	limit, okLimit := c.number("limit", 10, 1, most)
	statuses, okStatus := c.choices("status_ids", []string{statusUnresolved}, statusUnresolved, statusResolved, statusIgnored)
	levels, okLevel := c.choices("severity", []string{"0", "1", "2", "3"}, "0", "1", "2", "3")
	if !okOffset || !okLimit || !okStatus || !okLevel {
		return s.badParameter(c, "offset is 0 to 999999, limit 1 to "+strconv.Itoa(most)+", status_ids of 0 to 2, severity of 0 to 3")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, shown, found := s.chosen(c)
	if !found {
		return errNoProject()
	}
	page := defectList{Defects: []defectItem{}}
	if shown == nil {
		return ok(page)
	}
	var all []defectItem
	add := func(status string, defects []defect) {
		for _, d := range defects {
			if slices.Contains(statuses, status) && slices.Contains(levels, strconv.Itoa(int(d.Severity))) {
				all = append(all, d.item(status, s.time(shown.finishedAt)))
			}
		}
	}
	add(statusUnresolved, shown.result.found.Defects)
	add(statusResolved, shown.result.resolved)
	from, to := pageOf(s.defectsPaging(), len(all), offset, limit)
	page.Defects, page.Total = append(page.Defects, all[from:to]...), len(all)
	if s.opts.Defects.Duplicates && to > from {
		page.Defects = append(page.Defects, all[from])
	}
	return ok(page)
}

// defectsPaging is what offset counts here.
func (s *checkService) defectsPaging() Paging {
	if s.opts.Defects.Paging == pagingSame {
		return s.opts.Paging
	}
	return s.opts.Defects.Paging
}

// choices reads a comma-separated query parameter whose values must be legal.
func (c *call) choices(name string, fallback []string, legal ...string) ([]string, bool) {
	if c.query(name) == "" {
		return fallback, true
	}
	values := strings.Split(c.query(name), ",")
	for _, v := range values {
		if !slices.Contains(legal, v) {
			return nil, false
		}
	}
	return values, true
}

func (d defect) item(status string, createdAt *string) defectItem {
	line := strconv.Itoa(d.Line)
	return defectItem{
		DefectID: d.ID, DefectCheckerName: d.Checker, DefectStatus: status, RuleSystemTags: d.Checker,
		RuleID: d.Rule, RuleName: d.Rule, LineNumber: line, DefectContent: d.Message,
		DefectLevel: strconv.Itoa(int(d.Severity)), FilePath: d.Path, CreatedAt: createdAt, IssueKey: d.ID,
		Fragment: []defectFragment{{LineNum: line, LineContent: d.Content, EndOffset: len(d.Content)}},
		Events: []defectEvent{{
			Events: d.Checker, Description: d.Message, FixSuggestions: []string{d.Fix}, Line: line, EndLine: line,
			CodeContextStartLine: line, Main: true, Path: d.Path, MainBuggyCode: d.Content, CodeContext: d.Content,
		}},
	}
}
