package jobs_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/jobs"
)

const releasingPolicy = `
version: 1
defaults:
  check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07, name: demo}}
rules:
  - name: release-main
    on: [push]
    check: {}
    release:
      - {pipeline: ` + heldPipeline + `, action: start}
      - {pipeline: ` + heldPipeline + `, action: approve, task: gate}
`

// TestGoingBack resets a branch to a commit that was released, while a newer one is on
// its way: the newer one's checkpoint is refused, the decision says that the older one is
// released again only by a rerun, and a rerun does that.
func TestGoingBack(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		p.policy = releasingPolicy
		q, _ := p.start(t, jobs.Options{ReconcileEvery: time.Hour})
		b := bench{q, p.store}
		releasesOf := func(delivery string) (start, approval string) {
			t.Helper()
			run := p.runOf(t, b, delivery, "release-main")
			p.untilState(t, run.ID, "passed")
			list := releases(t, p, run.ID)
			return list[0], list[1]
		}
		b.decided(t, "b")
		start, approval := releasesOf("b")
		p.untilState(t, approval, "succeeded")
		p.untilState(t, start, "succeeded")

		p.services.hold(t, "before")
		b.decided(t, "c")
		start, approval = releasesOf("c")
		p.untilState(t, start, "running")
		back := b.decided(t, "back")
		run := p.runOf(t, b, "b", "release-main")
		if back.State != event.DeliveryDecided || !strings.Contains(back.Reason, "run "+run.ID+" checks that commit already; only gatewright rerun run "+run.ID) {
			t.Errorf("going back ended %s: %s", back.State, back.Reason)
		}
		if runs := b.runs(t, "back"); len(runs) != 0 {
			t.Errorf("going back made runs: %+v", runs)
		}
		p.services.letGo(t, "before")
		p.untilState(t, approval, "refused")
		if now := p.record(t, approval); !strings.Contains(now.reason, "has the newer commit b") {
			t.Errorf("the newer commit's checkpoint: %s", now.reason)
		}
		p.untilState(t, start, "refused")

		done, err := p.RerunRun(t.Context(), run.ID, ann)
		if err != nil {
			t.Fatal(err)
		}
		again := done.Runs[0].ID
		p.untilState(t, again, "passed")
		for _, id := range releases(t, p, again) {
			p.untilState(t, id, "succeeded")
		}
		if starts, decisions := p.services.operated(heldPipeline); starts != 3 || !slices.Equal(decisions, []string{"agree", "refuse", "agree"}) {
			t.Errorf("%d starts, decisions %q", starts, decisions)
		}
	})
}
