package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
	"github.com/gatewright/gatewright/internal/webhook"
)

// say writes a comment on the merge request of a host and delivers it; change may change the delivery before.
func say(t *testing.T, d apptest.Service, host event.Host, number int, who demo.Person, sha, text string, change func(*demo.Delivery)) (comment int64) {
	t.Helper()
	delivery, err := d.Write(host, number, who, sha, text)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&delivery)
	}
	if sent, err := d.Send(t.Context(), delivery); err != nil || sent.Status >= 300 {
		t.Fatalf("sent %+v, error %v", sent, err)
	}
	return delivery.Change.Comment
}

// commandOf waits until the command of a comment has ended; nil when the comment has none.
func commandOf(t *testing.T, d apptest.Service, host event.Host, comment int64) *view.Command {
	t.Helper()
	var found *view.Command
	d.Until(t, fmt.Sprintf("the command of comment %d has ended", comment), func(r demo.Records) bool {
		for _, delivery := range r.Deliveries {
			if c := delivery.Command; c != nil && c.CommentID == fmt.Sprint(comment) && delivery.Host == host {
				found = c
				return c.State == store.CommandEnded
			}
		}
		return false
	})
	return found
}

// answers are what a host shows of a comment: the reactions to it, and our answers.
func answers(d apptest.Service, host event.Host, comment int64) (reactions, replies []string) {
	for _, c := range d.Standin.Reports().Comments {
		if c.Host != string(host) {
			continue
		}
		if c.ID == comment {
			reactions = c.Reactions
		}
		if strings.Contains(c.Text, fmt.Sprintf("answer to %d -->", comment)) {
			replies = append(replies, c.Text)
		}
	}
	return reactions, replies
}

// TestRecheckByComment: on each host a /recheck of somebody who may write repeats the check once, however often it
// is delivered, and is answered once, also where answers of the host are lost.
func TestRecheckByComment(t *testing.T) { apptest.Each(t, demo.Options{}, testRecheckByComment) }

func testRecheckByComment(t *testing.T, d apptest.Service) {
	hosts := webhook.Hosts()
	for i, host := range hosts {
		offer(t, d, host, fmt.Sprint(i), "", d.World.Bad)
	}
	d.Until(t, "all are checked", func(r demo.Records) bool { return len(r.Runs) == len(hosts) && r.Told() })
	setFaults(t, d,
		standin.Fault{Kind: standin.FaultLost, Operations: []string{"github_react"}, Next: 1},
		standin.Fault{Kind: standin.FaultLost, Operations: []string{"gitlab_react"}, Next: 1},
		standin.Fault{Kind: standin.FaultLost, Operations: []string{"gitea_react"}, Next: 1},
		standin.Fault{Kind: standin.FaultLost, Operations: []string{"gitee_create_comment"}, Next: 1})
	comments := map[event.Host]int64{}
	for _, host := range hosts {
		text := "Please:\r\n\r\n/recheck\r\n"
		comments[host] = say(t, d, host, demo.MergeRequest, demo.Mona(), d.World.Bad, text, func(delivery *demo.Delivery) {
			// The host delivers it three times: as it is, under another id, and in another second.
			for range 2 {
				if _, err := d.Send(t.Context(), *delivery); err != nil {
					t.Fatal(err)
				}
				delivery.ID += "-again"
			}
		})
	}
	for _, host := range hosts {
		c := commandOf(t, d, host, comments[host])
		reactions, replies := answers(d, host, comments[host])
		switch {
		case c.Outcome != store.CommandDone || c.Name != "recheck" || c.Author != "mona" || c.AuthorID != "11":
			t.Errorf("%s: %+v", host, c)
		case host == event.Gitee && (c.Answer != "reply" || len(replies) != 1 || len(reactions) != 0 || !strings.Contains(replies[0], "`/recheck` by mona: this commit is checked again.")):
			t.Errorf("%s: %+v, replies %q", host, c, replies)
		case host != event.Gitee && (c.Answer != "reaction" || len(replies) != 0 || len(reactions) != 1):
			t.Errorf("%s: %+v, reactions %q, replies %q", host, c, reactions, replies)
		}
	}
	r := d.Until(t, "all are checked again", func(r demo.Records) bool { return len(r.Runs) == 2*len(hosts) && r.Told() })
	for _, run := range r.Runs[len(hosts):] {
		if run.RerunOf == "" || run.State != codecheck.Failed {
			t.Errorf("run %+v", run.Run)
		}
	}
	for _, run := range r.Runs[:len(hosts)] {
		if len(run.History) != 1 || !strings.HasPrefix(run.History[0].Actor, "mona (account 11 of ") || !strings.HasPrefix(run.History[0].Reason, "recheck in comment ") {
			t.Errorf("history %+v", run.History)
		}
	}
}

// TestNotHeard: what a delivery says counts only where its host says the same. None of these acts, and none is
// answered.
func TestNotHeard(t *testing.T) { apptest.Each(t, demo.Options{}, testNotHeard) }

func testNotHeard(t *testing.T, d apptest.Service) {
	for i, host := range webhook.Hosts() {
		offer(t, d, host, fmt.Sprint(i), "", d.World.Bad)
	}
	d.Until(t, "all are checked", func(r demo.Records) bool { return len(r.Runs) == len(webhook.Hosts()) && r.Told() })
	type case_ struct {
		name, reason string
		who          demo.Person
		change       func(*demo.Delivery)
	}
	for _, host := range webhook.Hosts() {
		for _, test := range []case_{
			{"a forged author", "and the delivery said", demo.Ravi(), func(e *demo.Delivery) { e.Change.Account, e.Change.Login = 11, "mona" }},
			{"a forged text", "reads something else", demo.Mona(), func(e *demo.Delivery) { e.Change.Text = "/recheck now" }},
			{"a forged merge request", "", demo.Mona(), func(e *demo.Delivery) { e.Change.Number = 8 }},
			{"a comment that is not there", "cannot be read back", demo.Mona(), func(e *demo.Delivery) { e.Change.Comment += 100_000 }},
			{"edited", "the comment was edited", demo.Mona(), func(e *demo.Delivery) {
				if err := d.Standin.ChangeComment(e.Change.Comment, "/recheck"); err != nil {
					t.Fatal(err)
				}
			}},
			{"deleted", "cannot be read back", demo.Mona(), func(e *demo.Delivery) {
				if err := d.Standin.ChangeComment(e.Change.Comment, ""); err != nil {
					t.Fatal(err)
				}
			}},
			{"our own", "our own comment", demo.Reporter(), nil},
		} {
			var told int64
			say(t, d, host, demo.MergeRequest, test.who, d.World.Bad, "/recheck", func(e *demo.Delivery) {
				if test.change != nil {
					test.change(e)
				}
				told = e.Change.Comment
			})
			c := commandOf(t, d, host, told)
			if _, replies := answers(d, host, told); c.Outcome != store.CommandIgnored || !strings.Contains(c.Reason, test.reason) || c.Answer != "" || len(replies) > 0 {
				t.Errorf("%s, %s: %+v, replies %q", host, test.name, c, replies)
			}
		}
	}
	if r, err := d.Records(t.Context()); err != nil || len(r.Runs) != len(webhook.Hosts()) {
		t.Errorf("%d runs, error %v", len(r.Runs), err)
	}
}

// TestCommandsAnswered: what cannot be done is said in one short reply, with the current commit where another was
// named; of one who may not, once a day; and what is not a command of ours costs no call.
func TestCommandsAnswered(t *testing.T) {
	apptest.Each(t, demo.Options{Server: func(text string) string {
		return text + "groups: {leads: {github: [11]}}\ncommands: {approve: [leads], refuse: [leads]}\n"
	}}, testCommandsAnswered)
}

func testCommandsAnswered(t *testing.T, d apptest.Service) {
	const host = event.GitHub
	offer(t, d, host, "1", "", d.World.Bad)
	d.Until(t, "it is checked", func(r demo.Records) bool { return len(r.Runs) == 1 && r.Told() })
	for _, test := range []struct {
		text    string
		outcome store.CommandOutcome
		answer  string
	}{
		{"/approve " + d.World.Bad[:12], store.CommandRefused, "write the full hash of the commit. The newest one here is `" + d.World.Bad + "`"},
		{"/approve", store.CommandRefused, "write the full hash of the commit"},
		{"/approve " + d.World.Clean, store.CommandRefused, "`" + d.World.Clean + "` is not the newest commit of this merge request. That is `" + d.World.Bad + "`"},
		{"/approve " + d.World.Bad, store.CommandRefused, "no release of commit `" + d.World.Bad + "` waits"},
		{"/refuse " + strings.ToUpper(d.World.Bad) + " not now", store.CommandRefused, "no release of commit"},
		{"/ok " + d.World.Parent, store.CommandRefused, "is not the newest commit"},
		{"/gatewright frobnicate", store.CommandRefused, "`/…` by mona: there is no such command. `/gatewright help` shows"},
		{"/gatewright help", store.CommandDone, "one command in each comment"},
		{"/gatewright why", store.CommandDone, "`/why` by mona:\n\n- Commit " + d.World.Bad[:8] + ", rule merge\\-requests: **failed**, critical 1 \\> 0, major 1 \\> 0"},
	} {
		comment := say(t, d, host, demo.MergeRequest, demo.Mona(), d.World.Bad, test.text, nil)
		c := commandOf(t, d, host, comment)
		reactions, replies := answers(d, host, comment)
		if c.Outcome != test.outcome || c.Answer != "reply" || len(reactions) != 0 || len(replies) != 1 || !strings.Contains(replies[0], test.answer) {
			t.Errorf("%s: %+v, replies %q", test.text, c, replies)
		}
	}
	// Of one who may not.
	for i, text := range []string{"/recheck", "/gatewright why", "/approve " + d.World.Bad} {
		comment := say(t, d, host, demo.MergeRequest, demo.Ravi(), d.World.Bad, text, nil)
		c := commandOf(t, d, host, comment)
		_, replies := answers(d, host, comment)
		if c.Outcome != store.CommandDenied || i == 0 != (len(replies) == 1) || i == 0 && !strings.Contains(replies[0], "you may not give this command here. It is for whoever may write to the repository.") {
			t.Errorf("%s: %+v, replies %q", text, c, replies)
		}
	}
	// No command of ours.
	before := d.Standin.Counts().Calls["github_comment"]
	for _, text := range []string{"/lgtm", "/help", "I think so", "> /recheck", "```\n/recheck\n```", "see /recheck"} {
		say(t, d, host, demo.MergeRequest, demo.Mona(), d.World.Bad, text, nil)
	}
	r := d.Until(t, "all are decided", func(r demo.Records) bool { return r.Decided() })
	last := r.Deliveries[len(r.Deliveries)-6:]
	if slices.ContainsFunc(last, func(delivery view.DeliveryDetail) bool { return delivery.Command != nil }) || d.Standin.Counts().Calls["github_comment"] != before {
		t.Errorf("what is not a command was looked at: %+v", last)
	}
	// The merge request is closed meanwhile.
	d.Standin.SetMergeRequest(string(host), demo.MergeRequest, standin.HostMergeRequest{Author: 11, Closed: true})
	comment := say(t, d, host, demo.MergeRequest, demo.Mona(), d.World.Bad, "/recheck", nil)
	c := commandOf(t, d, host, comment)
	if _, replies := answers(d, host, comment); c.Outcome != store.CommandRefused || len(replies) != 1 || !strings.Contains(replies[0], "is not open") {
		t.Errorf("closed: %+v, replies %q", c, replies)
	}
	if r, err := d.Records(t.Context()); err != nil || len(r.Runs) != 1 {
		t.Errorf("%d runs, error %v", len(r.Runs), err)
	}
}

// TestCommandsOff: without leave in the server file nothing is read back, and a comment is what it always was.
func TestCommandsOff(t *testing.T) {
	t.Parallel()
	d := apptest.OnSQLiteWith(t, demo.Options{Server: func(text string) string { return text + "commands: {enabled: off}\n" }})
	say(t, d, event.GitHub, demo.MergeRequest, demo.Mona(), d.World.Bad, "/recheck", nil)
	r := d.Until(t, "it is decided", func(r demo.Records) bool { return len(r.Deliveries) == 1 && r.Decided() })
	if r.Deliveries[0].Command != nil || strings.Contains(r.Deliveries[0].Reason, "command") || d.Standin.Counts().Calls["github_comment"] != 0 {
		t.Errorf("%+v", r.Deliveries[0])
	}
}

// TestCommandAfterAnOutage: a command that a host could not confirm, or be told of, is carried out and answered once it is
// back, also by another process, and once.
func TestCommandAfterAnOutage(t *testing.T) {
	apptest.Each(t, demo.Options{}, testCommandAfterAnOutage)
}

func testCommandAfterAnOutage(t *testing.T, d apptest.Service) {
	const host = event.GitLab
	offer(t, d, host, "1", "", d.World.Bad)
	d.Until(t, "it is checked", func(r demo.Records) bool { return len(r.Runs) == 1 && r.Told() })
	down := func(operations ...string) standin.Fault {
		return standin.Fault{Kind: standin.FaultStatus, Status: http.StatusServiceUnavailable, Operations: operations}
	}
	setFaults(t, d, down("gitlab_note"))
	comment := say(t, d, host, demo.MergeRequest, demo.Mona(), d.World.Bad, "/recheck", nil)
	waits := func(state store.CommandState) func(demo.Records) bool {
		return func(r demo.Records) bool {
			return slices.ContainsFunc(r.Deliveries, func(d view.DeliveryDetail) bool {
				return d.Command != nil && d.Command.State == state && d.Command.Problem != ""
			})
		}
	}
	d.Until(t, "it waits for its host", waits(store.CommandReceived))
	// It acts, and the process ends before it is answered.
	setFaults(t, d, down("gitlab_react"))
	d.Until(t, "it acts and cannot be answered", waits(store.CommandDecided))
	if err := d.StopService(); err != nil {
		t.Fatal(err)
	}
	setFaults(t, d)
	d.Resume(t, "")
	c := commandOf(t, d, host, comment)
	reactions, replies := answers(d, host, comment)
	if c.Outcome != store.CommandDone || c.Answer != "reaction" || c.Problem != "" || len(reactions) != 1 || len(replies) != 0 {
		t.Errorf("%+v, reactions %q, replies %q", c, reactions, replies)
	}
	d.Until(t, "it is checked again once", func(r demo.Records) bool { return len(r.Runs) == 2 && r.Told() })
}

// TestCommandsWithoutRights: a token that cannot find out who may write says so, and nothing is done.
func TestCommandsWithoutRights(t *testing.T) {
	t.Parallel()
	d := apptest.OnSQLite(t)
	offer(t, d, event.Gitea, "1", "", d.World.Bad)
	d.Until(t, "it is checked", func(r demo.Records) bool { return len(r.Runs) == 1 && r.Told() })
	readsOnly := func(value string) {
		t.Helper()
		if err := d.Standin.SetSwitches(map[string]string{"git_token_reads_only": value}); err != nil {
			t.Fatal(err)
		}
	}
	readsOnly("true")
	comment := say(t, d, event.Gitea, demo.MergeRequest, demo.Mona(), d.World.Bad, "/recheck", nil)
	d.Until(t, "it cannot be answered either", func(r demo.Records) bool {
		c := r.Deliveries[len(r.Deliveries)-1].Command
		return c != nil && c.Outcome == store.CommandDenied && strings.Contains(c.Problem, "write:issue")
	})
	readsOnly("false")
	c := commandOf(t, d, event.Gitea, comment)
	if _, replies := answers(d, event.Gitea, comment); c.Outcome != store.CommandDenied || len(replies) != 1 || !strings.Contains(replies[0], "does not tell Gatewright who may") {
		t.Errorf("%+v, replies %q", c, replies)
	}
}

// TestOKByComment: /ok of somebody who may write lets the commit of a fork be checked, and only that.
func TestOKByComment(t *testing.T) {
	apptest.Each(t, demo.Options{Rules: forkRules("fork: trusted")}, testOKByComment)
}

func testOKByComment(t *testing.T, d apptest.Service) {
	const host = event.GitHub
	proposeFork(t, d, host, "1", d.World.Fork, true, false)
	d.Until(t, "it waits", func(r demo.Records) bool { return r.Told() })
	forked := d.World.Fork
	comment := say(t, d, host, demo.ForkRequest, demo.Mona(), forked, "/ok "+forked, nil)
	if c := commandOf(t, d, host, comment); c.Outcome != store.CommandDone || c.Answer != "reaction" {
		t.Errorf("%+v", c)
	}
	r := d.Until(t, "it is checked", func(r demo.Records) bool { return len(r.Runs) == 1 && r.Told() })
	if len(r.Releases) != 0 || len(r.Deliveries[0].History) != 1 || !strings.HasPrefix(r.Deliveries[0].History[0].Actor, "mona (account 11") {
		t.Errorf("%d releases, history %+v", len(r.Releases), r.Deliveries[0].History)
	}
	comment = say(t, d, host, demo.ForkRequest, demo.Mona(), forked, "/ok "+forked, nil)
	if c := commandOf(t, d, host, comment); c.Outcome != store.CommandRefused || !strings.Contains(c.Reason, "vouches for commit") {
		t.Errorf("once more: %+v", c)
	}
}

// TestOKAfterAnEdit: /ok has a commit checked also when something else was told of its merge request since, and says so
// when nothing waits for it.
func TestOKAfterAnEdit(t *testing.T) {
	apptest.Each(t, demo.Options{Rules: forkRules("fork: trusted")}, func(t *testing.T, d apptest.Service) {
		change := demo.Change{Branch: "main", SourceBranch: "patch-1", Number: demo.ForkRequest, Before: d.World.Clean, SHA: d.World.Fork, Fork: true, Edited: true,
			Time: time.Now().Add(time.Minute).UTC().Format(time.RFC3339)}
		ids := map[event.Host]string{}
		for _, host := range []event.Host{event.GitHub, event.Gitea} {
			ids[host] = proposeFork(t, d, host, "1", d.World.Fork, true, false)
			d.Until(t, "it waits", func(r demo.Records) bool { return r.Told() })
			if sent, err := d.Send(t.Context(), demo.Delivery{Host: host, Kind: "merge-request", ID: "2", Change: change}); err != nil || sent.ID == "" {
				t.Fatalf("sent %+v, error %v", sent, err)
			}
			r := d.Until(t, "its title is changed", func(r demo.Records) bool { return r.Decided() })
			if last := r.Deliveries[len(r.Deliveries)-1]; last.State != event.DeliveryIgnored || last.Decision != nil && last.Decision.NeedsTrust != nil {
				t.Errorf("%s: the change of the title is %s: %s", host, last.State, last.Reason)
			}
			comment := say(t, d, host, demo.ForkRequest, demo.Mona(), d.World.Fork, "/ok "+d.World.Fork, nil)
			if c := commandOf(t, d, host, comment); c.Outcome != store.CommandDone || c.Answer != "reaction" {
				t.Errorf("%s: %+v", host, c)
			}
		}
		r := d.Until(t, "both are checked", func(r demo.Records) bool { return len(r.Runs) == 2 && r.Told() })
		for host, id := range ids {
			if got := deliveryOf(r, id); got.State != event.DeliveryDecided || len(got.Runs) != 1 {
				t.Errorf("%s: the delivery is %s: %s", host, got.State, got.Reason)
			}
		}
		comment := say(t, d, event.GitLab, demo.ForkRequest, demo.Mona(), d.World.Fork, "/ok "+d.World.Fork, nil)
		c := commandOf(t, d, event.GitLab, comment)
		if _, replies := answers(d, event.GitLab, comment); c.Outcome != store.CommandDone || len(replies) != 1 || !strings.Contains(replies[0], "Nothing waited for that") {
			t.Errorf("nothing waits: %+v, replies %q", c, replies)
		}
	})
}

// TestPrefix: a command stands behind a blank where the prefix ends in a letter or digit, as the answers write it, too.
func TestPrefix(t *testing.T) {
	t.Parallel()
	d := apptest.OnSQLiteWith(t, demo.Options{Rules: forkRules("fork: trusted"), Server: func(text string) string {
		return text + "groups: {leads: {github: [11]}}\ncommands: {prefix: /g1, ok: []}\n"
	}})
	const host = event.GitHub
	id := proposeFork(t, d, host, "1", d.World.Fork, true, false)
	r := d.Until(t, "it waits", func(r demo.Records) bool { return r.Told() })
	if got := deliveryOf(r, id); !strings.Contains(got.Reason, "vouches for this commit, by gatewright ok") {
		t.Errorf("it names a command that nobody may give: %s", got.Reason)
	}
	if err := vouch(t, d, id); err != nil {
		t.Fatal(err)
	}
	d.Until(t, "it is checked", func(r demo.Records) bool { return len(r.Runs) == 1 && r.Told() })
	for text, want := range map[string]string{"/g1 gatewright help": "`/g1 recheck` checks", "/g1 gatewright why": "`/g1 why` by mona"} {
		comment := say(t, d, host, demo.ForkRequest, demo.Mona(), d.World.Fork, text, nil)
		c := commandOf(t, d, host, comment)
		if _, replies := answers(d, host, comment); c.Outcome != store.CommandDone || c.Answer != "reply" || len(replies) != 1 || !strings.Contains(replies[0], want) {
			t.Errorf("%s: %+v, replies %q", text, c, replies)
		}
	}
}

// TestForgedFirst: a forged delivery does not take the place of the comment that it names, nor count against its author.
func TestForgedFirst(t *testing.T) {
	apptest.Each(t, demo.Options{}, func(t *testing.T, d apptest.Service) {
		const host = event.GitHub
		offer(t, d, host, "1", "", d.World.Bad)
		d.Until(t, "it is checked", func(r demo.Records) bool { return len(r.Runs) == 1 && r.Told() })
		var real demo.Delivery
		comment := say(t, d, host, demo.MergeRequest, demo.Mona(), d.World.Bad, "/recheck", func(e *demo.Delivery) {
			real = *e
			e.ID, e.Change.Account, e.Change.Login = "forged", 13, "ravi"
		})
		if c := commandOf(t, d, host, comment); c.Outcome != store.CommandIgnored {
			t.Errorf("the forged one: %+v", c)
		}
		if sent, err := d.Send(t.Context(), real); err != nil || sent.Status >= 300 {
			t.Fatalf("sent %+v, error %v", sent, err)
		}
		d.Until(t, "the comment is heard", func(r demo.Records) bool { return len(r.Runs) == 2 && r.Told() })
		err := d.Store().View(t.Context(), func(tx *store.Tx) error {
			for author, want := range map[string]int{"11": 1, "13": 0} {
				if n, err := tx.CommandsSince(t.Context(), string(host), author, time.Time{}); n != want || err != nil {
					t.Errorf("account %s gave %d commands, error %v", author, n, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// approvedRules let a merge request start a pipeline whose checkpoint nobody decides by rule.
const approvedRules = `
version: 1
defaults:
  check:
    project: {id: "${PROJECT}", name: demo}
    languages: [GO, JSON, SHELL]
    create: {name: "{owner}-{repository}-{branch}-{connection}", auth_id: 6f1d0c52-8a0e-4a57-9a4d-2f7d3c9be001}
rules:
  - name: previews
    on: [merge_request]
    check: {scan: incremental}
    release: [{pipeline: "${PIPELINE}", action: start}]
`

// TestApproveByComment: a checkpoint is decided by those whom the server file names, for the commit that they name.
func TestApproveByComment(t *testing.T) {
	for command, want := range map[string]release.State{"approve": release.Succeeded, "refuse": release.Refused} {
		t.Run(command, func(t *testing.T) {
			apptest.Each(t, demo.Options{Rules: approvedRules, Server: func(text string) string {
				return text + "groups: {leads: {gitlab: [11]}}\ncommands: {prefix: \"!\", approve: [leads], refuse: [leads]}\n"
			}}, func(t *testing.T, d apptest.Service) {
				const host = event.GitLab
				mend(t, d, host, "1")
				d.Until(t, "it waits for an approval", func(r demo.Records) bool {
					return len(r.Releases) == 1 && r.Releases[0].State == release.AwaitingApproval
				})
				comment := say(t, d, host, demo.MergeRequest, demo.Mona(), d.World.Mended, "!"+command+" "+d.World.Mended+" looks fine", nil)
				if c := commandOf(t, d, host, comment); c.Outcome != store.CommandDone || c.Answer != "reaction" {
					t.Errorf("%+v", c)
				}
				r := d.Until(t, "both releases have ended", func(r demo.Records) bool { return len(r.Releases) == 2 && r.Ended() })
				decision := r.Releases[1]
				if decision.DecidedBy != "mona (account 11 of gitlab)" || decision.Action != map[string]any{"approve": r.Releases[1].Action, "refuse": r.Releases[1].Action}[command] || len(r.Releases[0].History) != 1 {
					t.Errorf("decision %+v, history %+v", decision, r.Releases[0].History)
				}
				if state := r.Releases[0].State; command == "approve" && state != want || command == "refuse" && state == release.Succeeded {
					t.Errorf("the release ended %s", state)
				}
			})
		})
	}
}
