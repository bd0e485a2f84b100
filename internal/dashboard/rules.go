package dashboard

import (
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/webhook"
)

// maxPasted bounds a pasted payload with its headers, in bytes.
const maxPasted = 2 << 20

// maxShownRules bounds the table of rules, and maxShownYAML what is printed of the file.
const (
	maxShownRules = 500
	maxShownYAML  = 256 << 10
)

// tried is the evaluation of a payload.
type tried struct {
	// delivery is the stored one; empty for what was pasted.
	delivery, connection, header, body string
	// problem says why it could not be evaluated; empty where it was.
	problem  string
	event    event.Event
	decision *rules.Decision
	// unknown says what the decision depends on and the payload does not tell.
	unknown []string
}

// ruleRow is a rule with those that it wins over.
type ruleRow struct {
	rules.RuleInfo
	place int
	// over are later rules for the same kinds of events, which are not tried where this one matches.
	over []string
	more int
}

// rules is the page of the rules in force; it evaluates the stored delivery that its address names.
func (d *Dashboard) rules(c echo.Context, p *page) ([]section, error) {
	t := tried{}
	if id := strings.TrimSpace(p.query.Get("delivery")); id != "" {
		var err error
		if t, err = d.tryStored(c, p, id); err != nil {
			return nil, err
		}
	}
	return d.rulesPage(c, p, t)
}

// evaluate is the same page with the evaluation of what was pasted.
func (d *Dashboard) evaluate(c echo.Context, p *page) ([]section, error) {
	c.Request().Body = http.MaxBytesReader(c.Response(), c.Request().Body, maxPasted)
	if err := c.Request().ParseForm(); err != nil {
		return nil, failure{http.StatusRequestEntityTooLarge, p.T("The payload is too long: paste at most %d MiB.", maxPasted>>20)}
	}
	t := tried{connection: c.FormValue("connection"), header: c.FormValue("headers"), body: c.FormValue("payload")}
	header, err := webhook.ReadHeaders(strings.NewReader(t.header))
	if err != nil {
		t.problem = err.Error()
		return d.rulesPage(c, p, t)
	}
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", "application/json")
	}
	d.try(p, &t, event.Delivery{Connection: t.connection, Header: header, Body: []byte(t.body)})
	return d.rulesPage(c, p, t)
}

// tryStored evaluates a stored delivery.
func (d *Dashboard) tryStored(c echo.Context, p *page, id string) (tried, error) {
	t := tried{delivery: id}
	ctx := c.Request().Context()
	var stored store.Delivery
	err := d.opts.Store.View(ctx, func(tx *store.Tx) (err error) {
		stored, err = tx.Delivery(ctx, id)
		return err
	})
	switch {
	case errorIs(err, store.ErrNotFound):
		t.problem = p.T("There is no delivery with this id: take it from the list of deliveries, in full.")
	case err != nil:
		return t, err
	case stored.PayloadRemoved:
		t.problem = p.T("It was removed after store.payload_retention.")
	default:
		t.connection = stored.Connection
		d.try(p, &t, stored.Delivery)
	}
	return t, nil
}

// try asks the rules about a delivery, with the engine that decides.
func (d *Dashboard) try(p *page, t *tried, delivery event.Delivery) {
	ev, err := d.opts.Read(delivery)
	switch t.event = ev; {
	case err != nil:
		t.problem = err.Error()
	case ev.IgnoredReason != "":
		t.problem = p.T("The rules are not asked about it: %s", ev.IgnoredReason)
	default:
		decision, needs := d.opts.Policy().Try(ev, true)
		t.decision = &decision
		if needs.Files {
			t.unknown = append(t.unknown, p.T("which files changed: the git host is asked for them, not here"))
		}
		if needs.Fork || needs.Trust {
			t.unknown = append(t.unknown, p.T("where the merge request comes from: the git host is asked, and here the payload is believed"))
		}
	}
}

func (d *Dashboard) rulesPage(c echo.Context, p *page, t tried) ([]section, error) {
	p.title = p.T("Rules")
	ctx := c.Request().Context()
	service, err := d.opts.Service(ctx)
	if err != nil {
		return nil, err
	}
	policy := d.opts.Policy()
	text, err := policy.Effective()
	if err != nil {
		return nil, err
	}
	yaml := string(text[:min(len(text), maxShownYAML)])
	sections := []section{{id: "try", body: tryForm(p, t, service.Connections)}}
	return append(sections, section{id: "rules", body: ruleTable(p, service, rows(policy.Rules()))}, section{id: "file", body: rulesFile(p, strings.ToValidUTF8(yaml, ""), len(text) > maxShownYAML)}), nil
}

// maxOver is how many rules are named that a rule wins over.
const maxOver = 6

// rows are the rules with those that each wins over: the first rule that matches decides, unless it
// continues.
func rows(infos []rules.RuleInfo) (list []ruleRow) {
	for i, info := range infos[:min(len(infos), maxShownRules)] {
		r := ruleRow{RuleInfo: info, place: i + 1}
		if !info.Continue {
			for _, later := range infos[i+1:] {
				if !slices.ContainsFunc(later.On, func(kind event.Kind) bool { return slices.Contains(info.On, kind) }) {
					continue
				}
				if len(r.over) < maxOver {
					r.over = append(r.over, later.Name)
				} else {
					r.more++
				}
			}
		}
		list = append(list, r)
	}
	return list
}

// kindsText are the kinds of events of a rule.
func kindsText(p *page, kinds []event.Kind) string {
	var words []string
	for _, kind := range kinds {
		words = append(words, p.word(string(kind)))
	}
	return strings.Join(words, ", ")
}
