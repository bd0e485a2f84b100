package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
)

// AddRun stores a new run. added is false, and nothing is stored, when the same
// rule has checked the same commit on the same task already, or is about to:
// then the other run's id is returned. A run that was marked by MarkRerun does not
// count.
func (tx *Tx) AddRun(ctx context.Context, run codecheck.Run) (id string, added bool, err error) {
	data, err := json.Marshal(run)
	if err != nil {
		return "", false, fmt.Errorf("add run %q: %w", run.ID, err)
	}
	taskKey := codecheck.TaskKey(run.Event, run.Check)
	ev := run.Event
	changed, err := tx.exec(ctx, `INSERT INTO runs
		(id, delivery_id, connection, repository, kind, branch, number, sha, actor, rule, ref_key, task_key,
			state, shares_run_id, occupied_task, baseline, waits_for, account, priority, place, placed_at, starts_at, scan_took, rerun_as, version, deadline, created_at, updated_at, data)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, '', FALSE, '', $21, $19, '', 0, $20, 0, '', 0, $15, $16, $17, $18)
		ON CONFLICT DO NOTHING`,
		run.ID, run.DeliveryID, ev.Connection, ev.Repository.FullName, string(ev.Kind), ev.Branch, ev.Number, ev.HeadSHA, ev.Sender, run.Rule, ev.RefKey(), taskKey,
		string(run.State), run.SharesRunID, micros(run.Deadline), micros(run.CreatedAt), tx.now(), string(data),
		rank(run), startsAt(run), run.Check.Account)
	if err != nil {
		return "", false, fmt.Errorf("add run %q: %w", run.ID, err)
	}
	if changed == 1 {
		_, err := tx.exec(ctx, `UPDATE host_refs SET answered = FALSE WHERE ref_key = $1 AND sha = $2 AND answered`, ev.RefKey(), ev.HeadSHA)
		if err != nil {
			return "", false, fmt.Errorf("add run %q: await verdict: %w", run.ID, err)
		}
		return run.ID, true, nil
	}
	err = tx.queryRow(ctx, `SELECT id FROM runs WHERE task_key = $1 AND sha = $2 AND rule = $3
		AND rerun_as = '' AND state NOT IN `+repeatable, taskKey, ev.HeadSHA, run.Rule).Scan(&id)
	if err != nil {
		return "", false, fmt.Errorf("read run of the same commit: %w", err)
	}
	return id, false, nil
}

// Sibling returns the oldest run of another rule that checks, or has checked, the
// same commit on the same task; empty when there is none.
func (tx *Tx) Sibling(ctx context.Context, run codecheck.Run) (id string, err error) {
	err = tx.queryRow(ctx, `SELECT id FROM runs WHERE task_key = $1 AND sha = $2 AND rule <> $3 AND shares_run_id = '' AND rerun_as = ''
		AND state NOT IN `+repeatable+` ORDER BY created_at, id LIMIT 1`,
		codecheck.TaskKey(run.Event, run.Check), run.Event.HeadSHA, run.Rule).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read run of another rule: %w", err)
	}
	return id, nil
}

// SaveRun writes a run that was read at a version, and counts the version up. When
// nothing could be written the error is ErrEnded (the stored run has ended),
// ErrStale (another step has saved it in the meantime) or ErrTaskBusy (another run
// occupies its task).
func (tx *Tx) SaveRun(ctx context.Context, run codecheck.Run, version *Version) error {
	if err := tx.saveRun(ctx, run, *version); err != nil {
		return fmt.Errorf("save run %q: %w", run.ID, err)
	}
	*version++
	return nil
}

func (tx *Tx) saveRun(ctx context.Context, run codecheck.Run, version Version) error {
	data, err := json.Marshal(run)
	if err != nil {
		return err
	}
	task := run.OccupiedTask()
	if task != "" {
		var others int
		err := tx.queryRow(ctx, `SELECT COUNT(*) FROM runs WHERE occupied_task = $1 AND occupied_task <> '' AND id <> $2`, task, run.ID).Scan(&others)
		if err != nil {
			return err
		}
		if others > 0 {
			return ErrTaskBusy
		}
	}
	changed, err := tx.exec(ctx, `UPDATE runs SET state = $3, shares_run_id = $4, occupied_task = $5, waits_for = '', place = '', version = version + 1, deadline = $6, updated_at = $7, data = $8, baseline = $9, scan_took = $10
		WHERE id = $1 AND version = $2 AND state IN `+activeRuns,
		run.ID, int64(version), string(run.State), run.SharesRunID, task, micros(run.Deadline), tx.now(), string(data), run.IsBaseline(), scanTook(run))
	if err == nil && changed == 0 {
		err = tx.whyNotSaved(ctx, `SELECT state IN `+activeRuns+` FROM runs WHERE id = $1`, run.ID)
	}
	return err
}

// whyNotSaved tells ended from stale.
func (tx *Tx) whyNotSaved(ctx context.Context, query, id string) error {
	var active bool
	err := tx.queryRow(ctx, query, id).Scan(&active)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	case err != nil:
		return err
	case active:
		return ErrStale
	}
	return ErrEnded
}

// Run reads one run. ErrNotFound when there is none.
func (tx *Tx) Run(ctx context.Context, id string) (codecheck.Run, error) {
	v, err := tx.RunAt(ctx, id)
	return v.Record, err
}

// RunAt reads one run and its version. ErrNotFound when there is none.
func (tx *Tx) RunAt(ctx context.Context, id string) (Versioned[codecheck.Run], error) {
	return tx.runAt(ctx, id, "")
}

// LockRun is RunAt, and keeps the run from changing before the transaction ends.
func (tx *Tx) LockRun(ctx context.Context, id string) (Versioned[codecheck.Run], error) {
	return tx.runAt(ctx, id, tx.forUpdate())
}

func (tx *Tx) runAt(ctx context.Context, id, lock string) (Versioned[codecheck.Run], error) {
	v, err := scanVersioned[codecheck.Run](tx.queryRow(ctx, `SELECT version, data FROM runs WHERE id = $1`+lock, id))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return v, fmt.Errorf("read run %q: %w", id, err)
	}
	return v, nil
}

// ActiveRuns returns the runs of a ref key that have not ended, oldest first, and keeps
// them from changing before the transaction ends.
func (tx *Tx) ActiveRuns(ctx context.Context, refKey string) ([]Versioned[codecheck.Run], error) {
	return collect(ctx, tx, scanVersioned[codecheck.Run], `SELECT version, data FROM runs WHERE ref_key = $1 AND state IN `+activeRuns+`
		ORDER BY created_at, id`+tx.forUpdate(), refKey)
}

// SharingRuns returns the runs that have not ended and share the execution of a run,
// oldest first, and keeps them from changing before the transaction ends.
func (tx *Tx) SharingRuns(ctx context.Context, run codecheck.Run) ([]Versioned[codecheck.Run], error) {
	return collect(ctx, tx, scanVersioned[codecheck.Run], `SELECT version, data FROM runs WHERE sha = $1 AND shares_run_id = $2
		AND state IN `+activeRuns+` ORDER BY created_at, id`+tx.forUpdate(), run.Event.HeadSHA, run.ID)
}

// SameCheck returns the oldest run that has not ended, has no execution yet and checks
// the same commit on the same task as a run that has ended, and keeps it from changing
// before the transaction ends; found is false when there is none.
func (tx *Tx) SameCheck(ctx context.Context, run codecheck.Run) (same Versioned[codecheck.Run], found bool, err error) {
	list, err := collect(ctx, tx, scanVersioned[codecheck.Run], `SELECT version, data FROM runs WHERE task_key = $1 AND sha = $2 AND shares_run_id = ''
		AND id <> $3 AND state IN `+sqlList([]codecheck.State{codecheck.Queued, codecheck.Starting})+` ORDER BY created_at, id LIMIT 1`+tx.forUpdate(),
		codecheck.TaskKey(run.Event, run.Check), run.Event.HeadSHA, run.ID)
	if err != nil || len(list) == 0 {
		return same, false, err
	}
	return list[0], true, nil
}

// Occupant reads the other run that occupies a CodeArts task; found is false when there is
// none.
func (tx *Tx) Occupant(ctx context.Context, taskID, except string) (run codecheck.Run, found bool, err error) {
	list, err := records[codecheck.Run](ctx, tx, `SELECT data FROM runs WHERE occupied_task = $1 AND occupied_task <> '' AND id <> $2 LIMIT 1`, taskID, except)
	if err != nil || len(list) == 0 {
		return run, false, err
	}
	return list[0], true, nil
}

// RunsOf lists the runs that a delivery caused, oldest first.
func (tx *Tx) RunsOf(ctx context.Context, deliveryID string) ([]codecheck.Run, error) {
	return records[codecheck.Run](ctx, tx, `SELECT data FROM runs WHERE delivery_id = $1 ORDER BY created_at, id`, deliveryID)
}

// CountRuns counts the runs in each state.
func (tx *Tx) CountRuns(ctx context.Context) (map[codecheck.State]int, error) {
	return counts[codecheck.State](ctx, tx, `SELECT state, COUNT(*) FROM runs GROUP BY state`)
}

// StaleRuns lists the ids of runs that have not ended, were not saved since a time and
// wait for no other record that can still change, oldest first, at most limit of
// them. One that waits, for a record or for a place, counts once its deadline has passed. As far in the future
// counts as stale too: the clock was set back since.
func (tx *Tx) StaleRuns(ctx context.Context, since time.Time, limit int) (map[string]codecheck.State, error) {
	return statesByID[codecheck.State](ctx, tx, `SELECT t.id, t.state FROM runs AS t WHERE t.state IN `+activeRuns+`
		AND (t.updated_at < $1 OR t.updated_at > $2) AND (t.deadline <= $3 OR t.place <> '`+placeWaits+`' AND (t.waits_for = '' OR NOT `+stillActive+`))
		ORDER BY t.updated_at LIMIT $4`, micros(since), tx.mirrored(since), tx.now(), limit)
}

// stillActive is true of a row t whose waits_for names a record that has not ended.
var stillActive = `(EXISTS (SELECT 1 FROM runs o WHERE o.id = t.waits_for AND o.state IN ` + activeRuns + `)
	OR EXISTS (SELECT 1 FROM releases o WHERE o.id = t.waits_for AND o.state IN ` + activeReleases + `)
	OR EXISTS (SELECT 1 FROM deliveries o WHERE o.id = t.waits_for AND o.state = 'received'))`
