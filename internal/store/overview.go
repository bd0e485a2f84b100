package store

import (
	"context"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
)

// Arrivals are the deliveries of one connection that were received in one part of a time and
// are in one state.
type Arrivals struct {
	// Part counts from 0, the oldest.
	Part       int
	Connection string
	State      event.DeliveryState
	Count      int
	// Slowest is the longest time from receipt to that state; of those that are not decided until now.
	Slowest time.Duration
	// Newest is when the last of them was received.
	Newest time.Time
}

// Arrivals counts the deliveries that were received since a time by parts of it, each of a
// width, among the newest limit of them.
func (tx *Tx) Arrivals(ctx context.Context, since time.Time, width time.Duration, limit int) ([]Arrivals, error) {
	list, err := collect(ctx, tx, func(row scanner) (a Arrivals, err error) {
		var slowest, newest int64
		err = row.Scan(&a.Part, &a.Connection, &a.State, &a.Count, &slowest, &newest)
		a.Slowest, a.Newest = time.Duration(max(slowest, 0))*time.Microsecond, fromMicros(newest)
		return a, err
	}, arrivalsQuery, micros(since), width.Microseconds(), tx.now(), limit)
	if err != nil {
		return nil, fmt.Errorf("count deliveries: %w", err)
	}
	return list, nil
}

// A delivery that a person had decided again was not slow the first time.
const arrivalsQuery = `SELECT part, connection, state, COUNT(*), MAX(took), MAX(received_at) FROM (
		SELECT (received_at - $1) / $2 AS part, connection, state, received_at,
			CASE WHEN replayed THEN 0 WHEN state = '` + string(event.DeliveryReceived) + `' THEN $3 - received_at ELSE updated_at - received_at END AS took
		FROM deliveries WHERE received_at >= $1 ORDER BY received_at DESC, id DESC LIMIT $4) AS newest
	GROUP BY part, connection, state ORDER BY part, connection, state`

// Unresolved lists the releases in an end state that no person has resolved or repeated, the
// newest first, at most limit.
func (tx *Tx) Unresolved(ctx context.Context, state release.State, limit int) ([]release.Release, error) {
	return records[release.Release](ctx, tx, unresolvedQuery, string(state), limit)
}

const unresolvedQuery = `SELECT t.data FROM releases AS t WHERE t.state = $1
	AND t.rerun_as = '' AND NOT EXISTS (SELECT 1 FROM actions a WHERE a.record_id = t.id AND a.action = '` + string(ActionResolve) + `')
	ORDER BY t.created_at DESC, t.id DESC LIMIT $2`

// Untried lists the runs that ended without a verdict since a time and that no person has
// repeated, the newest first, at most limit.
func (tx *Tx) Untried(ctx context.Context, since time.Time, limit int) ([]codecheck.Run, error) {
	return records[codecheck.Run](ctx, tx, `SELECT data FROM runs WHERE state = '`+string(codecheck.Errored)+`' AND created_at >= $1 AND rerun_as = ''
		ORDER BY created_at DESC, id DESC LIMIT $2`, micros(since), limit)
}

// AwaitingTrust lists the deliveries that wait for somebody who vouches for the commit of a
// fork, the newest first, at most limit.
func (tx *Tx) AwaitingTrust(ctx context.Context, limit int) ([]Delivery, error) {
	return collect(ctx, tx, func(row scanner) (Delivery, error) { return scanDelivery(row) },
		`SELECT `+deliveryColumns+` FROM deliveries WHERE id IN (SELECT delivery_id FROM trust WHERE actor = '' ORDER BY updated_at DESC LIMIT $1)
		ORDER BY received_at DESC, id DESC`, limit)
}

// CountActiveRuns counts the runs that have not ended.
func (tx *Tx) CountActiveRuns(ctx context.Context) (n int, err error) {
	err = tx.queryRow(ctx, `SELECT COUNT(*) FROM runs WHERE state IN `+activeRuns).Scan(&n)
	return n, err
}

// CountMovingReleases counts the releases that start or run.
func (tx *Tx) CountMovingReleases(ctx context.Context) (n int, err error) {
	err = tx.queryRow(ctx, `SELECT COUNT(*) FROM releases WHERE state IN `+sqlList([]release.State{release.Starting, release.Running})).Scan(&n)
	return n, err
}
