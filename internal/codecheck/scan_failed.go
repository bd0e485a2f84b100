package codecheck

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// scanFailed reads the log of a failed execution.
func (c *Checker) scanFailed(ctx context.Context, run Run) (Run, time.Duration, error) {
	entries, err := c.api.failureLog(ctx, run.Check.ProjectID, run.Task.ID, run.ExecID)
	if ctx.Err() != nil {
		return run, 0, err
	}
	log := failingStep(entries)
	if token := c.options.Login(run.Event.Connection).Token; token != "" {
		log = strings.ReplaceAll(log, token, "***")
	}
	why := summarizeLog(log)
	if err != nil {
		why = "its log cannot be read: " + err.Error()
	} else if why == "" {
		why = "its log is empty"
	}
	pullFailed := run.Ref != "" && c.pullFailed(log)
	if pullFailed && c.mayTryOtherRef(run) {
		return otherRef(run, why), 0, nil
	}
	if pullFailed && len(run.RefsTried) > 1 {
		why = fmt.Sprintf("neither %s nor %s could pull the code: %s", run.RefsTried[0], run.RefsTried[1], why)
	}
	return c.end(run, Errored, "the scan failed: "+why), 0, nil
}

// failingStep is the log of the step that failed: of the first entry of level error that
// says anything, else of the last one that does; empty when none does.
func failingStep(entries []logEntry) string {
	chosen := ""
	for _, e := range entries {
		if log := strings.TrimSpace(string(e.Log)); log != "" {
			chosen = log
			if strings.EqualFold(string(e.Level), "error") {
				break
			}
		}
	}
	return chosen
}

// failingLines is how many of the last lines of a failing step say why it failed.
const failingLines = 10

// pullFailed reports whether the log of the failing step says that the code could not be
// pulled; a log that says nothing may hide that.
func (c *Checker) pullFailed(log string) bool {
	if log == "" {
		return true
	}
	lines := strings.Split(log, "\n")
	for _, line := range lines[max(len(lines)-failingLines, 0):] {
		if slices.ContainsFunc(c.pullFailure, func(r *regexp.Regexp) bool { return r.MatchString(line) }) {
			return true
		}
	}
	return false
}

// longestReason bounds what is quoted of a log, in characters.
const longestReason = 300

// summarizeLog gives the part of a failing step's log that says what went wrong, on one
// line: its last two lines. Credentials in addresses are left out.
func summarizeLog(log string) string {
	lines := strings.Split(log, "\n")
	line := strings.Join(strings.Fields(strings.Join(lines[max(len(lines)-2, 0):], " ")), " ")
	line = regexp.MustCompile(`://[^/@\s]+@`).ReplaceAllString(line, "://***@")
	if runes := []rune(line); len(runes) > longestReason {
		return "…" + string(runes[len(runes)-longestReason:])
	}
	return line
}
