// Package dashboard is the pages of the private address: what needs a person, what became of a
// change, the lists, the rules. They are HTML that the server writes, and work without JavaScript;
// a short script replaces the sections of a page that have changed. Nothing on them comes from
// another address.
package dashboard

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// Options say what the pages show, and who carries out what is asked on them. All but Orders
// and Now are mandatory.
type Options struct {
	Store *store.Store
	// Policy returns the rules in force.
	Policy func() *rules.Policy
	// Read reads a delivery as the service does, into the event that the rules would be asked about.
	Read func(event.Delivery) (event.Event, error)
	// Orders carries out what people ask for, and has refused what another site made a browser send; nil:
	// nothing can be asked for.
	Orders access.Orders
	// Groups are those that a person is in, whose login or proxy named claims. Nil: none.
	Groups func(person string, claims []string) []string
	// Service says how the service itself is.
	Service func(context.Context) (Service, error)
	// FileURL is the address of a line of a file at a commit on its git host; empty where there is none.
	FileURL func(connection, repository, sha, path string, line int) string
	// MissingAfter is after how long a branch without a verdict needs a person.
	MissingAfter time.Duration
	Log          *zap.Logger
	// Now tells the time; nil means time.Now.
	Now func() time.Time
}

// Service is how the service itself is.
type Service struct {
	Version string
	// RulesHash and ConfigHash are of what is in force, since Loaded.
	RulesHash, ConfigHash string
	Loaded                time.Time
	// Problems are what does not work although webhooks are accepted.
	Problems []Problem
	// Connections are the configured ones.
	Connections []Connection
	// Remotes are the services of Huawei Cloud that are called, with their addresses.
	Remotes []Remote
}

// Problem is one thing that does not work.
type Problem struct {
	What, Reason string
	Since        time.Time
}

// Connection is one configured git host.
type Connection struct{ Name, Kind string }

// Remote is a service that is called.
type Remote struct{ Name, Address string }

// Dashboard serves the pages.
type Dashboard struct {
	opts   Options
	assets map[string]asset
	// streams are the live pages; stopped is closed when there shall be none.
	streams *access.Streams
	stopped chan struct{}
}

// New makes the pages. Register adds them to a router; Close ends what is live.
func New(opts Options) (*Dashboard, error) {
	if opts.Store == nil || opts.Policy == nil || opts.Read == nil || opts.Service == nil || opts.FileURL == nil || opts.Log == nil {
		return nil, errors.New("make dashboard: all options but Orders and Now are mandatory")
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	d := &Dashboard{opts: opts, streams: access.NewStreams(maxStreams, maxStreamsEach), stopped: make(chan struct{})}
	var err error
	d.assets, err = newAssets()
	return d, err
}

// Register adds the pages to a router whose middleware says who a request comes from
// ([access.Current]).
func (d *Dashboard) Register(e *echo.Echo) {
	d.registerAssets(e)
	e.GET("/", d.page(access.ActionView, d.overview))
	e.GET("/changes/:id", d.page(access.ActionView, d.change))
	e.GET("/changes/:id/payload", d.page(access.ActionPayload, d.payload))
	e.GET("/releases/:id/evidence", d.page(access.ActionView, d.evidence))
	e.GET("/audit", d.page(access.ActionAudit, d.audit))
	for _, kind := range listKinds() {
		e.GET(kind.path(), d.page(access.ActionView, d.list(kind)))
	}
	// What statuses and comments on the git hosts link to.
	for _, kind := range []listKind{deliveryList, runList, releaseList} {
		e.GET("/"+string(kind)+"/:id", d.page(access.ActionView, d.toChange))
	}
	e.GET("/rules", d.page(access.ActionView, d.rules))
	e.POST("/rules", d.page(access.ActionView, d.evaluate))
	if d.opts.Orders != nil {
		e.POST("/orders", d.page(access.ActionView, d.order))
	}
}

// show reads the sections of a page; it also sets the page's title.
type show func(c echo.Context, p *page) ([]section, error)

// section is a part of a page that is replaced as a whole.
type section struct {
	id string
	// live sections are sent again when they change.
	live bool
	body templ.Component
}

// failure is an error that the user is told about.
type failure struct {
	status  int
	message string
}

func (f failure) Error() string { return f.message }

// redirect sends the browser elsewhere.
type redirect string

func (r redirect) Error() string { return "go to " + string(r) }

// download is a file that is answered in place of a page.
type download struct {
	// name is the Content-Disposition.
	name string
	body []byte
}

func (download) Error() string { return "download" }

// page serves a page to whoever may do an action.
func (d *Dashboard) page(action access.Action, show show) echo.HandlerFunc {
	return func(c echo.Context) error {
		p := d.newPage(c)
		secure(c.Response().Header())
		// Where public_view is set, somebody who is not logged in may look, too.
		var known bool
		if p.user, known = access.Current(c); !p.user.May(action) {
			switch {
			case known:
				return d.fail(c, p, access.ErrForbidden)
			case c.Request().Method != http.MethodGet:
				return d.fail(c, p, failure{http.StatusUnauthorized, p.T("You are not logged in any more: log in and send the form again.")})
			}
			return c.Redirect(http.StatusSeeOther, "/login?"+query("next", c.Request().URL.RequestURI()))
		}
		if c.Request().Method == http.MethodGet && c.QueryParam("live") != "" {
			return d.stream(c, p, show)
		}
		sections, err := show(c, p)
		var file download
		switch {
		case errors.As(err, &file):
			c.Response().Header().Set(echo.HeaderContentDisposition, file.name)
			return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, file.body)
		case err != nil:
			return d.fail(c, p, err)
		}
		return d.send(c, http.StatusOK, p, sections)
	}
}

// secure sets the headers that keep a page from doing, or from being used for, anything else.
func secure(header http.Header) {
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
	header.Set("Vary", "Accept-Language, Cookie")
}

// send writes a page once all of it is written, so that an error is answered as one.
func (d *Dashboard) send(c echo.Context, status int, p *page, sections []section) error {
	var text bytes.Buffer
	if err := frame(p, sections).Render(c.Request().Context(), &text); err != nil {
		return err
	}
	return c.HTMLBlob(status, text.Bytes())
}

// fail answers with the error, in words for a person.
func (d *Dashboard) fail(c echo.Context, p *page, err error) error {
	var to redirect
	if errors.As(err, &to) {
		return c.Redirect(http.StatusSeeOther, string(to))
	}
	f := failure{http.StatusInternalServerError, p.T("An internal error occurred: see the log of gatewright.")}
	var conflict access.ConflictError
	var invalid access.InvalidError
	switch {
	case errors.As(err, &f):
	case errors.As(err, &conflict):
		f = failure{http.StatusConflict, conflict.Message}
	case errors.As(err, &invalid):
		f = failure{http.StatusUnprocessableEntity, invalid.Message}
	case errors.Is(err, access.ErrForbidden):
		f = failure{http.StatusForbidden, p.T("You may not do this: ask whoever gives the roles of Gatewright.")}
	case errors.Is(err, access.ErrStale):
		f = failure{http.StatusPreconditionFailed, p.T("The record has changed since this page was loaded: load it again and decide then.")}
	case errors.Is(err, access.ErrNotFound), errors.Is(err, store.ErrNotFound):
		f = failure{http.StatusNotFound, p.T("There is no such record: it may have been removed after store.retention.")}
	case c.Request().Context().Err() != nil:
		return nil // Nobody reads the answer.
	default:
		d.opts.Log.Error("request failed", zap.String(event.LogOperation, c.Path()), zap.Error(err))
	}
	p.title = cmp.Or(p.title, http.StatusText(f.status))
	return d.send(c, f.status, p, []section{{id: "failure", body: failed(p, f)}})
}
