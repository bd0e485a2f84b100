package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// Rejudged is what came of judging a run again.
type Rejudged struct {
	Run codecheck.Run
	// New is what the gate as it is now says; Run has the verdict that counts.
	New    codecheck.Verdict
	Remark store.Action
}

// Rejudge judges a run by a gate, that of its rule as it is now, from the counts that are
// stored with it, and notes the result as a remark beside the run for actor. The run, its
// verdict and its releases stay as they are. A run without a verdict has nothing to judge.
func (in *Inserter) Rejudge(ctx context.Context, id string, gate rules.Gate, actor string) (Rejudged, error) {
	var done Rejudged
	err := in.queue.update(ctx, func(tx *transaction) error {
		run, err := tx.Run(ctx, id)
		if err != nil {
			return err
		}
		if run.Verdict == nil {
			return fmt.Errorf("it is %s and has no verdict, so there are no counts to judge", run.State)
		}
		if strings.TrimSpace(actor) == "" {
			return errors.New("say who asks for it")
		}
		done = Rejudged{Run: run, New: run.Rejudge(gate)}
		text := fmt.Sprintf("judged again for %s by rule %q as it is now: it would be %s (%s); it is %s (%s)", actor, run.Rule,
			passedOrFailed(done.New), strings.Join(done.New.Reasons, ", "), passedOrFailed(*run.Verdict), strings.Join(run.Verdict.Reasons, ", "))
		if err := in.voidApprovals(ctx, tx, run.ID, fmt.Sprintf("run %s was judged again for %s", run.ID, actor)); err != nil {
			return err
		}
		done.Remark, err = in.addAction(ctx, tx, Order{Actor: store.Gatewright, Reason: text}, store.ActionRemark, store.RecordRun, id, "")
		return err
	})
	if err != nil {
		return Rejudged{}, fmt.Errorf("judge run %q again: %w", id, err)
	}
	return done, nil
}

// voidApprovals voids the approvals of the releases of a run that have not acted.
func (in *Inserter) voidApprovals(ctx context.Context, tx *transaction, runID, why string) error {
	releases, err := tx.ReleasesOf(ctx, runID)
	for _, r := range releases {
		if err == nil && (r.State == release.Held || r.State == release.Starting && r.Intent == nil) {
			err = in.queue.voidAll(ctx, tx, r.ID, why)
		}
	}
	if err != nil {
		return err
	}
	return endHeldOf(ctx, tx, runID)
}

func passedOrFailed(v codecheck.Verdict) codecheck.State {
	if v.Passed {
		return codecheck.Passed
	}
	return codecheck.Failed
}
