package standin

import (
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Call is one request that the stand-in was sent, as its journal keeps it. It
// is the stand-in's own count of what it was asked to do, whatever the asker
// believes.
type Call struct {
	// Seq numbers the calls from 1 without gaps, in the order of their ends.
	Seq  int64     `json:"seq"`
	Time time.Time `json:"time"`
	// Operation is our name of the call, one of Server.Operations.
	Operation string `json:"operation"`
	// Status is the HTTP status, Code the error code, also of an error inside a
	// 200.
	Status int    `json:"status"`
	Code   string `json:"code,omitempty"`
	// Acted says that the call changed something: a task created or deleted, a
	// run started or stopped, an action accepted.
	Acted bool `json:"acted,omitempty"`
	// Lost says that a fault dropped the connection without an answer.
	Lost bool `json:"lost,omitempty"`

	Project   string `json:"project,omitempty"`
	Task      string `json:"task,omitempty"`
	Execution string `json:"execution,omitempty"`
	// Repository is the one that a git host was asked about.
	Repository string `json:"repository,omitempty"`
	// Address is the repository that a task was created for; Address and Branch are those of the
	// temporary repository that a run named.
	Address string `json:"address,omitempty"`
	Branch  string `json:"branch,omitempty"`
	// Ref is the ref that a run was sent with, or that a git host was asked for.
	Ref      string `json:"ref,omitempty"`
	Pipeline string `json:"pipeline,omitempty"`
	// Action, TaskName and ApprovalType are those of operate_pipeline; TaskName is also the id of
	// the step that a manual review of CodeArts Pipeline decided.
	Action       string `json:"action,omitempty"`
	TaskName     string `json:"task_name,omitempty"`
	ApprovalType string `json:"approval_type,omitempty"`
	// Message is what an approval was sent with.
	Message string `json:"message,omitempty"`
	// Detail says, for a refused call, what the services' own answer leaves out.
	Detail string `json:"detail,omitempty"`
}

// Counts are the totals since the start, also of calls that the journal has
// dropped.
type Counts struct {
	// Calls and Acted are by operation; operate_pipeline is split by action, as
	// operate_pipeline/start.
	Calls map[string]int64 `json:"calls"`
	Acted map[string]int64 `json:"acted"`
	// Refused is by error code.
	Refused map[string]int64 `json:"refused"`
}

// journal remembers the newest calls and counts all.
type journal struct {
	mu     sync.Mutex
	ring   []Call
	next   int64 // Seq of the next call, less one
	counts Counts
}

func newJournal(size int) *journal {
	return &journal{
		ring:   make([]Call, 0, size),
		counts: Counts{Calls: map[string]int64{}, Acted: map[string]int64{}, Refused: map[string]int64{}},
	}
}

func (j *journal) add(entry Call) {
	j.mu.Lock()
	defer j.mu.Unlock()
	at := int(j.next % int64(cap(j.ring)))
	j.next++
	entry.Seq = j.next
	if len(j.ring) < cap(j.ring) {
		j.ring = append(j.ring, entry)
	} else {
		j.ring[at] = entry
	}

	name := entry.Operation
	if entry.Action != "" {
		name += "/" + entry.Action
	}
	j.counts.Calls[name]++
	if entry.Acted {
		j.counts.Acted[name]++
	}
	if entry.Code != "" {
		j.counts.Refused[entry.Code]++
	}
}

// after returns the remembered calls with a Seq above seq, in order.
func (j *journal) after(seq int64) []Call {
	j.mu.Lock()
	defer j.mu.Unlock()
	first := max(seq, j.next-int64(len(j.ring)))
	calls := make([]Call, 0, max(j.next-first, 0))
	for n := first; n < j.next; n++ {
		calls = append(calls, j.ring[n%int64(cap(j.ring))])
	}
	return calls
}

// Calls returns what the stand-in was asked to do, in order: the newest
// Options.JournalSize calls.
func (s *Server) Calls() []Call { return s.journal.after(0) }

// Counts returns the totals since the start.
func (s *Server) Counts() Counts {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	return Counts{
		Calls:   maps.Clone(s.journal.counts.Calls),
		Acted:   maps.Clone(s.journal.counts.Acted),
		Refused: maps.Clone(s.journal.counts.Refused),
	}
}

// serveCalls is GET /standin/calls: the journal as a JSON array; ?after=N leaves
// out all calls up to that Seq.
func (s *Server) serveCalls(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	writeHelper(w, s.journal.after(max(after, 0)))
}

// serveCounts is GET /standin/counts.
func (s *Server) serveCounts(w http.ResponseWriter, _ *http.Request) {
	writeHelper(w, s.Counts())
}

// helper serves a path that is the stand-in's own. It asks for no credentials
// and answers peers on the loopback only.
func helper(handle http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			http.Error(w, "this path is for the loopback only", http.StatusForbidden)
			return
		}
		handle(w, r)
	}
}

// writeHelper answers on the paths that are the stand-in's own.
func writeHelper(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // a caller that went away cannot be told
}
