package jobs_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// leaveWaiting leaves releases whose executions wait at the checkpoint.
func (p people) leaveWaiting(t *testing.T, ids ...string) {
	t.Helper()
	p.leave(t, func(l *lost) {
		for _, id := range ids {
			r := l.newRelease(id)
			r.Plan.Pipeline = gateID(number(r.Event))
			l.addWaiting(r)
		}
	})
}

// addWaiting starts the pipeline of a release, which waits at the checkpoint then.
func (l *lost) addWaiting(r release.Release) {
	var err error
	r.ExecutionID, err = l.services.startPipeline(l.ctx, r.Plan.Pipeline, release.StatusToBeApproved)
	l.check(err)
	r.State, r.Waiting, r.Status = release.AwaitingApproval, []string{"gate"}, int(release.StatusToBeApproved)
	_, err = l.tx.AddRelease(l.ctx, r)
	l.check(err)
}

func (p people) decisions(r release.Release) []string {
	_, list := p.services.operated(r.Plan.Pipeline)
	return list
}

// TestDecide decides checkpoints that wait, each once, however many ask.
func TestDecide(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		ctx := t.Context()
		p.leaveWaiting(t, "approved", "refused", "moved on", "refused after it moved on")
		p.moveOn(t, p.release(t, "moved on").Event)
		p.moveOn(t, p.release(t, "refused after it moved on").Event)
		_, err := p.Decide(ctx, "moved on", rules.ReleaseApprove, "", ann)
		refused(t, "an older commit", err, "has the newer commit")
		_, err = p.Decide(ctx, "approved", rules.ReleaseApprove, "other", ann)
		refused(t, "another checkpoint", err, "name the checkpoint by --task: gate")
		for id, want := range map[string]rules.ReleaseAction{
			"approved": rules.ReleaseApprove, "refused": rules.ReleaseRefuse, "refused after it moved on": rules.ReleaseRefuse,
		} {
			done, err := p.Decide(ctx, id, want, "", ann)
			if err != nil {
				t.Fatal(err)
			}
			decision := done.Releases[0]
			if decision.After != id || decision.DecidedBy != "ann" || decision.Plan.Task != "gate" {
				t.Errorf("decision %+v", decision)
			}
			for _, other := range []rules.ReleaseAction{rules.ReleaseApprove, rules.ReleaseRefuse} {
				if _, err := p.Decide(ctx, id, other, "gate", ann); err == nil {
					t.Errorf("%s was decided twice", id)
				}
				_, err := p.Decide(ctx, decision.ID, other, "", ann)
				refused(t, "the decision itself", err, "carries the decision of ann")
			}
		}
		p.serve(t)
		for id, sent := range map[string]string{"approved": "agree", "refused": "refuse", "refused after it moved on": "refuse"} {
			var releases []release.Release
			p.view(t, func(tx *store.Tx) (err error) {
				r, err := tx.Release(ctx, id)
				if err == nil {
					releases, err = tx.ReleasesOf(ctx, r.RunID)
				}
				return err
			})
			if len(releases) != 2 {
				t.Fatalf("%s: releases %+v", id, releases)
			}
			decision := releases[1]
			p.untilState(t, decision.ID, "succeeded")
			if diff := cmp.Diff([]string{sent}, p.decisions(decision)); diff != "" {
				t.Errorf("%s: decisions (-want +got):\n%s", id, diff)
			}
			word := map[string]string{"agree": "approve", "refuse": "refuse"}[sent]
			if diff := cmp.Diff([]string{word + " " + decision.ID + " by ann: the scanner is mended"}, p.actions(t, id)); diff != "" {
				t.Errorf("actions (-want +got):\n%s", diff)
			}
			_, err := p.RerunRelease(ctx, decision.ID, ann)
			refused(t, "a rerun of a decision", err, "it is the decision of ann")
			if r := p.release(t, decision.ID); !strings.Contains(r.Plan.Message, "by ann: the scanner is mended") {
				t.Errorf("message %q", r.Plan.Message)
			}
		}
		if got := p.decisions(p.release(t, "moved on")); len(got) != 0 {
			t.Errorf("the checkpoint of an older commit was decided: %q", got)
		}
	})
}

// TestDecideInPlaceOfTheRule decides a checkpoint that a rule is about to decide.
func TestDecideInPlaceOfTheRule(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		ctx := t.Context()
		p.leaveWaiting(t, "by the start", "by the decision", "sent")
		if err := p.store.Update(ctx, func(tx *store.Tx) error {
			for _, id := range []string{"by the start", "by the decision", "sent"} {
				r, err := tx.Release(ctx, id)
				if err != nil {
					return err
				}
				r.ID, r.Index, r.After, r.State, r.Waiting = "rule "+id, 1, id, release.Starting, nil
				r.Plan.Action, r.Plan.Task = rules.ReleaseApprove, "gate"
				if id == "sent" {
					r.Intent = &release.Intent{Action: rules.ReleaseApprove, SentAt: time.Now()}
				}
				if _, err := tx.AddRelease(ctx, r); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		_, err := p.Decide(ctx, "sent", rules.ReleaseRefuse, "", ann)
		refused(t, "what was sent", err, "is deciding the checkpoint already")
		for asked, carries := range map[string]string{"by the start": "rule by the start", "rule by the decision": "rule by the decision"} {
			done, err := p.Decide(ctx, asked, rules.ReleaseRefuse, "", ann)
			if err != nil {
				t.Fatal(err)
			}
			if done.Releases[0].ID != carries {
				t.Errorf("%s is decided by %s", asked, done.Releases[0].ID)
			}
		}
		p.serve(t)
		for _, id := range []string{"rule by the start", "rule by the decision"} {
			p.untilState(t, id, "succeeded")
			if diff := cmp.Diff([]string{"refuse"}, p.decisions(p.release(t, id))); diff != "" {
				t.Errorf("%s: decisions (-want +got):\n%s", id, diff)
			}
		}
	})
}

// TestDecideWhatWasApprovedBefore decides a checkpoint that was approved for the same
// commit before: a person may do that again, the rule not.
func TestDecideWhatWasApprovedBefore(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		p.leave(t, func(l *lost) {
			for _, id := range []string{"person", "rule"} {
				r := l.newRelease(id)
				r.Plan.Pipeline, r.Plan.Action, r.Plan.Task = gateID(number(r.Event)), rules.ReleaseApprove, "gate"
				r.State = release.Starting
				_, err := l.services.startPipeline(l.ctx, r.Plan.Pipeline, release.StatusToBeApproved)
				l.check(err)
				_, err = l.tx.AddRelease(l.ctx, r)
				l.check(err)
				r.ID = "before " + id
				_, _, err = l.tx.ClaimReleased(l.ctx, r)
				l.check(err)
			}
		})
		if _, err := p.Decide(t.Context(), "person", rules.ReleaseApprove, "", ann); err != nil {
			t.Fatal(err)
		}
		p.start(t, jobs.Options{ReconcileEvery: time.Hour})
		p.untilState(t, "person", "succeeded")
		p.untilState(t, "rule", "refused")
		if got := p.record(t, "rule").reason; !strings.Contains(got, "was released before, by release before rule") {
			t.Errorf("the rule's approval was refused: %s", got)
		}
		for id, want := range map[string][]string{"person": {"agree"}, "rule": nil} {
			if diff := cmp.Diff(want, p.decisions(p.release(t, id))); diff != "" {
				t.Errorf("%s: decisions (-want +got):\n%s", id, diff)
			}
		}
	})
}

// TestDecideWhatDoesNotWait refuses to decide about releases that do not wait.
func TestDecideWhatDoesNotWait(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		p.leave(t, func(l *lost) {
			for _, state := range release.States() {
				r := l.newRelease(string(state))
				r.State = state
				_, err := l.tx.AddRelease(l.ctx, r)
				l.check(err)
			}
		})
		for _, state := range release.States() {
			want := "it is " + string(state)
			if state == release.AwaitingApproval {
				want = "name it by --task"
			}
			_, err := p.Decide(t.Context(), string(state), rules.ReleaseApprove, "", ann)
			refused(t, string(state), err, want)
		}
	})
}

// TestDecideAtOnce lets many decide one checkpoint at the same time, and repeat one run:
// one of them each.
func TestDecideAtOnce(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		p.leaveWaiting(t, "waits")
		p.leave(t, func(l *lost) {
			run := l.newRun("errored", l.push("errored"))
			l.add(&run, codecheck.Errored)
		})
		var wg sync.WaitGroup
		var decided, repeated atomic.Int32
		for i := range 6 {
			decision := []rules.ReleaseAction{rules.ReleaseApprove, rules.ReleaseRefuse}[i%2]
			wg.Go(func() {
				if _, err := p.Decide(t.Context(), "waits", decision, "", ann); err == nil {
					decided.Add(1)
				}
			})
			wg.Go(func() {
				if _, err := p.RerunRun(t.Context(), "errored", ann); err == nil {
					repeated.Add(1)
				}
			})
		}
		wg.Wait()
		if decided.Load() != 1 || repeated.Load() != 1 {
			t.Errorf("%d decided and %d repeated", decided.Load(), repeated.Load())
		}
	})
}

// TestExpires lets nobody decide in time: the release expires, and what its pipeline does
// later is kept as a remark.
func TestExpires(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		p.services.hold(t, "after")
		p.leave(t, func(l *lost) {
			r := l.newRelease("waits")
			r.Plan.Pipeline = heldPipeline
			l.addWaiting(r)
		})
		r := p.release(t, "waits")
		r.WaitsForPersonSince, r.Deadline = r.CreatedAt, r.CreatedAt.Add(time.Minute)
		r.Plan.ApprovalTimeout = time.Minute
		var version store.Version
		if err := p.store.Update(t.Context(), func(tx *store.Tx) error { return tx.SaveRelease(t.Context(), r, &version) }); err != nil {
			t.Fatal(err)
		}
		p.start(t, jobs.Options{ReconcileEvery: time.Hour, ReconcileAfter: time.Nanosecond})
		p.untilState(t, "waits", "expired")
		expired := p.release(t, "waits")
		looked := func() {
			t.Helper()
			p.untilCount(t, `kind = 'watch_release' AND state IN ('available', 'running')`, 0)
		}
		look := func() {
			t.Helper()
			looked()
			p.execute(t, `UPDATE river_job SET state = 'available', scheduled_at = created_at WHERE kind = 'watch_release' AND state = 'scheduled'`)
			looked()
		}
		looked()
		if got := p.actions(t, "waits"); len(got) != 0 {
			t.Errorf("actions before it went on: %q", got)
		}
		if err := p.services.decide(t.Context(), heldPipeline, "agree"); err != nil {
			t.Fatal(err)
		}
		look()
		look()
		p.services.letGo(t, "after")
		p.untilPipeline(t, heldPipeline, release.StatusSucceeded)
		look()
		const remark = "remark by gatewright: the pipeline went on after the release had expired: execution "
		want := []string{remark + r.ExecutionID + ": releasing (4)", remark + r.ExecutionID + ": release successful (2)"}
		if diff := cmp.Diff(want, p.actions(t, "waits")); diff != "" {
			t.Errorf("actions (-want +got):\n%s", diff)
		}
		if n := p.count(t, `kind = 'watch_release' AND state <> 'completed'`); n != 0 {
			t.Errorf("%d jobs look on", n)
		}
		if diff := cmp.Diff(expired, p.release(t, "waits")); diff != "" {
			t.Errorf("the release was changed:\n%s", diff)
		}
	})
}

// untilPipeline waits until the newest execution of a pipeline has a status.
func (p people) untilPipeline(t *testing.T, pipeline string, want release.Status) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for {
		status, err := p.services.newestStatus(t.Context(), pipeline)
		switch {
		case err != nil:
			t.Fatal(err)
		case status == want:
			return
		case time.Now().After(deadline):
			t.Fatalf("the pipeline is %s for ever", status)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// untilCount waits until the queue has a number of jobs.
func (p people) untilCount(t *testing.T, which string, want int) {
	t.Helper()
	deadline := time.After(5 * time.Minute)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for p.count(t, which) != want {
		select {
		case <-deadline:
			t.Fatalf("never %d jobs: %s", want, which)
		case <-ticker.C:
		}
	}
}
