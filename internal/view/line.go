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
	if !slices.ContainsFunc(runs, mayWait) {
		return nil
	}
	line, err := tx.Line(ctx)
	if err != nil {
		return err
	}
	places := make(map[string]int, len(line))
	for i, id := range line {
		places[id] = i + 1
	}
	for _, r := range runs {
		if place := places[r.ID]; place > 0 {
			r.InLine = &InLine{Place: place, Of: len(line)}
			r.Reason = fmt.Sprintf("place %d of %d; %s", place, len(line), r.Reason)
		}
	}
	return nil
}
