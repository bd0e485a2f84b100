package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/view"
)

// TestOK vouches for the commit of a fork beside a running server.
func TestOK(t *testing.T) { apptest.Each(t, demo.Options{}, testOK) }

func testOK(t *testing.T, d apptest.Service) {
	sent, err := d.Send(t.Context(), demo.Delivery{Host: event.GitHub, Kind: "merge-request", ID: "1", Change: demo.Change{
		Branch: "main", SourceBranch: "patch-1", Number: demo.ForkRequest, Before: d.World.Clean, SHA: d.World.Fork, Fork: true,
	}})
	if err != nil {
		t.Fatal(err)
	}
	d.Until(t, "it waits", func(r demo.Records) bool { return len(r.Deliveries) == 1 && r.Told() })
	_, stdout, _ := gatewright(t, d, "show", sent.ID)
	for _, want := range []string{"state       ignored", "skipped   merge-requests   fork is not trusted: it comes from a fork, and its author", "gatewright ok " + sent.ID} {
		if !strings.Contains(stdout, want) {
			t.Errorf("show lacks %q:\n%s", want, stdout)
		}
	}
	code, stdout, stderr := gatewright(t, d, "ok", sent.ID[:13], "--reason", "read it", "--actor", "ann", "--json")
	var done view.Done
	if err := json.Unmarshal([]byte(stdout), &done); err != nil || code != command.OK {
		t.Fatalf("exit code %d, error %v\n%s%s", code, err, stdout, stderr)
	}
	if a := done.Action; a.Name != "ok" || a.RecordKind != "delivery" || a.RecordID != sent.ID || a.Details != d.World.Fork || len(done.Deliveries) != 1 {
		t.Errorf("done is %+v", done)
	}
	r := d.Until(t, "it is checked", func(r demo.Records) bool { return len(r.Runs) == 1 && r.Told() })
	if r.Runs[0].State != codecheck.Passed || r.Runs[0].Commit != d.World.Fork {
		t.Errorf("the run is %+v", r.Runs[0].Run)
	}
	_, stdout, _ = gatewright(t, d, "show", sent.ID)
	for _, want := range []string{"state       decided", "fork is trusted: ann vouches for commit " + d.World.Fork[:8] + ": read it", "action      ok by ann at ", "(" + d.World.Fork + ")"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("show lacks %q:\n%s", want, stdout)
		}
	}
	for id, want := range map[string]string{sent.ID: "it does not wait for somebody who vouches for its commit: it is decided", r.Runs[0].ID: "is a run and not a delivery"} {
		code, stdout, stderr := gatewright(t, d, "ok", id, "--reason", "once more")
		if code != command.No || !strings.Contains(stderr, want) {
			t.Errorf("ok %s: exit code %d\n%s%s", id, code, stdout, stderr)
		}
	}
}
