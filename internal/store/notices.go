package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Notice is something that a target is told, or is to be told.
type Notice struct {
	Target   string
	Event    string
	RecordID string
	// Data is what it says, as JSON.
	Data string
	// State is waiting, sent or given_up.
	State NoticeState
	// Message is the id of the message that carries it; empty before the first try.
	Message  string
	Attempts int
	// Problem says why it was not sent when that was tried last.
	Problem      string
	DueAt        time.Time
	ClaimedUntil time.Time
	CreatedAt    time.Time
}

// NoticeState is where a notice stands.
type NoticeState string

const (
	NoticeWaiting NoticeState = "waiting"
	NoticeSent    NoticeState = "sent"
	NoticeGivenUp NoticeState = "given_up"
)

// Key identifies a notice: each target hears of an event of a record once.
func (n Notice) Key() string { return n.Target + " " + n.Event + " " + n.RecordID }

// AddNotice stores a notice that waits to be sent. added is false where there was one already.
func (tx *Tx) AddNotice(ctx context.Context, n Notice) (added bool, err error) {
	changed, err := tx.exec(ctx, `INSERT INTO notices (key, target, event, record_id, data, state, message, attempts, problem, due_at, claimed_until, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, 'waiting', '', 0, '', 0, 0, $6, $6) ON CONFLICT (key) DO NOTHING`, n.Key(), n.Target, n.Event, n.RecordID, n.Data, tx.now())
	if err != nil {
		return false, fmt.Errorf("add notice %q: %w", n.Key(), err)
	}
	return changed == 1, nil
}

const noticeColumns = `target, event, record_id, data, state, message, attempts, problem, due_at, claimed_until, created_at`

func scanNotice(row scanner) (n Notice, err error) {
	var due, claimed, created int64
	err = row.Scan(&n.Target, &n.Event, &n.RecordID, &n.Data, &n.State, &n.Message, &n.Attempts, &n.Problem, &due, &claimed, &created)
	n.DueAt, n.ClaimedUntil, n.CreatedAt = fromMicros(due), fromMicros(claimed), fromMicros(created)
	return n, err
}

// Notice reads a notice. ErrNotFound when there is none.
func (tx *Tx) Notice(ctx context.Context, key string) (Notice, error) {
	n, err := scanNotice(tx.queryRow(ctx, `SELECT `+noticeColumns+` FROM notices WHERE key = $1`, key))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return n, fmt.Errorf("read notice %q: %w", key, err)
	}
	return n, nil
}

// LockTarget keeps others from sending to a target until the transaction ends, and returns how many
// messages it got since a time.
func (tx *Tx) LockTarget(ctx context.Context, target string) (since time.Time, sent int, err error) {
	if _, err := tx.exec(ctx, `INSERT INTO notice_windows (target, since, sent) VALUES ($1, 0, 0) ON CONFLICT (target) DO NOTHING`, target); err != nil {
		return since, 0, fmt.Errorf("lock target %q: %w", target, err)
	}
	var at int64
	if err := tx.queryRow(ctx, `SELECT since, sent FROM notice_windows WHERE target = $1`+tx.forUpdate(), target).Scan(&at, &sent); err != nil {
		return since, 0, fmt.Errorf("lock target %q: %w", target, err)
	}
	return fromMicros(at), sent, nil
}

// SaveTarget saves what LockTarget returns.
func (tx *Tx) SaveTarget(ctx context.Context, target string, since time.Time, sent int) error {
	_, err := tx.exec(ctx, `UPDATE notice_windows SET since = $2, sent = $3 WHERE target = $1`, target, micros(since), sent)
	return err
}

// NoticesOfMessage lists the waiting notices that a message carries, the oldest first.
func (tx *Tx) NoticesOfMessage(ctx context.Context, message string) ([]Notice, error) {
	return collect(ctx, tx, scanNotice, `SELECT `+noticeColumns+` FROM notices WHERE message = $1 AND message <> '' AND state = 'waiting' ORDER BY created_at, key`, message)
}

// UnsentNotices lists the waiting notices of a target that no message carries yet, the oldest first.
func (tx *Tx) UnsentNotices(ctx context.Context, target string, limit int) ([]Notice, error) {
	return collect(ctx, tx, scanNotice, `SELECT `+noticeColumns+` FROM notices WHERE target = $1 AND state = 'waiting' AND message = '' ORDER BY created_at, key LIMIT $2`, target, limit)
}

// Notices lists all notices, for tests and the demo.
func (tx *Tx) Notices(ctx context.Context) ([]Notice, error) {
	return collect(ctx, tx, scanNotice, `SELECT `+noticeColumns+` FROM notices ORDER BY created_at, key`)
}

// WaitingNotices lists the keys of waiting notices that were not saved since a time, at most limit.
func (tx *Tx) WaitingNotices(ctx context.Context, since time.Time, limit int) ([]string, error) {
	return texts(ctx, tx, `SELECT key FROM notices WHERE state = 'waiting' AND updated_at < $1 ORDER BY created_at LIMIT $2`, micros(since), limit)
}

// SaveNotice saves a notice that was read in this transaction, or whose target is claimed.
func (tx *Tx) SaveNotice(ctx context.Context, n Notice) error {
	_, err := tx.exec(ctx, `UPDATE notices SET state = $2, message = $3, attempts = $4, problem = $5, due_at = $6, claimed_until = $7, updated_at = $8 WHERE key = $1`,
		n.Key(), string(n.State), n.Message, n.Attempts, n.Problem, micros(n.DueAt), micros(n.ClaimedUntil), tx.now())
	if err != nil {
		return fmt.Errorf("save notice %q: %w", n.Key(), err)
	}
	return nil
}
