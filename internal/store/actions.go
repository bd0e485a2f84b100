package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/audit"
	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/release"
)

// Action is what a person did to a record, or what was learned of it after its end. It
// is a row of its own: a record that has ended is never changed.
type Action struct {
	ID       string
	Kind     RecordKind
	RecordID string
	Name     ActionName
	// Actor is who did it; Gatewright for a remark.
	Actor string
	// Reason is what the actor gave, or what was learned.
	Reason string
	// Details depend on the action; see ActionName.
	Details string
	At      time.Time
}

// RecordKind says what an action was done to.
type RecordKind string

// The kinds of records.
const (
	RecordRun     RecordKind = "run"
	RecordRelease RecordKind = "release"
	// RecordDelivery is for the deliveries that wait for somebody who vouches for their commit.
	RecordDelivery RecordKind = "delivery"
)

// ActionName says what was done.
type ActionName string

const (
	// ActionRerun: a new record repeats this one. The details are its id.
	ActionRerun ActionName = "rerun"
	// ActionApprove and ActionRefuse: a person decided a checkpoint. The details are the
	// id of the release that sends the decision.
	ActionApprove ActionName = "approve"
	ActionRefuse  ActionName = "refuse"
	// ActionStop: a person ended a run, or ordered that the execution of a release is
	// stopped. ActionRetry, ActionContinue and ActionRollback order that of such an
	// execution. The details are the id of the release that sends it.
	ActionStop     ActionName = "stop"
	ActionRetry    ActionName = "retry"
	ActionContinue ActionName = "continue"
	ActionRollback ActionName = "rollback"
	// ActionResolve: a person found out what really happened. The details are succeeded
	// or failed.
	ActionResolve ActionName = "resolve"
	// ActionOK: a person vouches for the commit of a merge request from a fork. The details are the
	// commit.
	ActionOK ActionName = "ok"
	// ActionReplay: a person had a delivery decided again.
	ActionReplay ActionName = "replay"
	// ActionBreakGlass: a person of the group for emergencies lets a held release act in spite of windows and
	// freezes.
	ActionBreakGlass ActionName = "break_glass"
	// ActionRemark: Gatewright learned something of a record after its end.
	ActionRemark ActionName = "remark"
)

// ActionNames are all of them.
func ActionNames() []ActionName {
	return []ActionName{ActionRerun, ActionApprove, ActionRefuse, ActionStop, ActionRetry, ActionContinue, ActionRollback, ActionResolve, ActionOK, ActionReplay, ActionBreakGlass, ActionRemark}
}

// Gatewright is the actor of remarks.
const Gatewright = "gatewright"

// AddAction stores an action, and writes it into the audit log. The time is that of the store.
func (tx *Tx) AddAction(ctx context.Context, a Action) error {
	_, err := tx.exec(ctx, `INSERT INTO actions (id, record_kind, record_id, action, actor, reason, details, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		a.ID, string(a.Kind), a.RecordID, string(a.Name), a.Actor, a.Reason, a.Details, tx.now())
	if err != nil {
		return fmt.Errorf("add action to %s %q: %w", a.Kind, a.RecordID, err)
	}
	return tx.Audit(ctx, audit.Entry{
		Kind: audit.Action, Actor: a.Actor, Action: string(a.Name), RecordKind: string(a.Kind), RecordID: a.RecordID, Reason: a.Reason, Details: a.Details,
	})
}

const actionColumns = `id, record_kind, record_id, action, actor, reason, details, created_at`

// scanAction reads actionColumns, and more columns behind them.
func scanAction(row scanner, more ...any) (a Action, err error) {
	var at int64
	err = row.Scan(append([]any{&a.ID, &a.Kind, &a.RecordID, &a.Name, &a.Actor, &a.Reason, &a.Details, &at}, more...)...)
	a.At = fromMicros(at)
	return a, err
}

// Action reads one action. ErrNotFound when there is none.
func (tx *Tx) Action(ctx context.Context, id string) (Action, error) {
	a, err := scanAction(tx.queryRow(ctx, `SELECT `+actionColumns+` FROM actions WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return a, fmt.Errorf("read action %q: %w", id, err)
	}
	return a, nil
}

// ActionsOf lists what was done to a record, oldest first.
func (tx *Tx) ActionsOf(ctx context.Context, recordID string) ([]Action, error) {
	return collect(ctx, tx, func(row scanner) (Action, error) { return scanAction(row) },
		`SELECT `+actionColumns+` FROM actions WHERE record_id = $1 ORDER BY created_at, id`, recordID)
}

// VersionOf is a text that differs once something has changed in a record on which a person decides. That the
// service was looked at again changes nothing: nobody would be quick enough for a record that is under way. The error
// wraps [ErrNotFound] when there is none.
func (tx *Tx) VersionOf(ctx context.Context, kind RecordKind, id string) (version string, err error) {
	var decisive []any
	switch kind {
	case RecordRun:
		var r codecheck.Run
		r, err = tx.Run(ctx, id)
		decisive = []any{r.State, r.ExecID, r.Verdict}
	case RecordRelease:
		var r release.Release
		r, err = tx.Release(ctx, id)
		decisive = []any{r.State, r.ExecutionID, r.Waiting, r.Operation, r.Actions, r.Hold}
	default:
		var updated int64
		if err = tx.queryRow(ctx, `SELECT updated_at FROM deliveries WHERE id = $1`, id).Scan(&updated); errors.Is(err, sql.ErrNoRows) {
			err = ErrNotFound
		}
		decisive = []any{updated}
	}
	if err == nil && kind != RecordDelivery {
		var as string
		as, err = tx.RerunAs(ctx, kind, id)
		decisive = append(decisive, as)
	}
	if err != nil {
		return "", fmt.Errorf("read version of %s %q: %w", kind, id, err)
	}
	text, err := json.Marshal(decisive)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8]), nil
}

// MarkRerun marks an ended record as repeated by the record with the id as, which makes
// room for that one. It returns the id of the record that repeats it already; empty when
// there was none.
func (tx *Tx) MarkRerun(ctx context.Context, kind RecordKind, id, as string) (already string, err error) {
	table := string(kind) + "s"
	changed, err := tx.exec(ctx, `UPDATE `+table+` SET rerun_as = $2 WHERE id = $1 AND rerun_as = ''`, id, as)
	if err == nil && changed == 0 {
		already, err = tx.RerunAs(ctx, kind, id)
	}
	if err != nil {
		return "", fmt.Errorf("mark %s %q as repeated: %w", kind, id, err)
	}
	return already, nil
}

// RerunAs returns the id of the record that repeats a record; empty when there is none.
func (tx *Tx) RerunAs(ctx context.Context, kind RecordKind, id string) (as string, err error) {
	if err := tx.queryRow(ctx, `SELECT rerun_as FROM `+string(kind)+`s WHERE id = $1`, id).Scan(&as); err != nil {
		return "", fmt.Errorf("read rerun of %s %q: %w", kind, id, err)
	}
	return as, nil
}
