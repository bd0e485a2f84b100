package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/audit"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
)

// The words of the audit log for what becomes of a release and of the configuration. What it sent has
// the name of the action: start, approve, stop ….
const (
	auditCreated  = "created"
	auditHeld     = "held"
	auditEnded    = "ended"
	auditEvidence = "evidence"
	auditInForce  = "in_force"
)

// auditRelease writes what became of a release into the audit log: that it was created or
// held, what came of a request that it sent, and its end, of which evidence is made.
func auditRelease(ctx context.Context, tx *transaction, before, r release.Release) error {
	said := func(action, actor, reason string, details any) error {
		data, err := json.Marshal(details)
		if err != nil {
			return fmt.Errorf("audit release %q: %w", r.ID, err)
		}
		return tx.Audit(ctx, audit.Entry{
			Kind: audit.Release, Actor: actor, Action: action, RecordKind: string(store.RecordRelease), RecordID: r.ID, Reason: reason, Details: string(data),
		})
	}
	if before.ID == "" || r.State == release.Held && before.State != release.Held {
		action := auditCreated
		if r.State == release.Held {
			action = auditHeld
		}
		if err := said(action, store.Gatewright, r.Reason, auditedRelease{
			State: r.State, Run: r.RunID, Rule: r.Rule, Repository: r.Event.Connection + " " + r.Event.Repository.FullName, Commit: r.Event.HeadSHA,
			Pipeline: r.Plan.Pipeline, Action: string(r.Plan.Action), Checkpoint: r.Plan.Task, DecidedBy: r.DecidedBy,
		}); err != nil {
			return err
		}
	}
	if sent, known := release.ActionResult(before, r); known {
		if err := said(string(sent.Name), cmp.Or(sent.By, r.DecidedBy, store.Gatewright), sent.Reason, auditedRequest{
			Pipeline: r.Plan.Pipeline, Execution: sent.ExecutionID, Checkpoint: sent.Task, Result: sent.Result, Answer: sent.Detail,
		}); err != nil {
			return err
		}
	}
	if r.State.Ended() && (before.ID == "" || !before.State.Ended()) {
		if err := wantEvidence(ctx, tx, r); err != nil {
			return err
		}
		return said(auditEnded, store.Gatewright, r.Reason, auditedRelease{State: r.State, Commit: r.Event.HeadSHA, Pipeline: r.Plan.Pipeline, Execution: r.ExecutionID})
	}
	return nil
}

// auditedRelease and auditedRequest are the details of rows about a release, as JSON.
type auditedRelease struct {
	State      release.State `json:"state"`
	Run        string        `json:"run,omitempty"`
	Rule       string        `json:"rule,omitempty"`
	Repository string        `json:"repository,omitempty"`
	Commit     string        `json:"commit"`
	Pipeline   string        `json:"pipeline"`
	Action     string        `json:"action,omitempty"`
	Checkpoint string        `json:"checkpoint,omitempty"`
	DecidedBy  string        `json:"decided_by,omitempty"`
	Execution  string        `json:"execution,omitempty"`
}

type auditedRequest struct {
	Pipeline   string         `json:"pipeline"`
	Execution  string         `json:"execution"`
	Checkpoint string         `json:"checkpoint,omitempty"`
	Result     release.Result `json:"result"`
	Answer     string         `json:"answer,omitempty"`
}

// audit appends an entry to the audit log in this transaction; see [store.Tx.Audit].
func (tx *transaction) audit(ctx context.Context, e audit.Entry) error { return tx.Audit(ctx, e) }

// auditedConfiguration are the details of a row about the configuration: its hash and that of the
// rules, and what was in force before by the newest such row.
type auditedConfiguration struct {
	Hash     string `json:"hash"`
	Rules    string `json:"rules"`
	OldHash  string `json:"old_hash"`
	OldRules string `json:"old_rules"`
}

// RecordConfiguration writes into the audit log which configuration is in force in this process,
// where the newest row about that says another one: replicas that read the same files write one row. Releases that it
// holds or no longer holds are evaluated again.
func (q *Queue) RecordConfiguration(ctx context.Context, hash, rulesHash string) error {
	if err := q.recordConfiguration(ctx, hash, rulesHash); err != nil {
		return err
	}
	return q.reviewHolds(ctx)
}

func (q *Queue) recordConfiguration(ctx context.Context, hash, rulesHash string) error {
	return q.update(ctx, func(tx *transaction) error {
		last, err := tx.LastAudit(ctx, audit.Configuration, auditInForce)
		if err != nil {
			return err
		}
		var old auditedConfiguration
		if last.Details != "" {
			if err := json.Unmarshal([]byte(last.Details), &old); err != nil {
				return fmt.Errorf("row %d of the audit log is no row about a configuration: %w", last.Seq, err)
			}
		}
		if old.Hash == hash && old.Rules == rulesHash {
			return nil
		}
		details, err := json.Marshal(auditedConfiguration{Hash: hash, Rules: rulesHash, OldHash: old.Hash, OldRules: old.Rules})
		if err != nil {
			return err
		}
		return tx.audit(ctx, audit.Entry{
			Kind: audit.Configuration, Actor: process(), Action: auditInForce, RecordKind: "configuration", RecordID: hash, Details: string(details),
		})
	})
}

// process names this process in the audit log.
func process() string {
	host, err := os.Hostname()
	if err != nil {
		return store.Gatewright
	}
	return store.Gatewright + "@" + host
}

// logAudit logs the newest hash of the audit log, so that the log of the process shows later when
// rows were removed or rebuilt: when it has changed since it was logged last, or always.
func (q *Queue) logAudit(ctx context.Context, always bool) error {
	var head audit.Entry
	err := q.store.View(ctx, func(tx *store.Tx) (err error) {
		head, err = tx.AuditHead(ctx)
		return err
	})
	if err != nil || head.Seq == 0 {
		return err
	}
	if old := q.auditLogged.Swap(head.Seq); old != head.Seq || always {
		q.log.Info("audit log noted", zap.Int64(event.LogAuditRow, head.Seq), zap.String(event.LogAuditHash, head.Hash))
	}
	return nil
}
