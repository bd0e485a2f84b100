package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/audit"
)

// Approval is what one person said of a held release: that it may act, or, where Refuses, that it must not. A
// row is never changed but that an approval is voided.
type Approval struct {
	ID        string `json:"id"`
	ReleaseID string `json:"release_id"`
	// Person is an entry of people in the server file. Identity is what they were recognised by, such as
	// oidc:SUBJECT, github-acme:583231 or shell:root, and Via how they said it: page, api, command or comment.
	Person   string `json:"person"`
	Identity string `json:"identity"`
	Via      string `json:"via"`
	Reason   string `json:"reason"`
	// Commit, RunID and Basis are what it is bound to; Basis is a hash of the verdict and of the rule.
	Commit  string `json:"commit"`
	RunID   string `json:"run_id"`
	Basis   string `json:"basis"`
	Refuses bool   `json:"refuses"`
	// Groups are those that the person was in at that moment.
	Groups []string  `json:"groups"`
	At     time.Time `json:"at"`
	// Voided says why it does not count any more; empty while it does.
	Voided string `json:"voided"`

	// Connection, Repository, Branch, Number and Rule are those of the release.
	Connection string `json:"connection"`
	Repository string `json:"repository"`
	Branch     string `json:"branch"`
	Number     int    `json:"number"`
	Rule       string `json:"rule"`
}

// ApprovalState is what an approval counts as.
type ApprovalState string

// The states of approvals.
const (
	ApprovalApproved ApprovalState = "approved"
	ApprovalRefused  ApprovalState = "refused"
	ApprovalVoided   ApprovalState = "voided"
)

// ApprovalStates lists the states of approvals.
func ApprovalStates() []ApprovalState {
	return []ApprovalState{ApprovalApproved, ApprovalRefused, ApprovalVoided}
}

// State is what the approval counts as.
func (a Approval) State() ApprovalState {
	switch {
	case a.Refuses:
		return ApprovalRefused
	case a.Voided != "":
		return ApprovalVoided
	}
	return ApprovalApproved
}

// AddApproval stores an approval or a refusal; added is false, and nothing is stored, when the person has approved
// the release already. The time is that of the store.
func (tx *Tx) AddApproval(ctx context.Context, a Approval) (stored Approval, added bool, err error) {
	a.At = fromMicros(tx.now())
	data, err := json.Marshal(a)
	if err != nil {
		return a, false, fmt.Errorf("add approval: %w", err)
	}
	changed, err := tx.exec(ctx, `INSERT INTO approvals (id, release_id, person, state, connection, repository, branch, number, sha, rule, created_at, data)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING`,
		a.ID, a.ReleaseID, a.Person, string(a.State()), a.Connection, a.Repository, a.Branch, a.Number, a.Commit, a.Rule, micros(a.At), string(data))
	if err != nil {
		return a, false, fmt.Errorf("add approval of release %q: %w", a.ReleaseID, err)
	}
	if changed == 0 {
		return a, false, nil
	}
	action := string(ActionApprove)
	if a.Refuses {
		action = string(ActionRefuse)
	}
	return a, true, tx.auditApproval(ctx, a, a.Person, action, a.Reason)
}

// auditApproval writes into the audit log what was said of a release, or that it does not count any more.
func (tx *Tx) auditApproval(ctx context.Context, a Approval, actor, action, reason string) error {
	details, err := json.Marshal(map[string]string{"approval": a.ID, "commit": a.Commit, "run": a.RunID, "basis": a.Basis, "person": a.Person, "identity": a.Identity, "via": a.Via})
	if err != nil {
		return fmt.Errorf("audit approval %q: %w", a.ID, err)
	}
	return tx.Audit(ctx, audit.Entry{
		Kind: audit.Approval, Actor: actor, Action: action, RecordKind: string(RecordRelease), RecordID: a.ReleaseID, Reason: reason, Details: string(details),
	})
}

// VoidApproval notes why an approval does not count any more.
func (tx *Tx) VoidApproval(ctx context.Context, a Approval, why string) error {
	a.Voided = why
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("void approval: %w", err)
	}
	changed, err := tx.exec(ctx, `UPDATE approvals SET state = $2, data = $3 WHERE id = $1 AND state = '`+string(ApprovalApproved)+`'`, a.ID, string(a.State()), string(data))
	if err != nil {
		return fmt.Errorf("void approval %q: %w", a.ID, err)
	}
	if changed == 0 {
		return nil
	}
	return tx.auditApproval(ctx, a, Gatewright, "void", why)
}

// ApprovalsOf lists what people said of a release, oldest first.
func (tx *Tx) ApprovalsOf(ctx context.Context, releaseID string) ([]Approval, error) {
	return records[Approval](ctx, tx, `SELECT data FROM approvals WHERE release_id = $1 ORDER BY created_at, id`, releaseID)
}

// ApprovalPage lists what people said of releases, and says where the next page begins; zero: there is none. Actor of the
// filter is a person.
func (tx *Tx) ApprovalPage(ctx context.Context, f Filter) ([]Approval, Cursor, error) {
	return page(ctx, tx, listedApprovals, f, scanRecord[Approval])
}

// ClaimsLast is for how long the groups claim of a login counts, once nothing newer is known.
const ClaimsLast = 7 * 24 * time.Hour

// SaveClaims keeps the values of the groups claim of a subject of the provider of logins, as of now.
func (s *Store) SaveClaims(ctx context.Context, subject string, claims []string) error {
	return s.Update(ctx, func(tx *Tx) error { return tx.SaveClaims(ctx, subject, claims, fromMicros(tx.now())) })
}

// SaveClaims keeps the values of the groups claim of a subject of the provider of logins, as of a time. What is
// known of a later one stays.
func (tx *Tx) SaveClaims(ctx context.Context, subject string, claims []string, at time.Time) error {
	data, err := json.Marshal(claims)
	if err != nil {
		return fmt.Errorf("save claims of %q: %w", subject, err)
	}
	if _, err := tx.exec(ctx, `INSERT INTO login_claims (subject, claims, updated_at) VALUES ($1, $2, $3)
		ON CONFLICT (subject) DO UPDATE SET claims = excluded.claims, updated_at = excluded.updated_at WHERE login_claims.updated_at <= excluded.updated_at`,
		subject, string(data), micros(at)); err != nil {
		return fmt.Errorf("save claims of %q: %w", subject, err)
	}
	return nil
}

// Claims are the values of the groups claim of a subject of the provider of logins that were
// saved last; none where they have not logged in for ClaimsLast.
func (tx *Tx) Claims(ctx context.Context, subject string) (claims []string, err error) {
	var data string
	err = tx.queryRow(ctx, `SELECT claims FROM login_claims WHERE subject = $1 AND updated_at > $2`, subject, tx.now()-ClaimsLast.Microseconds()).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(data), &claims)
	}
	if err != nil {
		return nil, fmt.Errorf("read claims of %q: %w", subject, err)
	}
	return claims, nil
}
