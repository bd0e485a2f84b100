package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
)

func push(before, sha string) event.Event {
	return event.Event{
		Connection: "github", Kind: event.Push, Branch: "main", Before: before, HeadSHA: sha,
		Repository: event.Repository{ID: "1", FullName: "acme/api"},
	}
}

func request(changed, before, sha string) event.Event {
	e := push(before, sha)
	e.Kind, e.Number, e.UpdatedAt = event.MergeRequest, 7, changed
	return e
}

// TestAdvanceHead walks through orders in which events can be processed. A delivery is
// written as its id, which tells the order of receipt, and its event.
func TestAdvanceHead(t *testing.T) {
	type told struct {
		id           string
		event        event.Event
		wantAdvanced bool
	}
	gone := push("c", "")
	gone.Deleted = true
	closed := request("", "", "b")
	closed.Action = event.Closed
	retargeted := request("", "", "b")
	retargeted.Branch = "release"
	read := func(e event.Event) event.Event {
		e.Recovered = event.Compared
		return e
	}
	announced := func(e event.Event) event.Event {
		e.NewCode = true
		return e
	}
	for _, test := range []struct {
		name string
		told []told
		want store.Head
	}{
		{"in order", []told{{"1", push("", "a"), true}, {"2", push("a", "b"), true}, {"3", push("b", "c"), true}}, store.Head{SHA: "c", Branch: "main"}},
		{"a backlog from its end", []told{{"3", push("b", "c"), true}, {"1", push("", "a"), false}, {"2", push("a", "b"), false}}, store.Head{SHA: "c", Branch: "main"}},
		{"the older one is delivered late", []told{{"1", push("a", "b"), true}, {"2", push("", "a"), false}}, store.Head{SHA: "b", Branch: "main"}},
		{"forced back", []told{{"1", push("", "a"), true}, {"2", push("a", "b"), true}, {"3", push("b", "a"), true}}, store.Head{SHA: "a", Branch: "main"}},
		{"the same once more", []told{{"1", push("a", "b"), true}, {"1", push("a", "b"), true}}, store.Head{SHA: "b", Branch: "main"}},
		{"a gap", []told{{"1", push("a", "b"), true}, {"2", push("x", "y"), true}}, store.Head{SHA: "y", Branch: "main"}},
		{"deleted", []told{{"1", push("b", "c"), true}, {"2", gone, true}}, store.Head{Branch: "main", Ended: true}},
		{"deleted and made again", []told{{"1", gone, true}, {"2", push("", "c"), true}}, store.Head{SHA: "c", Branch: "main"}},
		{"the host's time wins", []told{{"1", request("2026-03-01T12:00:05Z", "", "b"), true}, {"2", request("2026-03-01T12:00:00Z", "", "a"), false}}, store.Head{SHA: "b", Branch: "main"}},
		{"the host's time, as another host writes it", []told{{"1", request("2026-03-01 12:00:05 UTC", "", "b"), true}, {"2", request("2026-03-01 12:00:00 UTC", "", "a"), false}}, store.Head{SHA: "b", Branch: "main"}},
		{"no time of the host", []told{{"2", request("", "", "b"), true}, {"1", request("", "", "a"), false}}, store.Head{SHA: "b", Branch: "main"}},
		{"a label does not hide what was before", []told{{"1", request("", "a", "b"), true}, {"2", request("", "", "b"), true}, {"3", request("", "", "a"), false}}, store.Head{SHA: "b", Branch: "main"}},
		{"closed", []told{{"1", request("", "", "b"), true}, {"2", closed, true}}, store.Head{SHA: "b", Branch: "main", Ended: true}},
		{"read from the host", []told{{"1", push("", "a"), true}, {"2", read(push("a", "c")), true}}, store.Head{SHA: "c", Branch: "main"}},
		{"read from the host, and its webhook is late", []told{{"1", push("", "a"), true}, {"2", read(push("a", "b")), true}, {"3", announced(push("a", "b")), false}}, store.Head{SHA: "b", Branch: "main"}},
		{"read from the host, and the webhooks of all pushes are late", []told{
			{"1", push("", "a"), true}, {"2", read(push("a", "d")), true}, {"3", announced(push("a", "b")), false},
			{"4", announced(push("b", "c")), false}, {"5", announced(push("c", "d")), false}, {"6", announced(push("d", "e")), true},
		}, store.Head{SHA: "e", Branch: "main"}},
		{"read from the host after its webhook came", []told{{"1", push("", "a"), true}, {"2", push("a", "b"), true}, {"3", read(push("a", "b")), false}}, store.Head{SHA: "b", Branch: "main"}},
		{"read from the host before something newer came", []told{{"1", push("", "a"), true}, {"2", push("a", "b"), true}, {"3", push("b", "c"), true}, {"4", read(push("a", "b")), false}}, store.Head{SHA: "c", Branch: "main"}},
		{"read from the host, forced back", []told{{"1", push("", "a"), true}, {"2", push("a", "b"), true}, {"3", read(push("b", "a")), true}}, store.Head{SHA: "a", Branch: "main"}},
		{"read from the host, made again", []told{{"1", push("b", "c"), true}, {"2", gone, true}, {"3", read(push("", "d")), true}}, store.Head{SHA: "d", Branch: "main"}},
		{"read from the host, deleted", []told{{"1", push("b", "c"), true}, {"2", read(gone), true}, {"3", gone, false}}, store.Head{Branch: "main", Ended: true}},
		{"a merge request read from the host", []told{
			{"1", request("2026-03-01T12:00:00Z", "", "a"), true}, {"2", read(request("2026-03-01T12:00:09Z", "a", "b")), true},
			{"3", announced(request("2026-03-01T12:00:05Z", "a", "b")), false},
		}, store.Head{SHA: "b", Branch: "main"}},
		{"retargeted", []told{{"1", request("", "", "b"), true}, {"2", retargeted, true}}, store.Head{SHA: "b", Branch: "release"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			each(t, func(t *testing.T, s *store.Store) {
				for i, told := range test.told {
					update(t, s, func(tx *store.Tx) error {
						change, err := tx.AdvanceHead(t.Context(), told.event, told.id)
						if advanced := change == store.HeadAdvanced; advanced != told.wantAdvanced {
							t.Errorf("event %d: %s", i, change)
						}
						return err
					})
				}
				update(t, s, func(tx *store.Tx) error {
					head, known, err := tx.Head(t.Context(), test.told[0].event.RefKey())
					if diff := cmp.Diff(test.want, head, cmpopts.IgnoreUnexported(store.Head{}), cmpopts.IgnoreFields(store.Head{}, "DeliveryID")); diff != "" || !known {
						t.Errorf("known %v, head (-want +got):\n%s", known, diff)
					}
					return err
				})
			})
		})
	}
}
