package release

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/rules"
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

// TestStartCheckpointEnd walks a start, a checkpoint that another release
// approves, and the end.
func TestStartCheckpointEnd(t *testing.T) {
	c := newClock()
	server, url := newPipelineServer(t, c)
	op := newOperator(t, url, c)
	starter := &keeper{t: t, clock: c, server: server, op: op}
	starter.keep(newRelease(rules.ReleaseStart))
	starter.step(noFault)
	approval := newRelease(rules.ReleaseApprove)
	approval.ID, approval.After, approval.ExecutionID = "rel-2", "rel-1", starter.load().ExecutionID
	approver := &keeper{t: t, clock: c, server: server, op: op}
	approver.keep(approval)

	want := func(k *keeper, state State, reason string) {
		t.Helper()
		if r := k.load(); r.State != state || r.Reason != reason {
			t.Fatalf("%s is %s (%s), want %s (%s)", r.ID, r.State, r.Reason, state, reason)
		}
	}
	want(starter, Running, "execution 286541 started")
	starter.step(noFault)
	want(starter, Running, "execution 286541: releasing (4)")
	approver.step(noFault)
	want(approver, Starting, `waits for checkpoint "gate" (initialization successful (1)) of execution 286541 (releasing (4))`)
	server.become(StatusToBeApproved, StatusToBeApproved)
	starter.step(noFault)
	want(starter, AwaitingApproval, `execution 286541 waits for approval at "gate"`)
	approver.step(noFault)
	want(approver, Succeeded, `checkpoint "gate" approved in execution 286541`)
	starter.step(noFault)
	want(starter, Running, "execution 286541: releasing (4)")
	server.become(StatusSucceeded, StatusSucceeded)
	starter.step(noFault)
	want(starter, Succeeded, "execution 286541: release successful (2)")
	if starts, decisions := server.done(); starts != 1 || len(decisions) != 1 {
		t.Errorf("%d starts, decisions %q", starts, decisions)
	}
	if r := starter.load(); r.StartedAt.IsZero() || r.FinishedAt.IsZero() || len(r.Waiting) != 0 {
		t.Errorf("times or waiting checkpoints are wrong at the end: %+v", r)
	}
}

// TestSlowEffect holds that an execution which shows late is adopted, and not
// waited for as if it were somebody else's.
func TestSlowEffect(t *testing.T) {
	c := newClock()
	server, url := newPipelineServer(t, c)
	k := &keeper{t: t, clock: c, server: server, op: newOperator(t, url, c)}
	k.keep(newRelease(rules.ReleaseStart))
	k.step(slowEffect)
	looks := 0
	for ; k.load().State == Starting; looks++ {
		k.step(noFault)
	}
	if r := k.load(); r.State != Running || r.ExecutionID != "286541" || r.Actions[0].Outcome != outcomeAdopted || looks < 2 {
		t.Errorf("after %d looks: %s, execution %s, actions %+v", looks, r.State, r.ExecutionID, r.Actions)
	}
}

// TestTwoExecutionsAppear holds that neither of two is taken for ours.
func TestTwoExecutionsAppear(t *testing.T) {
	c := newClock()
	server, url := newPipelineServer(t, c)
	server.instant = true
	k := &keeper{t: t, clock: c, server: server, op: newOperator(t, url, c)}
	k.keep(newRelease(rules.ReleaseStart))
	k.step(lostAnswer)
	server.begin(StatusReleasing)
	k.step(noFault)
	if r := k.load(); r.State != Unknown || r.ExecutionID != "" || !strings.Contains(r.Reason, "2 executions appeared") {
		t.Errorf("%s, execution %q: %s", r.State, r.ExecutionID, r.Reason)
	}
}

// TestStartIsNotDialled holds that a start which never left the machine is taken
// back: the service closes its door between the look and the start.
func TestStartIsNotDialled(t *testing.T) {
	c := newClock()
	p := &pipelineServer{clock: c, executions: []execution{{id: 286540, at: epoch(), status: StatusSucceeded}}}
	var server *httptest.Server
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v3/"+projectID+"/pipeline/pipelines/"+pipelineID+"/records", p.look(p.records))
	mux.HandleFunc("GET /v3/"+projectID+"/pipeline/pipelines", func(w http.ResponseWriter, req *http.Request) {
		server.Listener.Close()
		w.Header().Set("Connection", "close")
		p.look(p.list)(w, req)
	})
	server = httptest.NewServer(mux)
	defer server.Close()
	var saved []Release
	r, _, err := newOperator(t, server.URL, c).Act(t.Context(), newRelease(rules.ReleaseStart), func(_ context.Context, r Release) error {
		saved = append(saved, r)
		return nil
	})
	if err == nil || !retryable(err) || r.State != Starting || r.Intent != nil || len(r.Actions) != 0 {
		t.Errorf("err %v, %s, intent %v, actions %v", err, r.State, r.Intent, r.Actions)
	}
	if len(saved) != 2 || saved[0].Intent == nil || len(saved[0].Actions) != 1 || saved[1].Intent != nil {
		t.Errorf("saved %+v", saved)
	}
}

// TestOthersAreLeftAlone holds that only a starting release is acted upon, and
// only a running one followed; no request is made for the rest.
func TestOthersAreLeftAlone(t *testing.T) {
	o := newOperator(t, "http://127.0.0.1:1", newClock())
	never := func(context.Context, Release) error { t.Error("saved"); return nil }
	for _, state := range States() {
		r := newRelease(rules.ReleaseStart)
		r.State = state
		if state != Starting {
			got, wait, err := o.Act(t.Context(), r, never)
			if got.State != state || wait != 0 || (err != nil) != (state == Held) {
				t.Errorf("acting on a %s release: %s, %s, %v", state, got.State, wait, err)
			}
		}
		if state != Running && state != AwaitingApproval {
			if got, wait, err := o.Follow(t.Context(), r); got.State != state || wait != 0 || err != nil {
				t.Errorf("following a %s release: %s, %s, %v", state, got.State, wait, err)
			}
		}
	}
}

func TestWait(t *testing.T) {
	c := newClock()
	o := newOperator(t, "http://127.0.0.1:1", c)
	r := newRelease(rules.ReleaseStart)
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

func TestMetrics(t *testing.T) {
	c := newClock()
	server, url := newPipelineServer(t, c)
	op := newOperator(t, url, c)
	registry := prometheus.NewPedanticRegistry()
	op.options.Metrics = NewMetrics(registry)
	if n := len(counters(t, registry)); n != 5+12 {
		t.Errorf("%d series before anything happened, want 17", n)
	}
	server.instant = true
	k := &keeper{t: t, clock: c, server: server, op: op}
	k.keep(newRelease(rules.ReleaseStart))
	k.run([]fault{lostAnswer})
	got := counters(t, registry)
	for _, series := range []string{
		"gatewright_releases_finished_total succeeded",
		"gatewright_release_actions_total start adopted",
	} {
		if got[series] != 1 {
			t.Errorf("%s is %v, want 1", series, got[series])
		}
	}
}

// counters are the values of all counters by name and label values.
func counters(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name += " " + label.GetValue()
			}
			values[name] = metric.GetCounter().GetValue()
		}
	}
	return values
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
	never := func(context.Context, Release) error { t.Error("saved"); return nil }
	r := newRelease(rules.ReleaseStart)
	got, _, err := o.Act(t.Context(), r, never)
	if want := "the pipeline cannot be read: get project id: token names no project"; err != nil || got.State != Failed || got.Reason != want {
		t.Errorf("%s (%s), %v", got.State, got.Reason, err)
	}
	r.Intent = &Intent{SentAt: c.Now(), Action: "start"}
	if got, wait, err := o.Act(t.Context(), r, never); err != nil || got.State != Starting || wait == 0 {
		t.Errorf("with an intent: %s (%s), %s, %v", got.State, got.Reason, wait, err)
	}
	c.Move(2 * time.Hour)
	if got, _, err := o.Act(t.Context(), r, never); err != nil || got.State != Unknown || len(got.Actions) != 1 {
		t.Errorf("after the deadline: %s (%s), %v", got.State, got.Reason, err)
	}
}

// TestCancelled holds that a caller who goes away ends nothing.
func TestCancelled(t *testing.T) {
	c := newClock()
	_, url := newPipelineServer(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := newRelease(rules.ReleaseStart)
	c.Move(2 * time.Hour)
	r.State, r.ExecutionID = Running, "286541"
	got, _, err := newOperator(t, url, c).Follow(ctx, r)
	if !errors.Is(err, context.Canceled) || got.State != Running {
		t.Errorf("%s, %v", got.State, err)
	}
}

// TestDeadlineWithoutAnyAnswer holds that a release past its deadline ends though the
// service takes all the time of every step.
func TestDeadlineWithoutAnyAnswer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(server.Close)
	c := newClock()
	c.Move(2 * time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	r := newRelease(rules.ReleaseStart)
	r.State, r.ExecutionID = Running, "286541"
	if got, _, err := newOperator(t, server.URL, c).Follow(ctx, r); err != nil || got.State != Failed {
		t.Errorf("%s, %v", got.State, err)
	}
}

func ExampleStatus() {
	fmt.Println(StatusToBeApproved, StatusToBeApproved.Ended())
	fmt.Println(Status(6), Status(6).Ended(), Status(6).Succeeded())
	// Output:
	// to be approved (5) false
	// unknown (6) false false
}
