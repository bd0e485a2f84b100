package release

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/rules"
)

func fixedProject(context.Context) (string, error) { return projectID, nil }

// keeper is the caller of an operator: it keeps one release as a database would,
// crashes when it is told to, and goes on with what it kept.
type keeper struct {
	t      *testing.T
	clock  *clock
	server *pipelineServer
	op     *Operator
	kept   []byte
}

func (k *keeper) load() Release {
	k.t.Helper()
	var r Release
	if err := json.Unmarshal(k.kept, &r); err != nil {
		k.t.Fatal(err)
	}
	return r
}

func (k *keeper) keep(r Release) {
	k.t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		k.t.Fatal(err)
	}
	k.kept = data
}

// step takes one step of the kept release, with a fault.
func (k *keeper) step(f fault) {
	k.t.Helper()
	k.server.set(f)
	save := func(_ context.Context, r Release) error {
		if f == saveFails {
			return errors.New("disk is full")
		}
		k.keep(r)
		if f == crashBefore {
			return errors.New("the process died")
		}
		return nil
	}
	r, wait, err := k.load(), time.Duration(0), error(nil)
	if r.State == Starting {
		r, wait, err = k.op.Act(k.t.Context(), r, save)
	} else {
		r, wait, err = k.op.Follow(k.t.Context(), r)
	}
	if err != nil {
		wait = 5 * time.Second
	} else if f != crashAfter && f != saveFails {
		k.keep(r)
	}
	if wait <= 0 && err == nil && !r.State.Ended() {
		k.t.Fatalf("no wait before the next step of a release that is %s (%s)", r.State, r.Reason)
	}
	k.clock.Move(max(wait, time.Second))
}

// run takes steps with the faults and then without any, until the release ends.
func (k *keeper) run(sequence []fault) Release {
	k.t.Helper()
	for _, f := range sequence {
		if k.load().State.Ended() {
			return k.load()
		}
		k.step(f)
	}
	for range 200 {
		if k.load().State.Ended() {
			return k.load()
		}
		k.step(noFault)
	}
	k.t.Fatalf("still %s after 200 steps: %s", k.load().State, k.load().Reason)
	return Release{}
}

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

// newKeeper makes a world for one sequence, on a server that is used again.
func newKeeper(t *testing.T, server *pipelineServer, op *Operator, r Release) *keeper {
	server.mu.Lock()
	defer server.mu.Unlock()
	server.clock.mu.Lock()
	server.clock.now = epoch()
	server.clock.mu.Unlock()
	server.executions = []execution{{id: 286540, at: epoch().Add(-time.Hour), status: StatusSucceeded}}
	server.starts, server.decisions, server.hiddenUntil = 0, nil, time.Time{}
	k := &keeper{t: t, clock: server.clock, server: server, op: op}
	k.keep(r)
	return k
}

func TestNoSequenceOfFaultsStartsTwice(t *testing.T) {
	t.Parallel()
	c := newClock()
	server, url := newPipelineServer(t, c)
	op := newOperator(t, url, c)
	server.instant = true
	ends := map[State]int{}
	// One fault of each kind three in a row, and all of them two in a row.
	kinds := []fault{noFault, lostRequest, lostAnswer, throttled, crashBefore, crashAfter, saveFails, slowEffect}
	for _, sequence := range append(sequences(kinds, 3), sequences(faults(), 2)...) {
		end := newKeeper(t, server, op, newRelease(rules.ReleaseStart)).run(sequence)
		ends[end.State]++
		starts, _ := server.done()
		switch {
		case starts > 1:
			t.Fatalf("%v: started %d times", sequence, starts)
		case end.State == Succeeded && (starts != 1 || end.ExecutionID != "286541"):
			t.Fatalf("%v: succeeded with execution %s and %d starts", sequence, end.ExecutionID, starts)
		case end.State == Failed && starts != 0:
			t.Fatalf("%v: failed (%s) although it was started", sequence, end.Reason)
		}
	}
	for _, state := range []State{Succeeded, Failed, Unknown} {
		if ends[state] == 0 {
			t.Errorf("no sequence ended as %s: %v", state, ends)
		}
	}
}

func TestNoSequenceOfFaultsDecidesTwice(t *testing.T) {
	t.Parallel()
	for _, action := range []rules.ReleaseAction{rules.ReleaseApprove, rules.ReleaseRefuse} {
		for _, rearm := range []bool{false, true} {
			c := newClock()
			server, url := newPipelineServer(t, c)
			op := newOperator(t, url, c)
			server.rearm = rearm
			ends := map[State]int{}
			for _, sequence := range sequences(faults(), 2) {
				r := newRelease(action)
				r.After, r.ExecutionID = "rel-0", "286541"
				k := newKeeper(t, server, op, r)
				server.begin(StatusToBeApproved)
				server.become(StatusToBeApproved, StatusToBeApproved)
				end := k.run(sequence)
				ends[end.State]++
				_, decisions := server.done()
				switch {
				case len(decisions) > 1:
					t.Fatalf("%v: decided %q", sequence, decisions)
				case end.State == Succeeded && !slices.Equal(decisions, []string{actionName(action)}):
					t.Fatalf("%v: succeeded with decisions %q", sequence, decisions)
				case end.State == Failed && len(decisions) != 0:
					t.Fatalf("%v: failed (%s) although it decided %q", sequence, end.Reason, decisions)
				}
			}
			if ends[Succeeded] == 0 || ends[Failed] == 0 || ends[Unknown] == 0 {
				t.Errorf("%s: an end state is missing: %v", action, ends)
			}
		}
	}
}
