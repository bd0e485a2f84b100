package release

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/gatewright/gatewright/internal/golden"
	"github.com/gatewright/gatewright/internal/rules"
)

// TestCases plays every file of testdata/cases: a release, the exchanges that
// its next step must make in this order, and what must come of it: Prepare, and
// Send when that asks for it, or Follow. The file says after how long the step is
// taken, measured from the tests' epoch.
//
//	-- release.json --    fields that differ from newRelease's
//	-- after --           e.g. 10s
//	-- exchanges --       > METHOD path below the project, at CodeArts Pipeline below its
//	                      pipelines, then the JSON body
//	                      < status, headers as Name=value, then the body; or: < drop
//	-- want.json --       golden
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/cases/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := playCase(t, archive)
			golden.Section(t, file, archive, "want.json", string(got))
		})
	}
}

// outcome is what a step did, as the golden files show it. Saved are the reasons
// of the releases that were saved on the way, those with an intent marked; Result
// is what became known of an action, to be counted once the step is saved.
type outcome struct {
	State       State      `json:"state"`
	Reason      string     `json:"reason"`
	Wait        string     `json:"wait,omitempty"`
	Error       string     `json:"error,omitempty"`
	RetryAfter  string     `json:"retry_after,omitempty"`
	ExecutionID string     `json:"execution_id,omitempty"`
	Status      int        `json:"status,omitempty"`
	Waiting     []string   `json:"waiting,omitempty"`
	Intent      *Intent    `json:"intent,omitempty"`
	Operation   *Operation `json:"operation,omitempty"`
	OtherIDs    []string   `json:"other_execution_ids,omitempty"`
	Actions     []string   `json:"actions,omitempty"`
	FinishedAt  *time.Time `json:"finished_at,omitempty"`
	// Deadline is given where the step moved it.
	Deadline *time.Time `json:"deadline,omitempty"`
	Saved    []string   `json:"saved,omitempty"`
	Result   string     `json:"result,omitempty"`
}

func playCase(t *testing.T, archive *txtar.Archive) []byte {
	t.Helper()
	r := newRelease(rules.ReleaseStart, epoch())
	if i := section(archive, "release.json"); i >= 0 {
		if err := json.Unmarshal(archive.Files[i].Data, &r); err != nil {
			t.Fatal(err)
		}
	}
	c := newClock()
	if i := section(archive, "after"); i >= 0 {
		d, err := time.ParseDuration(strings.TrimSpace(string(archive.Files[i].Data)))
		if err != nil {
			t.Fatal(err)
		}
		c.Move(d)
	}
	i := section(archive, "exchanges")
	if i < 0 {
		t.Fatal("no exchanges")
	}
	script := &script{t: t, left: strings.Split(strings.TrimSpace(string(archive.Files[i].Data)), "\n")}
	server := httptest.NewServer(script)
	defer server.Close()
	op := newOperator(t, server.URL, c)

	var got outcome
	var wait time.Duration
	var err error
	before, deadline := r, r.Deadline
	if r.State == Starting {
		save := func(r Release) {
			before = r
			got.Saved = append(got.Saved, fmt.Sprintf("intent=%t: %s", r.Intent != nil, r.Reason))
		}
		r, wait, err = act(t.Context(), op, r, save)
	} else {
		var send bool
		if r, send, wait, err = op.Follow(t.Context(), r); send {
			before = r
			got.Saved = append(got.Saved, "operation: "+r.Reason)
			r, wait, err = op.Send(t.Context(), r)
		}
	}
	script.checkDone()
	got.State, got.Reason, got.ExecutionID, got.Status, got.Waiting, got.Intent = r.State, r.Reason, r.ExecutionID, r.Status, r.Waiting, r.Intent
	got.Operation, got.OtherIDs = r.Operation, r.OtherIDs
	if wait > 0 {
		got.Wait = wait.Round(time.Second).String()
	}
	if err != nil {
		got.Error = err.Error()
		var asked interface{ RetryAfter() time.Duration }
		if errors.As(err, &asked) && asked.RetryAfter() > 0 {
			got.RetryAfter = asked.RetryAfter().String()
		}
	}
	for _, a := range r.Actions {
		got.Actions = append(got.Actions, strings.TrimSpace(fmt.Sprintf("%s %s: %s %s %s", a.Name, a.Task, a.Result, a.ExecutionID, a.Detail)))
	}
	if a, known := ActionResult(before, r); known {
		got.Result = fmt.Sprintf("%s %s", a.Name, a.Result)
	}
	if !r.FinishedAt.IsZero() {
		got.FinishedAt = &r.FinishedAt
	}
	if !r.Deadline.Equal(deadline) {
		got.Deadline = &r.Deadline
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(got); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// act takes a starting release through one step of its caller: Prepare, again
// when a release only had to be saved, and Send. save gets what is saved before
// another call.
func act(ctx context.Context, op *Operator, r Release, save func(Release)) (Release, time.Duration, error) {
	next, send, wait, err := op.Prepare(ctx, r)
	if err == nil && wait == shortestWait {
		save(next)
		next, send, wait, err = op.Prepare(ctx, next)
	}
	if send {
		save(next)
		next, wait, err = op.Send(ctx, next)
	}
	return next, wait, err
}

func section(archive *txtar.Archive, name string) int {
	for i, f := range archive.Files {
		if f.Name == name {
			return i
		}
	}
	return -1
}

// script answers requests from the lines of a case and complains about any other.
type script struct {
	t    *testing.T
	mu   sync.Mutex
	left []string
}

func (s *script) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(req.Body)
	got := strings.TrimSpace("> " + req.Method + " " + belowProject(req.URL.RequestURI()) + " " + string(body))
	// 004_192d3ad45852e13d.txt, row Content-Type; the charset is compared without regard to case.
	if kind := strings.ToLower(req.Header.Get("Content-Type")); req.Method == http.MethodPost && kind != "application/json;charset=utf-8" {
		s.t.Errorf("Content-Type %q", kind)
	}
	if len(s.left) < 2 || s.left[0] != got {
		s.t.Errorf("request %q, want %q", got, s.left)
		http.Error(w, "not in the script", http.StatusTeapot)
		return
	}
	reply := s.left[1]
	s.left = s.left[2:]
	if reply == "< drop" {
		panic(http.ErrAbortHandler)
	}
	word, reply, _ := strings.Cut(strings.TrimPrefix(reply, "< "), " ")
	for {
		header, rest, _ := strings.Cut(reply, " ")
		name, value, ok := strings.Cut(header, "=")
		if !ok || strings.ContainsAny(name, `{["<`) {
			break
		}
		w.Header().Set(name, value)
		reply = rest
	}
	status, err := strconv.Atoi(word)
	if err != nil {
		s.t.Errorf("reply %q has no status", word)
		return
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, reply)
}

// belowProject is a request's target without the project, of either service.
func belowProject(target string) string {
	if rest, ok := strings.CutPrefix(target, "/v5/"+codeProjectID+"/api/pipelines"); ok {
		return rest
	}
	return strings.TrimPrefix(target, "/v3/"+projectID)
}

// checkDone complains about exchanges that were not made.
func (s *script) checkDone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.left) > 0 && s.left[0] != "" {
		s.t.Errorf("not asked: %q", s.left)
	}
}
