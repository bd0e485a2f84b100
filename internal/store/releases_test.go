package store_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/gatewright/gatewright/internal/codecheck"
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

// TestVersionOf: a version changes with what a person decides on, and not when a service was looked at again.
func TestVersionOf(t *testing.T) { each(t, testVersionOf) }

func testVersionOf(t *testing.T, s *store.Store) {
	ctx := t.Context()
	run := codecheck.Run{ID: "run", State: codecheck.Queued, CreatedAt: noon, Deadline: noon}
	r := release.Release{ID: "release", RunID: "run", State: release.Starting, CreatedAt: noon, Deadline: noon}
	var runVersion, releaseVersion store.Version
	update(t, s, func(tx *store.Tx) error {
		if _, _, err := tx.AddRun(ctx, run); err != nil {
			return err
		}
		_, err := tx.AddRelease(ctx, r)
		return err
	})
	seen := func() (versions [2]string) {
		update(t, s, func(tx *store.Tx) (err error) {
			for i, kind := range []store.RecordKind{store.RecordRun, store.RecordRelease} {
				if versions[i], err = tx.VersionOf(ctx, kind, string(kind)); err != nil {
					return err
				}
			}
			return nil
		})
		return versions
	}
	last := seen()
	for _, step := range []struct {
		name          string
		run, release  bool // changes
		changeRun     func(*codecheck.Run)
		changeRelease func(*release.Release)
	}{
		{"they run", true, true, func(r *codecheck.Run) { r.State, r.ExecID = codecheck.Running, "e" }, func(r *release.Release) { r.State, r.ExecutionID = release.AwaitingApproval, "1" }},
		{"they are looked at", false, false, func(r *codecheck.Run) { r.Polls, r.Reason = 1, "30 %" }, func(r *release.Release) { r.Polls, r.Reason, r.Status = 1, "waits", 5 }},
		{"another checkpoint waits", false, true, func(*codecheck.Run) {}, func(r *release.Release) { r.Waiting = []string{"go live"} }},
		{"somebody approves", false, true, func(*codecheck.Run) {}, func(r *release.Release) { r.Hold = &release.Hold{Approved: []string{"ann"}} }},
		{"they end", true, true, func(r *codecheck.Run) { r.State = codecheck.Stopped }, func(r *release.Release) { r.State = release.Stopped }},
	} {
		step.changeRun(&run)
		step.changeRelease(&r)
		update(t, s, func(tx *store.Tx) error {
			if err := tx.SaveRun(ctx, run, &runVersion); err != nil {
				return err
			}
			return tx.SaveRelease(ctx, r, &releaseVersion)
		})
		now := seen()
		if now[0] != last[0] != step.run || now[1] != last[1] != step.release {
			t.Errorf("%s: versions %v after %v", step.name, now, last)
		}
		last = now
	}
	update(t, s, func(tx *store.Tx) error {
		if _, err := tx.VersionOf(ctx, store.RecordRun, "none"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the version of no run: %v", err)
		}
		return nil
	})
}
