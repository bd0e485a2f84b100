package dashboard

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/gatewright/gatewright/internal/access"
)

func errorIs(err, target error) bool { return errors.Is(err, target) }

func itoa(n int) string { return strconv.Itoa(n) }

// maxForm bounds what the form of an order may bring, in bytes.
const maxForm = 64 << 10

// maxReason bounds what somebody gives as a reason, in bytes.
const maxReason = 2000

// order carries out what a form asks for, and leads back to the change.
func (d *Dashboard) order(c echo.Context, p *page) ([]section, error) {
	p.title = p.T("Not done")
	r := c.Request()
	r.Body = http.MaxBytesReader(c.Response(), r.Body, maxForm)
	if err := r.ParseForm(); err != nil || r.PostForm.Get("action") == "" {
		// Also a form of another type, which is not read.
		return nil, failure{http.StatusBadRequest, p.T("This is not a form of these pages, or it has more than %d bytes.", maxForm)}
	}
	o := access.Order{
		Action: access.Action(r.PostForm.Get("action")), Kind: r.PostForm.Get("kind"), ID: r.PostForm.Get("id"), Commit: r.PostForm.Get("commit"),
		Reason: strings.TrimSpace(r.PostForm.Get("reason")), Task: r.PostForm.Get("task"), As: r.PostForm.Get("as"), IfMatch: r.PostForm.Get("version"),
	}
	if o.Reason == "" || len(o.Reason) > maxReason {
		return nil, failure{http.StatusUnprocessableEntity, p.T("Give a reason of at most %d bytes: it is kept with what you do.", maxReason)}
	}
	if !p.user.May(o.Action) {
		return nil, access.ErrForbidden
	}
	if _, err := d.opts.Orders.Do(c.Request().Context(), p.user, o); err != nil {
		return nil, err
	}
	return nil, redirect("/changes/" + url.PathEscape(o.ID) + "?done=1")
}
