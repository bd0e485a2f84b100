package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/test/harness"
)

// unconcerned are rules that read every delivery and want none: the server accepts
// and decides, and starts nothing.
const unconcerned = `version: 1
rules:
  - name: elsewhere
    on: [push, merge_request]
    match: {repository: "elsewhere/*"}
    check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07}}
`

// pullRequests are different payloads. They are made once, because that takes longer
// than to send them.
func pullRequests() [][]byte {
	list := make([][]byte, 1024)
	for i := range list {
		list[i] = pullRequest("shop", fmt.Sprintf("%040x", i+1), i+1)
	}
	return list
}

// signAll signs payloads of pull requests.
func signAll(secret string, payloads [][]byte) ([]delivery, error) {
	list := make([]delivery, len(payloads))
	for i := range list {
		var err error
		if list[i], err = sign(secret, "pull_request", payloads[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

const (
	fewConnections  = 64
	manyConnections = 256
)

// accept measures how many deliveries a second are accepted, each connection sending
// one after the other: by the endpoint that stores nothing, and by the server on each
// database while it also decides. accept_ratio_* is the second divided by the first,
// of the same round.
func (m *measurer) accept(ctx context.Context) error {
	payloads := pullRequests()
	for range m.rounds {
		for _, connections := range []int{fewConnections, manyConnections} {
			plain, err := m.acceptNothing(ctx, payloads, connections)
			if err != nil {
				return err
			}
			m.add(fmt.Sprintf("accept_per_second_nothing_%d", connections), plain, "deliveries/s")
			for _, database := range m.databases {
				rate, err := m.acceptDurably(ctx, database, payloads, connections)
				if err != nil {
					return err
				}
				m.add(fmt.Sprintf("accept_per_second_%s_%d", database, connections), rate, "deliveries/s")
				m.add(fmt.Sprintf("accept_ratio_%s_%d", database, connections), rate/plain, "ratio")
			}
		}
	}
	return nil
}

// acceptNothing measures the endpoint that stores nothing, once.
func (m *measurer) acceptNothing(ctx context.Context, payloads [][]byte, connections int) (rate float64, err error) {
	addr, stop, err := startNothing(ctx)
	if err != nil {
		return 0, err
	}
	list, err := signAll(nothingSecret, payloads)
	if err == nil {
		rate, err = m.load(ctx, fmt.Sprintf("nothing_%d", connections), addr, addr, connections, list)
	}
	return rate, errors.Join(err, stop())
}

// acceptDurably measures a fresh server on a database, once.
func (m *measurer) acceptDurably(ctx context.Context, database string, payloads [][]byte, connections int) (rate float64, err error) {
	b, err := harness.New(ctx, harness.Options{
		Database: database, Binary: m.binary, Repositories: 1, Rules: unconcerned, LogLevel: "info", Profiles: m.profiles,
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	server, err := b.StartServer(ctx)
	if err != nil {
		return 0, err
	}
	list, err := signAll(b.WebhookSecret(), payloads)
	if err != nil {
		return 0, err
	}
	rate, err = m.load(ctx, fmt.Sprintf("%s_%d", database, connections), b.Addrs()[0], b.PrivateAddrs()[0], connections, list)
	if err == nil && connections == manyConnections {
		err = m.memory(ctx, "loaded_memory_"+database, server)
	}
	return rate, err
}

// load measures accepted deliveries a second, and notes what processor time the
// server, without its database, took for each, and how many it decided meanwhile.
func (m *measurer) load(ctx context.Context, name, addr, private string, connections int, list []delivery) (rate float64, err error) {
	if _, _, err := closed(ctx, addr, connections, list, m.sizes.warming); err != nil {
		return 0, err
	}
	var before, after [2]float64
	if before, err = readMetrics(ctx, private); err != nil {
		return 0, err
	}
	number, took, err := closed(ctx, addr, connections, list, m.sizes.accepting)
	if err != nil {
		return 0, err
	}
	if after, err = readMetrics(ctx, private); err != nil {
		return 0, err
	}
	m.add("accept_cpu_us_"+name, (after[0]-before[0])*1e6/number, "us")
	if after[1] > 0 {
		m.add("decided_per_second_"+name, (after[1]-before[1])/took.Seconds(), "deliveries/s")
	}
	return number / took.Seconds(), nil
}

// readMetrics reads a server's processor seconds and its decisions so far.
func readMetrics(ctx context.Context, addr string) (values [2]float64, err error) {
	for i, name := range []string{cpuSeconds, "gatewright_decisions_total"} {
		if values[i], err = metric(ctx, addr, name); err != nil {
			return values, err
		}
	}
	return values, nil
}

// answerRate is the deliveries a second at which the answer is timed.
const answerRate = 200

// answer measures how long the answer to a delivery takes at a fixed rate, counted
// from the time at which the delivery was due. Each is wanted, so that its decision,
// its run and the calls to the service go on meanwhile; see sustained.
func (m *measurer) answer(ctx context.Context) error {
	for range m.rounds {
		for _, database := range m.databases {
			w, err := m.newWanted(ctx, database)
			if err != nil {
				return err
			}
			_, err = w.send(ctx, answerRate, m.sizes.warming)
			var took []time.Duration
			if err == nil {
				took, err = w.send(ctx, answerRate, m.sizes.answering)
			}
			if err := errors.Join(err, w.bench.Close()); err != nil {
				return err
			}
			m.addTime(fmt.Sprintf("accept_p50_ms_at_%d_%s", answerRate, database), percentile(took, 0.5))
			m.addTime(fmt.Sprintf("accept_p99_ms_at_%d_%s", answerRate, database), percentile(took, 0.99))
		}
	}
	return nil
}
