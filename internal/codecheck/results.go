package codecheck

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/rules"
)

// results reads the counts of a finished scan, and judges them once its findings are read
// too. Results that are not complete, that are those of the execution before, or that do
// not agree are read again a few times, because they may come a little later than the end
// of the scan (specs/codearts-check.md 2).
func (c *Checker) results(ctx context.Context, run Run) (Run, time.Duration, error) {
	s, summaryErr := c.api.summary(ctx, run.Task.ID, c.job(run))
	if summaryErr != nil && !Permanent(summaryErr) {
		return c.waitOrEnd(run, summaryErr)
	}
	again := run.Reads < c.options.ResultReads
	late := c.isOld(run, s)
	if reason := c.missing(run, s, late); reason != "" && again {
		return c.readAgain(run, reason)
	}
	if late {
		return c.end(run, Errored, fmt.Sprintf("the scan has finished, but the summary still has the times of the check before (%s) after %d reads, and is not judged by; "+
			"where they do not change with every check, set huaweicloud.capabilities.check_times to off", strings.TrimSpace(run.checkTimeBefore()), run.Reads+1)), 0, nil
	}
	counts, remarks, err := c.counts(ctx, run, s, summaryErr)
	if err != nil {
		return c.waitOrEnd(run, err)
	}
	if len(remarks) > 0 && summaryErr == nil && s.counted() && again {
		return c.readAgain(run, "summary and statistic do not agree yet")
	}
	run.Counts = counts
	if fresh, counted := s.newCounts(); counted {
		run.NewCounts, run.NewCountsFrom = &fresh, NewFromSummary
	}
	if err := c.saveRef(ctx, run); err != nil {
		return c.waitOrEnd(run, err)
	}
	run.Reading = &Reading{Access: bounded(string(s.Access), longestID), Remarks: remarks}
	if counts == (Counts{}) || !c.keepsFindings() {
		return c.judge(ctx, run, nil, "")
	}
	// The step that begins to read has all its time for that.
	run.Reason = "reads the findings"
	return run, minimalWait, nil
}

// readAgain waits for better results.
func (c *Checker) readAgain(run Run, reason string) (Run, time.Duration, error) {
	run.Reads++
	run.Reason = reason
	return run, c.options.Poll.Min, nil
}

// isOld reports that a summary is that of the execution before ours: it has the times that
// were seen before ours was asked for. Where none were seen, nothing shows that.
func (c *Checker) isOld(run Run, s summary) bool {
	before := run.checkTimeBefore()
	return c.options.CheckTimes != Off && before != "" && checkTime(s) == before
}

// missing says what a summary lacks; empty when it has all that the gate needs.
func (c *Checker) missing(run Run, s summary, late bool) string {
	gate := run.Check.Gate
	_, newCounted := s.newCounts()
	switch {
	case late:
		return "the scan has finished, its summary is still that of the check before"
	case !s.counted(), gate.ComparesNew() && !newCounted, gate.CodeArtsGate == rules.AccessRequire && s.Access == "":
		return "the scan has finished, its results are not complete yet"
	}
	return ""
}

// counts gives the run's defects by severity, from its summary and the statistic of
// its task, with remarks where these two do not agree.
func (c *Checker) counts(ctx context.Context, run Run, s summary, summaryErr error) (Counts, []string, error) {
	statistic, hasStatistic, err := c.api.statistic(ctx, run.Task.ID)
	if err != nil && !Permanent(err) {
		return Counts{}, nil, err
	}
	counts, counted := fourCounts(s.Critical, s.Major, s.Minor, s.Suggestion)
	switch {
	case counted && hasStatistic:
		counts, remarks := higherCounts(counts, statistic)
		return counts, remarks, nil
	case counted:
		return counts, nil, nil
	case hasStatistic:
		return statistic, []string{"the counts are the statistic's, the summary has none" + causeText(summaryErr)}, nil
	}
	return Counts{}, nil, permanentError("the scan has finished, but neither its summary nor its statistic has counts" +
		causeText(errors.Join(summaryErr, err)))
}

// causeText is the end of a sentence that err explains, if there is one.
func causeText(err error) string {
	if err == nil {
		return ""
	}
	return ": " + strings.ReplaceAll(err.Error(), "\n", "; ")
}

// higherCounts takes the higher of two counts of the same defects, and remarks where
// they differ.
func higherCounts(summary, statistic Counts) (Counts, []string) {
	counts := Counts{
		Critical:   max(summary.Critical, statistic.Critical),
		Major:      max(summary.Major, statistic.Major),
		Minor:      max(summary.Minor, statistic.Minor),
		Suggestion: max(summary.Suggestion, statistic.Suggestion),
	}
	var remarks []string
	for i, severity := range severities() {
		if s, t := summary.bySeverity()[i], statistic.bySeverity()[i]; s != t {
			remarks = append(remarks, fmt.Sprintf("%s: the summary counts %d and the statistic %d, the higher is taken", severity, s, t))
		}
	}
	return counts, remarks
}

// keepsFindings says that findings are read at all.
func (c *Checker) keepsFindings() bool { return c.options.Findings != nil && c.options.MaxFindings > 0 }

// mostDefects is how many of its findings a run has in itself.
const mostDefects = 50

// judge ends a run whose counts are known by the gate. found is what is kept of its
// findings, and note says why that is not all; it is all when note is empty.
func (c *Checker) judge(ctx context.Context, run Run, found []Finding, note string) (Run, time.Duration, error) {
	access, remarks := run.Reading.Access, run.Reading.Remarks
	if c.keepsFindings() {
		state, err := c.keep(ctx, &run, found, note)
		if err != nil {
			return c.waitOrEnd(run, err)
		}
		run.Findings, note = state, state.Note
		if !state.Complete {
			remarks = append(remarks, note)
		}
	} else {
		note = "huaweicloud.max_findings is 0"
	}
	run.Reading = nil
	if run.NewCounts == nil && run.Counts == (Counts{}) {
		run.NewCounts, run.NewCountsFrom = &Counts{}, NewFromFindings
	}
	if run.Check.Gate.ComparesNew() && run.NewCounts == nil {
		return c.end(run, Errored, "the gate compares new defects, the summary does not count them, and findings could not be compared: "+note), 0, nil
	}
	verdict := Judge(run.Check.Gate, run.facts(access, accessMeaning(access, c.options.AccessPassed)))
	verdict.Remarks = append(verdict.Remarks, remarks...)
	if run.Check.Gate.ComparesNew() {
		verdict.Remarks = append(verdict.Remarks, run.newRemark())
	}
	run.Verdict = &verdict
	end := Passed
	if !verdict.Passed {
		end = Failed
	}
	return c.end(run, end, verdict.summary()), 0, nil
}

// newRemark says who counted new defects.
func (run Run) newRemark() string {
	switch {
	case run.NewCountsFrom == NewFromSummary:
		return "new defects are those that the summary counts"
	case run.Findings == nil || run.Findings.BaselineRunID == "":
		return "there is no defect, so none is new"
	}
	return "new defects are those that run " + run.Findings.BaselineRunID + " did not find"
}

// keep saves the findings of a run and says what is kept, and note, why that is not all.
// All of them are compared with an earlier run's; what is new is counted where the
// summary did not.
func (c *Checker) keep(ctx context.Context, run *Run, found []Finding, note string) (*FindingsState, error) {
	sortFindings(found)
	state := &FindingsState{RunID: run.ID, Count: len(found), Complete: note == "", Note: note}
	run.Defects = nil
	for _, f := range found[:min(len(found), mostDefects)] {
		run.Defects = append(run.Defects, Defect{ID: f.ID, Severity: f.Severity, Rule: f.Rule, Text: f.Message, File: f.Path, Line: f.Line})
	}
	if len(found) == 0 {
		return state, nil
	}
	if state.Complete {
		base, err := c.options.Findings.Baseline(ctx, *run)
		if err != nil {
			return nil, err
		}
		if base == "" {
			state.Note = "there is no earlier run with all its findings to compare with, so what is new is not known"
		} else if err := c.compare(ctx, run, found, base); err != nil {
			return nil, err
		}
		state.BaselineRunID = base
	}
	return state, c.options.Findings.SaveFindings(ctx, run.ID, found)
}

// compare marks what is new in the findings of a run, compared with those of another one.
func (c *Checker) compare(ctx context.Context, run *Run, found []Finding, base string) error {
	before, err := c.options.Findings.Findings(ctx, base)
	if err != nil {
		return err
	}
	fresh := compareFindings(found, before)
	if run.NewCounts == nil {
		run.NewCounts, run.NewCountsFrom = &fresh, NewFromFindings
	}
	return nil
}
