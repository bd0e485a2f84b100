package app_test

import (
	"testing"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/standin"
)

// TestFaultsOfTheServices holds that what the services do wrong ends nowhere but
// in an end state, with nothing done twice.
func TestFaultsOfTheServices(t *testing.T) {
	t.Parallel()
	second := 1
	for name, fault := range map[string]standin.Fault{
		"throttled":                     {Kind: standin.FaultThrottle, Next: 5, RetryAfter: &second},
		"server errors":                 {Kind: standin.FaultStatus, Status: 502, Next: 5},
		"network busy":                  {Kind: standin.FaultBusy, Next: 5},
		"the task is busy":              {Kind: standin.FaultRunning, Operations: []string{"run_task"}, Next: 2},
		"the run's answer is lost":      {Kind: standin.FaultLost, Operations: []string{"run_task"}, Next: 1},
		"the start's answer is lost":    {Kind: standin.FaultLost, Operations: []string{"operate_pipeline"}, Next: 1},
		"the approval's answer is lost": {Kind: standin.FaultLost, Operations: []string{"operate_pipeline"}, Skip: 1, Next: 1},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.Each(t, demo.Options{}, func(t *testing.T, d apptest.Service) {
				setFaults(t, d, fault)
				d.Push(t, event.GitHub, "1", demo.Change{Branch: "main", Before: d.World.Parent, SHA: d.World.Clean})
				r := d.Until(t, "released", apptest.Released)
				for _, rel := range r.Releases {
					if rel.State != release.Succeeded {
						t.Errorf("%s ended %s: %s", rel.Action, rel.State, rel.Reason)
					}
				}
				acted := d.Standin.Counts().Acted
				for _, operation := range []string{"operate_pipeline/start", "operate_pipeline/approval"} {
					if acted[operation] != 1 {
						t.Errorf("%s was done %d times", operation, acted[operation])
					}
				}
			})
		})
	}
}

// setFaults replaces the faults of the stand-in; none switches them off.
func setFaults(t *testing.T, d apptest.Service, faults ...standin.Fault) {
	t.Helper()
	if err := d.Standin.SetFaults(standin.Faults{Faults: faults}); err != nil {
		t.Fatal(err)
	}
}
