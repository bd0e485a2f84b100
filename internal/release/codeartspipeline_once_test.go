package release

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/standin"
)

// TestNoSequenceOfFaultsRunsTwice is TestNoSequenceOfFaultsStartsTwice for CodeArts Pipeline,
// with the refusals that it gives in three forms.
func TestNoSequenceOfFaultsRunsTwice(t *testing.T) {
	t.Parallel()
	steps := []standin.CodeStep{{Name: "Roll out", Seconds: new(0.0)}}
	for _, errors := range []string{"400", "200", "nested_200"} {
		t.Run(errors, func(t *testing.T) {
			t.Parallel()
			ends := map[State]int{}
			for _, sequence := range sequences(allFaults(), 2) {
				inCodeWorld(t, standin.Options{CodePipelineErrors: errors}, steps, func(t *testing.T, w *world) {
					before := w.runCode()
					time.Sleep(time.Hour)
					end := w.keeper(newCodeRelease(rules.ReleaseStart, time.Now())).run(sequence)
					ends[end.State]++
					starts := len(w.acted()) - 1
					switch {
					case starts > 1:
						t.Fatalf("%q: started %d times", sequence, starts)
					case end.State == Succeeded && (starts != 1 || end.ExecutionID == before):
						t.Fatalf("%q: succeeded with run %s and %d starts", sequence, end.ExecutionID, starts)
					case end.State == Failed && starts != 0:
						t.Fatalf("%q: failed (%s) although it was started", sequence, end.Reason)
					}
				})
			}
			wantStates(t, ends, Succeeded, Failed, Unknown)
		})
	}
}

// TestARunOfSomebodyElseIsNotAdopted loses the request, while somebody else starts the
// pipeline at the same time: the description tells them apart.
func TestARunOfSomebodyElseIsNotAdopted(t *testing.T) {
	for _, f := range []fault{lostRequest, lostAnswer} {
		inCodeWorld(t, standin.Options{}, []standin.CodeStep{{Name: "Roll out", Seconds: new(600.0)}}, func(t *testing.T, w *world) {
			k := w.keeper(newCodeRelease(rules.ReleaseStart, time.Now()))
			k.step(f)
			w.setFaults()
			other := w.runCode()
			end := k.run(nil)
			if f == lostRequest && end.State != Unknown || f == lostAnswer && (end.State != Succeeded || end.ExecutionID == other) {
				t.Errorf("%s: %s with run %s, somebody else's is %s (%s)", f, end.State, end.ExecutionID, other, end.Reason)
			}
		})
	}
}

// TestNoSequenceOfFaultsReviewsTwice is TestNoSequenceOfFaultsDecidesTwice for the manual
// reviews of CodeArts Pipeline, in each way in which the service may show that one waits.
func TestNoSequenceOfFaultsReviewsTwice(t *testing.T) {
	t.Parallel()
	steps := []standin.CodeStep{{Name: "gate", Review: true}, {Name: "Roll out", Seconds: new(0.0)}}
	wire := map[rules.ReleaseAction]string{rules.ReleaseApprove: "pass_review", rules.ReleaseRefuse: "refuse_review"}
	for action, decision := range wire {
		for _, shown := range []string{"running", "suspend", "suspend_step"} {
			t.Run(fmt.Sprintf("%s, shown as %s", action, shown), func(t *testing.T) {
				t.Parallel()
				ends := map[State]int{}
				for _, sequence := range sequences(allFaults(), 2) {
					inCodeWorld(t, standin.Options{ReviewState: shown}, steps, func(t *testing.T, w *world) {
						r := newCodeRelease(action, time.Now())
						r.After, r.ExecutionID = "rel-0", w.runCode()
						time.Sleep(time.Second)
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

// TestNoSequenceOfFaultsActsOnARunTwice holds that stop and retry of a run are sent once each,
// also while a newer run of somebody else goes on.
func TestNoSequenceOfFaultsActsOnARunTwice(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		action rules.ReleaseAction
		step   standin.CodeStep
		sent   string
		done   State
	}{
		{rules.ReleaseStop, standin.CodeStep{Name: "gate", Review: true}, "stop_code_run", Stopped},
		{rules.ReleaseRetry, standin.CodeStep{Name: "Roll out", Seconds: new(0.0), FailTimes: 1}, "retry_code_run", Succeeded},
	} {
		t.Run(string(c.action), func(t *testing.T) {
			t.Parallel()
			ends := map[State]int{}
			for _, sequence := range sequences(allFaults(), 2) {
				inCodeWorld(t, standin.Options{}, []standin.CodeStep{c.step}, func(t *testing.T, w *world) {
					r := newCodeRelease(rules.ReleaseStart, time.Now())
					r.State, r.ExecutionID, r.Continues = Running, w.runCode(), "rel-0"
					time.Sleep(time.Minute)
					w.runCode()
					end := w.keeper(r.Order(c.action, "ann", "a reason", time.Now())).run(sequence)
					ends[end.State]++
					acted := w.acted()[2:]
					switch {
					case len(acted) > 1:
						t.Fatalf("%q: acted %q", sequence, acted)
					case end.State == c.done && !slices.Equal(acted, []string{c.sent}):
						t.Fatalf("%q: %s with actions %q", sequence, end.State, acted)
					case end.State == Failed && len(acted) != 0:
						t.Fatalf("%q: failed (%s) although it acted %q", sequence, end.Reason, acted)
					}
				})
			}
			wantStates(t, ends, c.done, Failed, Unknown)
		})
	}
}
