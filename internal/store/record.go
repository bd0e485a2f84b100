package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/release"
)

// The states of what has not ended, as SQL lists.
var (
	activeRuns     = sqlList(slices.DeleteFunc(codecheck.States(), codecheck.State.Ended))
	activeReleases = sqlList(release.ActiveStates())
	// repeatable are the end states of a run after which the same commit may be
	// checked again.
	repeatable = sqlList([]codecheck.State{codecheck.Errored, codecheck.Superseded, codecheck.Stopped})
)

// sqlList writes constants of ours as an SQL list.
func sqlList[S ~string](values []S) string {
	quoted := make([]string, len(values))
	for i, value := range values {
		quoted[i] = "'" + string(value) + "'"
	}
	return "(" + strings.Join(quoted, ", ") + ")"
}

// records reads rows that are one JSON record each.
func records[T any](ctx context.Context, tx *Tx, query string, args ...any) ([]T, error) {
	return collect(ctx, tx, func(row scanner) (T, error) { return scanRecord[T](row) }, query, args...)
}

// texts reads rows of one text each.
func texts(ctx context.Context, tx *Tx, query string, args ...any) ([]string, error) {
	return collect(ctx, tx, func(row scanner) (text string, err error) {
		err = row.Scan(&text)
		return text, err
	}, query, args...)
}

func collect[T any](ctx context.Context, tx *Tx, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := tx.query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	defer rows.Close()
	var list []T
	for rows.Next() {
		value, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("list records: %w", err)
		}
		list = append(list, value)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	return list, nil
}

// scanRecord reads a row that is one JSON record, and more columns behind it.
func scanRecord[T any](row scanner, more ...any) (record T, err error) {
	var data string
	if err := row.Scan(append([]any{&data}, more...)...); err != nil {
		return record, err
	}
	if err := json.Unmarshal([]byte(data), &record); err != nil {
		return record, fmt.Errorf("unmarshal record: %w", err)
	}
	return record, nil
}

// Versioned is a record with the version that it was read at.
type Versioned[T any] struct {
	Record  T
	Version Version
}

// scanVersioned reads a row that is a version and one JSON record.
func scanVersioned[T any](row scanner) (v Versioned[T], err error) {
	var data string
	if err := row.Scan(&v.Version, &data); err != nil {
		return v, err
	}
	if err := json.Unmarshal([]byte(data), &v.Record); err != nil {
		return v, fmt.Errorf("unmarshal record: %w", err)
	}
	return v, nil
}

// anys are texts as arguments of a query.
func anys(texts []string) []any {
	args := make([]any, len(texts))
	for i, text := range texts {
		args[i] = text
	}
	return args
}

// counts reads rows of a state and a number.
func counts[S ~string](ctx context.Context, tx *Tx, query string) (map[S]int, error) {
	result := map[S]int{}
	_, err := collect(ctx, tx, func(row scanner) (struct{}, error) {
		var state string
		var number int
		err := row.Scan(&state, &number)
		result[S(state)] = number
		return struct{}{}, err
	}, query)
	return result, err
}

// statesByID reads rows of an id and a state.
func statesByID[S ~string](ctx context.Context, tx *Tx, query string, args ...any) (map[string]S, error) {
	result := map[string]S{}
	_, err := collect(ctx, tx, func(row scanner) (struct{}, error) {
		var id, state string
		err := row.Scan(&id, &state)
		result[id] = S(state)
		return struct{}{}, err
	}, query, args...)
	return result, err
}

// mirrored is the time that is as long after now as since is before it.
func (tx *Tx) mirrored(since time.Time) int64 { return 2*tx.now() - micros(since) }
