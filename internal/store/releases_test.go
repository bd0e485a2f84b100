package store_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

func TestReleaseOncePerVerdictAndStaysEnded(t *testing.T) {
	ctx := t.Context()
	for _, state := range release.States() {
		t.Run(string(state), func(t *testing.T) {
			each(t, func(t *testing.T, s *store.Store) {
				r := release.Release{ID: "one", RunID: "run", Index: 1, State: release.Starting, CreatedAt: noon, Deadline: noon}
				var version store.Version
				update(t, s, func(tx *store.Tx) error {
					if added, err := tx.AddRelease(ctx, r); err != nil || !added {
						return fmt.Errorf("added %v: %w", added, err)
					}
					twin := r
					twin.ID = "two"
					if added, err := tx.AddRelease(ctx, twin); err != nil || added {
						return fmt.Errorf("a second release of the same verdict: added %v, error %w", added, err)
					}
					r.State = state
					return tx.SaveRelease(ctx, r, &version)
				})
				late := r
				late.Reason = "late"
				var old store.Version
				if err := s.Update(ctx, func(tx *store.Tx) error { return tx.SaveRelease(ctx, late, &old) }); err == nil {
					t.Errorf("a stale save over %s worked", state)
				}
				err := s.Update(ctx, func(tx *store.Tx) error { return tx.SaveRelease(ctx, late, &version) })
				if errors.Is(err, store.ErrEnded) != state.Ended() {
					t.Errorf("save over %s: error %v", state, err)
				}
				update(t, s, func(tx *store.Tx) error {
					list, err := tx.ReleasesOf(ctx, "run")
					if len(list) != 1 || (list[0].Reason == "late") == state.Ended() {
						t.Errorf("after a late save over %s: %+v", state, list)
					}
					return err
				})
			})
		})
	}
}

func TestOneUnansweredActionPerPipeline(t *testing.T) { each(t, testOneUnansweredActionPerPipeline) }

func testOneUnansweredActionPerPipeline(t *testing.T, s *store.Store) {
	ctx := t.Context()
	var releases []release.Release
	for i, pipeline := range []string{"p", "p", "q"} {
		r := release.Release{ID: fmt.Sprint(i), RunID: fmt.Sprint(i), Plan: rules.Release{Pipeline: pipeline}, State: release.Starting, CreatedAt: noon, Deadline: noon}
		update(t, s, func(tx *store.Tx) error { _, err := tx.AddRelease(ctx, r); return err })
		r.Intent = &release.Intent{Action: "start", SentAt: noon}
		releases = append(releases, r)
	}
	versions := map[string]store.Version{}
	save := func(r release.Release) error {
		version := versions[r.ID]
		err := s.Update(ctx, func(tx *store.Tx) error { return tx.SaveRelease(ctx, r, &version) })
		versions[r.ID] = version
		return err
	}
	for i, want := range []error{nil, store.ErrPipelineBusy, nil} {
		if err := save(releases[i]); !errors.Is(err, want) {
			t.Errorf("intent of release %d: %v, want %v", i, err, want)
		}
	}
	if err := save(releases[0]); err != nil {
		t.Errorf("the same intent once more: %v", err)
	}
	releases[0].State = release.Running
	if err := errors.Join(save(releases[0]), save(releases[1])); err != nil {
		t.Errorf("the next in turn: %v", err)
	}
}
