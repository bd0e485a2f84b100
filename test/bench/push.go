package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/test/harness"
)

const (
	// pushRate is how many pushes a second are sent.
	pushRate = 50
	// pushConnections is how many deliveries can be under way at once.
	pushConnections = 8
	drainWithin     = time.Minute
)

// pushBench is a server whose tasks exist, and the branches that are pushed to.
type pushBench struct {
	database string
	bench    *harness.Bench
	branches []*branch
	next     atomic.Int64

	mu   sync.Mutex
	sent map[string]time.Time
}

// branch is one branch of a repository. Nobody pushes to it twice at a time.
type branch struct {
	id               int
	repository, name string
	pushes           int
}

// head is the commit after a number of pushes.
func (b *branch) head(pushes int) string {
	if pushes == 0 {
		return fmt.Sprintf("%040d", 0)
	}
	return fmt.Sprintf("%-8.8s%032x", "abcdef01", pushes)
}

// pushToRun measures the time from the first byte of a push to the request that
// starts its check at the stand-in.
func (m *measurer) pushToRun(ctx context.Context) (err error) {
	var benches []*pushBench
	defer func() {
		for _, p := range benches {
			err = errors.Join(err, p.bench.Close())
		}
	}()
	for _, database := range m.databases {
		p, err := m.newPushBench(ctx, database)
		if err != nil {
			return err
		}
		benches = append(benches, p)
	}
	for range m.rounds {
		for _, p := range benches {
			took, told, err := p.measure(ctx, m.sizes.pushes)
			if err != nil {
				return err
			}
			m.addTime("push_to_status_ms_p50_"+p.database, percentile(told, 0.5))
			m.addTime("push_to_status_ms_p99_"+p.database, percentile(told, 0.99))
			m.addTime("push_to_run_ms_p50_"+p.database, percentile(took, 0.5))
			m.addTime("push_to_run_ms_p99_"+p.database, percentile(took, 0.99))
		}
	}
	return nil
}

// newPushBench starts a server and pushes to every branch once, so that its task
// exists.
func (m *measurer) newPushBench(ctx context.Context, database string) (*pushBench, error) {
	b, err := harness.New(ctx, harness.Options{
		Database: database, Binary: m.binary, Repositories: m.sizes.repositories, LogLevel: "info", Profiles: m.profiles, Reports: true,
	})
	if err != nil {
		return nil, err
	}
	p := &pushBench{database: database, bench: b, sent: map[string]time.Time{}}
	for i := range m.sizes.repositories {
		for _, name := range []string{"dev", "topic-1", "topic-2"} {
			p.branches = append(p.branches, &branch{id: i + 1, repository: fmt.Sprintf("r%02d", i), name: name})
		}
	}
	if _, err = b.StartServer(ctx); err == nil {
		_, _, err = p.measure(ctx, len(p.branches))
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return p, nil
}

// measure pushes a number of times, waits until all checks are over, and returns
// how long after its push each was started, and its commit had a status.
func (p *pushBench) measure(ctx context.Context, pushes int) (started, told []time.Duration, err error) {
	began := time.Now()
	var sent atomic.Int64
	err = each(ctx, p.bench.Addrs()[0], pushConnections, func(c *client) error {
		for ctx.Err() == nil {
			n := sent.Add(1) - 1
			if n >= int64(pushes) {
				break
			}
			d, err := p.push()
			if err != nil {
				return err
			}
			time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / pushRate)))
			if err := p.send(c, d); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, nil, err
	}
	left, err := p.bench.Drain(ctx, drainWithin)
	if err == nil && !left.None() {
		err = fmt.Errorf("checks do not end: %+v", left)
	}
	if err != nil {
		return nil, nil, err
	}
	return p.latencies(ctx, pushes)
}

// push is the next push to the branch whose turn it is.
func (p *pushBench) push() (delivery, error) {
	b := p.branches[int(p.next.Add(1)-1)%len(p.branches)]
	before := b.head(b.pushes)
	b.pushes++
	return sign(p.bench.WebhookSecret(), "push", b.push(before))
}

// send sends a push and remembers when its first byte was sent.
func (p *pushBench) send(c *client, d delivery) error {
	began := time.Now()
	status, text, err := c.send(d)
	if err != nil {
		return err
	}
	var answer struct {
		Delivery string `json:"delivery"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || status != http.StatusAccepted {
		return fmt.Errorf("push: %d %s", status, text)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent[answer.Delivery] = began
	return nil
}

// latencies looks up in the stand-in's journal when the check of each push was
// asked for, and at the git host when its commit had its first status.
func (p *pushBench) latencies(ctx context.Context, pushes int) (took, told []time.Duration, err error) {
	records, err := p.bench.Database.Records(ctx)
	if err != nil {
		return nil, nil, err
	}
	started := map[string]time.Time{}
	for _, call := range p.bench.Journal.Acted() {
		if call.Operation == "run_task" {
			started[call.Execution] = call.Time
		}
	}
	for _, run := range records.Runs {
		if began, ok := p.sent[run.DeliveryID]; ok && !started[run.ExecID].IsZero() {
			took = append(took, started[run.ExecID].Sub(began))
			if _, first := p.bench.GitHost.Statuses(run.Event.Connection, run.Event.Repository.FullName, run.Event.HeadSHA, "gatewright/check"); !first.IsZero() {
				told = append(told, first.Sub(began))
			}
		}
	}
	p.sent = map[string]time.Time{}
	if len(took) != pushes || len(told) != pushes {
		return nil, nil, fmt.Errorf("only %d of %d pushes were checked, and %d had a status", len(took), pushes, len(told))
	}
	return took, told, nil
}
