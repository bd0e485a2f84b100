package store

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Change says that a record was changed.
type Change struct {
	Kind RecordKind
	ID   string
	// State is what it is in now; empty where an action was noted beside the record.
	State string
	At    time.Time
}

// changesQuery has three times the same time and limit, for the fourth table, and once more the limit.
var changesQuery = func() string {
	var parts []string
	for i, table := range []string{
		`'delivery' AS kind, id, state, updated_at AS at FROM deliveries WHERE updated_at >= $1 ORDER BY updated_at, id`,
		`'run' AS kind, id, state, updated_at AS at FROM runs WHERE updated_at >= $1 ORDER BY updated_at, id`,
		`'release' AS kind, id, state, updated_at AS at FROM releases WHERE updated_at >= $1 ORDER BY updated_at, id`,
		`record_kind AS kind, record_id AS id, '' AS state, created_at AS at FROM actions WHERE created_at >= $1 ORDER BY created_at, id`,
	} {
		parts = append(parts, fmt.Sprintf("SELECT * FROM (SELECT %s LIMIT $2) AS t%d", table, i))
	}
	return strings.Join(parts, " UNION ALL ") + " ORDER BY at, kind, id LIMIT $2"
}()

// Changes lists the records that were changed at a time or later, the oldest change first, at most limit. A
// record is listed once, by its last change, and once for each action on it.
func (tx *Tx) Changes(ctx context.Context, since time.Time, limit int) ([]Change, error) {
	return collect(ctx, tx, func(row scanner) (c Change, err error) {
		var at int64
		err = row.Scan(&c.Kind, &c.ID, &c.State, &at)
		c.At = fromMicros(at)
		return c, err
	}, changesQuery, micros(since), limit)
}
