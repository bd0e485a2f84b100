package api

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

func (a *API) payload(c echo.Context) error {
	var d store.Delivery
	err := a.view(c, func(ctx context.Context, tx *store.Tx) (err error) {
		d, err = tx.Delivery(ctx, c.Param("id"))
		return err
	})
	if err != nil {
		return err
	}
	p, err := view.NewPayload(d)
	if err != nil {
		return problem{http.StatusConflict, "conflict", err.Error()}
	}
	return write(c, p)
}
