package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/audit"
	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
	"github.com/gatewright/gatewright/internal/view"
	"github.com/gatewright/gatewright/test/harness"
)

// lists measures the first page of each list, without a filter and with each one, among a million
// deliveries, runs, releases, approvals and rows of the audit log: the figure is that of the slowest. And
// the overview among them.
func (m *measurer) lists(ctx context.Context) error {
	for _, database := range m.databases {
		if err := m.listsOn(ctx, database); err != nil {
			return err
		}
	}
	return nil
}

func (m *measurer) listsOn(ctx context.Context, database string) (err error) {
	folder, err := os.MkdirTemp("", "gatewright-lists")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	options := store.Options{SQLite: filepath.Join(folder, "test.db")}
	if database == harness.Postgres {
		server, err := storetest.Open()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.Remove()) }()
		options = store.Options{Postgres: server.DSN}
	}
	s, err := store.Open(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := fillLists(ctx, s, m.sizes.listed); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	var slowest time.Duration
	var of string
	for _, p := range firstPages() {
		took, err := timePage(ctx, s, p.read)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if took > slowest {
			slowest, of = took, p.name
		}
	}
	fmt.Fprintf(m.out, "# the slowest list on %s: %s\n", database, of)
	m.addTime("list_ms_1m_"+database, slowest)
	// The last hour is the last of those that were made, which is one delivery a second.
	now := listedSince.Add(time.Duration(m.sizes.listed) * time.Second)
	overview, err := timePage(ctx, s, func(ctx context.Context, tx *store.Tx) error {
		_, err := view.NewOverview(ctx, tx, now, time.Hour)
		return err
	})
	m.addTime("overview_ms_1m_"+database, overview)
	return err
}

// firstPage reads the first page of a list.
type firstPage struct {
	name string
	read func(context.Context, *store.Tx) error
}

// firstPages are those of each list with each filter.
func firstPages() (all []firstPage) {
	add := func(kind string, f any, read func(context.Context, *store.Tx) error) {
		all = append(all, firstPage{fmt.Sprintf("%s by %+v", kind, f), read})
	}
	for _, f := range listFilters() {
		f.Limit = 50
		add("deliveries", f, func(ctx context.Context, tx *store.Tx) error { _, err := view.Deliveries(ctx, tx, f); return err })
		add("runs", f, func(ctx context.Context, tx *store.Tx) error { _, err := view.Runs(ctx, tx, f); return err })
		add("releases", f, func(ctx context.Context, tx *store.Tx) error { _, err := view.Releases(ctx, tx, f); return err })
	}
	for _, f := range []store.Filter{
		{}, {Until: listedSince.Add(100 * time.Second)}, {Repository: "acme/big"}, {Repository: "acme/small-7"}, {Repository: "nobody/nothing"}, {Commit: "00ff"}, {Commit: "fffffffffff"},
		{Actor: "ann"}, {Actor: "nobody"}, {States: []string{"approved"}}, {States: []string{"refused"}}, {Search: "nothing of this"},
	} {
		f.Limit = 50
		add("approvals", f, func(ctx context.Context, tx *store.Tx) error { _, err := view.Approvals(ctx, tx, f); return err })
	}
	for _, f := range []store.AuditFilter{
		{}, {Kind: audit.Configuration}, {Actor: "ann"}, {Actor: "nobody"}, {RecordID: "0"}, {Action: "approve"}, {Search: "nothing of this"}, {Since: listedSince}, {Until: listedSince.Add(100 * time.Second)},
	} {
		f.Limit = 50
		add("the audit log", f, func(ctx context.Context, tx *store.Tx) error { _, err := view.NewAuditPage(ctx, tx, f); return err })
	}
	return all
}

// listFilters are each filter alone: with a value that many records have, with one that few have and
// with one that none has; and two together.
func listFilters() []store.Filter {
	return []store.Filter{
		{}, {Since: time.UnixMicro(1)}, {Until: listedSince.Add(100 * time.Second)}, {OldestFirst: true},
		{States: []string{"decided"}}, {States: []string{"passed"}}, {States: []string{"failed"}}, {States: []string{"failed", "decided", "passed", "ignored"}},
		{Connection: "github"}, {Connection: "nobody"},
		{Repository: "acme/big"}, {Repository: "acme/small-7"}, {Repository: "nobody/nothing"}, {Repository: "acme/big", Branch: "nothing"},
		{Branch: "main"}, {Branch: "feature-77"}, {Branch: "nothing"}, {Actor: "ann"}, {Actor: "nobody"},
		{Number: 77}, {Number: 99_999_999}, {Rule: "main"}, {Rule: "nothing"}, {Commit: "00ff"}, {Commit: "fffffffffff"},
		{Search: "ann"}, {Search: "nothing of this"}, {States: []string{"failed", "errored"}, Actor: "nobody"},
		{Connection: "gitlab", Repository: "acme/big", Branch: "main", Actor: "ann", Since: listedSince},
	}
}

// timePage is the median time of a page.
func timePage(ctx context.Context, s *store.Store, read func(context.Context, *store.Tx) error) (time.Duration, error) {
	var times []time.Duration
	for range 5 {
		began := time.Now()
		if err := s.View(ctx, func(tx *store.Tx) error { return read(ctx, tx) }); err != nil {
			return 0, err
		}
		times = append(times, time.Since(began))
	}
	slices.SortFunc(times, cmp.Compare[time.Duration])
	return times[len(times)/2], nil
}

// listedSince is when the first of the listed records was made; one follows each second.
var listedSince = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// fillLists makes n deliveries, runs, releases, approvals and rows of the audit log, of which only what is
// searched differs. The rows of the audit log are no chain.
func fillLists(ctx context.Context, s *store.Store, n int) error {
	ev := event.Event{Connection: "github", Kind: event.Push, Branch: "main", HeadSHA: strings.Repeat("a", 40), Sender: "ann", Title: strings.Repeat("words ", 30),
		Repository: event.Repository{Host: event.GitHub, ID: "1", FullName: "acme/big", HTTPSURL: "https://github.com/acme/big.git"}}
	run, err := json.Marshal(codecheck.Run{ID: "@", DeliveryID: "@", Rule: "main", Event: ev, State: codecheck.Passed, Check: rules.Check{ProjectID: strings.Repeat("4", 32)},
		CreatedAt: listedSince, ReceivedAt: listedSince})
	if err != nil {
		return err
	}
	decision, err := json.Marshal(rules.Decision{Event: ev, Outcome: rules.Matched})
	if err != nil {
		return err
	}
	started, err := json.Marshal(release.Release{ID: "@", RunID: "@", Rule: "main", Event: ev, State: release.Succeeded, Plan: rules.Release{Pipeline: "p", Action: rules.ReleaseStart}, CreatedAt: listedSince})
	if err != nil {
		return err
	}
	approval, err := json.Marshal(store.Approval{ID: "@", ReleaseID: "@", Person: "ann", At: listedSince})
	if err != nil {
		return err
	}
	const some = `CASE i % 5 WHEN 0 THEN 'gitlab' ELSE 'github' END, CASE WHEN i % 3 = 0 THEN 'acme/small-' || (i % 1000) ELSE 'acme/big' END,
		'push', CASE WHEN i % 4 = 0 THEN 'feature-' || (i % 10000) ELSE 'main' END, CASE WHEN i % 2 = 0 THEN i / 2 ELSE 0 END,
		%s, CASE i % 7 WHEN 0 THEN 'ann' ELSE 'bob' END, CASE i % 11 WHEN 0 THEN 'main,other' ELSE 'main' END`
	hex := `substr('0123456789abcdef', i % 16 + 1, 1) || substr('0123456789abcdef', i / 16 % 16 + 1, 1) || substr('0123456789abcdef', i / 256 % 16 + 1, 1) || substr('0123456789abcdef', i / 4096 % 16 + 1, 1) || '0000' || i`
	id := `'0197' || (1000000000 + i)`
	body, literal := "", func(text []byte) string { return "'" + strings.ReplaceAll(string(text), "'", "''") + "'" }
	if s.SQLite() == nil {
		body = "decode(repeat('ab', 2000), 'hex')"
	} else {
		body = "randomblob(2000)"
	}
	columns := strings.ReplaceAll(some, "%s", hex)
	const numbers = `WITH RECURSIVE numbers(i) AS (SELECT $from UNION ALL SELECT i + 1 FROM numbers WHERE i < $to) `
	at := fmt.Sprintf("%d + CAST(i AS BIGINT) * 1000000", listedSince.UnixMicro())
	statements := []string{
		`INSERT INTO deliveries (id, host, key, host_id, event, received_at, scope, codec, state, reason, connection, repository, kind, branch, number, sha, actor, rule,
			replayed, updated_at, size, header, decision, body) ` + numbers + `SELECT ` + id + `, 'github', i, 'guid-' || i, 'push', ` + at + `, '', 'raw',
			CASE WHEN i % 1000 = 0 THEN 'failed' WHEN i % 3 = 0 THEN 'ignored' ELSE 'decided' END, 'rule main matched', ` + columns + `, FALSE, ` + at + `, 4000, '{}', ` + literal(decision) + `, ` + body + ` FROM numbers`,
		`INSERT INTO runs (id, delivery_id, ref_key, task_key, state, connection, repository, kind, branch, number, sha, actor, rule, shares_run_id, occupied_task, baseline, waits_for, account,
			priority, place, placed_at, starts_at, scan_took, rerun_as, version, deadline, created_at, updated_at, data) ` + numbers + `SELECT ` + id + `, ` + id + `, 'k' || (i % 5000), 't' || (i % 5000),
			CASE WHEN i % 1000 = 0 THEN 'failed' ELSE 'passed' END, ` + columns + `, '', '', FALSE, '', '', 0, '', 0, 0, 0, '', 1, 0, ` + at + `, ` + at + `, ` + literal(run) + ` FROM numbers`,
		`INSERT INTO releases (id, run_id, place, pipeline, state, connection, repository, kind, branch, number, sha, actor, rule, waits_for, rerun_as, version, unanswered, deadline, created_at, updated_at, data) ` +
			numbers + `SELECT ` + id + `, ` + id + `, 0, 'p' || (i % 100), CASE WHEN i % 1000 = 0 THEN 'failed' WHEN i % 1000 = 1 THEN 'refused' ELSE 'succeeded' END, ` + columns + `, '', '', 1, FALSE, 0, ` + at + `, ` + at + `, ` + literal(started) + ` FROM numbers`,
		`INSERT INTO approvals (id, release_id, state, connection, repository, branch, number, sha, person, rule, created_at, data) ` + numbers + `SELECT ` + id + `, ` + id + `, CASE WHEN i % 1000 = 0 THEN 'refused' ELSE 'approved' END, ` +
			strings.Replace(columns, "'push', ", "", 1) + `, ` + at + `, ` + literal(approval) + ` FROM numbers`,
		`INSERT INTO audit (seq, at, kind, actor, action, record_kind, record_id, reason, details, prev, hash) ` + numbers + `SELECT i + 1, ` + at + `, CASE WHEN i % 1000 = 0 THEN 'configuration' ELSE 'release' END,
			CASE i % 7 WHEN 0 THEN 'ann' ELSE 'gatewright' END, 'created', 'release', ` + id + `, 'the rule asks for it', '{"state":"starting","run":"01a226fb-c5ea-78d5-a06d-0edb45a57a8d","rule":"main","repository":"github acme/big"}', i, i + 1 FROM numbers`,
	}
	const chunk = 20_000 // of one transaction
	for from := 0; from < n; from += chunk {
		for _, statement := range statements {
			statement = strings.NewReplacer("$from", strconv.Itoa(from), "$to", strconv.Itoa(min(n, from+chunk)-1)).Replace(statement)
			if db := s.SQLite(); db != nil {
				_, err = db.ExecContext(ctx, statement)
			} else {
				_, err = s.Postgres().Exec(ctx, statement)
			}
			if err != nil {
				return err
			}
		}
	}
	if s.SQLite() == nil {
		// As autovacuum does before long.
		for _, table := range []string{"deliveries", "runs", "releases", "approvals", "audit"} {
			if _, err := s.Postgres().Exec(ctx, "VACUUM ANALYZE "+table); err != nil {
				return err
			}
		}
	}
	return nil
}
