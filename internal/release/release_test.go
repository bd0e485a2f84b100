package release

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/standin"
)

func TestStatus(t *testing.T) {
	type row struct {
		name             string
		ended, succeeded bool
	}
	want := map[Status]row{
		-1: {"unreadable status", false, false},
		0:  {"no status", false, false},
		1:  {"initialization successful (1)", false, false},
		2:  {"release successful (2)", true, true},
		3:  {"release failed (3)", true, false},
		4:  {"releasing (4)", false, false},
		5:  {"to be approved (5)", false, false},
		6:  {"unknown (6)", false, false},
		7:  {"paused (7)", false, false},
		8:  {"unknown (8)", false, false},
		9:  {"skipped (9)", true, false},
		10: {"rolling back (10)", false, false},
		11: {"rollback successful (11)", true, false},
		12: {"rollback failed (12)", true, false},
		13: {"stopping (13)", false, false},
		14: {"restarting (14)", false, false},
		15: {"unknown (15)", false, false},
	}
	for s, w := range want {
		if got := (row{s.String(), s.Ended(), s.Succeeded()}); got != w {
			t.Errorf("status %d is %v, want %v", int(s), got, w)
		}
	}
	if len(Statuses()) != 12 {
		t.Errorf("%d statuses, want the 12 documented ones", len(Statuses()))
	}
	for _, s := range Statuses() {
		if strings.HasPrefix(s.String(), "unknown") {
			t.Errorf("status %d has no name", int(s))
		}
	}
}

// TestJustSent holds when an answer is left to the step that sends the request.
func TestJustSent(t *testing.T) {
	op := func(ago time.Duration, answered bool) Release {
		return Release{State: Running, Operation: &Operation{Action: rules.ReleaseRetry, SentAt: epoch().Add(-ago), Answered: answered}}
	}
	lost := op(time.Second, false)
	lost.Polls = 1
	for name, c := range map[string]struct {
		r    Release
		want bool
	}{
		"no operation": {Release{State: Running}, false},
		"ordered":      {Release{State: Running, Operation: &Operation{Action: rules.ReleaseRetry}}, false},
		"being sent":   {op(time.Second, false), true},
		"long ago":     {op(time.Minute, false), false},
		"in future":    {op(-time.Hour, false), false},
		"answered":     {op(time.Second, true), false},
		"lost":         {lost, false},
		"a start":      {Release{State: Starting, Intent: &Intent{SentAt: epoch()}}, true},
		"an old start": {Release{State: Starting, Intent: &Intent{SentAt: epoch().Add(-time.Minute)}}, false},
		"a lost start": {Release{State: Starting, Intent: &Intent{SentAt: epoch()}, Polls: 1}, false},
	} {
		if got := c.r.JustSent(epoch(), 40*time.Second); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}

func TestStates(t *testing.T) {
	for _, state := range ActiveStates() {
		if state.Ended() {
			t.Errorf("%s is active and has ended", state)
		}
	}
	for _, state := range EndStates() {
		if !state.Ended() {
			t.Errorf("%s is an end state and has not ended", state)
		}
	}
	if diff := cmp.Diff(append(ActiveStates(), EndStates()...), States()); diff != "" {
		t.Errorf("the states to show are not all but Held:\n%s", diff)
	}
}

// seconds is a task that takes this long.
func seconds(name string, n float64) standin.PipelineTask {
	return standin.PipelineTask{Name: name, Seconds: &n}
}

// TestStartCheckpointEnd walks a start, a checkpoint that another release
// approves, and the end.
func TestStartCheckpointEnd(t *testing.T) {
	tasks := []standin.PipelineTask{seconds("build", 15), {Name: "gate", Kind: "approval"}, seconds("deploy", 15)}
	inWorld(t, standin.ReleaseSettings{}, tasks, func(t *testing.T, w *world) {
		starter := w.keeper(newRelease(rules.ReleaseStart, time.Now()))
		starter.step(noFault)
		approval := newRelease(rules.ReleaseApprove, time.Now())
		approval.ID, approval.After, approval.ExecutionID = "rel-2", "rel-1", starter.load().ExecutionID
		approver := w.keeper(approval)

		want := func(k *keeper, state State, reason string) {
			t.Helper()
			if r := k.load(); r.State != state || r.Reason != reason {
				t.Fatalf("%s is %s (%s), want %s (%s)", r.ID, r.State, r.Reason, state, reason)
			}
		}
		want(starter, Running, "execution 286540 started")
		starter.step(noFault)
		want(starter, Running, "execution 286540: releasing (4)")
		approver.step(noFault)
		want(approver, Starting, `waits for checkpoint "gate" (initialization successful (1)) of execution 286540 (releasing (4))`)
		time.Sleep(15 * time.Second)
		starter.step(noFault)
		want(starter, AwaitingApproval, `execution 286540 waits for approval at "gate"`)
		approver.step(noFault)
		want(approver, Succeeded, `checkpoint "gate" approved in execution 286540`)
		starter.step(noFault)
		want(starter, Running, "execution 286540: releasing (4)")
		time.Sleep(15 * time.Second)
		starter.step(noFault)
		want(starter, Succeeded, "execution 286540: release successful (2)")
		if diff := cmp.Diff([]string{"start", "approval agree"}, w.acted()); diff != "" {
			t.Error(diff)
		}
		if r := starter.load(); r.StartedAt.IsZero() || r.FinishedAt.IsZero() || len(r.Waiting) != 0 {
			t.Errorf("times or waiting checkpoints are wrong at the end: %+v", r)
		}
	})
}

// TestSlowEffect holds that an execution which shows late is adopted, and not
// waited for as if it were somebody else's.
func TestSlowEffect(t *testing.T) {
	inWorld(t, standin.ReleaseSettings{RegisterDelay: 20 * time.Second}, instant(), func(t *testing.T, w *world) {
		w.startedBefore()
		k := w.keeper(newRelease(rules.ReleaseStart, time.Now()))
		k.step(lostAnswer)
		steps := 0
		for ; k.load().State == Starting; steps++ {
			k.step(noFault)
		}
		if r := k.load(); r.State != Running || r.ExecutionID != "286541" || r.Actions[0].Result != ResultAdopted || steps < 2 {
			t.Errorf("after %d steps: %s, execution %s, actions %+v", steps, r.State, r.ExecutionID, r.Actions)
		}
	})
}

// TestTwoExecutionsAppear holds that neither of two is taken for ours.
func TestTwoExecutionsAppear(t *testing.T) {
	inWorld(t, standin.ReleaseSettings{}, instant(), func(t *testing.T, w *world) {
		k := w.keeper(newRelease(rules.ReleaseStart, time.Now()))
		k.step(lostAnswer)
		w.setFaults()
		w.operate("start")
		k.step(noFault)
		if r := k.load(); r.State != Unknown || r.ExecutionID != "" || !strings.Contains(r.Reason, "2 executions appeared") {
			t.Errorf("%s, execution %q: %s", r.State, r.ExecutionID, r.Reason)
		}
	})
}

// prepared returns a release with a fresh intent to start the world's pipeline.
func (w *world) prepared() Release {
	w.t.Helper()
	r, send, _, err := w.op.Prepare(w.t.Context(), newRelease(rules.ReleaseStart, time.Now()))
	if !send || err != nil || r.Intent == nil {
		w.t.Fatalf("not prepared: %s (%s), %v", r.State, r.Reason, err)
	}
	return r
}

// TestNeverSent holds that a start which never left the machine loses its intent
// and is tried again, whatever kept it.
func TestNeverSent(t *testing.T) {
	for name, prevent := range map[string]func(w *world) context.Context{
		"service does not listen": func(w *world) context.Context {
			w.network.Close()
			w.client.CloseIdle()
			return w.t.Context()
		},
		"step has ended": func(w *world) context.Context {
			ctx, cancel := context.WithCancel(w.t.Context())
			cancel()
			return ctx
		},
		"step has ended before the project is known": func(w *world) context.Context {
			ctx, cancel := context.WithCancel(w.t.Context())
			cancel()
			w.op.options.ProjectID = func(ctx context.Context) (string, error) { return "", ctx.Err() }
			return ctx
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, standin.ReleaseSettings{}, instant(), func(t *testing.T, w *world) {
				r := w.prepared()
				got, wait, err := w.op.Send(prevent(w), r)
				if err != nil || got.State != Starting || got.Intent != nil || len(got.Actions) != 0 || wait <= 0 {
					t.Errorf("%s (%s), intent %v, actions %v, wait %s, %v", got.State, got.Reason, got.Intent, got.Actions, wait, err)
				}
				if a, known := ActionResult(r, got); known {
					t.Errorf("action %+v has a result", a)
				}
			})
		})
	}
}

// TestSendOnlyFreshIntents holds that Send refuses a release without an intent, and
// one whose intent it or Prepare has dealt with.
func TestSendOnlyFreshIntents(t *testing.T) {
	inWorld(t, standin.ReleaseSettings{RegisterDelay: time.Minute}, instant(), func(t *testing.T, w *world) {
		fresh := newRelease(rules.ReleaseStart, time.Now())
		w.setFaults(w.faults(lostAnswer)...)
		lost, _, err := w.op.Send(t.Context(), w.prepared())
		if err != nil || lost.Intent == nil {
			t.Fatalf("%s (%s), %v", lost.State, lost.Reason, err)
		}
		searched, send, _, err := w.op.Prepare(t.Context(), lost)
		if err != nil || send || searched.Intent == nil {
			t.Fatalf("%s (%s), send %t, %v", searched.State, searched.Reason, send, err)
		}
		for name, r := range map[string]Release{"no intent": fresh, "sent": lost, "searched for": searched} {
			if got, wait, err := w.op.Send(t.Context(), r); err == nil || wait != 0 || cmp.Diff(r, got) != "" {
				t.Errorf("%s: %s (%s), wait %s, %v", name, got.State, got.Reason, wait, err)
			}
		}
		if acted := w.acted(); len(acted) != 1 {
			t.Errorf("acted %q", acted)
		}
	})
}

// TestReadAfterRefusalFails holds that a refused start keeps neither its intent nor
// the caller waiting for an error when the pipeline cannot be read then.
func TestReadAfterRefusalFails(t *testing.T) {
	inWorld(t, standin.ReleaseSettings{}, instant(), func(t *testing.T, w *world) {
		r := w.prepared()
		w.setFaults(append(w.faults(refusedRequest), w.faults(readsFail)...)...)
		got, wait, err := w.op.Send(t.Context(), r)
		if err != nil || got.State != Starting || got.Intent != nil || wait <= 0 || !strings.Contains(got.Reason, "list pipeline records") {
			t.Errorf("%s (%s), intent %v, wait %s, %v", got.State, got.Reason, got.Intent, wait, err)
		}
		if a, known := ActionResult(r, got); !known || a.Result != ResultRefused {
			t.Errorf("action %+v, known %t", a, known)
		}
	})
}

// TestOthersAreLeftAlone holds that only a starting release is prepared, and only a
// running one followed; no request is made for the rest.
func TestOthersAreLeftAlone(t *testing.T) {
	o := newOperator(t, "http://127.0.0.1:1", newClock())
	for _, state := range append(ActiveStates(), EndStates()...) {
		r := newRelease(rules.ReleaseStart, epoch())
		r.State = state
		if state != Starting {
			got, send, wait, err := o.Prepare(t.Context(), r)
			if got.State != state || send || wait != 0 || (err != nil) != (state == Held) {
				t.Errorf("preparing a %s release: %s, %t, %s, %v", state, got.State, send, wait, err)
			}
		}
		if !state.Followed() {
			if got, send, wait, err := o.Follow(t.Context(), r); got.State != state || send || wait != 0 || err != nil {
				t.Errorf("following a %s release: %s, %s, %v", state, got.State, wait, err)
			}
		}
	}
}

func TestWait(t *testing.T) {
	c := newClock()
	o := newOperator(t, "http://127.0.0.1:1", c)
	r := newRelease(rules.ReleaseStart, epoch())
	last := time.Duration(0)
	for range 10 {
		var wait time.Duration
		r, wait, _ = o.wait(r, "waits")
		if wait < o.options.Poll.Min*9/10 || wait > o.options.Poll.Max || wait < last*9/10 {
			t.Errorf("wait %d is %s after %s", r.Polls, wait, last)
		}
		last = wait
	}
	if last < o.options.Poll.Max*9/10 {
		t.Errorf("the wait stays at %s", last)
	}
	r.Deadline = c.Now().Add(time.Second)
	if _, wait, _ := o.wait(r, "waits"); wait != time.Second {
		t.Errorf("wait %s goes past the deadline", wait)
	}
}

func TestNewRefuses(t *testing.T) {
	client, err := huaweicloud.New(huaweicloud.Options{Service: "servicestage", Endpoint: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Options{
		"client":     {ProjectID: fixedProject},
		"project id": {Client: client},
		"poll max":   {Client: client, ProjectID: fixedProject, Poll: Poll{Min: time.Minute, Max: time.Second}},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without a right %s: %v", name, err)
		}
	}
}

// TestProjectID holds that a project that cannot be told fails a release for
// which nothing was sent, and is looked for again when something was.
func TestProjectID(t *testing.T) {
	c := newClock()
	o := newOperator(t, "http://127.0.0.1:1", c)
	o.options.ProjectID = func(context.Context) (string, error) { return "", errors.New("token names no project") }
	const reason = "the pipeline cannot be read: get project id: token names no project"
	r := newRelease(rules.ReleaseStart, epoch())
	if got, _, _, err := o.Prepare(t.Context(), r); err != nil || got.State != Failed || got.Reason != reason {
		t.Errorf("%s (%s), %v", got.State, got.Reason, err)
	}
	r.Intent = &Intent{SentAt: c.Now(), Action: rules.ReleaseStart}
	if got, _, err := o.Send(t.Context(), r); err != nil || got.State != Failed || got.Intent != nil || got.Reason != reason {
		t.Errorf("%s (%s), %v", got.State, got.Reason, err)
	}
	if got, send, wait, err := o.Prepare(t.Context(), r); err != nil || send || got.State != Starting || wait == 0 {
		t.Errorf("with an intent: %s (%s), %s, %v", got.State, got.Reason, wait, err)
	}
	c.Move(2 * time.Hour)
	got, send, _, err := o.Prepare(t.Context(), r)
	if err != nil || send || got.State != Unknown || len(got.Actions) != 1 {
		t.Errorf("after the deadline: %s (%s), %v", got.State, got.Reason, err)
	}
	if a, known := ActionResult(r, got); !known || a.Result != ResultUnknown {
		t.Errorf("action %+v, known %t", a, known)
	}
}

// TestCancelled holds that a caller who goes away ends nothing.
func TestCancelled(t *testing.T) {
	inWorld(t, standin.ReleaseSettings{}, instant(), func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := newRelease(rules.ReleaseStart, time.Now().Add(-2*time.Hour))
		r.State, r.ExecutionID = Running, "286541"
		got, _, _, err := w.op.Follow(ctx, r)
		if !errors.Is(err, context.Canceled) || got.State != Running {
			t.Errorf("%s, %v", got.State, err)
		}
	})
}

// TestDeadlineWithoutAnyAnswer holds that a release past its deadline ends though
// the service takes all the time of every step.
func TestDeadlineWithoutAnyAnswer(t *testing.T) {
	inWorld(t, standin.ReleaseSettings{}, instant(), func(t *testing.T, w *world) {
		w.setFaults(standin.Fault{Kind: standin.FaultLatency, DelayMS: 3_600_000})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		r := newRelease(rules.ReleaseStart, time.Now().Add(-2*time.Hour))
		r.State, r.ExecutionID = Running, "286541"
		if got, _, _, err := w.op.Follow(ctx, r); err != nil || got.State != Failed {
			t.Errorf("%s, %v", got.State, err)
		}
	})
}

func ExampleStatus() {
	fmt.Println(StatusToBeApproved, StatusToBeApproved.Ended())
	fmt.Println(Status(6), Status(6).Ended(), Status(6).Succeeded())
	// Output:
	// to be approved (5) false
	// unknown (6) false false
}
