package store

import (
	"context"
	"database/sql"
	"sync"
)

// statements keeps the queries of one pool of SQLite connections prepared: preparing
// a query costs SQLite as much as running it. A query that comes a second time is
// prepared before the next transaction begins, because within one the only connection
// may be taken.
type statements struct {
	db *sql.DB

	mu sync.Mutex
	// kept holds the queries that came at least once, wanted those that came again
	// since a transaction began.
	kept   map[string]statement
	wanted []string
}

type statement struct {
	prepared *sql.Stmt // nil: not yet
	// wanted: somebody prepares it, or will; twice would leave one behind.
	wanted bool
}

// maxStatements bounds the queries that are kept. The program has fewer, but for those
// of the retention, whose texts differ by the size of a batch.
const maxStatements = 256

func newStatements(db *sql.DB) *statements {
	return &statements{db: db, kept: map[string]statement{}}
}

// begin starts a transaction, after it has prepared what is wanted.
func (s *statements) begin(ctx context.Context) (*sql.Tx, error) {
	s.mu.Lock()
	wanted := s.wanted
	s.wanted = nil
	s.mu.Unlock()
	for _, query := range wanted {
		// Whoever uses the query will meet the error, or want it once more.
		prepared, err := s.db.PrepareContext(ctx, query)
		s.mu.Lock()
		s.kept[query] = statement{prepared: prepared, wanted: err == nil}
		s.mu.Unlock()
	}
	return s.db.BeginTx(ctx, nil)
}

// find returns the prepared statement of a query; nil when it is to be used as it
// is.
func (s *statements) find(query string) *sql.Stmt {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, known := s.kept[query]
	switch {
	case found.wanted:
	case known:
		s.kept[query] = statement{wanted: true}
		s.wanted = append(s.wanted, query)
	case len(s.kept) < maxStatements:
		s.kept[query] = statement{}
	}
	return found.prepared
}
