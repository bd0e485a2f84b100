package jobs_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/storetest"
)

const (
	announced = "1f2e3d4c5b6a79881726354453627180a1b2c3d4"
	another   = "aaaabbbbccccddddeeeeffff0000111122223333"
)

// gitHost is a small Gitee. Each repository has one branch, main.
type gitHost struct {
	mu sync.Mutex
	// tips are the commits by repository; one that is not there is answered 404. down says
	// how many requests are answered 503 first.
	tips map[string]string
	down map[string]int
	// late are the commits of which a repository knows nothing in the first request.
	late map[string]string
	// asked counts the requests by repository.
	asked map[string]int
}

func newGitHost(t *testing.T) (*gitHost, string) {
	h := &gitHost{tips: map[string]string{}, down: map[string]int{}, late: map[string]string{}, asked: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /repos/acme/{repository}/branches/main", func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		repository := r.PathValue("repository")
		h.asked[repository]++
		if h.down[repository] > 0 {
			h.down[repository]--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		tip := h.tips[repository]
		if before, late := h.late[repository]; late && h.asked[repository] == 1 {
			tip = before
		}
		if tip == "" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprintf(w, `{"name": "main", "commit": {"sha": %q}}`, tip)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return h, server.URL
}

func (h *gitHost) askedFor(repository string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked[repository]
}

// confirmed are the options of a queue that confirms every commit by the host at url.
func confirmed(t *testing.T, url string, connections []string) jobs.Options {
	t.Helper()
	var opts forge.Options
	for _, name := range connections {
		opts.Connections = append(opts.Connections, forge.Connection{Name: name, Host: event.Gitee, APIURL: url, Token: "token"})
	}
	f, err := forge.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.CloseIdle)
	return jobs.Options{Forge: f, Confirm: func(string) jobs.Confirm { return jobs.Confirm{Runs: true, Releases: true} }}
}

// forGood is more requests than a test sends.
const forGood = 1 << 30

// confirmCase is a record that asks its host for its commit.
type confirmCase struct {
	name string
	// tip is the commit that the host has; down how many requests it cannot answer first.
	tip  string
	down int
	// state is how the record ends and reason a part of the reason. Where the host is down for
	// good, the deadline passes after the record has said so.
	state, reason string
	asked         bool
}

// confirmAll checks each case once its record has ended, at last those whose hosts are down
// for good.
func confirmAll(t *testing.T, w *world, cases []confirmCase, check func(t *testing.T, i int)) {
	for i, c := range cases {
		if c.down != forGood {
			t.Run(c.name, func(t *testing.T) { check(t, i) })
		}
	}
	for _, c := range cases {
		if c.down == forGood {
			w.until(t, c.name, func(now record) bool { return strings.Contains(now.reason, "waits to try again: confirm commit") })
		}
	}
	w.clock.jump(2 * time.Hour)
	for i, c := range cases {
		if c.down == forGood {
			t.Run(c.name, func(t *testing.T) { check(t, i) })
		}
	}
}

// check waits until the record has ended as it should.
func (c confirmCase) check(t *testing.T, w *world, host *gitHost, repository string) {
	t.Helper()
	now := w.until(t, c.name, func(now record) bool { return now.ended })
	if now.state != c.state || !strings.Contains(now.reason, c.reason) {
		t.Errorf("ended %s: %s; want %s: %s", now.state, now.reason, c.state, c.reason)
	}
	if asked := host.askedFor(repository) > 0; asked != c.asked {
		t.Errorf("the host was asked %d times", host.askedFor(repository))
	}
}

// TestConfirmRun: a run begins only for the commit that its host has, and no host that is
// down, or has another commit, has it do anything at CodeArts Check.
func TestConfirmRun(t *testing.T) { storetest.Each(t, testConfirmRun) }

func testConfirmRun(t *testing.T, db storetest.Database) {
	w := newWorld(t, db)
	host, url := newGitHost(t)
	cases := []struct {
		confirmCase
		before codecheck.State
		scans  int
	}{
		{confirmCase{"the commit at hand", announced, 0, "passed", "", true}, codecheck.Queued, 1},
		{confirmCase{"down for a while", announced, 1, "passed", "", true}, codecheck.Queued, 1},
		{confirmCase{"another commit", another, 0, "superseded", `branch "main" has commit aaaabbbb on its host, and not 1f2e3d4c`, true}, codecheck.Queued, 0},
		{confirmCase{"not found", "", 0, "errored", `confirm commit 1f2e3d4c of branch "main": read branch: the host does not have it`, true}, codecheck.Queued, 0},
		{confirmCase{"confirmed before", another, 0, "passed", "", false}, codecheck.Starting, 1},
		{confirmCase{"down for good", announced, forGood, "errored", "its deadline passed before it could start; last: waits to try again: confirm commit", true}, codecheck.Queued, 0},
	}
	var all []confirmCase
	var connections, repositories []string
	w.leave(t, func(l *lost) {
		for _, c := range cases {
			ev := l.push(c.name)
			ev.HeadSHA = announced
			run := l.newRun(c.name, ev)
			l.add(&run, c.before)
			all = append(all, c.confirmCase)
			connections, repositories = append(connections, c.name), append(repositories, ev.Repository.ID)
			host.tips[ev.Repository.ID], host.down[ev.Repository.ID] = c.tip, c.down
		}
	})
	w.start(t, confirmed(t, url, connections))
	confirmAll(t, w, all, func(t *testing.T, i int) {
		c := cases[i]
		c.check(t, w, host, repositories[i])
		scans := 0
		for _, call := range w.services.done("run_task") {
			if call.Task == taskID(number(event.Event{Repository: event.Repository{ID: repositories[i]}})) {
				scans++
			}
		}
		if scans != c.scans {
			t.Errorf("scanned %d times, want %d", scans, c.scans)
		}
	})
}

// TestConfirmAtAHostThatLags: the host that announces a commit may not have it everywhere yet.
// A new run asks again.
func TestConfirmAtAHostThatLags(t *testing.T) { storetest.Each(t, testConfirmAtAHostThatLags) }

func testConfirmAtAHostThatLags(t *testing.T, db storetest.Database) {
	w := newWorld(t, db)
	host, url := newGitHost(t)
	cases := map[string]string{"it has the commit before": another, "it has no such branch": ""}
	var connections []string
	w.leave(t, func(l *lost) {
		for name, late := range cases {
			ev := l.push(name)
			ev.Before, ev.HeadSHA = another, announced
			run := l.newRun(name, ev)
			run.CreatedAt = run.CreatedAt.Add(20 * time.Minute)
			l.add(&run, codecheck.Queued)
			connections = append(connections, name)
			host.tips[ev.Repository.ID], host.late[ev.Repository.ID] = announced, late
		}
	})
	w.start(t, confirmed(t, url, connections))
	for name := range cases {
		if now := w.until(t, name, func(now record) bool { return now.ended }); now.state != string(codecheck.Passed) {
			t.Errorf("%s: ended %s: %s", name, now.state, now.reason)
		}
	}
}

// TestConfirmRelease: a pipeline is started, and a checkpoint approved, only for the commit
// that the host has, whoever wants it. An approval of our own execution becomes a refusal,
// and a refusal asks nobody.
func TestConfirmRelease(t *testing.T) { storetest.Each(t, testConfirmRelease) }

func testConfirmRelease(t *testing.T, db storetest.Database) {
	w := newWorld(t, db)
	host, url := newGitHost(t)
	// waits makes r decide the checkpoint of an execution that waits.
	waits := func(l *lost, r *release.Release, action rules.ReleaseAction) (execution string) {
		r.Plan.Pipeline, r.Plan.Action, r.Plan.Task = gateID(number(r.Event)), action, "gate"
		execution, err := l.services.startPipeline(l.ctx, r.Plan.Pipeline, release.StatusToBeApproved)
		l.check(err)
		return execution
	}
	approves := func(l *lost, r *release.Release) { waits(l, r, rules.ReleaseApprove) }
	approvesOurs := func(l *lost, r *release.Release) {
		r.After = l.addRelease(release.AwaitingApproval, r, waits(l, r, rules.ReleaseApprove)).ID
	}
	refuses := func(l *lost, r *release.Release) {
		waits(l, r, rules.ReleaseRefuse)
		run := l.newRun(r.ID, r.Event)
		r.RunID = l.addRun(codecheck.Failed, &run, "refuses").ID
	}
	byPerson := func(change func(*lost, *release.Release)) func(*lost, *release.Release) {
		return func(l *lost, r *release.Release) {
			change(l, r)
			r.DecidedBy = "ann"
		}
	}
	refusesPassed := func(l *lost, r *release.Release) { waits(l, r, rules.ReleaseRefuse) }
	cases := []struct {
		confirmCase
		change    func(*lost, *release.Release)
		starts    int
		decisions string
	}{
		{confirmCase{"starts", announced, 0, "succeeded", "", true}, nil, 1, ""},
		{confirmCase{"starts when the host is back", announced, 1, "succeeded", "", true}, nil, 1, ""},
		{confirmCase{"another commit", another, 0, "refused", `branch "main" has commit aaaabbbb on its host, and not 1f2e3d4c`, true}, nil, 0, ""},
		{confirmCase{"not found", "", 0, "failed", "the host does not have it, or the token may not see it (status 404)", true}, nil, 0, ""},
		{confirmCase{"approves", announced, 0, "succeeded", "", true}, approves, 0, "agree"},
		{confirmCase{"approves another commit", another, 0, "refused", `has commit aaaabbbb on its host`, true}, approves, 0, ""},
		{confirmCase{"approves another commit in our execution", another, 0, "refused", "its checkpoint was refused", true}, approvesOurs, 0, "refuse"},
		{confirmCase{"approves what is gone in our execution", "", 0, "refused", "its checkpoint was refused", true}, approvesOurs, 0, "refuse"},
		{confirmCase{"refuses", another, 0, "succeeded", "", false}, refuses, 0, "refuse"},
		{confirmCase{"a person refuses", another, 0, "succeeded", "", false}, byPerson(refusesPassed), 0, "refuse"},
		{confirmCase{"a person approves another commit", another, 0, "refused", "has commit aaaabbbb on its host", true}, byPerson(approves), 0, ""},
		{confirmCase{"down for good", announced, forGood, "failed", "the deadline passed before the pipeline could be started; last: waits to try again: confirm commit", true}, nil, 0, ""},
		{confirmCase{"approves, and the host is down for good", announced, forGood, "failed", "last: waits to try again: confirm commit", true}, approves, 0, ""},
	}
	var all []confirmCase
	var connections, repositories, pipelines []string
	w.leave(t, func(l *lost) {
		for _, c := range cases {
			ev := l.push(c.name)
			ev.HeadSHA = announced
			run := l.newRun(c.name, ev)
			r := release.Release{ID: c.name, RunID: l.addRun(codecheck.Passed, &run, "passed").ID, Event: ev, State: release.Starting, CreatedAt: l.at, StartedAt: l.at,
				Deadline: l.deadline, Plan: rules.Release{Pipeline: pipelineID(number(ev)), Action: rules.ReleaseStart, Timeout: time.Hour}}
			if c.change != nil {
				c.change(l, &r)
			}
			_, err := l.tx.AddRelease(l.ctx, r)
			l.check(err)
			pipelines = append(pipelines, r.Plan.Pipeline)
			all = append(all, c.confirmCase)
			connections, repositories = append(connections, c.name), append(repositories, ev.Repository.ID)
			host.tips[ev.Repository.ID], host.down[ev.Repository.ID] = c.tip, c.down
		}
	})
	w.start(t, confirmed(t, url, connections))
	confirmAll(t, w, all, func(t *testing.T, i int) {
		c := cases[i]
		c.check(t, w, host, repositories[i])
		starts, decisions := 0, []string{}
		for _, call := range w.services.done("operate_pipeline") {
			switch {
			case call.Pipeline != pipelines[i]:
			case call.Action == "start":
				starts++
			default:
				decisions = append(decisions, call.ApprovalType)
			}
		}
		if starts != c.starts || strings.Join(decisions, ",") != c.decisions {
			t.Errorf("the pipeline was started %d times and decided %q, want %d and %q", starts, decisions, c.starts, c.decisions)
		}
	})
}
