package view

import (
	"context"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/store"
)

// Page is a part of a list: the records and the cursor at which the next page begins,
// empty on the last one.
type Page[T any] struct {
	Records []T
	Next    string
}

// Deliveries is one page of deliveries.
func Deliveries(ctx context.Context, tx *store.Tx, f store.Filter) (Page[Delivery], error) {
	records, err := tx.Deliveries(ctx, more(f))
	return page(records, f.Limit, NewDelivery, func(d Delivery) store.Cursor { return store.Cursor{At: d.ReceivedAt, ID: d.ID} }), err
}

// Runs is one page of runs.
func Runs(ctx context.Context, tx *store.Tx, f store.Filter) (Page[Run], error) {
	records, err := tx.Runs(ctx, more(f))
	p := page(records, f.Limit, NewRun, func(r Run) store.Cursor { return store.Cursor{At: r.CreatedAt, ID: r.ID} })
	var views []*Run
	for i := range p.Records {
		views = append(views, &p.Records[i])
	}
	return p, errors.Join(err, standInLine(ctx, tx, views...))
}

// Releases is one page of releases.
func Releases(ctx context.Context, tx *store.Tx, f store.Filter) (Page[Release], error) {
	records, err := tx.Releases(ctx, more(f))
	return page(records, f.Limit, NewRelease, func(r Release) store.Cursor { return store.Cursor{At: r.CreatedAt, ID: r.ID} }), err
}

// more asks for one record more than the page has: it says whether there is a next page.
func more(f store.Filter) store.Filter {
	f.Limit++
	return f
}

func page[R, V any](records []R, limit int, view func(R) V, at func(V) store.Cursor) Page[V] {
	p := Page[V]{Records: make([]V, 0, len(records))}
	for _, record := range records[:min(len(records), limit)] {
		p.Records = append(p.Records, view(record))
	}
	if len(records) > limit {
		p.Next = encodeCursor(at(p.Records[limit-1]))
	}
	return p
}

// encodeCursor writes a cursor as one word.
func encodeCursor(c store.Cursor) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(c.At.UnixMicro(), 10) + " " + c.ID))
}

// ParseCursor reads what Page.Next holds; an empty text is the beginning.
func ParseCursor(text string) (store.Cursor, error) {
	if text == "" {
		return store.Cursor{}, nil
	}
	plain, err := base64.RawURLEncoding.DecodeString(text)
	at, id, found := strings.Cut(string(plain), " ")
	micros, err2 := strconv.ParseInt(at, 10, 64)
	if err != nil || err2 != nil || !found || id == "" {
		return store.Cursor{}, errors.New("this is not a cursor: use the one that the page before ended with")
	}
	return store.Cursor{At: time.UnixMicro(micros).UTC(), ID: id}, nil
}
