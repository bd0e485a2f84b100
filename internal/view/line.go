package view

import (
	"context"
	"fmt"
	"slices"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/store"
)

// standInLine says of the runs that wait for a place where they stand.
func standInLine(ctx context.Context, tx *store.Tx, runs ...*Run) error {
	mayWait := func(r *Run) bool { return r.State == codecheck.Queued || r.State == codecheck.Starting }
	lines := map[string][]string{}
	for _, r := range runs {
		if !mayWait(r) {
			continue
		}
		line, read := lines[r.Account]
		if !read {
			var err error
			if line, err = tx.Line(ctx, r.Account); err != nil {
				return err
			}
			lines[r.Account] = line
		}
		if place := slices.Index(line, r.ID) + 1; place > 0 {
			r.InLine = &InLine{Place: place, Of: len(line)}
			r.Reason = fmt.Sprintf("place %d of %d; %s", place, len(line), r.Reason)
		}
	}
	return nil
}
