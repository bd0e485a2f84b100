// Command crash proves that nothing acknowledged is lost and nothing is done twice
// when servers are killed. On each database it runs rounds of: the real server
// under load from a sender that records what was acknowledged, `kill -9` at a random
// moment, restart. On PostgreSQL several servers share the database, and most kills
// leave one that goes on; in some rounds PostgreSQL crashes too. When all is drained
// it judges by the sender's record, the database, and the journal of the stand-in of
// Huawei Cloud, and prints a line of counts. It exits 1 when one that must be 0 is not.
//
// A process that is killed leaves what it wrote, synced or not. That commits are synced
// too, as they are here, would only show in a power cut.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/gatewright/gatewright/test/harness"
)

// options are the command's flags.
type options struct {
	rounds, cycle, rate     int
	replicas, databaseEvery int
	database, binary        string
	seed                    uint64
	drainWithin             time.Duration
	ageJobs                 bool
}

// errBroken says that the proof was run and failed; what broke has been printed.
var errBroken = errors.New("a promise was broken")

func main() { harness.Main("crash", run) }

// run is the command. The error is errBroken when the proof failed.
func run(ctx context.Context, args []string, out io.Writer) (err error) {
	var o options
	flags := flag.NewFlagSet("crash", flag.ContinueOnError)
	flags.IntVar(&o.rounds, "rounds", 100, "rounds of load, kill and restart on each database")
	flags.StringVar(&o.database, "database", "both", "sqlite, postgres or both; PostgreSQL is the server that GATEWRIGHT_TEST_POSTGRES names by a URL, else a throw-away one")
	flags.Uint64Var(&o.seed, "seed", 1, "what is sent and when the server is killed follow from it")
	flags.IntVar(&o.rate, "rate", 150, "deliveries a second")
	flags.IntVar(&o.replicas, "replicas", 2, "servers that share a PostgreSQL database")
	flags.IntVar(&o.databaseEvery, "crash-database", 5, "in every so many rounds a throw-away PostgreSQL crashes and comes back")
	flags.IntVar(&o.cycle, "cycle", 12, "the last third of so many rounds comes without load, when all is decided, so that kills hit releases")
	flags.DurationVar(&o.drainWithin, "drain-within", 6*time.Minute, "the longest time that the drain after the last round may take; what has not ended then hangs")
	flags.BoolVar(&o.ageJobs, "age-jobs", false, "kill all servers before a drain and make the jobs that they leave look old, instead of waiting up to 95 s until River rescues them")
	flags.StringVar(&o.binary, "binary", "", "the gatewright program; default: it is built")
	if err := flags.Parse(args); err != nil {
		return err
	}
	databases, err := harness.Databases(o.database)
	if err != nil {
		return err
	}
	if min(o.rounds, o.rate, o.cycle, o.replicas, o.databaseEvery) < 1 {
		return errors.New("-rounds, -rate, -cycle, -replicas and -crash-database: write numbers from 1 on")
	}
	program, remove, err := harness.Program(ctx, o.binary)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	o.binary = program

	lines := &wholeLines{out: out}
	errs := make([]error, len(databases))
	var proofs sync.WaitGroup
	for i, database := range databases {
		// Both at once: on PostgreSQL most of the time goes by waiting.
		proofs.Go(func() {
			if err := prove(ctx, o, database, lines); err != nil {
				errs[i] = fmt.Errorf("%s: %w", database, err)
			}
		})
	}
	proofs.Wait()
	return errors.Join(errs...)
}

// wholeLines keeps what two proofs print apart.
type wholeLines struct {
	mu  sync.Mutex
	out io.Writer
}

// Write writes all of p at once.
func (w *wholeLines) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(p)
}

// prove runs and judges the proof on one database.
func prove(ctx context.Context, o options, database string, out io.Writer) error {
	e, err := gather(ctx, o, database, out)
	if err != nil {
		return err
	}
	var report bytes.Buffer
	err = judge(e).print(&report, e)
	_, writeErr := out.Write(report.Bytes())
	return errors.Join(err, writeErr)
}

const (
	// repositories is how many each connection has: enough that a released branch
	// stays as it is for long enough to be released.
	repositories = 16
	// answerDelay makes kills likely between what a release does and the answer.
	answerDelay = 250 * time.Millisecond
)

// gather runs the rounds on one database and collects what is to be judged.
func gather(ctx context.Context, o options, database string, out io.Writer) (e evidence, err error) {
	replicas := o.replicas
	if database == harness.SQLite {
		replicas = 1
	}
	bench, err := harness.New(ctx, harness.Options{
		Database: database, Binary: o.binary, Replicas: replicas, Repositories: repositories, AnswerDelay: answerDelay, Seed: o.seed, Reports: true,
	})
	if err != nil {
		return evidence{}, err
	}
	defer func() {
		if err != nil {
			fmt.Fprintf(out, "# the server's last words on %s:\n%s\n", database, bench.Log())
		}
		err = errors.Join(err, bench.Close())
	}()
	r := &rounds{options: o, bench: bench, out: out, moments: newMoments(o.seed), servers: make([]*harness.Server, replicas)}
	if e.left, err = r.run(ctx); err != nil {
		return evidence{}, err
	}
	// The servers are gone: nothing is done any more that the journal does not have.
	if err := bench.Journal.Read(ctx); err != nil {
		return evidence{}, err
	}
	e.database, e.kills, e.databaseKills = database, r.kills, r.databaseKills
	if err := bench.Database.Check(ctx); err != nil {
		return evidence{}, fmt.Errorf("check database: %w", err)
	}
	if e.records, err = bench.Database.Records(ctx); err != nil {
		return evidence{}, err
	}
	e.acted, e.refused = bench.Journal.Acted(), bench.Journal.Refused()
	e.changes, e.accepted, e.statuses = bench.Load.Changes(), bench.Load.Accepted(), bench.Load.Statuses()
	e.host = bench.GitHost
	return e, nil
}
