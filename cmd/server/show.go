package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/escape"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

func newShow(env command.Environment) *cobra.Command {
	var from sourceFlags
	var asJSON, findings, asSARIF bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one delivery, run or release with all that is known of it",
		Long: `Shows one delivery with its decision and runs, one run with its verdict, defects
and releases, or one release with its actions, from the server's database. The first
digits of an id are enough where no other id begins with them.

Of a run, --findings prints every finding that is kept of it (huaweicloud.max_findings),
and whether it is new: compared with the last run of the target branch of a merge request,
else with the run of the same task before. --sarif prints them as a SARIF 2.1.0 log.`,
		Example: `  gatewright show 019aab6e-7d0c-7c3e-9b1e-3f1d2c4b5a69
  gatewright show 019aab6e-7d0c --json
  gatewright show 019aab6e-7d0c --findings
  gatewright show 019aab6e-7d0c --sarif > findings.sarif`,
		Args: oneArg("write show and the id of one delivery, run or release"),
		RunE: func(cmd *cobra.Command, args []string) error {
			src, err := from.open(cmd, env)
			if err != nil {
				return err
			}
			defer src.close()
			record, err := src.show(cmd.Context(), args[0], findings, asSARIF)
			if err != nil {
				return err
			}
			if asJSON || asSARIF {
				return command.WriteJSON(env.Stdout, record)
			}
			showRecord(env.Stdout, record)
			return nil
		},
	}
	from.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&findings, "findings", false, "of a run: all its findings")
	cmd.Flags().BoolVar(&asSARIF, "sarif", false, "of a run: all its findings as a SARIF log")
	cmd.MarkFlagsMutuallyExclusive("json", "sarif")
	cmd.MarkFlagsMutuallyExclusive("findings", "sarif")
	return cmd
}

// show returns the record that is shown: one of the details of package view, its findings, or a SARIF log.
func (s *source) show(ctx context.Context, id string, findings, asSARIF bool) (record any, err error) {
	if s.remote != nil {
		return s.remote.show(ctx, id, findings, asSARIF)
	}
	err = s.store.View(ctx, func(tx *store.Tx) (err error) {
		if findings || asSARIF {
			record, err = findFindings(ctx, tx, id, asSARIF)
		} else {
			record, err = view.Find(ctx, tx, id)
		}
		return err
	})
	return record, err
}

// findFindings returns the findings of a run, as [view.Findings] or as a SARIF log.
func findFindings(ctx context.Context, tx *store.Tx, id string, asSARIF bool) (any, error) {
	run, found, err := view.FindFindings(ctx, tx, id)
	if err == nil && asSARIF {
		return view.NewSARIF(run, found), nil
	}
	return found, err
}

// writeFindings prints findings for a person. Errors of w are dropped.
func writeFindings(w io.Writer, found view.Findings) {
	heading(w, "run", found.RunID)
	keptWith := ""
	if found.KeptWith != found.RunID {
		keptWith = "run " + found.KeptWith
	}
	complete := "no"
	if found.Complete {
		complete = "yes"
	}
	fields(w, "findings", strconv.Itoa(found.Count), "complete", complete, "kept with", keptWith, "compared", found.BaselineRunID, "note", found.Note)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range found.Findings {
		fmt.Fprintln(table, tableRow([]string{"    " + f.Severity, string(f.Baseline), fmt.Sprintf("%s:%d", f.Path, f.Line), f.Rule, f.Message}))
	}
	table.Flush()
}

// showRecord prints a page for a person. Errors of w are dropped.
func showRecord(w io.Writer, record any) {
	switch record := record.(type) {
	case view.DeliveryDetail:
		showDelivery(w, record)
	case view.RunDetail:
		showRun(w, record)
	case view.ReleaseDetail:
		showRelease(w, record)
	case view.Findings:
		writeFindings(w, record)
	}
}

func heading(w io.Writer, thing, id string) { fmt.Fprintln(w, thing, escape.Line(id)) }

// fields prints names and values, without those whose value is empty.
func fields(w io.Writer, pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		if value := escape.Line(pairs[i+1]); strings.TrimSpace(value) != "" {
			fmt.Fprintf(w, "  %-11s %s\n", pairs[i], value)
		}
	}
}

func showDelivery(w io.Writer, d view.DeliveryDetail) {
	heading(w, "delivery", d.ID)
	payload := ""
	if d.PayloadRemoved {
		payload = "removed after store.payload_retention"
	}
	fields(w,
		"state", string(d.State),
		"reason", d.Reason,
		"received", fmt.Sprintf("%s by %s (%s), event %q, id %s%s", stamp(d.ReceivedAt), d.Connection, d.Host, d.HostEvent, d.HostID, recoveredText(d.Recovered)),
		"about", about(d.Subject),
		"payload", payload)
	if d.Decision != nil {
		d.Decision.WriteWith(w, func(rule string, place int) string { return escape.Line(became(d, rule, place)) })
	}
	for _, run := range d.Runs {
		heading(w, "run", run.ID)
		fields(w, "rule", run.Rule, "rerun of", run.RerunOf, "state", string(run.State), "reason", run.Reason, "took", run.Took)
	}
	if c := d.Command; c != nil {
		heading(w, "command", c.Name)
		fields(w, "given", fmt.Sprintf("%s by %s (account %s) in comment %s", stamp(c.GivenAt), c.Author, c.AuthorID, c.CommentID),
			"state", strings.TrimSpace(string(c.State)+" "+bracketed(string(c.Outcome))), "reason", c.Reason, "answer", c.Answer, "problem", c.Problem)
	}
	showHistory(w, d.History)
}

// became says what became of a release that a rule of the delivery asked for; empty while
// its run has no verdict. Of runs and releases that were repeated the newest counts.
func became(d view.DeliveryDetail, rule string, place int) string {
	text := "nothing was started: " + d.Reason
	for _, run := range d.Runs {
		if run.Rule != rule {
			continue
		}
		text = "not released: run " + run.ID + " ended as " + string(run.State)
		if run.FinishedAt == nil {
			text = ""
		}
		for _, r := range run.Releases {
			if r.Place == place {
				text = string(r.State) + ": " + r.Reason
			}
		}
	}
	return text
}

func showRun(w io.Writer, r view.RunDetail) {
	heading(w, "run", r.ID)
	fields(w,
		"state", string(r.State),
		"reason", r.Reason,
		"about", about(r.Subject),
		"rule", r.Rule,
		"delivery", r.DeliveryID,
		"rerun of", r.RerunOf,
		"task", strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Task.ID, r.Task.Name, bracketed(string(r.Task.Origin)))),
		"remark", r.Task.Remark,
		"languages", r.Task.Languages,
		"execution", r.ExecutionID,
		"shares", r.SharesRunID,
		"account", r.Account, "scan", string(r.Scan),
		"ref", strings.TrimSpace(string(r.Ref)+" "+bracketed(r.RefReason)),
		"created", stamp(r.CreatedAt),
		"finished", ended(r.FinishedAt, r.Took, r.Deadline))
	if r.Verdict != nil {
		fields(w, "verdict", strings.Join(r.Verdict.Reasons, ", "), "remarks", strings.Join(r.Verdict.Remarks, ", "),
			"is_access", strings.TrimSpace(r.Verdict.Access+" "+bracketed(string(r.Verdict.AccessMeans))))
	}
	if len(r.Defects) > 0 {
		more := ""
		if r.Findings != nil && r.Findings.Count > len(r.Defects) {
			more = fmt.Sprintf("  the %d most severe of %d; gatewright show %s --findings prints all", len(r.Defects), r.Findings.Count, escape.Line(r.ID))
		}
		fmt.Fprintf(w, "  defects%s\n", more)
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, d := range r.Defects {
			fmt.Fprintln(table, tableRow([]string{"    " + d.Severity, fmt.Sprintf("%s:%d", d.File, d.Line), d.Rule, d.Text}))
		}
		table.Flush()
	}
	for _, told := range r.Reports {
		fields(w, told.Kind, strings.TrimSpace(fmt.Sprintf("%s %s", told.Pipeline, reported(told))))
	}
	showHistory(w, r.History)
	for _, rel := range r.Releases {
		heading(w, "release", rel.ID)
		fields(w, "rerun of", rel.RerunOf, "continues", rel.Continues, "account", rel.Account, "pipeline", pipelineOf(rel), "action", string(rel.Action)+" "+rel.Checkpoint, "state", string(rel.State), "reason", rel.Reason)
	}
}

// reported says what a git host was told, and what is to come.
func reported(r view.Report) string {
	text := cmp.Or(r.State, "not told yet")
	switch {
	case r.GivenUp || r.Problem != "" && !r.Waits:
		text += "; " + r.Problem
	case r.Problem != "":
		text += "; waits to try again: " + r.Problem
	case r.Waits:
		text += "; about to be told something newer"
	}
	return text
}

// pipelineOf names a pipeline by its id, and by its name where it has one.
func pipelineOf(r view.Release) string {
	text := r.Pipeline
	if r.PipelineName != "" {
		text = r.PipelineName + " (" + r.Pipeline + ")"
	}
	if r.Target != rules.TargetServiceStage {
		text += " of " + r.Target.Name()
	}
	return text
}

func showRelease(w io.Writer, r view.ReleaseDetail) {
	heading(w, "release", r.ID)
	status := ""
	if r.PipelineStatus != nil {
		status = fmt.Sprintf("%s (%d)", r.PipelineStatus.Name, r.PipelineStatus.Code)
	}
	fields(w,
		"state", string(r.State),
		"reason", r.Reason,
		"about", about(r.Subject),
		"rule", r.Rule,
		"run", r.RunID,
		"rerun of", r.RerunOf,
		"continues", r.Continues,
		"account", r.Account, "pipeline", pipelineOf(r.Release),
		"action", string(r.Action)+" "+r.Checkpoint,
		"execution", strings.Join(append([]string{r.ExecutionID}, r.OtherExecutionIDs...), ", also "),
		"status", status,
		"waits at", strings.Join(r.Waiting, ", "),
		"decided by", r.DecidedBy,
		"withdrawn", r.Withdrawn,
		"created", stamp(r.CreatedAt),
		"finished", ended(r.FinishedAt, r.Took, r.Deadline))
	showHold(w, r)
	for _, action := range r.Actions {
		label := "sent"
		if strings.HasPrefix(action.Detail, "not sent: ") {
			label = "not sent"
		}
		fields(w, label, strings.TrimSpace(fmt.Sprintf("%s at %s: %s %s", strings.TrimSpace(string(action.Name)+" "+action.Task), stamp(action.At), action.Result, bracketed(action.Detail))),
			"  because", strings.TrimSpace(action.Reason+" "+bracketed(action.By)))
	}
	showHistory(w, r.History)
}

// showHold prints what a release waits for, and what people said of it.
func showHold(w io.Writer, r view.ReleaseDetail) {
	if h := r.Hold; h != nil {
		approvals := ""
		if h.Wanted > 0 {
			approvals = strings.TrimSpace(fmt.Sprintf("%d of %d of %s %s", h.Wanted-h.Missing, h.Wanted, strings.Join(h.Groups, " or "), bracketed(strings.Join(h.Approved, ", "))))
		}
		fields(w, "held since", stamped(h.Since), "held until", stamped(h.Until), "approvals", approvals, "not counted", strings.Join(h.NotCounted, "; "),
			"left out", strings.Join(h.Excluded, ", "),
			"not known", h.Unknown, "window", h.Window, "freeze", h.Freeze, "opens at", stamped(h.OpensAt))
		if g := h.BreakGlass; g != nil {
			fields(w, "break-glass", fmt.Sprintf("%s: by %s (%s): %s", stamp(g.At), g.Person, g.Identity, g.Reason))
		}
	}
	for _, a := range r.Approvals {
		fields(w, string(a.State), fmt.Sprintf("%s: by %s (%s, %s): %s", stamp(a.At), a.Person, a.Identity, a.Via, a.Reason), "  because", a.Voided)
	}
}

// stamped is a time that may not have come; empty then.
func stamped(t *time.Time) string {
	if t == nil {
		return ""
	}
	return stamp(*t)
}

// showHistory prints what was done to a record, and what was learned of it later.
func showHistory(w io.Writer, history []view.Action) {
	for _, a := range history {
		switch a.Name {
		case store.ActionRemark:
			fields(w, "remark", fmt.Sprintf("%s: %s", stamp(a.At), a.Reason))
		case store.ActionResolve:
			fields(w, "resolved", fmt.Sprintf("as %s by %s at %s: %s", a.Details, a.Actor, stamp(a.At), a.Reason))
		default:
			fields(w, "action", fmt.Sprintf("%s by %s at %s: %s %s", a.Name, a.Actor, stamp(a.At), a.Reason, bracketed(a.Details)))
		}
	}
}

// oneArg refuses any other number of arguments than one, with what to write.
func oneArg(usage string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return errors.New(usage)
		}
		return nil
	}
}

// about says in a line what a record is about.
func about(s view.Subject) string {
	if s.Repository == "" {
		return ""
	}
	text := fmt.Sprintf("%s of %s", what(s), s.Repository)
	if s.Branch != "" {
		text += ", branch " + s.Branch
	}
	if s.Commit != "" {
		text += ", commit " + s.Commit
	}
	if s.Actor != "" {
		text += ", by " + s.Actor
	}
	return text
}

// ended says when a record ended, or until when it may take.
func ended(at *time.Time, took string, deadline time.Time) string {
	if at == nil {
		return "not yet; deadline " + stamp(deadline)
	}
	return stamp(*at) + " " + bracketed(took)
}

func bracketed(text string) string {
	if text == "" {
		return ""
	}
	return "(" + text + ")"
}

// recoveredText says how we heard of a delivery, if not by its webhook.
func recoveredText(r event.Recovery) string {
	switch r {
	case event.Compared:
		return "; recovered: read from the host, because no webhook came"
	case event.Redelivered:
		return "; recovered: the host was asked to send it again"
	}
	return ""
}
