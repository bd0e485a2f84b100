// Package api is the HTTP interface of programs, below /api/v1 of the private address: the lists
// and records that `list` and `show` print, the rules, the orders of people, and a stream of
// changes. Its JSON is that of internal/view. One table of routes makes the router and the
// OpenAPI document.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
	"github.com/gatewright/gatewright/internal/webhook"
)

// Prefix is the path below which the API is.
const Prefix = "/api/v1"

// MaxPage is the size of the largest page of a list.
const MaxPage = 500

const (
	// maxBody bounds a request's body in bytes, maxPasted that of one with a pasted payload.
	maxBody   = 64 << 10
	maxPasted = 8 << 20
	// timeout bounds the work on one answer. It is below that of the private address.
	timeout = 10 * time.Second
	// atOnce is how many answers that take memory or time are made at once: payloads, decisions and
	// lists of findings.
	atOnce = 4
)

// Options say what the API answers from. All are mandatory.
type Options struct {
	Store  *store.Store
	Orders access.Orders
	// Policy returns the rules in force, Parse reads a delivery by the settings of its connection.
	Policy func() *rules.Policy
	Parse  func(event.Delivery) (event.Event, error)
	// Health says what works; ready is false while webhooks are not accepted, and reason says why.
	Health func(context.Context) (h Health, ready bool, reason string)
	// MissingAfter is after how long a commit without a verdict is listed.
	MissingAfter time.Duration
	// Version is the program's.
	Version string
	Log     *zap.Logger
}

// API answers requests. Run must run for its stream of changes.
type API struct {
	opts Options
	now  func() time.Time
	// heavy are places for answers that take much to make, pasted for payloads that are sent: who sends one slowly
	// keeps nobody from an answer.
	heavy, pasted chan struct{}
	events        *hub
	streams       *access.Streams
}

// New makes the API.
func New(opts Options) (*API, error) {
	if opts.Store == nil || opts.Orders == nil || opts.Policy == nil || opts.Parse == nil || opts.Health == nil || opts.Log == nil {
		return nil, errors.New("new api: an option is missing")
	}
	return &API{opts: opts, now: time.Now, heavy: make(chan struct{}, atOnce), pasted: make(chan struct{}, atOnce), events: newHub(opts.Store, opts.Log), streams: access.NewStreams(maxStreams, maxStreamsEach)}, nil
}

// Run finds changes for the streams until ctx is done, and then ends them.
func (a *API) Run(ctx context.Context) { a.events.run(ctx) }

// Register adds the routes. Who asks is put into the context of a request before.
func (a *API) Register(e *echo.Echo) {
	methods := map[string][]string{}
	for _, r := range routes() {
		var guards []echo.MiddlewareFunc
		if r.action != "" {
			guards = append(guards, access.Guard(r.action))
		}
		e.Add(r.method, Prefix+r.path, a.answer(r), guards...)
		methods[r.path] = append(methods[r.path], r.method)
		if r.method == http.MethodGet && !r.stream {
			e.HEAD(Prefix+r.path, a.answer(r), guards...)
			methods[r.path] = append(methods[r.path], http.MethodHead)
		}
	}
	e.RouteNotFound(Prefix+"/*", func(c echo.Context) error {
		for path, allowed := range methods {
			if !isAt(path, strings.TrimPrefix(c.Request().URL.Path, Prefix)) {
				continue
			}
			c.Response().Header().Set("Allow", strings.Join(allowed, ", "))
			return webhook.Problem{Code: "method_not_allowed", Message: "this address takes " + strings.Join(allowed, " and ")}.Send(c, http.StatusMethodNotAllowed)
		}
		return webhook.Problem{Code: "not_found", Message: "the API has nothing here: " + Prefix + "/openapi.json describes what it has"}.Send(c, http.StatusNotFound)
	})
}

// isAt reports whether a path is one of a route's, whose parameters begin with a colon.
func isAt(route, path string) bool {
	wanted, parts := strings.Split(route, "/"), strings.Split(path, "/")
	return slices.EqualFunc(wanted, parts, func(want, part string) bool {
		return want == part || strings.HasPrefix(want, ":") && part != ""
	})
}

// problem is an answer that is an error.
type problem struct {
	status  int
	code    string
	message string
}

func (p problem) Error() string { return p.message }

func invalid(format string, args ...any) error {
	return problem{http.StatusUnprocessableEntity, "invalid", fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) error {
	return problem{http.StatusBadRequest, "bad_request", fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) error {
	return problem{http.StatusNotFound, "not_found", fmt.Sprintf(format, args...)}
}

// answer calls the handler of a route and translates its error.
func (a *API) answer(r route) echo.HandlerFunc {
	return func(c echo.Context) error {
		header := c.Response().Header()
		header.Set("Cache-Control", "no-store")
		header.Set("X-Content-Type-Options", "nosniff")
		if !r.stream {
			ctx, cancel := context.WithTimeout(c.Request().Context(), timeout)
			defer cancel()
			c.SetRequest(c.Request().WithContext(ctx))
		}
		if err := r.parametersKnown(c); err != nil {
			return a.send(c, err)
		}
		if r.heavy {
			places := a.heavy
			if r.body != nil {
				places = a.pasted
			}
			select {
			case places <- struct{}{}:
				defer func() { <-places }()
			default:
				header.Set("Retry-After", "1")
				return a.send(c, problem{http.StatusTooManyRequests, "too_many", "others ask for the same at this moment: ask again in a second"})
			}
		}
		if err := r.handle(a, c); err != nil {
			return a.send(c, err)
		}
		return nil
	}
}

// send answers with an error; one that nobody translated goes on to the handler that logs it.
func (a *API) send(c echo.Context, err error) error {
	var p problem
	var parameter view.ParameterError
	var conflict access.ConflictError
	var incomplete access.InvalidError
	switch {
	case errors.As(err, &p):
	case errors.As(err, &parameter):
		p = problem{http.StatusBadRequest, "bad_request", parameter.Error()}
	case errors.Is(err, access.ErrForbidden):
		p = problem{http.StatusForbidden, "forbidden", access.ErrForbidden.Error()}
	case errors.Is(err, access.ErrNotFound), errors.Is(err, store.ErrNotFound):
		p = problem{http.StatusNotFound, "not_found", access.ErrNotFound.Error()}
	case errors.Is(err, access.ErrStale):
		p = problem{http.StatusPreconditionFailed, "stale", access.ErrStale.Error()}
	case errors.As(err, &conflict):
		p = problem{http.StatusConflict, "conflict", conflict.Message}
	case errors.As(err, &incomplete):
		p = problem{http.StatusUnprocessableEntity, "invalid", incomplete.Message}
	case errors.Is(err, context.DeadlineExceeded):
		p = problem{http.StatusServiceUnavailable, "unavailable", "the database did not answer in time: ask again later, or for less"}
	case errors.Is(err, context.Canceled):
		return nil // Nobody waits for the answer.
	default:
		return err
	}
	return webhook.Problem{Code: p.code, Message: p.message}.Send(c, p.status)
}

// write answers with a value as JSON.
func write(c echo.Context, value any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, text.Bytes())
}

// read reads a body strictly: JSON, one value, no unknown field, at most limit bytes.
func read(c echo.Context, limit int64, into any) error {
	kind, _, err := mime.ParseMediaType(c.Request().Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return problem{http.StatusUnsupportedMediaType, "unsupported_media_type", "send JSON, with Content-Type: application/json"}
	}
	text, err := io.ReadAll(http.MaxBytesReader(c.Response(), c.Request().Body, limit))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return problem{http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the body is too large: send at most %d bytes", limit)}
	case err != nil:
		return badRequest("the body did not arrive")
	}
	return decode(text, into)
}

// decode decodes one JSON value and refuses fields that into does not have.
func decode(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		if _, err = decoder.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("more follows after the value")
	}
	var mistyped *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("it ends too soon")
	case errors.As(err, &mistyped) && mistyped.Field != "":
		err = fmt.Errorf("%s is a JSON %s", mistyped.Field, mistyped.Value)
	case errors.As(err, &mistyped):
		err = fmt.Errorf("it is a JSON %s: send an object", mistyped.Value)
	}
	return badRequest("the body is not what is wanted here: %s", strings.TrimPrefix(err.Error(), "json: "))
}

// view runs fn in a transaction that reads.
func (a *API) view(c echo.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	ctx := c.Request().Context()
	err := a.opts.Store.View(ctx, func(tx *store.Tx) error { return fn(ctx, tx) })
	if err != nil && ctx.Err() != nil {
		// A driver's own error for it.
		return ctx.Err()
	}
	return err
}
