package codecheck_test

import (
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/store"
)

// TestFinishedExecutionIsOurs holds that the end of the execution before is never taken for
// that of ours, at a service that honours job_id and at one that does not know it.
func TestFinishedExecutionIsOurs(t *testing.T) {
	for name, options := range map[string]standin.Options{
		"job_id is honoured": {},
		"job_id is ignored":  {IgnoreJobID: true},
	} {
		t.Run(name, func(t *testing.T) { testFinishedExecutionIsOurs(t, options) })
	}
}

func testFinishedExecutionIsOurs(t *testing.T, options standin.Options) {
	const address = "https://github.com/acme/api.git"
	repository, err := standin.MakeRepository(filepath.Join(t.TempDir(), "repository"), standin.RepositorySpec{})
	if err != nil {
		t.Fatal(err)
	}
	options.AccessKey, options.SecretKey, options.ScanDelay = accessKey, secretKey, -1
	options.RegionProject = standin.RegionProject{ID: "0a1b2c3d4e5f60718293a4b5c6d7e8f9", Name: "cn-north-4"}
	options.Projects = []standin.Project{{ID: projectID, Name: "payments"}}
	options.Repositories = map[string]string{address: repository.Path}
	options.Tasks = []standin.TaskSeed{{Name: "api-main", RepoURL: address, Branch: "main"}}
	// What was before is shown until a scan is over.
	options.RegisterDelay = time.Hour
	service, err := standin.New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	server := httptest.NewServer(service.Handler())
	t.Cleanup(server.Close)
	s, err := store.Open(t.Context(), store.Options{SQLite: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	signer, err := huaweicloud.NewSigner(huaweicloud.SignerOptions{AccessKey: accessKey, SecretKey: secretKey})
	if err != nil {
		t.Fatal(err)
	}
	client, err := huaweicloud.New(huaweicloud.Options{Service: "codecheck", Endpoint: server.URL, Auth: signer, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	checker, err := codecheck.New(codecheck.Options{Client: client, Memory: s, Findings: s})
	if err != nil {
		t.Fatal(err)
	}

	started := func(id string) codecheck.Run {
		run, err := prepare(t.Context(), checker, codecheck.Run{
			ID: id, State: codecheck.Queued, CreatedAt: time.Now(), Deadline: time.Now().Add(time.Hour),
			Event: event.Event{
				Connection: "github-acme", Kind: event.Push, Action: event.Updated, Branch: "main", HeadSHA: strings.Repeat("a", 40),
				Repository: event.Repository{Host: event.GitHub, ID: "1", FullName: "acme/api", HTTPSURL: address},
			},
			Check: rules.Check{ProjectID: projectID, ProjectName: "payments", Scan: rules.ScanFull, TaskName: "api-main"},
		})
		if err == nil {
			run, _, err = checker.Send(t.Context(), run)
		}
		if err != nil || run.State != codecheck.Running {
			t.Fatalf("run %s is %s (%s), error %v", id, run.State, run.Reason, err)
		}
		return run
	}
	poll := func(run codecheck.Run) codecheck.Run {
		run, _, err := checker.Poll(t.Context(), run)
		if err != nil {
			t.Fatal(err)
		}
		return run
	}
	ends := func(run codecheck.Run) {
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for deadline := time.After(30 * time.Second); !run.State.Ended(); {
			select {
			case <-ticker.C:
				run = poll(run)
			case <-deadline:
				t.Fatalf("run %s is %s for ever: %s", run.ID, run.State, run.Reason)
			}
		}
		if run.State != codecheck.Passed {
			t.Fatalf("run %s ended %s: %s", run.ID, run.State, run.Reason)
		}
	}

	ends(started("before"))
	service.SetScanDelay(time.Hour)
	ours := started("ours")
	for range 3 {
		if ours = poll(ours); ours.State != codecheck.Running {
			t.Fatalf("the run ended %s while its scan had not begun to show: %s", ours.State, ours.Reason)
		}
	}
	service.EndScans()
	ends(ours)
}
