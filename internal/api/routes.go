package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/view"
)

// route is one thing that the API does. The document is made from it.
type route struct {
	method, path string
	// action is what a user must be allowed to do; empty: anybody may ask.
	action  access.Action
	summary string
	query   []view.Parameter
	// body and result are values of the types that are sent and answered; nil: none, any JSON.
	body, result any
	// problems are the statuses of the errors that it has besides those of every route.
	problems []int
	// versioned: the answer has an ETag. ordered: If-Match is mandatory.
	versioned, ordered bool
	// heavy: only some are answered at once. stream: it is a stream of events.
	heavy, stream bool
	handle        func(*API, echo.Context) error
}

// parametersKnown refuses parameters that the route does not have, and those that are given twice.
func (r route) parametersKnown(c echo.Context) error {
	for name, values := range c.QueryParams() {
		known := slices.ContainsFunc(r.query, func(p view.Parameter) bool { return p.Name == name })
		switch {
		case !known && len(r.query) == 0:
			return view.ParameterError{Name: name, Problem: "this address takes no parameters"}
		case !known:
			var names []string
			for _, p := range r.query {
				names = append(names, p.Name)
			}
			return view.ParameterError{Name: name, Problem: "there is no such parameter: there are " + strings.Join(names, ", ")}
		case len(values) > 1:
			return view.ParameterError{Name: name, Problem: "give it once"}
		}
	}
	return nil
}

// routes are all routes.
func routes() []route {
	get := func(path, summary string, result any, handle func(*API, echo.Context) error) route {
		return route{method: http.MethodGet, path: path, action: access.ActionView, summary: summary, result: result, handle: handle}
	}
	list := []route{
		{method: http.MethodGet, path: "/openapi.json", summary: "This document", handle: (*API).document},
		get("/health", "What works and what does not; 503 while webhooks are not accepted", Health{}, (*API).health).failing(http.StatusServiceUnavailable),
		listRoute(view.ListDeliveries, view.Page[view.Delivery]{}, listed(view.ListDeliveries, view.Deliveries)),
		listRoute(view.ListRuns, view.Page[view.Run]{}, listed(view.ListRuns, view.Runs)),
		listRoute(view.ListReleases, view.Page[view.Release]{}, listed(view.ListReleases, view.Releases)),
		listRoute(view.ListApprovals, view.Page[view.Approval]{}, listed(view.ListApprovals, view.Approvals)),
		listRoute(view.ListActions, view.Page[view.Action]{}, listed(view.ListActions, view.Actions)),
		listRoute(view.ListMissing, view.Page[view.Missing]{}, (*API).missing),
		get("/overview", "What needs a person now, what is in flight, and the last hour", view.Overview{}, (*API).overview),
		get("/changes/:id", "One delivery and all that followed from it, by the id of any of its records", view.Change{}, (*API).change).failing(http.StatusNotFound),
		{method: http.MethodGet, path: "/audit", action: access.ActionAudit, summary: "One page of the audit log, the newest row first, and the newest hash", query: view.AuditParameters(), result: view.AuditPage{}, handle: (*API).audit},
		get("/records/:id", "Which record an id, or the beginning of one, belongs to", Identified{}, (*API).identify).failing(http.StatusNotFound),
		get("/deliveries/:id", "One delivery, with its decision, trace and runs", view.DeliveryDetail{}, detail[view.DeliveryDetail]("delivery")).versions(),
		get("/runs/:id", "One run, with its verdict, defects and releases", view.RunDetail{}, detail[view.RunDetail]("run")).versions(),
		get("/releases/:id", "One release, with what was done to it", view.ReleaseDetail{}, detail[view.ReleaseDetail]("release")).versions(),
		{method: http.MethodGet, path: "/releases/:id/evidence", action: access.ActionView, summary: "The evidence bundle of a release that has ended, byte for byte",
			problems: []int{http.StatusNotFound, http.StatusConflict, http.StatusTooManyRequests}, heavy: true, handle: (*API).evidence},
		{method: http.MethodGet, path: "/deliveries/:id/payload", action: access.ActionPayload, summary: "What the git host sent, with secrets removed", result: view.Payload{},
			problems: []int{http.StatusNotFound, http.StatusConflict, http.StatusTooManyRequests}, heavy: true, handle: (*API).payload},
		{method: http.MethodGet, path: "/runs/:id/findings", action: access.ActionView, summary: "The findings of a run", query: findingParameters, result: FindingsPage{},
			problems: []int{http.StatusNotFound, http.StatusTooManyRequests}, heavy: true, handle: (*API).findings},
		{method: http.MethodGet, path: "/runs/:id/sarif", action: access.ActionView, summary: "The findings of a run as a SARIF 2.1.0 log",
			problems: []int{http.StatusNotFound, http.StatusTooManyRequests}, heavy: true, handle: (*API).sarif},
		get("/rules", "The effective rules, in the order in which they are tried", Rules{}, (*API).rules),
		{method: http.MethodPost, path: "/rules/evaluate", action: access.ActionView, summary: "What the rules say of a stored delivery or of a payload, with the trace; nothing is stored",
			body: Evaluate{}, result: Evaluation{}, problems: []int{http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusTooManyRequests},
			heavy: true, handle: (*API).evaluate},
		{method: http.MethodGet, path: "/events", action: access.ActionView, summary: "A stream of server-sent events: which records have changed",
			problems: []int{http.StatusServiceUnavailable}, stream: true, handle: (*API).stream},
	}
	return append(list, orderRoutes()...)
}

func (r route) failing(statuses ...int) route {
	r.problems = append(r.problems, statuses...)
	return r
}

func (r route) versions() route {
	r.versioned = true
	return r.failing(http.StatusNotFound)
}

func listRoute(name string, result any, handle func(*API, echo.Context) error) route {
	return route{method: http.MethodGet, path: "/" + name, action: access.ActionView, summary: "One page of the list of " + name,
		query: view.Parameters(name), result: result, handle: handle}
}
