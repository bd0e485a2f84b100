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
	why := summarizeLog(entries)
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

// pullFailed reports whether a failed execution's log says that the code could
// not be pulled; a log that says nothing may hide that.
func (c *Checker) pullFailed(entries []logEntry) bool {
	said := false
	for _, e := range entries {
		if strings.TrimSpace(string(e.Log)) == "" {
			continue
		}
		said = true
		if slices.ContainsFunc(c.pullFailure, func(r *regexp.Regexp) bool { return r.MatchString(string(e.Log)) }) {
			return true
		}
	}
	return !said
}

// longestReason bounds what is quoted of a log, in characters.
const longestReason = 300

// summarizeLog gives the part of a log that says what went wrong, on one line: the
// last two lines of the first entry of level error, or of the last entry. Credentials
// in addresses are left out.
func summarizeLog(entries []logEntry) string {
	chosen := ""
	for _, e := range entries {
		if log := strings.TrimSpace(string(e.Log)); log != "" {
			chosen = log
			if strings.EqualFold(string(e.Level), "error") {
				break
			}
		}
	}
	lines := strings.Split(chosen, "\n")
	line := strings.Join(strings.Fields(strings.Join(lines[max(len(lines)-2, 0):], " ")), " ")
	line = regexp.MustCompile(`://[^/@\s]+@`).ReplaceAllString(line, "://***@")
	if runes := []rune(line); len(runes) > longestReason {
		return "…" + string(runes[len(runes)-longestReason:])
	}
	return line
}
