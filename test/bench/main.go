// Command bench measures what Gatewright costs: the speed of the door, of the way
// from a push to its check, of the queue, the rules and the task lookup, and the
// memory, size and start of the program. It prints one figure a line, as name,
// value and unit, each the median of rounds in which what is compared takes turns,
// and writes them as JSON. Nothing passes or fails by a figure.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gatewright/gatewright/internal/storetest"
	"github.com/gatewright/gatewright/test/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// run is the command.
func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	m := &measurer{out: out, secret: "bench", values: map[string][]float64{}, units: map[string]string{}}
	serve := flags.String("serve-nothing", "", "serve the door that stores nothing on this address; the bench runs itself so")
	database := flags.String("database", "both", "sqlite, postgres or both; PostgreSQL is the server that GATEWRIGHT_TEST_POSTGRES names by a URL, else a throw-away one")
	only := flags.String("only", "", "measure only these, separated by commas: "+strings.Join(names(), ", "))
	path := flags.String("out", filepath.Join("build", "bench.json"), "the file that the figures are written to")
	accepting := flags.Duration("for", 0, "how long one measurement of the door takes; default 1.5 s")
	brief := flags.Bool("brief", false, "one short round, to see that everything can be measured; the figures say little")
	flags.IntVar(&m.rounds, "rounds", 3, "rounds, of which the median counts")
	flags.StringVar(&m.binary, "binary", "", "the gatewright program; default: it is built")
	flags.StringVar(&m.profiles, "profiles", "", "have the measured server serve its profiles on this loopback address")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *serve != "" {
		return serveNothing(*serve)
	}
	if m.databases, err = harness.Databases(*database); err != nil {
		return err
	}
	if m.rounds < 1 {
		return errors.New("-rounds: write a number from 1 on")
	}
	m.sizes = whole()
	if *brief {
		m.rounds, m.sizes = 1, short()
	}
	if *accepting > 0 {
		m.sizes.accepting = *accepting
	}
	program, remove, err := harness.Program(ctx, m.binary)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	m.binary = program
	stop, err := m.startPostgres()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := m.measure(ctx, *only); err != nil {
		return err
	}
	return m.report(*path)
}

// startPostgres starts one server for all measurements, unless one is named; each
// makes its own database there.
func (m *measurer) startPostgres() (stop func() error, err error) {
	if !slices.Contains(m.databases, harness.Postgres) || os.Getenv(storetest.Variable) != "" {
		return func() error { return nil }, nil
	}
	dsn, stop, err := storetest.Start()
	if err != nil {
		return nil, err
	}
	return stop, os.Setenv(storetest.Variable, dsn)
}

// sizes say how long is measured, and how much.
type sizes struct {
	// warming and accepting are how long the door is loaded before it is measured
	// and while it is.
	warming, accepting time.Duration
	// pushes is how many pushes one measurement sends, from repositories with three
	// branches each: a branch must not be pushed to again before its check is over.
	pushes, repositories int
	// jobs is how many jobs without work are done, by database.
	jobs map[string]int
	// idling is how long a server is left alone before its memory is read.
	idling time.Duration
	// benchtime is how long a Go benchmark runs.
	benchtime time.Duration
}

func whole() sizes {
	return sizes{
		warming: 500 * time.Millisecond, accepting: 1500 * time.Millisecond, pushes: 200, repositories: 50,
		jobs: map[string]int{harness.SQLite: 4000, harness.Postgres: 12000}, idling: 3 * time.Second, benchtime: 300 * time.Millisecond,
	}
}

func short() sizes {
	return sizes{
		warming: 50 * time.Millisecond, accepting: 100 * time.Millisecond, pushes: 10, repositories: 5,
		jobs: map[string]int{harness.SQLite: 500, harness.Postgres: 2000}, idling: 10 * time.Millisecond, benchtime: time.Millisecond,
	}
}

// measurer collects figures.
type measurer struct {
	out              io.Writer
	rounds           int
	sizes            sizes
	databases        []string
	binary, profiles string
	secret           string

	order  []string
	values map[string][]float64
	units  map[string]string
}

// parts are what can be measured, in this order.
func parts() []part {
	return []part{
		{"door", (*measurer).door},
		{"half_load", (*measurer).halfLoad},
		{"push_to_run", (*measurer).pushToRun},
		{"jobs", (*measurer).jobs},
		{"lookups", (*measurer).lookups},
		{"weight", (*measurer).weight},
	}
}

type part struct {
	name    string
	measure func(*measurer, context.Context) error
}

func names() (list []string) {
	for _, p := range parts() {
		list = append(list, p.name)
	}
	return list
}

func (m *measurer) measure(ctx context.Context, only string) error {
	wanted := names()
	if only != "" {
		wanted = strings.Split(only, ",")
	}
	for _, name := range wanted {
		if !slices.Contains(names(), name) {
			return fmt.Errorf("-only %q: write some of %s", name, strings.Join(names(), ", "))
		}
	}
	for _, p := range parts() {
		if !slices.Contains(wanted, p.name) {
			continue
		}
		began := time.Now()
		printed := len(m.order)
		if err := p.measure(m, ctx); err != nil {
			return fmt.Errorf("measure %s: %w", p.name, err)
		}
		for _, name := range m.order[printed:] {
			fmt.Fprintln(m.out, m.figure(name))
		}
		fmt.Fprintf(m.out, "# %s took %.0f s\n", p.name, time.Since(began).Seconds())
	}
	return nil
}

// add notes one measurement of a figure.
func (m *measurer) add(name string, value float64, unit string) {
	if _, known := m.values[name]; !known {
		m.order = append(m.order, name)
	}
	m.values[name], m.units[name] = append(m.values[name], value), unit
}

func (m *measurer) addTime(name string, value time.Duration) {
	m.add(name, float64(value.Microseconds())/1000, "ms")
}

// median is the middle of what was noted for a figure.
func (m *measurer) median(name string) float64 {
	sorted := slices.SortedFunc(slices.Values(m.values[name]), cmp.Compare[float64])
	if len(sorted) == 0 {
		return 0
	}
	return sorted[len(sorted)/2]
}

// figure is one line of the output, and one entry of the file.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// String is the line: name, value, unit.
func (f figure) String() string {
	decimals := 3
	switch {
	case f.Value >= 100:
		decimals = 0
	case f.Value >= 10:
		decimals = 1
	}
	return fmt.Sprintf("%s %.*f %s", f.Name, decimals, f.Value, f.Unit)
}

func (m *measurer) figure(name string) figure {
	return figure{Name: name, Value: m.median(name), Unit: m.units[name]}
}

// report writes the file.
func (m *measurer) report(path string) error {
	list := make([]figure, 0, len(m.order))
	for _, name := range m.order {
		list = append(list, m.figure(name))
	}
	text, err := json.MarshalIndent(list, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	return nil
}
