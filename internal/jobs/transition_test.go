package jobs

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// quietQueue is a queue that is not started, with its log.
func quietQueue(t *testing.T) (*Queue, *observer.ObservedLogs) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{SQLite: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	core, logs := observer.New(zapcore.InfoLevel)
	q, err := New(t.Context(), Options{
		Store: s, Parse: func(event.Delivery) (event.Event, error) { return event.Event{}, nil }, Policy: func() *rules.Policy { return &rules.Policy{} },
		Checker: unreachable{}, Releaser: unreachableReleases{}, Log: zap.New(core), Metrics: NewMetrics(prometheus.NewRegistry()),
	})
	if err != nil {
		t.Fatal(err)
	}
	return q, logs
}

// unreachable stands where no test comes.
type unreachable struct{ Checker }
type unreachableReleases struct{ Releaser }

// TestChangesCountAfterTheCommit saves a run and a release into an end state, once in a
// transaction that is rolled back, once well and once late: each is counted and
// logged once.
func TestChangesCountAfterTheCommit(t *testing.T) {
	q, logs := quietQueue(t)
	ctx := t.Context()
	now := time.Now().UTC()
	run := codecheck.Run{ID: "run", Rule: "rule", State: codecheck.Running, CreatedAt: now, ReceivedAt: now, Deadline: now.Add(time.Hour), Event: event.Event{HeadSHA: "a"}}
	r := release.Release{ID: "release", RunID: "run", State: release.Starting, CreatedAt: now, Deadline: now.Add(time.Hour),
		Intent: &release.Intent{Action: "start"}, Actions: []release.Action{{Name: "start", Result: "unknown"}}}
	if err := q.update(ctx, func(tx *transaction) error {
		_, _, err := tx.AddRun(ctx, run)
		_, err2 := tx.AddRelease(ctx, r)
		return errors.Join(err, err2)
	}); err != nil {
		t.Fatal(err)
	}
	ended, unknown := run, r
	ended.State, ended.FinishedAt = codecheck.Errored, now
	unknown.State, unknown.FinishedAt = release.Unknown, now
	save := func(runVersion, releaseVersion store.Version, after error) error {
		return q.update(ctx, func(tx *transaction) error {
			err := q.saveRun(ctx, tx, run, ended, &runVersion)
			err2 := q.saveRelease(ctx, tx, r, unknown, &releaseVersion)
			return errors.Join(err, err2, after)
		})
	}
	rolledBack := errors.New("rolled back")
	if err := save(0, 0, rolledBack); !errors.Is(err, rolledBack) {
		t.Fatal(err)
	}
	counted := func(want float64) {
		t.Helper()
		for name, got := range map[string]float64{
			"runs":     testutil.ToFloat64(q.opts.Metrics.runs.WithLabelValues("errored")),
			"releases": testutil.ToFloat64(q.opts.Metrics.releases.WithLabelValues("unknown")),
			"actions":  testutil.ToFloat64(q.opts.Metrics.actions.WithLabelValues("start", "unknown")),
			"log":      float64(logs.FilterLevelExact(zapcore.ErrorLevel).Len()) / 2,
		} {
			if got != want {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
		}
	}
	counted(0)
	if err := save(0, 0, nil); err != nil {
		t.Fatal(err)
	}
	counted(1)
	if err := save(0, 0, nil); !errors.Is(err, store.ErrEnded) {
		t.Errorf("a late save: %v", err)
	}
	counted(1)
}

// TestLateExecution: a run that was superseded while its request was under way has an
// execution now. The run that is about to check the same commit takes it over; without
// one it is stopped.
func TestLateExecution(t *testing.T) {
	for name, same := range map[string]bool{"taken over": true, "stopped": false} {
		t.Run(name, func(t *testing.T) {
			q, _ := quietQueue(t)
			ctx := t.Context()
			now := time.Now().UTC()
			run := codecheck.Run{ID: "run", Rule: "rule", State: codecheck.Starting, CreatedAt: now, Deadline: now.Add(time.Hour), Event: event.Event{HeadSHA: "a"}}
			other := run
			other.ID, other.Rule, other.State = "other", "other", codecheck.Queued
			var v store.Versioned[codecheck.Run]
			if err := q.update(ctx, func(tx *transaction) error {
				if _, _, err := tx.AddRun(ctx, run); err != nil {
					return err
				}
				if same {
					if _, _, err := tx.AddRun(ctx, other); err != nil {
						return err
					}
				}
				var err error
				v, err = tx.RunAt(ctx, run.ID)
				superseded := run
				superseded.State, superseded.FinishedAt = codecheck.Superseded, now
				return errors.Join(err, q.saveRun(ctx, tx, run, superseded, new(store.Version)))
			}); err != nil {
				t.Fatal(err)
			}
			next := run
			next.State, next.ExecID, next.Task = codecheck.Running, "execution", codecheck.Task{ID: "task"}
			if wait, err := q.saveRunStep(ctx, v, next, time.Second, nil); wait != 0 || err != nil {
				t.Errorf("wait %v, error %v", wait, err)
			}
			if got := q.run(ctx, t, "run"); got.State != codecheck.Superseded {
				t.Errorf("the run is %s", got.State)
			}
			want := map[string]int{"stop_run": 1}
			if same {
				want = map[string]int{"poll_run": 1}
				if got := q.run(ctx, t, "other"); got.State != codecheck.Running || got.ExecID != "execution" || got.Task.ID != "task" {
					t.Errorf("the other run is %s with execution %q of task %q", got.State, got.ExecID, got.Task.ID)
				}
			}
			for kind, n := range want {
				if got := q.count(ctx, t, kind); got != n {
					t.Errorf("%d jobs %s, want %d", got, kind, n)
				}
			}
		})
	}
}

// TestIntentNamesWhatOthersBegan: between the look at a pipeline and the commit of the
// intent another release may have started it. Its execution is not ours to adopt.
func TestIntentNamesWhatOthersBegan(t *testing.T) {
	q, _ := quietQueue(t)
	ctx := t.Context()
	now := time.Now().UTC()
	run := codecheck.Run{ID: "run", Rule: "rule", State: codecheck.Passed, Verdict: &codecheck.Verdict{Passed: true}, CreatedAt: now, StartedAt: now, Event: event.Event{HeadSHA: "a"}}
	ours := release.Release{ID: "ours", RunID: "run", State: release.Starting, CreatedAt: now, Event: run.Event, Deadline: now.Add(time.Hour),
		Plan: rules.Release{Pipeline: "p", Action: rules.ReleaseStart}}
	others := ours
	others.ID, others.Index, others.State, others.ExecutionID = "others", 1, release.Running, "286541"
	deciding := ours
	deciding.ID, deciding.Index, deciding.Plan.Action, deciding.ExecutionID = "deciding", 2, rules.ReleaseApprove, "286540"
	if err := q.update(ctx, func(tx *transaction) error {
		_, _, err := tx.AddRun(ctx, run)
		errs := []error{err}
		for _, r := range []release.Release{ours, others, deciding} {
			_, err := tx.AddRelease(ctx, r)
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}); err != nil {
		t.Fatal(err)
	}
	b, err := q.loadRelease(ctx, "ours")
	if err != nil {
		t.Fatal(err)
	}
	next := b.release
	next.Intent = &release.Intent{Action: rules.ReleaseStart, LastExecutionID: "286540"}
	if err := q.commitRelease(ctx, &b, next); err != nil {
		t.Fatal(err)
	}
	if b, err = q.loadRelease(ctx, "ours"); err != nil || !slices.Equal(b.release.Intent.Taken, []string{"286541"}) {
		t.Errorf("the intent is %+v, error %v", b.release.Intent, err)
	}
}

func (q *Queue) run(ctx context.Context, t *testing.T, id string) codecheck.Run {
	t.Helper()
	v, err := q.loadRun(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return v.Record
}

func (q *Queue) count(ctx context.Context, t *testing.T, kind string) (n int) {
	t.Helper()
	if err := q.store.SQLite().QueryRowContext(ctx, `SELECT COUNT(*) FROM river_job WHERE kind = $1`, kind).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestWarningsNameTheirRecords: a step that fails says of which record it is, and so can
// the calls that it makes.
func TestWarningsNameTheirRecords(t *testing.T) {
	q, logs := quietQueue(t)
	for _, test := range []struct {
		inCall []zap.Field
		key    string
		want   any
	}{
		{failStep(t, q, pollRunArgs{RunID: "a-run"}), event.LogRun, "a-run"},
		{failStep(t, q, actReleaseArgs{ReleaseID: "a-release"}), event.LogRelease, "a-release"},
		{failStep(t, q, decideArgs{DeliveryIDs: []string{"one"}}), event.LogDelivery, "one"},
		{failStep(t, q, decideArgs{DeliveryIDs: []string{"one", "two"}}), event.LogDeliveries, []any{"one", "two"}},
	} {
		if len(test.inCall) != 1 || test.inCall[0].Key != test.key {
			t.Errorf("the step's context has the fields %+v, want %s", test.inCall, test.key)
		}
		if !slices.ContainsFunc(logs.FilterMessage("job failed, will be retried").All(), func(e observer.LoggedEntry) bool {
			return reflect.DeepEqual(e.ContextMap()[test.key], test.want)
		}) {
			t.Errorf("no warning has %s %v", test.key, test.want)
		}
	}
	if fields := LogFields(t.Context()); fields != nil {
		t.Errorf("a context of no job has the fields %+v", fields)
	}
}

// failStep works on a job that fails, and returns the log fields of its context.
func failStep[A river.JobArgs](t *testing.T, q *Queue, args A) (inCall []zap.Field) {
	t.Helper()
	w := worker[A]{queue: q, work: func(ctx context.Context, _ A) (time.Duration, error) {
		inCall = LogFields(ctx)
		return 0, errors.New("service is down")
	}}
	if err := w.Work(t.Context(), &river.Job[A]{JobRow: &rivertype.JobRow{Kind: args.Kind()}, Args: args}); err == nil {
		t.Error("the step did not fail")
	}
	return inCall
}
