// Command bench measures what Gatewright costs: how many deliveries a second the
// webhook endpoint accepts, how many of them can be decided without falling behind,
// how long the answer and the way from a push to its check take, how soon the end of a
// check is noticed, the rules, and the memory, size and start of the program.
//
// It prints one figure a line, as name, value, unit and, where there is one, the aim;
// and writes them as JSON. Each is the median of rounds in which what is compared
// takes turns, but for sustained_per_second_*, which is one search. Nothing passes or
// fails by a figure. The server, its database and the sender share the machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/storetest"
	"github.com/gatewright/gatewright/test/harness"
)

func main() { harness.Main("bench", run) }

// run is the command.
func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	m := &measurer{out: out, figures: figures{values: map[string][]float64{}, units: map[string]string{}}}
	serve := flags.String("serve-nothing", "", "serve the endpoint that stores nothing on this address; the bench runs itself so")
	database := flags.String("database", "both", "sqlite, postgres or both; PostgreSQL is the server that GATEWRIGHT_TEST_POSTGRES names by a URL, else a throw-away one")
	only := flags.String("only", "", "measure only these, separated by commas: "+strings.Join(names(), ", "))
	path := flags.String("out", filepath.Join("build", "bench.json"), "the file that the figures are written to")
	accepting := flags.Duration("for", 0, "how long one measurement of accepted deliveries takes; default 10 s")
	brief := flags.Bool("brief", false, "one short round, to see that everything can be measured; the figures say little")
	flags.IntVar(&m.rounds, "rounds", 3, "rounds, of which the median counts")
	flags.DurationVar(&m.delay, "service-delay", 100*time.Millisecond, "how long CodeArts Check takes for an answer where deliveries are wanted")
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
	wanted, err := partsNamed(*only)
	if err != nil {
		return err
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
	if err := m.measure(ctx, wanted); err != nil {
		return err
	}
	return m.write(*path)
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
	// warming and accepting are how long the endpoint is loaded before it is measured
	// and while it is.
	warming, accepting time.Duration
	// answering is how long deliveries are sent at a fixed rate.
	answering time.Duration
	// firstRate is the deliveries a second that the search for the sustained rate
	// begins with; it tries rates for probing each, at most until searching is over,
	// and then the one that it found for sustaining.
	firstRate                      float64
	probing, searching, sustaining time.Duration
	// pushes is how many pushes one measurement sends, from repositories with three
	// branches each: a branch must not be pushed to again before its check is over.
	pushes, repositories int
	// inFlight is how many runs are followed at once.
	inFlight int
	// loaded are the numbers of rules whose loading is timed, decided those with which
	// decisions are.
	loaded, decided []int
	// deciding is how long decisions are made.
	deciding time.Duration
	// listed is among how many records a page is read.
	listed int
	// idling is how long a server is left alone before its memory is read.
	idling time.Duration
}

func whole() sizes {
	return sizes{
		warming: 500 * time.Millisecond, accepting: 10 * time.Second, answering: 5 * time.Second,
		firstRate: 250, probing: 3 * time.Second, searching: time.Minute, sustaining: 20 * time.Second,
		pushes: 200, repositories: 50, inFlight: 1000,
		loaded: []int{10_000, 100_000}, decided: []int{10, 1_000, 100_000}, deciding: 300 * time.Millisecond, listed: 1_000_000, idling: 3 * time.Second,
	}
}

func short() sizes {
	return sizes{
		warming: 50 * time.Millisecond, accepting: 100 * time.Millisecond, answering: 100 * time.Millisecond,
		firstRate: 50, probing: 100 * time.Millisecond, searching: time.Millisecond, sustaining: 100 * time.Millisecond,
		pushes: 10, repositories: 5, inFlight: 20,
		loaded: []int{100}, decided: []int{10, 100, 1_000}, deciding: time.Millisecond, listed: 1000, idling: 10 * time.Millisecond,
	}
}

// measurer measures, and collects the figures.
type measurer struct {
	figures
	out              io.Writer
	rounds           int
	sizes            sizes
	delay            time.Duration
	databases        []string
	binary, profiles string
}

// part is something that can be measured by itself.
type part struct {
	name    string
	measure func(*measurer, context.Context) error
}

// parts are what can be measured, in this order.
func parts() []part {
	return []part{
		{"accept", (*measurer).accept},
		{"answer", (*measurer).answer},
		{"sustained", (*measurer).sustained},
		{"push_to_run", (*measurer).pushToRun},
		{"notice", (*measurer).notice},
		{"rules", (*measurer).rules},
		{"lists", (*measurer).lists},
		{"weight", (*measurer).weight},
	}
}

func names() (list []string) {
	for _, p := range parts() {
		list = append(list, p.name)
	}
	return list
}

// partsNamed are the parts that the value of -only names; all when it is empty.
func partsNamed(only string) ([]part, error) {
	if only == "" {
		return parts(), nil
	}
	wanted := strings.Split(only, ",")
	for _, name := range wanted {
		if !slices.Contains(names(), name) {
			return nil, fmt.Errorf("-only %q: write some of %s", name, strings.Join(names(), ", "))
		}
	}
	return slices.DeleteFunc(parts(), func(p part) bool { return !slices.Contains(wanted, p.name) }), nil
}

func (m *measurer) measure(ctx context.Context, wanted []part) error {
	for _, p := range wanted {
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
