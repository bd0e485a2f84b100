package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/standin"
)

const (
	accessKey     = "STANDINACCESSKEY0001"
	secretKey     = "standin-secret-key"
	regionProject = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
)

// services are the stand-in with what the tests need: the task of acme/api, and for
// each repository acme/0, acme/1, … a task and two pipelines. Scans find nothing and
// end at once. Its methods do there what was done some time ago, before the queue was
// started.
type services struct {
	*standin.Server
	clock  *jumpingClock
	url    string
	client *huaweicloud.Client
	// before is the number of the last call before the queue was started.
	before int64
	// held is the folder of what the pipeline heldPipeline is held at.
	held string
}

// numbered is how many numbered repositories there are.
const numbered = 60

func taskID(repository int) string { return fmt.Sprintf("%032x", repository+1) }

// pipelineID is that of a repository's pipeline that succeeds at once; gateID that of
// the one that first waits at the checkpoint "gate".
func pipelineID(repository int) string {
	return fmt.Sprintf("caf409b1-10df-483a-b14d-%012d", repository)
}
func gateID(repository int) string { return fmt.Sprintf("d5c06f2e-7a41-4b0f-9c1e-%012d", repository) }

// heldPipeline has a task "before", the checkpoint "gate" and a task "after". A task
// takes no time unless it is held.
const heldPipeline = "9b1f6e03-52d8-4c7a-8e64-000000000000"

// repository makes the repository that all tests check, and none changes.
var repository = sync.OnceValues(func() (standin.Repository, error) {
	folder, err := os.MkdirTemp("", "gatewright-repository-")
	if err != nil {
		return standin.Repository{}, err
	}
	return standin.MakeRepository(folder, standin.RepositorySpec{})
})

// removeRepository removes what repository made.
func removeRepository() error {
	made, err := repository()
	return errors.Join(err, os.RemoveAll(made.Path))
}

func newServices(t *testing.T) *services {
	t.Helper()
	s := &services{clock: &jumpingClock{}, held: t.TempDir()}
	repository, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	options := standin.Options{
		AccessKey: accessKey, SecretKey: secretKey, ScanDelay: -1, Now: s.clock.now,
		RegionProject: standin.RegionProject{ID: regionProject, Name: "cn-north-4"},
		Projects:      []standin.Project{{ID: projectID, Name: "demo"}},
		Repositories:  map[string]string{},
		Release:       standin.ReleaseSettings{StopDelay: 100 * time.Millisecond, RestartDelay: 150 * time.Millisecond, RollbackDelay: 100 * time.Millisecond},
	}
	add := func(name, id string) {
		url := "https://github.com/acme/" + name + ".git"
		options.Repositories[url] = repository.Path
		options.Tasks = append(options.Tasks, standin.TaskSeed{ID: id, Name: name + "-main", RepoURL: url, Branch: "main"})
	}
	add("api", "")
	for i := range numbered {
		add(fmt.Sprint(i), taskID(i))
		options.Pipelines = append(options.Pipelines,
			standin.Pipeline{ID: pipelineID(i), Name: fmt.Sprint("pipeline-", i), Stages: []standin.Stage{
				{Name: "one", Tasks: []standin.PipelineTask{{Name: "deploy", Seconds: new(0.0)}}},
			}},
			standin.Pipeline{ID: gateID(i), Name: fmt.Sprint("gate-", i), Stages: []standin.Stage{
				{Name: "one", Tasks: []standin.PipelineTask{{Name: "gate", Kind: "approval"}}},
			}})
	}
	held := []string{"sh", "-c", `while test -e "$0/$GATEWRIGHT_TASK"; do sleep 0.02; done`, s.held}
	options.Pipelines = append(options.Pipelines, standin.Pipeline{ID: heldPipeline, Name: "held", Stages: []standin.Stage{
		{Name: "one", Tasks: []standin.PipelineTask{{Name: "before", Command: held, Seconds: new(600.0)}, {Name: "gate", Kind: "approval"}, {Name: "after", Command: held, Seconds: new(600.0)}}},
	}})
	options.CodePipelines = codePipelines()
	if s.Server, err = standin.New(options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	s.url = server.URL
	if s.client, err = newClient(s.url, s.clock.now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.CloseIdle)
	return s
}

// newClient is a client of the services at url, whose clock is now.
func newClient(url string, now func() time.Time) (*huaweicloud.Client, error) {
	signer, err := huaweicloud.NewSigner(huaweicloud.SignerOptions{AccessKey: accessKey, SecretKey: secretKey, Now: now})
	if err != nil {
		return nil, err
	}
	return huaweicloud.New(huaweicloud.Options{Service: "codecheck", Endpoint: url, Auth: signer, Retries: -1})
}

// setFaults replaces the faults; none switches them off.
func (s *services) setFaults(t *testing.T, faults ...standin.Fault) {
	t.Helper()
	if err := s.SetFaults(standin.Faults{Faults: faults}); err != nil {
		t.Fatal(err)
	}
}

// down is the fault of services of which every request is answered 503.
func down() standin.Fault {
	return standin.Fault{Kind: standin.FaultStatus, Status: http.StatusServiceUnavailable}
}

// do makes a call at the time at which leave makes records.
func (s *services) do(ctx context.Context, call huaweicloud.Call, answer any) error {
	s.clock.jump(-age)
	defer s.clock.jump(0)
	err := s.client.Do(ctx, call, answer)
	for _, call := range s.Calls() {
		s.before = call.Seq
	}
	return err
}

// scan starts an execution of a task and returns its id.
func (s *services) scan(ctx context.Context, task string) (string, error) {
	var started struct {
		ID string `json:"exec_id"`
	}
	err := s.do(ctx, huaweicloud.Call{
		Operation: "run task", Method: http.MethodPost, Path: huaweicloud.Path("/v2/tasks/%s/run", task), Body: struct{}{},
	}, &started)
	return started.ID, err
}

// startPipeline starts a pipeline, waits while the execution is releasing, and returns
// its id; the status must then be this one.
func (s *services) startPipeline(ctx context.Context, pipeline string, reaches release.Status) (string, error) {
	id, err := s.operate(ctx, pipeline, "start", struct{}{})
	status := release.StatusReleasing
	for err == nil && status == release.StatusReleasing {
		status, err = s.newestStatus(ctx, pipeline)
	}
	if err == nil && status != reaches {
		err = fmt.Errorf("execution %s is %s, want %s", id, status, reaches)
	}
	return id, err
}

// decide decides the checkpoint at which a pipeline waits: agree or refuse.
func (s *services) decide(ctx context.Context, pipeline, how string) error {
	_, err := s.operate(ctx, pipeline, "approval", map[string]string{"task_name": "gate", "approval_type": how})
	return err
}

func (s *services) operate(ctx context.Context, pipeline, action string, body any) (execution string, err error) {
	var answer struct {
		ID int64 `json:"id"`
	}
	err = s.do(ctx, huaweicloud.Call{
		Operation: action + " pipeline", Method: http.MethodPost, Query: url.Values{"action_id": {action}}, Body: body,
		Path: huaweicloud.Path("/v3/%s/pipeline/pipelines/%s/action", regionProject, pipeline),
	}, &answer)
	return fmt.Sprint(answer.ID), err
}

func (s *services) newestStatus(ctx context.Context, pipeline string) (release.Status, error) {
	var answer struct {
		Records []struct {
			Status release.Status `json:"status"`
		} `json:"records"`
	}
	err := s.do(ctx, huaweicloud.Call{
		Operation: "read records", Method: http.MethodGet,
		Path: huaweicloud.Path("/v3/%s/pipeline/pipelines/%s/records", regionProject, pipeline),
	}, &answer)
	if err != nil || len(answer.Records) == 0 {
		return 0, err
	}
	return answer.Records[0].Status, nil
}

// hold lets heldPipeline stay in a task once it gets there, until letGo.
func (s *services) hold(t *testing.T, task string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.held, task), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *services) letGo(t *testing.T, task string) {
	t.Helper()
	if err := os.Remove(filepath.Join(s.held, task)); err != nil {
		t.Fatal(err)
	}
}

// operated is what the queue did to a pipeline: how often it started it, and how it
// decided its checkpoints, in order.
func (s *services) operated(pipeline string) (starts int, decisions []string) {
	for _, call := range s.done("operate_pipeline") {
		switch {
		case call.Pipeline != pipeline:
		case call.Action == "start":
			starts++
		default:
			decisions = append(decisions, call.ApprovalType)
		}
	}
	return starts, decisions
}

// done are the calls of an operation by which the queue changed something.
func (s *services) done(operation string) (calls []standin.Call) {
	for _, call := range s.Calls() {
		if call.Seq > s.before && call.Operation == operation && call.Acted {
			calls = append(calls, call)
		}
	}
	return calls
}
