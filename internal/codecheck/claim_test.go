package codecheck_test

import (
	"context"
	"fmt"
	"hash/crc32"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

const (
	projectID = "41b8df4bf53f4d51b8e6c5b32e8d2a07"
	accessKey = "STANDINACCESSKEY0001"
	secretKey = "standin-secret-key"
)

// cluster is two checkers, as of two replicas, on one database and one service.
type cluster struct {
	// repository is one that no other cluster on the database uses.
	repository string
	now        *time.Time
	store      *store.Store
	service    *standin.Server
	checkers   []*codecheck.Checker
}

func TestClaims(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
		s, err := store.Open(t.Context(), store.Options{SQLite: db.SQLite, Postgres: db.Postgres, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		for name, test := range map[string]func(*testing.T, *cluster){
			"replicas create a task once":            replicasCreateATaskOnce,
			"merge requests share their full task":   mergeRequestsShareTheirFullTask,
			"a run waits for another's claim":        runWaitsForAnothersClaim,
			"the claim of a stopped replica expires": claimOfAStoppedReplicaExpires,
			"a certain failure ends the claim":       certainFailureEndsTheClaim,
			"a deleted parent is created again":      deletedParentIsCreatedAgain,
		} {
			t.Run(name, func(t *testing.T) {
				test(t, newCluster(t, s, &now, strings.NewReplacer(" ", "-", "'", "").Replace(name)))
			})
		}
	})
}

func newCluster(t *testing.T, s *store.Store, now *time.Time, repository string) *cluster {
	t.Helper()
	// What keeps two tasks apart is the claim, not the name.
	service, err := standin.New(standin.Options{
		AccessKey: accessKey, SecretKey: secretKey, AllowDuplicateNames: true, ScanDelay: -1,
		RegionProject: standin.RegionProject{ID: "0a1b2c3d4e5f60718293a4b5c6d7e8f9", Name: "cn-north-4"},
		Projects:      []standin.Project{{ID: projectID, Name: "payments"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	server := httptest.NewServer(service.Handler())
	t.Cleanup(server.Close)
	c := &cluster{repository: repository, now: now, store: s, service: service}
	for range 2 {
		c.checkers = append(c.checkers, c.newChecker(t, server.URL))
	}
	return c
}

func (c *cluster) newChecker(t *testing.T, endpoint string) *codecheck.Checker {
	t.Helper()
	signer, err := huaweicloud.NewSigner(huaweicloud.SignerOptions{AccessKey: accessKey, SecretKey: secretKey})
	if err != nil {
		t.Fatal(err)
	}
	client, err := huaweicloud.New(huaweicloud.Options{Service: "codecheck", Endpoint: endpoint, Auth: signer, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	checker, err := codecheck.New(codecheck.Options{Client: client, Memory: c.store, Now: func() time.Time { return *c.now }})
	if err != nil {
		t.Fatal(err)
	}
	return checker
}

func (c *cluster) fault(t *testing.T, faults ...standin.Fault) {
	t.Helper()
	if err := c.service.SetFaults(standin.Faults{Faults: faults}); err != nil {
		t.Fatal(err)
	}
}

// created is how many full and incremental tasks the service has made.
func (c *cluster) created() string {
	acted := c.service.Counts().Acted
	return fmt.Sprintf("%d full, %d incremental", acted["create_task_v3"], acted["create_task_v2"])
}

// mergeRequest is a run for merge request 7.
func (c *cluster) mergeRequest(id string) codecheck.Run {
	return codecheck.Run{
		ID: id, State: codecheck.Queued, CreatedAt: *c.now, Deadline: c.now.Add(time.Hour),
		Event: event.Event{
			Connection: "github-acme", Kind: event.MergeRequest, Action: event.Opened, Branch: "main", SourceBranch: "topic", Number: 7,
			Repository: event.Repository{Host: event.GitHub, ID: fmt.Sprint(crc32.ChecksumIEEE([]byte(c.repository))), FullName: "acme/" + c.repository, HTTPSURL: "https://github.com/acme/" + c.repository + ".git"},
		},
		Check: rules.Check{ProjectID: projectID, ProjectName: "payments", Scan: rules.ScanIncremental, TaskName: "api-main", AuthID: "auth-1", Languages: []string{"GO"}},
	}
}

// prepare calls Prepare until it is to be sent or has ended.
func prepare(ctx context.Context, checker *codecheck.Checker, run codecheck.Run) (codecheck.Run, error) {
	for {
		next, send, _, err := checker.Prepare(ctx, run)
		if err != nil || send || next.State.Ended() {
			return next, err
		}
		run = next
	}
}

func replicasCreateATaskOnce(t *testing.T, c *cluster) {
	c.fault(t, standin.Fault{Kind: standin.FaultLatency, DelayMS: 20})
	var group sync.WaitGroup
	for i := range 6 {
		group.Go(func() {
			run, err := prepare(t.Context(), c.checkers[i%2], c.mergeRequest(fmt.Sprint("run-", i)))
			if err != nil || run.Task.ID == "" {
				t.Errorf("%s: %s, error %v", run.State, run.Reason, err)
			}
		})
	}
	group.Wait()
	if got := c.created(); got != "1 full, 1 incremental" {
		t.Errorf("%s", got)
	}
}

func mergeRequestsShareTheirFullTask(t *testing.T, c *cluster) {
	c.fault(t, standin.Fault{Kind: standin.FaultLatency, DelayMS: 20})
	var group sync.WaitGroup
	for i := range 6 {
		group.Go(func() {
			run := c.mergeRequest(fmt.Sprint("run-", i))
			run.Event.Number = i + 1
			run, err := prepare(t.Context(), c.checkers[i%2], run)
			if err != nil || run.Task.ParentID == "" {
				t.Errorf("%s: %s, error %v", run.State, run.Reason, err)
			}
		})
	}
	group.Wait()
	if got := c.created(); got != "1 full, 6 incremental" {
		t.Errorf("%s", got)
	}
}

func runWaitsForAnothersClaim(t *testing.T, c *cluster) {
	run := c.mergeRequest("run")
	run.Check.Scan = rules.ScanFull
	key := codecheck.TaskKey(run.Event, run.Check)
	if claimed, err := c.store.ClaimTask(t.Context(), key, "other", time.Minute); err != nil || !claimed {
		t.Fatalf("claimed %v, error %v", claimed, err)
	}
	run, send, wait, err := c.checkers[0].Prepare(t.Context(), run)
	if err != nil || send || run.State != codecheck.Starting || wait != 2*time.Second || !strings.Contains(run.Reason, "another run is creating this task") {
		t.Fatalf("%s: %s, send %v, wait %s, error %v", run.State, run.Reason, send, wait, err)
	}
	if err := c.store.SaveTask(t.Context(), run.Event, key, codecheck.Task{ID: "theirs"}); err != nil {
		t.Fatal(err)
	}
	run, send, _, err = c.checkers[0].Prepare(t.Context(), run)
	if err != nil || !send || run.Task.ID != "theirs" || run.Origin != codecheck.Remembered {
		t.Errorf("%s: %s, task %s is %s, error %v", run.State, run.Reason, run.Task.ID, run.Origin, err)
	}
	if got := c.created(); got != "0 full, 0 incremental" {
		t.Errorf("%s", got)
	}
}

// A replica that stops before it has saved what it created keeps nobody waiting for
// ever, and its task is found.
func claimOfAStoppedReplicaExpires(t *testing.T, c *cluster) {
	c.fault(t, standin.Fault{Kind: standin.FaultLost, Operations: []string{"create_task_v3"}},
		standin.Fault{Kind: standin.FaultStatus, Status: 503, Operations: []string{"list_tasks"}, Skip: 1})
	stopped := c.mergeRequest("stopped")
	if _, err := prepare(t.Context(), c.checkers[0], stopped); err == nil {
		t.Fatal("the response was not lost")
	}
	c.fault(t)
	run, _, wait, err := c.checkers[1].Prepare(t.Context(), c.mergeRequest("run"))
	if err != nil || wait != 2*time.Second {
		t.Fatalf("%s: %s, wait %s, error %v", run.State, run.Reason, wait, err)
	}
	*c.now = c.now.Add(2 * time.Minute)
	run, err = prepare(t.Context(), c.checkers[1], run)
	if err != nil || run.Task.ParentID == "" {
		t.Fatalf("%s: %s, error %v", run.State, run.Reason, err)
	}
	if got := c.created(); got != "1 full, 1 incremental" {
		t.Errorf("%s", got)
	}
}

// A run that cannot create the task leaves the claim to the next.
func certainFailureEndsTheClaim(t *testing.T, c *cluster) {
	refused := c.mergeRequest("refused")
	refused.Check.AuthID = ""
	if run, err := prepare(t.Context(), c.checkers[0], refused); err != nil || run.State != codecheck.Errored {
		t.Fatalf("%s: %s, error %v", run.State, run.Reason, err)
	}
	run, send, _, err := c.checkers[1].Prepare(t.Context(), c.mergeRequest("run"))
	if err != nil || !send {
		t.Errorf("%s: %s, error %v", run.State, run.Reason, err)
	}
}

// A service that answers "create task failed" may mean that the full task is gone.
func deletedParentIsCreatedAgain(t *testing.T, c *cluster) {
	parent := c.mergeRequest("parent")
	parent.Check.Scan, parent.Event.Number = rules.ScanFull, 0
	if err := c.store.SaveTask(t.Context(), parent.Event, codecheck.TaskKey(parent.Event, parent.Check), codecheck.Task{ID: "deleted", Branch: "main"}); err != nil {
		t.Fatal(err)
	}
	run, err := prepare(t.Context(), c.checkers[0], c.mergeRequest("run"))
	if err != nil || run.Task.ParentID == "" || run.Task.ParentID == "deleted" {
		t.Errorf("%s: %s, parent %s, error %v", run.State, run.Reason, run.Task.ParentID, err)
	}
	if got := c.created(); got != "1 full, 1 incremental" {
		t.Errorf("%s", got)
	}
}
