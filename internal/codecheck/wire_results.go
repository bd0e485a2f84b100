package codecheck

import (
	"context"
	"net/url"

	"github.com/gatewright/gatewright/internal/huaweicloud"
)

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

// counted says that all four counts are there.
func (s summary) counted() bool {
	_, counted := fourCounts(s.Critical, s.Major, s.Minor, s.Suggestion)
	return counted
}

func (s summary) newCounts() (Counts, bool) {
	return fourCounts(s.NewCritical, s.NewMajor, s.NewMinor, s.NewSuggestion)
}

// fourCounts reports false when one of the four is missing, or no count.
func fourCounts(critical, major, minor, suggestion number) (Counts, bool) {
	for _, n := range []number{critical, major, minor, suggestion} {
		if !n.set || n.n < 0 {
			return Counts{}, false
		}
	}
	return Counts{critical.n, major.n, minor.n, suggestion.n}, true
}

func (a api) summary(ctx context.Context, task, job string) (summary, error) {
	var response summary
	err := a.read(ctx, "read summary", huaweicloud.Path("/v2/tasks/%s/defects-summary", task), jobQuery(job), &response)
	return response, err
}

// statistic gives the counts of defects-statistic, and whether all four are
// there (1.10).
func (a api) statistic(ctx context.Context, task string) (Counts, bool, error) {
	var response struct {
		Severity struct {
			Critical   number `json:"critical"`
			Major      number `json:"major"`
			Minor      number `json:"minor"`
			Suggestion number `json:"suggestion"`
		} `json:"severity"`
	}
	err := a.read(ctx, "read statistic", huaweicloud.Path("/v2/tasks/%s/defects-statistic", task), nil, &response)
	counts, all := fourCounts(response.Severity.Critical, response.Severity.Major, response.Severity.Minor, response.Severity.Suggestion)
	return counts, all && err == nil, err
}

// logEntry is one part of a failed execution's log (1.12).
type logEntry struct {
	Level text `json:"level"`
	Log   text `json:"log"`
}

// failureLog gives the log of a failed execution (1.12).
func (a api) failureLog(ctx context.Context, project, task, exec string) ([]logEntry, error) {
	var response struct {
		Entries lax[logEntry] `json:"log_info"`
	}
	query := url.Values{}
	if exec != "" {
		query.Set("execute_id", exec)
	}
	err := a.read(ctx, "read failure log", huaweicloud.Path("/v2/%s/tasks/%s/log-detail", project, task), query, &response)
	return response.Entries, err
}
