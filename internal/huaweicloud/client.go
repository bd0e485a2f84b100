// Package huaweicloud is what the clients of Huawei Cloud's services share:
// signing and IAM tokens, one bounded HTTP exchange, the error shapes of all
// origins, and retries where a repeat is known to be safe.
package huaweicloud

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Authenticator authorizes requests. Implementations are safe for concurrent use.
type Authenticator interface {
	// Authorize adds a token to req, or signs it over body (the exact bytes that
	// will be sent; nil for none). It is called once for every request, as the
	// last thing before it is sent.
	Authorize(ctx context.Context, req *http.Request, body []byte) error
	// Expired is told that the service refused, with these words, the credentials
	// that used carried. It drops them, and reports whether a repeat with new ones
	// may help: true for tokens, false for keys.
	Expired(ctx context.Context, used *http.Request, refusal error) bool
}

// Options configures a Client. Service and Endpoint are mandatory.
type Options struct {
	// Service names the service in metrics: codecheck, servicestage, pipeline or iam.
	Service string
	// Endpoint is the base URL, http or https; a path in it is kept in front of
	// every call's path. No other host is ever called.
	Endpoint string
	// Auth authorizes each request; nil sends requests as they are, which only
	// IAM's token call can use.
	Auth Authenticator
	// HTTP carries the requests; its redirect rule is replaced (none is
	// followed). Default: a client of our own whose idle connections are closed
	// after 30 seconds, so that few requests meet a connection that the other
	// side is just closing.
	HTTP *http.Client
	// Timeout bounds each exchange, from the dial to the last byte. Default 30
	// seconds.
	Timeout time.Duration
	// Limit bounds the requests; others wait, polls behind all others.
	Limit Limit
	// Replicas tells of the other replicas. Default: there are none.
	Replicas *Replicas
	// Retries is how often a safe call is repeated after a transient failure.
	// Default 3; negative: never.
	Retries int
	// MaxWait is the longest wait between two tries inside one call. A service
	// that asks for more (Retry-After) gets its error handed to the caller, who
	// can wait without keeping a slot. Default 10 seconds.
	MaxWait time.Duration
	// MaxAnswer bounds an answer's body in bytes. Default 32 MiB.
	MaxAnswer int64
	// ContentType is that of a request. Default: application/json;charset=UTF-8.
	ContentType string
	// Language is sent as X-Language (zh-cn or en-us) and decides the language
	// of the service's messages (specs/codearts-check.md 1); empty sends none.
	Language string
	// Log gets a warning for each retry, with what LogFields returns for the call's
	// context. Default: none.
	Log       *zap.Logger
	LogFields func(context.Context) []zap.Field
	// Metrics counts the exchanges. Default: nothing is counted.
	Metrics *Metrics
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Wait waits for d or until ctx ends, whose error it then returns. Default:
	// a timer.
	Wait func(ctx context.Context, d time.Duration) error
}

// Client speaks JSON to one service at one endpoint. It is safe for concurrent
// use.
type Client struct {
	options Options
	base    *url.URL
	http    *http.Client
	limiter *limiter
	// pauseKey names the endpoint to the other replicas.
	pauseKey string
	// traced says that the transport tells when a request gets its connection.
	traced bool
}

// New returns a client, or an error that names the first wrong option.
func New(o Options) (*Client, error) {
	if o.Service == "" {
		return nil, errors.New("create client: no service name")
	}
	base, err := parseEndpoint(o.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("create %s client: %w", o.Service, err)
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Limit.AtOnce <= 0 {
		o.Limit.AtOnce = 16
	}
	if o.ContentType == "" {
		o.ContentType = "application/json;charset=UTF-8"
	}
	if o.Retries == 0 {
		o.Retries = 3
	}
	if o.MaxWait <= 0 {
		o.MaxWait = 10 * time.Second
	}
	if o.MaxAnswer <= 0 {
		o.MaxAnswer = 32 << 20
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.LogFields == nil {
		o.LogFields = func(context.Context) []zap.Field { return nil }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Wait == nil {
		o.Wait = wait
	}
	if o.Replicas == nil {
		o.Replicas = NewReplicas(nil, o.Log, o.Now)
	}
	c := &Client{options: o, base: base, http: withoutRedirects(o.HTTP), limiter: newLimiter(o.Limit, o.Replicas.live),
		pauseKey: o.Service + " " + base.String()}
	_, c.traced = c.http.Transport.(*http.Transport)
	return c, nil
}

func parseEndpoint(endpoint string) (*url.URL, error) {
	base, err := url.Parse(endpoint)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, errors.New("endpoint is not an http or https URL with a host")
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, errors.New("endpoint has a user, a query or a fragment: only scheme, host, port and path are wanted")
	}
	return base, nil
}

func withoutRedirects(given *http.Client) *http.Client {
	c := http.Client{Transport: http.DefaultTransport}
	if given != nil {
		c = *given
		if c.Transport == nil {
			c.Transport = http.DefaultTransport
		}
	} else if t, ok := http.DefaultTransport.(*http.Transport); ok {
		t = t.Clone()
		t.IdleConnTimeout = 30 * time.Second
		c.Transport = t
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// CloseIdle closes the connections that carry nothing.
func (c *Client) CloseIdle() { c.http.CloseIdleConnections() }

// Call is one request in the words of its API page.
type Call struct {
	// Operation is our name for the call, two or three lower-case words: it
	// starts the error text ("run task: …") and, with underscores, is the
	// label in metrics (run_task).
	Operation string
	Method    string
	// Path is the escaped path below the endpoint, with its leading slash; see
	// Path.
	Path  string
	Query url.Values
	// Body is sent as JSON; nil sends no body.
	Body any
	// Safe says that the call may be sent again after a lost answer, because it
	// only reads or because a second one changes nothing.
	Safe bool
	// Poll says that the call only asks whether something has ended. Where the limit makes
	// calls wait, polls wait until no other call does.
	Poll bool

	// Secrets in the body are never to be seen in an error text, as the credentials in the
	// request's headers are not.
	Secrets []string
}

// Path puts ids into the %s of format, each escaped as one path segment.
func Path(format string, ids ...string) string {
	escaped := make([]any, len(ids))
	for i, id := range ids {
		escaped[i] = url.PathEscape(id)
	}
	return fmt.Sprintf(format, escaped...)
}

// Do sends the call and decodes the JSON answer into out; nil out ignores the
// answer, and an empty body leaves out as it is. An error inside a 2xx answer
// is an error.
//
// A safe call is repeated after a transient failure. Any call is repeated once,
// with new credentials, after an answer that says that a token has expired.
//
// Every failure is an *Error.
func (c *Client) Do(ctx context.Context, call Call, out any) error {
	_, body, err := c.send(ctx, call)
	if err != nil {
		return err
	}
	if out == nil || len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return &Error{Operation: call.Operation, Status: http.StatusOK, kind: kindUndecodable, Message: undecodable(body, err), cause: err}
	}
	return nil
}

// send repeats exchanges until one is answered well or no repeat is left.
func (c *Client) send(ctx context.Context, call Call) (http.Header, []byte, error) {
	target, err := c.target(call)
	if err != nil {
		return nil, nil, &Error{Operation: call.Operation, kind: kindMalformed, cause: err}
	}
	body, err := marshal(call.Body)
	if err != nil {
		return nil, nil, &Error{Operation: call.Operation, kind: kindMalformed, cause: fmt.Errorf("encode body: %w", err)}
	}
	renewed := false
	for try := 0; ; {
		header, answer, again, failure := c.attempt(ctx, call, target, body, renewed)
		if again {
			renewed = true
			continue
		}
		if failure == nil {
			return header, answer, nil
		}
		if !call.Safe || !failure.transient() || try >= c.options.Retries || ctx.Err() != nil {
			return nil, nil, failure
		}
		try++
		pause := backoff(try, c.options.MaxWait)
		if asked := failure.RetryAfter(); asked > c.options.MaxWait {
			return nil, nil, failure
		} else if asked > pause {
			pause = asked
		}
		c.options.Log.Warn("remote call retried", append(slices.Clone(c.options.LogFields(ctx)), zap.String("operation", call.Operation),
			zap.Int("attempt", try+1), zap.Duration("duration", pause), zap.Error(failure))...)
		if c.options.Wait(ctx, pause) != nil {
			return nil, nil, failure
		}
	}
}

// attempt exchanges once, and tells the credentials what came of it before a request that waits for that is sent with
// them. again: they were refused and are new now; they are not made new twice.
func (c *Client) attempt(ctx context.Context, call Call, target *url.URL, body []byte, renewed bool) (header http.Header, answer []byte, again bool, failure *Error) {
	auth, observe := c.authenticator()
	if e, ok := auth.(interface {
		enter(ctx context.Context) (leave func(), err error)
	}); ok {
		leave, err := e.enter(ctx)
		if err != nil {
			return nil, nil, false, &Error{Operation: call.Operation, kind: kindNotSent, cause: err}
		}
		defer leave()
	}
	req, header, answer, failure := c.exchange(ctx, auth, call, target, body)
	if failure != nil && failure.kind == kindCredentialsRefused && auth != nil {
		if auth.Expired(ctx, req, failure) && !renewed {
			return nil, nil, true, failure
		}
		failure.retryAfter = max(failure.retryAfter, askAgain)
	}
	observe(auth, failure)
	if w, ok := auth.(interface{ worked(context.Context) }); ok && failure.accepted() {
		w.worked(ctx)
	}
	return header, answer, false, failure
}

// authenticator returns what authorizes one exchange, and what is told how it ended.
func (c *Client) authenticator() (Authenticator, func(Authenticator, *Error)) {
	if credentials, ok := c.options.Auth.(*Credentials); ok {
		return credentials.inUse(), credentials.observe
	}
	return c.options.Auth, func(Authenticator, *Error) {}
}

// target is the call's URL below the endpoint.
func (c *Client) target(call Call) (*url.URL, error) {
	decoded, err := url.PathUnescape(call.Path)
	if err != nil || !strings.HasPrefix(call.Path, "/") {
		return nil, fmt.Errorf("path %q is not an escaped path that starts with a slash", call.Path)
	}
	// An id such as ".." or "" would turn the call into another one.
	if path.Clean(decoded) != decoded || path.Clean(call.Path) != call.Path {
		return nil, fmt.Errorf("path %q has an empty or dotted segment", call.Path)
	}
	u := *c.base
	u.Path = strings.TrimSuffix(c.base.Path, "/") + decoded
	u.RawPath = strings.TrimSuffix(c.base.EscapedPath(), "/") + call.Path
	// Spaces go as %20, which is also the form that the signature wants.
	u.RawQuery = strings.ReplaceAll(call.Query.Encode(), "+", "%20")
	return &u, nil
}

// marshal encodes body without HTML escapes and without the final newline.
func marshal(body any) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// exchange sends one request and reads its whole answer. The returned request
// is the one that was sent, with its credentials.
func (c *Client) exchange(ctx context.Context, auth Authenticator, call Call, target *url.URL, body []byte) (*http.Request, http.Header, []byte, *Error) {
	if err := c.limiter.acquire(ctx, call.Poll); err != nil {
		return nil, nil, nil, &Error{Operation: call.Operation, kind: kindNotSent, cause: err}
	}
	defer c.limiter.release()
	if failure := c.paused(ctx, call.Operation); failure != nil {
		return nil, nil, nil, failure
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()

	var connected atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	req, err := http.NewRequestWithContext(traced, call.Method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, nil, nil, &Error{Operation: call.Operation, kind: kindMalformed, cause: err}
	}
	req.Header.Set("Content-Type", c.options.ContentType)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "gatewright")
	if c.options.Language != "" {
		req.Header.Set("X-Language", c.options.Language)
	}
	if auth != nil {
		if err := auth.Authorize(ctx, req, body); err != nil {
			return req, nil, nil, notAuthorized(call.Operation, err)
		}
	}

	started := c.options.Now()
	header, answer, failure := c.roundTrip(call, req, &connected)
	c.options.Metrics.observe(c.options.Service, call.Operation, failure, c.options.Now().Sub(started))
	c.noteThrottled(ctx, failure)
	return req, header, answer, failure
}

// paused returns an error while the endpoint asks for a pause.
func (c *Client) paused(ctx context.Context, operation string) *Error {
	pause, _ := c.options.Replicas.find(ctx, c.pauseKey)
	left := pause.Until.Sub(c.options.Now())
	if left <= 0 {
		return nil
	}
	return &Error{Operation: operation, kind: kindNotSent, retryAfter: min(left, longestRetryAfter),
		Message: "nothing is sent for " + left.Round(time.Millisecond).String() + ", because the service asked for a pause: " + pause.Reason}
}

// noteThrottled begins a pause of the endpoint when the answer asks for one. Where it does
// not say for how long, the pause is twice as long as one that was over a short while ago.
func (c *Client) noteThrottled(ctx context.Context, failure *Error) {
	if failure == nil || !failure.throttled() {
		return
	}
	now := c.options.Now()
	if before, known := c.options.Replicas.cached(c.pauseKey); failure.retryAfter == 0 && known && now.Sub(before.Until) < throttledAgain {
		// It may be in force, begun by another of the calls in flight.
		failure.retryAfter = before.Until.Sub(now)
		if failure.retryAfter > 0 {
			return
		}
		failure.retryAfter = min(2*before.Until.Sub(before.Since), longestPause)
	}
	failure.retryAfter = max(failure.retryAfter, leastPause)
	c.options.Replicas.pause(ctx, Pause{Key: c.pauseKey, Reason: failure.Error(), Since: now, Until: now.Add(failure.retryAfter)})
}

// dialFailed reports that there never was a connection, whatever carried the
// request.
func dialFailed(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func (c *Client) roundTrip(call Call, req *http.Request, connected *atomic.Bool) (http.Header, []byte, *Error) {
	resp, err := c.http.Do(req)
	if err != nil {
		kind := kindNoAnswer
		if c.traced && !connected.Load() || dialFailed(err) {
			kind = kindNotSent
		}
		// url.Error's text holds the URL with its query; its cause does not.
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err
		}
		return nil, nil, &Error{Operation: call.Operation, kind: kind, cause: err}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, c.options.MaxAnswer+1))
	if err != nil {
		return nil, nil, &Error{Operation: call.Operation, Status: resp.StatusCode, kind: kindNoAnswer, cause: err}
	}
	if int64(len(answer)) > c.options.MaxAnswer {
		return nil, nil, &Error{Operation: call.Operation, Status: resp.StatusCode, kind: kindUndecodable,
			Message: fmt.Sprintf("answer is larger than %d bytes", c.options.MaxAnswer)}
	}
	if failure := readError(resp.StatusCode, resp.Header, answer, scrubber(req, call.Secrets)); failure != nil {
		failure.Operation = call.Operation
		now := c.options.Now()
		failure.retryAfter = retryAfter(resp.Header, now)
		if failure.kind == kindCredentialsRefused && req.Header.Get("Authorization") != "" {
			failure.Message += clockAdvice(resp.Header, now)
		}
		return nil, nil, failure
	}
	return resp.Header, answer, nil
}
