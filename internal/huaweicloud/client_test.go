package huaweicloud

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestNewRefusesWrongOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"no service":     {Endpoint: "https://h"},
		"no endpoint":    {Service: "iam"},
		"no host":        {Service: "iam", Endpoint: "https:///path"},
		"other scheme":   {Service: "iam", Endpoint: "ftp://h"},
		"user":           {Service: "iam", Endpoint: "https://u:p@h"},
		"query":          {Service: "iam", Endpoint: "https://h?x=1"},
		"not a URL":      {Service: "iam", Endpoint: "https://h\x7f"},
		"only host name": {Service: "iam", Endpoint: "codearts-check.cn-north-4.myhuaweicloud.com"},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: a client was made", name)
		}
	}
}

// What a request looks like on the wire: base path kept, query with %20, JSON
// without HTML escapes.
func TestRequestOnTheWire(t *testing.T) {
	var got *http.Request
	var body []byte
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		_, _ = w.Write([]byte(`{"exec_id":"e1","unknown":[1]}`))
	})
	client := newClient(t, server, Options{Endpoint: "/base/", Language: "en-us"})
	var answer struct {
		ExecID string `json:"exec_id"`
	}
	err := client.Do(t.Context(), Call{
		Operation: "run task", Method: "POST", Path: Path("/v2/tasks/%s/run", "a/b c"),
		Query: url.Values{"search": {"x y/z"}}, Body: map[string]string{"title": "T<&>中"},
	}, &answer)
	if err != nil || answer.ExecID != "e1" {
		t.Fatalf("answer %+v, error %v", answer, err)
	}
	if got.RequestURI != "/base/v2/tasks/a%2Fb%20c/run?search=x%20y%2Fz" {
		t.Errorf("request URI %s", got.RequestURI)
	}
	if string(body) != `{"title":"T<&>中"}` || got.Header.Get("Content-Type") != "application/json;charset=UTF-8" || got.Header.Get("X-Language") != "en-us" {
		t.Errorf("body %s, header %v", body, got.Header)
	}
}

func TestPathsThatWouldBecomeOtherCallsAreRefused(t *testing.T) {
	client, err := New(Options{Service: "codecheck", Endpoint: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "v2/tasks", Path("/v2/tasks/%s/run", ".."), Path("/v2/tasks/%s/run", ""),
		Path("/v2/tasks/%s/run", "../x"), "/v2/%zz", "//elsewhere.invalid/x"} {
		err := client.Do(t.Context(), Call{Operation: "run task", Method: "POST", Path: path}, nil)
		var e *Error
		if !errors.As(err, &e) || e.Retryable() || !e.NotSent() {
			t.Errorf("path %q: %v, want a refusal before anything is sent", path, err)
		}
	}
}

// script answers each request with the next handler; the last one stays.
func script(t *testing.T, count *atomic.Int64, handlers ...http.HandlerFunc) *httptest.Server {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := int(count.Add(1)) - 1
		handlers[min(n, len(handlers)-1)](w, r)
	})
}

func status(code int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

// lose acts and then drops the connection.
func lose(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		conn.Close()
	}
}

func TestRetryRules(t *testing.T) {
	ok := status(200, `{}`)
	busy := status(200, `{"error_code":"CC.00050015","error_msg":"task is running"}`)
	tests := map[string]struct {
		safe     bool
		handlers []http.HandlerFunc
		requests int64
		waits    int
		fails    bool
		notSent  bool
	}{
		"safe call after 502":                  {safe: true, handlers: []http.HandlerFunc{status(502, ""), ok}, requests: 2, waits: 1},
		"safe call after a lost answer":        {safe: true, handlers: []http.HandlerFunc{lose, ok}, requests: 2, waits: 1},
		"safe call after network busy 400":     {safe: true, handlers: []http.HandlerFunc{status(400, `{"error_code":"CC.00000000"}`), ok}, requests: 2, waits: 1},
		"safe call gives up after 3 repeats":   {safe: true, handlers: []http.HandlerFunc{status(503, "")}, requests: 4, waits: 3, fails: true},
		"safe call is not repeated after 400":  {safe: true, handlers: []http.HandlerFunc{status(400, `{}`)}, requests: 1, fails: true, notSent: true},
		"safe call is not repeated after 401":  {safe: true, handlers: []http.HandlerFunc{status(401, `{}`)}, requests: 1, fails: true, notSent: true},
		"safe call while the task is running":  {safe: true, handlers: []http.HandlerFunc{busy}, requests: 1, fails: true, notSent: true},
		"safe call honours a short wait":       {safe: true, handlers: []http.HandlerFunc{status(429, "", "Retry-After", "4"), ok}, requests: 2, waits: 1},
		"safe call hands a long wait back":     {safe: true, handlers: []http.HandlerFunc{status(429, "", "Retry-After", "60")}, requests: 1, fails: true, notSent: true},
		"unsafe call after 502":                {handlers: []http.HandlerFunc{status(502, "")}, requests: 1, fails: true},
		"unsafe call after a lost answer":      {handlers: []http.HandlerFunc{lose}, requests: 1, fails: true},
		"unsafe call after 429":                {handlers: []http.HandlerFunc{status(429, "")}, requests: 1, fails: true, notSent: true},
		"safe call with an undecodable answer": {safe: true, handlers: []http.HandlerFunc{status(200, "<html>")}, requests: 1, fails: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			at := newClock()
			paused := waits{clock: at}
			client := newClient(t, script(t, &requests, test.handlers...), Options{Wait: paused.wait, Now: at.now})
			var out struct{}
			err := client.Do(t.Context(), Call{Operation: "list tasks", Method: "POST", Path: "/x", Body: struct{}{}, Safe: test.safe}, &out)
			if requests.Load() != test.requests || len(paused.all) != test.waits || (err != nil) != test.fails {
				t.Fatalf("%d requests, waits %v, error %v", requests.Load(), paused.all, err)
			}
			for _, d := range paused.all {
				if d <= 0 || d > 10*time.Second {
					t.Errorf("wait of %s", d)
				}
			}
			var e *Error
			if errors.As(err, &e) && e.NotSent() != test.notSent {
				t.Errorf("NotSent is %v: %v", e.NotSent(), e)
			}
		})
	}
}

func TestRetryAfterIsWaitedFor(t *testing.T) {
	var requests atomic.Int64
	at := newClock()
	paused := waits{clock: at}
	client := newClient(t, script(t, &requests, status(429, "", "Retry-After", "4"), status(200, "")), Options{Wait: paused.wait, Now: at.now})
	if err := client.Do(t.Context(), Call{Operation: "list tasks", Method: "GET", Path: "/x", Safe: true}, nil); err != nil {
		t.Fatal(err)
	}
	if len(paused.all) != 1 || paused.all[0] != 4*time.Second {
		t.Errorf("waits %v, want 4s", paused.all)
	}
}

// TestRetryIsLogged: the warning says for which record the call is made.
func TestRetryIsLogged(t *testing.T) {
	var requests atomic.Int64
	var paused waits
	core, logs := observer.New(zap.WarnLevel)
	type key struct{}
	client := newClient(t, script(t, &requests, status(502, ""), status(200, "")), Options{Wait: paused.wait, Log: zap.New(core),
		LogFields: func(ctx context.Context) []zap.Field { return []zap.Field{zap.Any("run_id", ctx.Value(key{}))} }})
	ctx := context.WithValue(t.Context(), key{}, "a-run")
	if err := client.Do(ctx, Call{Operation: "list tasks", Method: "GET", Path: "/x", Safe: true}, nil); err != nil {
		t.Fatal(err)
	}
	if all := logs.All(); len(all) != 1 || all[0].ContextMap()["run_id"] != "a-run" || all[0].ContextMap()["operation"] != "list tasks" {
		t.Errorf("logged %+v", all)
	}
}

func TestDialFailureIsNotSent(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	for name, given := range map[string]*http.Client{
		"own client": nil,
		"transport that does not tell of connections": {Transport: untraced{http.DefaultTransport}},
	} {
		client, err := New(Options{Service: "codecheck", Endpoint: "http://" + listener.Addr().String(), HTTP: given})
		if err != nil {
			t.Fatal(err)
		}
		err = client.Do(t.Context(), Call{Operation: "run task", Method: "POST", Path: "/x"}, nil)
		var e *Error
		if !errors.As(err, &e) || !e.NotSent() || !e.Retryable() {
			t.Errorf("%s: %v, want a retryable error of a call that was not sent", name, err)
		}
	}
}

// A transport that hides the trace must not make a lost answer look as if
// nothing had been sent.
func TestLostAnswerBehindAnotherTransport(t *testing.T) {
	server := serve(t, lose)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := newClient(t, server, Options{HTTP: &http.Client{Transport: untraced{transport}}})
	err := client.Do(t.Context(), Call{Operation: "run task", Method: "POST", Path: "/x"}, nil)
	var e *Error
	if !errors.As(err, &e) || e.NotSent() || !e.Retryable() {
		t.Errorf("%v, want a retryable error of a call that may have been acted upon", err)
	}
}

type untraced struct{ http.RoundTripper }

func (u untraced) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(r.Context(), cancel)
	defer stop()
	defer cancel()
	return u.RoundTripper.RoundTrip(r.Clone(ctx))
}

func TestTimeoutAndCancel(t *testing.T) {
	entered, release := make(chan struct{}, 8), make(chan struct{})
	server := serve(t, func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-release
	})
	t.Cleanup(func() { close(release) })

	slow := newClient(t, server, Options{Timeout: 20 * time.Millisecond})
	err := slow.Do(t.Context(), Call{Operation: "run task", Method: "POST", Path: "/x"}, nil)
	var e *Error
	if !errors.As(err, &e) || e.NotSent() || !e.Retryable() || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("timeout: %v, want a retryable lost answer", err)
	}
	<-entered

	var paused waits
	client := newClient(t, server, Options{Limit: Limit{AtOnce: 1}, Wait: paused.wait})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- client.Do(ctx, Call{Operation: "list tasks", Method: "GET", Path: "/x", Safe: true}, nil)
	}()
	<-entered
	// The only slot is taken: a second call waits, and leaves unsent.
	ended, end := context.WithCancel(t.Context())
	end()
	err = client.Do(ended, Call{Operation: "run task", Method: "POST", Path: "/x"}, nil)
	if !errors.As(err, &e) || !e.NotSent() {
		t.Errorf("call that never got a slot: %v", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || len(paused.all) != 0 {
		t.Errorf("cancelled call: %v after waits %v, want no repeat", err, paused.all)
	}
}

func TestAnswerIsBounded(t *testing.T) {
	server := serve(t, status(200, `"`+strings.Repeat("x", 100)+`"`))
	client := newClient(t, server, Options{MaxAnswer: 50})
	var out string
	err := client.Do(t.Context(), Call{Operation: "list tasks", Method: "GET", Path: "/x"}, &out)
	var e *Error
	if !errors.As(err, &e) || !e.Undecodable() || e.Retryable() {
		t.Errorf("%v, want an undecodable answer", err)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	followed := false
	other := serve(t, func(http.ResponseWriter, *http.Request) { followed = true })
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	client := newClient(t, server, Options{HTTP: &http.Client{}})
	err := client.Do(t.Context(), Call{Operation: "list tasks", Method: "GET", Path: "/x", Safe: true}, nil)
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if err == nil || followed {
		t.Errorf("error %v, followed %v", err, followed)
	}
}

func TestMetricsByOperationAndCode(t *testing.T) {
	registry := prometheus.NewRegistry()
	var requests atomic.Int64
	server := script(t, &requests, status(502, ""), status(200, `{"error_code":"CC.00050000"}`), lose, status(200, `{}`))
	var paused waits
	client := newClient(t, server, Options{Metrics: NewMetrics(registry), Wait: paused.wait})
	for range 3 {
		_ = client.Do(t.Context(), Call{Operation: "list tasks", Method: "POST", Path: "/x", Safe: true}, nil)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += " " + label.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{
		"gatewright_remote_calls_total 200 list_tasks codecheck":             2,
		"gatewright_remote_calls_total 502 list_tasks codecheck":             1,
		"gatewright_remote_calls_total error_in_answer list_tasks codecheck": 1,
		"gatewright_remote_calls_total no_answer list_tasks codecheck":       1,
		"gatewright_remote_call_seconds list_tasks codecheck":                5,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestConcurrentCallsAreBounded(t *testing.T) {
	var inFlight, most atomic.Int64
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n := inFlight.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		_, _ = w.Write([]byte(`{}`))
		inFlight.Add(-1)
	})
	client := newClient(t, server, Options{Limit: Limit{AtOnce: 2}})
	var group sync.WaitGroup
	for range 30 {
		group.Go(func() {
			if err := client.Do(t.Context(), Call{Operation: "list tasks", Method: "GET", Path: "/x"}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if most.Load() > 3 { // a handler may still be leaving when the next enters
		t.Errorf("%d requests in flight, want at most 2", most.Load())
	}
}
