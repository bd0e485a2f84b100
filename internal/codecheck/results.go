package codecheck

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
)

// results reads what a finished scan found, and judges it. Results that are not
// complete are read again a few times, because they may come a little later
// than the end of the scan (specs/codearts-check.md 2).
func (c *Checker) results(ctx context.Context, run Run) (Run, time.Duration, error) {
	s, summaryErr := c.api.summary(ctx, run.Task.ID, c.job(run))
	if summaryErr != nil && !permanent(summaryErr) {
		return c.waitOrEnd(run, summaryErr)
	}
	_, counted := s.counts()
	newCounts, newCounted := s.newCounts()
	if newCounted {
		run.NewCounts = &newCounts
	}
	complete := counted && (newCounted || !run.Check.Gate.NewOnly)
	if !complete && run.Reads < c.options.ResultReads {
		run.Reads++
		run.Reason = "the scan has finished, its results are not complete yet"
		return run, c.options.Poll.Min, nil
	}
	if !newCounted && run.Check.Gate.NewOnly {
		return c.end(run, Errored, "the gate compares new defects only, and the summary does not count them"+causeText(summaryErr)), 0, nil
	}

	counts, remarks, err := c.counts(ctx, run, s, summaryErr)
	if err != nil {
		return c.waitOrEnd(run, err)
	}
	run.Counts = counts
	if err := c.saveRef(ctx, run); err != nil {
		return c.waitOrEnd(run, err)
	}
	run.Defects, err = c.mostSevereDefects(ctx, run)
	if ctx.Err() != nil {
		return run, 0, err
	} else if err != nil {
		c.options.Log.Warn("reading defects failed", zap.String(event.LogRun, run.ID), zap.Error(err))
	}

	verdict := Judge(run.Check.Gate, run.Counts, run.NewCounts, string(s.Access))
	verdict.Remarks = append(verdict.Remarks, remarks...)
	run.Verdict = &verdict
	state := Passed
	if !verdict.Passed {
		state = Failed
	}
	return c.end(run, state, verdict.summary()), 0, nil
}

// counts gives the run's defects by severity, from its summary and the statistic of
// its task, with remarks where these two do not agree.
func (c *Checker) counts(ctx context.Context, run Run, s summary, summaryErr error) (Counts, []string, error) {
	statistic, hasStatistic, err := c.api.statistic(ctx, run.Task.ID)
	if err != nil && !permanent(err) {
		return Counts{}, nil, err
	}
	counts, counted := s.counts()
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
	for _, c := range []struct {
		severity           string
		summary, statistic int
	}{
		{"critical", summary.Critical, statistic.Critical},
		{"major", summary.Major, statistic.Major},
		{"minor", summary.Minor, statistic.Minor},
		{"suggestion", summary.Suggestion, statistic.Suggestion},
	} {
		if c.summary != c.statistic {
			remarks = append(remarks, fmt.Sprintf("%s: the summary counts %d and the statistic %d, the higher is taken", c.severity, c.summary, c.statistic))
		}
	}
	return counts, remarks
}

// mostSevereDefects reads the run's open defects, the most severe first, up to the most
// that are kept.
func (c *Checker) mostSevereDefects(ctx context.Context, run Run) ([]Defect, error) {
	var all []Defect
	counts := run.Counts
	for severity, count := range []int{counts.Critical, counts.Major, counts.Minor, counts.Suggestion} {
		room := c.options.MaxDefects - len(all)
		if count == 0 || room == 0 {
			continue
		}
		found, err := c.api.defects(ctx, run.Task.ID, severity, room)
		if err != nil {
			return all, err
		}
		all = append(all, found...)
	}
	return all, nil
}
