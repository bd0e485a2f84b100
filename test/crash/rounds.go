package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gatewright/gatewright/test/harness"
)

// Servers work for a time of random length between a kill and what follows, of
// soonest at least and at most one of the others.
const (
	soonest = 20 * time.Millisecond
	// underLoad is the most before a kill under load.
	underLoad = 1500 * time.Millisecond
	// releasing is the most before a kill when nobody sends: then releases are in
	// flight, which are quick.
	releasing = 500 * time.Millisecond
	// alone is the most before the dead are started again beside the survivors.
	alone = 500 * time.Millisecond
)

// newMoments makes the generator of the moments of the kills.
func newMoments(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x6b696c6c)) }

// rounds are the rounds on one database.
type rounds struct {
	options options
	bench   *harness.Bench
	out     io.Writer
	moments *rand.Rand
	// servers are the replicas; nil: it is dead.
	servers []*harness.Server
	// kills counts the servers that were killed, databaseKills the crashes of PostgreSQL.
	kills, databaseKills int
}

// run kills servers in each round, lets the last ones drain, and stops them. It
// returns what had not ended then.
//
// A release acts only when every delivery that came before its check is decided, so
// kills under load hit few of them. Therefore the last third of each cycle's rounds
// comes without load, when all that was sent is decided. PostgreSQL crashes in rounds
// of both sorts.
func (r *rounds) run(ctx context.Context) (left harness.Left, err error) {
	loaded := r.options.cycle - r.options.cycle/3
	for round := range r.options.rounds {
		at := round % r.options.cycle
		if at == loaded {
			if err := r.calm(ctx, round); err != nil {
				return left, fmt.Errorf("before round %d: %w", round+1, err)
			}
		}
		if err := r.once(ctx, at < loaded, (round+1)%r.options.databaseEvery == 0); err != nil {
			return left, fmt.Errorf("round %d: %w", round+1, err)
		}
	}
	return r.drain(ctx)
}

// once starts who is dead, lets all work for a while, and kills some.
func (r *rounds) once(ctx context.Context, load, database bool) (err error) {
	if err := r.start(ctx); err != nil {
		return err
	}
	if _, err := r.bench.Attend(ctx); err != nil {
		return err
	}
	sending, stop := context.WithCancel(ctx)
	var sender sync.WaitGroup
	latest := releasing
	if load {
		latest = underLoad
		sender.Go(func() { r.bench.Load.Run(sending, r.options.rate) })
	}
	if err = r.pause(ctx, latest); err == nil && database {
		err = r.crashDatabase(ctx)
	}
	if err == nil {
		err = r.strike(ctx)
	}
	stop()
	sender.Wait()
	if err != nil {
		return err
	}
	return r.bench.Journal.Read(ctx)
}

// crashDatabase crashes PostgreSQL, starts it again, and lets the servers go on.
func (r *rounds) crashDatabase(ctx context.Context) error {
	crashed, err := r.bench.Database.Crash()
	if err != nil || !crashed {
		return err
	}
	r.databaseKills++
	return r.pause(ctx, alone)
}

// strike kills one server, now and then all of them, and lets the survivors go on.
func (r *rounds) strike(ctx context.Context) error {
	victim, all := r.moments.IntN(len(r.servers)), r.moments.IntN(5) == 0
	for i, server := range r.servers {
		if !all && i != victim {
			continue
		}
		if err := server.Kill(); err != nil {
			return err
		}
		r.servers[i] = nil
		r.kills++
	}
	if all || len(r.servers) == 1 {
		return nil
	}
	return r.pause(ctx, alone)
}

// start starts the servers that are dead.
func (r *rounds) start(ctx context.Context) (err error) {
	for i, server := range r.servers {
		if server != nil {
			continue
		}
		if r.servers[i], err = r.bench.StartReplica(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// restart is start, before a drain. With ageJobs it kills who lives and spares the others
// the wait for what the dead left.
func (r *rounds) restart(ctx context.Context) error {
	if !r.options.ageJobs {
		return r.start(ctx)
	}
	for i, server := range r.servers {
		if server == nil {
			continue
		}
		if err := server.Kill(); err != nil {
			return err
		}
		r.servers[i] = nil
		r.kills++
	}
	if err := r.bench.Database.AgeJobs(ctx); err != nil {
		return err
	}
	return r.start(ctx)
}

// pause lets the servers work for a while, latest at most. It fails when one ends by
// itself.
func (r *rounds) pause(ctx context.Context, latest time.Duration) error {
	timer := time.NewTimer(soonest + time.Duration(r.moments.Int64N(int64(latest-soonest))))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	for i, server := range r.servers {
		if server != nil && server.Gone() {
			return fmt.Errorf("server %d ended by itself", i)
		}
	}
	return nil
}

// calm lets the servers work undisturbed until all that was sent is decided.
func (r *rounds) calm(ctx context.Context, round int) error {
	began := time.Now()
	if err := r.restart(ctx); err != nil {
		return err
	}
	left, err := r.bench.Await(ctx, r.options.drainWithin, func(left harness.Left) bool { return left.Deliveries == 0 })
	r.say(round, "all decided", began, left)
	return err
}

// drain lets the servers work undisturbed until nothing is left, and stops them.
func (r *rounds) drain(ctx context.Context) (left harness.Left, err error) {
	began := time.Now()
	if err := r.restart(ctx); err != nil {
		return left, err
	}
	if left, err = r.bench.Drain(ctx, r.options.drainWithin); err != nil {
		return left, err
	}
	r.say(r.options.rounds, "drained", began, left)
	var errs []error
	for _, server := range r.servers {
		errs = append(errs, server.Stop())
	}
	return left, errors.Join(errs...)
}

func (r *rounds) say(round int, what string, began time.Time, left harness.Left) {
	fmt.Fprintf(r.out, "# %s: round %d, %s in %.1f s, left %+v\n", r.bench.Database.Name, round, what, time.Since(began).Seconds(), left)
}
