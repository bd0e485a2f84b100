package access

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/gatewright/gatewright/internal/webhook"
)

// userKey and metricsKey are where the context of a request holds its user, and what counts
// refusals.
const (
	userKey    = "access.user"
	metricsKey = "access.metrics"
)

// Current returns the user of a request; false where nobody is logged in, with the user that
// public_view makes of everybody, or one who may do nothing.
func Current(c echo.Context) (User, bool) {
	u, _ := c.Get(userKey).(User)
	return u, u.Identity != ""
}

// Guard lets a request pass whose user may do an action. Others are answered 401 where nobody
// is logged in, and otherwise 403.
func Guard(action Action) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			u, known := Current(c)
			metrics, _ := c.Get(metricsKey).(*Metrics)
			switch {
			case u.May(action):
				return next(c)
			case !known:
				metrics.refuse("unauthorized")
				return webhook.Problem{Code: "unauthorized", Message: "log in at /login, or send a token: Authorization: Bearer gwt_…"}.Send(c, http.StatusUnauthorized)
			}
			metrics.refuse("forbidden")
			return webhook.Problem{Code: "forbidden", Message: ErrForbidden.Error()}.Send(c, http.StatusForbidden)
		}
	}
}
