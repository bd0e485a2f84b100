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

// TestMain lets the test run itself as the endpoint that stores nothing.
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
	if testing.Short() {
		t.Skip("builds the program and measures it for seconds")
	}
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
	units, aims := map[string]string{}, map[string]string{}
	for _, f := range written {
		units[f.Name], aims[f.Name] = f.Unit, f.Aim
		if f.Value <= 0 && !mayBeZero(f.Name) || !strings.Contains(printed.String(), f.String()+"\n") {
			t.Errorf("%s is zero, or not printed", f)
		}
	}
	for name, want := range map[string][2]string{
		"accept_ratio_sqlite_64": {"ratio", ">= 0.33"}, "accept_ratio_postgres_64": {"ratio", ">= 0.33"},
		"accept_ratio_sqlite_256": {"ratio", ">= 0.45"}, "accept_ratio_postgres_256": {"ratio", ">= 0.45"},
		"accept_p99_ms_at_200_sqlite": {"ms", "<= 20"}, "accept_p99_ms_at_200_postgres": {"ms", "<= 20"},
		"sustained_per_second_sqlite": {"deliveries/s", ">= 500"}, "sustained_per_second_postgres": {"deliveries/s", ">= 500"},
		"push_to_run_ms_p50_sqlite": {"ms", "<= 100"}, "push_to_run_ms_p50_postgres": {"ms", "<= 100"},
		"push_to_run_ms_p99_sqlite": {"ms", "<= 250"}, "push_to_run_ms_p99_postgres": {"ms", "<= 250"},
		"push_to_status_ms_p50_sqlite": {"ms", ""}, "push_to_status_ms_p99_sqlite": {"ms", "<= 1000"}, "push_to_status_ms_p99_postgres": {"ms", "<= 1000"},
		"notice_seconds_usual": {"s", "<= 3"}, "notice_seconds": {"s", "<= 15"}, "polls_per_run": {"polls", ""},
		"decision_us_10": {"us", "<= 20"}, "decision_us_1000": {"us", "<= 20"}, "decision_us_100": {"us", "<= 20"},
		"rules_load_ms_100": {"ms", ""}, "sync_ms": {"ms", ""}, "list_ms_1m_sqlite": {"ms", "<= 50"}, "list_ms_1m_postgres": {"ms", "<= 50"}, "overview_ms_1m_sqlite": {"ms", "<= 50"}, "start_to_ready_ms_sqlite": {"ms", ""}, "loaded_memory_sqlite": {"MiB", ""},
		"idle_memory_sqlite": {"MiB", "<= 40"}, "idle_memory_postgres": {"MiB", "<= 40"}, "binary_size": {"MB", "<= 32"},
	} {
		if units[name] != want[0] || aims[name] != want[1] {
			t.Errorf("figure %s has the unit %q and the aim %q, want %q", name, units[name], aims[name], want)
		}
	}
}

// TestPayloads: what is sent is as large as what GitHub sends.
func TestPayloads(t *testing.T) {
	if size := len(pullRequest("shop", strings.Repeat("a", 40), 1)); size < 23_000 || size > 26_000 {
		t.Errorf("the pull request has %d bytes, want about 24 KB", size)
	}
	if size := len(branchPush("shop")); size < 6_000 || size > 8_000 {
		t.Errorf("the push has %d bytes, want about 7 KB", size)
	}
}

// mayBeZero names what a tenth of a second can be too short for, and what a busy machine
// does not hold at all.
func mayBeZero(name string) bool {
	return strings.HasPrefix(name, "decided_per_second_") || strings.HasPrefix(name, "sustained_")
}

// TestRuleSources: the rules that decisions are timed with are as many as they say,
// and of 100,000 a thousand are for every repository.
func TestRuleSources(t *testing.T) {
	named, every := 0, 0
	for _, source := range ruleSources(100_000) {
		named += strings.Count(string(source.Data), "- name: ")
		every += strings.Count(string(source.Data), `["**"`)
	}
	if named != 100_000 || every != 1_000 {
		t.Errorf("%d rules, %d of them for every repository; want 100000 and 1000", named, every)
	}
}

// TestBadFlags: what cannot be measured is refused, with what to write instead.
func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"-database", "oracle"}, {"-rounds", "0"}, {"-only", "accepts"}} {
		if err := run(t.Context(), args, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "write ") {
			t.Errorf("%v: %v", args, err)
		}
	}
}
