package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatewright/gatewright/internal/standin"
)

// fault is one way of going wrong.
type fault struct {
	name string
	// huawei and database go wrong on the connections to the stand-in and to
	// PostgreSQL; without any the connections are well.
	huawei, database line
	// standin goes wrong in the stand-in itself.
	standin []standin.Fault
	// password makes the server authorize by tokens; otherwise it signs.
	password bool
}

// line is what is wrong with the connections through one proxy.
type line struct {
	// closed: they break off, and new ones are refused.
	closed bool
	toxics []toxic
	// again is how often it is chosen again which connections are hit; zero: once
	// for each connection. Otherwise those that work would soon do all the work.
	again time.Duration
}

// toxic is one of toxiproxy's, by its own words.
type toxic struct {
	Type string `json:"type"`
	// Stream is upstream (what the server sends) or downstream (the answers).
	Stream string `json:"stream"`
	// Toxicity is the part of the connections that it hits.
	Toxicity   float32        `json:"toxicity"`
	Attributes map[string]int `json:"attributes"`
}

const (
	requests = "upstream"
	answers  = "downstream"
)

func latency(stream string, ms, jitter int) toxic {
	return toxic{"latency", stream, 1, map[string]int{"latency": ms, "jitter": jitter}}
}

// reset ends a connection as soon as something is sent over it.
func reset(stream string, share float32) toxic {
	return toxic{"reset_peer", stream, share, map[string]int{"timeout": 0}}
}

// cut ends a connection after some bytes, in the middle of what is sent.
func cut(stream string, share float32, bytes int) toxic {
	return toxic{"limit_data", stream, share, map[string]int{"bytes": bytes}}
}

// hole swallows what is sent and keeps the connection, until it is taken away.
func hole(stream string, share float32) toxic {
	return toxic{"timeout", stream, share, map[string]int{"timeout": 0}}
}

func narrow(stream string, kilobytes int) toxic {
	return toxic{"bandwidth", stream, 1, map[string]int{"rate": kilobytes}}
}

func wrong(toxics ...toxic) line { return line{toxics: toxics} }

// briefly is long enough for some calls, longer for the server's timeout to pass.
const (
	briefly = 400 * time.Millisecond
	longer  = 2500 * time.Millisecond
)

// shifting is a line whose toxic hits other connections after a while.
func shifting(again time.Duration, t toxic) line { return line{toxics: []toxic{t}, again: again} }

// faults lists every fault, those of one kind of authorization together. The
// server's timeout for one call to Huawei Cloud is two seconds.
func faults() []fault {
	half := func(kind standin.FaultKind) standin.Fault { return standin.Fault{Kind: kind, Share: 0.5} }
	status := func(code int, share float64) standin.Fault {
		return standin.Fault{Kind: standin.FaultStatus, Status: code, Share: share}
	}
	throttled := half(standin.FaultThrottle)
	throttled.RetryAfter = new(2)
	lost := half(standin.FaultLost)
	lost.Operations = []string{"create_task_v2", "create_task_v3", "run_task", "stop_task", "operate_pipeline"}
	running := standin.Fault{Kind: standin.FaultRunning, Operations: []string{"run_task"}}
	expired := standin.Fault{Kind: standin.FaultExpired, Share: 0.3}
	noTokens := status(503, 0.8)
	noTokens.Operations = []string{"create_token"}

	return []fault{
		{name: "latency", huawei: wrong(latency(answers, 700, 500))},
		{name: "late-answers", huawei: wrong(latency(answers, 2000, 1500))},
		{name: "reset-answers", huawei: shifting(briefly, reset(answers, 0.8))},
		{name: "reset-requests", huawei: shifting(briefly, reset(requests, 0.8))},
		{name: "cut-answers", huawei: shifting(briefly, cut(answers, 0.5, 600))},
		{name: "cut-requests", huawei: shifting(briefly, cut(requests, 0.5, 600))},
		{name: "hole-answers", huawei: shifting(longer, hole(answers, 0.5))},
		{name: "hole-requests", huawei: shifting(longer, hole(requests, 0.5))},
		{name: "bandwidth", huawei: wrong(narrow(answers, 10), narrow(requests, 2))},
		{name: "refused", huawei: line{closed: true}},
		{name: "429", standin: []standin.Fault{half(standin.FaultThrottle)}},
		{name: "429-retry-after", standin: []standin.Fault{throttled}},
		{name: "5xx", standin: []standin.Fault{status(500, 0.2), status(502, 0.2), status(503, 0.2), status(504, 0.2)}},
		{name: "busy", standin: []standin.Fault{half(standin.FaultBusy)}},
		{name: "lost-answers", standin: []standin.Fault{lost}},
		{name: "task-running", standin: []standin.Fault{running}},

		{name: "postgres-latency", database: wrong(latency(answers, 60, 50))},
		{name: "postgres-reset-answers", database: shifting(briefly, reset(answers, 0.5))},
		{name: "postgres-reset-requests", database: shifting(briefly, reset(requests, 0.5))},
		{name: "postgres-cut-answers", database: shifting(briefly, cut(answers, 0.5, 4000))},
		{name: "postgres-hole-answers", database: shifting(longer, hole(answers, 0.5))},
		{name: "postgres-hole-requests", database: shifting(longer, hole(requests, 0.5))},
		{name: "postgres-bandwidth", database: wrong(narrow(answers, 20), narrow(requests, 20))},
		{name: "postgres-refused", database: line{closed: true}},
		{name: "postgres-and-huawei-reset", database: shifting(briefly, reset(answers, 0.3)), huawei: shifting(briefly, reset(answers, 0.3))},

		{name: "expired-tokens", standin: []standin.Fault{expired}, password: true},
		{name: "expired-tokens-no-iam", standin: []standin.Fault{noTokens, expired}, password: true},
	}
}

// on says whether a database's connections can have the fault.
func (f fault) on(database string) bool {
	return database == postgres || !f.database.closed && len(f.database.toxics) == 0
}

// chosen are the faults to run on a database, in order.
func chosen(o options, database string) []fault {
	var list []fault
	for _, f := range faults() {
		if !f.on(database) || len(o.only) > 0 && !slices.Contains(o.only, f.name) {
			continue
		}
		for range o.rounds {
			list = append(list, f)
		}
	}
	return list
}

func names() []string {
	var list []string
	for _, f := range faults() {
		list = append(list, f.name)
	}
	return list
}

func known(name string) bool { return slices.Contains(names(), name) }

// last switches the fault on, for a time, and off again. Connections that swallowed
// something are closed then.
func (f fault) last(ctx context.Context, p *proof, d time.Duration) error {
	lines := map[*proxy]line{p.huawei: f.huawei}
	if p.database != nil {
		lines[p.database] = f.database
	}
	err := p.standin.SetFaults(standin.Faults{Faults: f.standin})
	for proxy, line := range lines {
		err = errors.Join(err, proxy.spoil(line))
	}
	for end := time.Now().Add(d); err == nil && time.Now().Before(end); {
		err = f.shift(ctx, p, lines, time.Until(end))
	}
	err = errors.Join(err, p.standin.SetFaults(standin.Faults{}))
	for proxy := range lines {
		err = errors.Join(err, proxy.mend(context.WithoutCancel(ctx)))
	}
	if err != nil {
		return fmt.Errorf("fault %q: %w", f.name, err)
	}
	return nil
}

// shift waits until other connections are to be hit, and sees to that, or until
// the rest of the fault's time is over.
func (f fault) shift(ctx context.Context, p *proof, lines map[*proxy]line, rest time.Duration) error {
	wait := rest
	for _, line := range lines {
		if line.again > 0 {
			wait = min(wait, line.again)
		}
	}
	if err := p.server.pause(ctx, wait); err != nil || wait == rest {
		return err
	}
	for proxy, line := range lines {
		if line.again == 0 {
			continue
		}
		if err := errors.Join(proxy.mend(ctx), proxy.spoil(line)); err != nil {
			return err
		}
	}
	return nil
}
