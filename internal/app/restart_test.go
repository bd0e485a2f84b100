package app_test

import (
	"slices"
	"testing"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/view"
)

// TestRestartInTheMiddle stops the server at each stage of the way of one push;
// the next start continues it, and nothing happens twice.
func TestRestartInTheMiddle(t *testing.T) {
	t.Parallel()
	for name, reached := range map[string]func(demo.Records) bool{
		"after the delivery":  func(r demo.Records) bool { return len(r.Deliveries) == 1 },
		"while the scan runs": apptest.Scanning,
		"while the release runs": func(r demo.Records) bool {
			return len(r.Releases) == 2 && slices.ContainsFunc(r.Releases, func(rel view.ReleaseDetail) bool { return rel.ExecutionID != "" })
		},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.Each(t, demo.Options{}, func(t *testing.T, d apptest.Service) {
				d.Push(t, event.GitHub, "1", demo.Change{Branch: "main", Before: d.World.Parent, SHA: d.World.Clean})
				d.Until(t, name, reached)
				d.Restart(t)
				r := d.Until(t, "released", apptest.Released)
				for _, rel := range r.Releases {
					if rel.State != release.Succeeded {
						t.Errorf("%s ended %s: %s", rel.Action, rel.State, rel.Reason)
					}
				}
				d.ActedOnce(t)
			})
		})
	}
}
