package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
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
	defaultMaxInFlight = 96 << 20
	// defaultBodyTimeout is Options.BodyTimeout's: no host waits longer.
	defaultBodyTimeout = 30 * time.Second
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
	// MaxInFlight bounds the bytes of bodies that are in memory at once: as much for
	// those that are not verified yet, of which no client address can have all, as for
	// those that are, of which no connection can have all. Beyond it the answer is 503.
	// Zero means 96 MiB; it is always enough for one body of the largest size.
	MaxInFlight int64
	// BodyTimeout bounds the time in which a body arrives; one of which nothing more
	// arrives is given up after 5 s. Zero means 30 s.
	BodyTimeout time.Duration
	// Clients tells who sent a request. Zero means whoever connects.
	Clients Clients
	// Missed is called when a delivery was refused that may have been authentic, because there was
	// no room for it or it could not be stored. Default: nothing is called.
	Missed func()
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
	// strangers is the sampled log of what is refused.
	strangers *zap.Logger
	// secrets are those of the connection, and uses how each was used.
	secrets []NamedSecret
	uses    []*secretUse
}

// Handler is the webhook endpoint: POST /webhooks/{connection}.
type Handler struct {
	endpoints atomic.Pointer[map[string]endpoint]
	inbox     Inbox
	missed    func()
	maxBody   int64
	body      bodyReader
	clients   Clients
	// unverified is owned by client addresses, verified by connections.
	unverified, verified *budget
	log                  *zap.Logger
	// strangers is the sampled log of requests for connections that do not exist.
	strangers *zap.Logger
	metrics   *Metrics
	uses      secretUses
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
		missed:  o.Missed,
		maxBody: o.MaxBody,
		body:    bodyReader{timeout: o.BodyTimeout, reading: map[*http.ResponseController]struct{}{}},
		clients: o.Clients,
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
	if h.log == nil {
		h.log = zap.NewNop()
	}
	h.strangers = Sampled(h.log)
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
	if h.body.timeout == 0 {
		h.body.timeout = defaultBodyTimeout
	}
	total := max(o.MaxInFlight, budgetFor(formGrowth*h.maxBody+1+requestWeight))
	h.unverified, h.verified = newBudget(total), newBudget(total)
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
		e := endpoint{Connection: c, host: kind, strangers: Sampled(h.log), secrets: Secrets(c)}
		for _, secret := range e.secrets {
			e.uses = append(e.uses, h.uses.of(c.Name, secret.ID))
		}
		endpoints[c.Name] = e
	}
	err := errors.Join(complaints...)
	if err == nil {
		h.endpoints.Store(&endpoints)
	}
	return err
}

// Register adds the route of the webhook endpoint. Other methods than POST get
// Echo's 405.
func (h *Handler) Register(e *echo.Echo) {
	e.POST("/webhooks/:connection", h.receive)
}

// CutOff has the bodies that are still arriving given up shortly, because the service is
// being stopped.
func (h *Handler) CutOff() { h.body.stop(time.Now().Add(cutOffPause)) }

func (h *Handler) receive(ctx echo.Context) error {
	start := h.now()
	client := h.clients.Of(ctx.Request())
	e, known := (*h.endpoints.Load())[ctx.Param("connection")]
	if !known {
		unread(ctx.Response())
		r := refused(outcomeUnknownConnection, http.StatusNotFound, "unknown_connection",
			"there is no webhook here: the log of gatewright says more", errUnknownConnection)
		h.record(endpoint{strangers: h.strangers}, client, labelOther, r, h.now().Sub(start))
		return r.send(ctx)
	}
	r := h.accept(e, client, ctx.Response(), ctx.Request())
	if h.missed != nil && (r.outcome == outcomeUnavailable || r.outcome == outcomeOverloaded) {
		h.missed()
	}
	took := h.now().Sub(start)
	h.metrics.seconds.WithLabelValues(e.Name).Observe(took.Seconds())
	h.record(e, client, eventLabel(e.host, ctx.Request().Header), r, took)
	return r.send(ctx)
}

var (
	errUnknownConnection = errors.New("no connection has this name: compare the webhook's URL with the configuration")
	errNotJSON           = errors.New("the body is not JSON: set the webhook's content type to application/json")
	errNotAllowed        = errors.New("the address is not in the connection's allow list")
)

// accept verifies, reads and stores one request for a known connection. The cheap and
// the safe steps come first: what the headers tell is refused without a look at the body.
func (h *Handler) accept(e endpoint, client netip.Addr, w http.ResponseWriter, r *http.Request) response {
	if len(e.Allow) > 0 && !contains(e.Allow, client) {
		unread(w)
		return unauthorized(outcomeNotAllowed, errNotAllowed)
	}
	verifyBody, err := e.host.verify(e.Connection, r.Header, h.now())
	if err != nil {
		unread(w)
		return unauthorized(outcomeUnauthorized, err)
	}
	bytes := lease{budget: h.verified, owner: e.Name}
	if verifyBody != nil {
		bytes = lease{budget: h.unverified, owner: h.shareOf(client)}
	}
	defer func() { bytes.release() }()
	body, err := h.readBody(e, w, r, &bytes)
	if err != nil {
		unread(w)
		return notRead(err)
	}
	h.metrics.bytes.WithLabelValues(e.Name).Observe(float64(len(body)))
	if verifyBody != nil {
		if err := verifyBody(body); err != nil {
			return unauthorized(outcomeUnauthorized, err)
		}
		if err := bytes.moveTo(h.verified, e.Name); err != nil {
			return notRead(err)
		}
	}
	h.noteSecret(e, r.Header, body)
	return h.store(e, r, body)
}

// store stores a verified request. That it is JSON is the only check of a body before.
func (h *Handler) store(e endpoint, r *http.Request, body []byte) response {
	payload, err := e.host.payload(r.Header, body)
	if err == nil && int64(len(payload)) > h.maxBody {
		return notRead(&http.MaxBytesError{Limit: h.maxBody})
	}
	if err == nil && !json.Valid(payload) {
		err = errNotJSON
	}
	if err != nil {
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

// shareOf is who owns the bytes of an unverified body: the client's address; nobody when
// it is only known which proxy it came through.
func (h *Handler) shareOf(client netip.Addr) string {
	if h.clients.Trusted(client) {
		return ""
	}
	return ShareOf(client).String()
}

// unauthorized makes the response to a request that is not authentic. The sender is told
// nothing of the configuration; the log says what is wrong.
func unauthorized(o outcome, err error) response {
	return refused(o, http.StatusUnauthorized, "unauthorized",
		"the delivery is not authenticated: compare the webhook's secret with the configuration of gatewright, whose log says more", err)
}

// notRead makes the response to a request whose body could not be read.
func notRead(err error) response {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return refused(outcomeTooLarge, http.StatusRequestEntityTooLarge, "too_large",
			fmt.Sprintf("the body is larger than %d bytes: send less, or raise http.max_body", tooLarge.Limit), err)
	case errors.Is(err, errOverBudget):
		return refused(outcomeOverloaded, http.StatusServiceUnavailable, "overloaded",
			"too many deliveries arrive at once and this one is not accepted: send it again later", err)
	}
	return refused(outcomeAborted, http.StatusBadRequest, "aborted", "the body ended early or arrived too slowly: send it again", err)
}

// readBody reads the whole body, and never more of it than the limit.
func (h *Handler) readBody(e endpoint, w http.ResponseWriter, r *http.Request, bytes *lease) ([]byte, error) {
	limit := h.maxBody
	if e.host.forms && isForm(r.Header) {
		limit *= formGrowth
	}
	if err := bytes.grow(requestWeight); err != nil {
		return nil, err
	}
	return h.body.read(w, r, limit, bytes)
}

// delivery is the request as it is stored, without secrets.
func (h *Handler) delivery(e endpoint, header http.Header, body []byte) event.Delivery {
	d := event.Delivery{
		ID:         h.newID(),
		Connection: e.Name,
		Host:       e.Host,
		HostID:     deliveryID(e.host, e.Connection, header),
		Event:      e.host.eventName(header),
		ReceivedAt: h.now(),
		Header:     keptHeaders(e.host, header),
		Scope:      Scope(e.Connection, header, body, h.now()),
		Body:       e.host.withoutSecrets(e.Connection, body),
	}
	d.Key = deliveryKey(e.host, d)
	return d
}
