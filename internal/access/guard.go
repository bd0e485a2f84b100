package access

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/gatewright/gatewright/internal/webhook"
)

// userKey is where the context of a request holds its user.
const userKey = "access.user"

// Current returns the user of a request; false where nobody is logged in.
func Current(c echo.Context) (User, bool) {
	u, ok := c.Get(userKey).(User)
	return u, ok
}

// Guard lets a request pass whose user may do an action. Others are answered 401 where nobody
// is logged in, and 403.
func Guard(action Action) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			u, known := Current(c)
			switch {
			case !known:
				return webhook.Problem{Code: "unauthorized", Message: "log in, or send a token: Authorization: Bearer gwt_…"}.Send(c, http.StatusUnauthorized)
			case !u.May(action):
				return webhook.Problem{Code: "forbidden", Message: ErrForbidden.Error()}.Send(c, http.StatusForbidden)
			}
			return next(c)
		}
	}
}
