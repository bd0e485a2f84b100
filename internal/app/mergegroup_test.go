package app_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
)

const queueRules = `
version: 1
defaults:
  check:
    project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07, name: demo}
    languages: [GO]
    create: {name: "{repository}-{branch}", auth_id: 6f1d0c52-8a0e-4a57-9a4d-2f7d3c9be001}
rules:
  - name: main
    on: [push, merge_group]
    match: {connection: github, branch: main}
    check: {}
    release: [{pipeline: shop, action: start}]
`

// TestMergeGroup: what GitHub's merge queue asks for is checked on its branch and told at its
// commit, and not released; the task that was created for the branch goes with it.
func TestMergeGroup(t *testing.T) { apptest.Each(t, demo.Options{Rules: queueRules}, testMergeGroup) }

func testMergeGroup(t *testing.T, d apptest.Service) {
	branch := "gh-readonly-queue/main/pr-7-" + d.World.Clean
	git := exec.CommandContext(t.Context(), "git", "-C", filepath.Join(filepath.Dir(d.ServerFile()), "github"), "update-ref", "refs/heads/"+branch, d.World.Mended)
	if out, err := git.CombinedOutput(); err != nil {
		t.Fatalf("make the branch: %v\n%s", err, out)
	}
	change := demo.Change{Branch: "main", SourceBranch: branch, Before: d.World.Clean, SHA: d.World.Mended}
	send := func(kind, id string, c demo.Change) {
		t.Helper()
		if sent, err := d.Send(t.Context(), demo.Delivery{Host: event.GitHub, Kind: kind, ID: id, Change: c}); err != nil || sent.Status != 202 {
			t.Fatalf("%s: %+v, %v", kind, sent, err)
		}
	}
	send("push", "1", demo.Change{Branch: branch, Before: d.World.Clean, SHA: d.World.Mended})
	send("merge-group", "2", change)
	r := d.Until(t, "the merge group is told", func(r demo.Records) bool {
		return len(r.Deliveries) == 2 && r.Decided() && len(r.Runs) == 1 && r.Told()
	})
	run := r.Runs[0]
	if run.State != codecheck.Passed || run.Event != event.MergeGroup || run.Task.Branch != branch || len(r.Releases) > 0 {
		t.Errorf("run %+v, releases %+v", run, r.Releases)
	}
	if status, _ := told(d, event.GitHub, d.World.Mended, "gatewright/check"); status.State != "success" {
		t.Errorf("GitHub shows %+v", status)
	}
	for _, delivery := range r.Deliveries {
		if delivery.HostID == "1" && !strings.Contains(delivery.Reason, "merge queue") {
			t.Errorf("the push of the queue's branch: %s", delivery.Reason)
		}
	}
	change.Deleted = true
	send("merge-group", "3", change)
	apptest.WaitFor(t, "the task is deleted", func() bool { return d.Standin.Counts().Acted["delete_task"] == 1 })
}
