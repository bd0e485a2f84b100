package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/view"
)

// approvalByPerson is a rule that leaves the checkpoint to a person.
const approvalByPerson = `
version: 1
defaults:
  check:
    project: {id: "${PROJECT}", name: demo}
    languages: [GO, JSON, SHELL]
    create: {name: "{owner}-{repository}-{branch}-{connection}", auth_id: 6f1d0c52-8a0e-4a57-9a4d-2f7d3c9be001}
rules:
  - name: release-main
    on: [push]
    check: {}
    release: [{pipeline: "${PIPELINE}", action: start}]
`

// order runs a command that a person gives, with a reason.
func order(t *testing.T, d apptest.Service, args ...string) (done view.Done) {
	t.Helper()
	code, stdout, stderr := gatewright(t, d, append(args, "--reason", "agreed", "--actor", "ann", "--json")...)
	if code != command.OK {
		t.Fatalf("%q: exit code %d\n%s%s", args, code, stdout, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &done); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, stdout)
	}
	if a := done.Action; string(a.Name) != args[0] || string(a.RecordKind) != args[1] || a.RecordID != args[2] || a.Actor != "ann" || a.Reason != "agreed" {
		t.Errorf("%q: action %+v", args, a)
	}
	return done
}

// TestPeople gives the commands of a person beside a running server, and while none runs:
// everything happens once for each time that it was asked for.
func TestPeople(t *testing.T) { apptest.Each(t, demo.Options{Rules: approvalByPerson}, testPeople) }

func testPeople(t *testing.T, d apptest.Service) {
	state := func(id string, want release.State) func(demo.Records) bool {
		return func(r demo.Records) bool {
			for _, rel := range r.Releases {
				if rel.ID == id {
					return rel.State == want
				}
			}
			return false
		}
	}
	d.Push(t, event.GitHub, "1", demo.Change{Branch: "main", Before: d.World.Parent, SHA: d.World.Clean})
	r := d.Until(t, "the checkpoint waits", func(r demo.Records) bool {
		return len(r.Releases) == 1 && r.Releases[0].State == release.AwaitingApproval
	})
	delivery, run, first := r.Deliveries[0].ID, r.Runs[0].ID, r.Releases[0].ID
	decision := order(t, d, "approve", "release", first).Releases[0].ID
	d.Until(t, "the decision is sent", state(decision, release.Succeeded))
	d.Until(t, "the pipeline ends", state(first, release.Succeeded))

	d.Halt(t)
	second := order(t, d, "rerun", "release", first).Releases[0].ID
	d.Resume(t, "")
	d.Until(t, "the checkpoint waits again", state(second, release.AwaitingApproval))
	order(t, d, "refuse", "release", second, "--task", d.World.Checkpoint)
	d.Until(t, "the pipeline is refused", state(second, release.Refused))

	again := order(t, d, "rerun", "run", run).Runs[0].ID
	r = d.Until(t, "the rerun is released", func(r demo.Records) bool {
		last := r.Releases[len(r.Releases)-1]
		return last.RunID == again && last.State == release.AwaitingApproval
	})
	if acted := d.Standin.Counts().Acted; acted["run_task"] != 2 || acted["operate_pipeline/start"] != 3 || acted["operate_pipeline/approval"] != 2 {
		t.Errorf("done: %v", acted)
	}
	for _, refused := range []struct{ want, command string }{
		{"it has ended as passed", "stop run " + run},
		{"repeats it already", "rerun run " + run},
		{"it is succeeded", "resolve release " + first + " --as failed"},
		{"it is refused, and no checkpoint waits", "approve release " + second},
		{"is a run and not a release", "rerun release " + run},
	} {
		code, stdout, stderr := gatewright(t, d, append(strings.Fields(refused.command), "--reason", "agreed")...)
		if code != command.No || !strings.Contains(stderr, refused.want) {
			t.Errorf("%s: exit code %d\n%s%s", refused.command, code, stdout, stderr)
		}
	}
	for id, want := range map[string][]string{
		first:    {"action      approve by ann at ", ": agreed (" + decision + ")", ": agreed (" + second + ")"},
		second:   {"rerun of    " + first, "action      refuse by ann at "},
		decision: {"decided by  ann", "state       succeeded"},
		run:      {"action      rerun by ann at ", "(" + again + ")"},
		again:    {"rerun of    " + run},
		delivery: {"start   awaiting_approval: ", "rerun of    " + run},
	} {
		_, stdout, stderr := gatewright(t, d, "show", id)
		for _, text := range want {
			if !strings.Contains(stdout, text) {
				t.Errorf("show %s lacks %q:\n%s%s", id, text, stdout, stderr)
			}
		}
		if strings.Contains(stdout, "undecided") {
			t.Errorf("show %s calls something undecided that is not:\n%s", id, stdout)
		}
	}
}
