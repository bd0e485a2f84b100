package app_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
	"github.com/gatewright/gatewright/internal/view"
	"github.com/gatewright/gatewright/test/harness"
)

// recovering looks every second for what no webhook told.
func recovering(more string) demo.Options {
	return demo.Options{ScanDelay: apptest.ShortScan, Recovery: "{interval: 1s, grace: 100ms, share: 80" + more + "}"}
}

// rounds waits until the hosts were asked for their branches so many times more.
func rounds(t *testing.T, s apptest.Service, host event.Host, more int64) {
	t.Helper()
	operation := string(host) + "_branches"
	before := s.Standin.Counts().Calls[operation]
	apptest.WaitFor(t, "the hosts are asked", func() bool { return s.Standin.Counts().Calls[operation] >= before+more })
}

// recovered are the deliveries that were recovered.
func recovered(r demo.Records) (found []view.DeliveryDetail) {
	for _, d := range r.Deliveries {
		if d.Recovered != event.NotRecovered {
			found = append(found, d)
		}
	}
	return found
}

// TestRecovery: on all four hosts, a new database starts nothing; a push that no webhook told is recovered,
// checked and not released; its webhook is a duplicate when it comes after all; and so is the same for a merge request.
func TestRecovery(t *testing.T) { apptest.Each(t, recovering(""), testRecovery) }

func testRecovery(t *testing.T, s apptest.Service) {
	hosts := []event.Host{event.GitHub, event.GitLab, event.Gitee, event.Gitea}
	for _, host := range hosts {
		rounds(t, s, host, 2)
	}
	if r := s.Until(t, "records", func(demo.Records) bool { return true }); len(r.Deliveries) != 0 {
		t.Fatalf("what was there before is recovered: %+v", r.Deliveries)
	}
	for _, host := range hosts {
		if err := s.World.Repository(host).Move("main", s.World.Bad); err != nil {
			t.Fatal(err)
		}
		if err := s.World.Repository(host).Mend(); err != nil {
			t.Fatal(err)
		}
	}
	r := s.Until(t, "all pushes and merge requests are recovered and checked", func(r demo.Records) bool {
		return len(recovered(r)) == 2*len(hosts) && len(r.Runs) == 2*len(hosts) && r.Checked()
	})
	for _, d := range recovered(r) {
		if d.State != event.DeliveryDecided || !strings.Contains(d.Reason, "recovered: no webhook came") || d.HostEvent != "recovered" {
			t.Errorf("delivery %+v", d.Delivery)
		}
	}
	if len(r.Releases) != 0 {
		t.Errorf("releases of what was recovered: %+v", r.Releases)
	}
	for _, host := range hosts {
		push := demo.Delivery{Host: host, Kind: "push", ID: "late-" + string(host), Change: demo.Change{Branch: "main", Before: s.World.Clean, SHA: s.World.Bad}}
		request := demo.Delivery{Host: host, Kind: "merge-request", ID: "late-request-" + string(host), Change: demo.Change{
			Branch: "main", SourceBranch: "feature/discount", Before: s.World.Bad, SHA: s.World.Mended, Number: demo.MergeRequest,
		}}
		for _, delivery := range []demo.Delivery{push, request} {
			if _, err := s.Send(t.Context(), delivery); err != nil {
				t.Fatal(err)
			}
		}
	}
	r = s.Until(t, "the late webhooks are decided", func(r demo.Records) bool { return len(r.Deliveries) == 4*len(hosts) && r.Ended() })
	for _, d := range r.Deliveries {
		if d.Recovered == event.NotRecovered && (d.State != event.DeliveryDuplicate || !strings.Contains(d.Reason, "by delivery") && !strings.Contains(d.Reason, "before the webhook came")) {
			t.Errorf("%s %s: %s, %s", d.Connection, d.Event, d.State, d.Reason)
		}
	}
	if len(r.Runs) != 2*len(hosts) {
		t.Errorf("%d runs", len(r.Runs))
	}
	for _, host := range hosts {
		rounds(t, s, host, 2)
	}
	if again := s.Until(t, "records", func(demo.Records) bool { return true }); len(again.Deliveries) != len(r.Deliveries) {
		t.Errorf("it is recovered again: %+v", recovered(again))
	}
}

// TestRecoveryReleases: what was recovered is released where the server file says so.
func TestRecoveryReleases(t *testing.T) {
	s := apptest.OnSQLiteWith(t, recovering(", release: true"))
	if err := s.World.Repository(event.GitHub).Move("main", s.World.Parent); err != nil {
		t.Fatal(err)
	}
	rounds(t, s, event.GitHub, 2)
	if err := s.World.Repository(event.GitHub).Move("main", s.World.Clean); err != nil {
		t.Fatal(err)
	}
	s.Until(t, "it is released", func(r demo.Records) bool { return apptest.Released(r) && len(recovered(r)) > 0 })
}

// TestRecoveryAfterDowntime: what happened while the service did not run is found at its start, long before an
// interval is over; a branch that was deleted and a merge request that was closed end what is left of them.
func TestRecoveryAfterDowntime(t *testing.T) { storetest.Each(t, testRecoveryAfterDowntime) }

func testRecoveryAfterDowntime(t *testing.T, db storetest.Database) {
	opts := recovering("")
	opts.Recovery = strings.Replace(opts.Recovery, "interval: 1s", "interval: 24h", 1)
	s := apptest.Start(t, db, opts)
	apptest.WaitFor(t, "the host is asked", func() bool { return s.Standin.Counts().Calls["gitee_pulls"] > 0 })
	s.Push(t, event.Gitee, "", demo.Change{Branch: "main", Before: s.World.Parent, SHA: s.World.Clean})
	s.Until(t, "the push is checked", func(r demo.Records) bool { return len(r.Runs) == 1 && r.Checked() })
	s.Request(t)
	s.Until(t, "the merge request is checked", func(r demo.Records) bool { return len(r.Runs) == 2 && r.Checked() })
	s.Halt(t)
	repository := s.World.Repository(event.Gitee)
	if err := repository.Move("main", s.World.Mended); err != nil {
		t.Fatal(err)
	}
	if err := repository.Close(); err != nil {
		t.Fatal(err)
	}
	s.Resume(t, "")
	r := s.Until(t, "the push is recovered, and the end of the merge request", func(r demo.Records) bool { return len(recovered(r)) == 2 && r.Checked() })
	for _, d := range recovered(r) {
		wanted := event.DeliveryDecided
		if d.Number > 0 {
			wanted = event.DeliveryIgnored
		}
		if d.State != wanted {
			t.Errorf("%s %d is %s: %s", d.Event, d.Number, d.State, d.Reason)
		}
	}
	last := r.Runs[len(r.Runs)-1]
	if len(r.Runs) != 3 || last.Commit != s.World.Mended || last.State != codecheck.Passed {
		t.Errorf("%d runs, the last %+v", len(r.Runs), last.Run)
	}
	if calls := s.Standin.Counts().Calls["gitee_branches"]; calls > 10 {
		t.Errorf("the host was asked %d times within an interval", calls)
	}
}

// TestRedelivery: what GitHub and GitLab could not deliver while the service did not run, they are asked to send again; it
// is marked and not released. A webhook that GitLab switched off meanwhile is switched on by a test delivery, which
// starts nothing.
func TestRedelivery(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		testRedelivery(t, db, forge.HookOwner{Repository: "acme/shop"}, map[event.Host]int{event.GitHub: 1, event.GitLab: 4})
	})
}

// TestRedeliveryOfAnOrganization: the same where the organisation has the webhook.
func TestRedeliveryOfAnOrganization(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		testRedelivery(t, db, forge.HookOwner{Organization: "acme"}, map[event.Host]int{event.GitHub: 1, event.GitLab: 3})
	})
}

// testRedelivery lets so many deliveries of each host fail; GitLab switches a webhook off after four.
func testRedelivery(t *testing.T, db storetest.Database, owner forge.HookOwner, lost map[event.Host]int) {
	opts := recovering("")
	opts.Recovery = strings.NewReplacer("interval: 1s", "interval: 24h", "grace: 100ms", "grace: 1h").Replace(opts.Recovery)
	opts.Server = func(text string) string {
		return strings.Replace(text, `private_addr:`, `public_url: "http://${ADDR}", private_addr:`, 1)
	}
	addrs, err := harness.FreeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	opts.Addr = addrs[0]
	s := apptest.Start(t, db, opts)
	hosts := []event.Host{event.GitHub, event.GitLab}
	f := forgeOf(t, s)
	for _, host := range hosts {
		apptest.WaitFor(t, "the host is asked", func() bool { return s.Standin.Counts().Calls[string(host)+"_branches"] > 0 })
		secret := map[event.Host]string{event.GitHub: "DEMO_GITHUB_SECRET", event.GitLab: "DEMO_GITLAB_TOKEN"}[host]
		settings := forge.HookSettings{URL: s.Base() + "/webhooks/" + string(host), Secret: s.Secrets[secret]}
		if _, err := f.SaveHook(t.Context(), forge.HookOwner{Connection: string(host), Repository: owner.Repository, Organization: owner.Organization}, "", settings); err != nil {
			t.Fatal(err)
		}
	}
	s.Halt(t)
	for _, host := range hosts {
		for range lost[host] {
			if _, err := s.Standin.Deliver(t.Context(), standin.HostEvent{Host: string(host), Repository: "acme/shop", Event: "push"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.StartService(t.Context(), addrs[0], ""); err != nil {
		t.Fatal(err)
	}
	sent := lost[event.GitHub] + lost[event.GitLab]
	tests := 0
	if lost[event.GitLab] == 4 {
		tests = 1
	}
	r := s.Until(t, "all is delivered again and checked", func(r demo.Records) bool {
		return len(recovered(r)) == sent && len(r.Deliveries) == sent+tests && len(r.Runs) == 2 && r.Ended()
	})
	for _, d := range r.Deliveries {
		switch {
		case d.Recovered == event.Redelivered && (d.State == event.DeliveryDuplicate || d.State == event.DeliveryDecided && strings.Contains(d.Reason, "the host sent its webhook again")):
		case d.Recovered == event.NotRecovered && d.Connection == "gitlab" && d.State == event.DeliveryIgnored && strings.Contains(d.Reason, "test delivery"):
		default:
			t.Errorf("delivery of %s, recovered %q: %s, %s", d.Connection, d.Recovered, d.State, d.Reason)
		}
	}
	if len(r.Releases) != 0 {
		t.Errorf("releases of what was recovered: %+v", r.Releases)
	}
	for _, hook := range s.Standin.Hooks() {
		if hook.Disabled != "" {
			t.Errorf("the webhook of %s is switched off: %s", hook.Host, hook.Disabled)
		}
	}
}

// forgeOf calls the stand-in's git hosts.
func forgeOf(t *testing.T, s apptest.Service) *forge.Forge {
	t.Helper()
	f, err := forge.New(forge.Options{Connections: []forge.Connection{
		{Name: "github", Host: event.GitHub, APIURL: s.Endpoint() + "/api/v3", Token: s.Secrets["DEMO_GITHUB_API"]},
		{Name: "gitlab", Host: event.GitLab, APIURL: s.Endpoint() + "/api/v4", Token: s.Secrets["DEMO_GITLAB_API"]},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.CloseIdle)
	return f
}

// TestMissingVerdicts: open merge requests that nothing told of are counted, each until it has a verdict. A branch
// that was there from the beginning is not.
func TestMissingVerdicts(t *testing.T) {
	apptest.Each(t, recovering(", missing_after: 100ms"), testMissingVerdicts)
}

func testMissingVerdicts(t *testing.T, s apptest.Service) {
	metrics := func(value string) bool {
		response, err := http.Get(s.Private() + "/metrics")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		return err == nil && strings.Contains(string(text), `gatewright_missing_verdicts{connection="gitee"} `+value+"\n")
	}
	missing := func() (list []view.Missing) {
		err := s.Store().View(t.Context(), func(tx *store.Tx) (err error) {
			page, err := view.MissingVerdicts(t.Context(), tx, time.Now(), store.Filter{Connection: "gitee", Limit: 10})
			list = page.Items
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	apptest.WaitFor(t, "the merge requests are counted", func() bool { return metrics("2") })
	list := missing()
	i := slices.IndexFunc(list, func(m view.Missing) bool { return m.Number == demo.MergeRequest })
	if len(list) != 2 || i < 0 || list[i].Commit != s.World.Bad || !strings.Contains(list[i].Reason, "nothing was checked") {
		t.Errorf("missing are %+v", list)
	}
	s.Request(t)
	s.Until(t, "it is checked", func(r demo.Records) bool { return len(r.Runs) == 1 && r.Checked() })
	apptest.WaitFor(t, "it is not counted any more", func() bool { return metrics("1") })
	if list := missing(); len(list) != 1 || list[0].Number != demo.ForkRequest {
		t.Errorf("missing are %+v", list)
	}
}

// TestRecoveryProblems: a repository that cannot be read is told once, counted, and does not stop the others.
func TestRecoveryProblems(t *testing.T) {
	s := apptest.OnSQLiteWith(t, recovering(""))
	rounds(t, s, event.GitHub, 1)
	setFaults(t, s, standin.Fault{Kind: standin.FaultNotFound, Operations: []string{"github_repository"}})
	rounds(t, s, event.GitLab, 3)
	response, err := http.Get(s.Private() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if want := `gatewright_recovery_problems{connection="github"} 1`; err != nil || !strings.Contains(string(text), want) {
		t.Errorf("the metrics have no %s, error %v", want, err)
	}
	log, err := os.ReadFile(filepath.Join(filepath.Dir(s.ServerFile()), "gatewright.log"))
	if err != nil {
		t.Fatal(err)
	}
	if told := strings.Count(string(log), "repository not read, so that lost webhooks are not recovered"); told != 1 {
		t.Errorf("told %d times", told)
	}
}
