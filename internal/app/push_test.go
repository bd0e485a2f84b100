package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

// TestNewerCommitSupersedes holds that a run ends when a newer commit comes, and
// that only the newer one is released.
func TestNewerCommitSupersedes(t *testing.T) {
	// The first scan lasts until it is stopped.
	apptest.Each(t, demo.Options{ScanDelay: apptest.EndlessScan}, testNewerCommitSupersedes)
}

func testNewerCommitSupersedes(t *testing.T, d apptest.Service) {
	d.Push(t, event.GitHub, "1", demo.Change{Branch: "main", SHA: d.World.Parent})
	d.Until(t, "the first run is running", apptest.Scanning)
	d.Standin.SetScanDelay(apptest.ShortScan)
	d.Push(t, event.GitHub, "2", demo.Change{Branch: "main", Before: d.World.Parent, SHA: d.World.Clean})
	r := d.Until(t, "the second is released", apptest.Released)
	if r.Runs[0].State != codecheck.Superseded || r.Runs[1].State != codecheck.Passed {
		t.Errorf("runs ended %s and %s", r.Runs[0].State, r.Runs[1].State)
	}
	if stopped := d.Standin.Counts().Acted["stop_task"]; stopped != 1 {
		t.Errorf("%d executions were stopped at CodeArts Check, want the older one", stopped)
	}
	for _, rel := range r.Releases {
		if rel.Commit != d.World.Clean {
			t.Errorf("commit %s was released", rel.Commit)
		}
	}
}

// TestNewerCommitWhileAReleaseWaits holds that a release of an older commit does not
// keep the pipeline from the newer one: its checkpoint is refused.
func TestNewerCommitWhileAReleaseWaits(t *testing.T) {
	apptest.Each(t, demo.Options{}, testNewerCommitWhileAReleaseWaits)
}

func testNewerCommitWhileAReleaseWaits(t *testing.T, d apptest.Service) {
	// GitHub has the first commit on main yet. The start passes; the approval is turned
	// away until the newer commit is decided.
	setFaults(t, d, standin.Fault{Kind: standin.FaultMoved, Operations: []string{"github_ref"}},
		standin.Fault{Kind: standin.FaultThrottle, Operations: []string{"operate_pipeline"}, Skip: 1})
	d.Push(t, event.GitHub, "1", demo.Change{Branch: "main", SHA: d.World.Parent})
	d.Until(t, "the first is being released", func(r demo.Records) bool {
		return len(r.Releases) == 2 && slices.ContainsFunc(r.Releases, func(rel view.ReleaseDetail) bool { return rel.ExecutionID != "" })
	})
	d.Push(t, event.GitHub, "2", demo.Change{Branch: "main", Before: d.World.Parent, SHA: d.World.Clean})
	d.Until(t, "the newer commit is decided", func(r demo.Records) bool { return len(r.Deliveries) == 2 && r.Decided() })
	setFaults(t, d)
	r := d.Until(t, "both have ended", func(r demo.Records) bool { return len(r.Releases) == 4 && r.Ended() })
	for i, want := range []release.State{release.Refused, release.Refused, release.Succeeded, release.Succeeded} {
		// The first release itself ends by the refusal of its checkpoint.
		if got := r.Releases[i].State; got != want && (want != release.Refused || got != release.Failed) {
			t.Errorf("%s of %s ended %s: %s", r.Releases[i].Action, command.ShortSHA(r.Releases[i].Commit), got, r.Releases[i].Reason)
		}
	}
}

// TestBurst holds that of many pushes in a row only the newest is checked to the end
// and released, in whatever order they are decided.
func TestBurst(t *testing.T) {
	// No scan ends before all pushes are decided.
	apptest.Each(t, demo.Options{ScanDelay: apptest.EndlessScan}, testBurst)
}

func testBurst(t *testing.T, d apptest.Service) {
	before := d.World.Parent
	for i := range 8 {
		sha := fmt.Sprintf("%040x", i+1)
		if i == 7 {
			sha = d.World.Clean
		}
		d.Push(t, event.GitHub, fmt.Sprint(i), demo.Change{Branch: "main", Before: before, SHA: sha})
		before = sha
	}
	d.Until(t, "all are decided", func(r demo.Records) bool { return len(r.Deliveries) == 8 && r.Decided() })
	d.Standin.SetScanDelay(apptest.ShortScan)
	d.Standin.EndScans()
	r := d.Until(t, "the newest is released", func(r demo.Records) bool { return len(r.Releases) >= 2 && r.Ended() })
	for _, rel := range r.Releases {
		if rel.Commit != d.World.Clean || rel.State != release.Succeeded {
			t.Errorf("%s of %s ended %s: %s", rel.Action, command.ShortSHA(rel.Commit), rel.State, rel.Reason)
		}
	}
	for _, run := range r.Runs {
		if want := run.Commit == d.World.Clean; (run.State == codecheck.Passed) != want {
			t.Errorf("run of %s ended %s: %s", command.ShortSHA(run.Commit), run.State, run.Reason)
		}
	}
}

// TestDeletedBranchIsNotReleased holds that what a rule does not ask about ends a run
// all the same.
func TestDeletedBranchIsNotReleased(t *testing.T) {
	apptest.Each(t, demo.Options{ScanDelay: apptest.EndlessScan}, testDeletedBranchIsNotReleased)
}

func testDeletedBranchIsNotReleased(t *testing.T, d apptest.Service) {
	d.Push(t, event.GitLab, "1", demo.Change{Branch: "main", Before: d.World.Parent, SHA: d.World.Clean})
	d.Until(t, "the run is running", apptest.Scanning)
	d.Push(t, event.GitLab, "2", demo.Change{Branch: "main", Before: d.World.Clean, Deleted: true})
	r := d.Until(t, "the run has ended", func(r demo.Records) bool { return len(r.Deliveries) == 2 && r.Ended() })
	if r.Runs[0].State != codecheck.Superseded || !strings.Contains(r.Runs[0].Reason, "deleted") {
		t.Errorf("the run ended %s: %s", r.Runs[0].State, r.Runs[0].Reason)
	}
}

// TestAgain holds that a change that was taken back and made again is acted upon
// again.
func TestAgain(t *testing.T) { apptest.Each(t, demo.Options{}, testAgain) }

func testAgain(t *testing.T, d apptest.Service) {
	forth := demo.Change{Branch: "scratch", Before: d.World.Parent, SHA: d.World.Clean}
	back := demo.Change{Branch: "scratch", Before: d.World.Clean, SHA: d.World.Parent}
	for i, c := range []demo.Change{forth, back, forth} {
		d.Push(t, event.GitHub, fmt.Sprint(i), c)
		d.Until(t, "it is decided", func(r demo.Records) bool { return len(r.Deliveries) == i+1 && r.Ended() })
	}
	r, err := d.Records(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, delivery := range r.Deliveries {
		if delivery.State != event.DeliveryDecided {
			t.Errorf("delivery %d ended %s: %s", i, delivery.State, delivery.Reason)
		}
	}
}

// TestMovedBranchIsNotReleased holds that a verdict releases nothing once the
// branch has a newer commit.
func TestMovedBranchIsNotReleased(t *testing.T) {
	apptest.Each(t, demo.Options{ScanDelay: apptest.EndlessScan}, testMovedBranchIsNotReleased)
}

func testMovedBranchIsNotReleased(t *testing.T, d apptest.Service) {
	d.Push(t, event.GitHub, "1", demo.Change{Branch: "main", Before: d.World.Parent, SHA: d.World.Clean})
	d.Until(t, "the run is running", apptest.Scanning)
	// A rule that does not supersede leaves the run; here the head alone moves.
	err := d.Store().Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.AdvanceHead(t.Context(), event.Event{
			Connection: "github", Kind: event.Push, Branch: "main", HeadSHA: d.World.Bad, Before: d.World.Clean,
			Repository: event.Repository{ID: "1001"},
		}, "zzz") // later than any delivery
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	d.Standin.EndScans()
	r := d.Until(t, "the releases are there", apptest.Released)
	for _, rel := range r.Releases {
		if rel.State != release.Refused || !strings.Contains(rel.Reason, "has the newer commit") {
			t.Errorf("%s ended %s: %s", rel.Action, rel.State, rel.Reason)
		}
	}
	if started := d.Standin.Counts().Calls["operate_pipeline/start"]; started != 0 {
		t.Errorf("the pipeline was started %d times", started)
	}
}

// TestSameChangeTwice holds that one change announced under two ids is acted upon
// once, and the same delivery sent at once many times is stored once.
func TestSameChangeTwice(t *testing.T) { apptest.Each(t, demo.Options{}, testSameChangeTwice) }

func testSameChangeTwice(t *testing.T, d apptest.Service) {
	c := demo.Change{Branch: "main", Before: d.World.Parent, SHA: d.World.Clean, Time: time.Now().UTC().Format(time.RFC3339)}
	d.Push(t, event.GitLab, "1", c)
	d.Push(t, event.GitLab, "2", c)
	if again := d.Push(t, event.GitLab, "1", c); again.Status != http.StatusOK {
		t.Errorf("a known delivery was answered %d", again.Status)
	}
	r := d.Until(t, "both are decided", func(r demo.Records) bool {
		return len(r.Deliveries) == 2 && r.Decided()
	})
	states := []event.DeliveryState{r.Deliveries[0].State, r.Deliveries[1].State}
	slices.Sort(states)
	if !slices.Equal(states, []event.DeliveryState{event.DeliveryDecided, event.DeliveryDuplicate}) || len(r.Runs) != 1 {
		t.Errorf("states %v with %d runs", states, len(r.Runs))
	}
}
