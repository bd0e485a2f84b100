package dashboard

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/view"
)

// A plot is drawn in a box of plotWidth by plotHeight, with its values between the margins.
const (
	plotWidth, plotHeight   = 380.0, 130.0
	plotLeft, plotRight     = 50.0, 6.0
	plotTop, plotBottom     = 8.0, 20.0
	plotInner, plotInnerTop = plotWidth - plotLeft - plotRight, plotHeight - plotBottom - plotTop
)

// plot is a small picture of an hour.
type plot struct {
	// label says in words what the picture shows.
	label string
	// top is the value at its top, middle that between, in words.
	top, middle string
	from, to    string
	rects       []plotRect
	dots        []plotDot
}

type plotRect struct {
	x, y, width, height float64
	tone                tone
	title               string
}

type plotDot struct {
	x, y  float64
	tone  tone
	title string
	href  string
}

// newPlot is a plot of an hour without values.
func newPlot(p *page, hour view.LastHour) plot {
	return plot{from: hour.From.UTC().Format("15:04"), to: p.now.UTC().Format("15:04")}
}

// plotDeliveries stacks the deliveries of each part by what became of them.
func plotDeliveries(p *page, hour view.LastHour) plot {
	pl := newPlot(p, hour)
	most, total := 1, map[event.DeliveryState]int{}
	for _, part := range hour.Parts {
		most = max(most, part.Total())
		for state, n := range part.Deliveries {
			total[state] += n
		}
	}
	most = roundUp(most)
	pl.top, pl.middle = fmt.Sprint(most), fmt.Sprint(most/2)
	if most == 1 {
		pl.middle = ""
	}
	width := plotInner / float64(max(len(hour.Parts), 1))
	for i, part := range hour.Parts {
		y := plotTop + plotInnerTop
		for _, state := range deliveryStates() {
			n := part.Deliveries[state]
			if n == 0 {
				continue
			}
			height := float64(n) / float64(most) * plotInnerTop
			y -= height
			pl.rects = append(pl.rects, plotRect{x: plotLeft + float64(i)*width + 1.5, y: y, width: width - 3, height: max(height, 1), tone: deliveryTone(state),
				title: fmt.Sprintf("%s: %d %s", part.From.UTC().Format("15:04"), n, p.word(string(state)))})
		}
	}
	pl.label = p.T("Deliveries of the last hour by what became of them") + ":"
	for _, state := range deliveryStates() {
		pl.label += fmt.Sprintf(" %s %d.", p.word(string(state)), total[state])
	}
	return pl
}

// deliveryStates are the states of deliveries from the bottom of a stack to its top.
func deliveryStates() []event.DeliveryState {
	return []event.DeliveryState{event.DeliveryDecided, event.DeliveryIgnored, event.DeliveryDuplicate, event.DeliveryReceived, event.DeliveryFailed}
}

// deliveryTone tells the states of a stack apart.
func deliveryTone(state event.DeliveryState) tone {
	if state == event.DeliveryDuplicate {
		return warn
	}
	return toneOf(string(state))
}

// deliveryTotal counts the deliveries of an hour in a state.
func deliveryTotal(hour view.LastHour, state event.DeliveryState) (n int) {
	for _, part := range hour.Parts {
		n += part.Deliveries[state]
	}
	return n
}

// plotVerdicts shows each verdict by when it came and how long that took.
func plotVerdicts(p *page, hour view.LastHour) plot {
	pl := newPlot(p, hour)
	longest := time.Second
	for _, v := range hour.Verdicts {
		longest = max(longest, v.Took.Duration)
	}
	pl.top, pl.middle = rough(longest), rough(longest/2)
	if longest <= 20*time.Second {
		pl.top, pl.middle = took(longest), took(longest/2)
	}
	span := max(p.now.Sub(hour.From), time.Second)
	for _, v := range hour.Verdicts {
		d := plotDot{
			x:    plotLeft + min(max(v.At.Sub(hour.From).Seconds()/span.Seconds(), 0), 1)*plotInner,
			y:    plotTop + (1-min(v.Took.Seconds()/longest.Seconds(), 1))*plotInnerTop,
			tone: bad, title: fmt.Sprintf("%s: %s, %s", v.At.UTC().Format(time.TimeOnly), took(v.Took.Duration), p.T("failed")), href: "/changes/" + v.RunID,
		}
		if v.Passed {
			d.tone, d.title = good, fmt.Sprintf("%s: %s, %s", v.At.UTC().Format(time.TimeOnly), took(v.Took.Duration), p.T("passed"))
		}
		pl.dots = append(pl.dots, d)
	}
	median, slowest := verdictTimes(hour)
	pl.label = p.T("From push to verdict in the last hour: %d verdicts, median %s, slowest %s", len(hour.Verdicts), took(median), took(slowest))
	return pl
}

// verdictTimes are the median and the longest time from push to verdict.
func verdictTimes(hour view.LastHour) (median, slowest time.Duration) {
	var times []time.Duration
	for _, v := range hour.Verdicts {
		times = append(times, v.Took.Duration)
	}
	if len(times) == 0 {
		return 0, 0
	}
	slices.Sort(times)
	return times[len(times)/2], times[len(times)-1]
}

// plotAge shows the longest wait for a decision in each part.
func plotAge(p *page, hour view.LastHour) plot {
	pl := newPlot(p, hour)
	longest := time.Second
	for _, part := range hour.Parts {
		longest = max(longest, part.Slowest.Duration)
	}
	pl.top, pl.middle = took(longest), took(longest/2)
	width := plotInner / float64(max(len(hour.Parts), 1))
	for i, part := range hour.Parts {
		if part.Slowest.Duration == 0 {
			continue
		}
		t := busy
		if part.Slowest.Duration > time.Minute {
			t = warn
		}
		height := max(part.Slowest.Seconds()/longest.Seconds()*plotInnerTop, 1)
		pl.rects = append(pl.rects, plotRect{x: plotLeft + float64(i)*width + 1.5, y: plotTop + plotInnerTop - height, width: width - 3, height: height, tone: t,
			title: part.From.UTC().Format("15:04") + ": " + took(part.Slowest.Duration)})
	}
	pl.label = p.T("Longest wait of a delivery for its decision in the last hour: %s", took(slowestDecision(hour)))
	return pl
}

func slowestDecision(hour view.LastHour) (longest time.Duration) {
	for _, part := range hour.Parts {
		longest = max(longest, part.Slowest.Duration)
	}
	return longest
}

// roundUp is the next number that reads well at the top of a plot.
func roundUp(n int) int {
	if n <= 2 {
		return n
	}
	unit := math.Pow(10, math.Floor(math.Log10(float64(n))))
	for _, step := range []float64{1, 2, 4, 5, 6, 8, 10} {
		if top := int(step * unit); top >= n {
			return top
		}
	}
	return n
}

// sortedKeys are the keys of a map in their order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
