package release

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/standin"
)

// sequences returns every sequence of n of the faults.
func sequences(faults []fault, n int) [][]fault {
	all := [][]fault{nil}
	for range n {
		var longer [][]fault
		for _, s := range all {
			for _, f := range faults {
				longer = append(longer, append(slices.Clone(s), f))
			}
		}
		all = longer
	}
	return all
}

// instant are tasks that end at once, so that nothing but the client keeps a second
// start from being accepted.
func instant() []standin.PipelineTask {
	return []standin.PipelineTask{{Name: "build", Seconds: new(0.0)}}
}

func TestNoSequenceOfFaultsStartsTwice(t *testing.T) {
	t.Parallel()
	// A start shows at once, or late but before it is given up.
	for _, delay := range []time.Duration{0, 20 * time.Second} {
		all := sequences(allFaults(), 2)
		if delay == 0 && !testing.Short() { // one of each kind, three in a row
			all = append(all, sequences([]fault{noFault, lostRequest, lostAnswer, throttled, crashBefore, crashAfter, saveFails}, 3)...)
		}
		t.Run("shown after "+delay.String(), func(t *testing.T) {
			t.Parallel()
			ends := map[State]int{}
			for _, sequence := range all {
				inWorld(t, standin.ReleaseSettings{RegisterDelay: delay}, instant(), func(t *testing.T, w *world) {
					w.startedBefore()
					end := w.keeper(newRelease(rules.ReleaseStart, time.Now())).run(sequence)
					ends[end.State]++
					starts := len(w.acted()) - 1
					switch {
					case starts > 1:
						t.Fatalf("%q: started %d times", sequence, starts)
					case end.State == Succeeded && (starts != 1 || end.ExecutionID != "286541"):
						t.Fatalf("%q: succeeded with execution %s and %d starts", sequence, end.ExecutionID, starts)
					case end.State == Failed && starts != 0:
						t.Fatalf("%q: failed (%s) although it was started", sequence, end.Reason)
					}
				})
			}
			wantStates(t, ends, Succeeded, Failed, Unknown)
		})
	}
}

func TestNoSequenceOfFaultsDecidesTwice(t *testing.T) {
	t.Parallel()
	tasks := []standin.PipelineTask{{Name: "gate", Kind: "approval"}, {Name: "deploy", Seconds: new(0.0)}}
	wire := map[rules.ReleaseAction]string{rules.ReleaseApprove: "approval agree", rules.ReleaseRefuse: "approval refuse"}
	for action, decision := range wire {
		// With a delay the checkpoint waits on after each decision, so that nothing but
		// the client keeps a second one from being accepted.
		for _, delay := range []time.Duration{0, 24 * time.Hour} {
			t.Run(fmt.Sprintf("%s, carried out after %s", action, delay), func(t *testing.T) {
				t.Parallel()
				ends := map[State]int{}
				for _, sequence := range sequences(allFaults(), 2) {
					inWorld(t, standin.ReleaseSettings{ApprovalDelay: delay}, tasks, func(t *testing.T, w *world) {
						w.operate("start")
						time.Sleep(time.Second)
						r := newRelease(action, time.Now())
						r.After, r.ExecutionID = "rel-0", "286540"
						end := w.keeper(r).run(sequence)
						ends[end.State]++
						decisions := w.acted()[1:]
						switch {
						case len(decisions) > 1:
							t.Fatalf("%q: decided %q", sequence, decisions)
						case end.State == Succeeded && !slices.Equal(decisions, []string{decision}):
							t.Fatalf("%q: succeeded with decisions %q", sequence, decisions)
						case end.State == Failed && len(decisions) != 0:
							t.Fatalf("%q: failed (%s) although it decided %q", sequence, end.Reason, decisions)
						}
					})
				}
				wantStates(t, ends, Succeeded, Failed, Unknown)
			})
		}
	}
}

// wantStates holds that the sequences reach exactly these end states.
func wantStates(t *testing.T, ends map[State]int, want ...State) {
	t.Helper()
	if got := slices.Sorted(maps.Keys(ends)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("the sequences ended as %v, want each of %v", ends, want)
	}
}
