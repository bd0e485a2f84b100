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
	// kept holds the queries that came at least once; nil: not prepared.
	kept   map[string]*sql.Stmt
	wanted []string
}

// maxStatements bounds the queries that are kept; the program has fewer.
const maxStatements = 256

func newStatements(db *sql.DB) *statements {
	return &statements{db: db, kept: map[string]*sql.Stmt{}}
}

// begin starts a transaction, after it has prepared what is wanted.
func (s *statements) begin(ctx context.Context) (*sql.Tx, error) {
	s.mu.Lock()
	wanted := s.wanted
	s.wanted = nil
	s.mu.Unlock()
	for _, query := range wanted {
		prepared, err := s.db.PrepareContext(ctx, query)
		if err != nil {
			// Whoever uses the query will meet the error.
			continue
		}
		s.mu.Lock()
		s.kept[query] = prepared
		s.mu.Unlock()
	}
	return s.db.BeginTx(ctx, nil)
}

// find returns the prepared statement of a query; nil when it is to be used as it
// is.
func (s *statements) find(query string) *sql.Stmt {
	s.mu.Lock()
	defer s.mu.Unlock()
	prepared, known := s.kept[query]
	switch {
	case prepared != nil:
	case known:
		s.wanted = append(s.wanted, query)
	case len(s.kept) < maxStatements:
		s.kept[query] = nil
	}
	return prepared
}
