// Command attack plays what strangers and holders of a single secret can send against
// the real program, and prints for each attack whether the program held. Beside each
// stands a control: what is genuine must go on working, or the attack proves nothing.
// It exits 1 when one is broken.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/gatewright/gatewright/test/harness"
)

func main() { harness.Main("attack", run) }

// run is the command.
func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("attack", flag.ContinueOnError)
	database := flags.String("database", harness.SQLite, "sqlite, postgres or both; PostgreSQL is the server that GATEWRIGHT_TEST_POSTGRES names by a URL, else a throw-away one")
	binary := flags.String("binary", "", "the gatewright program; default: it is built")
	only := flags.String("only", "", "play only the attacks whose name contains this")
	if err := flags.Parse(args); err != nil {
		return err
	}
	databases, err := harness.Databases(*database)
	if err != nil {
		return err
	}
	program, remove, err := harness.Program(ctx, *binary)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	// As in the shipped manifests.
	if err := os.Setenv("GOMEMLIMIT", "400MiB"); err != nil {
		return err
	}
	broken := 0
	for _, database := range databases {
		number, err := play(ctx, program, database, *only, out)
		if err != nil {
			return err
		}
		broken += number
	}
	if broken > 0 {
		return fmt.Errorf("%d attacks are not held", broken)
	}
	return nil
}

// attack is one thing that somebody tries.
type attack struct {
	// name is short and unique.
	name string
	// play tries it on a repository that no other attack uses. broken says what went
	// wrong, and is empty when the program held.
	play func(ctx context.Context, t *target) (broken string, err error)
}

// play plays the attacks whose name contains only, one after another on one server, and
// returns how many of them broke it.
func play(ctx context.Context, program, database, only string, out io.Writer) (broken int, err error) {
	t, err := newTarget(ctx, program, database)
	if err != nil {
		return 0, err
	}
	defer func() {
		if broken > 0 || err != nil {
			fmt.Fprintln(out, t.bench.Log())
		}
		err = errors.Join(err, t.bench.Close())
	}()
	for _, a := range attacks() {
		if !strings.Contains(a.name, only) {
			continue
		}
		seen, err := a.play(ctx, t)
		if err != nil {
			return broken, fmt.Errorf("%s: %w", a.name, err)
		}
		if seen == "" {
			fmt.Fprintf(out, "%-9s held    %s\n", database, a.name)
			continue
		}
		broken++
		fmt.Fprintf(out, "%-9s BROKEN  %s: %s\n", database, a.name, seen)
	}
	return broken, nil
}

// attacks are all of them, in the order in which they are played.
func attacks() []attack {
	var all []attack
	for _, list := range [][]attack{boundary(), replays(), doors(), texts(), operations()} {
		all = append(all, list...)
	}
	return all
}
