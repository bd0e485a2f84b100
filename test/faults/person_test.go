package main

import (
	"testing"

	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
)

// TestForsaken holds that the person does not get in the way of a release that will
// decide a checkpoint itself.
func TestForsaken(t *testing.T) {
	start := release.Release{ID: "s", Plan: rules.Release{Pipeline: "p", Action: rules.ReleaseStart}, ExecutionID: "7", State: release.AwaitingApproval}
	approval := func(state release.State) release.Release {
		return release.Release{ID: "a", After: "s", Plan: rules.Release{Pipeline: "p", Action: rules.ReleaseApprove}, State: state}
	}
	unanswered := release.Release{ID: "u", Plan: rules.Release{Pipeline: "p", Action: rules.ReleaseStart}, State: release.Starting, Intent: &release.Intent{}}
	elsewhere := unanswered
	elsewhere.Plan.Pipeline = "other"
	for name, c := range map[string]struct {
		all  []release.Release
		want bool
	}{
		"its approval waits":                   {[]release.Release{start, approval(release.Starting)}, false},
		"its approval was given":               {[]release.Release{start, approval(release.Succeeded)}, false},
		"its approval ended as unknown":        {[]release.Release{start, approval(release.Unknown)}, true},
		"its approval was refused":             {[]release.Release{start, approval(release.Refused)}, true},
		"nobody owns it":                       {nil, true},
		"a start has no answer":                {[]release.Release{unanswered}, false},
		"a start elsewhere has no answer":      {[]release.Release{elsewhere}, true},
		"it is another's execution that waits": {[]release.Release{{ID: "x", Plan: start.Plan, ExecutionID: "6"}, approval(release.Starting)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := forsaken("7", "p", c.all); got != c.want {
				t.Errorf("forsaken is %v", got)
			}
		})
	}
}
