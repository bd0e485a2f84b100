package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// leaks fails the test when it leaves a goroutine behind. Idle keep-alive
// connections of the default client are closed first.
func leaks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		goleak.VerifyNone(t, before)
	})
}

// TestDemo runs the demo as a program would read it.
func TestDemo(t *testing.T) {
	leaks(t)
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"demo", "--addr", "127.0.0.1:0", "--once", "--json"},
		environment{Stdout: &stdout, Stderr: &stderr, LookupEnv: func(string) (string, bool) { return "", false }})
	if code != exitOK {
		t.Fatalf("exit code %d\n%s\n%s", code, stderr.String(), stdout.String())
	}
	decoder := json.NewDecoder(&stdout)
	var report demoReport
	if err := decoder.Decode(&report); err != nil {
		t.Fatal(err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		t.Errorf("standard output holds more than one JSON object: %v", err)
	}
	if len(report.Deliveries) != 10 || len(report.Runs) != 6 || len(report.Releases) != 2 {
		t.Errorf("%d deliveries, %d runs, %d releases; want 10, 6, 2", len(report.Deliveries), len(report.Runs), len(report.Releases))
	}
	// What the stand-in counted agrees with what we say that we did: six runs,
	// one of them with a second ref; one start; one approval.
	for operation, want := range map[string]int64{"run_task": 7, "operate_pipeline/start": 1, "operate_pipeline/approval": 1} {
		if got := report.Calls[operation]; got != want {
			t.Errorf("the stand-in counted %d of %s, want %d", got, operation, want)
		}
	}
}

// TestJudgeSeesWhatIsMissing holds that the demo's own judgement can fail.
func TestJudgeSeesWhatIsMissing(t *testing.T) {
	if broken := judge(demoReport{}); len(broken) < 10 {
		t.Errorf("an empty report breaks only %q", broken)
	}
}

// demonstrate runs a test against everything that the demo runs, once on each
// database.
func demonstrate(t *testing.T, test func(t *testing.T, d *demonstration)) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) { test(t, startDemonstration(t, db)) })
}

func startDemonstration(t *testing.T, db storetest.Database) *demonstration {
	t.Helper()
	return startWithRules(t, db, "")
}

func startWithRules(t *testing.T, db storetest.Database, rules string) *demonstration {
	t.Helper()
	return startWithDelay(t, db, rules, 400*time.Millisecond)
}

// demonstrateSlowly is demonstrate with scans that take so long that a test can do
// something while one runs.
func demonstrateSlowly(t *testing.T, test func(t *testing.T, d *demonstration)) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) { test(t, startWithDelay(t, db, "", 3*time.Second)) })
}

func startWithDelay(t *testing.T, db storetest.Database, rules string, scanDelay time.Duration) *demonstration {
	t.Helper()
	d := &demonstration{folder: t.TempDir(), secrets: map[string]string{}, rules: rules, scanDelay: scanDelay}
	leaks(t)
	if db.Postgres != "" {
		d.store, d.secrets["DEMO_DSN"] = "{postgres: {dsn: {env: DEMO_DSN}}}", db.Postgres
	}
	if err := d.start(t.Context(), "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// until looks at the database until a condition holds.
func (d *demonstration) until(t *testing.T, what string, holds func(records) bool) records {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		r, err := d.records(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if holds(r) {
			return r
		}
		select {
		case <-ctx.Done():
			t.Fatalf("never: %s\n%+v", what, r)
		case <-ticker.C:
		}
	}
}

// restart stops the server cleanly and starts it again on the same database,
// against the same stand-in.
func (d *demonstration) restart(t *testing.T) {
	t.Helper()
	d.stopApp()
	if err := <-d.stopped; err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.base = "http://" + l.Addr().String()
	if err := d.startApp(t.Context(), l, d.cfg.HuaweiCloud.Endpoints.CodeCheck); err != nil {
		t.Fatal(err)
	}
}

func (d *demonstration) push(t *testing.T, host event.Host, id string, c change) sent {
	t.Helper()
	s, err := d.send(t.Context(), newNarrator(io.Discard, true), delivery{host: host, kind: "push", title: "push", id: id, change: c})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func allReleased(r records) bool {
	return len(r.releases) == 2 && r.releases[0].State.Ended() && r.releases[1].State.Ended()
}

// TestRestartInTheMiddle stops the server at each stage of the way of one push;
// the next start takes it up, and nothing happens twice.
func TestRestartInTheMiddle(t *testing.T) {
	for name, reached := range map[string]func(records) bool{
		"after the delivery": func(r records) bool { return len(r.deliveries) == 1 },
		"while the scan runs": func(r records) bool {
			return len(r.runs) == 1 && r.runs[0].State == codecheck.Running
		},
		"while the release runs": func(r records) bool {
			return len(r.releases) == 2 && slices.ContainsFunc(r.releases, func(r release.Release) bool { return r.ExecutionID != "" })
		},
	} {
		t.Run(name, func(t *testing.T) {
			demonstrate(t, func(t *testing.T, d *demonstration) {
				d.push(t, event.GitHub, "1", change{Branch: "main", Before: d.world.parent, SHA: d.world.clean})
				d.until(t, name, reached)
				d.restart(t)
				r := d.until(t, "released", allReleased)
				for _, rel := range r.releases {
					if rel.State != release.Succeeded {
						t.Errorf("%s ended %s: %s", rel.Plan.Action, rel.State, rel.Reason)
					}
				}
				counts := d.standin.Counts().Acted
				for _, operation := range []string{"run_task", "operate_pipeline/start", "operate_pipeline/approval"} {
					if counts[operation] != 1 {
						t.Errorf("%s was done %d times", operation, counts[operation])
					}
				}
			})
		})
	}
}

// TestNewerCommitSupersedes holds that a run ends when a newer commit comes, and
// that only the newer one is released.
func TestNewerCommitSupersedes(t *testing.T) { demonstrateSlowly(t, testNewerCommitSupersedes) }

func testNewerCommitSupersedes(t *testing.T, d *demonstration) {
	d.push(t, event.GitHub, "1", change{Branch: "main", SHA: d.world.parent})
	d.until(t, "the first run is running", func(r records) bool { return len(r.runs) == 1 && r.runs[0].State == codecheck.Running })
	d.push(t, event.GitHub, "2", change{Branch: "main", Before: d.world.parent, SHA: d.world.clean})
	r := d.until(t, "the second is released", allReleased)
	if r.runs[0].State != codecheck.Superseded || r.runs[1].State != codecheck.Passed {
		t.Errorf("runs ended %s and %s", r.runs[0].State, r.runs[1].State)
	}
	if stopped := d.standin.Counts().Acted["stop_task"]; stopped != 1 {
		t.Errorf("%d executions were stopped at CodeArts Check, want the older one", stopped)
	}
	for _, rel := range r.releases {
		if rel.Event.HeadSHA != d.world.clean {
			t.Errorf("commit %s was released", rel.Event.HeadSHA)
		}
	}
}

// TestNewerCommitWhileAReleaseWaits holds that a release of an older commit does not
// keep the pipeline from the newer one: its checkpoint is refused.
func TestNewerCommitWhileAReleaseWaits(t *testing.T) {
	demonstrate(t, testNewerCommitWhileAReleaseWaits)
}

func testNewerCommitWhileAReleaseWaits(t *testing.T, d *demonstration) {
	d.push(t, event.GitHub, "1", change{Branch: "main", SHA: d.world.parent})
	d.until(t, "the first is being released", func(r records) bool {
		return len(r.releases) == 2 && slices.ContainsFunc(r.releases, func(rel release.Release) bool { return rel.ExecutionID != "" })
	})
	d.push(t, event.GitHub, "2", change{Branch: "main", Before: d.world.parent, SHA: d.world.clean})
	r := d.until(t, "both have ended", func(r records) bool { return len(r.releases) == 4 && allEnded(r) })
	for i, want := range []release.State{release.Refused, release.Refused, release.Succeeded, release.Succeeded} {
		// The first release itself ends by the refusal of its checkpoint.
		if got := r.releases[i].State; got != want && (want != release.Refused || got != release.Failed) {
			t.Errorf("%s of %s ended %s: %s", r.releases[i].Plan.Action, shortSHA(r.releases[i].Event.HeadSHA), got, r.releases[i].Reason)
		}
	}
}

// TestBurst holds that of many pushes in a row only the newest is checked to the end
// and released, in whatever order they are decided.
func TestBurst(t *testing.T) { demonstrate(t, testBurst) }

func testBurst(t *testing.T, d *demonstration) {
	before := d.world.parent
	for i := range 8 {
		sha := fmt.Sprintf("%040x", i+1)
		if i == 7 {
			sha = d.world.clean
		}
		d.push(t, event.GitHub, fmt.Sprint(i), change{Branch: "main", Before: before, SHA: sha})
		before = sha
	}
	r := d.until(t, "the newest is released", func(r records) bool { return len(r.deliveries) == 8 && len(r.releases) >= 2 && allEnded(r) })
	for _, rel := range r.releases {
		if rel.Event.HeadSHA != d.world.clean || rel.State != release.Succeeded {
			t.Errorf("%s of %s ended %s: %s", rel.Plan.Action, shortSHA(rel.Event.HeadSHA), rel.State, rel.Reason)
		}
	}
	for _, run := range r.runs {
		if want := run.Event.HeadSHA == d.world.clean; (run.State == codecheck.Passed) != want {
			t.Errorf("run of %s ended %s: %s", shortSHA(run.Event.HeadSHA), run.State, run.Reason)
		}
	}
}

// TestDeletedBranchIsNotReleased holds that what a rule does not ask about ends a run
// all the same.
func TestDeletedBranchIsNotReleased(t *testing.T) {
	demonstrateSlowly(t, testDeletedBranchIsNotReleased)
}

func testDeletedBranchIsNotReleased(t *testing.T, d *demonstration) {
	d.push(t, event.GitLab, "1", change{Branch: "main", Before: d.world.parent, SHA: d.world.clean})
	d.until(t, "the run is running", func(r records) bool { return len(r.runs) == 1 && r.runs[0].State == codecheck.Running })
	d.push(t, event.GitLab, "2", change{Branch: "main", Before: d.world.clean, Deleted: true})
	r := d.until(t, "the run has ended", func(r records) bool { return len(r.deliveries) == 2 && allEnded(r) })
	if r.runs[0].State != codecheck.Superseded || !strings.Contains(r.runs[0].Reason, "deleted") {
		t.Errorf("the run ended %s: %s", r.runs[0].State, r.runs[0].Reason)
	}
}

// TestAgain holds that a change that was taken back and made again is acted upon
// again.
func TestAgain(t *testing.T) { demonstrate(t, testAgain) }

func testAgain(t *testing.T, d *demonstration) {
	forth := change{Branch: "scratch", Before: d.world.parent, SHA: d.world.clean}
	back := change{Branch: "scratch", Before: d.world.clean, SHA: d.world.parent}
	for i, c := range []change{forth, back, forth} {
		d.push(t, event.GitHub, fmt.Sprint(i), c)
		d.until(t, "it is decided", func(r records) bool { return len(r.deliveries) == i+1 && allEnded(r) })
	}
	r, err := d.records(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, delivery := range r.deliveries {
		if delivery.State != event.DeliveryDecided {
			t.Errorf("delivery %d ended %s: %s", i, delivery.State, delivery.Reason)
		}
	}
}

const rulesHead = `
version: 1
defaults:
  check:
    project: {id: ${PROJECT}, name: demo}
    create: {auth_id: 6f1d0c52-8a0e-4a57-9a4d-2f7d3c9be001}
rules:
`

// TestRefuse holds that a failed verdict refuses the checkpoint that waits in an
// execution which somebody else started.
func TestRefuse(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		d := startWithRules(t, db, rulesHead+`
  - name: refuse
    on: [merge_request]
    check: {}
    release: [{pipeline: "${PIPELINE}", action: refuse, task: "${CHECKPOINT}"}, {pipeline: "${PIPELINE}", action: start}]
`)
		d.startPipelineByHand(t)
		_, err := d.send(t.Context(), newNarrator(io.Discard, true), delivery{host: event.Gitee, kind: "merge-request", title: "merge request",
			change: change{Branch: "main", SourceBranch: "feature/discount", Before: d.world.clean, SHA: d.world.bad, Number: mergeRequest}})
		if err != nil {
			t.Fatal(err)
		}
		r := d.until(t, "the release has ended", func(r records) bool { return len(r.releases) > 0 && allEnded(r) })
		if len(r.releases) != 1 || r.releases[0].State != release.Succeeded || r.releases[0].Plan.Action != rules.ReleaseRefuse {
			t.Errorf("releases %+v", r.releases)
		}
		calls := d.standin.Calls()
		last := slices.IndexFunc(calls, func(c standin.Call) bool { return c.ApprovalType == "refuse" && c.Acted })
		if last < 0 || calls[last].TaskName != d.world.checkpoint {
			t.Error("the stand-in saw no refusal of the checkpoint")
		}
	})
}

// startPipelineByHand starts the pipeline as a person would, past our own tables.
func (d *demonstration) startPipelineByHand(t *testing.T) {
	t.Helper()
	signer, err := huaweicloud.NewSigner(huaweicloud.SignerOptions{AccessKey: d.secrets["DEMO_ACCESS_KEY"], SecretKey: d.secrets["DEMO_SECRET_KEY"]})
	if err != nil {
		t.Fatal(err)
	}
	client, err := huaweicloud.New(huaweicloud.Options{Service: "servicestage", Endpoint: d.cfg.HuaweiCloud.Endpoints.ServiceStage, Auth: signer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	err = client.Do(t.Context(), huaweicloud.Call{
		Operation: "start pipeline", Method: http.MethodPost, Body: struct{}{}, Query: url.Values{"action_id": {"start"}},
		Path: huaweicloud.Path("/v3/%s/pipeline/pipelines/%s/action", d.world.options.RegionProject.ID, d.world.pipeline),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// TestTwoRulesOneScan holds that one commit is scanned once when two rules ask for
// it, and that each rule's own gate judges it.
func TestTwoRulesOneScan(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		d := startWithRules(t, db, rulesHead+`
  - name: strict
    on: [merge_request]
    continue: true
    check: {gate: {critical: 0}}
  - name: lax
    on: [merge_request]
    check: {gate: {critical: 9}}
`)
		_, err := d.send(t.Context(), newNarrator(io.Discard, true), delivery{host: event.Gitee, kind: "merge-request", title: "merge request",
			change: change{Branch: "main", SourceBranch: "feature/discount", Before: d.world.clean, SHA: d.world.bad, Number: mergeRequest}})
		if err != nil {
			t.Fatal(err)
		}
		r := d.until(t, "both runs have ended", func(r records) bool { return len(r.runs) == 2 && allEnded(r) })
		for _, run := range r.runs {
			want := codecheck.Passed
			if run.Rule == "strict" {
				want = codecheck.Failed
			}
			if run.State != want || run.Counts.Critical != 1 {
				t.Errorf("rule %s ended %s with %+v: %s", run.Rule, run.State, run.Counts, run.Reason)
			}
		}
		if scans := d.standin.Counts().Acted["run_task"]; scans != 1 {
			t.Errorf("the commit was scanned %d times", scans)
		}
	})
}

// TestMovedBranchIsNotReleased holds that a verdict releases nothing once the
// branch has moved on.
func TestMovedBranchIsNotReleased(t *testing.T) { demonstrateSlowly(t, testMovedBranchIsNotReleased) }

func testMovedBranchIsNotReleased(t *testing.T, d *demonstration) {
	d.push(t, event.GitHub, "1", change{Branch: "main", Before: d.world.parent, SHA: d.world.clean})
	d.until(t, "the run is running", func(r records) bool { return len(r.runs) == 1 && r.runs[0].State == codecheck.Running })
	// A rule that does not supersede leaves the run; here the head alone moves.
	err := d.app.store.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.MoveHead(t.Context(), event.Event{
			Connection: "github", Kind: event.Push, Branch: "main", HeadSHA: d.world.bad, Before: d.world.clean,
			Repository: event.Repository{ID: "1001"},
		}, "zzz") // later than any delivery
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r := d.until(t, "the releases are there", allReleased)
	for _, rel := range r.releases {
		if rel.State != release.Refused || !strings.Contains(rel.Reason, "moved on") {
			t.Errorf("%s ended %s: %s", rel.Plan.Action, rel.State, rel.Reason)
		}
	}
	if started := d.standin.Counts().Calls["operate_pipeline/start"]; started != 0 {
		t.Errorf("the pipeline was started %d times", started)
	}
}

// TestSameChangeTwice holds that one change announced under two ids is acted upon
// once, and the same delivery sent at once many times is stored once.
func TestSameChangeTwice(t *testing.T) { demonstrate(t, testSameChangeTwice) }

func testSameChangeTwice(t *testing.T, d *demonstration) {
	c := change{Branch: "main", Before: d.world.parent, SHA: d.world.clean, Time: "2026-03-01T12:00:00Z"}
	d.push(t, event.GitLab, "1", c)
	d.push(t, event.GitLab, "2", c)
	if again := d.push(t, event.GitLab, "1", c); again.status != http.StatusOK {
		t.Errorf("a known delivery was answered %d", again.status)
	}
	r := d.until(t, "both are decided", func(r records) bool {
		return len(r.deliveries) == 2 && !slices.ContainsFunc(r.deliveries, func(d store.Delivery) bool { return d.State == event.DeliveryReceived })
	})
	states := []event.DeliveryState{r.deliveries[0].State, r.deliveries[1].State}
	slices.Sort(states)
	if !slices.Equal(states, []event.DeliveryState{event.DeliveryDecided, event.DeliveryDuplicate}) || len(r.runs) != 1 {
		t.Errorf("states %v with %d runs", states, len(r.runs))
	}
}

// TestFaultsOfTheServices holds that what the services do wrong ends nowhere but
// in an end state, with nothing done twice.
func TestFaultsOfTheServices(t *testing.T) {
	second := 1
	for name, fault := range map[string]standin.Fault{
		"throttled":                     {Kind: standin.FaultThrottle, Next: 5, RetryAfter: &second},
		"server errors":                 {Kind: standin.FaultStatus, Status: 502, Next: 5},
		"network busy":                  {Kind: standin.FaultBusy, Next: 5},
		"the task is busy":              {Kind: standin.FaultRunning, Operations: []string{"run_task"}, Next: 2},
		"the run's answer is lost":      {Kind: standin.FaultLost, Operations: []string{"run_task"}, Next: 1},
		"the start's answer is lost":    {Kind: standin.FaultLost, Operations: []string{"operate_pipeline"}, Next: 1},
		"the approval's answer is lost": {Kind: standin.FaultLost, Operations: []string{"operate_pipeline"}, Skip: 1, Next: 1},
	} {
		t.Run(name, func(t *testing.T) {
			demonstrate(t, func(t *testing.T, d *demonstration) {
				if err := d.standin.SetFaults(standin.Faults{Faults: []standin.Fault{fault}}); err != nil {
					t.Fatal(err)
				}
				d.push(t, event.GitHub, "1", change{Branch: "main", Before: d.world.parent, SHA: d.world.clean})
				r := d.until(t, "released", allReleased)
				for _, rel := range r.releases {
					if rel.State != release.Succeeded {
						t.Errorf("%s ended %s: %s", rel.Plan.Action, rel.State, rel.Reason)
					}
				}
				acted := d.standin.Counts().Acted
				for _, operation := range []string{"operate_pipeline/start", "operate_pipeline/approval"} {
					if acted[operation] != 1 {
						t.Errorf("%s was done %d times", operation, acted[operation])
					}
				}
			})
		})
	}
}

// TestHTTPSurface asks what strangers and probes ask.
func TestHTTPSurface(t *testing.T) { demonstrate(t, testHTTPSurface) }

func testHTTPSurface(t *testing.T, d *demonstration) {
	ask := func(method, path, body string, header ...string) (int, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, d.base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			request.Header.Set(header[i], header[i+1])
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		answer, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(answer)
	}
	token := d.secrets["DEMO_GITLAB_TOKEN"]
	for _, test := range []struct {
		name, method, path, body string
		header                   []string
		want                     int
		wantText                 string
	}{
		{"alive", "GET", "/healthz", "", nil, 200, "ok"},
		{"ready", "GET", "/readyz", "", nil, 200, "ready"},
		{"metrics", "GET", "/metrics", "", nil, 200, "gatewright_rules_info{hash="},
		{"metrics of the database", "GET", "/metrics", "", nil, 200, `gatewright_runs{state="passed"} 0`},
		{"nothing there", "GET", "/secrets", "", nil, 404, "not_found"},
		{"wrong method", "GET", "/webhooks/github", "", nil, 405, "method_not_allowed"},
		{"unknown connection", "POST", "/webhooks/nobody", "{}", nil, 404, "connection"},
		{"no signature", "POST", "/webhooks/github", "{}", []string{"X-GitHub-Event", "push"}, 401, "error"},
		{"wrong token", "POST", "/webhooks/gitlab", "{}", []string{"X-Gitlab-Event", "Push Hook", "X-Gitlab-Token", "wrong"}, 401, "error"},
		{"not JSON", "POST", "/webhooks/gitlab", "{", []string{"X-Gitlab-Event", "Push Hook", "X-Gitlab-Token", token}, 400, "JSON"},
		{"unwanted", "POST", "/webhooks/gitlab", `{"object_kind":"issue"}`, []string{"X-Gitlab-Event", "Issue Hook", "X-Gitlab-Token", token}, 202, "accepted"},
		{"not what it claims", "POST", "/webhooks/gitlab", `{"object_kind":"push","ref":7}`, []string{"X-Gitlab-Event", "Push Hook", "X-Gitlab-Token", token}, 202, "accepted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, answer := ask(test.method, test.path, test.body, test.header...)
			if status != test.want || !strings.Contains(answer, test.wantText) {
				t.Errorf("got %d %s, want %d with %q", status, answer, test.want, test.wantText)
			}
			if strings.Contains(answer, token) {
				t.Error("the answer holds a secret")
			}
		})
	}
	r := d.until(t, "both authentic ones have ended", func(r records) bool {
		return len(r.deliveries) == 2 && !slices.ContainsFunc(r.deliveries, func(d store.Delivery) bool { return d.State == event.DeliveryReceived })
	})
	for i, want := range []event.DeliveryState{event.DeliveryIgnored, event.DeliveryFailed} {
		if r.deliveries[i].State != want || r.deliveries[i].Reason == "" {
			t.Errorf("delivery %d ended %s for %q, want %s", i, r.deliveries[i].State, r.deliveries[i].Reason, want)
		}
	}
	// The failed one is taken again when the host sends it again.
	status, _ := ask("POST", "/webhooks/gitlab", `{"object_kind":"push","ref":7}`, "X-Gitlab-Event", "Push Hook", "X-Gitlab-Token", token)
	if status != http.StatusAccepted {
		t.Errorf("a failed delivery that came again was answered %d", status)
	}
	// What the queue has begun it must be able to end, or it would go on trying.
	waitFor(t, "no job is left", func() bool {
		left := 0
		err := d.app.store.View(t.Context(), func(tx *store.Tx) error {
			jobs, err := tx.CountJobs(t.Context())
			for _, number := range jobs {
				left += number
			}
			return err
		})
		return err == nil && left == 0
	})
	if err := d.app.store.Close(); err != nil {
		t.Fatal(err)
	}
	for path, header := range map[string][]string{
		"/webhooks/gitlab": {"X-Gitlab-Event", "Push Hook", "X-Gitlab-Token", token},
	} {
		if status, answer := ask("POST", path, `{"object_kind":"other"}`, header...); status != http.StatusServiceUnavailable {
			t.Errorf("with the database gone: %d %s", status, answer)
		}
	}
	if status, _ := ask("GET", "/readyz", ""); status != http.StatusServiceUnavailable {
		t.Errorf("ready with the database gone: %d", status)
	}
	if status, _ := ask("GET", "/healthz", ""); status != http.StatusOK {
		t.Errorf("not alive with the database gone: %d", status)
	}
}
