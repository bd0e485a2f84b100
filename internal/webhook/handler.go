package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
)

const (
	// LargestBody is the largest Options.MaxBody, in bytes: a form of three times
	// that must not exceed 100 MiB, which is what the store decompresses of one
	// body, or it could be accepted and never be read.
	LargestBody = 32 << 20
	// formGrowth is how many times larger a form is than the JSON in it, at most:
	// percent-encoding triples a byte (specs/githosts.md 1.1).
	formGrowth = 3
	// defaultMaxBody is what GitHub and GitLab send at most.
	defaultMaxBody = 25 << 20
	// defaultMaxInFlight is Options.MaxInFlight's.
	defaultMaxInFlight = 128 << 20
	// acceptTimeout ends an Accept that hangs before GitHub and GitLab give up
	// waiting, after 10 s, so that the refusal is counted and logged here.
	acceptTimeout = 9 * time.Second
)

// Inbox stores the deliveries.
type Inbox interface {
	// Accept makes the delivery durable together with the work that it causes,
	// before it returns. id is the stored delivery's. duplicate says that the same
	// delivery (Connection and Key) was stored before and that its processing has
	// not failed: nothing was stored. After an error the delivery is not
	// acknowledged.
	Accept(ctx context.Context, d event.Delivery) (id string, duplicate bool, err error)
}

// Options are what New needs. Inbox is mandatory.
type Options struct {
	Connections []Connection
	Inbox       Inbox
	// MaxBody is the largest JSON that is read, in bytes; a form may be three times
	// as large. Zero means 25 MiB; at most LargestBody.
	MaxBody int64
	// MaxInFlight bounds the bytes of bodies that are in memory at once, half of it
	// for one connection; beyond it the answer is 503. Zero means 128 MiB; at least
	// six times MaxBody are allowed, so that the largest body always fits.
	MaxInFlight int64
	// Log defaults to none.
	Log *zap.Logger
	// Metrics default to metrics that nobody reads.
	Metrics *Metrics
	// Now defaults to time.Now.
	Now func() time.Time
	// NewID makes the id of a delivery; it defaults to a new UUIDv7.
	NewID func() string
}

// endpoint is a connection and what is known of its kind of host.
type endpoint struct {
	Connection
	host host
}

// Handler is the webhook endpoint: POST /webhooks/{connection}.
type Handler struct {
	endpoints atomic.Pointer[map[string]endpoint]
	inbox     Inbox
	maxBody   int64
	budget    *budget
	log       *zap.Logger
	metrics   *Metrics
	now       func() time.Time
	newID     func() string
}

// New returns a handler, or every complaint about the options, joined: a name
// that is used twice or is not legal, an unknown host, a missing, empty or
// malformed secret, a setting that the host does not have, a limit that is out of
// range, no Inbox.
func New(o Options) (*Handler, error) {
	h := &Handler{
		inbox:   o.Inbox,
		maxBody: o.MaxBody,
		log:     o.Log,
		metrics: o.Metrics,
		now:     o.Now,
		newID:   o.NewID,
	}
	var complaints []error
	if o.Inbox == nil {
		complaints = append(complaints, errors.New("create webhook handler: the inbox is missing"))
	}
	if o.MaxBody < 0 || o.MaxBody > LargestBody {
		complaints = append(complaints, fmt.Errorf("create webhook handler: body limit %d is not between 0 and %d", o.MaxBody, LargestBody))
	}
	complaints = append(complaints, h.Replace(o.Connections))
	if err := errors.Join(complaints...); err != nil {
		return nil, err
	}
	if h.maxBody == 0 {
		h.maxBody = defaultMaxBody
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = defaultMaxInFlight
	}
	// One body of the largest size always fits into a connection's share.
	h.budget = newBudget(max(o.MaxInFlight, 2*formGrowth*h.maxBody))
	if h.log == nil {
		h.log = zap.NewNop()
	}
	if h.metrics == nil {
		h.metrics = NewMetrics(prometheus.NewRegistry())
	}
	if h.now == nil {
		h.now = time.Now
	}
	if h.newID == nil {
		h.newID = func() string { return uuid.Must(uuid.NewV7()).String() }
	}
	for name := range *h.endpoints.Load() {
		h.metrics.prepare(name)
	}
	h.metrics.deliveries.WithLabelValues("", labelOther, string(outcomeUnknownConnection))
	return h, nil
}

// Replace makes the handler accept deliveries by these connections from now on, whose
// secrets may be others than before; a request that has begun keeps the ones that it
// began with. It returns every complaint about them, joined, and then changes nothing.
func (h *Handler) Replace(connections []Connection) error {
	endpoints := make(map[string]endpoint, len(connections))
	var complaints []error
	for _, c := range connections {
		if _, twice := endpoints[c.Name]; twice {
			complaints = append(complaints, fmt.Errorf("check connection %q: the name is used twice", c.Name))
		}
		complaints = append(complaints, c.validate())
		kind, _ := hostOf(c.Host)
		endpoints[c.Name] = endpoint{Connection: c, host: kind}
	}
	err := errors.Join(complaints...)
	if err == nil {
		h.endpoints.Store(&endpoints)
	}
	return err
}

// Register adds the route of the webhook endpoint. Other methods than POST get
// Echo's 405. The http.Server must have a ReadTimeout: the endpoint waits for a body
// as long as the server does.
func (h *Handler) Register(e *echo.Echo) {
	e.POST("/webhooks/:connection", h.receive)
}

func (h *Handler) receive(ctx echo.Context) error {
	start := h.now()
	e, known := (*h.endpoints.Load())[ctx.Param("connection")]
	if !known {
		r := refused(outcomeUnknownConnection, http.StatusNotFound, "unknown_connection",
			"no connection has this name: compare the webhook's URL with the configuration", nil)
		h.record("", labelOther, r, h.now().Sub(start))
		return r.send(ctx)
	}
	r := h.accept(e, ctx.Response(), ctx.Request())
	took := h.now().Sub(start)
	h.metrics.seconds.WithLabelValues(e.Name).Observe(took.Seconds())
	h.record(e.Name, eventLabel(e.host, ctx.Request().Header), r, took)
	return r.send(ctx)
}

// accept reads, verifies and stores one request for a known connection. The cheap
// and the safe steps come first.
func (h *Handler) accept(e endpoint, w http.ResponseWriter, r *http.Request) response {
	reader := &budgetReader{budget: h.budget, connection: e.Name}
	defer reader.release()
	body, err := h.readBody(e, w, r, reader)
	if err != nil {
		return unread(w, err)
	}
	h.metrics.bytes.WithLabelValues(e.Name).Observe(float64(len(body)))

	if err := e.host.verify(e.Connection, r.Header, body, h.now()); err != nil {
		return refused(outcomeUnauthorized, http.StatusUnauthorized, "unauthorized", err.Error(), err)
	}
	if err := checkJSON(e.host, r.Header, body); err != nil {
		return refused(outcomeNotJSON, http.StatusBadRequest, "not_json", err.Error(), err)
	}
	if e.host.isPing(r.Header) {
		return response{outcome: outcomePing, status: http.StatusOK}
	}

	ctx, cancel := context.WithTimeout(r.Context(), acceptTimeout)
	defer cancel()
	id, duplicate, err := h.inbox.Accept(ctx, h.delivery(e, r.Header, body))
	switch {
	case err != nil:
		return refused(outcomeUnavailable, http.StatusServiceUnavailable, "unavailable",
			"the delivery could not be stored and is not accepted: send it again later", err)
	case duplicate:
		return response{outcome: outcomeDuplicate, status: http.StatusOK, delivery: id}
	}
	return response{outcome: outcomeAccepted, status: http.StatusAccepted, delivery: id}
}

// unread makes the response to a request whose body could not be read.
func unread(w http.ResponseWriter, err error) response {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return refused(outcomeTooLarge, http.StatusRequestEntityTooLarge, "too_large",
			fmt.Sprintf("the body is larger than %d bytes: send less, or raise http.max_body", tooLarge.Limit), err)
	case errors.Is(err, errOverBudget):
		// The rest of the body is not waited for.
		w.Header().Set("Connection", "close")
		return refused(outcomeUnavailable, http.StatusServiceUnavailable, "overloaded",
			"too many deliveries arrive at once and this one is not accepted: send it again later", err)
	}
	return refused(outcomeAborted, http.StatusBadRequest, "aborted", "the body ended early: send it again", err)
}

// readBody reads the whole body, and never more of it than the limit. A body
// that is announced as too large is not read at all; memory grows with what has
// arrived, not with what was announced.
func (h *Handler) readBody(e endpoint, w http.ResponseWriter, r *http.Request, reader *budgetReader) ([]byte, error) {
	limit := h.maxBody
	if e.host.forms && isForm(r.Header) {
		limit *= formGrowth
	}
	if r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	var body bytes.Buffer
	if r.ContentLength > 0 {
		body.Grow(int(min(r.ContentLength, 64<<10)) + bytes.MinRead)
	}
	reader.r = http.MaxBytesReader(w, r.Body, limit)
	if _, err := body.ReadFrom(reader); err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	return body.Bytes(), nil
}

// checkJSON is the only check of a body before it is stored.
func checkJSON(h host, header http.Header, body []byte) error {
	payload, err := h.payload(header, body)
	if err != nil {
		return err
	}
	if !json.Valid(payload) {
		return errors.New("the body is not JSON: set the webhook's content type to application/json")
	}
	return nil
}

// delivery is the request as it is stored, without secrets.
func (h *Handler) delivery(e endpoint, header http.Header, body []byte) event.Delivery {
	d := event.Delivery{
		ID:         h.newID(),
		Connection: e.Name,
		Host:       e.Host,
		HostID:     deliveryID(e.host, e.Connection, header),
		Event:      header.Get(e.host.eventHeader),
		ReceivedAt: h.now(),
		Header:     keptHeaders(e.host, header),
		Body:       e.host.withoutSecrets(e.Connection, body),
	}
	d.Key = d.HostID
	if d.Key == "" {
		d.Key = e.host.key(d.Event, d.Body)
	}
	return d
}
