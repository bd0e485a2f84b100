package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
	"github.com/gatewright/gatewright/internal/webhook"
	"github.com/gatewright/gatewright/test/harness"
)

// proof is everything that runs on one database.
type proof struct {
	options options
	// kind is sqlite or postgres.
	kind    string
	folder  string
	standin *standin.Server
	// huawei stands between the server and the stand-in, database between it and
	// PostgreSQL; nil on SQLite.
	huawei   *proxy
	database *proxy
	server   *server
	sender   *sender
	person   *person
	// reading opens the database for looking only, past the proxy; store is that.
	reading store.Options
	store   *store.Store
	rounds  []*round
	// stops end what was started.
	stops []func() error
}

// round is one fault and what was sent while it lasted.
type round struct {
	fault        fault
	repositories []*repository
	changes      []*change
	// felt counts the warnings in the server's log while the fault was on.
	felt int
}

// lead is how long the load of a round lasts before its fault, and after it.
const lead = time.Second

// prove runs every fault on one database and prints what came of each.
func prove(ctx context.Context, o options, kind, folder string, w io.Writer) (total tally, err error) {
	p := &proof{options: o, kind: kind, folder: filepath.Join(folder, kind)}
	list := chosen(o, kind)
	if len(list) == 0 {
		return tally{}, errors.New("none of the faults is one of this database's")
	}
	for i, f := range list {
		r := &round{fault: f}
		for n := range o.repositories {
			r.repositories = append(r.repositories, newRepository(1+i*o.repositories+n))
		}
		p.rounds = append(p.rounds, r)
	}
	defer func() {
		slices.Reverse(p.stops)
		for _, stop := range p.stops {
			err = errors.Join(err, stop())
		}
	}()
	if err := p.prepare(); err != nil {
		return tally{}, err
	}
	if err := p.play(ctx); err != nil {
		return tally{}, err
	}
	if err := p.server.stop(); err != nil {
		return tally{}, err
	}
	all, err := p.evidence(context.WithoutCancel(ctx))
	if err != nil {
		return tally{}, err
	}
	for _, r := range p.rounds {
		t := judge(r, all)
		fmt.Fprintf(w, "%s %s\n", kind, t.line(r.fault.name))
		for _, complaint := range t.complaints {
			fmt.Fprintf(w, "%s %s: %s\n", kind, r.fault.name, complaint)
		}
		total.add(t)
	}
	fmt.Fprintf(w, "%s %s: %s\n", kind, total.line("all"), total.verdict())
	return total, nil
}

// prepare starts the stand-in, the proxies and the database, and makes the files of
// the server.
func (p *proof) prepare() error {
	if err := os.MkdirAll(p.folder, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	var repositories []*repository
	for _, r := range p.rounds {
		repositories = append(repositories, r.repositories...)
	}
	secret := newID()
	endpoint, err := p.startStandin(repositories, secret)
	if err != nil {
		return err
	}
	if p.huawei, err = p.startProxy("huawei", endpoint); err != nil {
		return err
	}
	if p.person, err = newPerson("http://"+endpoint, secret, p.releases); err != nil {
		return err
	}
	p.stops = append(p.stops, func() error { p.person.client.CloseIdle(); return nil })
	if err := os.WriteFile(filepath.Join(p.folder, "rules.yaml"), []byte(rulesFile(repositories)), 0o600); err != nil {
		return fmt.Errorf("write rules: %w", err)
	}
	addrs, err := harness.FreeAddrs(2)
	if err != nil {
		return err
	}
	p.server = &server{
		binary: p.options.binary, folder: p.folder, addr: addrs[0], private: addrs[1],
		environment: []string{"PROOF_SECRET=" + secret, "PROOF_ACCESS_KEY=" + accessKey},
	}
	for _, host := range webhook.Hosts() {
		p.server.environment = append(p.server.environment, "PROOF_SECRET_"+strings.ToUpper(string(host))+"="+webhookSecret(secret, host))
	}
	p.stops = append(p.stops, p.server.stop)
	p.sender = newSender(p.server, secret)
	p.stops = append(p.stops, func() error { p.sender.client.CloseIdleConnections(); return nil })
	return p.prepareDatabase()
}

func (p *proof) startStandin(repositories []*repository, secret string) (addr string, err error) {
	opts, err := standinOptions(p.folder, repositories, secret)
	if err != nil {
		return "", err
	}
	if p.standin, err = standin.New(opts); err != nil {
		return "", err
	}
	p.stops = append(p.stops, func() error { p.standin.Close(); return nil })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("start stand-in: %w", err)
	}
	remote := &http.Server{Handler: p.standin.Handler(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- remote.Serve(l) }()
	p.stops = append(p.stops, func() error {
		err := remote.Close()
		<-served
		return err
	})
	return l.Addr().String(), nil
}

func (p *proof) startProxy(name, upstream string) (*proxy, error) {
	made, err := startProxy(name, upstream)
	if err != nil {
		return nil, err
	}
	p.stops = append(p.stops, func() error { made.Stop(); return nil })
	return &made, nil
}

// prepareDatabase names the database to the server: a new file, or a throw-away
// PostgreSQL behind a proxy.
func (p *proof) prepareDatabase() error {
	p.reading.ReadOnly = true
	if p.kind == sqlite {
		p.reading.SQLite = filepath.Join(p.folder, "gatewright.db")
		return nil
	}
	dsn, stop, err := storetest.Start()
	if err != nil {
		return err
	}
	p.stops = append(p.stops, stop)
	direct, err := url.Parse(dsn)
	if err != nil {
		return fmt.Errorf("read connection string: %w", err)
	}
	if p.database, err = p.startProxy("postgres", direct.Host); err != nil {
		return err
	}
	proxied := *direct
	proxied.Host = p.database.Listen
	p.server.environment = append(p.server.environment, "PROOF_DSN="+proxied.String())
	p.reading.Postgres, p.reading.Connections = dsn, 2
	return nil
}

// play runs the rounds and waits until everything has ended. The server is started
// again where a round wants another kind of authorization.
func (p *proof) play(ctx context.Context) error {
	random := rand.New(rand.NewPCG(p.options.seed, 0))
	for i, r := range p.rounds {
		if i == 0 || r.fault.password != p.rounds[i-1].fault.password {
			if err := p.restart(ctx, r.fault.password); err != nil {
				return err
			}
		}
		if err := p.round(ctx, r, random); err != nil {
			return err
		}
	}
	return p.wait(ctx, p.options.settle, func(o standing) bool { return o.none() })
}

func (p *proof) restart(ctx context.Context, password bool) error {
	if err := p.server.stop(); err != nil {
		return err
	}
	err := p.server.start(ctx, serverFile(p.server.addr, p.server.private, "http://"+p.huawei.Listen, p.kind, password))
	if err != nil || p.store != nil {
		return err
	}
	if p.store, err = store.Open(ctx, p.reading); err != nil {
		return err
	}
	p.stops = append(p.stops, p.store.Close)
	return nil
}

// round sends the load of a round with its fault in the middle, and then waits a
// while for what it has caused.
func (p *proof) round(ctx context.Context, r *round, random *rand.Rand) error {
	var stories [][]step
	for _, repository := range r.repositories {
		changes, steps := story(repository, random, p.options.on+2*lead, time.Now())
		r.changes, stories = append(r.changes, changes...), append(stories, steps)
	}
	_, before, err := p.server.warnings(0)
	if err != nil {
		return fmt.Errorf("read log of the server: %w", err)
	}
	told := make(chan error, 1)
	go func() { told <- p.sender.tell(ctx, stories) }()
	if err = p.server.pause(ctx, lead); err == nil {
		err = r.fault.last(ctx, p, p.options.on)
	}
	if err := errors.Join(err, <-told); err != nil {
		return err
	}
	if r.felt, _, err = p.server.warnings(before); err != nil {
		return fmt.Errorf("read log of the server: %w", err)
	}
	return p.wait(ctx, p.options.quiet, func(o standing) bool { return o.without(r.repositories) })
}

// standing is what has no end state.
type standing struct {
	undecided time.Time
	runs      []codecheck.Run
	releases  []release.Release
}

func (o standing) none() bool {
	return o.undecided.IsZero() && len(o.runs) == 0 && len(o.releases) == 0
}

// without says that nothing of these repositories is left.
func (o standing) without(repositories []*repository) bool {
	theirs := func(ev event.Event) bool {
		return slices.ContainsFunc(repositories, func(r *repository) bool { return r.name == ev.Repository.FullName })
	}
	return o.undecided.IsZero() &&
		!slices.ContainsFunc(o.runs, func(r codecheck.Run) bool { return theirs(r.Event) }) &&
		!slices.ContainsFunc(o.releases, func(r release.Release) bool { return theirs(r.Event) })
}

// lookEvery is the time between two looks at the database.
const lookEvery = 250 * time.Millisecond

// wait looks until over, or until the time is up, which is not an error. Meanwhile the
// person does what only a person can.
func (p *proof) wait(ctx context.Context, atMost time.Duration, over func(standing) bool) error {
	for end := time.Now().Add(atMost); time.Now().Before(end); {
		now, err := p.standing(ctx)
		if err != nil {
			return err
		}
		if over(now) {
			return nil
		}
		if err := p.person.attend(ctx, now.releases); err != nil {
			return err
		}
		if err := p.server.pause(ctx, lookEvery); err != nil {
			return err
		}
	}
	return nil
}

func (p *proof) standing(ctx context.Context) (o standing, err error) {
	err = p.store.View(ctx, func(tx *store.Tx) (err error) {
		if o.undecided, err = tx.OldestUndecided(ctx); err != nil {
			return err
		}
		for _, state := range codecheck.States() {
			if !state.Ended() {
				runs, err := tx.Runs(ctx, store.Filter{States: []string{string(state)}, Limit: everything})
				if err != nil {
					return err
				}
				o.runs = append(o.runs, runs...)
			}
		}
		for _, state := range release.States() {
			if !state.Ended() {
				releases, err := tx.Releases(ctx, store.Filter{States: []string{string(state)}, Limit: everything})
				if err != nil {
					return err
				}
				o.releases = append(o.releases, releases...)
			}
		}
		return nil
	})
	return o, err
}

// everything is more records than a proof makes.
const everything = 1_000_000

// releases reads all releases.
func (p *proof) releases(ctx context.Context) (all []release.Release, err error) {
	err = p.store.View(ctx, func(tx *store.Tx) (err error) {
		all, err = tx.Releases(ctx, store.Filter{Limit: everything})
		return err
	})
	return all, err
}

// evidence reads the database and the journal.
func (p *proof) evidence(ctx context.Context) (e evidence, err error) {
	err = p.store.View(ctx, func(tx *store.Tx) (err error) {
		if e.deliveries, err = tx.Deliveries(ctx, store.Filter{Limit: everything}); err != nil {
			return err
		}
		if e.runs, err = tx.Runs(ctx, store.Filter{Limit: everything}); err != nil {
			return err
		}
		e.releases, err = tx.Releases(ctx, store.Filter{Limit: everything})
		return err
	})
	if err != nil {
		return evidence{}, err
	}
	e.calls = p.standin.Calls()
	if len(e.calls) > 0 && e.calls[0].Seq != 1 {
		return evidence{}, fmt.Errorf("the stand-in's journal has forgotten its first %d calls", e.calls[0].Seq-1)
	}
	return e, nil
}
