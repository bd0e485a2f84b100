package jobs

import (
	"errors"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// pair is a release that starts a pipeline for commit a of main, and the one that approves its checkpoint.
type pair struct {
	*Queue
	t                 *testing.T
	starter, approval release.Release
}

// newPair makes a pair of which the pipeline waits at its checkpoint and the approval is held, as change leaves them.
func newPair(t *testing.T, change func(*pair)) *pair {
	t.Helper()
	q, _ := quietQueue(t)
	now := time.Now().UTC()
	pushed := event.Event{Connection: "github", Kind: event.Push, Action: event.Updated, Repository: event.Repository{ID: "1", FullName: "acme/api"}, Branch: "main", HeadSHA: "a"}
	run := codecheck.Run{ID: "run", Rule: "rule", State: codecheck.Passed, Verdict: &codecheck.Verdict{Passed: true}, CreatedAt: now, StartedAt: now, Event: pushed}
	p := &pair{Queue: q, t: t,
		starter: release.Release{ID: "starter", RunID: "run", State: release.AwaitingApproval, ExecutionID: "286540", CreatedAt: now, Event: pushed, Deadline: now.Add(time.Hour),
			Plan: rules.Release{Pipeline: "p", Action: rules.ReleaseStart, Timeout: time.Hour}},
		approval: release.Release{ID: "approval", RunID: "run", Index: 1, After: "starter", State: release.Held, CreatedAt: now, Event: pushed, Deadline: now.Add(time.Hour),
			Plan: rules.Release{Pipeline: "p", Action: rules.ReleaseApprove, Timeout: time.Hour, Hold: &rules.Hold{Expires: time.Hour}}},
	}
	change(p)
	p.in(func(tx *transaction) error {
		_, _, err := tx.AddRun(t.Context(), run)
		_, err1 := tx.AddRelease(t.Context(), p.starter)
		_, err2 := tx.AddRelease(t.Context(), p.approval)
		return errors.Join(err, err1, err2)
	})
	return p
}

func (p *pair) in(do func(*transaction) error) {
	p.t.Helper()
	if err := p.update(p.t.Context(), do); err != nil {
		p.t.Fatal(err)
	}
}

// announce tells of a newer commit of main, or of its end where sha is empty.
func (p *pair) announce(sha string) {
	p.t.Helper()
	p.in(func(tx *transaction) error {
		ev := p.starter.Event
		ev.HeadSHA, ev.Deleted = sha, sha == ""
		_, err := tx.AdvanceHead(p.t.Context(), ev, "delivery")
		return err
	})
}

// save saves the starter as change leaves it.
func (p *pair) save(change func(*release.Release)) {
	p.t.Helper()
	p.in(func(tx *transaction) error {
		v, err := tx.ReleaseAt(p.t.Context(), "starter")
		if err != nil {
			return err
		}
		next := v.Record
		change(&next)
		return p.saveRelease(p.t.Context(), tx, v.Record, next, &v.Version)
	})
}

func (p *pair) load(id string) basis {
	p.t.Helper()
	b, err := p.loadRelease(p.t.Context(), id)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// wantRefusing checks that the approval is about to refuse the checkpoint of our execution.
func (p *pair) wantRefusing() {
	p.t.Helper()
	b := p.load("approval")
	if r := b.release; r.State != release.Starting || r.Plan.Action != rules.ReleaseRefuse || r.ExecutionID != "286540" || b.notAllowed() != "" {
		p.t.Errorf("the release is %s to %s in execution %q: %s; %s", r.State, r.Plan.Action, r.ExecutionID, r.Reason, b.notAllowed())
	}
}

// TestWithdrawnOnce holds that a held approval whose commit is no longer the newest refuses its checkpoint, also when two
// steps find that out at the same moment.
func TestWithdrawnOnce(t *testing.T) {
	p := newPair(t, func(*pair) {})
	p.announce("b")
	b := p.load("approval")
	for range 2 {
		if _, err := p.hold(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		p.wantRefusing()
	}
}

// TestWithdrawnWhereNothingStops holds that a checkpoint is refused, although the rule stops what is superseded, when the
// branch has no newer commit for whose sake its execution would be stopped.
func TestWithdrawnWhereNothingStops(t *testing.T) {
	for name, newer := range map[string]bool{"deleted": false, "newer": true} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, func(p *pair) { p.starter.Plan.OnSuperseded = rules.ReactionStop })
			if newer {
				p.announce("b")
			} else {
				p.announce("")
			}
			if _, err := p.hold(t.Context(), p.load("approval")); err != nil {
				t.Fatal(err)
			}
			if newer {
				if r := p.load("approval").release; r.State != release.Refused {
					t.Errorf("the approval is %s", r.State)
				}
				return
			}
			p.wantRefusing()
		})
	}
}

// TestWithdrawnWhileStarting holds that an approval which is not allowed any more, while the answer to the start of its
// execution is not known, does not end before it can refuse the checkpoint of that.
func TestWithdrawnWhileStarting(t *testing.T) {
	p := newPair(t, func(p *pair) {
		p.starter.State, p.starter.ExecutionID, p.starter.Intent = release.Starting, "", &release.Intent{Action: rules.ReleaseStart, SentAt: time.Now()}
		p.starter.Actions = []release.Action{{Name: rules.ReleaseStart, At: p.starter.Intent.SentAt, Result: release.ResultUnknown}}
		p.approval.State, p.approval.Plan.Hold = release.Starting, nil
	})
	p.announce("b")
	if _, err := p.actRelease(t.Context(), actReleaseArgs{"approval"}); err != nil {
		t.Fatal(err)
	}
	b := p.load("approval")
	if b.release.State != release.Starting {
		t.Fatalf("the approval is %s: %s", b.release.State, b.release.Reason)
	}
	p.save(func(r *release.Release) { r.State, r.ExecutionID = release.Running, "286540" })
	if n := p.count(t.Context(), t, "act_release"); n != 1 {
		t.Errorf("%d jobs of the approval, want one", n)
	}
	if b = p.load("approval"); !b.withdraw(b.notAllowed()) {
		t.Error("the checkpoint is not refused")
	}
}

// TestApprovalOutlivesAHeldStart holds that the time of an approval does not end while its start is held.
func TestApprovalOutlivesAHeldStart(t *testing.T) {
	now := time.Now().UTC()
	p := newPair(t, func(p *pair) {
		p.starter.State, p.starter.ExecutionID = release.Held, ""
		p.starter.Hold, p.starter.Deadline = &release.Hold{Until: now.Add(8 * time.Hour)}, now.Add(8*time.Hour)
		p.approval.State, p.approval.Plan.Hold, p.approval.Deadline = release.Starting, nil, now.Add(-time.Second)
	})
	for range 2 {
		if _, err := p.actRelease(t.Context(), actReleaseArgs{"approval"}); err != nil {
			t.Fatal(err)
		}
	}
	if r := p.load("approval").release; r.State != release.Starting || !r.Deadline.Equal(now.Add(9*time.Hour)) {
		t.Errorf("the approval is %s until %s: %s", r.State, r.Deadline, r.Reason)
	}
}

// TestApprovalOutlivesARetry holds that the time of an approval begins again with a retry of the execution.
func TestApprovalOutlivesARetry(t *testing.T) {
	now := time.Now().UTC()
	p := newPair(t, func(p *pair) {
		p.starter.State, p.starter.StartedAt = release.Running, now.Add(-2*time.Hour)
		p.starter.Actions = []release.Action{{Name: rules.ReleaseRetry, At: now.Add(-time.Minute), Result: release.ResultAccepted}, {Name: rules.ReleaseRetry, At: now, Result: release.ResultRefused}}
		p.approval.State, p.approval.Plan.Hold, p.approval.Deadline = release.Starting, nil, now.Add(-time.Hour)
	})
	b := p.load("approval")
	b.takeExecution()
	if b.release.ExecutionID != "286540" || !b.release.Deadline.Equal(now.Add(59*time.Minute)) {
		t.Errorf("execution %q, until %s", b.release.ExecutionID, b.release.Deadline)
	}
}

// TestClaimWithoutAnswer holds that a release is not refused for what another one may not have done.
func TestClaimWithoutAnswer(t *testing.T) {
	p := newPair(t, func(p *pair) {
		p.starter.State, p.starter.ExecutionID = release.Starting, ""
		p.approval = p.starter
		p.approval.ID, p.approval.Index = "second", 1
	})
	ctx := t.Context()
	send := func(id string) error {
		b := p.load(id)
		next := b.release
		next.Intent = &release.Intent{Action: rules.ReleaseStart, SentAt: time.Now()}
		next.Actions = []release.Action{{Name: rules.ReleaseStart, At: next.Intent.SentAt, Result: release.ResultUnknown}}
		return p.commitRelease(ctx, &b, next)
	}
	if err := send("starter"); err != nil {
		t.Fatal(err)
	}
	if why := p.load("second").notAllowed(); why != "" {
		t.Errorf("before the answer: %s", why)
	}
	if err := send("second"); !errors.Is(err, store.ErrPipelineBusy) {
		t.Errorf("before the answer: %v", err)
	}
	p.save(func(r *release.Release) { r.State, r.ExecutionID = release.Running, "286540" })
	if why := p.load("second").notAllowed(); why == "" {
		t.Error("after the answer it may act again")
	}
}

// TestHeldRetryKeepsItsDeadline holds that a retry by rule which a freeze keeps from being sent stays ordered, and has
// the time of the release and no more.
func TestHeldRetryKeepsItsDeadline(t *testing.T) {
	p := newPair(t, func(p *pair) { p.starter.State = release.Running })
	policy, complaints := rules.Load(rules.Source{Name: "rules.yaml", Data: []byte(`version: 1
freezes: [{name: audit, from: 2020-01-01, to: 2099-01-01, time_zone: UTC, reason: audit}]
rules: [{name: rule, on: push, check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07}}}]`)})
	if len(complaints) > 0 {
		t.Fatal(complaints)
	}
	p.opts.Policy = func() *rules.Policy { return policy }
	b := p.load("starter")
	next := b.release.Order(rules.ReleaseRetry, "", "on_failure", time.Now())
	deadline := next.Deadline
	sent := *next.Operation
	sent.SentAt, next.Operation = time.Now(), &sent
	next.Actions = []release.Action{{Name: rules.ReleaseRetry, At: sent.SentAt, Result: release.ResultUnknown}}
	refusal := p.commitOperation(t.Context(), &b, next)
	if !errors.Is(refusal, errHeld) {
		t.Fatal(refusal)
	}
	wait, err := p.afterRefusedIntent(t.Context(), b, next, refusal)
	if err != nil || wait < time.Minute {
		t.Errorf("wait %s, error %v", wait, err)
	}
	switch r := p.load("starter").release; {
	case r.Operation == nil || !r.Operation.SentAt.IsZero() || len(r.Actions) != 0:
		t.Errorf("operation %+v, actions %+v", r.Operation, r.Actions)
	case !r.Deadline.Equal(deadline):
		t.Errorf("deadline %s, want %s", r.Deadline, deadline)
	}
}

// oncall says that everybody is on call.
type oncall struct{ nobody }

func (oncall) Groups(string, []string) []string { return []string{"on-call"} }

// TestBreakGlassBeforeItIsHeld holds that a release whose windows are opened before anything holds it has as much time for
// its approvals as the others.
func TestBreakGlassBeforeItIsHeld(t *testing.T) {
	p := newPair(t, func(p *pair) { p.approval.State = release.Starting })
	policy, complaints := rules.Load(rules.Source{Name: "rules.yaml", Data: []byte("version: 1\nbreak_glass: {groups: [on-call]}\nrules: [{name: rule, on: [push], ignore: true}]\n" +
		`freezes: [{name: f, from: "2020-01-01T00:00:00Z", to: "2120-01-01T00:00:00Z", reason: r}]` + "\n")})
	if complaints != nil {
		t.Fatal(complaints)
	}
	in, err := NewInserter(p.store, p.log)
	if err != nil {
		t.Fatal(err)
	}
	in = in.WithPeople(oncall{}, func() *rules.Policy { return policy })
	for _, id := range []string{"approval", "starter"} {
		if _, err := in.BreakGlass(t.Context(), id, "a", Approver{Person: "ann", Identity: "shell:ann"}, "incident 7"); err != nil {
			t.Fatal(err)
		}
		if h := p.load(id).release.Hold; h == nil || h.BreakGlass == nil || !h.Since.IsZero() || !h.Until.IsZero() {
			t.Errorf("%s: %+v", id, h)
		}
	}
}
