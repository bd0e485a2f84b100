package view

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/store"
)

// Page is a part of a list: its records and the cursor at which the next page begins, empty on the
// last one. A page can have fewer records than were asked for, or none, and not be the last: of a
// filter for which there is no index only so many records are looked at for one page.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

// The lists.
const (
	ListDeliveries = "deliveries"
	ListRuns       = "runs"
	ListReleases   = "releases"
	ListApprovals  = "approvals"
	ListActions    = "actions"
	ListMissing    = "missing"
)

// walk is how many records are looked at for one page where no index has those that are wanted.
const walk = 4000

// Deliveries is one page of deliveries.
func Deliveries(ctx context.Context, tx *store.Tx, f store.Filter) (Page[Delivery], error) {
	return page(ctx, ListDeliveries, f, tx.DeliveryPage, NewDelivery)
}

// Runs is one page of runs.
func Runs(ctx context.Context, tx *store.Tx, f store.Filter) (Page[Run], error) {
	p, err := page(ctx, ListRuns, f, tx.RunPage, NewRun)
	var views []*Run
	for i := range p.Items {
		views = append(views, &p.Items[i])
	}
	return p, errors.Join(err, standInLine(ctx, tx, views...))
}

// Releases is one page of releases.
func Releases(ctx context.Context, tx *store.Tx, f store.Filter) (Page[Release], error) {
	return page(ctx, ListReleases, f, tx.ReleasePage, NewRelease)
}

// Actions is one page of what people did, and of what was learned of records after their end.
func Actions(ctx context.Context, tx *store.Tx, f store.Filter) (Page[Action], error) {
	return page(ctx, ListActions, f, tx.ActionPage, NewAction)
}

func page[R, V any](ctx context.Context, list string, f store.Filter, read func(context.Context, store.Filter) ([]R, store.Cursor, error), view func(R) V) (Page[V], error) {
	f.Walk = walk
	records, next, err := read(ctx, f)
	p := Page[V]{Items: make([]V, 0, len(records)), Next: encodeCursor(list, f, next)}
	for _, record := range records {
		p.Items = append(p.Items, view(record))
	}
	return p, err
}

// errCursor is told of a text that is no cursor of the list.
var errCursor = errors.New("this is not a cursor of this list with this filter: use the one that the page before ended with, and change nothing else")

// checksum binds a cursor to its list and filter, so that one of another list, or one that was changed, is
// refused. It protects from mistakes: a cursor gives no rights, and a list shows what its reader may see.
func checksum(list string, f store.Filter, place string) []byte {
	f.After, f.Limit, f.Walk, f.Since, f.Until = store.Cursor{}, 0, 0, time.Time{}, time.Time{}
	// Texts and numbers, which JSON has.
	filter, _ := json.Marshal(f)
	sum := sha256.Sum256([]byte(list + "\x00" + string(filter) + "\x00" + place))
	return sum[:8]
}

// encodeCursor writes a cursor as one word; empty for the zero cursor.
func encodeCursor(list string, f store.Filter, c store.Cursor) string {
	if c.ID == "" {
		return ""
	}
	place := strconv.FormatInt(c.At.UnixMicro(), 10) + " " + c.ID
	return base64.RawURLEncoding.EncodeToString(append(checksum(list, f, place), place...))
}

// ParseCursor reads what Page.Next of a list with a filter holds; an empty text is the beginning.
func ParseCursor(list string, f store.Filter, text string) (store.Cursor, error) {
	if text == "" {
		return store.Cursor{}, nil
	}
	plain, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(plain) < 8 {
		return store.Cursor{}, errCursor
	}
	place := string(plain[8:])
	at, id, found := strings.Cut(place, " ")
	micros, err := strconv.ParseInt(at, 10, 64)
	if err != nil || !found || id == "" || string(checksum(list, f, place)) != string(plain[:8]) {
		return store.Cursor{}, errCursor
	}
	return store.Cursor{At: time.UnixMicro(micros).UTC(), ID: id}, nil
}
