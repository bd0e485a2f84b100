package release

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/standin"
)

// world is a stand-in with one pipeline and an operator that speaks to it, inside
// a synctest bubble, where waiting takes no time. The network is in memory,
// because sockets do not belong to a bubble.
type world struct {
	t       *testing.T
	network *network
	server  *standin.Server
	client  *huaweicloud.Client
	op      *Operator
	// acts and reads are the operations of the service that releases.
	acts, reads []string
}

// inWorld runs test in a world of its own whose pipeline has these tasks.
func inWorld(t *testing.T, settings standin.ReleaseSettings, tasks []standin.PipelineTask, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, settings, tasks)) })
}

func newWorld(t *testing.T, settings standin.ReleaseSettings, tasks []standin.PipelineTask) *world {
	t.Helper()
	w := newWorldOf(t, standin.Options{Release: settings,
		Pipelines: []standin.Pipeline{{ID: pipelineID, Name: "release", Stages: []standin.Stage{{Name: "only", Tasks: tasks}}}}})
	w.acts, w.reads = []string{"operate_pipeline"}, []string{"list_pipelines", "show_pipeline", "list_release_records"}
	return w
}

// inCodeWorld is inWorld with a pipeline of CodeArts Pipeline that has these steps.
func inCodeWorld(t *testing.T, options standin.Options, steps []standin.CodeStep, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		options.CodePipelines = []standin.CodePipeline{{ID: codePipelineID, Name: "shop", Stages: []standin.CodeStage{
			{Name: "Deploy", Jobs: []standin.CodeJob{{Name: "Rollout", Steps: steps}}}}}}
		w := newWorldOf(t, options)
		w.acts, w.reads = []string{"run_code_pipeline", "stop_code_run", "retry_code_run", "pass_review", "refuse_review"}, []string{"list_code_runs", "show_code_run"}
		test(t, w)
	})
}

// newCodeRelease is newRelease by CodeArts Pipeline.
func newCodeRelease(action rules.ReleaseAction, now time.Time) Release {
	r := newRelease(action, now)
	r.Plan.Target, r.Plan.ProjectID, r.Plan.Pipeline = rules.TargetCodeArtsPipeline, codeProjectID, codePipelineID
	return r
}

// runCode starts the pipeline of CodeArts Pipeline, as somebody else.
func (w *world) runCode() string {
	w.t.Helper()
	var got struct {
		ID string `json:"pipeline_run_id"`
	}
	err := w.client.Do(w.t.Context(), huaweicloud.Call{Operation: "run", Method: http.MethodPost, Body: struct{}{},
		Path: huaweicloud.Path("/v5/%s/api/pipelines/%s/run", codeProjectID, codePipelineID)}, &got)
	if err != nil {
		w.t.Fatal(err)
	}
	return got.ID
}

func newWorldOf(t *testing.T, options standin.Options) *world {
	t.Helper()
	const key, secret = "STANDINACCESSKEY0001", "standin-secret-key"
	options.AccessKey, options.SecretKey = key, secret
	options.RegionProject = standin.RegionProject{ID: projectID, Name: "cn-north-4"}
	options.Projects = []standin.Project{{ID: codeProjectID, Name: "payments"}}
	options.ExecutionIDFirst, options.JournalSize = 286540, 250
	server, err := standin.New(options)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, network: &network{accepted: make(chan net.Conn), closed: make(chan struct{})}, server: server}
	listener := &http.Server{Handler: server.Handler(), ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = listener.Serve(w.network) }()
	signer, err := huaweicloud.NewSigner(huaweicloud.SignerOptions{AccessKey: key, SecretKey: secret})
	if err != nil {
		t.Fatal(err)
	}
	w.client, err = huaweicloud.New(huaweicloud.Options{
		Service: "servicestage", Endpoint: "http://servicestage.test", Auth: signer, Retries: -1,
		HTTP: &http.Client{Transport: &http.Transport{DialContext: w.network.dial}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.op, err = New(Options{Client: w.client, Pipeline: w.client, ProjectID: fixedProject})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.client.CloseIdle()
		_ = listener.Close()
		server.Close()
	})
	return w
}

// network carries the connections of one bubble.
type network struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case n.accepted <- theirs:
		return ours, nil
	case <-n.closed:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: ctx.Err()}
	}
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case conn := <-n.accepted:
		return conn, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error {
	n.once.Do(func() { close(n.closed) })
	return nil
}

func (n *network) Addr() net.Addr { return &net.UnixAddr{Net: "pipe", Name: "pipe"} }

// setFaults replaces what goes wrong at the service.
func (w *world) setFaults(faults ...standin.Fault) {
	w.t.Helper()
	if err := w.server.SetFaults(standin.Faults{Faults: faults}); err != nil {
		w.t.Fatal(err)
	}
}

// operate is somebody else who does something to the pipeline.
func (w *world) operate(action string) {
	w.t.Helper()
	err := w.client.Do(w.t.Context(), huaweicloud.Call{
		Operation: action, Method: http.MethodPost, Body: struct{}{},
		Path:  huaweicloud.Path("/v3/%s/pipeline/pipelines/%s/action", projectID, pipelineID),
		Query: url.Values{"action_id": {action}},
	}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
}

// startedBefore lets an execution, 286540, run to its end an hour before the test.
func (w *world) startedBefore() {
	w.t.Helper()
	w.operate("start")
	time.Sleep(time.Hour)
}

// acted are the actions that took effect, as `start` or `approval agree`.
func (w *world) acted() []string {
	w.t.Helper()
	calls := w.server.Calls()
	if len(calls) == 0 || calls[0].Seq != 1 {
		w.t.Fatal("the journal has lost its first calls")
	}
	var acted []string
	for _, call := range calls {
		if call.Acted {
			acted = append(acted, strings.TrimSpace(cmp.Or(call.Action, call.Operation)+" "+call.ApprovalType))
		}
	}
	return acted
}

// fault is what goes wrong during one step of a release.
type fault string

const (
	noFault        fault = "none"
	lostRequest    fault = "lost request"    // connection dropped, nothing done
	lostAnswer     fault = "lost answer"     // done, connection dropped
	errorBefore    fault = "error, not done" // 500, nothing done
	errorAfter     fault = "error, but done" // 504, done
	garbageAnswer  fault = "garbage answer"  // done, answer cannot be read
	emptyAnswer    fault = "empty answer"    // done, 200 without a body
	throttled      fault = "throttled"       // 429, nothing done
	refusedRequest fault = "refused request" // 400, nothing done
	readsFail      fault = "reads fail"      // every read is answered 503
	crashBefore    fault = "crash before"    // the process dies between intent and request
	crashAfter     fault = "crash after"     // the process dies with the answer in hand
	saveFails      fault = "save fails"      // nothing can be saved in this step
)

func allFaults() []fault {
	return []fault{noFault, lostRequest, lostAnswer, errorBefore, errorAfter, garbageAnswer, emptyAnswer, throttled,
		refusedRequest, readsFail, crashBefore, crashAfter, saveFails}
}

// faults are the stand-in's that f stands for.
func (w *world) faults(f fault) []standin.Fault {
	var at standin.Fault
	switch f {
	case lostRequest:
		at = standin.Fault{Kind: standin.FaultDropped}
	case lostAnswer:
		at = standin.Fault{Kind: standin.FaultLost}
	case errorBefore:
		at = standin.Fault{Kind: standin.FaultStatus, Status: http.StatusInternalServerError}
	case errorAfter:
		at = standin.Fault{Kind: standin.FaultStatus, Status: http.StatusGatewayTimeout, ActFirst: true}
	case garbageAnswer:
		at = standin.Fault{Kind: standin.FaultReplaced, Body: "<html>ok</html>"}
	case emptyAnswer:
		at = standin.Fault{Kind: standin.FaultReplaced}
	case throttled:
		at = standin.Fault{Kind: standin.FaultThrottle, RetryAfter: new(7)}
	case refusedRequest:
		at = standin.Fault{Kind: standin.FaultRefused}
	case readsFail:
		return []standin.Fault{{Kind: standin.FaultStatus, Status: http.StatusServiceUnavailable, Operations: w.reads}}
	default:
		return nil
	}
	at.Operations = w.acts
	return []standin.Fault{at}
}

// keeper is the caller of an operator: it keeps one release as a database would,
// crashes when it is told to, and goes on with what it kept.
type keeper struct {
	*world
	kept []byte
}

func (w *world) keeper(r Release) *keeper {
	k := &keeper{world: w}
	k.save(r)
	return k
}

func (k *keeper) load() Release {
	k.t.Helper()
	var r Release
	if err := json.Unmarshal(k.kept, &r); err != nil {
		k.t.Fatal(err)
	}
	return r
}

func (k *keeper) save(r Release) {
	k.t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		k.t.Fatal(err)
	}
	k.kept = data
}

// step takes one step of the kept release, with a fault, and waits as long as the
// operator asks for. It returns what is kept then.
func (k *keeper) step(f fault) Release {
	k.t.Helper()
	k.setFaults(k.faults(f)...)
	wait, err := k.take(f)
	if err != nil {
		wait = 5 * time.Second
	}
	r := k.load()
	if wait <= 0 && f != crashAfter && f != saveFails && !r.State.Ended() {
		k.t.Fatalf("no wait before the next step of a release that is %s (%s)", r.State, r.Reason)
	}
	time.Sleep(max(wait, time.Second))
	return r
}

// take calls the operator and saves as a caller does.
func (k *keeper) take(f fault) (wait time.Duration, err error) {
	r := k.load()
	prepare := k.op.Follow
	if r.State == Starting {
		prepare = k.op.Prepare
	}
	r, send, wait, err := prepare(k.t.Context(), r)
	if send {
		if f == saveFails {
			return wait, fmt.Errorf("save intent: disk is full")
		}
		k.save(r)
		if f == crashBefore {
			return wait, fmt.Errorf("the process died")
		}
		r, wait, err = k.op.Send(k.t.Context(), r)
	}
	if err == nil && f != crashAfter && f != saveFails {
		k.save(r)
	}
	return wait, err
}

// run takes steps with the faults and then without any, until the release ends.
func (k *keeper) run(sequence []fault) Release {
	k.t.Helper()
	r := k.load()
	for i := 0; !r.State.Ended(); i++ {
		f := noFault
		if i < len(sequence) {
			f = sequence[i]
		}
		if i == 200 {
			k.t.Fatalf("still %s after 200 steps: %s", r.State, r.Reason)
		}
		r = k.step(f)
	}
	return r
}
