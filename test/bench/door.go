package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/test/harness"
)

// unconcerned are rules that read every delivery and want none of those that the
// door is measured with: what is measured is the door, with its decisions going on
// behind it, and no service.
const unconcerned = `version: 1
rules:
  - name: elsewhere
    on: [push, merge_request]
    match: {repository: "elsewhere/*"}
    check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07}}
`

// bodies is how many different payloads there are.
const bodies = 1024

// pullRequests are different pull requests, signed.
func pullRequests(secret string) ([]delivery, error) {
	list := make([]delivery, bodies)
	for i := range list {
		var err error
		if list[i], err = sign(secret, "pull_request", pullRequest("shop", fmt.Sprintf("%040x", i+1), i+1)); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// doorBench is a fresh server whose door is measured.
func (m *measurer) doorBench(ctx context.Context, database string) (b *harness.Bench, server *harness.Server, list []delivery, err error) {
	b, err = harness.New(ctx, harness.Options{
		Database: database, Binary: m.binary, Repositories: 1, Rules: unconcerned, LogLevel: "info", Profiles: m.profiles,
	})
	if err != nil {
		return nil, nil, nil, err
	}
	if server, err = b.StartServer(ctx); err == nil {
		list, err = pullRequests(b.WebhookSecret())
	}
	if err != nil {
		return nil, nil, nil, errors.Join(err, b.Close())
	}
	return b, server, list, nil
}

// accept measures once how many deliveries a second are accepted, by the door with
// nothing behind it or by the server on a database.
func (m *measurer) accept(ctx context.Context, database string, connections int) (rate float64, err error) {
	if database == "" {
		addr, stop, err := startNothing(ctx, m.secret)
		if err != nil {
			return 0, err
		}
		list, err := pullRequests(m.secret)
		if err == nil {
			rate, err = m.load(ctx, fmt.Sprintf("nothing_%d", connections), addr, connections, list)
		}
		return rate, errors.Join(err, stop())
	}
	b, server, list, err := m.doorBench(ctx, database)
	if err != nil {
		return 0, err
	}
	rate, err = m.load(ctx, fmt.Sprintf("%s_%d", database, connections), b.Addrs()[0], connections, list)
	if err == nil {
		err = m.together(ctx, fmt.Sprintf("deliveries_per_commit_%s_%d", database, connections), b.Addrs()[0])
	}
	if err == nil && connections == manyConnections {
		err = m.memory(ctx, "loaded_memory_"+database, server)
	}
	return rate, errors.Join(err, b.Close())
}

// decided is the metric of deliveries that were decided.
const decided = "gatewright_decisions_total"

// load measures accepts once, and notes what processor time the server, without its
// database, took for each, and how many it decided meanwhile.
func (m *measurer) load(ctx context.Context, name, addr string, connections int, list []delivery) (rate float64, err error) {
	if _, _, err := closed(ctx, addr, connections, list, m.sizes.warming); err != nil {
		return 0, err
	}
	cpuBefore, err := metric(ctx, addr, cpuSeconds)
	if err != nil {
		return 0, err
	}
	decidedBefore, err := metric(ctx, addr, decided)
	if err != nil {
		return 0, err
	}
	number, took, err := closed(ctx, addr, connections, list, m.sizes.accepting)
	if err != nil {
		return 0, err
	}
	cpu, err := metric(ctx, addr, cpuSeconds)
	if err != nil {
		return 0, err
	}
	m.add("accept_cpu_us_"+name, (cpu-cpuBefore)*1e6/number, "us")
	after, err := metric(ctx, addr, decided)
	if err == nil && after > 0 {
		m.add("decided_per_second_"+name, (after-decidedBefore)/took.Seconds(), "deliveries/s")
	}
	return number / took.Seconds(), err
}

// together notes how many deliveries shared a commit, on average.
func (m *measurer) together(ctx context.Context, name, addr string) error {
	deliveries, err := metric(ctx, addr, "gatewright_deliveries_per_commit_sum")
	if err != nil {
		return err
	}
	commits, err := metric(ctx, addr, "gatewright_deliveries_per_commit_count")
	if err == nil {
		m.add(name, deliveries/commits, "deliveries")
	}
	return err
}

const (
	fewConnections  = 64
	manyConnections = 256
)

// door measures the accepts of the two databases and those of the door that stores
// nothing in turn, and their ratio in each round.
func (m *measurer) door(ctx context.Context) error {
	for range m.rounds {
		for _, connections := range []int{fewConnections, manyConnections} {
			plain, err := m.accept(ctx, "", connections)
			if err != nil {
				return err
			}
			m.add(fmt.Sprintf("accept_per_second_nothing_%d", connections), plain, "deliveries/s")
			for _, database := range m.databases {
				rate, err := m.accept(ctx, database, connections)
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

// halfLoad measures how long an accept takes at half of the load that the door can
// take, which has to be measured before.
func (m *measurer) halfLoad(ctx context.Context) error {
	for range m.rounds {
		for _, database := range m.databases {
			rate := m.median(fmt.Sprintf("accept_per_second_%s_%d", database, fewConnections)) / 2
			if rate == 0 {
				return errors.New("the load is not known: write -only door,half_load")
			}
			b, _, list, err := m.doorBench(ctx, database)
			if err != nil {
				return err
			}
			_, err = open(ctx, b.Addrs()[0], fewConnections, rate, list, m.sizes.warming)
			var took []time.Duration
			if err == nil {
				took, err = open(ctx, b.Addrs()[0], fewConnections, rate, list, m.sizes.accepting)
			}
			if err := errors.Join(err, b.Close()); err != nil {
				return err
			}
			m.addTime("accept_p50_ms_"+database, percentile(took, 0.5))
			m.addTime("accept_p99_ms_"+database, percentile(took, 0.99))
		}
	}
	return nil
}
