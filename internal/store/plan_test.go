package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestWakeReadsOnlyWhatWaits holds that waking, which every transaction does, uses the
// index of what waits, however many records were changed: under load thousands of runs
// are active, and next to none of them waits.
func TestWakeReadsOnlyWhatWaits(t *testing.T) {
	s, err := Open(t.Context(), Options{SQLite: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, table := range []string{"runs", "releases"} {
		for records := 1; records <= 64; records *= 2 {
			args := make([]any, records+1)
			for i := range args {
				args[i] = fmt.Sprint(i)
			}
			var id, parent, unused int
			var plan string
			row := s.SQLite().QueryRow("EXPLAIN QUERY PLAN "+wakeQuery(table, records), args...)
			if err := row.Scan(&id, &parent, &unused, &plan); err != nil {
				t.Fatal(err)
			}
			if want := table + "_waiting"; !strings.Contains(plan, want) {
				t.Errorf("waking for %d records: %s, want the index %s", records, plan, want)
			}
		}
	}
}

// TestSameHostIDUsesItsIndex: every stored delivery is looked up by the host's id.
func TestSameHostIDUsesItsIndex(t *testing.T) {
	s, err := Open(t.Context(), Options{SQLite: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for n := 1; n <= insertRows; n *= 2 {
		args := make([]any, n)
		for i := range args {
			args[i] = fmt.Sprint(i)
		}
		var id, parent, unused int
		var plan string
		if err := s.SQLite().QueryRow("EXPLAIN QUERY PLAN "+sameHostIDQuery(n), args...).Scan(&id, &parent, &unused, &plan); err != nil {
			t.Fatal(err)
		}
		if want := "deliveries_by_host_id"; !strings.Contains(plan, want) {
			t.Errorf("for %d ids: %s, want the index %s", n, plan, want)
		}
	}
}

// TestBaselineUsesItsIndex: a busy branch has thousands of runs.
func TestBaselineUsesItsIndex(t *testing.T) {
	s, err := Open(t.Context(), Options{SQLite: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var id, parent, unused int
	var plan string
	if err := s.SQLite().QueryRow("EXPLAIN QUERY PLAN "+baselineQuery, "key", 0, "id", "sha").Scan(&id, &parent, &unused, &plan); err != nil {
		t.Fatal(err)
	}
	if want := "runs_as_baseline"; !strings.Contains(plan, want) {
		t.Errorf("%s, want the index %s", plan, want)
	}
}

// TestScanTimesUseTheirIndex: they are read at each start of a run.
func TestScanTimesUseTheirIndex(t *testing.T) {
	s, err := Open(t.Context(), Options{SQLite: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var id, parent, unused int
	var plan string
	if err := s.SQLite().QueryRow("EXPLAIN QUERY PLAN "+scanTimesQuery, "key").Scan(&id, &parent, &unused, &plan); err != nil {
		t.Fatal(err)
	}
	if want := "runs_by_task"; !strings.Contains(plan, want) {
		t.Errorf("%s, want the index %s", plan, want)
	}
}

// TestLineUsesItsIndexes: the line is read for each place that is granted.
func TestLineUsesItsIndexes(t *testing.T) {
	s, err := Open(t.Context(), Options{SQLite: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rows, err := s.SQLite().Query("EXPLAIN QUERY PLAN "+lineQuery, "")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	plans := ""
	for rows.Next() {
		var id, parent, unused int
		var plan string
		if err := rows.Scan(&id, &parent, &unused, &plan); err != nil {
			t.Fatal(err)
		}
		plans += plan + "\n"
	}
	for _, want := range []string{"runs_by_place", "runs_by_turn"} {
		if !strings.Contains(plans, want) {
			t.Errorf("%s, want the index %s", plans, want)
		}
	}
}

// TestBooleans: a copy from SQLite knows which columns are true or false, because it reads
// them as numbers.
func TestBooleans(t *testing.T) {
	files, err := migrationFiles()
	if err != nil {
		t.Fatal(err)
	}
	var columns []string
	for _, file := range files {
		script, err := migrations.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(`(?m)^\s+(\w+)\s+BOOLEAN`).FindAllStringSubmatch(string(script), -1) {
			columns = append(columns, found[1])
		}
	}
	slices.Sort(columns)
	if columns = slices.Compact(columns); len(columns) == 0 || !slices.Equal(columns, booleans()) {
		t.Errorf("columns %q, and a copy knows %q", columns, booleans())
	}
}

// TestListsUseTheirIndexes: a page of a list is read by one index in its order, whatever its filter. Only what
// begins with the digits of a commit, and pages of several states, are sorted.
func TestListsUseTheirIndexes(t *testing.T) {
	s, err := Open(t.Context(), Options{SQLite: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, table := range []listed{listedDeliveries, listedRuns, listedReleases} {
		for _, test := range []struct {
			filter Filter
			index  string
			sorts  bool
		}{
			{Filter{}, "by_time", false},
			{Filter{OldestFirst: true}, "by_time", false},
			{Filter{States: []string{"failed"}}, "by_state", false},
			{Filter{States: []string{"failed", "passed"}}, "by_state", true},
			{Filter{States: []string{"failed", "passed"}, Actor: "ann"}, "by_time", false},
			{Filter{Connection: "github"}, "by_time", false},
			{Filter{Branch: "main"}, "by_time", false},
			{Filter{Actor: "ann"}, "by_time", false},
			{Filter{Number: 7}, "by_time", false},
			{Filter{Rule: "main"}, "by_time", false},
			{Filter{Search: "main"}, "by_time", false},
			{Filter{Repository: "acme/api", States: []string{"failed"}, Branch: "main", Connection: "github"}, "by_repository", false},
			{Filter{Commit: "abcd", Repository: "acme/api", States: []string{"failed"}, Since: time.Unix(1, 0)}, "by_sha", true},
		} {
			f := test.filter
			f.Limit, f.After = 50, Cursor{At: time.Unix(1, 0), ID: "x"}
			p := f.planOf(table)
			q := p.pageQuery(table, f, nil)
			plan := explain(t, s, q)
			if !strings.Contains(plan, table.name+"_"+test.index+" ") || strings.Contains(plan, "TEMP B-TREE") != test.sorts {
				t.Errorf("%s by %+v:\n%swant the index %s, sorting %v", table.name, test.filter, plan, test.index, test.sorts)
			}
			if p.sorted || p.union {
				continue
			}
			f.Walk = 4000
			if plan := explain(t, s, p.floorQuery(table, f)); !strings.Contains(plan, "COVERING INDEX "+table.name+"_"+test.index+" ") {
				t.Errorf("the floor of %s by %+v:\n%swant the index %s alone", table.name, test.filter, plan, test.index)
			}
		}
	}
	actions := Filter{Limit: 50, Actor: "ann"}
	if plan := explain(t, s, actions.planOf(listedActions).pageQuery(listedActions, actions, nil)); !strings.Contains(plan, "actions_by_time") || strings.Contains(plan, "TEMP B-TREE") {
		t.Errorf("actions by actor:\n%s", plan)
	}
	changes := &query{args: []any{0, 10}}
	changes.text.WriteString(changesQuery)
	for _, index := range []string{"deliveries_by_change", "runs_by_change", "releases_by_change", "actions_by_time"} {
		if plan := explain(t, s, changes); !strings.Contains(plan, index) {
			t.Errorf("changes:\n%swant the index %s", plan, index)
		}
	}
}

// explain is how SQLite carries a query out, one step a line.
func explain(t *testing.T, s *Store, q *query) (plan string) {
	t.Helper()
	rows, err := s.SQLite().Query("EXPLAIN QUERY PLAN "+q.numbered(), q.args...)
	if err != nil {
		t.Fatalf("%v: %s", err, q.numbered())
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		plan += step + "\n"
	}
	return plan
}

// TestOverviewUsesIndexes: the first page is read every two seconds by each browser that shows it.
func TestOverviewUsesIndexes(t *testing.T) {
	s, err := Open(t.Context(), Options{SQLite: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct {
		query, index string
		args         []any
	}{
		{arrivalsQuery, "deliveries_by_time", []any{1, 1, 1, 1}},
		{unresolvedQuery, "releases_by_state", []any{"failed", 1}},
	} {
		rows, err := s.SQLite().Query("EXPLAIN QUERY PLAN "+c.query, c.args...)
		if err != nil {
			t.Fatal(err)
		}
		var plan []string
		for rows.Next() {
			var id, parent, unused int
			var step string
			if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, step)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(plan, "\n"); !strings.Contains(text, c.index) || strings.Contains(text, "SCAN t") || c.index == "releases_by_state" && strings.Contains(text, "TEMP B-TREE") {
			t.Errorf("want the index %s:\n%s", c.index, text)
		}
	}
}
