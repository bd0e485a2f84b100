package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/internal/storetest"
)

// TestMain lets the test run itself as the door that stores nothing.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "-serve-nothing" {
		if err := serveNothing(os.Args[2]); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(tests{m})
}

// tests runs the tests and stops the database server that they started.
type tests struct{ m *testing.M }

func (t tests) Run() int { return storetest.Main(t.m) }

// TestEveryFigure measures everything briefly: each figure is printed, written, and
// above zero.
func TestEveryFigure(t *testing.T) {
	storetest.Postgres(t) // skips where there is none
	// The bench finds the packages of its benchmarks from the module's root.
	t.Chdir(filepath.Join("..", ".."))
	var printed bytes.Buffer
	path := filepath.Join(t.TempDir(), "bench.json")
	if err := run(t.Context(), []string{"-brief", "-out", path}, &printed); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var written []figure
	if err := json.Unmarshal(text, &written); err != nil {
		t.Fatal(err)
	}
	units := map[string]string{}
	for _, f := range written {
		units[f.Name] = f.Unit
		// In a rush the door goes first.
		if f.Value <= 0 && !strings.HasPrefix(f.Name, "decided_per_second") || !strings.Contains(printed.String(), f.String()+"\n") {
			t.Errorf("%s is zero, or not printed", f)
		}
	}
	for name, unit := range map[string]string{
		"accept_ratio_sqlite_64": "ratio", "accept_ratio_sqlite_256": "ratio", "accept_ratio_postgres_64": "ratio", "accept_ratio_postgres_256": "ratio",
		"accept_p99_ms_sqlite": "ms", "accept_p99_ms_postgres": "ms",
		"push_to_run_ms_p50_sqlite": "ms", "push_to_run_ms_p99_sqlite": "ms", "push_to_run_ms_p50_postgres": "ms", "push_to_run_ms_p99_postgres": "ms",
		"jobs_per_second_sqlite_1": "jobs/s", "jobs_per_second_postgres_1": "jobs/s", "jobs_per_second_postgres_2": "jobs/s",
		"rules_ns_10": "ns", "rules_ns_1000": "ns", "rules_ns_100000": "ns",
		"task_lookup_ns_10": "ns", "task_lookup_ns_100000": "ns", "task_index_bytes_100000": "bytes",
		"idle_memory_sqlite": "MiB", "loaded_memory_sqlite": "MiB", "binary_size": "MB", "start_to_ready_ms_sqlite": "ms",
	} {
		if units[name] != unit {
			t.Errorf("figure %s has the unit %q, want %q", name, units[name], unit)
		}
	}
	if size := len(pullRequest("shop", strings.Repeat("a", 40), 1)); size < 23_000 || size > 26_000 {
		t.Errorf("the payload has %d bytes, want about 24 KB", size)
	}
}

// TestBadFlags: what cannot be measured is refused, with what to write instead.
func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"-database", "oracle"}, {"-rounds", "0"}, {"-only", "doors", "-database", "sqlite", "-binary", "none"}, {"-only", "half_load", "-database", "sqlite", "-binary", "none"}} {
		if err := run(t.Context(), args, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "write ") {
			t.Errorf("%v: %v", args, err)
		}
	}
}
