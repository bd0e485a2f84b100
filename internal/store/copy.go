package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// tables are all tables that hold what is worth keeping. The queue's are not among
// them: its jobs are created again from these. Neither are the replicas, which are running processes.
func tables() []string {
	return []string{"deliveries", "event_keys", "heads", "former_heads", "runs", "findings", "releases", "released", "actions", "approvals", "login_claims", "trust", "tasks", "task_claims", "refs", "reports", "commands", "host_repositories", "host_refs", "expected_deliveries", "pauses", "webhook_secrets", "audit", "evidence", "notices", "notice_windows", "sessions", "tokens"}
}

const (
	// copyRows and copyBytes bound one insert.
	copyRows  = 64
	copyBytes = 4 << 20
)

// Copy writes everything that from holds into s, which must be empty, and returns how
// many rows each table has. then is called in the same transaction; an error that it
// returns undoes the copy.
func (s *Store) Copy(ctx context.Context, from *Store, then func(*Tx) error) (map[string]int, error) {
	counts := map[string]int{}
	err := from.View(ctx, func(source *Tx) error {
		return s.Update(ctx, func(target *Tx) error {
			if err := target.empty(ctx); err != nil {
				return err
			}
			for _, table := range tables() {
				copied, err := copyTable(ctx, source, target, table)
				if err != nil {
					return fmt.Errorf("copy table %q: %w", table, err)
				}
				counts[table] = copied
			}
			return then(target)
		})
	})
	if err != nil {
		return nil, err
	}
	return counts, nil
}

// empty fails when a table has a row.
func (tx *Tx) empty(ctx context.Context) error {
	for _, table := range append(tables(), "river_job") {
		count, err := tx.count(ctx, table)
		if err != nil {
			return err
		}
		if count > 0 {
			return fmt.Errorf("the database is not empty: table %q has %d rows", table, count)
		}
	}
	return nil
}

func (tx *Tx) count(ctx context.Context, table string) (n int, err error) {
	if err := tx.queryRow(ctx, `SELECT COUNT(*) FROM `+table).Scan(&n); err != nil {
		return 0, fmt.Errorf("count rows of %q: %w", table, err)
	}
	return n, nil
}

// copyTable copies one table and fails unless as many rows arrived as were sent.
func copyTable(ctx context.Context, source, target *Tx, table string) (int, error) {
	rows, err := source.query(ctx, `SELECT * FROM `+table)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	var values []any
	size, sent := 0, 0
	flush := func() error {
		if len(values) == 0 {
			return nil
		}
		var groups []string
		for i := range len(values) / len(columns) {
			groups = append(groups, placeholders(i*len(columns)+1, len(columns)))
		}
		_, err := target.exec(ctx, `INSERT INTO `+table+` (`+strings.Join(columns, ", ")+`) VALUES `+strings.Join(groups, ", "), values...)
		values, size = nil, 0
		return err
	}
	for rows.Next() {
		row, bytes, err := scanRow(rows, columns)
		if err != nil {
			return 0, err
		}
		values, size, sent = append(values, row...), size+bytes, sent+1
		if len(values) >= copyRows*len(columns) || size >= copyBytes {
			if err := flush(); err != nil {
				return 0, err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	if err := flush(); err != nil {
		return 0, err
	}
	arrived, err := target.count(ctx, table)
	if err == nil && arrived != sent {
		err = fmt.Errorf("%d rows were sent and %d arrived", sent, arrived)
	}
	return arrived, err
}

// booleans are the columns that are true or false.
func booleans() []string {
	return []string{"answered", "baseline", "confirmed", "covered", "ended", "first", "from_host", "given_up", "replayed", "unanswered", "uncertain"}
}

// scanRow reads a row, and about how many bytes it has. SQLite returns booleans as
// numbers and an empty blob as nil; no column of ours can be NULL.
func scanRow(row scanner, columns []string) (values []any, size int, err error) {
	values = make([]any, len(columns))
	places := make([]any, len(columns))
	for i := range values {
		places[i] = &values[i]
	}
	if err := row.Scan(places...); err != nil {
		return nil, 0, err
	}
	for i, value := range values {
		switch value := value.(type) {
		case nil:
			values[i] = []byte{}
		case int64:
			if slices.Contains(booleans(), columns[i]) {
				values[i] = value != 0
			}
		case string:
			size += len(value)
		case []byte:
			size += len(value)
			if value == nil {
				values[i] = []byte{}
			}
		}
	}
	return values, size, nil
}
