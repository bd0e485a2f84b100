package codecheck

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/huaweicloud"
)

// Reading is how far the findings of a run are read, whose counts are known. It is saved
// with the run between two calls of Poll; the findings themselves are kept apart.
type Reading struct {
	// Access and Remarks are of the summary; they wait here for the verdict.
	Access  string   `json:"is_access"`
	Remarks []string `json:"remarks,omitempty"`
	// Severity is that of the list which is being read, 0 for critical to 4 for done.
	Severity int         `json:"severity"`
	List     defectPages `json:"list"`
	// Pages counts all pages that were read, Failures the calls that read none.
	Pages    int `json:"pages"`
	Failures int `json:"failures,omitempty"`
	// Kept is how many findings are kept at this position.
	Kept int `json:"kept,omitempty"`
}

// defectPages is the position in one list of defects-detail. `offset` is a record's number
// in the editions of 2023 and, as it seems, of 2025-12, a page's number from 0 in that of
// 2024-11, and a page's number, maybe from 1, in that of 2025-08; a page may have more
// rows than were asked for (1.11, 8). So pages are asked for by number from 0 and each
// defect is taken once. Only a second page that is mostly the first one, and not all of
// it, shows that records are counted.
type defectPages struct {
	// Page counts the pages that were read; Offset is that of the next.
	Page   int `json:"page"`
	Offset int `json:"offset"`
	// Records says that offset counts records.
	Records bool `json:"records,omitempty"`
	// Idle counts the last pages that had nothing new, Seen the defects of the list.
	Idle int `json:"idle,omitempty"`
	Seen int `json:"seen"`
}

// read takes note of a page of which fresh defects were new, and reports whether it was
// the last.
func (p *defectPages) read(page defectPage, fresh int) (last bool) {
	distinct := len(page.findings)
	p.Page++
	p.Seen += fresh
	// Page 0 and page 1 may be the same page, so one page without news is not the
	// end; two in a row are.
	if p.Idle++; fresh > 0 {
		p.Idle = 0
	}
	total, told := page.total.n, page.total.set && page.total.n >= distinct
	if page.rows == 0 || p.Idle == 2 || told && p.Seen >= total || !told && page.rows < defectPageSize {
		return true
	}
	if p.Page == 2 && fresh > 0 && distinct-fresh > fresh {
		p.Records, p.Offset = true, 0
	}
	p.Offset++
	if p.Records {
		p.Offset += defectPageSize - 1
	}
	return false
}

// readFindings reads findings for a while, keeps them, and judges the run when there are
// no more. When they cannot be read, or not all, the run is judged by its counts all the
// same, and says so.
func (c *Checker) readFindings(ctx context.Context, run Run) (Run, time.Duration, error) {
	reading := *run.Reading
	run.Reading = &reading
	kept, err := c.options.Findings.Findings(ctx, run.ID)
	if err != nil {
		return c.waitOrEnd(run, err)
	}
	if len(kept) != reading.Kept && !c.deadlinePassed(run) {
		// Of what a step read only the findings were saved, or only the position: what it read
		// would look like pages without news, or be missed. All is read again.
		kept, reading.Severity, reading.List = nil, 0, defectPages{}
	}
	found := newFindingSet(kept, c.options.MaxFindings)
	if c.deadlinePassed(run) {
		return c.judge(ctx, run, found.list, fmt.Sprintf("only %d findings were read until the deadline", len(found.list)))
	}
	limited, cancel := context.WithTimeout(ctx, c.options.ReadFindingsFor)
	defer cancel()
	pages := reading.Pages
	err = c.readPages(limited, run, found)
	reading.Kept = len(found.list)
	switch {
	case ctx.Err() != nil:
		return run, 0, ctx.Err()
	case found.full:
		return c.judge(ctx, run, found.list, fmt.Sprintf("there are more findings than the %d, the most severe, that are kept", c.options.MaxFindings))
	case err != nil && Permanent(err):
		return c.judge(ctx, run, found.list, fmt.Sprintf("only %d findings were read%s", len(found.list), causeText(err)))
	case err == nil && reading.Severity == len(severities()):
		return c.judge(ctx, run, found.list, found.shortOf(run.Counts))
	}
	wait := minimalWait
	if err != nil && (limited.Err() == nil || reading.Pages == pages) {
		if reading.Failures++; reading.Failures > c.options.ResultReads {
			return c.judge(ctx, run, found.list, fmt.Sprintf("only %d findings were read%s", len(found.list), causeText(err)))
		}
		wait = c.waitAfter(err)
	}
	if err := c.options.Findings.SaveFindings(ctx, run.ID, found.list); err != nil {
		return c.waitOrEnd(run, err)
	}
	run.Reason = fmt.Sprintf("reads the findings: %d so far", len(found.list))
	return run, wait, nil
}

// longestPause bounds what a service can make the reading of findings wait.
const longestPause = time.Minute

// waitAfter is how long the reading waits after an error that may pass.
func (c *Checker) waitAfter(err error) time.Duration {
	wait := c.options.Poll.Min
	var remote *huaweicloud.Error
	if errors.As(err, &remote) {
		wait = max(wait, min(remote.RetryAfter(), longestPause))
	}
	return wait
}

// readPages reads pages until there are no more, found is full, or ctx ends; what was read
// is noted in the run's Reading.
func (c *Checker) readPages(ctx context.Context, run Run, found *findingSet) error {
	reading := run.Reading
	for reading.Severity < len(severities()) {
		last := run.Counts.bySeverity()[reading.Severity] == 0
		for !last {
			if reading.Pages >= c.mostPages() {
				return permanentError(fmt.Sprintf("the service gave few or no new defects on %d pages", reading.Pages))
			}
			page, err := c.api.defects(ctx, run.Task.ID, reading.Severity, reading.List.Offset)
			if err != nil {
				return err
			}
			reading.Pages++
			last = reading.List.read(page, found.add(page.findings))
			if found.full {
				return nil
			}
		}
		reading.Severity++
		reading.List = defectPages{}
	}
	return nil
}

// mostPages bounds the pages of a run: twice what is needed, and some for each severity.
func (c *Checker) mostPages() int { return 2*c.options.MaxFindings/defectPageSize + 20 }

// findingSet is findings, each once.
type findingSet struct {
	list []Finding
	ids  map[string]bool
	most int
	// full says that there was no room for another one.
	full bool
}

func newFindingSet(kept []Finding, most int) *findingSet {
	s := &findingSet{ids: map[string]bool{}, most: most}
	s.add(kept)
	return s
}

// add takes what is new, as long as there is room, and says how many that was.
func (s *findingSet) add(list []Finding) (added int) {
	for _, f := range list {
		switch {
		case s.ids[f.ID]:
		case len(s.list) == s.most:
			s.full = true
			return added
		default:
			s.ids[f.ID] = true
			s.list = append(s.list, f)
			added++
		}
	}
	return added
}

// shortOf says that the findings are fewer than the counts; empty when they are not.
func (s *findingSet) shortOf(counts Counts) string {
	found := countFindings(s.list)
	for i, severity := range severities() {
		if got, want := found.bySeverity()[i], counts.bySeverity()[i]; got < want {
			return fmt.Sprintf("%d of %d %s findings could be read", got, want, severity)
		}
	}
	return ""
}
