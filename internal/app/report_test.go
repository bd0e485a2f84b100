package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/view"
)

// offer sends the merge request of a host with a commit; before is its head before, or
// empty when it is opened.
func offer(t *testing.T, d apptest.Service, host event.Host, id, before, sha string) {
	t.Helper()
	_, err := d.Send(t.Context(), demo.Delivery{Host: host, Kind: "merge-request", ID: id, Change: demo.Change{
		Branch: "main", SourceBranch: "feature/discount", Number: demo.MergeRequest, Before: before, SHA: sha,
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// mend pushes the mended commit to the merge request of a host.
func mend(t *testing.T, d apptest.Service, host event.Host, id string) {
	t.Helper()
	_, err := d.Send(t.Context(), demo.Delivery{Host: host, Kind: "merge-request", ID: id, Mend: true, Change: demo.Change{
		Branch: "main", SourceBranch: "feature/discount", Number: demo.MergeRequest, Before: d.World.Bad, SHA: d.World.Mended,
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// told returns what a host shows at a commit in a context, and on the merge request.
func told(d apptest.Service, host event.Host, sha, context string) (status standin.HostStatus, comments []standin.HostComment) {
	shown := d.Standin.Reports()
	for _, s := range shown.Statuses {
		if s.Host == string(host) && s.Commit == sha && s.Context == context {
			status = s
		}
	}
	for _, c := range shown.Comments {
		if c.Host == string(host) && !c.Deleted {
			comments = append(comments, c)
		}
	}
	return status, comments
}

// TestReports holds what each host shows of a merge request that fails and is mended, and of
// a push that is released.
func TestReports(t *testing.T) {
	apptest.Each(t, demo.Options{}, testReports)
}

func testReports(t *testing.T, d apptest.Service) {
	type host struct {
		host           event.Host
		begun, failure string
	}
	hosts := []host{
		{event.GitHub, "pending", "failure"},
		{event.GitLab, "pending", "failed"},
		{event.Gitee, "queued", "failure"},
		{event.Gitea, "pending", "failure"},
	}
	// No check begins before each host was told that it waits: else that may be left out.
	setFaults(t, d, standin.Fault{Kind: standin.FaultThrottle, RetryAfter: new(1), Operations: []string{"run_task"}})
	for i, h := range hosts {
		offer(t, d, h.host, fmt.Sprint(i), "", d.World.Bad)
	}
	apptest.WaitFor(t, "all are told that the check waits", func() bool {
		return !slices.ContainsFunc(hosts, func(h host) bool {
			status, _ := told(d, h.host, d.World.Bad, "gatewright/check")
			return status.Writes == 0
		})
	})
	setFaults(t, d)
	d.Until(t, "all are told of the failure", func(r demo.Records) bool { return len(r.Runs) == len(hosts) && r.Told() })
	for _, h := range hosts {
		status, comments := told(d, h.host, d.World.Bad, "gatewright/check")
		if status.State != h.failure || status.History[0] != h.begun || status.Description != "critical 1 > 0, major 1 > 0" || status.Writes > 5 {
			t.Errorf("%s shows %+v", h.host, status)
		}
		if len(comments) != 1 || !strings.Contains(comments[0].Text, "Gatewright: failed") || !strings.Contains(comments[0].Text, "partner.ini#L2") {
			t.Errorf("%s has the comments %+v", h.host, comments)
		}
	}
	for i, h := range hosts {
		mend(t, d, h.host, fmt.Sprint("mended ", i))
	}
	d.Until(t, "all are told of the success", func(r demo.Records) bool { return len(r.Runs) == 2*len(hosts) && r.Told() })
	for _, h := range hosts {
		status, comments := told(d, h.host, d.World.Mended, "gatewright/check")
		if status.State != "success" {
			t.Errorf("%s shows %+v", h.host, status)
		}
		if len(comments) != 1 || !strings.Contains(comments[0].Text, "Gatewright: passed") || comments[0].Edits != 1 {
			t.Errorf("%s has the comments %+v", h.host, comments)
		}
	}
	d.Push(t, event.GitHub, "pushed", demo.Change{Branch: "main", Before: d.World.Parent, SHA: d.World.Clean})
	d.Until(t, "the release is told", func(r demo.Records) bool { return len(r.Releases) == 2 && r.Told() })
	if status, _ := told(d, event.GitHub, d.World.Clean, "gatewright/release/shop"); status.State != "success" {
		t.Errorf("the release shows as %+v", status)
	}
}

// TestSupersededIsNotSuccess holds that a commit which is not checked to its end does not
// look like one that passed.
func TestSupersededIsNotSuccess(t *testing.T) {
	apptest.Each(t, demo.Options{ScanDelay: apptest.EndlessScan}, testSupersededIsNotSuccess)
}

func testSupersededIsNotSuccess(t *testing.T, d apptest.Service) {
	offer(t, d, event.GitLab, "1", "", d.World.Bad)
	d.Until(t, "it is running", apptest.Scanning)
	d.Standin.SetScanDelay(apptest.ShortScan)
	mend(t, d, event.GitLab, "2")
	d.Until(t, "both are told", func(r demo.Records) bool { return len(r.Runs) == 2 && r.Told() })
	if status, comments := told(d, event.GitLab, d.World.Bad, "gatewright/check"); status.State != "canceled" || len(comments) != 0 {
		t.Errorf("the older commit shows %+v, comments %+v", status, comments)
	}
}

// TestReportsOfABadHost holds that what a host loses, refuses for a while or answers late is
// told in the end, once.
func TestReportsOfABadHost(t *testing.T) {
	for name, faults := range map[string][]standin.Fault{
		"lost answers": {
			{Kind: standin.FaultLost, Operations: []string{"github_create_status"}, Next: 2},
			{Kind: standin.FaultLost, Operations: []string{"github_create_comment"}, Next: 1},
		},
		"errors": {
			{Kind: standin.FaultStatus, Status: http.StatusBadGateway, ActFirst: true, Operations: []string{"github_create_status", "github_create_comment"}, Next: 2},
		},
		"too many requests": {
			{Kind: standin.FaultThrottle, RetryAfter: new(1), Operations: []string{"github_create_status"}, Next: 2},
		},
		"no JSON": {
			{Kind: standin.FaultReplaced, Body: "<html>", Operations: []string{"github_create_comment", "github_comments"}, Next: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := apptest.OnSQLite(t)
			setFaults(t, d, faults...)
			offer(t, d, event.GitHub, "1", "", d.World.Bad)
			d.Until(t, "it is told", func(r demo.Records) bool { return len(r.Runs) == 1 && r.Told() })
			status, comments := told(d, event.GitHub, d.World.Bad, "gatewright/check")
			if status.State != "failure" || len(comments) != 1 {
				t.Errorf("status %+v, comments %+v", status, comments)
			}
		})
	}
}

// TestReportsAfterAnOutage holds that a host which is down while everything happens is told
// the end of it afterwards, also when the service was restarted meanwhile.
func TestReportsAfterAnOutage(t *testing.T) {
	apptest.Each(t, demo.Options{}, testReportsAfterAnOutage)
}

func testReportsAfterAnOutage(t *testing.T, d apptest.Service) {
	setFaults(t, d, standin.Fault{Kind: standin.FaultStatus, Status: http.StatusServiceUnavailable, Operations: []string{"gitlab_create_status", "gitlab_create_note", "gitlab_notes", "gitlab_user"}})
	offer(t, d, event.GitLab, "1", "", d.World.Bad)
	r := d.Until(t, "the run has ended", func(r demo.Records) bool { return len(r.Runs) == 1 && r.Ended() && problems(r) > 0 })
	if r.Runs[0].State != codecheck.Failed {
		t.Errorf("the run ended %s", r.Runs[0].State)
	}
	if err := d.StopService(); err != nil {
		t.Fatal(err)
	}
	setFaults(t, d)
	d.Resume(t, "")
	d.Until(t, "it is told", func(r demo.Records) bool { return r.Told() && problems(r) == 0 })
	status, comments := told(d, event.GitLab, d.World.Bad, "gatewright/check")
	if status.State != "failed" || status.Writes != 1 || len(comments) != 1 || comments[0].Edits != 0 {
		t.Errorf("status %+v, comments %+v", status, comments)
	}
}

// problems counts the reports that could not be written.
func problems(r demo.Records) (n int) {
	for _, run := range r.Runs {
		for _, told := range run.Reports {
			if told.Problem != "" {
				n++
			}
		}
	}
	return n
}

// TestReportsWithoutRights holds that a token which may not write keeps nothing up, and that
// what is missing can be seen.
func TestReportsWithoutRights(t *testing.T) {
	t.Parallel()
	d := apptest.OnSQLite(t)
	if err := d.Standin.SetSwitches(map[string]string{"git_token_reads_only": "true"}); err != nil {
		t.Fatal(err)
	}
	offer(t, d, event.GitHub, "1", "", d.World.Bad)
	r := d.Until(t, "it has ended", func(r demo.Records) bool { return len(r.Runs) == 1 && r.Ended() && problems(r) > 0 })
	if r.Runs[0].State != codecheck.Failed {
		t.Errorf("the run ended %s, %+v", r.Runs[0].State, r.Runs[0].Reports)
	}
	for _, told := range r.Runs[0].Reports {
		if told.Problem != "" && !strings.Contains(told.Problem, "403") || told.Problem != "" && !strings.Contains(told.Problem, "Commit statuses: write") {
			t.Errorf("the %s has the problem %q", told.Kind, told.Problem)
		}
	}
}

// TestDeletedComment holds that a comment which a person deleted is written again once.
func TestDeletedComment(t *testing.T) {
	t.Parallel()
	d := apptest.OnSQLite(t)
	offer(t, d, event.GitLab, "1", "", d.World.Bad)
	d.Until(t, "it is told", func(r demo.Records) bool { return len(r.Runs) == 1 && r.Told() })
	_, comments := told(d, event.GitLab, d.World.Bad, "gatewright/check")
	if len(comments) != 1 {
		t.Fatalf("comments %+v", comments)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodDelete,
		fmt.Sprintf("%s/api/v4/projects/acme%%2Fshop/merge_requests/%d/notes/%d", d.Endpoint(), demo.MergeRequest, comments[0].ID), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("PRIVATE-TOKEN", d.Secrets["DEMO_GITLAB_API"])
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		t.Fatalf("deleted with %s", answer.Status)
	}
	mend(t, d, event.GitLab, "2")
	d.Until(t, "the success is told", func(r demo.Records) bool { return len(r.Runs) == 2 && r.Told() })
	_, again := told(d, event.GitLab, d.World.Mended, "gatewright/check")
	if len(again) != 1 || again[0].ID == comments[0].ID || !strings.Contains(again[0].Text, "passed") {
		t.Errorf("comments %+v", again)
	}
}

const ignoringRules = `
version: 1
rules:
  - {name: bots, on: [merge_request], ignore: true}
`

// TestIgnoredIsTold holds that a required check does not wait for a commit that a rule
// ignores, and that nothing is said where no rule matched.
func TestIgnoredIsTold(t *testing.T) {
	t.Parallel()
	d := apptest.OnSQLiteWith(t, demo.Options{Rules: ignoringRules})
	offer(t, d, event.GitHub, "1", "", d.World.Bad)
	d.Push(t, event.GitHub, "2", demo.Change{Branch: "main", Before: d.World.Parent, SHA: d.World.Clean})
	d.Until(t, "both are decided", func(r demo.Records) bool { return len(r.Deliveries) == 2 && r.Decided() })
	apptest.WaitFor(t, "the status of the ignored commit", func() bool { return len(d.Standin.Reports().Statuses) > 0 })
	shown := d.Standin.Reports()
	if s := shown.Statuses[0]; len(shown.Statuses) != 1 || s.State != "success" || s.Commit != d.World.Bad || !strings.Contains(s.Description, "not checked") || len(shown.Comments) > 0 {
		t.Errorf("shown is %+v", shown)
	}
}

// TestReportsOff holds that a connection which is told nothing gets no call.
func TestReportsOff(t *testing.T) {
	t.Parallel()
	d := apptest.OnSQLiteWith(t, demo.Options{Server: func(text string) string {
		return text + "report: {statuses: off, comment: off}\n"
	}})
	offer(t, d, event.GitHub, "1", "", d.World.Bad)
	r := d.Until(t, "it has ended", func(r demo.Records) bool { return len(r.Runs) == 1 && r.Told() })
	if shown := d.Standin.Reports(); len(shown.Statuses)+len(shown.Comments) > 0 || len(r.Runs[0].Reports) > 0 {
		t.Errorf("shown is %+v", shown)
	}
	if slices.ContainsFunc(r.Runs, func(run view.RunDetail) bool { return run.State != codecheck.Failed }) {
		t.Errorf("runs %+v", r.Runs)
	}
}
