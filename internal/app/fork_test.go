package app_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
	"github.com/gatewright/gatewright/internal/webhook"
)

// forkRules check a merge request of a fork when it is trusted. The release is for what comes from no
// fork.
func forkRules(match string) string {
	return `
version: 1
defaults:
  check:
    project: {id: "${PROJECT}", name: demo}
    languages: [GO, JSON, SHELL]
    create: {name: "{owner}-{repository}-{branch}-{connection}", auth_id: 6f1d0c52-8a0e-4a57-9a4d-2f7d3c9be001}
rules:
  - name: merge-requests
    on: [merge_request]
    match: {` + match + `}
    check: {scan: incremental}
    release: [{pipeline: "${PIPELINE}", action: start}]
  - {name: others, on: [merge_request], ignore: true}
`
}

// proposeFork sends the merge request from a fork; payloadFork is what the payload says.
func proposeFork(t *testing.T, d apptest.Service, host event.Host, id, sha string, payloadFork, push bool) (delivery string) {
	t.Helper()
	sent, err := d.Send(t.Context(), demo.Delivery{Host: host, Kind: "merge-request", ID: id, PushFork: push, Change: demo.Change{
		Branch: "main", SourceBranch: "patch-1", Number: demo.ForkRequest, Before: d.World.Clean, SHA: sha, Fork: payloadFork,
	}})
	if err != nil || sent.ID == "" {
		t.Fatalf("sent %+v, error %v", sent, err)
	}
	return sent.ID
}

func deliveryOf(r demo.Records, id string) view.DeliveryDetail {
	for _, d := range r.Deliveries {
		if d.ID == id {
			return d
		}
	}
	return view.DeliveryDetail{}
}

// vouch gives trust for the commit of a delivery.
func vouch(t *testing.T, d apptest.Service, delivery string) error {
	t.Helper()
	inserter, err := jobs.NewInserter(d.Store(), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	done, err := inserter.TrustDelivery(t.Context(), delivery, jobs.Order{Actor: "ann", Reason: "read it"})
	if err == nil && (!slices.Equal(done.Deliveries, []string{delivery}) || done.Action.RecordID != delivery) {
		t.Errorf("done is %+v", done)
	}
	return err
}

// TestForks: on each host the commit of a fork waits until somebody vouches for it, whatever its payload
// says, is then checked and not released, and the next one waits again.
func TestForks(t *testing.T) {
	apptest.Each(t, demo.Options{Rules: forkRules("fork: trusted")}, testForks)
}

func testForks(t *testing.T, d apptest.Service) {
	deliveries := map[event.Host]string{}
	propose := func(round, sha string, push bool) {
		for i, host := range webhook.Hosts() {
			deliveries[host] = proposeFork(t, d, host, fmt.Sprint(round, i), sha, i%2 == 0, push)
		}
	}
	wait := func(sha string, runs int) {
		t.Helper()
		apptest.WaitFor(t, "each host is told that the commit waits", func() bool {
			return !slices.ContainsFunc(webhook.Hosts(), func(host event.Host) bool {
				status, _ := told(d, host, sha, "gatewright/check")
				return status.Writes == 0
			})
		})
		r := d.Until(t, "all wait", func(r demo.Records) bool { return r.Told() })
		if len(r.Runs) != runs || len(r.Releases) != 0 {
			t.Errorf("%d runs, %d releases", len(r.Runs), len(r.Releases))
		}
		for host, id := range deliveries {
			got := deliveryOf(r, id)
			if got.State != event.DeliveryIgnored || !strings.Contains(got.Reason, `rule "merge-requests" waits for somebody who vouches for commit `+sha) ||
				!strings.Contains(got.Reason, `its author "tova" (account 14) may not write to acme/shop and is in no group`) || !strings.Contains(got.Reason, "gatewright ok "+id) {
				t.Errorf("%s: the delivery is %s: %s", host, got.State, got.Reason)
			}
			status, _ := told(d, host, sha, "gatewright/check")
			if !slices.Contains([]string{"pending", "queued"}, status.State) || !strings.Contains(status.Description, "must vouch for this commit") {
				t.Errorf("%s shows %+v", host, status)
			}
		}
	}
	propose("first ", d.World.Fork, false)
	wait(d.World.Fork, 0)
	for host, id := range deliveries {
		if err := vouch(t, d, id); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	r := d.Until(t, "all are checked", func(r demo.Records) bool { return len(r.Runs) == 4 && r.Told() })
	for host, id := range deliveries {
		got := deliveryOf(r, id)
		if got.State != event.DeliveryDecided || len(got.Runs) != 1 || got.Runs[0].State != codecheck.Passed || got.Runs[0].Commit != d.World.Fork ||
			!strings.Contains(got.Reason, `rule "merge-requests" releases nothing, because the merge request comes from a fork`) || len(got.History) != 1 || got.History[0].Name != "ok" {
			t.Errorf("%s: the delivery is %s: %s, %+v, %+v", host, got.State, got.Reason, got.Runs, got.History)
		}
		if status, _ := told(d, host, d.World.Fork, "gatewright/check"); status.State != "success" {
			t.Errorf("%s shows %+v", host, status)
		}
	}
	if len(r.Releases) != 0 {
		t.Errorf("released: %+v", r.Releases)
	}

	old := deliveries[event.GitHub]
	propose("next ", d.World.ForkNext, true)
	wait(d.World.ForkNext, 4)
	for id, want := range map[string]string{old: "it does not wait for somebody", "nothing": "not found"} {
		if err := vouch(t, d, id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("vouch for %s: %v", id, err)
		}
	}
}

// TestTrustOfAnOlderCommit: nobody vouches for a commit that is not the newest, and the error names that.
func TestTrustOfAnOlderCommit(t *testing.T) {
	apptest.Each(t, demo.Options{Rules: forkRules("fork: trusted")}, func(t *testing.T, d apptest.Service) {
		old := proposeFork(t, d, event.Gitea, "1", d.World.Fork, true, false)
		d.Until(t, "it waits", func(r demo.Records) bool { return r.Told() })
		next := proposeFork(t, d, event.Gitea, "2", d.World.ForkNext, true, true)
		d.Until(t, "both wait", func(r demo.Records) bool { return len(r.Deliveries) == 2 && r.Told() })
		if err := vouch(t, d, old); err == nil || !strings.Contains(err.Error(), "merge request 8 has the newer commit "+d.World.ForkNext+": vouch for that one") {
			t.Errorf("vouch for the older one: %v", err)
		}
		if err := vouch(t, d, next); err != nil {
			t.Error(err)
		}
		r := d.Until(t, "the newer one is checked", func(r demo.Records) bool { return len(r.Runs) == 1 && r.Told() })
		if r.Runs[0].Commit != d.World.ForkNext || deliveryOf(r, old).State != event.DeliveryIgnored {
			t.Errorf("run %+v, the older delivery is %s", r.Runs[0], deliveryOf(r, old).State)
		}
		if err := vouch(t, d, next); err == nil || !strings.Contains(err.Error(), "does not wait") {
			t.Errorf("vouch once more: %v", err)
		}
	})
}

// TestAuthors: the author's role at the host decides, and an author who is gone has none. What comes from no
// fork is checked and released.
func TestAuthors(t *testing.T) {
	apptest.Each(t, demo.Options{Rules: forkRules("fork: trusted")}, func(t *testing.T, d apptest.Service) {
		hosts := webhook.Hosts()
		for _, host := range hosts[:2] {
			d.Standin.SetMergeRequest(string(host), demo.ForkRequest, standin.HostMergeRequest{Author: 12, Fork: true})
		}
		d.Standin.SetMergeRequest(string(hosts[2]), demo.ForkRequest, standin.HostMergeRequest{Fork: true, ForkDeleted: true})
		d.Standin.SetMergeRequest(string(hosts[3]), demo.ForkRequest, standin.HostMergeRequest{Author: 13, Fork: true})
		var ids []string
		for i, host := range hosts {
			ids = append(ids, proposeFork(t, d, host, fmt.Sprint(i), d.World.Fork, false, false))
		}
		r := d.Until(t, "all are decided", func(r demo.Records) bool { return len(r.Deliveries) == 4 && len(r.Runs) == 2 && r.Told() })
		for i, want := range []string{`rule "merge-requests" matched`, `rule "merge-requests" matched`, "its author has no account any more", `its author "ravi" (account 13) may not write`} {
			if got := deliveryOf(r, ids[i]); !strings.Contains(got.Reason, want) || (len(got.Runs) > 0) != (i < 2) {
				t.Errorf("%s: %s", hosts[i], got.Reason)
			}
		}
		trace := deliveryOf(r, ids[0]).Decision.Trace[0].Reason
		if !strings.Contains(trace, `fork is trusted: its author "ada" (account 12) may write to acme/shop`) || len(r.Releases) != 0 {
			t.Errorf("the trace says %s; releases %+v", trace, r.Releases)
		}

		offer(t, d, event.GitHub, "own", "", d.World.Bad)
		d.Until(t, "it is checked", func(r demo.Records) bool { return len(r.Runs) == 3 && r.Ended() })
		mend(t, d, event.GitHub, "own mended")
		d.Until(t, "what comes from no fork is released", func(r demo.Records) bool {
			return len(r.Releases) == 1 && r.Releases[0].ExecutionID != ""
		})
	})
}

// TestGroups: an author in a group of the server file is trusted, until they are removed from it.
func TestGroups(t *testing.T) {
	grouped := func(text string) string { return text + "groups: {contributors: {github: [14], gitlab: [15]}}\n" }
	apptest.Each(t, demo.Options{Rules: forkRules("fork: trusted"), Server: grouped}, func(t *testing.T, d apptest.Service) {
		trusted := proposeFork(t, d, event.GitHub, "1", d.World.Fork, true, false)
		other := proposeFork(t, d, event.GitLab, "2", d.World.Fork, true, false)
		r := d.Until(t, "one is checked", func(r demo.Records) bool { return len(r.Deliveries) == 2 && len(r.Runs) == 1 && r.Told() })
		if got := deliveryOf(r, trusted); len(got.Runs) != 1 || !strings.Contains(got.Decision.Trace[0].Reason, "is in group contributors") {
			t.Errorf("the delivery is %s: %s", got.State, got.Reason)
		}
		if got := deliveryOf(r, other); got.State != event.DeliveryIgnored {
			t.Errorf("the other delivery is %s: %s", got.State, got.Reason)
		}
		files := reloadingOf(d)
		before := files.metric(t, "gatewright_config_hash")
		files.edit(t, "gatewright.yaml", "github: [14]", "github: [99]")
		d.Hangup()
		apptest.WaitFor(t, "the file is read again", func() bool { return files.metric(t, "gatewright_config_hash") != before })
		next := proposeFork(t, d, event.GitHub, "3", d.World.ForkNext, true, true)
		r = d.Until(t, "the next one waits", func(r demo.Records) bool { return len(r.Deliveries) == 3 && r.Told() })
		if got := deliveryOf(r, next); got.State != event.DeliveryIgnored || len(r.Runs) != 1 {
			t.Errorf("the next delivery is %s: %s", got.State, got.Reason)
		}
	})
}

// TestUntold: without a token, and where the host does not know or may not tell, nobody is trusted, and
// the decision says why. Somebody may vouch for the commit all the same.
func TestUntold(t *testing.T) {
	tokenless := func(text string) string {
		return strings.Replace(text, "    token: {env: DEMO_GITLAB_API}\n    api_url: \"${STANDIN}/api/v4\"\n", "", 1)
	}
	apptest.Each(t, demo.Options{Rules: forkRules("fork: trusted"), Server: tokenless}, func(t *testing.T, d apptest.Service) {
		setFaults(t, d, standin.Fault{Kind: standin.FaultNotFound, Operations: []string{"github_pull"}},
			standin.Fault{Kind: standin.FaultNotFound, Operations: []string{"gitea_permission"}})
		d.Standin.SetMergeRequest("gitea", demo.ForkRequest, standin.HostMergeRequest{Author: 12, Fork: true})
		wants := map[event.Host]string{
			event.GitLab: `connection "gitlab" has no API token with which its host could be asked`,
			event.GitHub: "read merge request: the host does not have it",
			event.Gitea:  `its author "ada" (account 12) may not write to acme/shop`,
		}
		ids := map[event.Host]string{}
		for host := range wants {
			ids[host] = proposeFork(t, d, host, string(host), d.World.Fork, host == event.Gitea, false)
		}
		r := d.Until(t, "all wait", func(r demo.Records) bool { return len(r.Deliveries) == 3 && r.Told() })
		for host, want := range wants {
			if got := deliveryOf(r, ids[host]); got.State != event.DeliveryIgnored || !strings.Contains(got.Reason, want) {
				t.Errorf("%s: %s: %s", host, got.State, got.Reason)
			}
		}
		if err := vouch(t, d, ids[event.GitLab]); err != nil {
			t.Fatal(err)
		}
		r = d.Until(t, "it is checked", func(r demo.Records) bool { return len(r.Runs) == 1 && r.Told() })
		if got := deliveryOf(r, ids[event.GitLab]); len(got.Runs) != 1 || len(r.Releases) != 0 || !strings.Contains(got.Decision.Trace[0].Reason, "ann vouches for commit") {
			t.Errorf("the delivery is %s: %s; releases %+v", got.State, got.Reason, r.Releases)
		}
	})
}

// TestForgedFork: what the host says counts for a rule without forks, and not what a payload says.
func TestForgedFork(t *testing.T) {
	apptest.Each(t, demo.Options{Rules: forkRules("fork: false")}, func(t *testing.T, d apptest.Service) {
		id := proposeFork(t, d, event.Gitee, "1", d.World.Fork, false, false)
		r := d.Until(t, "it is ignored", func(r demo.Records) bool { return r.Told() })
		if got := deliveryOf(r, id); got.Reason != `rule "others" says ignore` || !got.Decision.Event.Fork {
			t.Errorf("the delivery is %s: %s", got.State, got.Reason)
		}
	})
}

// TestPushedForReview: what was pushed to refs/for/main of Gitea, as any reader may, counts as what comes from a fork:
// the host calls the repository itself its source.
func TestPushedForReview(t *testing.T) {
	apptest.Each(t, demo.Options{Rules: forkRules("fork: trusted")}, func(t *testing.T, d apptest.Service) {
		d.Standin.SetMergeRequest("gitea", demo.ForkRequest, standin.HostMergeRequest{Author: 13, WithoutBranch: true})
		id := proposeFork(t, d, event.Gitea, "1", d.World.Fork, true, false)
		r := d.Until(t, "it waits", func(r demo.Records) bool { return r.Told() })
		if got := deliveryOf(r, id); got.State != event.DeliveryIgnored || len(r.Runs) != 0 || !strings.Contains(got.Reason, `its author "ravi" (account 13) may not write`) {
			t.Errorf("the delivery is %s: %s", got.State, got.Reason)
		}
	})
}

// TestForgedRepository: what a host says of its merge request counts for the repository that the delivery is about, and
// for no other of that name.
func TestForgedRepository(t *testing.T) {
	forge := func(t *testing.T, d apptest.Service) {
		t.Helper()
		d.Standin.SetMergeRequest("gitea", demo.ForkRequest, standin.HostMergeRequest{Author: 11})
		body, err := d.World.Payload(event.Gitea, "merge-request", demo.Change{Branch: "main", SourceBranch: "patch-1", Number: demo.ForkRequest, Before: d.World.Clean, SHA: d.World.Fork})
		if err != nil {
			t.Fatal(err)
		}
		body = bytes.ReplaceAll(body, []byte("5101"), []byte("5199"))
		target, err := app.WebhookURL(d.Base(), "gitea")
		if err != nil {
			t.Fatal(err)
		}
		connection := webhook.Connection{Name: "gitea", Host: event.Gitea, Secrets: []string{d.Secrets["DEMO_GITEA_SECRET"]}}
		header := http.Header{"Content-Type": {"application/json"}, "X-Gitea-Event": {"pull_request"}, "X-Gitea-Event-Type": {"pull_request"}, "X-Gitea-Delivery": {"forged"}}
		if status, answer, err := app.Send(t.Context(), target, connection, header, body); err != nil || status != http.StatusAccepted {
			t.Fatalf("answered %d %s, error %v", status, answer, err)
		}
	}
	const reason = `its host says that acme/shop is repository 5101, and the delivery said "5199"`
	t.Run("decision", func(t *testing.T) {
		apptest.Each(t, demo.Options{Rules: forkRules("fork: trusted")}, func(t *testing.T, d apptest.Service) {
			forge(t, d)
			r := d.Until(t, "it waits", func(r demo.Records) bool { return len(r.Deliveries) == 1 && r.Decided() })
			if got := r.Deliveries[0]; got.State != event.DeliveryIgnored || !strings.Contains(got.Reason, reason) {
				t.Errorf("the delivery is %s: %s", got.State, got.Reason)
			}
		})
	})
	t.Run("release", func(t *testing.T) {
		apptest.Each(t, demo.Options{Rules: forkRules("branch: main")}, func(t *testing.T, d apptest.Service) {
			forge(t, d)
			r := d.Until(t, "nothing is released", func(r demo.Records) bool { return len(r.Releases) == 1 && r.Ended() })
			if rel := r.Releases[0]; rel.State != release.Refused || !strings.Contains(rel.Reason, reason) {
				t.Errorf("the release is %s: %s", rel.State, rel.Reason)
			}
		})
	})
}

// TestForksAreNotReleased: a release asks the host once more where a merge request comes from.
func TestForksAreNotReleased(t *testing.T) {
	apptest.Each(t, demo.Options{Rules: forkRules("branch: main")}, func(t *testing.T, d apptest.Service) {
		for _, host := range webhook.Hosts() {
			if host == event.Gitea {
				d.Standin.SetMergeRequest("gitea", demo.ForkRequest, standin.HostMergeRequest{Author: 13, WithoutBranch: true})
			}
			proposeFork(t, d, host, string(host), d.World.Fork, false, false)
		}
		r := d.Until(t, "nothing is released", func(r demo.Records) bool { return len(r.Releases) == 4 && r.Told() })
		for _, rel := range r.Releases {
			if rel.State != release.Refused || !strings.Contains(rel.Reason, "merge request 8 comes from a fork, and what comes from a fork is not released") || len(rel.Actions) != 0 {
				t.Errorf("the release is %s: %s", rel.State, rel.Reason)
			}
		}
	})
}

// TestWaitingStaysPending: what another branch says of the commit of a fork that waits does not make its
// status a success.
func TestWaitingStaysPending(t *testing.T) {
	rules := forkRules("fork: trusted") + "  - {name: copies, on: [push], match: {branch: copy}, ignore: true}\n"
	apptest.Each(t, demo.Options{Rules: rules}, func(t *testing.T, d apptest.Service) {
		proposeFork(t, d, event.GitHub, "1", d.World.Fork, true, false)
		d.Until(t, "it waits", func(r demo.Records) bool { return r.Decided() && r.Told() })
		d.Push(t, event.GitHub, "2", demo.Change{Branch: "copy", Before: d.World.Clean, SHA: d.World.Fork})
		d.Until(t, "the push is decided", func(r demo.Records) bool { return len(r.Deliveries) == 2 && r.Decided() })
		apptest.WaitFor(t, "both words are dealt with", func() (done bool) {
			err := d.Store().View(t.Context(), func(tx *store.Tx) error {
				reports, err := tx.Reports(t.Context())
				done = len(reports) == 1 && reports[0].Version >= 2 && reports[0].Done == reports[0].Version
				return err
			})
			return err == nil && done
		})
		if status, _ := told(d, event.GitHub, d.World.Fork, "gatewright/check"); status.State != "pending" || !strings.Contains(status.Description, "must vouch") {
			t.Errorf("GitHub shows %+v", status)
		}
	})
}
