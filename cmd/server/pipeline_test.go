package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/view"
)

// TestPipeline orders the actions on an execution by command, with the pipeline named as the
// server file does: pause in the console, continue, stop, continue again, roll back.
func TestPipeline(t *testing.T) {
	apptest.Each(t, demo.Options{Rules: strings.ReplaceAll(approvalByPerson, `"${PIPELINE}"`, "shop")}, testPipeline)
}

func testPipeline(t *testing.T, d apptest.Service) {
	state := func(id string, want release.State) {
		t.Helper()
		d.Until(t, string(want), func(r demo.Records) bool {
			return slices.ContainsFunc(r.Releases, func(rel view.ReleaseDetail) bool { return rel.ID == id && rel.State == want })
		})
	}
	operate := func(action, id string) string {
		t.Helper()
		code, stdout, stderr := gatewright(t, d, "pipeline", action, id[:20], "--reason", "agreed", "--actor", "ann", "--json")
		var done view.Done
		if code != command.OK || json.Unmarshal([]byte(stdout), &done) != nil {
			t.Fatalf("%s: exit code %d\n%s%s", action, code, stdout, stderr)
		}
		if a := done.Action; string(a.Name) != action || a.RecordID != id || a.Actor != "ann" || a.Details != done.Releases[0].ID {
			t.Errorf("%s: %+v", action, a)
		}
		return done.Releases[0].ID
	}
	d.Push(t, event.GitHub, "1", demo.Change{Branch: "main", Before: d.World.Parent, SHA: d.World.Clean})
	r := d.Until(t, "the checkpoint waits", func(r demo.Records) bool {
		return len(r.Releases) == 1 && r.Releases[0].State == release.AwaitingApproval
	})
	id := r.Releases[0].ID
	if err := d.Standin.ChangePipeline(d.World.Pipeline, standin.PipelineChange{Action: "stop"}); err != nil {
		t.Fatal(err)
	}
	state(id, release.Paused)
	if same := operate("continue", id); same != id {
		t.Errorf("release %s continues what release %s follows", same, id)
	}
	state(id, release.AwaitingApproval)
	operate("stop", id)
	state(id, release.Stopped)
	goesOn := operate("continue", id)
	state(goesOn, release.AwaitingApproval)
	order(t, d, "approve", "release", goesOn)
	state(goesOn, release.Succeeded)
	undone := operate("rollback", goesOn)
	state(undone, release.RolledBack)

	acted := d.Standin.Counts().Acted
	for operation, want := range map[string]int64{"start": 1, "continue": 2, "stop": 1, "approval": 1, "rollback": 1, "retry": 0} {
		if got := acted["operate_pipeline/"+operation]; got != want {
			t.Errorf("%d of %s, want %d", got, operation, want)
		}
	}
	for _, refused := range []struct{ want, command string }{
		{"it is rolled_back: retry is for a release that is failed, expired or unknown", "retry " + undone},
		{"release " + undone + " repeats it already", "rollback " + goesOn},
		{"it is stopped: stop is for", "stop " + id},
		{"is a run and not a release", "stop " + r.Runs[0].ID},
	} {
		code, stdout, stderr := gatewright(t, d, append(append([]string{"pipeline"}, strings.Fields(refused.command)...), "--reason", "agreed")...)
		if code != command.No || !strings.Contains(stderr, refused.want) {
			t.Errorf("%s: exit code %d\n%s%s", refused.command, code, stdout, stderr)
		}
	}
	for _, shown := range []struct {
		id   string
		want []string
	}{
		{id, []string{"pipeline    shop (" + d.World.Pipeline + ")", "action      stop by ann at ", "because   agreed (ann)", "state       stopped"}},
		{goesOn, []string{"continues   " + id, "action      continue", "state       succeeded"}},
		{undone, []string{"continues   " + goesOn, "was rolled back: agreed", "rollback successful (11)"}},
	} {
		_, stdout, stderr := gatewright(t, d, "show", shown.id)
		for _, text := range shown.want {
			if !strings.Contains(stdout, text) {
				t.Errorf("show %s lacks %q:\n%s%s", shown.id, text, stdout, stderr)
			}
		}
	}
	if _, stdout, _ := gatewright(t, d, "list", "releases", "--state", "rolled_back,stopped"); strings.Count(stdout, " shop ") != 2 {
		t.Errorf("list:\n%s", stdout)
	}
}
