package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
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
	if len(report.Deliveries) != 21 || len(report.Runs) != 15 || len(report.Releases) != 4 || len(report.Forks) != 1 {
		t.Errorf("%d deliveries, %d runs, %d releases; want 21, 15, 4", len(report.Deliveries), len(report.Runs), len(report.Releases))
	}
	if a := report.Approvals; len(a) != 2 || a[0].Via != "page" || a[0].Person != "ravi" || a[1].Via != "comment" || a[1].Identity != "gitea:12" {
		t.Errorf("approvals %+v", a)
	}
	if e := report.Evidence; !e.Verified || !e.Signed || len(e.Root) != 64 || e.Changed.Verified || e.Changed.Part != "approvals" || e.Changed.Problem == "" {
		t.Errorf("evidence %+v", e)
	}
	if a := report.Audit; !a.Verified || a.Rows < 10 || len(a.Hash) != 64 {
		t.Errorf("audit %+v", a)
	}
	// What the stand-in counted agrees with what the report says: fifteen runs, two of
	// them with a second ref; three starts; one approval; a retry and a rollback. Before the
	// starts, the approval and the retry the host was asked for the commit, and GitLab and Gitee, which
	// prove no body, before each of their runs; and Gitea, whose connection says so,
	// before each request of its runs. Each host was asked for each commit of its merge
	// request which files that changes, and before that for its commit, and before that where it comes from. A fork
	// was asked about twice, and what its author may once; so were a merge request and its author for each
	// of two comments at GitHub; Gitea was asked for those of two approvals, and before the start that they let go on. Gitee's is also read with
	// each status, of which there may be fewer than there could be.
	for operation, want := range map[string]int64{
		"run_task": 17, "operate_pipeline/start": 3, "operate_pipeline/approval": 1, "operate_pipeline/retry": 1, "operate_pipeline/rollback": 1, "github_ref": 2,
		"gitlab_branch": 3, "gitlab_merge_request": 8, "gitee_branch": 1, "gitea_branch": 2, "gitea_pull": 10,
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

// TestExpectationsOfApprovals breaks what people decided and what proves it, one at a time.
func TestExpectationsOfApprovals(t *testing.T) {
	const id, sha = "r1", "c1"
	held := func() demoReport {
		said := func(via, person string) demoApproval {
			return demoApproval{Release: id, Commit: sha, Person: person, Via: via, State: store.ApprovalApproved}
		}
		return demoReport{
			Approvals: []demoApproval{said("page", "ravi"), said("comment", "ada")},
			Commands:  []demoCommand{{Command: "approve", Author: "mona", Outcome: store.CommandRefused}},
			Releases:  []demoRelease{{ID: id, PipelineName: "staging", SHA: sha, State: release.Succeeded}},
			Audit:     demoAudit{Rows: 3, Hash: "h", Verified: true},
			Evidence:  demoEvidence{Release: id, Root: "h", Signed: true, Verified: true, Changed: demoChanged{Part: "approvals"}},
		}
	}
	broken := func(r demoReport) (broken []string) {
		expectApprovals(r, sha, func(holds bool, what string) {
			if !holds {
				broken = append(broken, what)
			}
		})
		return broken
	}
	if b := broken(held()); len(b) > 0 {
		t.Fatalf("a story that went well breaks %q", b)
	}
	for name, change := range map[string]func(*demoReport){
		"one approval":         func(r *demoReport) { r.Approvals = r.Approvals[:1] },
		"one person twice":     func(r *demoReport) { r.Approvals[1].Person = "ravi" },
		"both by comment":      func(r *demoReport) { r.Approvals[0].Via = "comment" },
		"of another commit":    func(r *demoReport) { r.Approvals[0].Commit = "c2" },
		"voided":               func(r *demoReport) { r.Approvals[1].State = store.ApprovalVoided },
		"the author may":       func(r *demoReport) { r.Commands[0].Outcome = store.CommandDone },
		"still held":           func(r *demoReport) { r.Releases[0].State = release.Held },
		"audit log broken":     func(r *demoReport) { r.Audit.Verified = false },
		"no audit log":         func(r *demoReport) { r.Audit = demoAudit{Verified: true} },
		"not signed":           func(r *demoReport) { r.Evidence.Signed = false },
		"evidence broken":      func(r *demoReport) { r.Evidence.Verified = false },
		"a change is not seen": func(r *demoReport) { r.Evidence.Changed = demoChanged{Verified: true} },
		"the wrong part":       func(r *demoReport) { r.Evidence.Changed.Part = "seal" },
	} {
		r := held()
		if change(&r); len(broken(r)) == 0 {
			t.Errorf("%s breaks no expectation", name)
		}
	}
}

// TestApproveOnPageRefusals says why a page could not be used.
func TestApproveOnPageRefusals(t *testing.T) {
	t.Parallel()
	for want, text := range map[string]string{
		"has no form that approves release r1": `<main><form action="/orders"><input name="action" value="refuse_held"/><input name="id" value="r1"/></form></main>`,
		"status 409: it is expired":            `<main>it is <b>expired</b><form action="/no"><input name="action" value="approve_held"/><input name="id" value="r1"/></form></main>`,
		"does not say that it is done":         `<main><form action="/lost"><input name="action" value="approve_held"/><input name="id" value="r1"/></form></main>`,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodGet:
			case r.Header.Get("Origin") == "" || r.FormValue("action") != "approve_held" || r.FormValue("reason") != "read it":
				t.Errorf("it sent %s, origin %q", r.Form, r.Header.Get("Origin"))
			case r.URL.Path == "/no":
				w.WriteHeader(http.StatusConflict)
			}
			_, _ = io.WriteString(w, text)
		}))
		if err := approveOnPage(t.Context(), server.URL, "r1", "read it"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		server.Close()
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
