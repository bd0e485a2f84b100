package standin

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// FaultKind is what goes wrong.
type FaultKind string

const (
	// FaultLatency delays the answer by DelayMS and then goes on as usual.
	FaultLatency FaultKind = "latency"
	// FaultThrottle refuses with 429 APIGW.0308, before anything is done.
	FaultThrottle FaultKind = "throttle"
	// FaultStatus answers with Status (500, 502, 503 or 504; default 500) in the
	// gateway's shape, before anything is done; 502 is an HTML page, as load
	// balancers send.
	FaultStatus FaultKind = "status"
	// FaultBusy answers 400 CC.00000000, before anything is done.
	FaultBusy FaultKind = "busy"
	// FaultRefused answers 400 SVCSTG.00100400, before anything is done: as when a
	// pipeline's state has changed a moment ago.
	FaultRefused FaultKind = "refused"
	// FaultDropped drops the connection before anything is done.
	FaultDropped FaultKind = "dropped"
	// FaultLost does what was asked and drops the connection without an answer.
	FaultLost FaultKind = "lost"
	// FaultReplaced does what was asked and answers 200 with Body instead, as a
	// proxy between the two does with a page of its own.
	FaultReplaced FaultKind = "replaced"
	// FaultExpired ends the life of the token that the request carries, so that
	// it and all later uses of that token are refused. Signed requests pass.
	FaultExpired FaultKind = "expired"
	// FaultRunning answers CC.00050015 "task is running" with status 200.
	FaultRunning FaultKind = "task_running"
	// FaultNotFound lets a git host have no such branch, tag or merge request: 404. It does
	// nothing to the other services.
	FaultNotFound FaultKind = "not_found"
	// FaultMoved lets a git host have another commit: the parent. It does nothing to the other
	// services.
	FaultMoved FaultKind = "moved"
	// FaultAbsent answers 404 APIGW.0101, before anything is done: the installation has no such
	// call.
	FaultAbsent FaultKind = "absent"
	// FaultQueued answers 400 DEVPIPE.00011169, before anything is done: CodeArts Pipeline has as
	// many runs as it takes.
	FaultQueued FaultKind = "queued"
)

// FaultKinds are all of them.
func FaultKinds() []FaultKind {
	return []FaultKind{FaultLatency, FaultThrottle, FaultStatus, FaultBusy, FaultRefused, FaultDropped, FaultLost,
		FaultReplaced, FaultExpired, FaultRunning, FaultNotFound, FaultMoved, FaultAbsent, FaultQueued}
}

// Fault is one thing that goes wrong, for some requests.
type Fault struct {
	Kind FaultKind `json:"kind"`
	// Operations are some of Server.Operations; empty: all.
	Operations []string `json:"operations,omitempty"`
	// Skip lets the first matching requests pass.
	Skip int `json:"skip,omitempty"`
	// Next is how many matching requests are hit; 0: all of them.
	Next int `json:"next,omitempty"`
	// Share hits this part of the matching requests (0 to 1), chosen by a
	// generator that starts at Seed; 0: every one.
	Share float64 `json:"share,omitempty"`
	Seed  uint64  `json:"seed,omitempty"`

	// DelayMS is the latency in milliseconds; it may be added to every kind.
	DelayMS int `json:"delay_ms,omitempty"`
	// Status is the answer of FaultStatus.
	Status int `json:"status,omitempty"`
	// ActFirst lets FaultStatus do what was asked before it answers, like a gateway
	// that gives up on a backend which goes on.
	ActFirst bool `json:"act_first,omitempty"`
	// Body is the answer of FaultReplaced; it may be empty.
	Body string `json:"body,omitempty"`
	// RetryAfter is that header's value in seconds on FaultThrottle and
	// FaultStatus; nil: no header.
	RetryAfter *int `json:"retry_after,omitempty"`
}

// Faults are the faults that are switched on. Of those that match a request all
// latencies add up, and the first other one that hits decides.
type Faults struct {
	Faults []Fault `json:"faults"`
}

// check returns what is wrong with f, operations being what it may name.
func (f Fault) check(operations []string) error {
	if !slices.Contains(FaultKinds(), f.Kind) {
		return fmt.Errorf("unknown fault kind %q; the kinds are %s", f.Kind, joined(FaultKinds()))
	}
	for _, name := range f.Operations {
		if !slices.Contains(operations, name) {
			return fmt.Errorf("unknown operation %q; the operations are %s", name, joined(operations))
		}
	}
	if f.Kind == FaultStatus && !slices.Contains([]int{0, 500, 502, 503, 504}, f.Status) {
		return fmt.Errorf("fault status %d is not one of 500, 502, 503, 504", f.Status)
	}
	if f.ActFirst && f.Kind != FaultStatus || f.Body != "" && f.Kind != FaultReplaced {
		return fmt.Errorf("fault %q: act_first is for status only, body for replaced only", f.Kind)
	}
	if f.Share < 0 || f.Share > 1 || f.Next < 0 || f.Skip < 0 || f.DelayMS < 0 {
		return fmt.Errorf("fault %q: share is 0 to 1, next, skip and delay_ms are not negative", f.Kind)
	}
	return nil
}

func joined[T ~string](words []T) string {
	var b strings.Builder
	for i, word := range words {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(word))
	}
	return b.String()
}

// Operations are our names of the calls that are served, in the order of docs/standin.md.
func (s *Server) Operations() []string { return slices.Clone(s.operations) }

// faults holds what is switched on and how often it still hits.
type faults struct {
	mu     sync.Mutex
	active []*activeFault
}

type activeFault struct {
	Fault
	matched, hit int
	random       *rand.Rand
}

// effect is what the faults do to one request.
type effect struct {
	delay time.Duration
	// skip leaves the request undone, instead replaces its answer, and drop sends
	// none.
	skip        bool
	instead     *answer
	drop        bool
	expireToken bool
	// missing and moved change what a git host answers.
	missing, moved bool
}

// ReadFaults reads a Faults object, in which every field must be known.
func ReadFaults(data []byte) (Faults, error) {
	var f Faults
	err := decodeStrict(bytes.NewReader(data), &f)
	return f, err
}

// SetFaults replaces the faults. It fails, and changes nothing, when one of
// them is not understood. The zero value switches all off.
func (s *Server) SetFaults(f Faults) error {
	active := make([]*activeFault, 0, len(f.Faults))
	for i, fault := range f.Faults {
		if err := fault.check(s.operations); err != nil {
			return fmt.Errorf("set fault %d: %w", i, err)
		}
		active = append(active, &activeFault{Fault: fault, random: rand.New(rand.NewPCG(fault.Seed, fault.Seed))})
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.active = active
	return nil
}

// take asks every fault whether it hits a request for operation.
func (f *faults) take(operation string) effect {
	f.mu.Lock()
	defer f.mu.Unlock()
	var e effect
	decided := false
	for _, fault := range f.active {
		if fault.Kind != FaultLatency && decided || !fault.hits(operation) {
			continue
		}
		e.delay += time.Duration(fault.DelayMS) * time.Millisecond
		if fault.Kind == FaultLatency {
			continue
		}
		decided = true
		e.drop = fault.Kind == FaultLost || fault.Kind == FaultDropped
		e.expireToken = fault.Kind == FaultExpired
		e.missing, e.moved = fault.Kind == FaultNotFound, fault.Kind == FaultMoved
		e.instead = fault.instead()
		e.skip = fault.Kind == FaultDropped || e.instead != nil && fault.Kind != FaultReplaced && !fault.ActFirst
	}
	return e
}

// hits counts a request and reports whether the fault is due.
func (f *activeFault) hits(operation string) bool {
	if len(f.Operations) > 0 && !slices.Contains(f.Operations, operation) {
		return false
	}
	f.matched++
	if f.matched <= f.Skip || f.Next > 0 && f.hit >= f.Next {
		return false
	}
	if f.Share > 0 && f.random.Float64() >= f.Share {
		return false
	}
	f.hit++
	return true
}

// instead is the answer that the fault gives in place of the real one; nil when
// it gives none.
func (f *activeFault) instead() *answer {
	var ans answer
	switch f.Kind {
	case FaultThrottle:
		ans = gatewayError(http.StatusTooManyRequests, "APIGW.0308", "The throttling threshold has been reached")
	case FaultBusy:
		ans = serviceError(http.StatusBadRequest, "CC.00000000", "Network busy. Try again later.")
	case FaultRefused:
		ans = serviceError(http.StatusBadRequest, "SVCSTG.00100400", "parameter invalid")
	case FaultRunning:
		ans = errTaskRunning()
	case FaultAbsent:
		ans = unknownRoute.handle(nil)
	case FaultQueued:
		ans = serviceError(http.StatusBadRequest, "DEVPIPE.00011169", "the number of concurrent runs has reached its limit")
	case FaultReplaced:
		ans = ok([]byte(f.Body)).with("Content-Type", "text/html")
	case FaultStatus:
		ans = brokenGateway(f.Status)
	default:
		return nil
	}
	if f.RetryAfter != nil {
		ans = ans.with("Retry-After", strconv.Itoa(*f.RetryAfter))
	}
	return &ans
}

// brokenGateway is a server error (specs/codearts-check.md 5.3).
func brokenGateway(status int) answer {
	switch status {
	case http.StatusBadGateway:
		page := []byte("<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n")
		return answer{status: status, header: http.Header{"Content-Type": {"text/html"}}, body: page}
	case http.StatusGatewayTimeout:
		return gatewayError(status, "APIGW.0201", "Backend timeout")
	case http.StatusServiceUnavailable:
		return gatewayError(status, "APIGW.0613", "The IAM service is unavailable")
	default:
		return gatewayError(http.StatusInternalServerError, "APIGW.0201", "Unexpected error")
	}
}

// with returns the answer with one more header.
func (a answer) with(name, value string) answer {
	header := a.header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set(name, value)
	a.header = header
	return a
}

// serveFaults is GET /standin/faults: the faults as they were set.
func (s *Server) serveFaults(w http.ResponseWriter, _ *http.Request) {
	s.faults.mu.Lock()
	set := Faults{Faults: make([]Fault, 0, len(s.faults.active))}
	for _, fault := range s.faults.active {
		set.Faults = append(set.Faults, fault.Fault)
	}
	s.faults.mu.Unlock()
	writeHelper(w, set)
}

// serveOperations is GET /standin/operations: what a fault can name.
func (s *Server) serveOperations(w http.ResponseWriter, _ *http.Request) {
	writeHelper(w, map[string]any{"operations": s.operations, "kinds": FaultKinds()})
}

// putFaults is PUT /standin/faults with a Faults object: 204, or 400 with the
// reason as text.
func (s *Server) putFaults(w http.ResponseWriter, r *http.Request) {
	var set Faults
	if !readHelper(w, r, "faults", &set) {
		return
	}
	if err := s.SetFaults(set); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
