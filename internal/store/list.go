package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/release"
)

// Filter selects the records of a list. A zero field selects every record; all
// fields that are set must hold.
type Filter struct {
	// States are the states of which a record has one; of actions their names.
	States []string
	// Connection, Repository, Branch and Actor are compared as they are stored; Repository is
	// the full name.
	Connection, Repository, Branch, Actor string
	// Number is a merge request's number.
	Number int
	// Rule is the name of a rule: one that matched the delivery, or the run's or the
	// release's own.
	Rule string
	// Commit is a commit hash or the beginning of one, in lower case.
	Commit string
	// Record is the id of the record that an action was done to.
	Record string
	// Search is text that one of the columns must have which the list searches, in upper or
	// lower case.
	Search string
	// Since and Until bound the time of receipt (deliveries) or creation: at Since or
	// later, and before Until.
	Since, Until time.Time

	// OldestFirst lists in ascending order; default newest first.
	OldestFirst bool
	// After is where the list goes on: the last record of the page before.
	After Cursor
	// Limit bounds the list; mandatory.
	Limit int
	// Walk bounds how many records are looked at for one page, where no index gives those that
	// are wanted; 0 does not. A page may then have fewer records than Limit and yet not be the last.
	Walk int
}

// Cursor is a place in a list: the time by which the list is ordered and the id of a
// record. The zero value is the beginning.
type Cursor struct {
	At time.Time
	ID string
}

// listed is a table whose records are listed.
type listed struct {
	name, columns string
	// at is the column by which the list is ordered, with the id; an index begins with both.
	at string
	// state is the column that States are compared with. An index begins with it, at and the id where
	// byState.
	state   string
	byState bool
	// actor is the column that Actor is compared with.
	actor string
	// searched are the columns that Search looks through.
	searched []string
}

var (
	listedDeliveries = listed{name: "deliveries", columns: deliveryColumns, at: "received_at", state: "state", actor: "actor", byState: true,
		searched: []string{"repository", "branch", "actor", "rule", "reason", "host_id"}}
	listedRuns      = listed{name: "runs", columns: "data", at: "created_at", state: "state", actor: "actor", byState: true, searched: []string{"repository", "branch", "actor", "rule"}}
	listedReleases  = listed{name: "releases", columns: "data", at: "created_at", state: "state", actor: "actor", byState: true, searched: []string{"repository", "branch", "actor", "rule"}}
	listedApprovals = listed{name: "approvals", columns: "data", at: "created_at", state: "state", actor: "person", searched: []string{"repository", "branch", "person", "rule"}}
	listedActions   = listed{name: "actions", columns: actionColumns, at: "created_at", state: "action", actor: "actor", searched: []string{"actor", "reason", "details"}}
)

// query is a query under construction, in which every ? stands for the next argument.
type query struct {
	text strings.Builder
	args []any
}

func (q *query) add(text string, args ...any) *query {
	q.text.WriteString(text)
	q.args = append(q.args, args...)
	return q
}

// numbered is the text with its arguments as $1, $2 and so on.
func (q *query) numbered() string {
	var b strings.Builder
	n := 0
	for _, r := range q.text.String() {
		if r != '?' {
			b.WriteRune(r)
			continue
		}
		n++
		fmt.Fprintf(&b, "$%d", n)
	}
	return b.String()
}

// condition is one that must hold, in which every ? stands for one of the arguments.
type condition struct {
	text string
	args []any
}

func where(conditions ...[]condition) *query {
	q := &query{}
	word := " WHERE "
	for _, c := range slices.Concat(conditions...) {
		q.add(word+c.text, c.args...)
		word = " AND "
	}
	return q
}

// plan says how a filter is carried out on a table: by one index, whose condition is indexed, in
// the order of that index, unless it is sorted. All that the index gives is then compared with the
// rest. union: each state is read by the index of states, and the newest of them are taken.
type plan struct {
	indexed, bounds, rest []condition
	sorted, union         bool
}

// planOf chooses the index. The columns of the rest are written as expressions, so that no database
// takes another one, by which it would have to read and sort everything that it gives.
func (f Filter) planOf(t listed) (p plan) {
	add := func(to *[]condition, text string, args ...any) { *to = append(*to, condition{text, args}) }
	oneOf := func(column string) condition {
		return condition{column + " IN (?" + strings.Repeat(", ?", len(f.States)-1) + ")", anys(f.States)}
	}
	repository, states := f.Repository, len(f.States) > 0
	switch {
	case f.Commit != "":
		// Hexadecimal digits sort before g.
		add(&p.indexed, "sha <> '' AND sha >= ? AND sha < ?", f.Commit, f.Commit+"g")
		p.sorted = true
	case f.Record != "":
		add(&p.indexed, "record_id = ?", f.Record)
	case repository != "":
		add(&p.indexed, "repository <> '' AND repository = ?", repository)
		repository = ""
	case t.byState && len(f.States) == 1:
		add(&p.indexed, "state = ?", f.States[0])
		states = false
	}
	if states {
		p.rest = append(p.rest, oneOf(t.state+" || ''"))
	}
	for _, equal := range []struct{ column, value string }{
		{"connection", f.Connection}, {"repository", repository}, {"branch", f.Branch}, {t.actor, f.Actor},
	} {
		if equal.value != "" {
			add(&p.rest, equal.column+" || '' = ?", equal.value)
		}
	}
	if f.Number != 0 {
		add(&p.rest, "number + 0 = ?", f.Number)
	}
	if f.Rule != "" {
		// Of a delivery the column lists several; a name has no comma.
		add(&p.rest, "(rule || '' = ? OR ',' || rule || ',' LIKE ? ESCAPE '!')", f.Rule, "%,"+escapeLike(f.Rule)+",%")
	}
	if f.Search != "" {
		text := "%" + escapeLike(strings.ToLower(f.Search)) + "%"
		var either []string
		var args []any
		for _, column := range t.searched {
			either, args = append(either, "lower("+column+") LIKE ? ESCAPE '!'"), append(args, text)
		}
		add(&p.rest, "("+strings.Join(either, " OR ")+")", args...)
	}
	// The index of states has those of each one in order: of several, the page is in the pages of each.
	if p.union = t.byState && states && len(p.indexed) == 0 && len(p.rest) == 1; p.union {
		p.rest = nil
	}
	at := p.at(t)
	if !f.Since.IsZero() {
		add(&p.bounds, at+" >= ?", micros(f.Since))
	}
	if !f.Until.IsZero() {
		add(&p.bounds, at+" < ?", micros(f.Until))
	}
	if f.After.ID != "" {
		p.bounds = append(p.bounds, p.beyond(t, f, f.After, false))
	}
	return p
}

// at is the time by which the list is ordered; an expression where another index is to be taken.
func (p plan) at(t listed) string {
	if p.sorted {
		return t.at + " + 0"
	}
	return t.at
}

// beyond holds for what comes after a place in the list, or up to one and with it.
func (p plan) beyond(t listed, f Filter, place Cursor, upTo bool) condition {
	comparison := map[[2]bool]string{{false, false}: "<", {false, true}: ">=", {true, false}: ">", {true, true}: "<="}[[2]bool{f.OldestFirst, upTo}]
	return condition{"(" + p.at(t) + ", id) " + comparison + " (?, ?)", []any{micros(place.At), place.ID}}
}

func (p plan) order(t listed, f Filter) string {
	direction := " DESC"
	if f.OldestFirst {
		direction = ""
	}
	return " ORDER BY " + p.at(t) + direction + ", id" + direction
}

// floorQuery finds the last record that may be looked at for a page.
func (p plan) floorQuery(t listed, f Filter) *query {
	q := where(p.indexed, p.bounds)
	q2 := (&query{}).add("SELECT "+t.at+", id FROM "+t.name).add(q.text.String(), q.args...)
	return q2.add(p.order(t, f)+" LIMIT 1 OFFSET ?", f.Walk)
}

// pageQuery reads a page, and one record more, which says whether there is another page.
func (p plan) pageQuery(t listed, f Filter, floor []condition) *query {
	q := (&query{}).add("SELECT " + t.columns + ", " + t.at + ", id FROM " + t.name)
	if !p.union {
		all := where(p.indexed, p.bounds, floor, p.rest)
		return q.add(all.text.String(), all.args...).add(p.order(t, f)+" LIMIT ?", f.Limit+1)
	}
	q.add(" WHERE id IN (")
	for i, state := range f.States {
		if i > 0 {
			q.add(" UNION ALL ")
		}
		one := where([]condition{{"state = ?", []any{state}}}, p.bounds)
		q.add("SELECT id FROM (SELECT id FROM "+t.name+one.text.String(), one.args...).add(fmt.Sprintf("%s LIMIT ?) AS s%d", p.order(t, f), i), f.Limit+1)
	}
	return q.add(")"+p.order(t, f)+" LIMIT ?", f.Limit+1)
}

// page reads one page of a table and where the next one begins; zero: there is none.
func page[T any](ctx context.Context, tx *Tx, t listed, f Filter, scan func(row scanner, more ...any) (T, error)) (list []T, next Cursor, err error) {
	p := f.planOf(t)
	var floor []condition
	if f.Walk > 0 && len(p.rest) > 0 && !p.sorted {
		q := p.floorQuery(t, f)
		var at int64
		switch err := tx.queryRow(ctx, q.numbered(), q.args...).Scan(&at, &next.ID); {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return nil, Cursor{}, fmt.Errorf("list %s: %w", t.name, err)
		default:
			next.At = fromMicros(at)
			floor = []condition{p.beyond(t, f, next, true)}
		}
	}
	q := p.pageQuery(t, f, floor)
	type placed struct {
		record T
		place  Cursor
	}
	rows, err := collect(ctx, tx, func(row scanner) (r placed, err error) {
		var at int64
		r.record, err = scan(row, &at, &r.place.ID)
		r.place.At = fromMicros(at)
		return r, err
	}, q.numbered(), q.args...)
	if err != nil {
		return nil, Cursor{}, fmt.Errorf("list %s: %w", t.name, err)
	}
	if len(rows) > f.Limit {
		rows = rows[:f.Limit]
		next = rows[f.Limit-1].place
	}
	for _, r := range rows {
		list = append(list, r.record)
	}
	return list, next, nil
}

// escapeLike escapes what LIKE gives a meaning, by "!".
func escapeLike(text string) string {
	return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(text)
}

// Deliveries lists deliveries, without their bodies.
func (tx *Tx) Deliveries(ctx context.Context, f Filter) ([]Delivery, error) {
	list, _, err := tx.DeliveryPage(ctx, f)
	return list, err
}

// DeliveryPage is Deliveries, and says where the next page begins; zero: there is none.
func (tx *Tx) DeliveryPage(ctx context.Context, f Filter) ([]Delivery, Cursor, error) {
	return page(ctx, tx, listedDeliveries, f, func(row scanner, more ...any) (Delivery, error) {
		d, _, err := scanStoredDelivery(row, more...)
		return d, err
	})
}

// Runs lists runs.
func (tx *Tx) Runs(ctx context.Context, f Filter) ([]codecheck.Run, error) {
	list, _, err := tx.RunPage(ctx, f)
	return list, err
}

// RunPage is Runs, and says where the next page begins; zero: there is none.
func (tx *Tx) RunPage(ctx context.Context, f Filter) ([]codecheck.Run, Cursor, error) {
	return page(ctx, tx, listedRuns, f, scanRecord[codecheck.Run])
}

// Releases lists releases.
func (tx *Tx) Releases(ctx context.Context, f Filter) ([]release.Release, error) {
	list, _, err := tx.ReleasePage(ctx, f)
	return list, err
}

// ReleasePage is Releases, and says where the next page begins; zero: there is none.
func (tx *Tx) ReleasePage(ctx context.Context, f Filter) ([]release.Release, Cursor, error) {
	return page(ctx, tx, listedReleases, f, scanRecord[release.Release])
}

// ActionPage lists what people did, and what was learned of records after their end. Of the filter it
// takes States (the names of actions), Actor, Record, Search and the times.
func (tx *Tx) ActionPage(ctx context.Context, f Filter) ([]Action, Cursor, error) {
	return page(ctx, tx, listedActions, f, scanAction)
}

// IDs lists the ids of deliveries, runs and releases that begin with a prefix, at most
// limit of each kind.
func (tx *Tx) IDs(ctx context.Context, prefix string, limit int) ([]string, error) {
	var ids []string
	for _, table := range []string{"deliveries", "runs", "releases"} {
		found, err := texts(ctx, tx, `SELECT id FROM `+table+` WHERE id >= $1 AND id < $2 ORDER BY id LIMIT $3`, prefix, prefix+"g", limit)
		if err != nil {
			return nil, err
		}
		ids = append(ids, found...)
	}
	return ids, nil
}
