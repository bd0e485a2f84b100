package app_test

import (
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/standin"
)

// TestUnconfirmedIsNotReleased: GitHub has another commit than the one that was announced and
// checked, so nothing is started.
func TestUnconfirmedIsNotReleased(t *testing.T) {
	t.Parallel()
	d := apptest.OnSQLite(t)
	setFaults(t, d, standin.Fault{Kind: standin.FaultMoved, Operations: []string{"github_ref"}})
	d.Push(t, event.GitHub, "1", demo.Change{Branch: "main", Before: d.World.Parent, SHA: d.World.Clean})
	r := d.Until(t, "the releases have ended", apptest.Released)
	for _, rel := range r.Releases {
		if rel.State != release.Refused || !strings.Contains(rel.Reason, "on its host") {
			t.Errorf("%s ended %s: %s", rel.Action, rel.State, rel.Reason)
		}
	}
	if r.Runs[0].State != codecheck.Passed {
		t.Errorf("the run of a signed push ended %s: %s", r.Runs[0].State, r.Runs[0].Reason)
	}
	if n := d.Standin.Counts().Calls["operate_pipeline/start"]; n != 0 {
		t.Errorf("the pipeline was asked to start %d times", n)
	}
}

// TestUnconfirmedIsNotChecked: a host that does not sign its bodies is asked before the run. It
// is down for a while, or has another commit.
func TestUnconfirmedIsNotChecked(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		host  event.Host
		fault standin.Fault
		want  codecheck.State
		scans int64
	}{
		"down for a while": {event.Gitee, standin.Fault{Kind: standin.FaultDropped, Operations: []string{"gitee_branch"}, Next: 2}, codecheck.Passed, 1},
		"another commit":   {event.GitLab, standin.Fault{Kind: standin.FaultMoved, Operations: []string{"gitlab_branch"}}, codecheck.Superseded, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := apptest.OnSQLite(t)
			setFaults(t, d, test.fault)
			d.Push(t, test.host, "1", demo.Change{Branch: "main", SHA: d.World.Clean})
			r := d.Until(t, "the run has ended", func(r demo.Records) bool { return len(r.Runs) == 1 && r.Checked() })
			if r.Runs[0].State != test.want {
				t.Errorf("the run ended %s: %s", r.Runs[0].State, r.Runs[0].Reason)
			}
			calls := d.Standin.Counts().Calls
			if calls["run_task"] != test.scans || test.scans == 0 && calls["create_task_v3"] > 0 {
				t.Errorf("%d runs and %d tasks were asked for", calls["run_task"], calls["create_task_v3"])
			}
		})
	}
}
