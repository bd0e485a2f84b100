package view

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
)

// Missing is a branch or an open merge request that a rule covers and whose commit has no verdict.
type Missing struct {
	Connection string     `json:"connection"`
	Repository string     `json:"repository"`
	Event      event.Kind `json:"event"`
	// Branch is the branch, or the target of the merge request.
	Branch string `json:"branch"`
	// Number is the merge request's; 0 for none.
	Number int    `json:"number"`
	Commit string `json:"commit"`
	// Since is when the commit was first seen there.
	Since time.Time `json:"since"`
	// RunID is the newest run of the commit there, RunState its state; empty for none.
	RunID    string          `json:"run_id"`
	RunState codecheck.State `json:"run_state"`
	Reason   string          `json:"reason"`
}

// maxMissing bounds what is read of the database.
const maxMissing = 100_000

// MissingVerdicts is one page of those that have had no verdict since a time, the oldest first. Of the filter it
// takes the connection, repository, branch, number and commit.
func MissingVerdicts(ctx context.Context, tx *store.Tx, since time.Time, f store.Filter) (Page[Missing], error) {
	p := Page[Missing]{Items: []Missing{}}
	refs, err := tx.MissingVerdicts(ctx, since, maxMissing)
	if err != nil {
		return p, err
	}
	var last store.Cursor
	for _, ref := range refs {
		at := ref.Since.Compare(f.After.At)
		switch {
		case f.After.ID != "" && (at < 0 || at == 0 && ref.RefKey <= f.After.ID),
			f.Connection != "" && ref.Connection != f.Connection, f.Repository != "" && !strings.EqualFold(ref.Repository, f.Repository),
			f.Branch != "" && ref.Branch != f.Branch, f.Number != 0 && ref.Number != f.Number, !strings.HasPrefix(ref.SHA, f.Commit):
			continue
		}
		if len(p.Items) == f.Limit {
			p.Next = encodeCursor(ListMissing, f, last)
			return p, nil
		}
		missing, err := newMissing(ctx, tx, ref)
		if err != nil {
			return p, err
		}
		p.Items = append(p.Items, missing)
		last = store.Cursor{At: ref.Since, ID: ref.RefKey}
	}
	return p, nil
}

func newMissing(ctx context.Context, tx *store.Tx, ref store.HostRef) (Missing, error) {
	missing := Missing{Connection: ref.Connection, Repository: ref.Repository, Event: ref.Kind, Branch: ref.Branch, Number: ref.Number, Commit: ref.SHA, Since: ref.Since}
	missing.Reason = "nothing was checked: no webhook told it, or not in time; push again, or have the host send its webhook again"
	runs, err := tx.RunsOfCommit(ctx, ref.Connection, strings.TrimPrefix(ref.RepositoryKey, ref.Connection+" "), ref.SHA)
	for _, run := range runs {
		if run.Event.RefKey() == ref.RefKey {
			missing.RunID, missing.RunState, missing.Reason = run.ID, run.State, fmt.Sprintf("run %s is %s: %s", run.ID, run.State, run.Reason)
		}
	}
	return missing, err
}
