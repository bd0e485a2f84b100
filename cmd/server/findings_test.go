package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

// TestFindingsCommands checks a branch and then a merge request into it, and asks for the
// findings of the latter, and for its verdict by other rules.
func TestFindingsCommands(t *testing.T) { apptest.Each(t, demo.Options{}, testFindingsCommands) }

func testFindingsCommands(t *testing.T, d apptest.Service) {
	d.Push(t, event.Gitee, "1", demo.Change{Branch: "main", Before: d.World.Parent, SHA: d.World.Clean})
	r := d.Until(t, "the branch is checked", demo.Records.Checked)
	branch := r.Runs[0]
	d.Request(t)
	r = d.Until(t, "the merge request is checked", func(r demo.Records) bool { return len(r.Runs) == 2 && r.Checked() })
	run := r.Runs[1]
	if branch.State != codecheck.Passed || run.State != codecheck.Failed {
		t.Fatalf("the branch ended %s (%s), the merge request %s (%s)", branch.State, branch.Reason, run.State, run.Reason)
	}

	code, stdout, stderr := gatewright(t, d, "show", run.ID, "--findings", "--json")
	var found view.Findings
	if err := json.Unmarshal([]byte(stdout), &found); err != nil || code != command.OK {
		t.Fatalf("exit code %d, %v\n%s%s", code, err, stdout, stderr)
	}
	fresh := 0
	for _, f := range found.Findings {
		if f.ID == "" || f.Fingerprint == "" || f.Path == "" || f.Baseline == "" {
			t.Errorf("finding %+v", f)
		}
		if f.Baseline == codecheck.BaselineNew {
			fresh++
		}
	}
	if !found.Complete || fresh == 0 || found.Count != len(found.Findings) {
		t.Errorf("%d findings, of which %d are new: %s", found.Count, fresh, stdout)
	}
	if want := run.NewCounts; want == nil || fresh != want.Critical+want.Major+want.Minor+want.Suggestion {
		t.Errorf("%d findings are new by comparison, and the summary counts %+v", fresh, want)
	}
	if found.BaselineRunID != branch.ID {
		t.Errorf("compared with %q, want the run of main, %s", found.BaselineRunID, branch.ID)
	}
	code, stdout, _ = gatewright(t, d, "show", run.ID, "--findings")
	if code != command.OK || strings.Count(stdout, "\n") < found.Count || !strings.Contains(stdout, "critical") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
	code, stdout, _ = gatewright(t, d, "show", run.ID[:20], "--sarif")
	var log struct {
		Version string
		Runs    []struct {
			Results []struct{ BaselineState string }
		}
	}
	if err := json.Unmarshal([]byte(stdout), &log); err != nil || code != command.OK || log.Version != "2.1.0" || len(log.Runs[0].Results) != found.Count {
		t.Errorf("exit code %d, %v\n%s", code, err, stdout)
	}

	rulesOf := func(gate string) string {
		path := filepath.Join(t.TempDir(), "rules.yaml")
		text := `
version: 1
defaults: {check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07, name: demo}}}
rules:
  - {name: ` + run.Rule + `, on: [merge_request], check: {gate: ` + gate + `}}
`
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for gate, want := range map[string]int{
		"{critical: any, major: any}":                                           command.OK,
		"{critical: any, new: {critical: 0}}":                                   command.No,
		"{critical: any, major: any, minor: any, codearts_gate: require}":       command.No,
		"{critical: 99, major: 99, codearts_gate: show, new: {suggestion: 99}}": command.OK,
	} {
		code, stdout, stderr := gatewright(t, d, "rejudge", run.ID, "--rules", rulesOf(gate), "--actor", "ann", "--json")
		var done rejudged
		if err := json.Unmarshal([]byte(stdout), &done); err != nil || code != want || done.New.Passed != (want == command.OK) || done.Old.Passed {
			t.Errorf("%s: exit code %d, want %d, %v\n%s%s", gate, code, want, err, stdout, stderr)
		}
		if a := done.Action; a.Name != store.ActionRemark || a.RecordID != run.ID || !strings.Contains(a.Reason, "judged again for ann by rule") {
			t.Errorf("%s: action %+v", gate, a)
		}
	}
	if code, stdout, _ := gatewright(t, d, "rejudge", run.ID[:20]); code != command.No || !strings.Contains(stdout, "the outcome would be the same; the run stays failed") {
		t.Errorf("by the rules in force: exit code %d\n%s", code, stdout)
	}
	if _, stdout, _ := gatewright(t, d, "show", run.ID); strings.Count(stdout, "judged again for ") != 5 || !strings.Contains(stdout, "failed") {
		t.Errorf("the remarks are not shown:\n%s", stdout)
	}

	for _, refused := range []struct {
		want string
		args []string
	}{
		{"is not a run", []string{"show", r.Deliveries[0].ID, "--findings"}},
		{"is not a run", []string{"rejudge", r.Deliveries[0].ID}},
		{`no rule "merge-requests" that checks`, []string{"rejudge", run.ID, "--rules", otherRule(t)}},
		{"begins with", []string{"rejudge", "nobody"}},
	} {
		if code, _, stderr := gatewright(t, d, refused.args...); code != command.No || !strings.Contains(stderr, refused.want) {
			t.Errorf("%q: exit code %d, %s", refused.args, code, stderr)
		}
	}
	if code, _, _ := gatewright(t, d, "show", run.ID, "--sarif", "--json"); code != command.Usage {
		t.Errorf("--sarif with --json: exit code %d", code)
	}
}

// otherRule is the path of rules that have another one only.
func otherRule(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "other.yaml")
	text := "version: 1\nrules: [{name: other, on: [push], check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07}}}]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
