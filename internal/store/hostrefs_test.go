package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// TestMissingVerdictOfFork: a merge request that waits for somebody who vouches for it has an answer, until it is
// checked: then its run has to give one.
func TestMissingVerdictOfFork(t *testing.T) { each(t, testMissingVerdictOfFork) }

func testMissingVerdictOfFork(t *testing.T, s *store.Store) {
	ctx := t.Context()
	ev := event.Event{Connection: "github", Kind: event.MergeRequest, Repository: event.Repository{ID: "1", FullName: "acme/api"}, Number: 7, Branch: "main", HeadSHA: "a"}
	missing := func(when string, want bool) {
		t.Helper()
		update(t, s, func(tx *store.Tx) error {
			if err := tx.NoteAnswered(ctx, ev.RepositoryKey()); err != nil {
				return err
			}
			list, err := tx.MissingVerdicts(ctx, time.Now().Add(time.Minute), 10)
			if got := slices.ContainsFunc(list, func(r store.HostRef) bool { return r.RefKey == ev.RefKey() }); got != want {
				t.Errorf("%s: missing %t", when, got)
			}
			return err
		})
	}
	update(t, s, func(tx *store.Tx) error {
		if err := tx.AddHostRepository(ctx, store.HostRepository{Key: ev.RepositoryKey(), Connection: "github", ID: "1", FullName: "acme/api"}); err != nil {
			return err
		}
		return tx.SaveHostRef(ctx, store.HostRef{
			RefKey: ev.RefKey(), RepositoryKey: ev.RepositoryKey(), Connection: "github", Repository: "acme/api", Kind: ev.Kind, Branch: "main", Number: 7, SHA: "a",
			SettledAt: time.Now(), Since: time.Now(), Covered: true,
		})
	})
	missing("nothing told of it", true)
	decision := &rules.Decision{Outcome: rules.NoMatch, Reason: "waits for somebody who vouches for it"}
	update(t, s, func(tx *store.Tx) error {
		if _, err := add(ctx, s, tx, delivery("waiting", "waiting", nil)); err != nil {
			return err
		}
		return tx.EndDelivery(ctx, "waiting", event.DeliveryIgnored, decision.Reason, store.SaidBy(ev, decision), decision)
	})
	missing("it waits for somebody", false)
	run := codecheck.Run{ID: "run", DeliveryID: "waiting", Rule: "requests", Event: ev, State: codecheck.Queued, CreatedAt: time.Now(), Deadline: time.Now().Add(time.Hour)}
	update(t, s, func(tx *store.Tx) error {
		_, _, err := tx.AddRun(ctx, run)
		return err
	})
	missing("it is checked", true)
	run.State = codecheck.Passed
	update(t, s, func(tx *store.Tx) error { return tx.SaveRun(ctx, run, new(store.Version)) })
	missing("it has passed", false)
}
