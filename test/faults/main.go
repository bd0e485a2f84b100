// Command faults proves that faults of the network and of the services lose
// nothing and do nothing twice. A real `serve` process works under load while a
// fault-injecting proxy between it and the stand-in of Huawei Cloud, one between it
// and PostgreSQL, and the stand-in itself go wrong in one way after the other: each
// fault is switched on for a while and off again. In the end it counts, from what
// the sender recorded, from the database, and from the stand-in's own journal.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/gatewright/gatewright/test/harness"
)

const usage = `Usage: go run ./test/faults [flags]

Runs the server under load while one fault after the other is switched on, and prints
one line a fault and a closing line for each database:

  acknowledged     deliveries that were answered with 2xx
  missing          of those, deliveries or changes that the database does not know
  decided_twice    changes that were acted upon more than once
  run_again        executions that no run knows as its own: a run may be started
                   again after a lost answer, which is harmless
  released_twice   starts of a pipeline beyond one for each passed check
  approved_twice   approvals of a checkpoint beyond one, refused ones included
  other_commit     releases for another commit than the one that was checked
  never_ended      deliveries, runs and releases without an end state
  felt             warnings and errors in the server's log while the fault was on; a
                   delay or a busy task alone causes none

Exit code 0 when missing, decided_twice, released_twice, approved_twice,
other_commit and never_ended are all 0, 1 when not or when something could not be
run, 2 for a wrong command line. Runs that ended as errored and releases that ended
as unknown are counted and allowed: they ask a person.

Flags:
`

// options are the command line.
type options struct {
	databases []string
	only      []string
	binary    string
	seed      uint64
	rounds    int
	// repositories take part in each round; each sends a few deliveries.
	repositories int
	// on is how long a fault lasts, quiet how long at most the next one waits for
	// what the one before has caused, settle how long at most everything may take
	// to end after the last one.
	on, quiet, settle time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(2)
	}
	held, err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
	}
	if err != nil || !held {
		os.Exit(1)
	}
}

// parse reads the command line; the error says what to write instead.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	database := flags.String("database", "both", "sqlite, postgres or both")
	only := flags.String("only", "", "the faults to run, by name, with commas between; empty: all that the database has")
	flags.StringVar(&o.binary, "binary", "", "the gatewright binary; empty: built from this checkout")
	flags.Uint64Var(&o.seed, "seed", 1, "seed of the load and of the stand-in's faults; which connections the proxy hits is not seeded")
	flags.IntVar(&o.rounds, "rounds", 1, "how often each fault is switched on")
	flags.IntVar(&o.repositories, "repositories", 6, "repositories in a round")
	flags.DurationVar(&o.on, "on", 4*time.Second, "how long a fault lasts")
	flags.DurationVar(&o.quiet, "quiet", 10*time.Second, "how long at most the next fault waits for what the one before has caused")
	flags.DurationVar(&o.settle, "settle", 5*time.Minute, "how long at most everything may take to end after the last fault")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	var err error
	if o.databases, err = harness.Databases(*database); err != nil {
		return options{}, err
	}
	if o.rounds < 1 || o.repositories < 1 || o.on <= 0 || flags.NArg() > 0 {
		return options{}, errors.New("-rounds, -repositories and -on are above 0, and there are no arguments; see -h")
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	for _, name := range o.only {
		if !known(name) {
			return options{}, fmt.Errorf("-only %q: write some of %s", name, strings.Join(names(), ","))
		}
	}
	return o, nil
}

// The databases.
const (
	sqlite   = harness.SQLite
	postgres = harness.Postgres
)

// run proves on each database and reports whether every proof held.
func run(ctx context.Context, o options, w io.Writer) (held bool, err error) {
	folder, err := os.MkdirTemp("", "gatewright-faults-")
	if err != nil {
		return false, fmt.Errorf("make folder: %w", err)
	}
	defer func() {
		if held {
			err = errors.Join(err, os.RemoveAll(folder))
		} else {
			fmt.Fprintf(w, "kept %s (databases, logs of the server)\n", folder)
		}
	}()
	program, remove, err := harness.Program(ctx, o.binary)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	o.binary = program
	held = true
	for _, database := range o.databases {
		total, err := prove(ctx, o, database, folder, w)
		if err != nil {
			return false, fmt.Errorf("prove on %s: %w", database, err)
		}
		held = held && total.held()
	}
	return held, nil
}
