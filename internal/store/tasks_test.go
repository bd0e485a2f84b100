package store_test

import (
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

func TestTaskClaims(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		now := noon
		s, err := store.Open(t.Context(), store.Options{SQLite: db.SQLite, Postgres: db.Postgres, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		release := func(key, run string) func() error {
			return func() error { return s.ReleaseTask(t.Context(), key, run) }
		}
		later := func(d time.Duration) func() error {
			return func() error { now = now.Add(d); return nil }
		}
		superseded := run("superseded", "rule", "a")
		ends := func() error {
			return s.Update(t.Context(), func(tx *store.Tx) error {
				if _, _, err := tx.AddRun(t.Context(), superseded); err != nil {
					return err
				}
				superseded.State = codecheck.Superseded
				return tx.SaveRun(t.Context(), superseded, new(store.Version))
			})
		}
		for _, step := range []struct {
			what     string
			before   func() error
			key, run string
			want     bool
		}{
			{"of a run that is about to be superseded", later(0), "s", "superseded", true},
			{"right after its end", ends, "s", "b", false},
			{"when its last step may still be at work", later(29 * time.Second), "s", "b", false},
			{"when its last step is over", later(time.Second), "s", "b", true},
			{"the first", later(0), "k", "a", true},
			{"while another has it", later(0), "k", "b", false},
			{"of another task", later(0), "other", "b", true},
			{"of its own, which is renewed", later(time.Minute - time.Second), "k", "a", true},
			{"until the new end", later(time.Minute - time.Second), "k", "b", false},
			{"after the end", later(time.Second), "k", "b", true},
			{"of a run whose claim is over", later(0), "k", "a", false},
			{"after a release by a run that does not have it", release("k", "a"), "k", "a", false},
			{"after a release", release("k", "b"), "k", "a", true},
			{"after the task was saved", func() error { return s.SaveTask(t.Context(), push("", "a"), "k", codecheck.Task{ID: "1"}) }, "k", "b", true},
		} {
			if err := step.before(); err != nil {
				t.Fatal(err)
			}
			if got, err := s.ClaimTask(t.Context(), step.key, step.run, time.Minute); err != nil || got != step.want {
				t.Errorf("%s: claimed %v, error %v", step.what, got, err)
			}
		}
		if _, known, err := s.Task(t.Context(), "other"); known || err != nil {
			t.Errorf("a task that is only claimed: known %v, error %v", known, err)
		}
	})
}

func TestMemory(t *testing.T) { each(t, testMemory) }

func testMemory(t *testing.T, s *store.Store) {
	ctx := t.Context()
	if _, known, err := s.Task(ctx, "k"); known || err != nil {
		t.Errorf("unknown task: known %v, error %v", known, err)
	}
	if _, known, err := s.Ref(ctx, push("", "a")); known || err != nil {
		t.Errorf("unknown ref: known %v, error %v", known, err)
	}
	for _, want := range []codecheck.Task{{ID: "1", Name: "a"}, {ID: "2", Name: "b", ParentID: "1"}} {
		if err := s.SaveTask(ctx, push("", "a"), "k", want); err != nil {
			t.Fatal(err)
		}
		if got, known, err := s.Task(ctx, "k"); !known || err != nil || got != want {
			t.Errorf("task %+v, known %v, error %v; want %+v", got, known, err, want)
		}
		if got, known, err := s.TaskByID(ctx, want.ID); !known || err != nil || got != want {
			t.Errorf("task by id %+v, known %v, error %v; want %+v", got, known, err, want)
		}
	}
	if _, known, err := s.TaskByID(ctx, "1"); known || err != nil {
		t.Errorf("task that was replaced: known %v, error %v", known, err)
	}
	for _, want := range []codecheck.Ref{codecheck.Pull, codecheck.MergeRequest, ""} {
		if err := s.SaveRef(ctx, push("", "a"), want); err != nil {
			t.Fatal(err)
		}
		if got, known, err := s.Ref(ctx, push("", "a")); !known || err != nil || got != want {
			t.Errorf("ref %q, known %v, error %v; want %q", got, known, err, want)
		}
	}
}
