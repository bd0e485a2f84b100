package codecheck

import (
	"slices"
	"time"
)

const (
	// usualSpread bounds how far before and after the median of the earlier scans of a task
	// its next end is expected.
	usualSpread = 30 * time.Second
	// usualMargin and usualShare, of the median, are how much earlier than the shortest and
	// later than the longest of them an end is still expected: the larger of the two counts,
	// within usualSpread.
	usualMargin = 3 * time.Second
	usualShare  = 10
)

// Usual is how long after its start a scan is expected to end: From to To.
type Usual struct {
	From time.Duration `json:"from"`
	To   time.Duration `json:"to"`
}

// usualOf expects the next scan of a task by how long the last ones took; nil when there were
// none.
func usualOf(took []time.Duration) *Usual {
	if len(took) == 0 {
		return nil
	}
	took = slices.Sorted(slices.Values(took))
	median := took[len(took)/2]
	margin := min(max(median/usualShare, usualMargin), usualSpread)
	return &Usual{
		From: max(took[0], median-usualSpread) - margin,
		To:   min(took[len(took)-1], median+usualSpread) + margin,
	}
}

// wait is the wait before the next look at an execution: the longest until its usual end is
// near, the shortest around that, and a growing one after it. Without earlier scans it is a
// quarter of the time since the start.
func (c *Checker) wait(run Run) time.Duration {
	since := c.options.Now().Sub(run.StartedAt)
	switch usual := run.Usual; {
	case usual == nil:
		return c.within(run, since/4)
	case since < usual.From:
		return c.within(run, usual.From-since)
	case since < usual.To:
		return c.within(run, c.options.Poll.Min)
	default:
		return c.within(run, (since-usual.To)/4)
	}
}

// backoff is a quarter of the time since a start, for what is not a scan.
func (c *Checker) backoff(run Run, start time.Time) time.Duration {
	return c.within(run, c.options.Now().Sub(start)/4)
}

// within brings a wait into the poll interval, and before the run's deadline.
func (c *Checker) within(run Run, d time.Duration) time.Duration {
	d = min(max(d, c.options.Poll.Min), c.options.Poll.Max)
	if left := run.Deadline.Sub(c.options.Now()); left > 0 {
		d = min(d, left)
	}
	return d
}

// measured notes how long the scan of a run took that was just seen to have ended: it ended
// between the last look and this one.
func (c *Checker) measured(run Run) Run {
	now, last := c.options.Now(), run.LastSeen
	if run.ScanTook > 0 || !run.StartedAt.Before(now) {
		return run
	}
	if last.Before(run.StartedAt) {
		last = run.StartedAt
	}
	run.ScanTook = last.Add(now.Sub(last) / 2).Sub(run.StartedAt)
	return run
}
