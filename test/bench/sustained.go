package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/test/harness"
)

// checkAll wants every push: each is a decision and a run.
const checkAll = `version: 1
defaults:
  check:
    project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07, name: bench}
    languages: [GO]
    create: {name: "{repository}-{branch}", auth_id: 6f1d0c52-8a0e-4a57-9a4d-2f7d3c9be001}
rules:
  - name: branches
    on: [push]
    check: {}
`

// wanted is a fresh server that wants every delivery, and what is sent to it.
type wanted struct {
	bench   *harness.Bench
	remote  *emptyCheck
	payload []byte
	sent    int
}

// newWanted starts a server. bench must be closed in the end.
func (m *measurer) newWanted(ctx context.Context, database string) (*wanted, error) {
	w := &wanted{remote: newEmptyCheck(m.delay), payload: branchPush("shop")}
	var err error
	w.bench, err = harness.New(ctx, harness.Options{
		Database: database, Binary: m.binary, Repositories: 1, Rules: checkAll, Remote: w.remote, LogLevel: "info", Profiles: m.profiles,
	})
	if err != nil {
		return nil, err
	}
	if _, err := w.bench.StartServer(ctx); err != nil {
		return nil, errors.Join(err, w.bench.Close())
	}
	return w, nil
}

// send sends deliveries at a rate, each of a new commit on a new branch, and returns
// how long after its time each was answered.
func (w *wanted) send(ctx context.Context, rate float64, duration time.Duration) ([]time.Duration, error) {
	first := w.sent + 1
	w.sent += int(rate * duration.Seconds())
	return open(ctx, w.bench.Addrs()[0], fewConnections, rate, w.sent-first+1, func(n int) (delivery, error) {
		commit := fmt.Appendf(nil, "%040x", first+n)
		return sign(w.bench.WebhookSecret(), "push", bytes.ReplaceAll(w.payload, []byte(placeholder), commit))
	})
}

// sustained searches for the highest rate of distinct wanted deliveries, in deliveries
// a second, that for sizes.sustaining the server keeps up with: of all that are sent
// on schedule 99 in 100 are answered within a second of their time, and decided within
// a second of their receipt.
//
// Each is a push of a new commit to a new branch, and a rule asks for its check. What
// follows the decision is done meanwhile, against a service that answers each call
// after -service-delay: the task is created, started, polled, and its verdict saved.
// That need not keep up with the decisions, because the service's time and the bound on
// concurrent calls limit it, and not the server: sustained_runs_per_second_* says how
// many runs were started.
//
// What limits the rate can be read from the confirming measurement. sustained_busy_*
// is the share of the machine's processors that was in use, by all, and
// sustained_server_cores_* what the server used: near 1 it is the processors, else it
// is the waiting for commits, of which each takes at least one sync (sync_ms).
func (m *measurer) sustained(ctx context.Context) error {
	for _, database := range m.databases {
		rate, err := m.probe(ctx, database)
		if err != nil {
			return err
		}
		if err := m.confirm(ctx, database, rate); err != nil {
			return err
		}
	}
	took, err := syncTime()
	m.addTime("sync_ms", took)
	return err
}

// probe searches by short attempts for the highest rate that is kept up with, to
// within a tenth: it doubles until one is not, and then halves the distance. It asks
// for half of the time, because in three seconds a backlog that grows takes as long
// to reach half a second as in six to reach one.
func (m *measurer) probe(ctx context.Context, database string) (kept float64, err error) {
	until := time.Now().Add(m.sizes.searching)
	failed := 0.0
	for rate := m.sizes.firstRate; ; {
		a, err := m.attempt(ctx, database, rate, m.sizes.probing, 500*time.Millisecond)
		if err != nil {
			return 0, err
		}
		if a.kept {
			kept = rate
		} else {
			failed = rate
		}
		if time.Now().After(until) || failed > 0 && failed-kept <= kept/10 {
			return kept, nil
		}
		if failed == 0 {
			rate = 2 * kept
		} else {
			rate = (kept + failed) / 2
		}
	}
}

// confirmations is how many rates, each a fifth below the one before, are tried for
// the whole time. The last is a third of the first: a short attempt can be kept up with
// at a much higher rate than is sustained.
const confirmations = 6

// confirm adds the highest rate from the given one down that is kept up with for the
// whole time, and what was in use then; zero when none was.
func (m *measurer) confirm(ctx context.Context, database string, rate float64) error {
	for try := 0; try < confirmations && rate > 0; try++ {
		a, err := m.attempt(ctx, database, rate, m.sizes.sustaining, time.Second)
		if err != nil {
			return err
		}
		if a.kept {
			m.add("sustained_per_second_"+database, rate, "deliveries/s")
			m.add("sustained_runs_per_second_"+database, a.runs, "runs/s")
			m.add("sustained_busy_"+database, a.busy, "share")
			m.add("sustained_server_cores_"+database, a.cores, "cores")
			return nil
		}
		rate *= 0.8
	}
	m.add("sustained_per_second_"+database, 0, "deliveries/s")
	return nil
}

// attempt is what one rate came to.
type attempt struct {
	// kept: the server kept up.
	kept bool
	// runs is how many runs were started a second.
	runs float64
	// busy is the share of all processors that was in use, cores what the server used.
	busy, cores float64
}

// attempt sends at a rate to a fresh server. It is kept when 99 in 100 deliveries are
// answered and decided within a time, which is half a second or a second.
func (m *measurer) attempt(ctx context.Context, database string, rate float64, duration, within time.Duration) (a attempt, err error) {
	w, err := m.newWanted(ctx, database)
	if err != nil {
		return attempt{}, err
	}
	defer func() { err = errors.Join(err, w.bench.Close()) }()
	before, err := readUsage(ctx, w.bench.PrivateAddrs()[0])
	if err != nil {
		return attempt{}, err
	}
	took, err := w.send(ctx, rate, duration)
	if errors.Is(err, errRefused) {
		fmt.Fprintf(m.out, "# %s, %.0f/s for %s: %v\n", database, rate, duration, err)
		return attempt{}, nil
	}
	if err != nil {
		return attempt{}, err
	}
	a.runs = float64(w.remote.started.Load()) / duration.Seconds()
	after, err := readUsage(ctx, w.bench.PrivateAddrs()[0])
	if err != nil {
		return attempt{}, err
	}
	a.busy, a.cores = after.since(before)
	number, err := w.decided(ctx, within)
	if err != nil {
		return attempt{}, err
	}
	decided, answered := number/float64(w.sent), percentile(took, 0.99)
	a.kept = answered <= within && decided >= 0.99
	fmt.Fprintf(m.out, "# %s, %.0f/s for %s: answered within %s (p99), %.1f %% decided within %s, %.0f runs/s\n",
		database, rate, duration, answered.Round(time.Millisecond), 100*decided, within, a.runs)
	return a, nil
}

// decided waits until everything that was sent is decided or too late for it, and
// returns how many were decided within a time of their receipt, which must be a bound
// of the metric's buckets.
func (w *wanted) decided(ctx context.Context, within time.Duration) (number float64, err error) {
	const seconds = "gatewright_delivery_to_decision_seconds"
	addr := w.bench.PrivateAddrs()[0]
	for until := time.Now().Add(within); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		all, err := metric(ctx, addr, seconds+"_count")
		if err != nil {
			return 0, err
		}
		if all >= float64(w.sent) {
			break
		}
	}
	return metric(ctx, addr, fmt.Sprintf(`%s_bucket{le="%g"}`, seconds, within.Seconds()))
}
