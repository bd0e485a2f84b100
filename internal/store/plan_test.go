package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
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
