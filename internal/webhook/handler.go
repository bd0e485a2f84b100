package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
)

const (
	// defaultMaxBody is what GitHub and GitLab send at most. A GitHub body in
	// form encoding can be up to three times its JSON; the limit counts what
	// is on the wire.
	defaultMaxBody = 25 << 20
	// defaultMaxInFlight is Options.MaxInFlight's.
	defaultMaxInFlight = 128 << 20
	// acceptTimeout ends an Accept that hangs before GitHub and GitLab give up
	// waiting, after 10 s, so that the refusal is counted and seen here.
	acceptTimeout = 9 * time.Second
	// retryAfter is the Retry-After of a 503, in seconds.
	retryAfter = "10"
)

// Inbox takes the deliveries over.
type Inbox interface {
	// Accept makes the delivery durable together with the work that it causes,
	// before it returns. id is the stored delivery's. duplicate says that the
	// delivery (Connection and Key) was known already and that its processing has
	// not failed: nothing was stored. After an error the delivery is not
	// acknowledged.
	Accept(ctx context.Context, d event.Delivery) (id string, duplicate bool, err error)
}

// Options are what New needs. Inbox is mandatory.
type Options struct {
	Connections []Connection
	Inbox       Inbox
	// MaxBody is the largest body that is read, in bytes. Zero means 25 MiB.
	MaxBody int64
	// MaxInFlight bounds the bytes of bodies that are held at once, half of it for
	// one connection; past it the answer is 503. Zero means 128 MiB; at least six
	// times MaxBody are allowed, so that the largest body always fits.
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

// Handler is the door: POST /webhooks/{connection}.
type Handler struct {
	connections map[string]Connection
	inbox       Inbox
	maxBody     int64
	budget      *budget
	log         *zap.Logger
	metrics     *Metrics
	now         func() time.Time
	newID       func() string
}

// New returns a handler, or every complaint about the options, joined: a name
// that is used twice or is not legal, an unknown host, a missing, empty or
// malformed secret, a setting that the host does not have, no Inbox.
func New(o Options) (*Handler, error) {
	h := &Handler{
		connections: make(map[string]Connection, len(o.Connections)),
		inbox:       o.Inbox,
		maxBody:     o.MaxBody,
		log:         o.Log,
		metrics:     o.Metrics,
		now:         o.Now,
		newID:       o.NewID,
	}
	var complaints []error
	if o.Inbox == nil {
		complaints = append(complaints, errors.New("make webhook handler: the inbox is missing"))
	}
	if o.MaxBody < 0 {
		complaints = append(complaints, fmt.Errorf("make webhook handler: body limit %d is negative", o.MaxBody))
	}
	for _, c := range o.Connections {
		if _, twice := h.connections[c.Name]; twice {
			complaints = append(complaints, fmt.Errorf("check connection %q: the name is used twice", c.Name))
		}
		complaints = append(complaints, c.validate())
		h.connections[c.Name] = c
	}
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
	for name := range h.connections {
		h.metrics.prepare(name)
	}
	h.metrics.deliveries.WithLabelValues("", "other", string(outcomeUnknownConnection))
	return h, nil
}

// Register adds the door's route. Other methods than POST get Echo's 405. The
// http.Server must have a ReadTimeout: the door waits for a body as long as the
// server does.
func (h *Handler) Register(e *echo.Echo) {
	e.POST("/webhooks/:connection", h.receive)
}

// answer is what the door says to one request. code and message are the body of
// a refusal, delivery that of an accepted delivery.
type answer struct {
	outcome  outcome
	status   int
	code     string
	message  string
	delivery string
	// err is for the log: it may say more than a stranger is told.
	err error
}

func (h *Handler) receive(ctx echo.Context) error {
	start := h.now()
	r := ctx.Request()
	c, known := h.connections[ctx.Param("connection")]
	if !known {
		a := answer{
			outcome: outcomeUnknownConnection, status: http.StatusNotFound, code: "unknown_connection",
			message: "no connection has this name: compare the webhook's URL with the configuration",
		}
		h.note("", "other", a, h.now().Sub(start))
		return a.write(ctx)
	}
	a := h.take(c, ctx.Response(), r)
	took := h.now().Sub(start)
	h.metrics.seconds.WithLabelValues(c.Name).Observe(took.Seconds())
	h.note(c.Name, eventLabel(c.Host, r.Header), a, took)
	return a.write(ctx)
}

// take reads, verifies and hands over one request for a known connection. The
// steps stand in the order in which the cheaper and the safer comes first.
func (h *Handler) take(c Connection, w http.ResponseWriter, r *http.Request) answer {
	arriving := &counted{budget: h.budget, connection: c.Name}
	defer arriving.done()
	body, err := h.readBody(c, w, r, arriving)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return answer{
			outcome: outcomeTooLarge, status: http.StatusRequestEntityTooLarge, code: "too_large", err: err,
			message: fmt.Sprintf("the body is larger than %d bytes: raise the limit, or send less", tooLarge.Limit),
		}
	} else if errors.Is(err, errOverBudget) {
		// The rest of the body is not waited for.
		w.Header().Set("Connection", "close")
		return answer{
			outcome: outcomeUnavailable, status: http.StatusServiceUnavailable, code: "overloaded", err: err,
			message: "too much is being received at once, and this is not accepted: send it again later",
		}
	} else if err != nil {
		return answer{
			outcome: outcomeAborted, status: http.StatusBadRequest, code: "aborted", err: err,
			message: "the body ended early: send it again",
		}
	}
	h.metrics.bytes.WithLabelValues(c.Name).Observe(float64(len(body)))

	if err := Verify(c, r.Header, body, h.now()); err != nil {
		return answer{outcome: outcomeUnauthorized, status: http.StatusUnauthorized, code: "unauthorized", message: err.Error(), err: err}
	}
	if err := checkJSON(c.Host, r.Header, body); err != nil {
		return answer{outcome: outcomeNotJSON, status: http.StatusBadRequest, code: "not_json", message: err.Error(), err: err}
	}
	if isPing(c.Host, r.Header) {
		return answer{outcome: outcomePing, status: http.StatusOK}
	}

	d := h.delivery(c, r.Header, body)
	accept, cancel := context.WithTimeout(r.Context(), acceptTimeout)
	defer cancel()
	id, duplicate, err := h.inbox.Accept(accept, d)
	switch {
	case err != nil:
		return answer{
			outcome: outcomeUnavailable, status: http.StatusServiceUnavailable, code: "unavailable", err: err,
			message: "the delivery could not be stored and is not accepted: send it again later",
		}
	case duplicate:
		return answer{outcome: outcomeDuplicate, status: http.StatusOK, delivery: id}
	}
	return answer{outcome: outcomeAccepted, status: http.StatusAccepted, delivery: id}
}

// formGrowth is how many times larger a form is than the JSON in it, at most:
// percent-encoding triples a byte (specs/githosts.md 1.1).
const formGrowth = 3

// readBody reads the whole body, and never more of it than the limit. A body
// that is announced as too large is not read at all; memory grows with what has
// arrived, not with what was announced.
func (h *Handler) readBody(c Connection, w http.ResponseWriter, r *http.Request, arriving *counted) ([]byte, error) {
	limit := h.maxBody
	if c.Host == event.GitHub && isForm(r.Header) {
		limit *= formGrowth
	}
	if r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	var body bytes.Buffer
	if r.ContentLength > 0 {
		body.Grow(int(min(r.ContentLength, 64<<10)) + bytes.MinRead)
	}
	arriving.r = http.MaxBytesReader(w, r.Body, limit)
	if _, err := body.ReadFrom(arriving); err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	return body.Bytes(), nil
}

// checkJSON is the only look at a body before it is stored: is it JSON?
func checkJSON(host event.Host, header http.Header, body []byte) error {
	payload := body
	switch host {
	case event.GitHub:
		var err error
		if payload, err = githubPayload(header, body); err != nil {
			return err
		}
	case event.Gitee:
		if isForm(header) {
			return errOldGiteeHook()
		}
	}
	if !json.Valid(payload) {
		return errors.New("the body is not JSON: set the webhook's content type to application/json")
	}
	return nil
}

// delivery is the request as it is stored: without the headers that hold
// secrets, and without the password that Gitee repeats in the body.
func (h *Handler) delivery(c Connection, header http.Header, body []byte) event.Delivery {
	if c.Host == event.Gitee && c.Mode == ModePassword {
		body = withoutGiteePassword(body)
	}
	d := event.Delivery{
		ID:         h.newID(),
		Connection: c.Name,
		Host:       c.Host,
		HostID:     hostID(c, header),
		Event:      eventName(c.Host, header),
		ReceivedAt: h.now(),
		Header:     keptHeaders(header),
		Body:       body,
	}
	switch {
	case d.HostID != "":
		d.Key = d.HostID
	case c.Host == event.Gitee:
		d.Key = bodyKey("", body)
	default:
		d.Key = bodyKey(d.Event, body)
	}
	return d
}

// bodyKey recognises a delivery without an id by what it says.
func bodyKey(eventName string, body []byte) string {
	sum := sha256.New()
	sum.Write([]byte(eventName))
	sum.Write(body)
	return "sha256:" + hex.EncodeToString(sum.Sum(nil))
}

// note counts and logs what became of the request. Of a refused one it says
// nothing that a stranger chose.
func (h *Handler) note(connection, label string, a answer, took time.Duration) {
	h.metrics.deliveries.WithLabelValues(connection, label, string(a.outcome)).Inc()
	fields := []zap.Field{
		zap.String(event.LogConnection, connection),
		zap.String(event.LogEvent, label),
		zap.Duration(event.LogDuration, took),
	}
	switch a.outcome {
	case outcomeAccepted:
		h.log.Info("delivery accepted", append(fields, zap.String(event.LogDelivery, a.delivery))...)
	case outcomeDuplicate:
		h.log.Info("delivery known already", append(fields, zap.String(event.LogDelivery, a.delivery))...)
	case outcomePing:
		h.log.Info("ping answered", fields...)
	case outcomeUnavailable:
		h.log.Error("delivery not stored", append(fields, zap.Error(a.err))...)
	default:
		h.log.Warn("delivery refused", append(fields, zap.String(event.LogReason, string(a.outcome)), zap.Error(a.err))...)
	}
}

// write sends the answer: a status and, where there is one, the delivery's id;
// or a code and a sentence that says what to do.
func (a answer) write(ctx echo.Context) error {
	if a.code != "" {
		if a.status == http.StatusServiceUnavailable {
			ctx.Response().Header().Set("Retry-After", retryAfter)
		}
		return ctx.JSON(a.status, map[string]string{"error": a.code, "message": a.message})
	}
	said := map[string]string{"status": string(a.outcome)}
	if a.delivery != "" {
		said["delivery"] = a.delivery
	}
	return ctx.JSON(a.status, said)
}
