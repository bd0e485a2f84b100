package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/storetest"
	"github.com/gatewright/gatewright/internal/tasks"
)

// TestTasks follows a task of a merge request from its creation to its end, with the
// commands that show it, beside a running server.
func TestTasks(t *testing.T) { apptest.Each(t, demo.Options{}, testTasks) }

func testTasks(t *testing.T, d apptest.Service) {
	plan := func(wantCode int) map[string]tasks.Planned {
		t.Helper()
		code, stdout, stderr := gatewright(t, d, "tasks", "plan", "--json")
		var answer struct{ Plan []tasks.Planned }
		if err := json.Unmarshal([]byte(stdout), &answer); err != nil || code != wantCode {
			t.Fatalf("exit code %d, want %d; error %v\n%s%s", code, wantCode, err, stdout, stderr)
		}
		byConnection := map[string]tasks.Planned{}
		for _, p := range answer.Plan {
			byConnection[p.Connection+" "+p.Branch] = p
		}
		return byConnection
	}
	before := plan(command.OK)
	if p := before["github main"]; p.State != tasks.Exists || p.TaskName != "shop-main" {
		t.Errorf("task of GitHub before: %+v", p)
	}
	if p := before["gitee main"]; p.State != tasks.Missing || !strings.Contains(p.Detail, "GO, JSON, SHELL") {
		t.Errorf("task of Gitee before: %+v", p)
	}

	d.Request(t)
	d.Until(t, "the merge request is checked", func(r demo.Records) bool { return len(r.Runs) == 1 && r.Runs[0].State.Ended() })
	if p := plan(command.OK)["gitee main"]; p.State != tasks.Exists || p.TaskName != "acme-shop-main-gitee" {
		t.Errorf("task of Gitee after: %+v", p)
	}
	code, stdout, _ := gatewright(t, d, "tasks", "list")
	for _, want := range []string{"TASK ", "LAST CHECK", "CREATOR", "shop-main", "acme-shop-main-gitee", "runs use it for branch main", "fits rule"} {
		if code != command.OK || !strings.Contains(stdout, want) {
			t.Errorf("exit code %d, no %q in\n%s", code, want, stdout)
		}
	}
	if code, stdout, _ := gatewright(t, d, "tasks", "list", "--project", strings.Repeat("0", 32)); code != command.No {
		t.Errorf("another project: exit code %d\n%s", code, stdout)
	}
	leftover := func(args ...string) []tasks.Leftover {
		t.Helper()
		code, stdout, stderr := gatewright(t, d, append([]string{"tasks", "prune", "--json"}, args...)...)
		var answer struct{ Leftover []tasks.Leftover }
		if err := json.Unmarshal([]byte(stdout), &answer); err != nil || code != command.OK {
			t.Fatalf("exit code %d, error %v\n%s%s", code, err, stdout, stderr)
		}
		return answer.Leftover
	}
	if left := leftover("--yes"); len(left) > 0 {
		t.Errorf("the task of an open merge request is left over: %+v", left)
	}

	closed := demo.Change{Branch: "main", SourceBranch: "feature/discount", Before: d.World.Clean, SHA: d.World.Bad, Number: demo.MergeRequest, Closed: true,
		Time: time.Now().Add(time.Second).UTC().Format(time.RFC3339)}
	if _, err := d.Send(t.Context(), demo.Delivery{Host: event.Gitee, Kind: "merge-request", Change: closed}); err != nil {
		t.Fatal(err)
	}
	apptest.WaitFor(t, "the task is deleted", func() bool { return d.Standin.Counts().Acted["delete_task"] == 1 })
	apptest.WaitFor(t, "the task is forgotten", func() bool { return len(leftover()) == 0 })
}

// TestLanguages lets a rule leave the languages of a new task to the host.
func TestLanguages(t *testing.T) {
	t.Parallel()
	d := apptest.Start(t, storetest.Database{Name: "sqlite"}, demo.Options{Rules: `
version: 1
rules:
  - name: all
    on: merge_request
    check:
      project: {id: ${PROJECT}, name: demo}
      create: {auth_id: 6f1d0c52-8a0e-4a57-9a4d-2f7d3c9be001}
      timeout: 2m
`})
	d.Request(t)
	run := d.Until(t, "the merge request is checked", func(r demo.Records) bool { return len(r.Runs) == 1 && r.Runs[0].State.Ended() }).Runs[0]
	code, stdout, stderr := gatewright(t, d, "show", run.ID)
	if code != command.OK || !strings.Contains(stdout, "GO, ") || !strings.Contains(stdout, "the host says ") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}
