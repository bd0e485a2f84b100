package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
)

// Report is something that a git host is told: the status of a commit, or the comment on a
// merge request. What it says is made from the records when it is written, so that a row
// only says that the records may have changed since.
type Report struct {
	Connection string           `json:"connection"`
	Repository event.Repository `json:"repository"`
	// SHA is the commit that a status is of; empty for a comment.
	SHA string `json:"sha"`
	// Pipeline is the id of the pipeline whose releases a status is of; empty for that of the
	// checks.
	Pipeline string `json:"pipeline,omitempty"`
	// Ref is the branch or tag that the commit was announced for last.
	Ref string `json:"ref"`
	// Number is the merge request that the commit was announced for last, or that has the
	// comment; 0 for none.
	Number int `json:"number"`
	// Ignored says why a rule asks for no check of the commit; empty when none said so.
	Ignored string `json:"ignored,omitempty"`
	// DeliveryID is the delivery that announced the commit last.
	DeliveryID string `json:"delivery_id"`
}

// Key identifies the report: what it is written to.
func (r Report) Key() string {
	repository := r.Connection + " " + r.Repository.ID + " "
	if r.SHA == "" {
		return repository + "#" + strconv.Itoa(r.Number)
	}
	return repository + r.SHA + " " + cmp.Or(r.Pipeline, "check")
}

// Outgoing is a report with what became of it.
type Outgoing struct {
	Report
	// Version counts the changes that may make it another, Done is the one that was dealt
	// with last.
	Version, Done int64
	// WantedAt is since when something is to be written; zero when nothing is.
	WantedAt time.Time
	// State, Written and Handle are what the host was told last, and its id of it; empty
	// before. Writes counts the writes.
	State, Written, Handle string
	Writes                 int
	// Problem says why it is not written; empty when it is. GivenUp: nothing tries any more.
	Problem string
	GivenUp bool
	// DueAt is before when it is tried again.
	DueAt     time.Time
	UpdatedAt time.Time
}

// Want notes that a report may have to be written.
func (tx *Tx) Want(ctx context.Context, r Report) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("want report: %w", err)
	}
	// due_at stays: what the host asked for holds for newer words too.
	_, err = tx.exec(ctx, `INSERT INTO reports
		(key, connection, repository_id, sha, pipeline, number, data, version, done, claimed_by, claimed_until, wanted_at, due_at, state, written, handle, writes, problem, given_up, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 1, 0, '', 0, $8, 0, '', '', '', 0, '', FALSE, $8)
		ON CONFLICT (key) DO UPDATE SET data = excluded.data, version = reports.version + 1, given_up = FALSE, updated_at = excluded.updated_at,
			wanted_at = CASE WHEN reports.version > reports.done AND NOT reports.given_up THEN reports.wanted_at ELSE excluded.wanted_at END`,
		r.Key(), r.Connection, r.Repository.ID, r.SHA, r.Pipeline, r.Number, string(data), tx.now())
	if err != nil {
		return fmt.Errorf("want report: %w", err)
	}
	return nil
}

const outgoingColumns = `data, version, done, wanted_at, state, written, handle, writes, problem, given_up, due_at, updated_at`

func scanOutgoing(row scanner) (o Outgoing, err error) {
	var data string
	var wantedAt, dueAt, updatedAt int64
	if err := row.Scan(&data, &o.Version, &o.Done, &wantedAt, &o.State, &o.Written, &o.Handle, &o.Writes, &o.Problem, &o.GivenUp, &dueAt, &updatedAt); err != nil {
		return o, err
	}
	if o.Version > o.Done {
		o.WantedAt = fromMicros(wantedAt)
	}
	o.DueAt, o.UpdatedAt = fromMicros(dueAt), fromMicros(updatedAt)
	return o, json.Unmarshal([]byte(data), &o.Report)
}

// ConnectionsToTell lists the connections that have reports which are to be written now.
func (tx *Tx) ConnectionsToTell(ctx context.Context) ([]string, error) {
	return texts(ctx, tx, `SELECT DISTINCT connection FROM reports WHERE version > done AND NOT given_up AND due_at <= $1 AND claimed_until <= $1 ORDER BY connection`, tx.now())
}

// ClaimReports claims reports of a connection that are to be written now, limit at most, those
// first that are wanted for longest. Nobody else claims them before a time; by names who does.
func (tx *Tx) ClaimReports(ctx context.Context, connection, by string, until time.Time, limit int) ([]Outgoing, error) {
	lock := tx.forUpdate()
	if lock != "" {
		lock += " SKIP LOCKED"
	}
	claimed, err := collect(ctx, tx, scanOutgoing, `WITH due AS MATERIALIZED (
			SELECT key FROM reports WHERE connection = $3 AND version > done AND NOT given_up AND due_at <= $4 AND claimed_until <= $4 ORDER BY wanted_at LIMIT $5`+lock+`)
		UPDATE reports SET claimed_until = $1, claimed_by = $2 WHERE key IN (SELECT key FROM due) RETURNING `+outgoingColumns, micros(until), by, connection, tx.now(), limit)
	if err != nil {
		return nil, fmt.Errorf("claim reports: %w", err)
	}
	return claimed, nil
}

// SaveReport saves what became of a report, and ends the claim. When by has not claimed it, or
// somebody else has by now, two have written it, and nobody knows in which order: of neither is saved
// what it wrote, and it is written once more when the claims have ended.
func (tx *Tx) SaveReport(ctx context.Context, o Outgoing, by string) error {
	saved, err := tx.exec(ctx, `UPDATE reports SET done = $2, claimed_by = '', claimed_until = 0, state = $3, written = $4, handle = $5, writes = $6, problem = $7, given_up = $8 AND version = $12, due_at = $9, updated_at = $10,
		wanted_at = CASE WHEN version > $2 AND $2 > done THEN $10 ELSE wanted_at END
		WHERE key = $1 AND claimed_by = $11`,
		o.Key(), o.Done, o.State, o.Written, o.Handle, o.Writes, o.Problem, o.GivenUp, micros(o.DueAt), tx.now(), by, o.Version)
	if err == nil && saved == 0 {
		_, err = tx.exec(ctx, `UPDATE reports SET version = version + 1, written = '', claimed_by = '' WHERE key = $1`, o.Key())
	}
	if err != nil {
		return fmt.Errorf("save report: %w", err)
	}
	return nil
}

// FreeReports ends all claims, for a database that no other process uses.
func (tx *Tx) FreeReports(ctx context.Context) error {
	if _, err := tx.exec(ctx, `UPDATE reports SET claimed_by = '', claimed_until = 0 WHERE claimed_until > 0`); err != nil {
		return fmt.Errorf("free reports: %w", err)
	}
	return nil
}

// ForgetReports removes the reports of a connection that nobody writes now.
func (tx *Tx) ForgetReports(ctx context.Context, connection string) error {
	if _, err := tx.exec(ctx, `DELETE FROM reports WHERE connection = $1 AND version > done AND claimed_until <= $2`, connection, tx.now()); err != nil {
		return fmt.Errorf("forget reports: %w", err)
	}
	return nil
}

// RunsOfCommit lists the runs of a commit of a repository, the oldest first, without those
// that a person had repeated.
func (tx *Tx) RunsOfCommit(ctx context.Context, connection, repositoryID, sha string) ([]codecheck.Run, error) {
	runs, err := records[codecheck.Run](ctx, tx, `SELECT data FROM runs WHERE sha = $1 AND connection = $2 AND rerun_as = '' ORDER BY created_at, id`, sha, connection)
	return slices.DeleteFunc(runs, func(r codecheck.Run) bool { return r.Event.Repository.ID != repositoryID }), err
}

// ReleasesOfCommit lists the releases of a commit on a pipeline, the oldest first, without
// those that a person had repeated.
func (tx *Tx) ReleasesOfCommit(ctx context.Context, connection, repositoryID, sha, pipeline string) ([]release.Release, error) {
	releases, err := records[release.Release](ctx, tx, `SELECT data FROM releases WHERE sha = $1 AND connection = $2 AND pipeline = $3 AND rerun_as = '' ORDER BY created_at, id`,
		sha, connection, pipeline)
	return slices.DeleteFunc(releases, func(r release.Release) bool { return r.Event.Repository.ID != repositoryID }), err
}

// LatestRuns lists the runs of the newest commit of a merge request that has any, the
// oldest first, without those that a person had repeated.
func (tx *Tx) LatestRuns(ctx context.Context, refKey string) ([]codecheck.Run, error) {
	return records[codecheck.Run](ctx, tx, `SELECT data FROM runs WHERE ref_key = $1 AND rerun_as = '' AND sha = (
		SELECT sha FROM runs WHERE ref_key = $1 ORDER BY created_at DESC, id DESC LIMIT 1) ORDER BY created_at, id`, refKey)
}

// ReportCounts are how many reports wait to be written, since when the oldest does, and how
// many were given up.
type ReportCounts struct {
	Waiting, GivenUp int
	Oldest           time.Time
}

// CountReports counts the reports of each connection that has any.
func (tx *Tx) CountReports(ctx context.Context) (map[string]ReportCounts, error) {
	counts := map[string]ReportCounts{}
	_, err := collect(ctx, tx, func(row scanner) (struct{}, error) {
		var connection string
		var c ReportCounts
		var oldest int64
		err := row.Scan(&connection, &c.Waiting, &c.GivenUp, &oldest)
		if c.Waiting > 0 {
			c.Oldest = fromMicros(oldest)
		}
		counts[connection] = c
		return struct{}{}, err
	}, `SELECT connection, SUM(CASE WHEN given_up THEN 0 ELSE 1 END), SUM(CASE WHEN given_up THEN 1 ELSE 0 END),
		COALESCE(MIN(CASE WHEN given_up THEN NULL ELSE wanted_at END), 0) FROM reports WHERE version > done GROUP BY connection`)
	return counts, err
}

// ReportsOf lists the reports of a commit, and of a merge request where number is not 0, by
// their keys.
func (tx *Tx) ReportsOf(ctx context.Context, connection, repositoryID, sha string, number int) ([]Outgoing, error) {
	return collect(ctx, tx, scanOutgoing, `SELECT `+outgoingColumns+` FROM reports
		WHERE connection = $1 AND repository_id = $2 AND (sha = $3 OR sha = '' AND number = $4 AND number > 0) ORDER BY key`,
		connection, repositoryID, sha, number)
}

// Reports lists all reports, by their keys, for tests and the demo.
func (tx *Tx) Reports(ctx context.Context) ([]Outgoing, error) {
	return collect(ctx, tx, scanOutgoing, `SELECT `+outgoingColumns+` FROM reports ORDER BY key`)
}
