package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// benchmarks names the figures of Go benchmarks: package, benchmark, and the figure
// for each unit that it reports.
var benchmarks = []struct {
	path, name string
	figures    map[string][2]string
}{
	{"./internal/rules", "BenchmarkDecide", map[string][2]string{"ns/op": {"rules_ns", "ns"}}},
	{"./internal/codecheck", "BenchmarkTaskLookup", map[string][2]string{
		"ns/op": {"task_lookup_ns", "ns"}, "index-bytes": {"task_index_bytes", "bytes"},
	}},
}

// lookups runs the benchmarks of what is looked up for each event: the rules, and
// the task of a repository and branch.
func (m *measurer) lookups(ctx context.Context) error {
	for _, b := range benchmarks {
		command := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^"+b.name+"$", "-benchtime", m.sizes.benchtime.String(), "-count", strconv.Itoa(m.rounds), b.path)
		text, err := command.Output()
		if err != nil {
			var failed *exec.ExitError
			if errors.As(err, &failed) {
				err = fmt.Errorf("%w\n%s%s", err, text, failed.Stderr)
			}
			return err
		}
		found := false
		for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
			// BenchmarkDecide/1000-2  12345  678 ns/op  90 index-bytes
			words := strings.Fields(lines.Text())
			if len(words) < 4 || !strings.HasPrefix(words[0], b.name+"/") {
				continue
			}
			size, _, _ := strings.Cut(strings.TrimPrefix(words[0], b.name+"/"), "-")
			for i := 2; i+1 < len(words); i += 2 {
				value, err := strconv.ParseFloat(words[i], 64)
				if err != nil {
					return fmt.Errorf("read %q: %w", lines.Text(), err)
				}
				if figure, wanted := b.figures[words[i+1]]; wanted {
					m.add(figure[0]+"_"+size, value, figure[1])
					found = true
				}
			}
		}
		if !found {
			return fmt.Errorf("%s %s printed no figure:\n%s", b.path, b.name, text)
		}
	}
	return nil
}
