package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/riverqueue/river"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/audit"
	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/evidence"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// evidenceArgs: make the evidence bundle of a release that has ended.
type evidenceArgs struct {
	ReleaseID string `json:"release_id"`
}

func (evidenceArgs) Kind() string { return "evidence" }

// InsertOpts keeps it apart from remote calls.
func (evidenceArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: maintenanceQueue} }

// evidenceJob is the job of a bundle that may have one already.
func evidenceJob(releaseID string) river.InsertManyParams {
	return river.InsertManyParams{Args: evidenceArgs{ReleaseID: releaseID}, InsertOpts: &river.InsertOpts{Queue: maintenanceQueue, UniqueOpts: untilEnded()}}
}

// wantEvidence notes that the bundle of a release which ends is to be made.
func wantEvidence(ctx context.Context, tx *transaction, r release.Release) error {
	tx.enqueue(evidenceArgs{ReleaseID: r.ID})
	return tx.WantEvidence(ctx, r.ID)
}

// makeEvidence makes the bundle of a release and saves it, with the hash of it in the audit log.
func (q *Queue) makeEvidence(ctx context.Context, args evidenceArgs) (time.Duration, error) {
	err := q.update(ctx, func(tx *transaction) error {
		if bundle, err := tx.Evidence(ctx, args.ReleaseID); bundle != nil || errors.Is(err, store.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		contents, err := evidenceOf(ctx, tx.Tx, args.ReleaseID)
		if errors.Is(err, store.ErrNotFound) {
			q.log.Error("evidence could not be made, because the release is gone", zap.String(event.LogRelease, args.ReleaseID))
			return nil
		}
		if err != nil {
			return err
		}
		key := q.opts.EvidenceKey()
		bundle, root, err := evidence.Make(evidence.Head{ReleaseID: args.ReleaseID, MadeAt: q.now()}, contents, key)
		if err != nil {
			return err
		}
		saved, err := tx.SaveEvidence(ctx, args.ReleaseID, root, bundle)
		if err != nil || !saved {
			return err
		}
		tx.AfterCommit(func() {
			q.log.Info("evidence made", zap.String(event.LogRelease, args.ReleaseID), zap.String(event.LogEvidenceHash, root), zap.Bool("signed", key != nil))
		})
		return tx.audit(ctx, audit.Entry{
			Kind: audit.Release, Actor: store.Gatewright, Action: auditEvidence, RecordKind: string(store.RecordRelease), RecordID: args.ReleaseID, Details: root,
		})
	})
	return 0, err
}

// evidenceOf reads what the bundle of a release says, by the names of its parts. Run and delivery are
// null where they are kept no longer.
func evidenceOf(ctx context.Context, tx *store.Tx, id string) (map[string]any, error) {
	r, err := tx.Release(ctx, id)
	if err != nil {
		return nil, err
	}
	approvals, err := tx.ApprovalsOf(ctx, id)
	if err != nil {
		return nil, err
	}
	contents := map[string]any{evidence.Release: evidenceRelease(r), evidence.Approvals: evidenceApprovals(approvals)}
	calls, records := []evidenceCall{}, []string{r.ID}
	run, err := tx.Run(ctx, r.RunID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if err == nil {
		records = append(records, run.ID)
		contents[evidence.Run], contents[evidence.Verdict], contents[evidence.Rule] = evidenceRun(run), run.Verdict, evidenceRule(run)
		findings, err := tx.Findings(ctx, run.FindingsKeptWith())
		if err != nil {
			return nil, err
		}
		contents[evidence.Findings] = evidenceFindings{Count: len(findings), SHA256: digest(findings), KeptWith: run.FindingsKeptWith()}
		if run.ExecID != "" {
			calls = append(calls, evidenceCall{Service: "codearts-check", Call: "run", At: run.StartedAt, Task: run.Task.ID, Execution: run.ExecID, Result: string(run.State)})
		}
		delivery, err := tx.Delivery(ctx, run.DeliveryID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		if err == nil {
			records = append(records, delivery.ID)
			contents[evidence.Delivery], contents[evidence.Decision] = evidenceDelivery(delivery), delivery.Decision
		}
	}
	for _, sent := range r.Actions {
		calls = append(calls, evidenceCall{
			Service: string(r.Plan.Target), Call: string(sent.Name), At: sent.At, Pipeline: r.Plan.Pipeline, Task: sent.Task, Execution: sent.ExecutionID,
			Result: string(sent.Result), Answer: sent.Detail, By: sent.By, Reason: sent.Reason,
		})
	}
	contents[evidence.Calls] = calls
	actions, rows := []evidenceAction{}, []evidenceAuditRow{}
	for _, record := range records {
		done, err := tx.ActionsOf(ctx, record)
		if err != nil {
			return nil, err
		}
		for _, a := range done {
			actions = append(actions, evidenceAction{ID: a.ID, On: string(a.Kind) + " " + a.RecordID, Action: string(a.Name), Actor: a.Actor, Reason: a.Reason, Details: a.Details, At: a.At})
		}
		audited, err := tx.AuditRows(ctx, store.AuditFilter{RecordID: record, Limit: maxAuditRows})
		if err != nil {
			return nil, err
		}
		for _, e := range audited {
			rows = append(rows, evidenceAuditRow{e.Seq, e.At, string(e.Kind), e.Actor, e.Action, e.RecordKind, e.RecordID, e.Reason, e.Details, e.Prev, e.Hash})
		}
	}
	contents[evidence.Actions] = actions
	head, err := tx.AuditHead(ctx)
	if err != nil {
		return nil, err
	}
	contents[evidence.Audit] = evidenceAudit{AuditPoint: evidence.AuditPoint{Seq: head.Seq, Hash: head.Hash}, Rows: rows}
	return contents, nil
}

// maxAuditRows is how many rows of the audit log about each record, the newest ones, a bundle has.
const maxAuditRows = 200

// The parts of a bundle, as docs/evidence.md describes them.
type (
	bundledDelivery struct {
		ID         string    `json:"id"`
		Connection string    `json:"connection"`
		Host       string    `json:"host"`
		HostID     string    `json:"host_id"`
		Event      string    `json:"event"`
		ReceivedAt time.Time `json:"received_at"`
		Recovered  string    `json:"recovered"`
		State      string    `json:"state"`
		// PayloadSHA256 is empty where the payload is kept no longer.
		PayloadSHA256 string `json:"payload_sha256"`
	}
	bundledRule struct {
		Name string `json:"name"`
		// SHA256 is the hash of Check and Releases, as the rule asked for them, in canonical JSON.
		SHA256   string          `json:"sha256"`
		Check    rules.Check     `json:"check"`
		Releases []rules.Release `json:"releases"`
	}
	bundledRun struct {
		ID         string    `json:"id"`
		DeliveryID string    `json:"delivery_id"`
		RerunOf    string    `json:"rerun_of"`
		State      string    `json:"state"`
		Reason     string    `json:"reason"`
		Commit     string    `json:"commit"`
		Repository string    `json:"repository"`
		Ref        string    `json:"ref"`
		TaskID     string    `json:"task_id"`
		Execution  string    `json:"execution_id"`
		SharesRun  string    `json:"shares_run_id"`
		CreatedAt  time.Time `json:"created_at"`
		StartedAt  time.Time `json:"started_at,omitzero"`
		FinishedAt time.Time `json:"finished_at,omitzero"`
	}
	evidenceFindings struct {
		Count int `json:"count"`
		// SHA256 is of the findings as JSON, as they are kept with the run KeptWith.
		SHA256   string `json:"sha256"`
		KeptWith string `json:"kept_with_run_id"`
	}
	bundledRelease struct {
		ID         string        `json:"id"`
		RunID      string        `json:"run_id"`
		RerunOf    string        `json:"rerun_of"`
		Continues  string        `json:"continues"`
		After      string        `json:"after"`
		DecidedBy  string        `json:"decided_by"`
		Withdrawn  string        `json:"withdrawn"`
		Rule       string        `json:"rule"`
		Commit     string        `json:"commit"`
		Repository string        `json:"repository"`
		State      release.State `json:"state"`
		Reason     string        `json:"reason"`
		Plan       rules.Release `json:"plan"`
		Execution  string        `json:"execution_id"`
		OtherIDs   []string      `json:"other_execution_ids"`
		CreatedAt  time.Time     `json:"created_at"`
		StartedAt  time.Time     `json:"started_at,omitzero"`
		FinishedAt time.Time     `json:"finished_at,omitzero"`
	}
	evidenceApproval struct {
		ID       string    `json:"id"`
		State    string    `json:"state"`
		Person   string    `json:"person"`
		Identity string    `json:"identity"`
		Via      string    `json:"via"`
		Groups   []string  `json:"groups"`
		Reason   string    `json:"reason"`
		Commit   string    `json:"commit"`
		Basis    string    `json:"basis"`
		Voided   string    `json:"voided"`
		At       time.Time `json:"at"`
	}
	evidenceCall struct {
		Service   string    `json:"service"`
		Call      string    `json:"call"`
		At        time.Time `json:"at"`
		Pipeline  string    `json:"pipeline,omitempty"`
		Task      string    `json:"task,omitempty"`
		Execution string    `json:"execution_id"`
		Result    string    `json:"result"`
		Answer    string    `json:"answer,omitempty"`
		By        string    `json:"by,omitempty"`
		Reason    string    `json:"reason,omitempty"`
	}
	evidenceAction struct {
		ID      string    `json:"id"`
		On      string    `json:"on"`
		Action  string    `json:"action"`
		Actor   string    `json:"actor"`
		Reason  string    `json:"reason"`
		Details string    `json:"details"`
		At      time.Time `json:"at"`
	}
	evidenceAuditRow struct {
		Seq        int64     `json:"seq"`
		At         time.Time `json:"at"`
		Kind       string    `json:"kind"`
		Actor      string    `json:"actor"`
		Action     string    `json:"action"`
		RecordKind string    `json:"record_kind"`
		RecordID   string    `json:"record_id"`
		Reason     string    `json:"reason"`
		Details    string    `json:"details"`
		Prev       string    `json:"prev"`
		Hash       string    `json:"hash"`
	}
	evidenceAudit struct {
		evidence.AuditPoint
		// Rows are those about the release, its run and its delivery.
		Rows []evidenceAuditRow `json:"rows"`
	}
)

func evidenceApprovals(approvals []store.Approval) []evidenceApproval {
	list := []evidenceApproval{}
	for _, a := range approvals {
		list = append(list, evidenceApproval{
			ID: a.ID, State: string(a.State()), Person: a.Person, Identity: a.Identity, Via: a.Via, Groups: append([]string{}, a.Groups...), Reason: a.Reason,
			Commit: a.Commit, Basis: a.Basis, Voided: a.Voided, At: a.At,
		})
	}
	return list
}

func evidenceDelivery(d store.Delivery) bundledDelivery {
	b := bundledDelivery{
		ID: d.ID, Connection: d.Connection, Host: string(d.Host), HostID: d.HostID, Event: d.Event, ReceivedAt: d.ReceivedAt, Recovered: string(d.Recovered), State: string(d.State),
	}
	if !d.PayloadRemoved {
		sum := sha256.Sum256(d.Body)
		b.PayloadSHA256 = hex.EncodeToString(sum[:])
	}
	return b
}

func evidenceRule(run codecheck.Run) bundledRule {
	asked := struct {
		Check    rules.Check     `json:"check"`
		Releases []rules.Release `json:"releases"`
	}{run.Check, run.Releases}
	return bundledRule{Name: run.Rule, SHA256: evidence.Digest(asked), Check: run.Check, Releases: run.Releases}
}

func evidenceRun(run codecheck.Run) bundledRun {
	return bundledRun{
		ID: run.ID, DeliveryID: run.DeliveryID, RerunOf: run.RerunOf, State: string(run.State), Reason: run.Reason, Commit: run.Event.HeadSHA,
		Repository: run.Event.Connection + " " + run.Event.Repository.FullName, Ref: run.Event.RefKey(), TaskID: run.Task.ID, Execution: run.ExecID, SharesRun: run.SharesRunID,
		CreatedAt: run.CreatedAt, StartedAt: run.StartedAt, FinishedAt: run.FinishedAt,
	}
}

func evidenceRelease(r release.Release) bundledRelease {
	return bundledRelease{
		ID: r.ID, RunID: r.RunID, RerunOf: r.RerunOf, Continues: r.Continues, After: r.After, DecidedBy: r.DecidedBy, Withdrawn: r.Withdrawn, Rule: r.Rule, Commit: r.Event.HeadSHA,
		Repository: r.Event.Connection + " " + r.Event.Repository.FullName, State: r.State, Reason: r.Reason, Plan: r.Plan, Execution: r.ExecutionID,
		OtherIDs: append([]string{}, r.OtherIDs...), CreatedAt: r.CreatedAt, StartedAt: r.StartedAt, FinishedAt: r.FinishedAt,
	}
}
