package codecheck

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
)

// Poll looks once at a Running run. While the scan goes on, the run comes back
// Running with the wait before the next look. A finished scan is read and
// judged: Passed or Failed, with counts, defects and verdict. A failed scan is
// Errored with what its log says; but when the code of a merge request could not
// be pulled and the ref was free to choose, the run comes back Queued, once,
// with the other ref. Somebody's stop is Stopped. Past its deadline the
// execution is stopped and the run Errored.
//
// An error is something to try again, as with Start. A run that is not Running
// is returned as it is.
func (c *Checker) Poll(ctx context.Context, run Run) (Run, time.Duration, error) {
	if run.State != Running {
		return run, 0, nil
	}
	if c.late(run) {
		return c.expire(ctx, run)
	}
	status, err := c.api.progress(ctx, run.Task.ID, c.job(run))
	if err != nil {
		return c.giveUpOrRetry(run, err)
	}
	run.Polls++
	switch {
	case !status.set:
		return c.unknown(run)
	case status.n == checking:
		run.SeenRunning = true
		run.Reason = "the scan is running"
		return run, c.wait(run, run.StartedAt), nil
	case status.n == scanError || status.n == scanDone || status.n == stopped:
		if old, wait, err := c.outdated(ctx, run); err != nil {
			return c.giveUpOrRetry(run, err)
		} else if old {
			return c.notOurs(run, wait)
		}
	}
	switch status.n {
	case scanError:
		return c.scanFailed(ctx, run)
	case scanDone:
		return c.results(ctx, run)
	case stopped:
		return c.end(run, Stopped, "the execution was stopped at CodeArts Check"), 0, nil
	}
	run.Reason = fmt.Sprintf("the scan has the unknown status %d; waits for one that is known", status.n)
	return run, c.wait(run, run.StartedAt), nil
}

// job is the execution that questions are about; in the 2023 dialect they are
// about the task's latest.
func (c *Checker) job(run Run) string {
	if c.options.Dialect == Dialect2023 {
		return ""
	}
	return run.ExecID
}

// unknown is an execution that the progress does not know: for a while after the
// start that is so, later it is an error.
func (c *Checker) unknown(run Run) (Run, time.Duration, error) {
	if waited := c.options.Now().Sub(run.StartedAt); waited >= c.options.Grace {
		return c.end(run, Errored, fmt.Sprintf("CodeArts Check still does not know the execution after %s", waited.Round(time.Second))), 0, nil
	}
	run.Reason = "CodeArts Check does not know the execution yet"
	return run, c.wait(run, run.StartedAt), nil
}

// outdated reports, in the 2023 dialect, that an end may be that of the
// execution before ours: ours was never seen running, and the task's check time
// has not moved since we asked.
func (c *Checker) outdated(ctx context.Context, run Run) (bool, time.Duration, error) {
	if c.options.Dialect != Dialect2023 || run.SeenRunning {
		return false, 0, nil
	}
	s, err := c.api.summary(ctx, run.Task.ID, "")
	if err != nil {
		return false, 0, err
	}
	before := ""
	if run.Intent != nil {
		before = run.Intent.LastCheckTime
	}
	return checkTime(s) == before, c.wait(run, run.StartedAt), nil
}

// notOurs waits for our execution to show, and gives up after the grace time.
func (c *Checker) notOurs(run Run, wait time.Duration) (Run, time.Duration, error) {
	if waited := c.options.Now().Sub(run.StartedAt); waited >= c.options.Grace {
		return c.end(run, Errored, fmt.Sprintf("after %s the task still shows only the execution before ours", waited.Round(time.Second))), 0, nil
	}
	run.Reason = "the task still shows the execution before ours"
	return run, wait, nil
}

// expire stops an execution that took too long. Whether that works or not, the
// run is over.
func (c *Checker) expire(ctx context.Context, run Run) (Run, time.Duration, error) {
	after := run.Deadline.Sub(run.CreatedAt).Round(time.Second)
	outcome := "the execution was stopped"
	// A service that never answers takes all the time of the step, each time: only a
	// step that was cancelled asks again.
	if err := c.Stop(ctx, run); errors.Is(ctx.Err(), context.Canceled) {
		return run, 0, err
	} else if err != nil {
		outcome = "the execution could not be stopped: " + err.Error()
	}
	return c.end(run, Errored, fmt.Sprintf("not finished %s after its creation; %s", after, outcome)), 0, nil
}

// Stop ends the run's execution at CodeArts Check, for a run that is superseded
// or too late. An execution that has ended, or a run without one, is no error; one
// of which that cannot be told is, so that the caller asks again. The API stops
// whatever the task runs: a run must be stopped before the next run of the same task
// is started. In the 2023 dialect the progress cannot tell whose execution runs, so
// nothing is stopped there: the execution ends by itself, and its result is ignored.
func (c *Checker) Stop(ctx context.Context, run Run) error {
	if run.Task.ID == "" || run.ExecID == "" || c.options.Dialect == Dialect2023 {
		return nil
	}
	if running, err := c.isRunning(ctx, run); err != nil || !running {
		return err
	}
	err := c.api.stop(ctx, run.Task.ID)
	if err == nil {
		return nil
	}
	if running, lookErr := c.isRunning(ctx, run); lookErr == nil && !running {
		return nil
	}
	return err
}

// isRunning reports false only of an execution that has surely ended.
func (c *Checker) isRunning(ctx context.Context, run Run) (bool, error) {
	status, err := c.api.progress(ctx, run.Task.ID, c.job(run))
	ended := status.set && (status.n == scanError || status.n == scanDone || status.n == stopped)
	return !ended, err
}

// scanFailed reads the log of a failed execution.
func (c *Checker) scanFailed(ctx context.Context, run Run) (Run, time.Duration, error) {
	entries, err := c.api.failureLog(ctx, run.Check.ProjectID, run.Task.ID, run.ExecID)
	if ctx.Err() != nil {
		return run, 0, err
	}
	why := quoted(entries)
	if err != nil {
		why = "its log cannot be read: " + err.Error()
	} else if why == "" {
		why = "its log is empty"
	}
	pullFailed := run.Ref != "" && c.pullFailed(entries)
	if pullFailed && c.mayTryOtherRef(run) {
		return otherRef(run, why), 0, nil
	}
	if pullFailed && len(run.RefsTried) > 1 {
		why = fmt.Sprintf("neither %s nor %s could pull the code: %s", run.RefsTried[0], run.RefsTried[1], why)
	}
	return c.end(run, Errored, "the scan failed: "+why), 0, nil
}

// results reads what a finished scan found, and judges it. Results that are not
// complete are read again a few times, because they may come a little later
// than the end of the scan (specs/codearts-check.md 2).
func (c *Checker) results(ctx context.Context, run Run) (Run, time.Duration, error) {
	s, err := c.api.summary(ctx, run.Task.ID, c.job(run))
	if err != nil && passing(err) {
		return c.giveUpOrRetry(run, err)
	}
	summaryErr := err
	counts, counted := s.counts()
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
		return c.end(run, Errored, "the gate compares new defects only, and the summary does not count them"+because(summaryErr)), 0, nil
	}

	statistic, hasStatistic, err := c.api.statistic(ctx, run.Task.ID)
	if err != nil && passing(err) {
		return c.giveUpOrRetry(run, err)
	}
	var remarks []string
	switch {
	case counted && hasStatistic:
		run.Counts, remarks = higher(counts, statistic)
	case counted:
		run.Counts = counts
	case hasStatistic:
		run.Counts = statistic
		remarks = []string{"the counts are the statistic's, the summary has none" + because(summaryErr)}
	default:
		return c.end(run, Errored, "the scan has finished, but neither its summary nor its statistic has counts"+
			because(errors.Join(summaryErr, err))), 0, nil
	}
	if err := c.rememberRef(ctx, run); err != nil {
		return run, 0, err
	}
	run.Defects, err = c.worst(ctx, run)
	if ctx.Err() != nil {
		return run, 0, err
	} else if err != nil {
		c.options.Log.Warn("defects are not shown", zap.String(event.LogRun, run.ID), zap.Error(err))
	}

	verdict := Judge(run.Check.Gate, run.Counts, run.NewCounts, string(s.Access))
	verdict.Reasons = append(verdict.Reasons, remarks...)
	run.Verdict = &verdict
	if !verdict.Passed {
		return c.end(run, Failed, "the gate is exceeded: "+strings.Join(exceeded(verdict), ", ")), 0, nil
	}
	return c.end(run, Passed, "the gate holds: "+strings.Join(verdict.Reasons, ", ")), 0, nil
}

// passing reports a failure after which the same look may give an answer.
func passing(err error) bool {
	var remote *huaweicloud.Error
	return !errors.As(err, &remote) || remote.Retryable()
}

// because is the end of a sentence that err explains, if there is one.
func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + strings.ReplaceAll(err.Error(), "\n", "; ")
}

// higher takes the higher of two counts of the same defects, and remarks where
// they differ.
func higher(summary, statistic Counts) (Counts, []string) {
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

// worst reads the run's open defects, the most severe first, up to the most
// that are kept.
func (c *Checker) worst(ctx context.Context, run Run) ([]Defect, error) {
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

// exceeded are the verdict's lines about limits that do not hold.
func exceeded(v Verdict) []string {
	var lines []string
	for _, line := range v.Reasons {
		if strings.Contains(line, " > ") {
			lines = append(lines, line)
		}
	}
	if lines == nil {
		return v.Reasons
	}
	return lines
}
