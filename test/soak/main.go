// Command soak proves that the server does not grow with what it has done: it puts
// the real server under a mixed load for a time, lets it drain, and prints memory,
// goroutines, open files, rows and bytes at the start, in the middle and at the end,
// and the requests by status; and then once more, after a start with a retention that
// is over for everything. It exits 1 when goroutines or open files have grown beyond a
// bound, when something hangs, when the server did not answer, or when what is older
// than the retention stays.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gatewright/gatewright/test/harness"
)

// options are the command's flags.
type options struct {
	duration         time.Duration
	database, binary string
	rate             int
	seed             uint64
	goroutines       int64
	files            int64
	drainWithin      time.Duration
}

func main() { harness.Main("soak", run) }

// run is the command.
func run(ctx context.Context, args []string, out io.Writer) (err error) {
	var o options
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.DurationVar(&o.duration, "for", time.Minute, "how long the load lasts, on each database")
	flags.StringVar(&o.database, "database", harness.SQLite, "sqlite, postgres or both; PostgreSQL is the server that GATEWRIGHT_TEST_POSTGRES names by a URL, else a throw-away one")
	flags.IntVar(&o.rate, "rate", 100, "deliveries a second")
	flags.Uint64Var(&o.seed, "seed", 1, "what is sent follows from it")
	flags.Int64Var(&o.goroutines, "goroutines", 80, "the most goroutines that an idle server may have gained; pools fill up under load")
	flags.Int64Var(&o.files, "files", 60, "the most open files that an idle server may have gained; pools fill up under load")
	flags.DurationVar(&o.drainWithin, "drain-within", 3*time.Minute, "the longest time that the drain may take")
	flags.StringVar(&o.binary, "binary", "", "the gatewright program; default: it is built")
	if err := flags.Parse(args); err != nil {
		return err
	}
	databases, err := harness.Databases(o.database)
	if err != nil {
		return err
	}
	if o.rate < 1 || o.duration <= 0 {
		return errors.New("-rate and -for: write more than nothing")
	}
	program, remove, err := harness.Program(ctx, o.binary)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	o.binary = program

	var errs []error
	for _, database := range databases {
		if err := soak(ctx, o, database, out); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", database, err))
		}
	}
	return errors.Join(errs...)
}

// soak loads a server on one database and judges what became of it.
func soak(ctx context.Context, o options, database string, out io.Writer) (err error) {
	bench, err := harness.New(ctx, harness.Options{Database: database, Binary: o.binary, Seed: o.seed})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			fmt.Fprintf(out, "# the server's last words on %s:\n%s\n", database, bench.Log())
		}
		err = errors.Join(err, bench.Close())
	}()
	server, err := bench.StartServer(ctx)
	if err != nil {
		return err
	}
	p := &printer{out: out, prefix: "soak_" + database}
	start, err := p.sample(ctx, "start", bench, server)
	if err != nil {
		return err
	}
	for _, moment := range []string{"middle", "loaded"} {
		if err := load(ctx, o, bench, server); err != nil {
			return err
		}
		if _, err := p.sample(ctx, moment, bench, server); err != nil {
			return err
		}
	}
	began := time.Now()
	left, err := bench.Drain(ctx, o.drainWithin)
	if err != nil {
		return err
	}
	p.print("drain", time.Since(began).Milliseconds(), "ms")
	bench.Load.CloseIdle()
	end, err := p.settled(ctx, o, start, bench, server)
	if err != nil {
		return err
	}
	statuses := bench.Load.Statuses()
	for _, status := range slices.Sorted(maps.Keys(statuses)) {
		p.print(fmt.Sprintf("answers_%d", status), int64(statuses[status]), "requests")
	}
	p.print("remote_calls", bench.Journal.Calls(), "calls")
	if err := errors.Join(server.Stop(), judge(o, start, end, left, statuses)); err != nil {
		return err
	}
	return p.expire(ctx, bench)
}

// expireWithin is how long a server that has just started may take to remove what is
// older than the retention.
const expireWithin = 30 * time.Second

// expire starts the server with a retention that is over for all that there is, and
// waits until that is gone.
func (p *printer) expire(ctx context.Context, bench *harness.Bench) error {
	if err := bench.Retain(time.Millisecond); err != nil {
		return err
	}
	server, err := bench.StartServer(ctx)
	if err != nil {
		return err
	}
	deadline := time.NewTimer(expireWithin)
	defer deadline.Stop()
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for {
		left, err := records(ctx, bench)
		if err != nil {
			return err
		}
		if left == 0 {
			_, err := p.sample(ctx, "expired", bench, server)
			return errors.Join(err, server.Stop())
		}
		select {
		case <-ticker.C:
		case <-deadline.C:
			return fmt.Errorf("%d deliveries, runs and releases are older than the retention and were not removed within %s", left, expireWithin)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// records counts the deliveries, runs and releases in the database.
func records(ctx context.Context, bench *harness.Bench) (number int64, err error) {
	sizes, err := bench.Database.Sizes(ctx)
	for _, f := range sizes {
		if f.Name == "rows_deliveries" || f.Name == "rows_runs" || f.Name == "rows_releases" {
			number += f.Value
		}
	}
	return number, err
}

// load sends for half of the time. The journal is read meanwhile, and people do
// their part.
func load(ctx context.Context, o options, bench *harness.Bench, server *harness.Server) error {
	sending, stop := context.WithTimeout(ctx, o.duration/2)
	defer stop()
	var sender sync.WaitGroup
	sender.Go(func() { bench.Load.Run(sending, o.rate) })
	defer sender.Wait()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-sending.Done():
			return ctx.Err()
		case <-server.Exited():
			stop()
			return errors.New("the server ended by itself")
		case <-ticker.C:
			_, err := bench.Attend(ctx)
			if err == nil {
				err = bench.Journal.Read(ctx)
			}
			if err != nil {
				stop()
				return err
			}
		}
	}
}

// printer prints figures, one a line.
type printer struct {
	out    io.Writer
	prefix string
}

func (p *printer) print(name string, value int64, unit string) {
	fmt.Fprintln(p.out, harness.Figure{Name: p.prefix + "_" + name, Value: value, Unit: unit})
}

// usage is what is judged.
type usage struct{ goroutines, files int64 }

// sample prints what the server holds and what the database does.
func (p *printer) sample(ctx context.Context, moment string, bench *harness.Bench, server *harness.Server) (usage, error) {
	held, err := server.Usage(ctx)
	if err != nil {
		return usage{}, err
	}
	sizes, err := bench.Database.Sizes(ctx)
	if err != nil {
		return usage{}, err
	}
	for _, f := range append(held, sizes...) {
		p.print(moment+"_"+f.Name, f.Value, f.Unit)
	}
	return usageOf(held), nil
}

func usageOf(held []harness.Figure) (u usage) {
	for _, f := range held {
		switch f.Name {
		case "goroutines":
			u.goroutines = f.Value
		case "open_files":
			u.files = f.Value
		}
	}
	return u
}

// settleWithin is how long an idle server may take to release what it held under
// load: idle connections are closed after 30 seconds.
const settleWithin = 40 * time.Second

// settled waits until the drained server is within the bounds, at most
// settleWithin, and samples it.
func (p *printer) settled(ctx context.Context, o options, start usage, bench *harness.Bench, server *harness.Server) (usage, error) {
	deadline := time.NewTimer(settleWithin)
	defer deadline.Stop()
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for {
		held, err := server.Usage(ctx)
		if err != nil {
			return usage{}, err
		}
		if o.within(start, usageOf(held)) {
			return p.sample(ctx, "end", bench, server)
		}
		select {
		case <-ticker.C:
		case <-deadline.C:
			return p.sample(ctx, "end", bench, server)
		case <-ctx.Done():
			return usage{}, ctx.Err()
		}
	}
}

// within reports whether the server has not grown beyond the bounds.
func (o options) within(start, end usage) bool {
	return end.goroutines-start.goroutines <= o.goroutines && end.files-start.files <= o.files
}

// judge names what is wrong.
func judge(o options, start, end usage, left harness.Left, statuses map[int]int) error {
	var errs []error
	if !o.within(start, end) {
		errs = append(errs, fmt.Errorf("the idle server grew by %d goroutines and %d files, and may by %d and %d",
			end.goroutines-start.goroutines, end.files-start.files, o.goroutines, o.files))
	}
	if !left.None() {
		errs = append(errs, fmt.Errorf("not ended within %s: %+v", o.drainWithin, left))
	}
	if statuses[202] == 0 || statuses[0] > 0 {
		errs = append(errs, fmt.Errorf("%d deliveries were accepted and %d not answered", statuses[202], statuses[0]))
	}
	return errors.Join(errs...)
}
