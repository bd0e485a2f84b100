package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/test/harness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSoak runs the short form and reads its figures.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes its time")
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-for", "3s", "-rate", "60"}, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, line := range []string{
		`start_memory \d+ bytes`, `end_memory \d+ bytes`, `start_goroutines \d+ goroutines`, `end_open_files \d+ files`,
		`start_rows_deliveries 0 rows`, `end_rows_deliveries [1-9]\d* rows`, `end_file_db \d+ bytes`, `answers_202 [1-9]\d* requests`,
		`expired_rows_deliveries 0 rows`, `expired_rows_runs 0 rows`, `expired_rows_releases 0 rows`,
	} {
		if !regexp.MustCompile(`(?m)^soak_sqlite_` + line + `$`).Match(out.Bytes()) {
			t.Errorf("no line %s in\n%s", line, &out)
		}
	}
}

func TestJudge(t *testing.T) {
	o := options{goroutines: 10, files: 5}
	start, fine := usage{20, 10}, map[int]int{202: 1}
	for name, test := range map[string]struct {
		end      usage
		left     harness.Left
		statuses map[int]int
		want     string
	}{
		"as it began":    {usage{20, 10}, harness.Left{}, fine, ""},
		"at the bounds":  {usage{30, 15}, harness.Left{}, fine, ""},
		"goroutines":     {usage{31, 15}, harness.Left{}, fine, "grew by 11 goroutines"},
		"files":          {usage{30, 16}, harness.Left{}, fine, "and 6 files"},
		"hangs":          {usage{20, 10}, harness.Left{Runs: 1}, fine, "not ended"},
		"no answer":      {usage{20, 10}, harness.Left{}, map[int]int{202: 1, 0: 1}, "1 not answered"},
		"nothing stored": {usage{20, 10}, harness.Left{}, map[int]int{503: 1}, "0 deliveries were accepted"},
	} {
		err := judge(o, start, test.end, test.left, test.statuses)
		if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// TestWrongFlags holds that nothing is started for a wrong command line.
func TestWrongFlags(t *testing.T) {
	for _, args := range [][]string{{"-database", "oracle"}, {"-rate", "0"}, {"-for", "0s"}} {
		if err := run(t.Context(), args, &bytes.Buffer{}); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}
