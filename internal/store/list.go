package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/release"
)

// Filter selects the records of a list. A zero field selects every record; all
// fields that are set must hold.
type Filter struct {
	// States are the states of which a record has one.
	States []string
	// Connection, Repository and Branch are compared as they are stored; Repository is
	// the full name.
	Connection, Repository, Branch string
	// Number is a merge request's number.
	Number int
	// Rule is the name of a rule: one that matched the delivery, or the run's or the
	// release's own.
	Rule string
	// Commit is a commit hash or the beginning of one, in lower case.
	Commit string
	// Since and Until bound the time of receipt (deliveries) or creation: at Since or
	// later, and before Until.
	Since, Until time.Time

	// OldestFirst lists in ascending order; default newest first.
	OldestFirst bool
	// After is where the list goes on: the last record of the page before.
	After Cursor
	// Limit bounds the list; mandatory.
	Limit int
}

// Cursor is a place in a list: the time by which the list is ordered and the id of a
// record. The zero value is the beginning.
type Cursor struct {
	At time.Time
	ID string
}

// where is a condition in SQL with its arguments.
type where struct {
	terms []string
	args  []any
}

// add adds a condition in which every ? stands for one of the arguments.
func (w *where) add(term string, args ...any) {
	for _, arg := range args {
		w.args = append(w.args, arg)
		term = strings.Replace(term, "?", fmt.Sprintf("$%d", len(w.args)), 1)
	}
	w.terms = append(w.terms, term)
}

// page completes a query of a table's records: the filter, the order, the limit. at is
// the column by which the list is ordered.
func (f Filter) page(selected, at string) (query string, args []any) {
	var w where
	if len(f.States) > 0 {
		states := make([]any, len(f.States))
		for i, state := range f.States {
			states[i] = state
		}
		w.add("state IN (?"+strings.Repeat(", ?", len(states)-1)+")", states...)
	}
	for _, equal := range []struct{ column, value string }{
		{"connection", f.Connection}, {"repository", f.Repository}, {"branch", f.Branch},
	} {
		if equal.value != "" {
			w.add(equal.column+" = ?", equal.value)
		}
	}
	if f.Number != 0 {
		w.add("number = ?", f.Number)
	}
	if f.Rule != "" {
		// Of a delivery the column lists several; a name has no comma.
		w.add("(rule = ? OR ',' || rule || ',' LIKE ? ESCAPE '!')", f.Rule, "%,"+escapeLike(f.Rule)+",%")
	}
	if f.Commit != "" {
		// Hexadecimal digits sort before g.
		w.add("sha >= ? AND sha < ?", f.Commit, f.Commit+"g")
	}
	if !f.Since.IsZero() {
		w.add(at+" >= ?", micros(f.Since))
	}
	if !f.Until.IsZero() {
		w.add(at+" < ?", micros(f.Until))
	}
	comparison, order := "<", " DESC"
	if f.OldestFirst {
		comparison, order = ">", ""
	}
	if f.After.ID != "" {
		w.add("("+at+", id) "+comparison+" (?, ?)", micros(f.After.At), f.After.ID)
	}
	query = selected
	if len(w.terms) > 0 {
		query += " WHERE " + strings.Join(w.terms, " AND ")
	}
	w.args = append(w.args, f.Limit)
	return query + fmt.Sprintf(" ORDER BY %s%s, id%s LIMIT $%d", at, order, order, len(w.args)), w.args
}

// escapeLike escapes what LIKE gives a meaning, by "!".
func escapeLike(text string) string {
	return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(text)
}

// Deliveries lists deliveries, without their bodies.
func (tx *Tx) Deliveries(ctx context.Context, f Filter) ([]Delivery, error) {
	query, args := f.page(`SELECT `+deliveryColumns+` FROM deliveries`, "received_at")
	rows, err := tx.query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list deliveries: %w", err)
	}
	defer rows.Close()
	var list []Delivery
	for rows.Next() {
		d, err := scanDelivery(rows)
		if err != nil {
			return nil, fmt.Errorf("list deliveries: %w", err)
		}
		list = append(list, d)
	}
	return list, rows.Err()
}

// Runs lists runs.
func (tx *Tx) Runs(ctx context.Context, f Filter) ([]codecheck.Run, error) {
	query, args := f.page(`SELECT data FROM runs`, "created_at")
	return records[codecheck.Run](ctx, tx, query, args...)
}

// Releases lists releases.
func (tx *Tx) Releases(ctx context.Context, f Filter) ([]release.Release, error) {
	query, args := f.page(`SELECT data FROM releases`, "created_at")
	return records[release.Release](ctx, tx, query, args...)
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
