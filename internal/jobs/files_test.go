package jobs_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

const filesPolicy = `
version: 1
defaults:
  check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07, name: demo}}
rules:
  - name: merge-requests
    on: merge_request
    check: {}
  - name: go
    on: push
    match: {branch: main, paths: ["**/*.go", "!docs/**"]}
    check: {}
`

// comparer is a small Gitee that compares commits. Each case has its own repository.
type comparer struct {
	mu sync.Mutex
	// status and body are the answers by repository; down says how many requests are answered
	// 503 first, and held is closed when the answer may be sent.
	status map[string]int
	body   map[string]string
	down   map[string]int
	held   map[string]chan struct{}
	asked  map[string]int
}

func newComparer(t *testing.T) (*comparer, string) {
	c := &comparer{status: map[string]int{}, body: map[string]string{}, down: map[string]int{}, held: map[string]chan struct{}{}, asked: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /repos/acme/{repository}/compare/{range}", func(w http.ResponseWriter, r *http.Request) {
		repository := r.PathValue("repository")
		c.mu.Lock()
		c.asked[repository]++
		status, body, held := c.status[repository], c.body[repository], c.held[repository]
		if c.down[repository] > 0 {
			c.down[repository]--
			status = http.StatusServiceUnavailable
		}
		c.mu.Unlock()
		if held != nil {
			select {
			case <-held:
			case <-r.Context().Done():
			}
		}
		if status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "120")
		}
		if status != 0 {
			w.WriteHeader(status)
			return
		}
		fmt.Fprintf(w, `{"merge_base_commit": {"sha": %q}, %s}`, another, body)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return c, server.URL
}

func (c *comparer) askedFor(repository string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[repository]
}

// filesCase is a push to main of a repository of its own.
type filesCase struct {
	name string
	// files are those of the payload, by default none that are known.
	files  event.Files
	branch string
	status int
	down   int
	listed string
	held   bool
	// withoutToken: the connection has none.
	withoutToken bool
	runs         int
	// reason is a part of what the decision says, trace of what it says of the rule.
	reason, trace string
	asked         int
}

// startFiles starts a queue for the cases, and completes its options. accept sends the delivery of
// one.
func startFiles(t *testing.T, db storetest.Database, cases []filesCase, extra *jobs.Options) (w *world, host *comparer, repository func(name string) string, accept func(name string), stop func()) {
	w = newWorld(t, db)
	w.services.setFaults(t, down())
	w.policy = filesPolicy
	host, url := newComparer(t)
	events := map[string]event.Event{}
	var forgeOptions forge.Options
	tokens := map[string]bool{}
	for i, c := range cases {
		ev := push(another, announced)
		ev.Connection, ev.Repository.ID, ev.Repository.FullName = c.name, strconv.Itoa(i+1), "acme/"+strconv.Itoa(i+1)
		ev.Files = c.files
		if c.branch != "" {
			ev.Branch = c.branch
		}
		events[c.name] = ev
		name := strconv.Itoa(i + 1)
		host.status[name], host.down[name], host.body[name] = c.status, c.down, c.listed
		if c.held {
			host.held[name] = make(chan struct{})
		}
		if !c.withoutToken {
			tokens[c.name] = true
			forgeOptions.Connections = append(forgeOptions.Connections, forge.Connection{Name: c.name, Host: event.Gitee, APIURL: url, Token: "token"})
		}
	}
	f, err := forge.New(forgeOptions)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.CloseIdle)
	w.parse = func(id string) (event.Event, error) { return events[strings.TrimSuffix(id, " again")], nil }
	extra.Forge, extra.Confirm = f, func(connection string) jobs.Confirm { return jobs.Confirm{Asks: tokens[connection]} }
	q, stop := w.start(t, *extra)
	accept = func(name string) {
		t.Helper()
		d := event.Delivery{ID: name, Connection: strings.TrimSuffix(name, " again"), Host: event.Gitee, Key: name, HostID: name, ReceivedAt: w.clock.now()}
		if strings.HasPrefix(name, "large") {
			d.Body = []byte(strings.Repeat("x", 300<<10))
		}
		if _, duplicate, err := q.Accept(t.Context(), d); err != nil || duplicate {
			t.Fatalf("accept %s: duplicate %t, error %v", name, duplicate, err)
		}
	}
	return w, host, func(name string) string { return events[name].Repository.ID }, accept, stop
}

func (w *world) delivery(t *testing.T, id string) (d store.Delivery, runs int) {
	t.Helper()
	err := w.store.View(t.Context(), func(tx *store.Tx) (err error) {
		if d, err = tx.Delivery(t.Context(), id); err != nil {
			return err
		}
		of, err := tx.RunsOf(t.Context(), id)
		runs = len(of)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return d, runs
}

func ended(now record) bool { return now.ended }

// TestFiles: the host is asked for changed files where a rule needs them, and what it does not
// tell counts as matching.
func TestFiles(t *testing.T) { storetest.Each(t, testFiles) }

func testFiles(t *testing.T, db storetest.Database) {
	unlisted := event.Files{Unknown: "the push does not list them", AskHost: true}
	const goFile, docs = `"files": [{"filename": "a.md"}, {"filename": "main.go"}]`, `"files": [{"filename": "docs/sample.go"}, {"filename": "a.md"}]`
	cases := []filesCase{
		{name: "listed, matches", files: event.NewFiles([]string{"main.go"}, ""), runs: 1, reason: `rule "go" matched`, trace: `changed file "main.go" matches "**/*.go"`},
		{name: "listed, does not match", files: event.NewFiles([]string{"docs/x.go"}, ""), reason: "none of the 2 rules matches", trace: `changed file "docs/x.go" is excluded by "!docs/**"`},
		{name: "told, matches", files: unlisted, listed: goFile, runs: 1, reason: `rule "go" matched`, trace: `changed file "main.go" matches "**/*.go"`, asked: 1},
		{name: "told, does not match", files: unlisted, listed: docs, reason: "none of the 2 rules matches", trace: `none of 2 changed files matches "**/*.go", "!docs/**"`, asked: 1},
		{name: "large, told", files: unlisted, listed: docs, reason: "none of the 2 rules matches", asked: 1},
		{name: "down for a while", files: unlisted, listed: docs, down: 1, reason: "none of the 2 rules matches", asked: 2},
		{name: "a part is listed and matches", files: event.Files{Paths: []string{"x.go"}, Unknown: "cut", AskHost: true}, runs: 1, reason: `rule "go" matched`, trace: `changed file "x.go" matches "**/*.go"`},
		{name: "cut, and a part was listed", files: event.Files{Paths: []string{"x.md"}, Unknown: "cut", AskHost: true}, listed: docs + `, "truncated": true`, runs: 1,
			reason: `rule "go" counts as matching, because not all changed files are known: the host lists 2 changed files, and there are more, or may be`, trace: `none of 3 changed files matches`, asked: 1},
		{name: "not found", files: unlisted, status: 404, runs: 1, reason: "read changed files: the host does not have it", asked: 1},
		{name: "throttled for long", files: unlisted, status: 429, runs: 1, reason: "read changed files: the host asks to wait (status 429)", asked: 1},
		{name: "no token", files: unlisted, withoutToken: true, runs: 1, reason: `the push does not list them, and connection "no token" has no API token`},
		{name: "a new branch", files: event.Files{Unknown: "the branch is new"}, runs: 1, reason: "counts as matching, because not all changed files are known: the branch is new"},
		{name: "another branch", files: unlisted, branch: "next", reason: "none of the 2 rules matches", trace: `branch "next" does not match "main"`},
	}
	w, host, repository, accept, _ := startFiles(t, db, cases, &jobs.Options{})
	for _, c := range cases {
		accept(c.name)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w.until(t, c.name, ended)
			d, runs := w.delivery(t, c.name)
			if d.State != event.DeliveryDecided || runs != c.runs || !strings.Contains(d.Reason, c.reason) || !strings.Contains(d.Decision.Trace[1].Reason, c.trace) {
				t.Errorf("%s with %d runs: %s\n%s", d.State, runs, d.Reason, d.Decision.Trace[1].Reason)
			}
			if asked := host.askedFor(repository(c.name)); asked != c.asked {
				t.Errorf("the host was asked %d times, want %d", asked, c.asked)
			}
			if f := d.Decision.Files; (f == nil) != (c.branch != "") || f != nil && f.FromHost != (c.asked > 0) {
				t.Errorf("the decision says of the files %+v", f)
			}
			if d.Asked || len(d.Decision.Event.Files.Paths) > 0 {
				t.Error("the files are still stored")
			}
		})
	}
}

// TestFilesOfASlowHost: while a host does not answer, others are decided, and one that sends
// the same again is a duplicate. What nobody tells within a minute counts as matching.
func TestFilesOfASlowHost(t *testing.T) { storetest.Each(t, testFilesOfASlowHost) }

func testFilesOfASlowHost(t *testing.T, db storetest.Database) {
	unlisted := event.Files{Unknown: "the push does not list them", AskHost: true}
	cases := []filesCase{
		{name: "slow", files: unlisted, held: true, listed: `"files": []`},
		{name: "down for good", files: unlisted, down: forGood},
		{name: "another", files: event.NewFiles([]string{"main.go"}, "")},
	}
	w, host, repository, accept, _ := startFiles(t, db, cases, &jobs.Options{})
	accept("slow")
	accept("slow again")
	accept("down for good")
	accept("another")
	w.until(t, "another", ended)
	for _, id := range []string{"slow", "slow again", "down for good"} {
		w.until(t, id, func(now record) bool { return now.reason == "waits until its git host tells more of it" })
	}
	w.until(t, "slow", func(record) bool { return host.askedFor(repository("slow")) >= 2 })
	close(host.held[repository("slow")])
	first, second := w.until(t, "slow", ended), w.until(t, "slow again", ended)
	states := []string{first.state, second.state}
	if strings.Join(states, " ") != "decided duplicate" && strings.Join(states, " ") != "duplicate decided" {
		t.Errorf("they ended as %q", states)
	}

	w.until(t, "down for good", func(record) bool { return host.askedFor(repository("down for good")) > 0 })
	w.clock.jump(55 * time.Second)
	w.until(t, "down for good", ended)
	// It is asked once more before the minute is over, unless the machine takes seconds for that.
	const counts = `rule "go" counts as matching, because not all changed files are known: `
	d, runs := w.delivery(t, "down for good")
	if _, why, _ := strings.Cut(d.Reason, counts); runs != 1 || why != "read changed files: the host cannot answer (status 503)" && why != "the host could not be asked within 1m0s" {
		t.Errorf("%d runs: %s", runs, d.Reason)
	}
}

// TestFilesOfABusyQueue: a delivery whose turn does not come within a minute is decided all the
// same.
func TestFilesOfABusyQueue(t *testing.T) { storetest.Each(t, testFilesOfABusyQueue) }

func testFilesOfABusyQueue(t *testing.T, db storetest.Database) {
	cases := []filesCase{{name: "last", files: event.Files{AskHost: true}}}
	const workers = 8
	for i := range workers {
		cases = append(cases, filesCase{name: fmt.Sprint("held ", i), files: event.Files{AskHost: true}, held: true, listed: `"files": []`})
	}
	w, host, repository, accept, _ := startFiles(t, db, cases, &jobs.Options{})
	for _, c := range cases[1:] {
		accept(c.name)
	}
	for _, c := range cases[1:] {
		w.until(t, c.name, func(record) bool { return host.askedFor(repository(c.name)) >= 1 })
	}
	accept("last")
	w.until(t, "last", func(now record) bool { return now.reason != "" })
	w.clock.jump(2 * time.Minute)
	for _, c := range cases[1:] {
		close(host.held[repository(c.name)])
		w.until(t, c.name, ended)
	}
	w.until(t, "last", ended)
	if d, runs := w.delivery(t, "last"); runs != 1 || host.askedFor(repository("last")) != 0 || !strings.Contains(d.Reason, "the host could not be asked within 1m0s") {
		t.Errorf("%d runs, asked %d times: %s", runs, host.askedFor(repository("last")), d.Reason)
	}
}

// TestFilesAfterACrash: a delivery that waits for its files, and whose job was lost, is asked for
// again after the next start, and decided once; the time without a process does not count.
func TestFilesAfterACrash(t *testing.T) { storetest.Each(t, testFilesAfterACrash) }

func testFilesAfterACrash(t *testing.T, db storetest.Database) {
	cases := []filesCase{
		{name: "one", files: event.Files{AskHost: true}, held: true, listed: `"files": [{"filename": "a.md"}]`},
		{name: "two", files: event.Files{AskHost: true}, held: true, listed: `"files": [{"filename": "a.go"}]`},
	}
	extra := &jobs.Options{ReconcileEvery: 100 * time.Millisecond, ReconcileAfter: time.Minute}
	w, host, repository, accept, stop := startFiles(t, db, cases, extra)
	for _, c := range cases {
		accept(c.name)
		w.until(t, c.name, func(record) bool { return host.askedFor(repository(c.name)) == 1 })
	}
	stop()
	w.execute(t, `DELETE FROM river_job`)
	for _, c := range cases {
		close(host.held[repository(c.name)])
	}
	w.clock.jump(10 * time.Minute)
	w.start(t, *extra)
	for i, c := range cases {
		w.until(t, c.name, ended)
		if d, runs := w.delivery(t, c.name); d.State != event.DeliveryDecided || runs != i || !d.Decision.Files.Complete {
			t.Errorf("%s is %s with %d runs: %s", c.name, d.State, runs, d.Reason)
		}
	}
}

// TestFilesOfABurst: many pushes wait for their files at once, and all are decided. A job whose
// answer could not be saved in time asks once more.
func TestFilesOfABurst(t *testing.T) { storetest.Each(t, testFilesOfABurst) }

func testFilesOfABurst(t *testing.T, db storetest.Database) {
	var cases []filesCase
	for i := range 60 {
		cases = append(cases, filesCase{name: fmt.Sprint("push ", i), files: event.Files{AskHost: true}, listed: `"files": [{"filename": "a.md"}]`})
	}
	w, host, repository, accept, _ := startFiles(t, db, cases, &jobs.Options{})
	var accepting sync.WaitGroup
	for _, c := range cases {
		accepting.Go(func() { accept(c.name) })
	}
	accepting.Wait()
	for _, c := range cases {
		w.until(t, c.name, ended)
		if d, runs := w.delivery(t, c.name); runs != 0 || !d.Decision.Files.Complete || host.askedFor(repository(c.name)) == 0 {
			t.Errorf("%s: %d runs, asked %d times: %s", c.name, runs, host.askedFor(repository(c.name)), d.Reason)
		}
	}
}
