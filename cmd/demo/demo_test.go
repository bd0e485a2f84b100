package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/huaweicloud"
)

// TestDemo runs the demo as a program would read it.
func TestDemo(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	env := command.Environment{Stdout: &stdout, Stderr: &stderr}
	code := command.Run(t.Context(), newRoot(env), []string{"--addr", "127.0.0.1:0", "--private-addr", "127.0.0.1:0", "--once", "--json"}, env)
	if code != command.OK {
		t.Fatalf("exit code %d\n%s\n%s", code, stderr.String(), stdout.String())
	}
	decoder := json.NewDecoder(&stdout)
	var report demoReport
	if err := decoder.Decode(&report); err != nil {
		t.Fatal(err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		t.Errorf("standard output holds more than one JSON object: %v", err)
	}
	if len(report.Deliveries) != 19 || len(report.Runs) != 15 || len(report.Releases) != 3 || len(report.Forks) != 1 {
		t.Errorf("%d deliveries, %d runs, %d releases; want 19, 15, 3", len(report.Deliveries), len(report.Runs), len(report.Releases))
	}
	// What the stand-in counted agrees with what the report says: fifteen runs, two of
	// them with a second ref; two starts; one approval; a retry and a rollback. Before the
	// starts, the approval and the retry the host was asked for the commit, and GitLab and Gitee, which
	// prove no body, before each of their runs; and Gitea, whose connection says so,
	// before each request of its runs. Each host was asked for each commit of its merge
	// request which files that changes, and before that for its commit, and before that where it comes from. A fork
	// was asked about twice, and what its author may once; so were a merge request and its author for each
	// of two comments. Gitee's is also read with
	// each status, of which there may be fewer than there could be.
	for operation, want := range map[string]int64{
		"run_task": 17, "operate_pipeline/start": 2, "operate_pipeline/approval": 1, "operate_pipeline/retry": 1, "operate_pipeline/rollback": 1, "github_ref": 2,
		"gitlab_branch": 3, "gitlab_merge_request": 8, "gitee_branch": 1, "gitea_branch": 2, "gitea_pull": 7,
		"github_pull": 9, "github_pull_files": 3, "github_permission": 3, "gitlab_diffs": 2, "gitee_pull_files": 2, "gitea_pull_files": 4,
	} {
		if got := report.Calls[operation]; got != want {
			t.Errorf("the stand-in counted %d of %s, want %d", got, operation, want)
		}
	}
}

// TestExpectationsCanBreak checks that a demo in which nothing happened fails.
func TestExpectationsCanBreak(t *testing.T) {
	if broken := brokenExpectations(demoReport{}); len(broken) < 10 {
		t.Errorf("an empty report breaks only %q", broken)
	}
}

// TestInvitation runs the demo as a person does: after the story it stays up, says how
// to call the other program, and ends when it is interrupted.
func TestInvitation(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	stdout := &apptest.Output{}
	env := command.Environment{Stdout: stdout, Stderr: stdout}
	ended := make(chan int, 1)
	go func() {
		ended <- command.Run(ctx, newRoot(env), []string{"--addr", "127.0.0.1:0", "--private-addr", "127.0.0.1:0"}, env)
	}()
	apptest.WaitFor(t, "the demo invites to try", func() bool { return strings.Contains(stdout.String(), "list runs --db") })
	interrupt()
	if code := <-ended; code != command.OK {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
	for self, want := range map[string]string{
		"/tmp/go-build1/b001/exe/demo": "go run ./cmd/server", "build/gatewright-demo": "build/gatewright", "gatewright-demo": "gatewright",
	} {
		if got := gatewright(self); got != want {
			t.Errorf("called as %s the other program is %q, want %q", self, got, want)
		}
	}
}

// TestStandin serves the stand-in on its own, and gets a token with the password that
// it was given.
func TestStandin(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	stdout := &apptest.Output{}
	env := command.Environment{Stdout: stdout, Stderr: io.Discard}
	ended := make(chan int, 1)
	go func() {
		ended <- command.Run(ctx, newRoot(env), []string{"standin", "--addr", "127.0.0.1:0", "--user", "ci", "--password", "a-password", "--scan-delay", "0s"}, env)
	}()
	apptest.WaitFor(t, "the stand-in prints its pipeline", func() bool { return strings.Contains(stdout.String(), "pipeline ") })
	if strings.Contains(stdout.String(), "a-password") {
		t.Errorf("the password that was given is printed:\n%s", stdout)
	}
	endpoint := strings.Fields(stdout.String())[1]
	tokens, err := huaweicloud.NewTokenSource(huaweicloud.TokenOptions{
		Endpoint: endpoint, Domain: "ci", User: "ci", Password: "a-password", ProjectName: "cn-north-4", HTTP: http.DefaultClient,
	})
	if err != nil {
		t.Fatal(err)
	}
	if id, err := tokens.ProjectID(t.Context()); err != nil || !strings.Contains(stdout.String(), id) {
		t.Errorf("project %q, error %v", id, err)
	}
	interrupt()
	if code := <-ended; code != command.OK {
		t.Errorf("exit code %d", code)
	}
}
