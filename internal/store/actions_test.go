package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// TestRerunMakesRoom holds that a record that is marked as repeated leaves its place to
// one other record.
func TestRerunMakesRoom(t *testing.T) { each(t, testRerunMakesRoom) }

func testRerunMakesRoom(t *testing.T, s *store.Store) {
	ctx := t.Context()
	passed := func(id string) codecheck.Run {
		r := run(id, "rule", "a")
		r.State = codecheck.Passed
		return r
	}
	rel := func(id string) release.Release {
		return release.Release{ID: id, RunID: "run", State: release.Succeeded, CreatedAt: noon, Deadline: noon}
	}
	update(t, s, func(tx *store.Tx) error {
		for i, step := range []struct {
			add       string
			wantAdded bool
			mark, as  string
			already   string
		}{
			{"one", true, "one", "two", ""},
			{"two", true, "one", "three", "two"},
			{"three", false, "two", "four", ""},
			{"four", true, "two", "five", "four"},
		} {
			id, added, err := tx.AddRun(ctx, passed(step.add))
			if err != nil || added != step.wantAdded || (!added && id != "two") {
				t.Errorf("step %d: run %q added %v, error %v", i, id, added, err)
			}
			if added, err := tx.AddRelease(ctx, rel(step.add)); err != nil || added != step.wantAdded {
				t.Errorf("step %d: release added %v, error %v", i, added, err)
			}
			for _, kind := range []store.RecordKind{store.RecordRun, store.RecordRelease} {
				if already, err := tx.MarkRerun(ctx, kind, step.mark, step.as); err != nil || already != step.already {
					t.Errorf("step %d: %s is repeated by %q already, error %v", i, kind, already, err)
				}
			}
		}
		_, err := tx.MarkRerun(ctx, store.RecordRun, "nobody", "x")
		if err == nil {
			t.Error("a run that is not there was marked")
		}
		return nil
	})
}

// TestActions keeps actions as long as their records, in their order, and takes them along
// to another database.
func TestActions(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		ctx := t.Context()
		s, now := clocked(t, db)
		action := func(id, record string, kind store.RecordKind) store.Action {
			return store.Action{ID: id, Kind: kind, RecordID: record, Name: store.ActionResolve, Actor: "ann", Reason: "seen", Details: "failed", At: noon}
		}
		*now = noon
		kept := []store.Action{action("b", "kept", store.RecordRelease), action("c", "kept", store.RecordRelease)}
		update(t, s, func(tx *store.Tx) error {
			_, _, err := tx.AddRun(ctx, run("run", "rule", "a"))
			_, err2 := tx.AddRelease(ctx, release.Release{ID: "kept", RunID: "run", State: release.Running, CreatedAt: noon, Deadline: noon})
			return errors.Join(err, err2, tx.AddAction(ctx, kept[1]), tx.AddAction(ctx, kept[0]), tx.AddAction(ctx, action("a", "gone", store.RecordRun)))
		})
		if removed, err := s.Expire(ctx, noon.Add(31*24*time.Hour), time.Hour, 30*24*time.Hour, 10); err != nil || removed.Actions != 1 {
			t.Errorf("removed %+v, error %v", removed, err)
		}
		other := withQueue(t, open(t, storetest.Database{SQLite: t.TempDir() + "/copy.db"}))
		if _, err := other.Copy(ctx, s, func(*store.Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*store.Store{s, other} {
			update(t, s, func(tx *store.Tx) error {
				actions, err := tx.ActionsOf(ctx, "kept")
				if diff := cmp.Diff(kept, actions); diff != "" {
					t.Errorf("actions (-want +got):\n%s", diff)
				}
				gone, err2 := tx.ActionsOf(ctx, "gone")
				if len(gone) != 0 {
					t.Errorf("actions of a record that is gone: %+v", gone)
				}
				return errors.Join(err, err2)
			})
		}
	})
}
