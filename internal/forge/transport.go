package forge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// maxAnswer bounds an answer in bytes. The largest is a merge request with its
	// description, which GitLab lets grow to a million characters.
	maxAnswer = 4 << 20
	// maxConcurrent bounds the requests in flight on one connection; others wait. It bounds
	// the memory of their answers, and hosts dislike more (specs/githosts.md 1.5).
	maxConcurrent = 4
	// maxRedirects is enough for a repository that was renamed.
	maxRedirects = 3
)

// transport carries the requests of one connection, and holds every bound: a request goes
// below the API's address and nowhere else, an answer has a size, what is not a success
// becomes an *Error, and nothing is sent while the host wants us to wait. It is below the hosts'
// libraries, so that none of them decides that.
type transport struct {
	*http.Transport
	base       *url.URL
	connection string
	slots      chan struct{}
	metrics    *Metrics
	now        func() time.Time

	mu    sync.Mutex
	limit limit
	// refusal is how the host refused our token when it was asked last; empty when it took it.
	refusal string
}

// limit is what a host said of its limit of requests.
type limit struct {
	// pause is when requests may be sent again.
	pause time.Time
	// remaining is how many requests the host takes until reset, when known.
	remaining int
	reset     time.Time
	known     bool
	// most is how many it takes between two resets; 0 when not known.
	most int
}

func newTransport(c Connection, base *url.URL, o Options) *transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12}
	t.IdleConnTimeout = 30 * time.Second
	t.MaxResponseHeaderBytes = 64 << 10
	if c.Proxy != nil {
		t.Proxy = http.ProxyURL(c.Proxy)
	}
	return &transport{Transport: t, base: base, connection: c.Name, slots: make(chan struct{}, maxConcurrent), metrics: o.Metrics, now: o.Now}
}

// client follows redirects below the API's address, the only ones that RoundTrip hands it: a
// host answers the old name of a renamed repository with one.
func (t *transport) client() *http.Client {
	return &http.Client{Transport: t, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return &Error{message: fmt.Sprintf("the host redirects more than %d times", maxRedirects)}
		}
		return nil
	}}
}

// below reports whether u is below the API's address.
func (t *transport) below(u *url.URL) bool {
	return u.Scheme == t.base.Scheme && u.Host == t.base.Host && u.User == nil && strings.HasPrefix(u.EscapedPath(), strings.TrimRight(t.base.EscapedPath(), "/")+"/")
}

// RoundTrip sends one request. The error is an *Error, or that of a request which was not
// sent.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !t.below(req.URL) {
		return nil, &Error{message: "not sent: the address is not below the connection's api_url"}
	}
	if wait := t.told().pause.Sub(t.now()); wait > 0 {
		return nil, &Error{message: "not sent: the host asked to wait", retryable: true, retryAfter: wait}
	}
	select {
	case t.slots <- struct{}{}:
	case <-req.Context().Done():
		return nil, &Error{message: "not sent", cause: req.Context().Err(), retryable: true}
	}
	started := t.now()
	resp, err := t.Transport.RoundTrip(req)
	if err != nil {
		<-t.slots
		t.metrics.observe(t.connection, operationIn(req.Context()).name, "no_answer", t.now().Sub(started))
		return nil, &Error{message: "no answer", cause: err, retryable: true}
	}
	t.metrics.observe(t.connection, operationIn(req.Context()).name, fmt.Sprint(resp.StatusCode), t.now().Sub(started))
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxAnswer, free: func() { <-t.slots }}
	t.note(resp)
	if t.follows(resp) {
		return resp, nil
	}
	refusal := errorOf(resp, operationIn(req.Context()).right, t.now())
	t.noteToken(resp.StatusCode, refusal)
	if refusal != nil {
		if refusal.retryAfter > 0 {
			t.wait(refusal.retryAfter)
		}
		return nil, errors.Join(refusal, resp.Body.Close())
	}
	return resp, nil
}

func (t *transport) told() limit {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limit
}

// noteToken remembers whether the host takes our token.
func (t *transport) noteToken(status int, refusal *Error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case status == http.StatusUnauthorized:
		t.refusal = refusal.Error()
	case status < http.StatusMultipleChoices:
		t.refusal = ""
	}
}

// note remembers what an answer tells of the host's limit.
func (t *transport) note(resp *http.Response) {
	if most, told := limitHeader(resp.Header, "Limit"); told {
		t.mu.Lock()
		t.limit.most = int(max(most, 0))
		t.mu.Unlock()
	}
	remaining, left := limitHeader(resp.Header, "Remaining")
	reset, until := limitHeader(resp.Header, "Reset")
	if !left || !until {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit.remaining, t.limit.reset, t.limit.known = int(max(remaining, 0)), time.Unix(reset, 0), true
}

// wait lets nothing be sent for a while.
func (t *transport) wait(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if until := t.now().Add(d); until.After(t.limit.pause) {
		t.limit.pause = until
	}
}

// follows reports whether the answer leads the client to an address that it may go to. A write is
// repeated there only where the client would not turn it into a read.
func (t *transport) follows(resp *http.Response) bool {
	switch status := resp.StatusCode; {
	case status < 300 || status >= 400:
		return false
	case resp.Request.Method != http.MethodGet && status != http.StatusTemporaryRedirect && status != http.StatusPermanentRedirect:
		return false
	}
	to, err := resp.Location()
	return err == nil && t.below(to)
}

// boundedBody is a body that is too large after left bytes, and frees the place of its
// request when it is closed.
type boundedBody struct {
	io.ReadCloser
	left int64
	free func()
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, &Error{message: fmt.Sprintf("the host's answer is larger than %d bytes", maxAnswer), retryable: true}
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &Error{message: "the host's answer was cut off", cause: err, retryable: true}
	}
	return n, err
}

func (b *boundedBody) Close() error {
	if b.free != nil {
		b.free()
		b.free = nil
	}
	return b.ReadCloser.Close()
}

// operation is what requests are for.
type operation struct {
	// name is that of errors and, with underscores, of metrics.
	name string
	// right is what it takes, as what to give the connection: "a token that …".
	right string
}

const rightToRead = "a valid one that may read this repository"

type operationKey struct{}

// withOperation tells the transport what its requests are for.
func withOperation(ctx context.Context, o operation) context.Context {
	return context.WithValue(ctx, operationKey{}, o)
}

func operationIn(ctx context.Context) operation {
	o, _ := ctx.Value(operationKey{}).(operation)
	return o
}
