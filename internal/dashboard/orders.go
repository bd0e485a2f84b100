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

// maxReason bounds what somebody gives as a reason, in bytes.
const maxReason = 2000

// order carries out what a form asks for, and leads back to the change.
func (d *Dashboard) order(c echo.Context, p *page) ([]section, error) {
	p.title = p.T("Not done")
	o := access.Order{
		Action: access.Action(c.FormValue("action")), Kind: c.FormValue("kind"), ID: c.FormValue("id"), Commit: c.FormValue("commit"),
		Reason: strings.TrimSpace(c.FormValue("reason")), Task: c.FormValue("task"), As: c.FormValue("as"), IfMatch: c.FormValue("version"),
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
