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
						decidedOnce(t, sequence, end, w.acted()[1:], decision)
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

// TestNoSequenceOfFaultsOperatesTwice holds that stop, retry, continue and rollback are each
// sent once, whatever goes wrong in two steps, and that the end tells what happened.
func TestNoSequenceOfFaultsOperatesTwice(t *testing.T) {
	t.Parallel()
	gate := []standin.PipelineTask{{Name: "gate", Kind: "approval"}}
	for _, c := range []struct {
		action rules.ReleaseAction
		tasks  []standin.PipelineTask
		before []string
		// done is the end state of a release whose action took effect.
		done State
	}{
		{rules.ReleaseStop, gate, []string{"start"}, Stopped},
		{rules.ReleaseRetry, []standin.PipelineTask{{Name: "deploy", Seconds: new(0.0), FailTimes: 1}}, []string{"start"}, Succeeded},
		{rules.ReleaseContinue, gate, []string{"start", "stop"}, Expired},
		{rules.ReleaseRollback, instant(), []string{"start"}, RolledBack},
	} {
		for _, other := range []bool{false, true} {
			if other && c.action != rules.ReleaseRetry {
				continue // they differ in the id that is answered, and no more
			}
			t.Run(fmt.Sprintf("%s, new execution %t", c.action, other), func(t *testing.T) {
				t.Parallel()
				ends := map[State]int{}
				for _, sequence := range sequences(allFaults(), 2) {
					inWorld(t, standin.ReleaseSettings{NewExecutions: other}, c.tasks, func(t *testing.T, w *world) {
						for _, action := range c.before {
							w.operate(action)
							time.Sleep(time.Minute)
						}
						r := newRelease(rules.ReleaseStart, time.Now())
						r.State, r.ExecutionID, r.Continues = Running, "286540", "rel-0"
						r.Plan.ApprovalTimeout = 5 * time.Minute
						end := w.keeper(r.Order(c.action, "ann", "a reason", time.Now())).run(sequence)
						ends[end.State]++
						acted := w.acted()[len(c.before):]
						switch {
						case len(acted) > 1:
							t.Fatalf("%q: acted %q", sequence, acted)
						case end.State == c.done && !slices.Equal(acted, []string{string(c.action)}):
							t.Fatalf("%q: %s with actions %q", sequence, end.State, acted)
						case end.State == Failed && len(acted) != 0:
							t.Fatalf("%q: failed (%s) although it acted %q", sequence, end.Reason, acted)
						case end.Operation != nil || len(end.Actions) == 0:
							t.Fatalf("%q: ended with operation %+v and actions %+v", sequence, end.Operation, end.Actions)
						}
					})
				}
				wantStates(t, ends, c.done, Failed, Unknown)
			})
		}
	}
}

// TestTheRuleWalksItsStepsOnce lets an execution fail again and again, with a fault in two
// of the steps.
func TestTheRuleWalksItsStepsOnce(t *testing.T) {
	t.Parallel()
	steps := []rules.FailureStep{{Action: rules.ReleaseRetry, Times: 2}, {Action: rules.ReleaseRollback, Times: 1}}
	tasks := []standin.PipelineTask{{Name: "deploy", Seconds: new(0.0), Fail: true}}
	ends := map[State]int{}
	for _, sequence := range sequences(allFaults(), 2) {
		inWorld(t, standin.ReleaseSettings{RestartDelay: 20 * time.Second}, tasks, func(t *testing.T, w *world) {
			w.operate("start")
			time.Sleep(time.Minute)
			r := newRelease(rules.ReleaseStart, time.Now())
			r.State, r.ExecutionID, r.Plan.OnFailure = Running, "286540", steps
			end := w.keeper(r).run(sequence)
			ends[end.State]++
			acted := w.acted()[1:]
			retries := slices.DeleteFunc(slices.Clone(acted), func(a string) bool { return a != "retry" })
			if len(retries) > 2 || len(acted)-len(retries) > 1 || slices.Contains(acted, "rollback") && acted[len(acted)-1] != "rollback" {
				t.Fatalf("%q: acted %q", sequence, acted)
			}
			if end.State == RolledBack && acted[len(acted)-1] != "rollback" {
				t.Fatalf("%q: rolled back by %q", sequence, acted)
			}
		})
	}
	wantStates(t, ends, RolledBack, Failed, Unknown)
}

// decidedOnce checks that a release which ended after a sequence of faults has decided once
// at most, as it says.
func decidedOnce(t *testing.T, sequence []fault, end Release, decisions []string, decision string) {
	t.Helper()
	switch {
	case len(decisions) > 1:
		t.Fatalf("%q: decided %q", sequence, decisions)
	case end.State == Succeeded && !slices.Equal(decisions, []string{decision}):
		t.Fatalf("%q: succeeded with decisions %q", sequence, decisions)
	case end.State == Failed && len(decisions) != 0:
		t.Fatalf("%q: failed (%s) although it decided %q", sequence, end.Reason, decisions)
	}
}
