package codecheck

import (
	"testing"
	"time"
)

// TestUsual: when a scan is expected to end by how long the earlier ones took.
func TestUsual(t *testing.T) {
	for _, test := range []struct {
		name     string
		took     []time.Duration
		from, to time.Duration
	}{
		{"one", []time.Duration{60 * time.Second}, 54 * time.Second, 66 * time.Second},
		{"short", []time.Duration{5 * time.Second}, 2 * time.Second, 8 * time.Second},
		{"alike", []time.Duration{62 * time.Second, 58 * time.Second, 60 * time.Second}, 52 * time.Second, 68 * time.Second},
		{"one that hung", []time.Duration{60 * time.Second, 40 * time.Minute, 60 * time.Second}, 54 * time.Second, 96 * time.Second},
		{"long", []time.Duration{time.Hour}, 59*time.Minute + 30*time.Second, time.Hour + 30*time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			if usual := usualOf(test.took); usual == nil || *usual != (Usual{test.from, test.to}) {
				t.Errorf("expected %+v, want from %v to %v", usual, test.from, test.to)
			}
		})
	}
	if usual := usualOf(nil); usual != nil {
		t.Errorf("expected %+v of nothing", usual)
	}
}

// TestWait: how long is waited before the next look, always within the interval.
func TestWait(t *testing.T) {
	usual := &Usual{From: 54 * time.Second, To: 66 * time.Second}
	for _, test := range []struct {
		name        string
		usual       *Usual
		since, want time.Duration
	}{
		{"at the start, nothing known", nil, 0, 3 * time.Second},
		{"later, nothing known", nil, 40 * time.Second, 10 * time.Second},
		{"late, nothing known", nil, time.Hour, 15 * time.Second},
		{"at the start", usual, 0, 15 * time.Second},
		{"before the usual end", usual, 45 * time.Second, 9 * time.Second},
		{"just before it", usual, 53 * time.Second, 3 * time.Second},
		{"around it", usual, 60 * time.Second, 3 * time.Second},
		{"after it", usual, 66 * time.Second, 3 * time.Second},
		{"long after it", usual, 106 * time.Second, 10 * time.Second},
		{"very long after it", usual, time.Hour, 15 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			c := &Checker{options: Options{Poll: Interval{Min: 3 * time.Second, Max: 15 * time.Second}, Now: func() time.Time { return start.Add(test.since) }}}
			run := Run{StartedAt: start, Deadline: start.Add(24 * time.Hour), Usual: test.usual}
			if wait := c.wait(run); wait != test.want {
				t.Errorf("waits %v, want %v", wait, test.want)
			}
			run.Deadline = start.Add(test.since + time.Second)
			if wait := c.wait(run); wait != time.Second {
				t.Errorf("waits %v before the deadline, want 1s", wait)
			}
		})
	}
}
