package jobs_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// lost makes records that have no job.
type lost struct {
	ctx      context.Context
	store    *store.Store
	tx       *store.Tx
	services *services
	// at is when they were left, deadline is theirs.
	at, deadline time.Time
	err          error
	// repositories is how many were pushed to.
	repositories *int
}

func (l *lost) check(err error) { l.err = errors.Join(l.err, err) }

// push is the one push of a connection, to the next numbered repository.
func (l *lost) push(connection string) event.Event {
	ev := push("a", "b")
	id := strconv.Itoa(*l.repositories)
	*l.repositories++
	ev.Connection, ev.Repository.ID, ev.Repository.FullName = connection, id, "acme/"+id
	ev.Repository.HTTPSURL = "https://github.com/acme/" + id + ".git"
	return ev
}

// number is that of an event's repository.
func number(ev event.Event) int {
	n, _ := strconv.Atoi(ev.Repository.ID)
	return n
}

// execute gives a run an execution.
func (l *lost) execute(run *codecheck.Run) {
	run.Task, run.StartedAt = codecheck.Task{ID: taskID(number(run.Event))}, l.at
	var err error
	run.ExecID, err = l.services.scan(l.ctx, run.Task.ID)
	l.check(err)
}

func (l *lost) addDelivery(d event.Delivery, state event.DeliveryState) {
	d.Host, d.Key = event.GitHub, d.ID
	packed, err := l.store.Pack(d)
	l.check(err)
	_, err = l.tx.AddDeliveries(l.ctx, []store.Packed{packed})
	l.check(err)
	if state != event.DeliveryReceived {
		l.check(l.tx.EndDelivery(l.ctx, d.ID, state, "", store.Said{}, nil))
	}
}

func (l *lost) newRun(id string, ev event.Event) codecheck.Run {
	return codecheck.Run{ID: id, DeliveryID: "delivery of " + id, Rule: "rule", Event: ev, CreatedAt: l.at, Deadline: l.deadline,
		Check: rules.Check{ProjectID: projectID, ProjectName: "demo", Scan: rules.ScanFull, Timeout: time.Hour}}
}

// addRun adds a run like another one, of another rule.
func (l *lost) addRun(state codecheck.State, like *codecheck.Run, rule string) codecheck.Run {
	run := *like
	run.ID, run.Rule = run.ID+" "+rule, rule
	l.add(&run, state)
	return run
}

func (l *lost) add(run *codecheck.Run, state codecheck.State) {
	run.State = state
	if state == codecheck.Passed || state == codecheck.Failed {
		run.Verdict, run.StartedAt = &codecheck.Verdict{Passed: state == codecheck.Passed}, l.at
	}
	_, added, err := l.tx.AddRun(l.ctx, *run)
	if err == nil && !added {
		err = fmt.Errorf("run %q was there", run.ID)
	}
	l.check(err)
}

func (l *lost) newRelease(id string) release.Release { return l.newReleaseFor(id, l.push(id)) }

// newReleaseFor is newRelease for the commit of an event.
func (l *lost) newReleaseFor(id string, ev event.Event) release.Release {
	run := l.newRun(id, ev)
	return release.Release{ID: id, RunID: l.addRun(codecheck.Passed, &run, "passed").ID, Event: run.Event, CreatedAt: l.at, StartedAt: l.at,
		Deadline: l.deadline, Plan: rules.Release{Pipeline: pipelineID(number(run.Event)), Action: rules.ReleaseStart, Timeout: l.deadline.Sub(l.at)}}
}

// addRelease adds the release of the same run that should have started an execution.
func (l *lost) addRelease(state release.State, like *release.Release, execution string) release.Release {
	r := *like
	r.ID, r.Index, r.State, r.ExecutionID = r.ID+" starts", 1, state, execution
	r.Plan.Action, r.Plan.Task = rules.ReleaseStart, ""
	_, err := l.tx.AddRelease(l.ctx, r)
	l.check(err)
	return r
}

// world is a database and the services; a queue works on them once it was started.
type world struct {
	services *services
	// repositories is how many of the numbered repositories were used.
	repositories int
	store        *store.Store
	clock        *jumpingClock
	// policy is the text of the rules; empty means policyText.
	policy string
	// parse reads a delivery by its host id; nil means events.
	parse func(id string) (event.Event, error)
	// parseWhole reads all of a delivery; nil means parse.
	parseWhole func(event.Delivery) (event.Event, error)
}

func newWorld(t *testing.T, db storetest.Database) *world {
	t.Helper()
	w := &world{clock: &jumpingClock{}}
	w.services = newServices(t)
	var err error
	if w.store, err = store.Open(t.Context(), store.Options{SQLite: db.SQLite, Postgres: db.Postgres, Now: w.clock.now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// age is how old the records are that leave makes.
const age = 10 * time.Minute

// leave makes records some time ago.
func (w *world) leave(t *testing.T, make func(*lost)) {
	t.Helper()
	w.clock.jump(-age)
	defer w.clock.jump(0)
	err := w.store.Update(t.Context(), func(tx *store.Tx) error {
		l := &lost{ctx: t.Context(), store: w.store, tx: tx, services: w.services, repositories: &w.repositories, at: w.clock.now().UTC(), deadline: w.clock.now().UTC().Add(time.Hour)}
		make(l)
		return l.err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// queueOptions are those of a queue on a store whose calls go to the services at url,
// with the client that makes them.
func queueOptions(s *store.Store, url, policyText string, now func() time.Time) (opts jobs.Options, client *huaweicloud.Client, err error) {
	client, err = newClient(url, time.Now)
	if err != nil {
		return opts, nil, err
	}
	poll := codecheck.Interval{Min: 5 * time.Millisecond, Max: 20 * time.Millisecond}
	checker, err := codecheck.New(codecheck.Options{Client: client, Memory: s, Findings: s, Poll: poll, Now: now})
	if err != nil {
		return opts, nil, err
	}
	operator, err := release.New(release.Options{Client: client, Pipeline: client, Poll: release.Poll(poll), Now: now, ProjectID: func(context.Context) (string, error) { return regionProject, nil }})
	if err != nil {
		return opts, nil, err
	}
	policy, complaints := rules.Load(rules.Source{Name: "rules.yaml", Data: []byte(policyText)})
	if len(complaints) > 0 {
		return opts, nil, complaints
	}
	return jobs.Options{
		Store: s, Policy: func() *rules.Policy { return policy }, Checker: checker, Releaser: operator,
		Parse: func(d event.Delivery) (event.Event, error) { return events(d.HostID) },
		Now:   now, Log: zap.NewNop(), Metrics: jobs.NewMetrics(prometheus.NewRegistry()),
	}, client, nil
}

// newReplica is a queue on a PostgreSQL database.
func newReplica(ctx context.Context, dsn, url string) (*jobs.Queue, error) {
	s, err := store.Open(ctx, store.Options{Postgres: dsn})
	if err != nil {
		return nil, err
	}
	opts, _, err := queueOptions(s, url, policyText, time.Now)
	if err != nil {
		return nil, err
	}
	return jobs.New(ctx, opts)
}

// start lets a queue work until stop is called or the test ends. Of extra only the
// times count, how commits are confirmed, and how many runs there may be at once.
func (w *world) start(t *testing.T, extra jobs.Options) (q *jobs.Queue, stop func()) {
	t.Helper()
	opts, client, err := queueOptions(w.store, w.services.url, cmp.Or(w.policy, policyText), w.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	if w.parse != nil {
		opts.Parse = func(d event.Delivery) (event.Event, error) { return w.parse(d.HostID) }
	}
	if w.parseWhole != nil {
		opts.Parse = w.parseWhole
	}
	opts.Recovery = extra.Recovery
	opts.ReconcileEvery, opts.ReconcileAfter = extra.ReconcileEvery, extra.ReconcileAfter
	opts.Forge, opts.Confirm, opts.MaxRuns = extra.Forge, extra.Confirm, extra.MaxRuns
	opts.EvidenceKey, opts.Targets, opts.Notifier, opts.MissingAfter, opts.RefusedTokens = extra.EvidenceKey, extra.Targets, extra.Notifier, extra.MissingAfter, extra.RefusedTokens
	q, err = jobs.New(t.Context(), opts)
	if err == nil {
		err = q.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := errors.Join(q.Stop(ctx), q.Close()); err != nil {
			t.Error(err)
		}
		client.CloseIdle()
	})
	t.Cleanup(stop)
	return q, stop
}

// count counts jobs of the queue.
func (w *world) count(t *testing.T, which string) (n int) {
	t.Helper()
	var err error
	query := `SELECT COUNT(*) FROM river_job WHERE ` + which
	if db := w.store.SQLite(); db != nil {
		err = db.QueryRowContext(t.Context(), query).Scan(&n)
	} else {
		err = w.store.Postgres().QueryRow(t.Context(), query).Scan(&n)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// execute changes jobs of the queue.
func (w *world) execute(t *testing.T, statement string) {
	t.Helper()
	var err error
	if db := w.store.SQLite(); db != nil {
		_, err = db.ExecContext(t.Context(), statement)
	} else {
		_, err = w.store.Postgres().Exec(t.Context(), statement)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// record is what is seen of a delivery, a run or a release.
type record struct {
	state, reason string
	ended         bool
	// saved changes with every save.
	saved    int64
	pipeline string
}

// record reads what has an id.
func (w *world) record(t *testing.T, id string) (found record) {
	t.Helper()
	ctx := t.Context()
	err := w.store.View(ctx, func(tx *store.Tx) error {
		release, err := tx.ReleaseAt(ctx, id)
		r := release.Record
		if found = (record{string(r.State), r.Reason, r.State.Ended(), int64(release.Version), r.Plan.Pipeline}); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		run, err := tx.RunAt(ctx, id)
		if found = (record{string(run.Record.State), run.Record.Reason, run.Record.State.Ended(), int64(run.Version), ""}); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		d, err := tx.Delivery(ctx, id)
		found = record{string(d.State), d.Reason, d.State != event.DeliveryReceived, d.UpdatedAt.UnixMicro(), ""}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// until waits until a record is as it should be.
func (w *world) until(t *testing.T, id string, holds func(record) bool) record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		now := w.record(t, id)
		if holds(now) {
			return now
		}
		select {
		case <-ctx.Done():
			t.Errorf("%s is %s for ever: %s", id, now.state, now.reason)
			return now
		case <-ticker.C:
		}
	}
}
