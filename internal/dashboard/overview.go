package dashboard

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

// overview is the first page.
func (d *Dashboard) overview(c echo.Context, p *page) ([]section, error) {
	p.title = p.T("Overview")
	ctx := c.Request().Context()
	var o view.Overview
	err := d.opts.Store.View(ctx, func(tx *store.Tx) (err error) {
		o, err = view.NewOverview(ctx, tx, p.now, d.opts.MissingAfter)
		return err
	})
	if err != nil {
		return nil, err
	}
	service, err := d.opts.Service(ctx)
	if err != nil {
		return nil, err
	}
	return []section{
		{id: "problems", live: true, body: problems(p, service)},
		{id: "needs", live: true, body: needs(p, o)},
		{id: "hour", live: true, body: lastHour(p, o.LastHour)},
		{id: "flight", live: true, body: inFlight(p, o)},
		{id: "health", live: true, body: health(p, service, connections(service, o))},
	}, nil
}

// reportsLate is how long a status may wait before that is shown.
const reportsLate = time.Minute

// connectionHealth is a connection as it is configured, with what it does.
type connectionHealth struct {
	Connection
	view.ConnectionActivity
	// state is one of ours: connected, waits, problem, or quiet where nothing happened.
	state string
}

// connections are those that are configured, in that order, with what they do.
func connections(s Service, o view.Overview) (list []connectionHealth) {
	for _, c := range s.Connections {
		h := connectionHealth{Connection: c, ConnectionActivity: view.ConnectionActivity{Name: c.Name}}
		if i := slices.IndexFunc(o.Connections, func(a view.ConnectionActivity) bool { return a.Name == c.Name }); i >= 0 {
			h.ConnectionActivity = o.Connections[i]
		}
		switch {
		case h.ReportsGivenUp > 0 || h.HostProblems > 0:
			h.state = "problem"
		case h.ReportsWaiting > 0 && h.ReportsSince != nil && o.At.Sub(*h.ReportsSince) > reportsLate:
			h.state = "waits"
		case h.Deliveries > 0:
			h.state = "connected"
		default:
			h.state = "quiet"
		}
		list = append(list, h)
	}
	return list
}

// describe says what a record is about: its repository, and its branch or merge request.
func describe(p *page, s view.Subject) string {
	if s.Repository == "" {
		return p.T("not read yet")
	}
	return s.Repository + " " + refOf(s)
}

// refOf names a branch or a merge request.
func refOf(s view.Subject) string {
	switch {
	case s.Number != 0 && s.Branch != "":
		return "!" + strconv.Itoa(s.Number) + " → " + s.Branch
	case s.Number != 0:
		return "!" + strconv.Itoa(s.Number)
	}
	return s.Branch
}

// deliveryFigures are the states of the legend of deliveries: those that occurred.
func deliveryFigures(hour view.LastHour) (states []event.DeliveryState) {
	for _, state := range deliveryStates() {
		if deliveryTotal(hour, state) > 0 {
			states = append(states, state)
		}
	}
	return states
}

// needText says why something needs a person.
func needText(p *page, kind view.NeedKind) string {
	switch kind {
	case view.NeedApproval:
		return p.T("waits for approval")
	case view.NeedTrust:
		return p.T("fork waits for an ok")
	case view.NeedErrored:
		return p.T("run without a verdict")
	case view.NeedVerdict:
		return p.T("no verdict")
	case view.NeedFailed:
		return p.T("release failed")
	case view.NeedExpired:
		return p.T("release expired")
	case view.NeedUnknown:
		return p.T("release unknown")
	case view.NeedHeld:
		return p.T("held")
	}
	return p.T("paused")
}

// reportsText says what a git host was not told yet.
func reportsText(p *page, c connectionHealth) string {
	var parts []string
	if c.ReportsWaiting > 0 {
		parts = append(parts, p.T("%d wait", c.ReportsWaiting))
	}
	if c.ReportsGivenUp > 0 {
		parts = append(parts, p.T("%d given up", c.ReportsGivenUp))
	}
	if c.HostProblems > 0 {
		parts = append(parts, p.T("%d repositories cannot be asked about", c.HostProblems))
	}
	if c.Failed > 0 {
		parts = append(parts, p.T("%d deliveries could not be read", c.Failed))
	}
	return strings.Join(parts, ", ")
}

// hatch draws lines over a bar, so that it is told apart without its colour.
func hatch(r plotRect) string {
	var path strings.Builder
	for y := r.y + 2; y < r.y+r.height; y += 4 {
		fmt.Fprintf(&path, "M%s %sh%s", num(r.x), num(y), num(r.width))
	}
	return path.String()
}
