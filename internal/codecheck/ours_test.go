package codecheck_test

import (
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
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

const oursAddress = "https://github.com/acme/api.git"

// ours runs one task of a stand-in.
type ours struct {
	t       *testing.T
	service *standin.Server
	checker *codecheck.Checker
}

func newOurs(t *testing.T, options standin.Options, checks codecheck.Options) ours {
	t.Helper()
	repository, err := standin.MakeRepository(filepath.Join(t.TempDir(), "repository"), standin.RepositorySpec{})
	if err != nil {
		t.Fatal(err)
	}
	options.AccessKey, options.SecretKey, options.ScanDelay = accessKey, secretKey, -1
	options.RegionProject = standin.RegionProject{ID: "0a1b2c3d4e5f60718293a4b5c6d7e8f9", Name: "cn-north-4"}
	options.Projects = []standin.Project{{ID: projectID, Name: "payments"}}
	options.Repositories = map[string]string{oursAddress: repository.Path}
	options.Tasks = []standin.TaskSeed{{Name: "api-main", RepoURL: oursAddress, Branch: "main"}}
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
	signer, err := huaweicloud.NewSigner(huaweicloud.SignerOptions{AccessKey: accessKey, SecretKey: secretKey, Now: options.Now})
	if err != nil {
		t.Fatal(err)
	}
	client, err := huaweicloud.New(huaweicloud.Options{Service: "codecheck", Endpoint: server.URL, Auth: signer, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	checks.Client, checks.Memory, checks.Findings = client, s, s
	checker, err := codecheck.New(checks)
	if err != nil {
		t.Fatal(err)
	}
	return ours{t, service, checker}
}

// started is a push whose execution has begun.
func (o ours) started(id string, gate rules.Gate) codecheck.Run {
	o.t.Helper()
	run, err := prepare(o.t.Context(), o.checker, codecheck.Run{
		ID: id, State: codecheck.Queued, CreatedAt: time.Now(), Deadline: time.Now().Add(time.Hour), Rule: id,
		Event: event.Event{
			Connection: "github-acme", Kind: event.Push, Action: event.Updated, Branch: "main", HeadSHA: strings.Repeat("a", 40),
			Repository: event.Repository{Host: event.GitHub, ID: "1", FullName: "acme/api", HTTPSURL: oursAddress},
		},
		Check: rules.Check{ProjectID: projectID, ProjectName: "payments", Scan: rules.ScanFull, TaskName: "api-main", Languages: []string{"GO"}, Gate: gate},
	})
	if err == nil {
		run, _, err = o.checker.Send(o.t.Context(), run)
	}
	if err != nil || run.State != codecheck.Running {
		o.t.Fatalf("run %s is %s (%s), error %v", id, run.State, run.Reason, err)
	}
	return run
}

func (o ours) poll(run codecheck.Run) codecheck.Run {
	o.t.Helper()
	run, _, err := o.checker.Poll(o.t.Context(), run)
	if err != nil {
		o.t.Fatal(err)
	}
	return run
}

// until polls until a condition holds.
func (o ours) until(run codecheck.Run, holds func(codecheck.Run) bool) codecheck.Run {
	o.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(30 * time.Second); !holds(run); {
		select {
		case <-ticker.C:
			run = o.poll(run)
		case <-deadline:
			o.t.Fatalf("run %s is %s for ever: %s", run.ID, run.State, run.Reason)
		}
	}
	return run
}

// passes polls until the run has passed.
func (o ours) passes(run codecheck.Run) codecheck.Run {
	o.t.Helper()
	run = o.until(run, func(run codecheck.Run) bool { return run.State.Ended() })
	if run.State != codecheck.Passed {
		o.t.Fatalf("run %s ended %s: %s", run.ID, run.State, run.Reason)
	}
	return run
}

func testFinishedExecutionIsOurs(t *testing.T, options standin.Options) {
	o := newOurs(t, options, codecheck.Options{})
	o.passes(o.started("before", rules.Gate{}))
	o.service.SetScanDelay(time.Hour)
	ours := o.started("ours", rules.Gate{})
	for range 3 {
		if ours = o.poll(ours); ours.State != codecheck.Running {
			t.Fatalf("the run ended %s while its scan had not begun to show: %s", ours.State, ours.Reason)
		}
	}
	o.service.EndScans()
	o.passes(ours)
}

// TestLateSummary holds that no run is judged by the summary of the execution before, and
// that it is judged once its own is there.
func TestLateSummary(t *testing.T) {
	for name, options := range map[string]standin.Options{
		"2026":                      {},
		"2026, job_id is ignored":   {IgnoreJobID: true},
		"2023":                      {Dialect: standin.Dialect2023},
		"2023, without new defects": {Dialect: standin.Dialect2023, Results: standin.ResultSettings{OmitNewCounts: true}},
	} {
		t.Run(name, func(t *testing.T) {
			var later atomic.Int64 // minutes
			options.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load()) * time.Minute) }
			options.Results.SummaryDelay = 5 * time.Minute
			checks := codecheck.Options{ResultReads: 1_000_000}
			if options.Dialect == standin.Dialect2023 {
				checks.Dialect = codecheck.Dialect2023
			}
			o := newOurs(t, options, checks)
			before := o.started("before", rules.Gate{})
			before = o.until(before, func(run codecheck.Run) bool { return run.Reads > 3 || run.Polls > 10 })
			if before.State != codecheck.Running {
				t.Fatalf("the first run was judged without a summary: %s, %s", before.State, before.Reason)
			}
			passesLater := func(run codecheck.Run) codecheck.Run {
				polls := 0
				run = o.until(run, func(run codecheck.Run) bool {
					if polls++; polls%20 == 0 {
						// The scan may have ended only now.
						later.Add(6)
					}
					return run.State.Ended()
				})
				return o.passes(run)
			}
			passesLater(before)

			ours := o.until(o.started("ours", rules.Gate{}), func(run codecheck.Run) bool { return run.Reads > 3 || run.Polls > 10 })
			if ours.State != codecheck.Running {
				t.Fatalf("the run was judged by the summary of before: %s, %s", ours.State, ours.Reason)
			}
			ours = passesLater(ours)
			if ours.Findings == nil || !ours.Findings.Complete {
				t.Errorf("findings %+v", ours.Findings)
			}
		})
	}
}
