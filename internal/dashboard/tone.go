package dashboard

import (
	"fmt"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/view"
)

// tone is what a state means to somebody who reads fast: its colour and its shape.
type tone string

// The tones.
const (
	good tone = "good" // it went as it should
	bad  tone = "bad"  // it went wrong
	warn tone = "warn" // somebody must look
	busy tone = "busy" // it goes on
	off  tone = "off"  // it is over, or has not begun, and that is all right
)

// toneOf is the tone of a state of a delivery, run or release, and of what else pages show as a state.
func toneOf(state string) tone {
	switch state {
	case "passed", "succeeded", "decided", "matched", "success", "accepted", "adopted", "written", "done", "connected", "approved":
		return good
	case "failed", "errored", "failure", "error", "exceeded", "problem":
		return bad
	case "held", "awaiting_approval", "paused", "unknown", "expired", "approval", "trust", "verdict", "waits", "given_up":
		return warn
	case "queued", "starting", "running", "received", "pending":
		return busy
	}
	return off
}

// shape is the path of a tone's mark in a box of 12 by 12.
func (t tone) shape() string {
	switch t {
	case good: // a tick
		return "M1 6.4 2.6 4.8 4.9 7 9.6 2.2 11.2 3.8 4.9 10.2z"
	case bad: // a cross
		return "M2.6 1 6 4.4 9.4 1 11 2.6 7.6 6 11 9.4 9.4 11 6 7.6 2.6 11 1 9.4 4.4 6 1 2.6z"
	case warn: // a triangle
		return "M6 .8 11.6 11H.4zM5.3 4.4v3.4h1.4V4.4zM5.3 8.6V10h1.4V8.6z"
	case busy: // a half-filled circle
		return "M6 .8a5.2 5.2 0 1 1 0 10.4A5.2 5.2 0 0 1 6 .8zm0 1.5v7.4a3.7 3.7 0 0 0 0-7.4z"
	}
	return "M1 4.9h10v2.2H1z" // a dash
}

// bar is the part of a timeline's row that a span takes, in a box that is barWidth wide.
type bar struct {
	x, width float64
	tone     tone
	// point: it took no time. open: it goes on.
	point, open bool
}

const barWidth = 1000.0

// barOf places a span between two moments. What is too short to be seen is made visible.
func barOf(s view.Span, from, to, now time.Time) bar {
	total := max(to.Sub(from).Seconds(), 0.001)
	at := func(t time.Time) float64 {
		return min(max(t.Sub(from).Seconds()/total*barWidth, 0), barWidth)
	}
	end := now
	if s.To != nil {
		end = *s.To
	}
	b := bar{x: at(s.From), tone: toneOf(s.State), open: s.To == nil, point: s.To != nil && s.To.Equal(s.From)}
	switch {
	case s.Kind == view.SpanAction, s.Kind == view.SpanDelivery:
		b.tone = busy
	case s.WaitsFor == view.ForPerson:
		b.tone = warn
	case s.To != nil && (s.Kind == view.SpanTask || s.Kind == view.SpanDecision):
		// What came of the record is shown where it came.
		b.tone = off
	}
	b.width = max(at(end)-b.x, 4)
	b.x = min(b.x, barWidth-b.width)
	return b
}

// num is a coordinate.
func num(f float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.1f", f), "0"), ".")
}
