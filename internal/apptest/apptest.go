// Package apptest runs the whole service in tests: on a real database, against the
// stand-in of Huawei Cloud, with deliveries as the git hosts send them. Every service
// has its own database, stand-in and folder, so that tests can run in parallel.
package apptest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/storetest"
)

// ScanDelays for tests that depend on how long a scan runs.
const (
	// ShortScan is for a scan whose end the test waits for.
	ShortScan = 200 * time.Millisecond
	// EndlessScan is for a scan that the service stops, or the test ends.
	EndlessScan = time.Hour
)

// Main runs the tests of a package and returns the exit code. It fails when they leave
// a goroutine behind, and stops the database server that they started.
func Main(m *testing.M) int {
	code := storetest.Main(m)
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// ProgramMain is the TestMain of a program: its test binary also serves as the command
// called name in the scripts of the tests, so that they run the same code as the real one.
func ProgramMain(m *testing.M, name string, newRoot func(command.Environment) *cobra.Command) {
	testscript.Main(tests{m}, map[string]func(){name: func() { os.Exit(command.Process(newRoot)) }})
}

type tests struct{ m *testing.M }

func (t tests) Run() int { return Main(t.m) }

// Scripts runs the commands of testdata/script as a user types them; commands are those
// that the scripts have beside the usual ones, and may be nil.
func Scripts(t *testing.T, commands map[string]func(*testscript.TestScript, bool, []string)) {
	t.Parallel()
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true, Cmds: commands})
}

// Service is a running service with all that it needs.
type Service struct{ *demo.Demo }

// Each runs a test in parallel against a service on each database.
func Each(t *testing.T, opts demo.Options, test func(t *testing.T, s Service)) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		test(t, Start(t, db, opts))
	})
}

// OnSQLite starts a service on a SQLite file in its own folder.
func OnSQLite(t *testing.T) Service {
	t.Helper()
	return OnSQLiteWith(t, demo.Options{})
}

// OnSQLiteWith is OnSQLite with options.
func OnSQLiteWith(t *testing.T, opts demo.Options) Service {
	t.Helper()
	return Start(t, storetest.Database{Name: "sqlite"}, opts)
}

// Start starts a service, which is stopped when the test ends. A SQLite database is
// always the one in its folder.
func Start(t *testing.T, db storetest.Database, opts demo.Options) Service {
	t.Helper()
	opts.Folder = storetest.Folder(t)
	if db.Postgres != "" {
		opts.Store = "{postgres: {dsn: {env: DEMO_DSN}}}"
		opts.Secrets = map[string]string{"DEMO_DSN": db.Postgres}
	}
	d, err := demo.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	return Service{d}
}

// Halt stops the service, once it is ready, and leaves the stand-in running.
func (s Service) Halt(t *testing.T) {
	t.Helper()
	WaitFor(t, "the service is ready", func() bool { return Answers(s.Private() + "/readyz") })
	if err := s.StopService(); err != nil {
		t.Fatal(err)
	}
}

// Restart stops the service and starts it again on the same database, against the
// same stand-in.
func (s Service) Restart(t *testing.T) {
	t.Helper()
	if err := s.StopService(); err != nil {
		t.Fatal(err)
	}
	s.Resume(t, "")
}

// Resume starts a stopped service again, with a store section in its server file;
// empty means the one that it had.
func (s Service) Resume(t *testing.T, storeSection string) {
	t.Helper()
	if err := s.StartService(t.Context(), "127.0.0.1:0", storeSection); err != nil {
		t.Fatal(err)
	}
}

// Push sends a push and returns its answer.
func (s Service) Push(t *testing.T, host event.Host, id string, c demo.Change) demo.Sent {
	t.Helper()
	sent, err := s.Send(t.Context(), demo.Delivery{Host: host, Kind: "push", ID: id, Change: c})
	if err != nil {
		t.Fatal(err)
	}
	return sent
}

// Request sends Gitee's merge request with the bad commit.
func (s Service) Request(t *testing.T) {
	t.Helper()
	_, err := s.Send(t.Context(), demo.Delivery{Host: event.Gitee, Kind: "merge-request", Change: demo.Change{
		Branch: "main", SourceBranch: "feature/discount", Before: s.World.Clean, SHA: s.World.Bad, Number: demo.MergeRequest,
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// Until reads the database until a condition holds, and returns the records for which
// it did.
func (s Service) Until(t *testing.T, what string, holds func(demo.Records) bool) demo.Records {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond) // reading everything takes longer than any other part of a test
	defer ticker.Stop()
	var last demo.Records
	for {
		r, err := s.Records(ctx)
		if err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
		if err == nil {
			last = r
		}
		if holds(r) {
			return r
		}
		select {
		case <-ctx.Done():
			t.Fatalf("never: %s\n%+v", what, last)
		case <-ticker.C:
		}
	}
}

// Released reports whether the two releases of a push to main have ended.
func Released(r demo.Records) bool {
	return len(r.Releases) == 2 && r.Releases[0].State.Ended() && r.Releases[1].State.Ended()
}

// Scanning reports whether there is one run, and its scan has begun. A short one may have ended by then.
func Scanning(r demo.Records) bool {
	return len(r.Runs) == 1 && (r.Runs[0].State == codecheck.Running || r.Runs[0].State.Ended())
}

// ActedOnce checks that the stand-in has done each step of a push to main once.
func (s Service) ActedOnce(t *testing.T) {
	t.Helper()
	for _, operation := range []string{"run_task", "operate_pipeline/start", "operate_pipeline/approval"} {
		if acted := s.Standin.Counts().Acted[operation]; acted != 1 {
			t.Errorf("%s was done %d times", operation, acted)
		}
	}
}

// WaitFor waits up to a minute until a condition holds.
func WaitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(5 * time.Minute)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("never: %s", what)
		case <-ticker.C:
		}
	}
}

// Answers reports whether a GET of url is answered 200.
func Answers(url string) bool {
	response, err := http.Get(url)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// Output collects what a command prints while it runs.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
