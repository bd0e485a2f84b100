package view

import (
	"context"
	"time"

	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
)

// Hold is what a release waits for, or waited for, before it acts, as it was found last.
type Hold struct {
	// Since is since when it is held, Until when it expires.
	Since *time.Time `json:"since"`
	Until *time.Time `json:"until"`
	// Wanted is how many people of Groups must approve, Missing how many have not. Approved are those who have, and
	// NotCounted says why other approvals do not count now.
	Wanted     int      `json:"wanted"`
	Missing    int      `json:"missing"`
	Groups     []string `json:"groups"`
	Approved   []string `json:"approved"`
	NotCounted []string `json:"not_counted"`
	// Excluded are people who may not approve because they are the author, or pushed the commit.
	Excluded []string `json:"excluded"`
	// Unknown says why nobody can approve; empty where somebody can.
	Unknown string `json:"unknown"`
	// Window and Freeze say what is closed or frozen; empty for nothing. OpensAt is when neither is any more, or null.
	Window  string     `json:"window"`
	Freeze  string     `json:"freeze"`
	OpensAt *time.Time `json:"opens_at"`
	// Basis is a hash of the verdict and of the rule that approvals are bound to.
	Basis string `json:"basis"`
	// MergeRequests brought the commit: it can be approved by a comment on each.
	MergeRequests []int `json:"merge_requests"`
	// BreakGlass says who opened windows and freezes for it; null for nobody.
	BreakGlass *release.BreakGlass `json:"break_glass"`
}

func newHold(h *release.Hold) *Hold {
	if h == nil {
		return nil
	}
	view := &Hold{
		Since: moment(h.Since), Until: moment(h.Until), Wanted: h.Wanted, Missing: h.Missing, Groups: list(h.Groups), Approved: list(h.Approved), NotCounted: list(h.NotCounted), Excluded: list(h.Excluded),
		Unknown: h.Unknown, Window: h.Window, Freeze: h.Freeze, OpensAt: moment(h.OpensAt), Basis: h.Basis, MergeRequests: []int{}, BreakGlass: h.BreakGlass,
	}
	if h.Origin != nil {
		view.MergeRequests = list(h.Origin.MergeRequests)
	}
	return view
}

// Approval is what one person said of a held release.
type Approval struct {
	ID        string              `json:"id"`
	ReleaseID string              `json:"release_id"`
	State     store.ApprovalState `json:"state"`
	// Person is an entry of people, Identity what they were recognised by, Via how they said it: page, api, command or
	// comment.
	Person   string `json:"person"`
	Identity string `json:"identity"`
	Via      string `json:"via"`
	Reason   string `json:"reason"`
	// Groups are those that the person was in then.
	Groups []string `json:"groups"`
	// Voided says why an approval does not count any more; empty otherwise.
	Voided     string    `json:"voided"`
	Connection string    `json:"connection"`
	Repository string    `json:"repository"`
	Branch     string    `json:"branch"`
	Number     int       `json:"number"`
	Rule       string    `json:"rule"`
	Commit     string    `json:"commit"`
	RunID      string    `json:"run_id"`
	Basis      string    `json:"basis"`
	At         time.Time `json:"at"`
}

// NewApproval is the view of a stored approval.
func NewApproval(a store.Approval) Approval {
	return Approval{
		ID: a.ID, ReleaseID: a.ReleaseID, State: a.State(), Person: a.Person, Identity: a.Identity, Via: a.Via, Reason: a.Reason, Groups: list(a.Groups), Voided: a.Voided,
		Connection: a.Connection, Repository: a.Repository, Branch: a.Branch, Number: a.Number, Rule: a.Rule, Commit: a.Commit, RunID: a.RunID, Basis: a.Basis, At: a.At,
	}
}

// Approvals is one page of approvals and refusals.
func Approvals(ctx context.Context, tx *store.Tx, f store.Filter) (Page[Approval], error) {
	return page(ctx, ListApprovals, f, tx.ApprovalPage, NewApproval)
}

// releaseDetail reads what belongs to a release.
func releaseDetail(ctx context.Context, tx *store.Tx, r release.Release) (ReleaseDetail, error) {
	detail := ReleaseDetail{Release: NewRelease(r), Approvals: []Approval{}}
	approvals, err := tx.ApprovalsOf(ctx, r.ID)
	if err != nil {
		return detail, err
	}
	for _, a := range approvals {
		detail.Approvals = append(detail.Approvals, NewApproval(a))
	}
	actions, err := tx.ActionsOf(ctx, r.ID)
	detail.History = newHistory(actions)
	return detail, err
}
