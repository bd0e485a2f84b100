package store_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/store"
)

// TestOccupiedTask holds that of the runs of one task, whatever their connections, one at
// a time is about to have an execution or has one.
func TestOccupiedTask(t *testing.T) { each(t, testOccupiedTask) }

func testOccupiedTask(t *testing.T, s *store.Store) {
	ctx := t.Context()
	mirrored := run("mirrored", "rule", "b")
	mirrored.Event.Connection = "mirror"
	saved := map[string]*store.Version{"one": new(store.Version), "mirrored": new(store.Version)}
	runs := map[string]codecheck.Run{"one": run("one", "rule", "a"), "mirrored": mirrored}
	update(t, s, func(tx *store.Tx) error {
		for _, r := range runs {
			if _, added, err := tx.AddRun(ctx, r); err != nil || !added {
				return fmt.Errorf("added %v: %w", added, err)
			}
		}
		return nil
	})
	for _, step := range []struct {
		id     string
		state  codecheck.State
		task   string
		intent bool
		want   error
	}{
		{"one", codecheck.Starting, "task", false, nil},
		{"mirrored", codecheck.Starting, "task", true, nil},
		{"one", codecheck.Starting, "task", true, store.ErrTaskBusy},
		{"one", codecheck.Starting, "other", true, nil},
		{"one", codecheck.Starting, "task", false, nil},
		{"mirrored", codecheck.Running, "task", true, nil},
		{"one", codecheck.Starting, "task", true, store.ErrTaskBusy},
		{"mirrored", codecheck.Queued, "task", true, nil},
		{"one", codecheck.Running, "task", true, nil},
		{"mirrored", codecheck.Running, "task", true, store.ErrTaskBusy},
		{"one", codecheck.Passed, "task", true, nil},
		{"mirrored", codecheck.Running, "task", true, nil},
	} {
		r := runs[step.id]
		r.State, r.Task.ID, r.Intent = step.state, step.task, nil
		if step.intent {
			r.Intent = &codecheck.Intent{SentAt: noon}
		}
		err := s.Update(ctx, func(tx *store.Tx) error { return tx.SaveRun(ctx, r, saved[step.id]) })
		if !errors.Is(err, step.want) || (err != nil) != (step.want != nil) {
			t.Errorf("%s saved as %s of task %s, intent %v: %v, want %v", step.id, step.state, step.task, step.intent, err, step.want)
		}
	}
	update(t, s, func(tx *store.Tx) error {
		if other, found, err := tx.Occupant(ctx, "task", "one"); err != nil || !found || other.ID != "mirrored" {
			t.Errorf("occupant %q, found %v, error %v; want mirrored", other.ID, found, err)
		}
		_, found, err := tx.Occupant(ctx, "task", "mirrored")
		if found {
			t.Error("a run is its own other occupant")
		}
		return err
	})
}

// TestOccupiedAtOnce lets two transactions occupy a task at the same time, neither of which
// sees the other.
func TestOccupiedAtOnce(t *testing.T) { each(t, testOccupiedAtOnce) }

func testOccupiedAtOnce(t *testing.T, s *store.Store) {
	ctx := t.Context()
	const runs = 8
	update(t, s, func(tx *store.Tx) error {
		for i := range runs {
			if _, _, err := tx.AddRun(ctx, run(fmt.Sprint(i), "rule", fmt.Sprint(i))); err != nil {
				return err
			}
		}
		return nil
	})
	errs := make(chan error, runs)
	for i := range runs {
		go func() {
			r := run(fmt.Sprint(i), "rule", fmt.Sprint(i))
			r.State, r.Task.ID = codecheck.Running, "task"
			errs <- s.Update(ctx, func(tx *store.Tx) error { return tx.SaveRun(ctx, r, new(store.Version)) })
		}()
	}
	occupied := 0
	for range runs {
		switch err := <-errs; {
		case err == nil:
			occupied++
		case !errors.Is(err, store.ErrTaskBusy):
			t.Errorf("save: %v, want ErrTaskBusy", err)
		}
	}
	if occupied != 1 {
		t.Errorf("%d runs occupy the task, want one", occupied)
	}
}
