package jobs_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/store"
)

// acted are the actions on a pipeline that the queue took.
func (p people) acted(r release.Release) []string {
	actions := []string{}
	for _, call := range p.services.done("operate_pipeline") {
		if call.Pipeline == r.Plan.Pipeline {
			actions = append(actions, strings.TrimSpace(call.Action+" "+call.ApprovalType))
		}
	}
	return actions
}

// sent are the entries of a release's actions, as "name result by".
func sent(r release.Release) []string {
	list := []string{}
	for _, a := range r.Actions {
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %s", a.Name, a.Result, a.By)))
	}
	return list
}

// change changes what a pipeline does.
func (p people) change(t *testing.T, r release.Release, change standin.PipelineChange) {
	t.Helper()
	if err := p.services.ChangePipeline(r.Plan.Pipeline, change); err != nil {
		t.Fatal(err)
	}
}

// setState gives a release a state, as a step would, with no operation.
func (p people) setState(t *testing.T, id string, state release.State) {
	t.Helper()
	if err := p.store.Update(t.Context(), func(tx *store.Tx) error {
		v, err := tx.LockRelease(t.Context(), id)
		if err != nil {
			return err
		}
		v.Record.State, v.Record.Operation = state, nil
		return tx.SaveRelease(t.Context(), v.Record, &v.Version)
	}); err != nil {
		t.Fatal(err)
	}
}

// TestOnFailure lets executions fail and the rule do what it says, each step once.
func TestOnFailure(t *testing.T) {
	steps := []rules.FailureStep{{Action: rules.ReleaseRetry, Times: 2}, {Action: rules.ReleaseRollback, Times: 1}}
	for name, c := range map[string]struct {
		steps         []rules.FailureStep
		fails         int
		rollbackFails bool
		state, reason string
		acted         []string
	}{
		"fails once":            {steps, 1, false, "succeeded", "release successful (2)", []string{"start", "retry"}},
		"fails always":          {steps, -1, false, "rolled_back", `was rolled back: on_failure: execution `, []string{"start", "retry", "retry", "rollback"}},
		"rollback fails":        {steps, -1, true, "failed", "rollback failed (12)", []string{"start", "retry", "retry", "rollback"}},
		"no rollback":           {steps[:1], -1, false, "failed", `release failed (3) at "deploy"`, []string{"start", "retry", "retry"}},
		"a rollback alone":      {steps[1:], -1, false, "rolled_back", "was rolled back", []string{"start", "rollback"}},
		"nothing is to be done": {nil, -1, false, "failed", `release failed (3) at "deploy"`, []string{"start"}},
	} {
		t.Run(name, func(t *testing.T) {
			eachPeople(t, func(t *testing.T, p people) {
				p.leave(t, func(l *lost) {
					r := l.newRelease("release")
					r.State, r.StartedAt, r.Plan.OnFailure = release.Starting, time.Time{}, c.steps
					_, err := l.tx.AddRelease(l.ctx, r)
					l.check(err)
				})
				p.change(t, p.release(t, "release"), standin.PipelineChange{Fail: map[string]int{"deploy": c.fails}, RollbackFails: &c.rollbackFails})
				p.start(t, jobs.Options{})
				p.untilState(t, "release", c.state)
				r := p.release(t, "release")
				if diff := gocmp.Diff(c.acted, p.acted(r)); diff != "" || !strings.Contains(r.Reason, c.reason) {
					t.Errorf("%s; acted (-want +got):\n%s", r.Reason, diff)
				}
				if len(r.Actions) != len(c.acted) || r.Operation != nil {
					t.Errorf("actions %+v, operation %+v", r.Actions, r.Operation)
				}
			})
		})
	}
}

// TestNothingIsRetriedForAnOlderCommit rolls back at once when the branch has moved on.
func TestNothingIsRetriedForAnOlderCommit(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		p.leave(t, func(l *lost) {
			r := l.newRelease("release")
			l.check(l.services.ChangePipeline(r.Plan.Pipeline, standin.PipelineChange{Fail: map[string]int{"deploy": -1}}))
			var err error
			r.ExecutionID, err = l.services.startPipeline(l.ctx, r.Plan.Pipeline, release.StatusFailed)
			l.check(err)
			r.State = release.Running
			r.Plan.OnFailure = []rules.FailureStep{{Action: rules.ReleaseRetry, Times: 2}, {Action: rules.ReleaseRollback, Times: 1}}
			_, err = l.tx.AddRelease(l.ctx, r)
			l.check(err)
		})
		p.moveOn(t, p.release(t, "release").Event)
		p.start(t, jobs.Options{})
		p.untilState(t, "release", "rolled_back")
		r := p.release(t, "release")
		if diff := gocmp.Diff([]string{"rollback"}, p.acted(r)); diff != "" || !strings.Contains(r.Reason, "not retried: ") {
			t.Errorf("%s; acted (-want +got):\n%s", r.Reason, diff)
		}
	})
}

// TestRetryIsConfirmed retries only while the git host has the commit: a newer push may not
// have been announced.
func TestRetryIsConfirmed(t *testing.T) {
	for name, c := range map[string]struct {
		tip   string
		acted []string
	}{
		"the same commit": {"", []string{"retry", "retry", "rollback"}},
		"another commit":  {another, []string{"rollback"}},
	} {
		t.Run(name, func(t *testing.T) {
			eachPeople(t, func(t *testing.T, p people) {
				p.leave(t, func(l *lost) {
					ev := l.push("release")
					ev.HeadSHA = announced
					r := l.newReleaseFor("release", ev)
					l.check(l.services.ChangePipeline(r.Plan.Pipeline, standin.PipelineChange{Fail: map[string]int{"deploy": -1}}))
					var err error
					r.ExecutionID, err = l.services.startPipeline(l.ctx, r.Plan.Pipeline, release.StatusFailed)
					l.check(err)
					r.State = release.Running
					r.Plan.OnFailure = []rules.FailureStep{{Action: rules.ReleaseRetry, Times: 2}, {Action: rules.ReleaseRollback, Times: 1}}
					_, err = l.tx.AddRelease(l.ctx, r)
					l.check(err)
				})
				ev := p.release(t, "release").Event
				host, url := newGitHost(t)
				_, repository, _ := strings.Cut(ev.Repository.FullName, "/")
				host.tips[repository] = cmp.Or(c.tip, ev.HeadSHA)
				p.start(t, confirmed(t, url, []string{ev.Connection}))
				p.untilState(t, "release", "rolled_back")
				r := p.release(t, "release")
				if diff := gocmp.Diff(c.acted, p.acted(r)); diff != "" {
					t.Errorf("%s; acted (-want +got):\n%s", r.Reason, diff)
				}
				if c.tip != "" && !strings.Contains(r.Reason, "not retried: branch \"main\" has commit aaaabbbb on its host") {
					t.Errorf("reason %q", r.Reason)
				}
			})
		})
	}
}

// TestApprovalEndsWithItsStoppedStarter ends an approval whose execution was stopped: what
// is paused by that never reaches the checkpoint.
func TestApprovalEndsWithItsStoppedStarter(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		p.leave(t, func(l *lost) {
			r := l.newRelease("release")
			r.State, r.Plan.Action, r.Plan.Task = release.Starting, rules.ReleaseApprove, "gate"
			r.After = l.addRelease(release.Stopped, &r, "286541").ID
			_, err := l.tx.AddRelease(l.ctx, r)
			l.check(err)
		})
		p.start(t, jobs.Options{})
		p.untilState(t, "release", "stopped")
		if r := p.release(t, "release"); !strings.Contains(r.Reason, "whose execution it decides, was stopped") || len(p.acted(r)) > 0 {
			t.Errorf("%s; acted %q", r.Reason, p.acted(r))
		}
	})
}

// TestOnSuperseded stops an execution whose branch has a newer commit, and lets the release
// of that start over it.
func TestOnSuperseded(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		p.leave(t, func(l *lost) {
			for _, id := range []string{"stops", "leaves"} {
				r := l.newRelease(id)
				r.Plan.Pipeline = gateID(number(r.Event))
				if id == "stops" {
					r.Plan.OnSuperseded = rules.ReactionStop
				}
				l.addWaiting(r)
			}
		})
		stops, leaves := p.release(t, "stops"), p.release(t, "leaves")
		p.start(t, jobs.Options{ReconcileEvery: 100 * time.Millisecond, ReconcileAfter: time.Millisecond})
		p.moveOn(t, leaves.Event)
		p.moveOn(t, stops.Event)
		p.untilState(t, "stops", "stopped")
		r := p.release(t, "stops")
		if diff := gocmp.Diff([]string{"stop"}, p.acted(r)); diff != "" || !strings.Contains(r.Reason, "on_superseded: ") || r.Status != int(release.StatusPaused) {
			t.Errorf("%s; acted (-want +got):\n%s", r.Reason, diff)
		}
		if now := p.release(t, "leaves"); now.State != release.AwaitingApproval {
			t.Errorf("the other one is %s: %s", now.State, now.Reason)
		}
		// The release of the newer commit.
		if err := p.store.Update(t.Context(), func(tx *store.Tx) error {
			next := r
			next.ID, next.Index, next.State, next.ExecutionID, next.Intent, next.Actions = "next", 7, release.Starting, "", nil, nil
			next.Event.HeadSHA = "newer"
			run, err := tx.Run(t.Context(), r.RunID)
			if err != nil {
				return err
			}
			run.ID, run.Event, run.Rule = "run of next", next.Event, "rule of next"
			if _, _, err := tx.AddRun(t.Context(), run); err != nil {
				return err
			}
			next.RunID, next.Deadline = run.ID, time.Now().Add(time.Hour)
			_, err = tx.AddRelease(t.Context(), next)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		p.until(t, "next", func(now record) bool { return now.state == "awaiting_approval" })
		if next := p.release(t, "next"); next.ExecutionID == r.ExecutionID {
			t.Error("the next release follows the stopped execution")
		}
	})
}

// TestOnDeadline stops an execution that takes longer than it may.
func TestOnDeadline(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		p.leave(t, func(l *lost) {
			l.deadline = l.at.Add(time.Minute)
			for _, id := range []string{"stops", "leaves"} {
				r := l.newRelease(id)
				r.Plan.Pipeline = gateID(number(r.Event))
				if r.WaitsForPersonSince = l.at; id == "stops" {
					r.Plan.OnDeadline = rules.ReactionStop
				}
				l.addWaiting(r)
			}
		})
		p.start(t, jobs.Options{})
		p.untilState(t, "stops", "stopped")
		p.untilState(t, "leaves", "expired")
		if r := p.release(t, "stops"); !strings.Contains(r.Reason, "on_deadline: ") || !slices.Equal(p.acted(r), []string{"stop"}) {
			t.Errorf("%s, %q", r.Reason, p.acted(r))
		}
		if r := p.release(t, "leaves"); len(p.acted(r)) != 0 {
			t.Errorf("%q", p.acted(r))
		}
	})
}

// TestOperate takes every action by a person, on releases that have ended and on such that
// have not.
func TestOperate(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		ctx := t.Context()
		leave := func(l *lost, id string, state release.State, gate bool, fails int) {
			r := l.newRelease(id)
			reaches := release.StatusSucceeded
			if fails != 0 {
				reaches = release.StatusFailed
				l.check(l.services.ChangePipeline(r.Plan.Pipeline, standin.PipelineChange{Fail: map[string]int{"deploy": fails}}))
			}
			if gate {
				r.Plan.Pipeline, reaches = gateID(number(r.Event)), release.StatusToBeApproved
			}
			var err error
			r.ExecutionID, err = l.services.startPipeline(l.ctx, r.Plan.Pipeline, reaches)
			l.check(err)
			r.State = state
			_, err = l.tx.AddRelease(l.ctx, r)
			l.check(err)
		}
		p.leave(t, func(l *lost) {
			leave(l, "failed, retried", release.Failed, false, 1)
			leave(l, "failed, rolled back", release.Failed, false, 1)
			leave(l, "succeeded, rolled back", release.Succeeded, false, 0)
			leave(l, "running, stopped", release.AwaitingApproval, true, 0)
			leave(l, "expired, stopped", release.Expired, true, 0)
			leave(l, "overtaken, rolled back", release.Succeeded, false, 0)
			leave(l, "moved on, retried", release.Failed, false, 1)
			leave(l, "moved on, rolled back", release.Failed, false, 1)
			leave(l, "succeeded, stopped", release.Succeeded, false, 0)
		})
		p.moveOn(t, p.release(t, "moved on, retried").Event)
		p.moveOn(t, p.release(t, "moved on, rolled back").Event)
		// Somebody else starts the pipeline.
		p.change(t, p.release(t, "overtaken, rolled back"), standin.PipelineChange{Action: "start"})

		operate := func(id string, action rules.ReleaseAction) string {
			t.Helper()
			done, err := p.Operate(ctx, id, action, ann)
			if err != nil {
				t.Fatalf("%s: %v", id, err)
			}
			return done.Releases[0].ID
		}
		_, err := p.Operate(ctx, "moved on, retried", rules.ReleaseRetry, ann)
		refused(t, "an older commit", err, "has the newer commit")
		_, err = p.Operate(ctx, "succeeded, stopped", rules.ReleaseStop, ann)
		refused(t, "a state that does not allow it", err, "it is succeeded: stop is for a release that is running, awaiting_approval, paused, failed, expired or unknown")
		orders := map[string]rules.ReleaseAction{
			"failed, retried": rules.ReleaseRetry, "failed, rolled back": rules.ReleaseRollback, "succeeded, rolled back": rules.ReleaseRollback,
			"running, stopped": rules.ReleaseStop, "expired, stopped": rules.ReleaseStop, "overtaken, rolled back": rules.ReleaseRollback,
			"moved on, rolled back": rules.ReleaseRollback,
		}
		by := map[string]string{}
		before := map[string]release.Release{}
		for id, action := range orders {
			before[id] = p.release(t, id)
			by[id] = operate(id, action)
			_, err := p.Operate(ctx, id, action, ann)
			want := "is ordered already and not finished"
			if before[id].State.Ended() {
				want = "release " + by[id] + " repeats it already"
			}
			refused(t, id+" twice", err, want)
			if diff := gocmp.Diff([]string{string(action) + " " + by[id] + " by ann: the scanner is mended"}, p.actions(t, id)); diff != "" {
				t.Errorf("actions (-want +got):\n%s", diff)
			}
		}
		p.serve(t)
		for id, want := range map[string]struct{ state, reason, acted string }{
			"failed, retried":        {"succeeded", "release successful (2)", "retry"},
			"failed, rolled back":    {"rolled_back", "was rolled back: the scanner is mended", "rollback"},
			"succeeded, rolled back": {"rolled_back", "was rolled back: the scanner is mended", "rollback"},
			"running, stopped":       {"stopped", "was stopped and is paused (7): the scanner is mended", "stop"},
			"expired, stopped":       {"stopped", "was stopped and is paused (7): the scanner is mended", "stop"},
			"overtaken, rolled back": {"failed", "rollback was not sent: execution ", ""},
			"moved on, rolled back":  {"rolled_back", "was rolled back: the scanner is mended", "rollback"},
		} {
			p.untilState(t, by[id], want.state)
			r := p.release(t, by[id])
			if acted := strings.Join(p.acted(r), ","); acted != want.acted || !strings.Contains(r.Reason, want.reason) {
				t.Errorf("%s: %s; acted %q, want %q and %q", id, r.Reason, acted, want.reason, want.acted)
			}
			if last := r.Actions[len(r.Actions)-1]; last.By != "ann" || last.Reason != "the scanner is mended" {
				t.Errorf("%s: %+v", id, last)
			}
			if by[id] == id {
				continue
			}
			if r.Continues != id || r.Plan.Action != orders[id] {
				t.Errorf("%s: %+v", id, r)
			}
			if diff := gocmp.Diff(before[id], p.release(t, id)); diff != "" {
				t.Errorf("what has ended was changed:\n%s", diff)
			}
		}
		// What was stopped is continued, and a checkpoint of it is decided by a person.
		goesOn := operate("running, stopped", rules.ReleaseContinue)
		p.untilState(t, goesOn, "awaiting_approval")
		if _, err := p.Decide(ctx, goesOn, rules.ReleaseApprove, "", ann); err != nil {
			t.Fatal(err)
		}
		p.untilState(t, goesOn, "succeeded")
		// What was rolled back is released once more, as the rule said.
		done, err := p.RerunRelease(ctx, by["succeeded, rolled back"], ann)
		if err != nil {
			t.Fatal(err)
		}
		again := done.Releases[0]
		p.untilState(t, again.ID, "succeeded")
		if again.Plan.Action != rules.ReleaseStart || again.RerunOf != by["succeeded, rolled back"] {
			t.Errorf("rerun %+v", again)
		}
		if r := p.release(t, again.ID); r.ExecutionID == before["succeeded, rolled back"].ExecutionID {
			t.Error("a rerun follows the execution that was rolled back")
		}
		_, err = p.RerunRelease(ctx, "failed, retried", ann)
		refused(t, "what was retried", err, "release "+by["failed, retried"]+" repeats it already")
	})
}

// TestOutdatedOperationIsRefused ends as refused what a person ordered for an execution whose
// branch has moved on before it could be sent; another order can follow it.
func TestOutdatedOperationIsRefused(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		orders := map[string]rules.ReleaseAction{"continued": rules.ReleaseContinue, "retried": rules.ReleaseRetry}
		p.leaveWaiting(t, "continued")
		p.change(t, p.release(t, "continued"), standin.PipelineChange{Action: "stop"})
		p.setState(t, "continued", release.Stopped)
		p.leave(t, func(l *lost) {
			r := l.newRelease("retried")
			l.check(l.services.ChangePipeline(r.Plan.Pipeline, standin.PipelineChange{Fail: map[string]int{"deploy": 1}}))
			var err error
			r.ExecutionID, err = l.services.startPipeline(l.ctx, r.Plan.Pipeline, release.StatusFailed)
			l.check(err)
			r.State = release.Failed
			_, err = l.tx.AddRelease(l.ctx, r)
			l.check(err)
		})
		by := map[string]string{}
		for id, action := range orders {
			done, err := p.Operate(t.Context(), id, action, ann)
			if err != nil {
				t.Fatal(err)
			}
			by[id] = done.Releases[0].ID
			p.moveOn(t, p.release(t, id).Event)
		}
		p.serve(t)
		for id, action := range orders {
			p.untilState(t, by[id], "refused")
			if r := p.release(t, by[id]); len(p.acted(r)) != 0 || !strings.HasPrefix(r.Reason, string(action)+" was not sent: ") || !strings.Contains(r.Reason, "has the newer commit") {
				t.Errorf("%s: %s; acted %q", id, r.Reason, p.acted(r))
			}
			_, err := p.Operate(t.Context(), by[id], action, ann)
			refused(t, id+" once more", err, "has the newer commit")
		}
		done, err := p.Operate(t.Context(), by["retried"], rules.ReleaseRollback, ann)
		if err != nil {
			t.Fatal(err)
		}
		p.untilState(t, done.Releases[0].ID, "rolled_back")
	})
}

// TestRefusedAfterARetry calls refused the execution that a person retried, and whose
// checkpoint a decision of the release before refused between two looks.
func TestRefusedAfterARetry(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		p.leave(t, func(l *lost) {
			r := l.newRelease("failed")
			r.Plan.Pipeline = gateID(number(r.Event))
			var err error
			r.ExecutionID, err = l.services.startPipeline(l.ctx, r.Plan.Pipeline, release.StatusToBeApproved)
			l.check(err)
			l.check(l.services.decide(l.ctx, r.Plan.Pipeline, "refuse"))
			r.State = release.Failed
			_, err = l.tx.AddRelease(l.ctx, r)
			l.check(err)

			retries := r
			retries.ID, retries.Continues, retries.State, retries.Plan.Action = "retries", "failed", release.Running, rules.ReleaseRetry
			retries.Actions = []release.Action{{Name: rules.ReleaseRetry, By: "ann", At: l.at, ExecutionID: r.ExecutionID, Result: release.ResultAccepted}}
			_, err = l.tx.MarkRerun(l.ctx, store.RecordRelease, "failed", "retries")
			l.check(err)
			_, err = l.tx.AddRelease(l.ctx, retries)
			l.check(err)

			refuses := r
			refuses.ID, refuses.Index, refuses.After, refuses.State, refuses.DecidedBy = "refuses", 1, "failed", release.Succeeded, "ann"
			refuses.Plan.Action, refuses.Plan.Task = rules.ReleaseRefuse, "gate"
			refuses.Intent = &release.Intent{SentAt: l.at, Action: rules.ReleaseRefuse}
			_, err = l.tx.AddRelease(l.ctx, refuses)
			l.check(err)
		})
		p.start(t, jobs.Options{})
		p.untilState(t, "retries", "refused")
	})
}

// TestPaused follows an execution that somebody paused in the console, until a person
// continues it.
func TestPaused(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		ctx := t.Context()
		p.leaveWaiting(t, "continued", "stopped")
		for _, id := range []string{"continued", "stopped"} {
			p.change(t, p.release(t, id), standin.PipelineChange{Action: "stop"})
		}
		p.start(t, jobs.Options{})
		for _, id := range []string{"continued", "stopped"} {
			p.untilState(t, id, "paused")
			if r := p.release(t, id); r.WaitsForPersonSince.IsZero() || !strings.Contains(r.Reason, "gatewright pipeline continue or stop") {
				t.Errorf("%+v", r)
			}
		}
		_, err := p.Operate(ctx, "continued", rules.ReleaseRetry, ann)
		refused(t, "retry of what is paused", err, "it is paused: retry is for a release that is failed, expired or unknown")
		for id, action := range map[string]rules.ReleaseAction{"continued": rules.ReleaseContinue, "stopped": rules.ReleaseStop} {
			if done, err := p.Operate(ctx, id, action, ann); err != nil || done.Releases[0].ID != id {
				t.Fatal(done, err)
			}
		}
		p.untilState(t, "continued", "awaiting_approval")
		p.untilState(t, "stopped", "stopped")
		if r := p.release(t, "stopped"); len(p.acted(r)) != 0 || !strings.Contains(r.Reason, "no stop was sent") {
			t.Errorf("%s, %q", r.Reason, p.acted(r))
		}
		if r := p.release(t, "continued"); !slices.Equal(sent(r), []string{"continue accepted ann"}) {
			t.Errorf("%q", sent(r))
		}
	})
}

// TestOperateRefuses holds what each state of a release allows, and says.
func TestOperateRefuses(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		p.leave(t, func(l *lost) {
			for _, state := range release.States() {
				r := l.newRelease(string(state))
				r.State, r.ExecutionID = state, "1"
				if state == release.Starting {
					r.ExecutionID = ""
				}
				_, err := l.tx.AddRelease(l.ctx, r)
				l.check(err)
			}
			r := l.newRelease("decides")
			r.State, r.ExecutionID, r.After, r.Plan.Action, r.Plan.Task = release.Succeeded, "1", "failed", rules.ReleaseApprove, "gate"
			_, err := l.tx.AddRelease(l.ctx, r)
			l.check(err)
		})
		allowed := map[rules.ReleaseAction][]release.State{
			rules.ReleaseStop:     {release.Running, release.AwaitingApproval, release.Paused, release.Failed, release.Expired, release.Unknown},
			rules.ReleaseRetry:    {release.Failed, release.Expired, release.Unknown},
			rules.ReleaseContinue: {release.Paused, release.Stopped, release.Failed, release.Expired, release.Unknown},
			rules.ReleaseRollback: {release.Succeeded, release.Failed, release.Expired, release.Unknown},
		}
		for action, states := range allowed {
			for _, state := range release.States() {
				if slices.Contains(states, state) {
					continue
				}
				_, err := p.Operate(t.Context(), string(state), action, ann)
				want := fmt.Sprintf("it is %s: %s is for a release that is ", state, action)
				if state == release.Starting {
					want = "it is starting and has no execution"
				}
				refused(t, string(action)+" of "+string(state), err, want)
			}
			_, err := p.Operate(t.Context(), "decides", action, ann)
			refused(t, string(action)+" of a decision", err, "order it on release failed")
		}
		_, err := p.Operate(t.Context(), "failed", rules.ReleaseStart, ann)
		refused(t, "start", err, `"start" is not an action on an execution`)
	})
}

// TestSupersededIsStoppedAndNotRefused holds that the checkpoint of an execution which its
// rule stops is not refused too.
func TestSupersededIsStoppedAndNotRefused(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		p.leave(t, func(l *lost) {
			r := l.newRelease("stops")
			r.Plan.Pipeline, r.Plan.OnSuperseded = gateID(number(r.Event)), rules.ReactionStop
			l.addWaiting(r)
			r.ID, r.Index, r.After, r.State = "approves", 1, "stops", release.Starting
			r.Plan.Action, r.Plan.Task, r.Plan.OnSuperseded = rules.ReleaseApprove, "gate", ""
			_, err := l.tx.AddRelease(l.ctx, r)
			l.check(err)
		})
		p.moveOn(t, p.release(t, "stops").Event)
		p.start(t, jobs.Options{})
		p.untilState(t, "stops", "stopped")
		p.untilState(t, "approves", "refused")
		if r := p.release(t, "approves"); !slices.Equal(p.acted(r), []string{"stop"}) || !strings.Contains(r.Reason, "has the newer commit") {
			t.Errorf("%s; acted %q", r.Reason, p.acted(r))
		}
	})
}

// TestApprovalWaitsForTheRetry lets an execution fail before its checkpoint: the rule's
// approval waits until the retry got there.
func TestApprovalWaitsForTheRetry(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		p.leave(t, func(l *lost) {
			r := l.newRelease("starts")
			r.Plan.Pipeline = heldPipeline
			r.State, r.StartedAt = release.Starting, time.Time{}
			r.Plan.OnFailure = []rules.FailureStep{{Action: rules.ReleaseRetry, Times: 1}}
			_, err := l.tx.AddRelease(l.ctx, r)
			l.check(err)
			r.ID, r.Index, r.After = "approves", 1, "starts"
			r.Plan.Action, r.Plan.Task, r.Plan.OnFailure = rules.ReleaseApprove, "gate", nil
			_, err = l.tx.AddRelease(l.ctx, r)
			l.check(err)
		})
		p.change(t, p.release(t, "starts"), standin.PipelineChange{Fail: map[string]int{"before": 1}})
		p.start(t, jobs.Options{})
		p.untilState(t, "starts", "succeeded")
		p.untilState(t, "approves", "succeeded")
		if acted := p.acted(p.release(t, "starts")); !slices.Equal(acted, []string{"start", "retry", "approval agree"}) {
			t.Errorf("acted %q", acted)
		}
	})
}

// leaveFailed leaves the release "starts", which has failed, and "approves", which decides the
// checkpoint of its execution, in a state.
func (p people) leaveFailed(t *testing.T, approves release.State) {
	t.Helper()
	p.leave(t, func(l *lost) {
		r := l.newRelease("starts")
		r.Plan.Pipeline, r.State, r.ExecutionID = gateID(number(r.Event)), release.Failed, "1"
		_, err := l.tx.AddRelease(l.ctx, r)
		l.check(err)
		r.ID, r.Index, r.After, r.ExecutionID, r.State = "approves", 1, "starts", "", approves
		r.Plan.Action, r.Plan.Task = rules.ReleaseApprove, "gate"
		_, err = l.tx.AddRelease(l.ctx, r)
		l.check(err)
	})
}

// TestRerunOfARetry repeats a release that a person retried before, with the decisions of its
// checkpoints, which were repeated with the retry.
func TestRerunOfARetry(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		ctx := t.Context()
		p.leaveFailed(t, release.Failed)
		ids := func(done jobs.Done, err error) []string {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			list := []string{}
			for _, r := range done.Releases {
				list = append(list, r.ID)
			}
			if len(list) != 2 || done.Releases[1].After != list[0] || done.Releases[1].Plan.Task != "gate" {
				t.Fatalf("releases %+v", done.Releases)
			}
			return list
		}
		retried := ids(p.Operate(ctx, "starts", rules.ReleaseRetry, ann))
		for _, id := range retried {
			p.setState(t, id, release.Failed)
		}
		again := ids(p.Operate(ctx, retried[0], rules.ReleaseRetry, ann))
		for _, id := range again {
			p.setState(t, id, release.Failed)
		}
		ids(p.RerunRelease(ctx, again[0], ann))
	})
}

// TestRerunBesideADecision repeats a release whose decision has not noticed its end yet, with that decision.
func TestRerunBesideADecision(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		p.leaveFailed(t, release.Starting)
		done, err := p.RerunRelease(t.Context(), "starts", ann)
		if err != nil || len(done.Releases) != 2 || done.Releases[1].RerunOf != "approves" || done.Releases[1].After != done.Releases[0].ID {
			t.Fatalf("%+v, %v", done.Releases, err)
		}
	})
}

// TestRetryAfterRetryRepeatsDecisions repeats a decision that ended after the first retry was
// ordered, with the second one.
func TestRetryAfterRetryRepeatsDecisions(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		ctx := t.Context()
		p.leaveFailed(t, release.Starting)
		done, err := p.Operate(ctx, "starts", rules.ReleaseRetry, ann)
		if err != nil || len(done.Releases) != 1 {
			t.Fatalf("%+v, %v", done.Releases, err)
		}
		retried := done.Releases[0].ID
		p.setState(t, "approves", release.Failed)
		p.setState(t, retried, release.Failed)
		done, err = p.Operate(ctx, retried, rules.ReleaseRetry, ann)
		if err != nil || len(done.Releases) != 2 || done.Releases[1].RerunOf != "approves" {
			t.Fatalf("%+v, %v", done.Releases, err)
		}
	})
}

// TestRetryTakesThePendingDecision lets a person retry an execution before the rule's approval
// has noticed that it failed: the approval is one of the retried execution.
func TestRetryTakesThePendingDecision(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		p.leave(t, func(l *lost) {
			r := l.newRelease("starts")
			r.Plan.Pipeline = heldPipeline
			l.check(l.services.ChangePipeline(heldPipeline, standin.PipelineChange{Fail: map[string]int{"before": 1}}))
			var err error
			r.ExecutionID, err = l.services.startPipeline(l.ctx, heldPipeline, release.StatusFailed)
			l.check(err)
			r.State = release.Failed
			_, err = l.tx.AddRelease(l.ctx, r)
			l.check(err)
			r.ID, r.Index, r.After, r.ExecutionID, r.State = "approves", 1, "starts", "", release.Starting
			r.Plan.Action, r.Plan.Task = rules.ReleaseApprove, "gate"
			_, err = l.tx.AddRelease(l.ctx, r)
			l.check(err)
		})
		done, err := p.Operate(t.Context(), "starts", rules.ReleaseRetry, ann)
		if err != nil || len(done.Releases) != 1 {
			t.Fatalf("%+v, %v", done.Releases, err)
		}
		retried := done.Releases[0].ID
		if r := p.release(t, "approves"); r.After != retried || r.Deadline.Before(done.Releases[0].Deadline) {
			t.Errorf("it decides about the execution of %q until %s, want %q", r.After, r.Deadline, retried)
		}
		p.start(t, jobs.Options{})
		p.untilState(t, "approves", "succeeded")
		p.untilState(t, retried, "succeeded")
	})
}

// TestRetryLeavesNoWayAroundAHold: after a person's retry nobody decides a checkpoint that the rule holds without the
// approvals, whether the rule's own decision waits still or has ended.
func TestRetryLeavesNoWayAroundAHold(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		for _, state := range []release.State{release.Held, release.Succeeded, release.Refused} {
			starts, approves := "starts "+string(state), "approves "+string(state)
			p.leave(t, func(l *lost) {
				r := l.newRelease(starts)
				r.State, r.ExecutionID = release.Failed, "1"
				_, err := l.tx.AddRelease(l.ctx, r)
				l.check(err)
				r.ID, r.Index, r.After, r.ExecutionID, r.State = approves, 1, starts, "", state
				r.Plan.Action, r.Plan.Task, r.Plan.Hold = rules.ReleaseApprove, "gate", &rules.Hold{Expires: time.Hour}
				r.Hold = &release.Hold{Until: time.Now().Add(time.Hour)}
				_, err = l.tx.AddRelease(l.ctx, r)
				l.check(err)
			})
			done, err := p.Operate(t.Context(), starts, rules.ReleaseRetry, ann)
			if err != nil {
				t.Fatal(err)
			}
			retried := done.Releases[0].ID
			waiting := func(at ...string) {
				t.Helper()
				if err := p.store.Update(t.Context(), func(tx *store.Tx) error {
					v, err := tx.LockRelease(t.Context(), retried)
					v.Record.State, v.Record.Operation, v.Record.Waiting = release.AwaitingApproval, nil, at
					return errors.Join(err, tx.SaveRelease(t.Context(), v.Record, &v.Version))
				}); err != nil {
					t.Fatal(err)
				}
			}
			waiting("gate")
			_, err = p.Decide(t.Context(), retried, rules.ReleaseApprove, "gate", ann)
			refused(t, string(state), err, "its rule holds that checkpoint")
			// The service tells none, and the checkpoint may have another name.
			waiting()
			_, err = p.Decide(t.Context(), retried, rules.ReleaseApprove, "Gate", ann)
			refused(t, string(state), err, "does not tell which checkpoint waits")
			// Another one that waits at the same time is not held.
			waiting("gate", "smoke")
			if _, err := p.Decide(t.Context(), retried, rules.ReleaseApprove, "smoke", ann); err != nil {
				t.Errorf("%s: %v", state, err)
			}
		}
	})
}
