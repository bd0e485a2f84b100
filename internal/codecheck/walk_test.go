package codecheck

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/golden"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/rules"
)

const testProject = "41b8df4bf53f4d51b8e6c5b32e8d2a07"

func testEvent() event.Event {
	return event.Event{
		Connection: "github-acme", Kind: event.Push, Action: event.Updated, Branch: "main",
		HeadSHA: "1f2e3d4c5b6a79880f1e2d3c4b5a69788f0e1d2c", Author: "alice", Sender: "alice", NewCode: true,
		Repository: event.Repository{Host: event.GitHub, ID: "1", FullName: "acme/api", DefaultBranch: "main",
			HTTPSURL: "https://github.com/acme/api.git", SSHURL: "git@github.com:acme/api.git"},
	}
}

func testCheck() rules.Check {
	critical, major := 0, 0
	return rules.Check{ProjectID: testProject, ProjectName: "payments", Scan: rules.ScanFull, Ref: rules.RefAuto,
		Languages: []string{"GO"}, TaskName: "api-main", AuthID: "auth-1", Timeout: 45 * time.Minute,
		Gate: rules.Gate{Critical: &critical, Major: &major}}
}

// walk is one file of testdata/walks: a run's way through Prepare, Send and Poll,
// with every request that is made and its response. Its lines:
//
//	dialect 2023            the service's edition
//	job_id auto             how far `job_id` is relied on; default on, and auto with dialect 2023
//	event {…}, check {…}    laid over testEvent and testCheck
//	task KEY {…}            a task that an earlier run saved; $P is the project
//	login USER TOKEN        the account of a temporary repository
//	ref CONNECTION REF      a ref that worked before
//	baseline [{…}]          the findings of an earlier run, named run-0
//	send_ref on             whether ref is sent at any cost
//	access_passed LITERAL   replaces what is_access says when it passed
//	check_times off         the times of a summary say nothing
//	start, poll, stop       a step; the requests it makes follow. start is Prepare and,
//	                        once its intent is saved, Send:
//	> METHOD URI BODY       the request that must come next
//	< STATUS BODY           its response; "< lost" acts and drops the connection
//	header NAME VALUE       a header of the response before
//	after DURATION          time passes
//	crash                   the run is again what was saved last
//	next                    another run of the same checker begins
//	# …                     a remark
type walk struct {
	t       *testing.T
	lines   []string
	clock   time.Time
	memory  *memory
	dialect string
	login   Login
	jobID   Capability
	times   Capability
	sendRef Capability
	access  []string
	run     Run
	saved   Run

	mu        sync.Mutex
	exchanges []exchange
	// story is what the golden file holds.
	story bytes.Buffer
}

type exchange struct{ request, status, answer, header, value string }

func TestWalks(t *testing.T) {
	files, err := filepath.Glob("testdata/walks/*.walk")
	if err != nil || len(files) == 0 {
		t.Fatalf("no walks: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".walk"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(string(b), "$P", testProject)
			w := &walk{t: t, lines: strings.Split(strings.TrimSpace(text), "\n"), memory: newMemory(),
				clock: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC), dialect: Dialect2026, jobID: On}
			w.run = Run{ID: "run-1", Event: testEvent(), Check: testCheck(), State: Queued, CreatedAt: w.clock}
			w.walk()

			golden.Text(t, strings.TrimSuffix(file, ".walk")+".golden", w.story.String())
		})
	}
}

// tell adds a line to the story.
func (w *walk) tell(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintf(&w.story, format+"\n", args...)
}

func (w *walk) walk() {
	server := httptest.NewServer(w)
	defer server.Close()
	w.preamble()
	w.run.Deadline = w.run.CreatedAt.Add(w.run.Check.Timeout)
	client, err := huaweicloud.New(huaweicloud.Options{Service: "codecheck", Endpoint: server.URL, Retries: -1, Now: func() time.Time { return w.clock }})
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.CloseIdle()
	checker, err := New(Options{
		Client: client, Memory: w.memory, Findings: w.memory, Dialect: w.dialect, JobID: w.jobID, Ref: w.sendRef, CheckTimes: w.times, AccessPassed: w.access, Now: func() time.Time { return w.clock },
		Login:      func(string) Login { return w.login },
		RepoType:   func(string) string { return "GitHub" },
		DefaultRef: func(connection string) Ref { return map[string]Ref{"gitee": Pull}[connection] },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for len(w.lines) > 0 {
		step := w.next()
		word, rest, _ := strings.Cut(step, " ")
		switch word {
		case "after":
			d, err := time.ParseDuration(rest)
			if err != nil {
				w.t.Fatal(err)
			}
			w.clock = w.clock.Add(d)
			w.tell("%s later", d)
		case "crash":
			w.run = w.saved
			w.tell("crash")
		case "next":
			w.run = Run{ID: "run-2", Event: w.run.Event, Check: w.run.Check, State: Queued, CreatedAt: w.clock, Deadline: w.clock.Add(w.run.Check.Timeout)}
			w.tell("next")
		case "start", "poll", "stop":
			w.script()
			w.step(checker, word)
		default:
			w.t.Fatalf("line %q", step)
		}
	}
	w.ending()
}

// ending tells the run as it is at the end, without what the walk itself says,
// and what is remembered.
func (w *walk) ending() {
	b, err := json.Marshal(w.run)
	if err != nil {
		w.t.Fatal(err)
	}
	var run map[string]any
	if err := json.Unmarshal(b, &run); err != nil {
		w.t.Fatal(err)
	}
	for _, key := range []string{"id", "delivery_id", "rule", "event", "check", "created_at", "deadline"} {
		delete(run, key)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	e := json.NewEncoder(&w.story)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	told := map[string]any{"run": run, "tasks": w.memory.tasks, "refs": w.memory.refs}
	if found := w.memory.findings[w.run.ID]; len(found) > 0 {
		told["findings"] = found
	}
	if err := e.Encode(told); err != nil {
		w.t.Fatal(err)
	}
	if w.run.State != Starting && len(w.memory.claims) > 0 {
		w.t.Errorf("claims that are left: %v", w.memory.claims)
	}
}

func (w *walk) next() string {
	line := w.lines[0]
	w.lines = w.lines[1:]
	if line == "" || strings.HasPrefix(line, "#") {
		if len(w.lines) > 0 {
			return w.next()
		}
		w.t.Fatal("file ends in a remark")
	}
	return line
}

// preamble reads the lines before the first step.
func (w *walk) preamble() {
	for {
		line := w.next()
		word, rest, _ := strings.Cut(line, " ")
		var err error
		switch word {
		case "dialect":
			w.dialect, w.jobID = rest, Auto
		case "job_id":
			w.jobID = Capability(rest)
		case "event":
			err = json.Unmarshal([]byte(rest), &w.run.Event)
		case "check":
			err = json.Unmarshal([]byte(rest), &w.run.Check)
		case "login":
			w.login.User, w.login.Token, _ = strings.Cut(rest, " ")
		case "task":
			open := strings.Index(rest, " {")
			var t Task
			err = json.Unmarshal([]byte(rest[open+1:]), &t)
			w.memory.tasks[rest[:open]] = t
		case "baseline":
			var found []Finding
			err = json.Unmarshal([]byte(rest), &found)
			w.memory.baseline, w.memory.findings["run-0"] = "run-0", found
		case "send_ref":
			w.sendRef = Capability(rest)
		case "access_passed":
			w.access = []string{rest}
		case "check_times":
			w.times = Capability(rest)
		case "ref":
			space := strings.LastIndex(rest, " ")
			w.memory.refs[rest[:space]] = Ref(rest[space+1:])
		default:
			w.lines = append([]string{line}, w.lines...)
			return
		}
		if err != nil {
			w.t.Fatalf("%s: %v", line, err)
		}
	}
}

// script reads the exchanges of the next step.
func (w *walk) script() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.lines) > 0 && (strings.HasPrefix(w.lines[0], "> ") || strings.HasPrefix(w.lines[0], "#")) {
		if strings.HasPrefix(w.lines[0], "#") {
			w.lines = w.lines[1:]
			continue
		}
		x := exchange{request: strings.TrimPrefix(w.next(), "> ")}
		x.status, x.answer, _ = strings.Cut(strings.TrimPrefix(w.next(), "< "), " ")
		if len(w.lines) > 0 && strings.HasPrefix(w.lines[0], "header ") {
			x.header, x.value, _ = strings.Cut(strings.TrimPrefix(w.next(), "header "), " ")
		}
		w.exchanges = append(w.exchanges, x)
	}
}

func (w *walk) step(c *Checker, word string) {
	var wait time.Duration
	var err error
	ctx := context.Background()
	switch word {
	case "start":
		w.run, wait, err = start(ctx, c, w.run, func(r Run) {
			w.saved = r
			w.tell("  saved: %s, ref %q, intent %v", r.State, r.Ref, r.Intent != nil)
		})
	case "poll":
		w.run, wait, err = c.Poll(ctx, w.run)
	case "stop":
		err = c.Stop(ctx, w.run)
	}
	waits := ""
	if wait > 0 {
		waits = ", wait " + wait.String()
	}
	w.tell("%s: %s%s: %s", word, w.run.State, waits, w.run.Reason)
	if err != nil {
		w.tell("  error: %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.exchanges {
		w.t.Errorf("%s did not ask: %s", word, x.request)
	}
	w.exchanges = nil
}

// start prepares a run, has its intent saved, and sends it.
func start(ctx context.Context, c *Checker, run Run, save func(Run)) (Run, time.Duration, error) {
	next, send, wait, err := c.Prepare(ctx, run)
	if err != nil || !send {
		return next, wait, err
	}
	save(next)
	return c.Send(ctx, next)
}

// startInSteps calls start, without waiting, until the run has started or ended.
func startInSteps(ctx context.Context, c *Checker, run Run) (Run, error) {
	for range 100_000 {
		next, _, err := start(ctx, c, run, noSave)
		if err != nil || next.State != Starting {
			return next, err
		}
		run = next
	}
	return run, errors.New("the run is still starting: " + run.Reason)
}

func (w *walk) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	got := strings.TrimSpace(r.Method + " " + r.RequestURI + " " + string(body))
	w.tell("  > %s", got)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.exchanges) == 0 || w.exchanges[0].request != got {
		w.t.Errorf("request %s\nwant %+v", got, w.exchanges)
		rw.WriteHeader(http.StatusBadRequest)
		return
	}
	x := w.exchanges[0]
	w.exchanges = w.exchanges[1:]
	if x.status == "lost" {
		if conn, _, err := http.NewResponseController(rw).Hijack(); err == nil {
			conn.Close()
		}
		return
	}
	status, err := strconv.Atoi(x.status)
	if err != nil {
		w.t.Errorf("answer status %q", x.status)
		return
	}
	if x.header != "" {
		rw.Header().Set(x.header, x.value)
	}
	rw.WriteHeader(status)
	_, _ = io.WriteString(rw, x.answer)
}
