package api

import (
	"context"
	"strconv"

	"github.com/gatewright/gatewright/internal/store"
)

// version is what changes when a record does: of a run and a release the number of their saves, of a
// delivery the time of its last change.
func version(ctx context.Context, tx *store.Tx, kind, id string) (string, error) {
	switch kind {
	case "run":
		run, err := tx.RunAt(ctx, id)
		return strconv.FormatInt(int64(run.Version), 10), err
	case "release":
		r, err := tx.ReleaseAt(ctx, id)
		return strconv.FormatInt(int64(r.Version), 10), err
	}
	d, err := tx.DeliveryWithoutBody(ctx, id)
	return strconv.FormatInt(d.UpdatedAt.UnixMicro(), 10), err
}
