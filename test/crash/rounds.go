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

// The server is killed at a random moment between these two after it was ready.
const (
	soonest = 100 * time.Millisecond
	latest  = 1500 * time.Millisecond
)

// newMoments makes the generator of the moments of the kills.
func newMoments(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x6b696c6c)) }

// rounds are the rounds on one database.
type rounds struct {
	options options
	bench   *harness.Bench
	out     io.Writer
	moments *rand.Rand
}

// run kills the server in each round, lets it drain now and then and in the end,
// and stops it. It returns what had not ended when the last drain was over.
func (r *rounds) run(ctx context.Context) (left harness.Left, err error) {
	for round := 1; round <= r.options.rounds; round++ {
		if err := r.once(ctx); err != nil {
			return left, fmt.Errorf("round %d: %w", round, err)
		}
		if round%r.options.drainEvery == 0 || round == r.options.rounds {
			if left, err = r.drain(ctx, round); err != nil {
				return left, err
			}
		}
	}
	return left, nil
}

// once starts the server, loads it, and kills it.
func (r *rounds) once(ctx context.Context) error {
	server, err := r.bench.StartServer(ctx)
	if err != nil {
		return err
	}
	if _, err := r.bench.Attend(ctx); err != nil {
		return err
	}
	sending, stop := context.WithCancel(ctx)
	defer stop()
	var sender sync.WaitGroup
	sender.Go(func() { r.bench.Load.Run(sending, r.options.rate) })
	moment := time.NewTimer(soonest + time.Duration(r.moments.Int64N(int64(latest-soonest))))
	defer moment.Stop()
	select {
	case <-moment.C:
		err = server.Kill()
	case <-server.Exited():
		err = errors.New("the server ended by itself")
	case <-ctx.Done():
		err = ctx.Err()
	}
	stop()
	sender.Wait()
	if err != nil {
		return err
	}
	return r.bench.Journal.Read(ctx)
}

// drain lets the server work undisturbed until nothing is left, and stops it.
func (r *rounds) drain(ctx context.Context, round int) (left harness.Left, err error) {
	began := time.Now()
	server, err := r.bench.StartServer(ctx)
	if err != nil {
		return left, err
	}
	if left, err = r.bench.Drain(ctx, r.options.drainWithin); err != nil {
		return left, err
	}
	fmt.Fprintf(r.out, "# %s: round %d, drained in %.1f s, left %+v\n", r.bench.Database.Name, round, time.Since(began).Seconds(), left)
	return left, server.Stop()
}
