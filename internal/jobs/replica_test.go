package jobs_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/storetest"
)

// The environment of a replica that runs as a process of its own: the connection string
// of its database and the address of the services.
const (
	replicaDSN = "GATEWRIGHT_TEST_REPLICA_DSN"
	replicaURL = "GATEWRIGHT_TEST_REPLICA_URL"
)

// runReplica works until its standard input ends: the body of the processes that
// startReplica starts.
func runReplica() int {
	q, err := newReplica(context.Background(), os.Getenv(replicaDSN), os.Getenv(replicaURL))
	if err == nil {
		err = q.Start(context.Background())
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("started")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// startReplica starts a replica as a process of its own, and returns when it works.
func startReplica(t *testing.T, dsn, url string) (kill func()) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	process := exec.CommandContext(t.Context(), program)
	process.Env = append(os.Environ(), replicaDSN+"="+dsn, replicaURL+"="+url)
	process.Stderr = os.Stderr
	stdin, err := process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); strings.TrimSpace(line) != "started" {
		t.Fatalf("the replica said %q, error %v", line, err)
	}
	return func() {
		_ = process.Process.Kill()
		_ = stdin.Close()
		_ = process.Wait()
	}
}

// TestAnotherReplicaGoesOn kills a replica in the middle of a step that starts a check,
// and holds that another one finishes the run. River takes the job from the dead
// replica when it has been running for rescueAfter, and its leadership when that was
// not renewed; the test makes both old instead of waiting.
func TestAnotherReplicaGoesOn(t *testing.T) {
	t.Parallel()
	dsn := storetest.Postgres(t)
	w := newWorld(t, storetest.Database{Postgres: dsn})
	// The request that starts the check is not answered while the replica lives.
	w.services.setFaults(t, standin.Fault{Kind: standin.FaultLatency, Operations: []string{"run_task"}, DelayMS: int(time.Hour.Milliseconds())})
	w.leave(t, func(l *lost) {
		run := l.newRun("run", l.push("run"))
		l.add(&run, codecheck.Queued)
	})
	kill := startReplica(t, dsn, w.services.url)
	w.until(t, "run", func(now record) bool { return now.state == string(codecheck.Starting) })
	kill()
	w.services.setFaults(t)
	if n := w.count(t, `kind = 'start_run' AND state = 'running'`); n != 1 {
		t.Errorf("%d jobs of the dead replica are running, want 1", n)
	}
	w.execute(t, `UPDATE river_job SET attempted_at = attempted_at - interval '1 hour' WHERE kind = 'start_run'`)
	w.execute(t, `UPDATE river_leader SET expires_at = now()`)
	w.start(t, jobs.Options{})
	if now := w.until(t, "run", func(now record) bool { return now.ended }); now.state != string(codecheck.Passed) {
		t.Errorf("the run ended %s: %s", now.state, now.reason)
	}
}
