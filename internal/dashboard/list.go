package dashboard

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

// listKind is a list, and the last part of its address.
type listKind string

const (
	deliveryList listKind = "deliveries"
	runList      listKind = "runs"
	releaseList  listKind = "releases"
	approvalList listKind = "approvals"
	missingList  listKind = "missing"
	actionList   listKind = "actions"
)

func listKinds() []listKind {
	return []listKind{deliveryList, runList, releaseList, approvalList, missingList, actionList}
}

// path is the address of a list.
func (k listKind) path() string {
	if k == actionList {
		return "/audit"
	}
	return "/" + string(k)
}

// title is the heading of a list.
func (k listKind) title(p *page) string {
	switch k {
	case deliveryList:
		return p.T("Deliveries")
	case runList:
		return p.T("Runs")
	case releaseList:
		return p.T("Releases")
	case approvalList:
		return p.T("Approvals")
	case actionList:
		return p.T("Audit")
	}
	return p.T("Missing verdicts")
}

// states are what a list can be filtered by.
func (k listKind) states() (states []string) {
	switch k {
	case deliveryList:
		for _, s := range deliveryStates() {
			states = append(states, string(s))
		}
	case runList:
		for _, s := range codecheck.States() {
			states = append(states, string(s))
		}
	case releaseList:
		for _, s := range release.States() {
			states = append(states, string(s))
		}
	case approvalList:
		for _, s := range store.ApprovalStates() {
			states = append(states, string(s))
		}
	case actionList:
		for _, a := range store.ActionNames() {
			states = append(states, string(a))
		}
	}
	return states
}

// pageSize is how many records a list shows.
const pageSize = 50

// row is a record in a list.
type row struct {
	id, state string
	view.Subject
	// what is the rule, or the action and the pipeline.
	what, reason string
	at           time.Time
	took         time.Duration
}

// list is the page of a list.
func (d *Dashboard) list(kind listKind) show {
	return func(c echo.Context, p *page) ([]section, error) {
		p.title = kind.title(p)
		ctx := c.Request().Context()
		var rows []row
		var next string
		f, problem := filterOf(p, kind)
		if problem == "" {
			err := d.opts.Store.View(ctx, func(tx *store.Tx) (err error) {
				rows, next, err = readList(c, tx, kind, f, p.now.Add(-d.opts.MissingAfter))
				return err
			})
			if err != nil {
				return nil, err
			}
		}
		return []section{
			{id: "filter", body: filterForm(p, kind, problem)},
			// An older page does not change, but for the states of its records.
			{id: "list", live: problem == "", body: listTable(p, kind, rows, next)},
		}, nil
	}
}

var commitPattern = regexp.MustCompile(`^[0-9a-f]{7,64}$`)

// filterOf reads the filter of a list from the address; problem says what is wrong with it.
func filterOf(p *page, kind listKind) (f store.Filter, problem string) {
	get := func(name string) string { return strings.TrimSpace(p.query.Get(name)) }
	f = store.Filter{Connection: get("connection"), Repository: get("repository"), Branch: get("branch"), Rule: get("rule"), Commit: strings.ToLower(get("commit")), Limit: pageSize}
	if kind == actionList {
		// Of actions the search is in their reasons.
		f.Actor, f.Search = get("actor"), get("q")
	} else {
		search(&f, get("q"))
	}
	if number := get("number"); number != "" {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 {
			return f, p.T("The number is that of a merge request, such as 7.")
		}
		f.Number = n
	}
	if state := get("state"); state != "" {
		if !slices.Contains(kind.states(), state) {
			return f, p.T("There is no state %q in this list.", state)
		}
		f.States = []string{state}
	}
	for name, at := range map[string]*time.Time{"since": &f.Since, "until": &f.Until} {
		if text := get(name); text != "" {
			day, err := time.Parse(time.DateOnly, text)
			if err != nil {
				return f, p.T("Give a day, such as 2026-03-01.")
			}
			*at = day
			if name == "until" {
				*at = day.AddDate(0, 0, 1)
			}
		}
	}
	after, err := view.ParseCursor(string(kind), f, get("after"))
	if err != nil {
		return f, p.T("This part of the list is not there: begin with its first page.")
	}
	f.After = after
	return f, ""
}

// search reads a repository, a commit, the number of a merge request and a branch from what somebody
// wrote into the search.
func search(f *store.Filter, text string) {
	for _, word := range strings.Fields(text) {
		number, isNumber := strings.CutPrefix(strings.Replace(word, "#", "!", 1), "!")
		n, err := strconv.Atoi(number)
		switch {
		case isNumber && err == nil:
			f.Number = n
		case commitPattern.MatchString(strings.ToLower(word)):
			f.Commit = strings.ToLower(word)
		case strings.Contains(word, "/") && f.Repository == "":
			f.Repository = word
		default:
			f.Branch = word
		}
	}
}

// readList reads a page of a list.
func readList(c echo.Context, tx *store.Tx, kind listKind, f store.Filter, missingSince time.Time) (rows []row, next string, err error) {
	ctx := c.Request().Context()
	switch kind {
	case deliveryList:
		page, err := view.Deliveries(ctx, tx, f)
		for _, d := range page.Items {
			r := row{id: d.ID, state: string(d.State), Subject: d.Subject, what: strings.Join(d.Rules, ", "), reason: d.Reason, at: d.ReceivedAt}
			if d.DecidedAt != nil {
				r.took = d.DecidedAt.Sub(d.ReceivedAt)
			}
			if r.Event == "" {
				r.Event = event.Kind(d.HostEvent)
			}
			rows = append(rows, r)
		}
		return rows, page.Next, err
	case runList:
		page, err := view.Runs(ctx, tx, f)
		for _, run := range page.Items {
			r := row{id: run.ID, state: string(run.State), Subject: run.Subject, what: run.Rule, reason: run.Reason, at: run.CreatedAt}
			if run.FinishedAt != nil {
				r.took = run.FinishedAt.Sub(run.ReceivedAt)
			}
			rows = append(rows, r)
		}
		return rows, page.Next, err
	case releaseList:
		page, err := view.Releases(ctx, tx, f)
		for _, rel := range page.Items {
			r := row{id: rel.ID, state: string(rel.State), Subject: rel.Subject, what: strings.TrimSpace(string(rel.Action) + " " + rel.PipelineLabel() + " " + rel.Checkpoint), reason: rel.Reason, at: rel.CreatedAt}
			if rel.FinishedAt != nil {
				r.took = rel.FinishedAt.Sub(rel.CreatedAt)
			}
			rows = append(rows, r)
		}
		return rows, page.Next, err
	}
	if kind == approvalList {
		page, err := view.Approvals(ctx, tx, f)
		for _, a := range page.Items {
			r := row{id: a.ReleaseID, state: string(a.State), what: a.Rule, reason: a.Reason, at: a.At, Subject: view.Subject{
				Connection: a.Connection, Repository: a.Repository, Branch: a.Branch, Number: a.Number, Commit: a.Commit, Actor: a.Person,
			}}
			if a.Voided != "" {
				r.reason = a.Voided
			}
			rows = append(rows, r)
		}
		return rows, page.Next, err
	}
	if kind == actionList {
		page, err := view.Actions(ctx, tx, f)
		for _, a := range page.Items {
			rows = append(rows, row{id: a.RecordID, state: string(a.Name), what: string(a.RecordKind), reason: strings.TrimSpace(a.Reason + " " + a.Details), at: a.At, Subject: view.Subject{Actor: a.Actor}})
		}
		return rows, page.Next, err
	}
	missing, err := view.MissingVerdicts(ctx, tx, missingSince, f)
	for _, m := range missing.Items {
		state := string(m.RunState)
		if state == "" {
			state = "verdict"
		}
		rows = append(rows, row{id: m.RunID, state: state, reason: m.Reason, at: m.Since, Subject: view.Subject{
			Connection: m.Connection, Repository: m.Repository, Event: m.Event, Branch: m.Branch, Number: m.Number, Commit: m.Commit,
		}})
	}
	return rows, missing.Next, err
}

// stateLabel is what the states of a list are called.
func (k listKind) stateLabel(p *page) string {
	if k == actionList {
		return p.T("What")
	}
	return p.T("State")
}

// countText says how many rows a list shows.
func countText(rows []row, next string) string {
	if next != "" {
		return fmt.Sprintf("%d+", len(rows))
	}
	return strconv.Itoa(len(rows))
}

// rowStateText is the word for a row's state.
func rowStateText(p *page, state string) string {
	if state == "verdict" {
		return p.T("nothing was checked")
	}
	return p.word(state)
}
