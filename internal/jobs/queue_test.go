package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

func TestMain(m *testing.M) {
	if os.Getenv(replicaDSN) != "" {
		os.Exit(runReplica())
	}
	goleak.VerifyTestMain(tests{m})
}

// tests runs the tests, and removes what they share.
type tests struct{ m *testing.M }

func (t tests) Run() int {
	code := storetest.Main(t.m)
	if err := removeRepository(); err != nil {
		fmt.Fprintln(os.Stderr, "remove repository:", err)
		return 1
	}
	return code
}

// each runs a test once on each database.
func each(t *testing.T, test func(t *testing.T, b bench)) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) { test(t, newBench(t, db, events)) })
}

const projectID = "41b8df4bf53f4d51b8e6c5b32e8d2a07"

const policyText = `
version: 1
defaults:
  check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07, name: demo}}
rules:
  - name: first
    on: [push, comment]
    check: {supersede: false}
    continue: true
  - name: second
    on: [push]
    check: {}
`

// bench is a queue on a real database. The services cannot be reached, so a run
// waits at its start; what is looked at here happens before.
type bench struct {
	*jobs.Queue
	store *store.Store
}

// newBench parses a delivery by calling the function that its id names.
func newBench(t *testing.T, db storetest.Database, parse func(id string) (event.Event, error)) bench {
	t.Helper()
	return newBenchAt(t, db, parse, time.Now)
}

// newBenchAt is newBench with one clock for every part.
func newBenchAt(t *testing.T, db storetest.Database, parse func(id string) (event.Event, error), now func() time.Time) bench {
	t.Helper()
	return newBenchLogging(t, db, parse, now, zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel)))
}

// newBenchLogging is newBenchAt with a log that the test reads.
func newBenchLogging(t *testing.T, db storetest.Database, parse func(id string) (event.Event, error), now func() time.Time, log *zap.Logger) bench {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{SQLite: db.SQLite, Postgres: db.Postgres, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	policy, complaints := rules.Load(rules.Source{Name: "rules.yaml", Data: []byte(policyText)})
	if len(complaints) > 0 {
		t.Fatal(complaints)
	}
	client, err := huaweicloud.New(huaweicloud.Options{Service: "codecheck", Endpoint: "http://127.0.0.1:1", Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	checker, err := codecheck.New(codecheck.Options{Client: client, Memory: s, Findings: s, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	operator, err := release.New(release.Options{Client: client, Now: now, ProjectID: func(context.Context) (string, error) { return "p", nil }})
	if err != nil {
		t.Fatal(err)
	}
	q, err := jobs.New(t.Context(), jobs.Options{
		Store: s, Policy: func() *rules.Policy { return policy }, Checker: checker, Releaser: operator, Now: now,
		Parse:   func(d event.Delivery) (event.Event, error) { return parse(d.HostID) },
		Log:     log,
		Metrics: jobs.NewMetrics(prometheus.NewRegistry()),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := errors.Join(q.Stop(ctx), q.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
	return bench{q, s}
}

// decided accepts a delivery and waits until it has ended.
func (b bench) decided(t *testing.T, id string) store.Delivery {
	t.Helper()
	_, duplicate, err := b.Accept(t.Context(), event.Delivery{ID: id, Connection: "github", Host: event.GitHub, Key: id, HostID: id, ReceivedAt: time.Now()})
	if err != nil || duplicate {
		t.Fatalf("accept %s: duplicate %v, error %v", id, duplicate, err)
	}
	return b.ended(t, id)
}

func (b bench) ended(t *testing.T, id string) (d store.Delivery) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := b.store.View(ctx, func(tx *store.Tx) (err error) { d, err = tx.Delivery(ctx, id); return err })
		if err != nil {
			t.Fatal(err)
		}
		if d.State != event.DeliveryReceived {
			return d
		}
		<-ticker.C
	}
}

func (b bench) runs(t *testing.T, id string) (runs []codecheck.Run) {
	t.Helper()
	err := b.store.View(t.Context(), func(tx *store.Tx) (err error) { runs, err = tx.RunsOf(t.Context(), id); return err })
	if err != nil {
		t.Fatal(err)
	}
	return runs
}

func push(before, sha string) event.Event {
	return event.Event{
		Connection: "github", Kind: event.Push, Action: event.Updated, Branch: "main", Before: before, HeadSHA: sha, NewCode: true,
		Repository: event.Repository{Host: event.GitHub, ID: "1", FullName: "acme/api", HTTPSURL: "https://github.com/acme/api.git"},
	}
}

// events are the deliveries of the tests below, by their ids.
func events(id string) (event.Event, error) {
	switch id {
	case "panics":
		panic("a parser met what it did not expect")
	case "unreadable":
		return event.Event{}, errors.New("read push: ref is a number")
	case "unwanted":
		return event.Ignored("an issue was opened"), nil
	case "comment":
		ev := push("", "")
		ev.Kind, ev.Action, ev.Number = event.Comment, event.Commented, 7
		return ev, nil
	case "b":
		return push("a", "b"), nil
	case "a":
		return push("", "a"), nil
	case "b again":
		ev := push("a", "b")
		ev.Before = "x"
		return ev, nil
	case "c":
		return push("b", "c"), nil
	case "back":
		return push("c", "b"), nil
	case "d", "d again":
		return push("c", "d"), nil
	}
	return event.Event{}, fmt.Errorf("no event %q", id)
}

func TestWhatBecomesOfADelivery(t *testing.T) { each(t, testWhatBecomesOfADelivery) }

func testWhatBecomesOfADelivery(t *testing.T, b bench) {
	for _, test := range []struct {
		id         string
		want       event.DeliveryState
		wantReason string
		wantRuns   int
	}{
		{"panics", event.DeliveryFailed, "please report it with the id of the delivery, panics", 0},
		{"unreadable", event.DeliveryFailed, "ref is a number", 0},
		{"unwanted", event.DeliveryIgnored, "an issue was opened", 0},
		{"comment", event.DeliveryDecided, "names no commit", 0},
		{"b", event.DeliveryDecided, "first", 2},
		{"a", event.DeliveryDecided, "a newer state was announced before this one", 0},
		{"b again", event.DeliveryDecided, "was at commit b already", 0},
	} {
		t.Run(test.id, func(t *testing.T) {
			d := b.decided(t, test.id)
			if d.State != test.want || !strings.Contains(d.Reason, test.wantReason) {
				t.Errorf("ended %s for %q, want %s for %q", d.State, d.Reason, test.want, test.wantReason)
			}
			if runs := b.runs(t, test.id); len(runs) != test.wantRuns {
				t.Errorf("%d runs, want %d", len(runs), test.wantRuns)
			}
		})
	}
}

func TestSupersedeOnlyWhereTheRuleAllowsIt(t *testing.T) {
	each(t, testSupersedeOnlyWhereTheRuleAllowsIt)
}

func testSupersedeOnlyWhereTheRuleAllowsIt(t *testing.T, b bench) {
	b.decided(t, "b")
	b.decided(t, "c")
	var states []string
	for _, run := range b.runs(t, "b") {
		if run.State == codecheck.Superseded {
			states = append(states, run.Rule)
		}
	}
	if !slices.Equal(states, []string{"second"}) {
		t.Errorf("superseded runs of rules %q, want only the second's", states)
	}
	for _, run := range b.runs(t, "c") {
		if run.State.Ended() {
			t.Errorf("the newer run of %s ended %s: %s", run.Rule, run.State, run.Reason)
		}
	}
}

func TestAcceptAgain(t *testing.T) { each(t, testAcceptAgain) }

func testAcceptAgain(t *testing.T, b bench) {
	again := func(id string) bool {
		stored, duplicate, err := b.Accept(t.Context(), event.Delivery{ID: "new id", Connection: "github", Host: event.GitHub, Key: id, HostID: id, ReceivedAt: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		if stored != id {
			t.Errorf("%s is stored as %q", id, stored)
		}
		return duplicate
	}
	b.decided(t, "unwanted")
	if !again("unwanted") {
		t.Error("a delivery that ended well is not known again")
	}
	b.decided(t, "unreadable")
	if again("unreadable") {
		t.Error("a delivery that failed is not taken again")
	}
	if d := b.ended(t, "unreadable"); d.State != event.DeliveryFailed {
		t.Errorf("taken again it ended %s", d.State)
	}
}

func TestNewNeedsItsOptions(t *testing.T) {
	if _, err := jobs.New(t.Context(), jobs.Options{}); err == nil {
		t.Error("a queue without a store was made")
	}
}
