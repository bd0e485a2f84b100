package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/evidence"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
	"github.com/gatewright/gatewright/internal/webhook"
)

// demoReport is what `gatewright-demo --json` prints.
type demoReport struct {
	Deliveries []demoDelivery `json:"deliveries"`
	Decisions  []demoDecision `json:"decisions"`
	Runs       []demoRun      `json:"runs"`
	Releases   []demoRelease  `json:"releases"`
	// Reports are the statuses that the git hosts show, and Comments those on their merge
	// requests, as the stand-in has them.
	Reports  []demoStatus  `json:"reports"`
	Comments []demoComment `json:"comments"`
	// Recovered is what no webhook told.
	Recovered []demoRecovered `json:"recovered"`
	// Commands are those in comments on merge requests.
	Commands []demoCommand `json:"commands"`
	// Approvals are those of the held release, Audit and Evidence are what proves them.
	Approvals []demoApproval `json:"approvals"`
	Audit     demoAudit      `json:"audit"`
	Evidence  demoEvidence   `json:"evidence"`
	// Forks are the merge requests from forks, and what became of each commit.
	Forks []demoFork `json:"forks"`
	// Calls counts the requests that the stand-in received, by operation: its
	// own count, not ours.
	Calls map[string]int64 `json:"calls"`
}

type demoStatus struct {
	Host       string `json:"host"`
	Repository string `json:"repository"`
	Commit     string `json:"commit"`
	Context    string `json:"context"`
	// State is in the host's own words, Writes how often it was written.
	State       string `json:"state"`
	Description string `json:"description"`
	Writes      int    `json:"writes"`
}

type demoRecovered struct {
	Host       event.Host `json:"host"`
	Repository string     `json:"repository"`
	// Ref is the branch, or the number of the merge request with a "!" before it.
	Ref    string `json:"ref"`
	Commit string `json:"commit"`
	// How is compared or redelivered.
	How event.Recovery `json:"how"`
	// Outcome is the state of its run, or of the delivery where there is none.
	Outcome string `json:"outcome"`
}

type demoComment struct {
	Host   string `json:"host"`
	Number int    `json:"number"`
	Edits  int    `json:"edits"`
	Text   string `json:"text"`
}

type demoCommand struct {
	Host       event.Host `json:"host"`
	Repository string     `json:"repository"`
	Number     int        `json:"number"`
	// Author is the login of who gave it, Command what.
	Author  string `json:"author"`
	Command string `json:"command"`
	// Outcome is done, refused, denied or ignored, Answer is reaction, reply or empty.
	Outcome store.CommandOutcome `json:"outcome"`
	Answer  string               `json:"answer"`
}

type demoDelivery struct {
	Host  event.Host `json:"host"`
	Title string     `json:"title"`
	// Outcome is accepted, duplicate, refused or ignored.
	Outcome string `json:"outcome"`
	Status  int    `json:"status"`
	ID      string `json:"id,omitempty"`
	State   string `json:"state,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

type demoDecision struct {
	Delivery string        `json:"delivery"`
	Host     event.Host    `json:"host"`
	Event    event.Kind    `json:"event"`
	Outcome  rules.Outcome `json:"outcome"`
	Rule     string        `json:"rule,omitempty"`
	Reason   string        `json:"reason"`
}

type demoRun struct {
	ID         string             `json:"id"`
	RerunOf    string             `json:"rerun_of,omitempty"`
	Delivery   string             `json:"delivery"`
	Host       event.Host         `json:"host"`
	Repository string             `json:"repository"`
	Branch     string             `json:"branch"`
	Number     int                `json:"number,omitempty"`
	SHA        string             `json:"sha"`
	Rule       string             `json:"rule"`
	Recovered  event.Recovery     `json:"recovered,omitempty"`
	State      codecheck.State    `json:"state"`
	Reason     string             `json:"reason,omitempty"`
	Task       codecheck.Origin   `json:"task"`
	TaskID     string             `json:"task_id"`
	TaskName   string             `json:"task_name,omitempty"`
	ExecID     string             `json:"exec_id"`
	Ref        codecheck.Ref      `json:"ref"`
	RefReason  string             `json:"ref_reason"`
	RefsTried  []codecheck.Ref    `json:"refs_tried,omitempty"`
	Defects    codecheck.Counts   `json:"defects"`
	Findings   []codecheck.Defect `json:"findings,omitempty"`
	Verdict    *codecheck.Verdict `json:"verdict"`
}

type demoRelease struct {
	ID       string     `json:"id"`
	Run      string     `json:"run"`
	Host     event.Host `json:"host"`
	SHA      string     `json:"sha"`
	Pipeline string     `json:"pipeline"`
	// PipelineName is what the server file calls it.
	PipelineName string              `json:"pipeline_name"`
	Action       rules.ReleaseAction `json:"action"`
	State        release.State       `json:"state"`
	Reason       string              `json:"reason,omitempty"`
	ExecutionID  string              `json:"execution_id"`
	Actions      []release.Action    `json:"actions"`
}

// makeReport collects what happened from the database and from the stand-in.
func makeReport(ctx context.Context, d *demo.Demo, story story) (demoReport, error) {
	r, err := d.Records(ctx)
	if err != nil {
		return demoReport{}, err
	}
	report := demoReport{Approvals: []demoApproval{}, Recovered: []demoRecovered{}, Decisions: []demoDecision{}, Commands: []demoCommand{}, Runs: []demoRun{}, Releases: []demoRelease{}, Forks: story.forks, Calls: d.Standin.Counts().Calls}
	if report.Audit, err = verifyAudit(ctx, d, story.held); err != nil {
		return report, err
	}
	if report.Evidence, err = verifyEvidence(ctx, d, story.held); err != nil {
		return report, err
	}
	states := map[string]demoDelivery{}
	hosts := map[string]event.Host{}
	for _, delivery := range r.Deliveries {
		hosts[delivery.ID] = delivery.Host
		if c := delivery.Command; c != nil {
			report.Commands = append(report.Commands, demoCommand{delivery.Host, delivery.Repository, c.Number, c.Author, c.Name, c.Outcome, c.Answer})
		}
		states[delivery.ID] = demoDelivery{State: string(delivery.State), Reason: delivery.Reason}
		if delivery.Recovered != event.NotRecovered {
			report.Recovered = append(report.Recovered, newRecovered(delivery))
		}
		if delivery.Decision == nil {
			continue
		}
		decision := demoDecision{
			Delivery: delivery.ID, Host: delivery.Host, Event: delivery.Event,
			Outcome: delivery.Decision.Outcome, Reason: delivery.Reason,
		}
		if len(delivery.Rules) > 0 {
			decision.Rule = delivery.Rules[0]
		}
		report.Decisions = append(report.Decisions, decision)
	}
	for _, s := range story.deliveries {
		report.Deliveries = append(report.Deliveries, outcomeOf(s, states))
	}
	for _, run := range r.Runs {
		hosts[run.ID] = hosts[run.DeliveryID]
		shown := demoRun{
			ID: run.ID, RerunOf: run.RerunOf, Delivery: run.DeliveryID, Host: hosts[run.ID], Repository: run.Repository,
			Branch: run.Branch, Number: run.Number, SHA: run.Commit, Rule: run.Rule, Recovered: run.Recovered,
			State: run.State, Reason: run.Reason, Task: run.Task.Origin, TaskID: run.Task.ID, TaskName: run.Task.Name, ExecID: run.ExecutionID,
			Ref: run.Ref, RefReason: run.RefReason, RefsTried: run.RefsTried,
			Findings: run.Defects, Verdict: run.Verdict,
		}
		if run.Counts != nil {
			shown.Defects = *run.Counts
		}
		report.Runs = append(report.Runs, shown)
	}
	for _, rel := range r.Releases {
		report.Releases = append(report.Releases, demoRelease{
			ID: rel.ID, Run: rel.RunID, Host: hosts[rel.RunID], SHA: rel.Commit, Pipeline: rel.Pipeline, PipelineName: rel.PipelineName,
			Action: rel.Action, State: rel.State, Reason: rel.Reason, ExecutionID: rel.ExecutionID, Actions: rel.Actions,
		})
		for _, a := range rel.Approvals {
			report.Approvals = append(report.Approvals, demoApproval{a.ReleaseID, a.Commit, a.Person, a.Identity, a.Via, a.State, a.Reason})
		}
	}
	shown := d.Standin.Reports()
	for _, s := range shown.Statuses {
		report.Reports = append(report.Reports, demoStatus{s.Host, s.Repository, s.Commit, s.Context, s.State, s.Description, s.Writes})
	}
	for _, c := range shown.Comments {
		if c.Author != demo.Reporter().ID {
			continue // a person's
		}
		report.Comments = append(report.Comments, demoComment{c.Host, c.Number, c.Edits, c.Text})
	}
	return report, nil
}

func newRecovered(d view.DeliveryDetail) demoRecovered {
	r := demoRecovered{Host: d.Host, Repository: d.Repository, Ref: d.Branch, Commit: d.Commit, How: d.Recovered, Outcome: string(d.State)}
	if d.Number > 0 {
		r.Ref = fmt.Sprintf("!%d", d.Number)
	}
	if len(d.Runs) > 0 {
		r.Outcome = string(d.Runs[0].State)
	}
	return r
}

func outcomeOf(s told, states map[string]demoDelivery) demoDelivery {
	d := demoDelivery{Host: s.Host, Title: s.title, Status: s.Status, ID: s.Sent.ID, Outcome: "refused"}
	switch s.Status {
	case http.StatusOK:
		d.Outcome = "duplicate"
	case http.StatusAccepted:
		d.Outcome = "accepted"
		d.State, d.Reason = states[s.Sent.ID].State, states[s.Sent.ID].Reason
		if d.State == string(event.DeliveryIgnored) {
			d.Outcome = "ignored"
		}
	}
	return d
}

// brokenExpectations names every expectation of the story that did not hold.
func brokenExpectations(r demoReport) []string {
	var broken []string
	expect := func(holds bool, what string) {
		if !holds {
			broken = append(broken, what)
		}
	}
	for _, outcome := range []string{"accepted", "duplicate", "refused", "ignored"} {
		expect(slices.ContainsFunc(r.Deliveries, func(d demoDelivery) bool { return d.Outcome == outcome }), "a delivery is "+outcome)
	}
	expect(slices.ContainsFunc(r.Decisions, func(d demoDecision) bool { return d.Outcome == rules.NoMatch }), "an event matches no rule")

	runs := func(holds func(demoRun) bool) int {
		number := 0
		for _, run := range r.Runs {
			if run.RerunOf == "" && holds(run) {
				number++
			}
		}
		return number
	}
	for _, host := range webhook.Hosts() {
		expect(runs(func(run demoRun) bool {
			return run.Host == host && run.Number == 0 && run.Recovered == "" && run.State == codecheck.Passed
		}) == 1,
			"the push from "+string(host)+" passes")
		expect(runs(func(run demoRun) bool {
			return run.Host == host && run.Number == demo.MergeRequest && run.State == codecheck.Failed && run.Defects.Critical > 0 && run.Defects.Major > 0
		}) == 1, "the merge request from "+string(host)+" fails its gate on a secret and a syntax error")
	}
	mended := ""
	for _, run := range r.Runs {
		if run.Number == demo.MergeRequest && run.State == codecheck.Passed {
			mended = run.SHA
		}
	}
	for _, host := range webhook.Hosts() {
		shows := func(commit string, states ...string) bool {
			return slices.ContainsFunc(r.Reports, func(s demoStatus) bool {
				return s.Host == string(host) && s.Context == "gatewright/check" && (commit == "" || s.Commit == commit) && slices.Contains(states, s.State) && s.Writes <= 6
			})
		}
		expect(runs(func(run demoRun) bool {
			return run.Host == host && run.Number == demo.MergeRequest && run.State == codecheck.Passed
		}) == 1,
			"the mended merge request from "+string(host)+" passes")
		expect(shows("", "failure", "failed") && shows(mended, "success"), string(host)+" shows the failure of the merge request, and that it was mended")
		expect(slices.ContainsFunc(r.Comments, func(c demoComment) bool {
			return c.Host == string(host) && c.Edits >= 1 && c.Edits <= 2 && strings.Contains(c.Text, "passed")
		}), "the one comment on the merge request of "+string(host)+" was edited")
	}
	// On a slow machine a host is read before its webhook is decided: one of the two is a duplicate.
	lost := slices.DeleteFunc(slices.Clone(r.Recovered), func(d demoRecovered) bool { return d.Outcome == string(event.DeliveryDuplicate) })
	expect(len(lost) == 1 && lost[0].Outcome == string(codecheck.Passed), "the push whose webhook was lost is recovered, once, and passes")
	said := map[store.CommandOutcome]string{store.CommandDone: "reaction", store.CommandRefused: "reply"}
	expect(len(r.Commands) == 4 && !slices.ContainsFunc(r.Commands, func(c demoCommand) bool { return said[c.Outcome] == "" || c.Answer != said[c.Outcome] }) &&
		slices.ContainsFunc(r.Runs, func(run demoRun) bool {
			return run.RerunOf != "" && run.State == codecheck.Passed && run.SHA == mended
		}), "a commit is checked again because of a comment, and each command is answered")
	expect(runs(func(run demoRun) bool { return run.Task == codecheck.Found }) > 0, "a task is found")
	expect(runs(func(run demoRun) bool { return run.Task == codecheck.Created && run.Number == 0 }) > 0, "a task is created")
	for _, host := range []event.Host{event.GitHub, event.Gitea} {
		expect(runs(func(run demoRun) bool {
			return run.Host == host && len(run.RefsTried) == 2 && run.Ref == codecheck.Pull
		}) == 1, "the merge request from "+string(host)+" is pulled with the other ref")
	}

	expect(slices.ContainsFunc(r.Forks, func(f demoFork) bool {
		return f.StatusBefore == "pending" && strings.Contains(f.Waited, "may not write") && f.VouchedBy != "" && f.Run == codecheck.Passed && f.StatusAfter == "success"
	}), "the merge request from a fork waits, and passes when somebody vouches for its commit")
	expect(!slices.ContainsFunc(r.Releases, func(rel demoRelease) bool {
		return slices.ContainsFunc(r.Forks, func(f demoFork) bool { return f.Commit == rel.SHA })
	}), "nothing from a fork is released")
	expect(len(r.Releases) == 4, "one verdict starts a release and approves its checkpoint, two others start a release each")
	for _, rel := range r.Releases {
		if rel.PipelineName == "web" {
			expect(rel.State == release.RolledBack && slices.EqualFunc(rel.Actions, []rules.ReleaseAction{rules.ReleaseStart, rules.ReleaseRetry, rules.ReleaseRollback},
				func(sent release.Action, want rules.ReleaseAction) bool {
					return sent.Name == want && sent.Result == release.ResultAccepted
				}),
				"the release that fails is retried once by its rule, and then rolled back")
			continue
		}
		expect(rel.State == release.Succeeded && len(rel.Actions) == 1 && rel.ExecutionID != "", "the release's "+string(rel.Action)+" succeeds with one action")
	}
	expect(slices.ContainsFunc(r.Releases, func(rel demoRelease) bool { return rel.PipelineName == "web" }), "a release fails")
	expectApprovals(r, mended, expect)
	return broken
}

// expectApprovals checks what people decided of the held release, and what proves it.
func expectApprovals(r demoReport, commit string, expect func(bool, string)) {
	approved := func(via string, who demo.Person) bool {
		return slices.ContainsFunc(r.Approvals, func(a demoApproval) bool {
			return a.Via == via && a.Person == who.Login && a.State == store.ApprovalApproved && a.Commit == commit && a.Release == r.Evidence.Release
		})
	}
	expect(len(r.Approvals) == 2 && approved("page", demo.Opener()) && approved("comment", demo.Ada()), "two people approve the held release, one on its page and one by a comment")
	expect(slices.ContainsFunc(r.Commands, func(c demoCommand) bool {
		return c.Command == "approve" && c.Author == demo.Mona().Login && c.Outcome == store.CommandRefused
	}), "the author of the merge request cannot approve its release")
	expect(slices.ContainsFunc(r.Releases, func(rel demoRelease) bool {
		return rel.ID == r.Evidence.Release && rel.PipelineName == "staging" && rel.SHA == commit && rel.State == release.Succeeded
	}), "the held release acts once it is approved")
	expect(r.Audit.Verified && r.Audit.Rows > 0 && r.Audit.Hash != "", "the audit log verifies")
	expect(r.Evidence.Verified && r.Evidence.Signed && r.Evidence.Root != "", "the evidence of the held release is signed and verifies")
	expect(!r.Evidence.Changed.Verified && r.Evidence.Changed.Part == evidence.Approvals, "evidence with one changed byte does not verify, and the part is named")
}
