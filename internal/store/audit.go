package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/audit"
)

// Audit has an entry appended to the audit log, in this transaction. Kind, Actor and Action are
// mandatory; number, time and hashes are filled in. The rows are written behind everything
// else, just before the commit: the lock under which the chain grows is taken last and held
// shortly, so that no two transactions can wait for each other.
func (tx *Tx) Audit(_ context.Context, e audit.Entry) error {
	if err := e.Check(); err != nil {
		return err
	}
	tx.audit = append(tx.audit, e)
	return nil
}

func (tx *Tx) appendAudit(ctx context.Context) error {
	if len(tx.audit) == 0 {
		return nil
	}
	if err := tx.lockAudit(ctx); err != nil {
		return fmt.Errorf("lock the audit log: %w", err)
	}
	last, err := tx.AuditHead(ctx)
	if err != nil {
		return err
	}
	now := tx.store.now()
	for _, e := range tx.audit {
		last = audit.Seal(last, e, now)
		_, err := tx.exec(ctx, `INSERT INTO audit (`+auditColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			last.Seq, micros(last.At), string(last.Kind), last.Actor, last.Action, last.RecordKind, last.RecordID, last.Reason, last.Details, last.Prev, last.Hash)
		if err != nil {
			return fmt.Errorf("append to the audit log: %w", err)
		}
	}
	return nil
}

const auditColumns = `seq, at, kind, actor, action, record_kind, record_id, reason, details, prev, hash`

func scanAudit(row scanner) (e audit.Entry, err error) {
	var at int64
	err = row.Scan(&e.Seq, &at, &e.Kind, &e.Actor, &e.Action, &e.RecordKind, &e.RecordID, &e.Reason, &e.Details, &e.Prev, &e.Hash)
	e.At = fromMicros(at)
	return e, err
}

// AuditHead is the newest row of the audit log; the zero entry for an empty one.
func (tx *Tx) AuditHead(ctx context.Context) (audit.Entry, error) {
	return tx.auditRow(ctx, `SELECT `+auditColumns+` FROM audit ORDER BY seq DESC LIMIT 1`)
}

// LastAudit is the newest row of a kind and action; the zero entry where there is none.
func (tx *Tx) LastAudit(ctx context.Context, kind audit.Kind, action string) (audit.Entry, error) {
	return tx.auditRow(ctx, `SELECT `+auditColumns+` FROM audit WHERE kind = $1 AND action = $2 ORDER BY seq DESC LIMIT 1`, string(kind), action)
}

func (tx *Tx) auditRow(ctx context.Context, query string, args ...any) (audit.Entry, error) {
	e, err := scanAudit(tx.queryRow(ctx, query, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return audit.Entry{}, nil
	}
	if err != nil {
		return e, fmt.Errorf("read the audit log: %w", err)
	}
	return e, nil
}

// AuditFilter selects rows of the audit log. A zero field selects all.
type AuditFilter struct {
	Kind     audit.Kind
	Actor    string
	RecordID string
	// Action is what was done, in one word. Search is a text, in upper or lower case, in the reason or the details.
	Action, Search string
	// Since is the earliest time, Until is the first one that is not wanted.
	Since, Until time.Time
	// Before is the number of a row: only older ones. From is that of the oldest row to look at.
	Before, From int64
	// Limit is how many rows at most; 0 for any number.
	Limit int
}

// AuditRows lists rows of the audit log, the newest first.
func (tx *Tx) AuditRows(ctx context.Context, f AuditFilter) ([]audit.Entry, error) {
	// One lower bound: SQLite searches the index by the first one alone.
	where, args := `seq >= $1`, []any{max(f.From, 1)}
	add := func(condition string, value any) {
		args = append(args, value)
		where += fmt.Sprintf(" AND "+condition, len(args))
	}
	if f.Kind != "" {
		add("kind = $%d", string(f.Kind))
	}
	if f.Actor != "" {
		add("actor = $%d", f.Actor)
	}
	if f.RecordID != "" {
		add("record_id = $%d AND record_id <> ''", f.RecordID)
	}
	if f.Action != "" {
		add("action = $%d", f.Action)
	}
	if f.Search != "" {
		add("(lower(reason) || ' ' || lower(details)) LIKE $%d ESCAPE '!'", "%"+escapeLike(strings.ToLower(f.Search))+"%")
	}
	if !f.Since.IsZero() {
		add("at >= $%d", micros(f.Since))
	}
	if !f.Until.IsZero() {
		add("at < $%d", micros(f.Until))
	}
	if f.Before > 0 {
		add("seq < $%d", f.Before)
	}
	query := `SELECT ` + auditColumns + ` FROM audit WHERE ` + where + ` ORDER BY seq DESC`
	if f.Limit > 0 {
		args = append(args, f.Limit)
		query += fmt.Sprintf(" LIMIT $%d", len(args))
	}
	list, err := collect(ctx, tx, scanAudit, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list the audit log: %w", err)
	}
	return list, nil
}

// EachAudit gives every row of the audit log to fn, by their numbers.
func (tx *Tx) EachAudit(ctx context.Context, fn func(audit.Entry)) error {
	rows, err := tx.query(ctx, `SELECT `+auditColumns+` FROM audit ORDER BY seq`)
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		e, err := scanAudit(rows)
		if err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		fn(e)
	}
	return rows.Err()
}

// TrimAudit removes the rows of the audit log that were written before a time, but never the
// newest one, and returns how many. First a row is appended and committed that names the last
// row which is to go, with its hash; the database refuses to remove any other.
func (s *Store) TrimAudit(ctx context.Context, before time.Time) (removed int64, err error) {
	err = s.Update(ctx, func(tx *Tx) error {
		// The order of the times may differ from that of the numbers: what goes is the longest
		// prefix of old rows.
		last, err := tx.auditRow(ctx, `SELECT `+auditColumns+` FROM audit WHERE seq < (SELECT COALESCE(MIN(seq), (SELECT MAX(seq) FROM audit)) FROM audit WHERE at >= $1)
			ORDER BY seq DESC LIMIT 1`, micros(before))
		if err != nil || last.Seq == 0 {
			return err
		}
		return tx.Audit(ctx, audit.Entry{
			Kind: audit.Retention, Actor: Gatewright, Action: "remove", RecordKind: "audit", RecordID: fmt.Sprint(last.Seq), Details: last.Hash,
			Reason: "written before " + before.UTC().Format(time.RFC3339) + " (audit.retention)",
		})
	})
	if err == nil {
		// Also what an earlier process has noted and not removed.
		err = s.Update(ctx, func(tx *Tx) (err error) {
			note, err := tx.LastAudit(ctx, audit.Retention, "remove")
			if err != nil || note.Seq == 0 {
				return err
			}
			removed, err = tx.exec(ctx, `DELETE FROM audit WHERE seq <= CAST($1 AS BIGINT)`, note.RecordID)
			return err
		})
	}
	if err != nil {
		return 0, fmt.Errorf("remove old rows of the audit log: %w", err)
	}
	return removed, nil
}
