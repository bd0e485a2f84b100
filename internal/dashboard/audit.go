package dashboard

import (
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/gatewright/gatewright/internal/audit"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

// audit is the page of the audit log: who did what when and why.
func (d *Dashboard) audit(c echo.Context, p *page) ([]section, error) {
	p.title = p.T("Audit")
	ctx := c.Request().Context()
	var log view.AuditPage
	f, problem := auditFilterOf(p)
	if problem == "" {
		err := d.opts.Store.View(ctx, func(tx *store.Tx) (err error) {
			log, err = view.NewAuditPage(ctx, tx, f)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return []section{
		{id: "filter", body: auditForm(p, problem)},
		{id: "list", live: problem == "", body: auditTable(p, log)},
	}, nil
}

// auditFilterOf reads the filter of the audit log from the address; problem says what is wrong with it.
func auditFilterOf(p *page) (f store.AuditFilter, problem string) {
	get := func(name string) string { return strings.TrimSpace(p.query.Get(name)) }
	f = store.AuditFilter{Kind: audit.Kind(get("kind")), Action: get("action"), Actor: get("actor"), RecordID: get("record"), Search: get("q"), Limit: pageSize}
	if f.Since, f.Until, problem = days(p); problem != "" {
		return f, problem
	}
	if after := get("after"); after != "" {
		n, err := strconv.ParseInt(after, 10, 64)
		if err != nil || n < 1 {
			return f, p.T("This part of the list is not there: begin with its first page.")
		}
		f.Before = n
	}
	return f, ""
}

// days are the first moment of the day since, and that after the day until, of the address; zero where it has none.
func days(p *page) (since, until time.Time, problem string) {
	for name, at := range map[string]*time.Time{"since": &since, "until": &until} {
		if text := strings.TrimSpace(p.query.Get(name)); text != "" {
			day, err := time.Parse(time.DateOnly, text)
			if err != nil {
				return since, until, p.T("Give a day, such as 2026-03-01.")
			}
			*at = day
			if name == "until" {
				*at = day.AddDate(0, 0, 1)
			}
		}
	}
	return since, until, ""
}

// isRecord reports whether a row of the audit log is about a record that has a page.
func isRecord(kind string) bool {
	switch store.RecordKind(kind) {
	case store.RecordDelivery, store.RecordRun, store.RecordRelease:
		return true
	}
	return false
}
