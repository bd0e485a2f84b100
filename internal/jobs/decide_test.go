package jobs

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// TestDecideWhatCanBeDecided: of deliveries that were stored together one is damaged, and
// two can never be saved. The first ends as failed; the others wait, with those that
// share their commits and no others.
func TestDecideWhatCanBeDecided(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{SQLite: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	q := &Queue{store: s, log: zap.NewNop(), now: time.Now, deciding: make(chan struct{}, 1), opts: Options{
		Parse:   func(event.Delivery) (event.Event, error) { return event.Ignored("not wanted"), nil },
		Metrics: NewMetrics(prometheus.NewRegistry()),
	}}
	ids, list := make([]string, maxBatch), make([]store.Packed, maxBatch)
	for i := range list {
		ids[i] = fmt.Sprint(i)
		if list[i], err = s.Pack(event.Delivery{ID: ids[i], Connection: "github", Host: event.GitHub, Key: ids[i]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Update(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.AddDeliveries(t.Context(), list); err != nil {
			return err
		}
		_, err := tx.Native().(*sql.Tx).Exec(`UPDATE deliveries SET header = 'damaged' WHERE id = '100';
			CREATE TRIGGER never BEFORE UPDATE ON deliveries WHEN NEW.id IN ('3', '60') BEGIN SELECT RAISE(ABORT, 'never'); END`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	// Each of the two batches that failed is in the error.
	if _, err := q.decide(t.Context(), decideArgs{DeliveryIDs: ids}); err == nil || strings.Count(err.Error(), "never") != 2 {
		t.Errorf("error %v, want one for each of the two deliveries that could not be saved", err)
	}
	found := map[event.DeliveryState]int{}
	if err := s.View(t.Context(), func(tx *store.Tx) error {
		for _, id := range ids {
			// The damaged one comes with its error.
			d, _ := tx.Delivery(t.Context(), id)
			found[d.State]++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if found[event.DeliveryReceived] != 2*decisionsPerCommit || found[event.DeliveryFailed] != 1 || found[event.DeliveryIgnored] != maxBatch-2*decisionsPerCommit-1 {
		t.Errorf("the deliveries are %v", found)
	}
}

// TestDecideWithOthers: a job decides what waits with its own deliveries, in the order of
// receipt. Where one of the others can never be saved, its own are decided without them.
func TestDecideWithOthers(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{SQLite: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var order []string
	q := &Queue{store: s, log: zap.NewNop(), now: time.Now, deciding: make(chan struct{}, 1), opts: Options{
		Parse: func(d event.Delivery) (event.Event, error) {
			order = append(order, d.ID)
			return event.Ignored("not wanted"), nil
		},
		Metrics: NewMetrics(prometheus.NewRegistry()),
	}}
	states := func() (got string) {
		if err := s.View(t.Context(), func(tx *store.Tx) error {
			list, err := tx.Deliveries(t.Context(), store.Filter{OldestFirst: true, Limit: 10})
			for _, d := range list {
				got += d.ID + " " + string(d.State) + ", "
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if err := s.Update(t.Context(), func(tx *store.Tx) error {
		var list []store.Packed
		for i, id := range []string{"1", "2", "3"} {
			packed, err := s.Pack(event.Delivery{ID: id, Connection: "github", Host: event.GitHub, Key: id, ReceivedAt: time.UnixMicro(int64(i))})
			if err != nil {
				return err
			}
			list = append(list, packed)
		}
		if _, err := tx.AddDeliveries(t.Context(), list); err != nil {
			return err
		}
		_, err := tx.Native().(*sql.Tx).Exec(`CREATE TRIGGER never BEFORE UPDATE ON deliveries WHEN NEW.id = '1' BEGIN SELECT RAISE(ABORT, 'never'); END`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := q.decide(t.Context(), decideArgs{DeliveryIDs: []string{"3"}}); err != nil {
		t.Fatal(err)
	}
	if got, want := states(), "1 received, 2 received, 3 ignored, "; got != want {
		t.Errorf("with one that can never be saved: %s, want %s", got, want)
	}
	if _, err := s.SQLite().ExecContext(t.Context(), `DROP TRIGGER never`); err != nil {
		t.Fatal(err)
	}
	order = nil
	if _, err := q.decide(t.Context(), decideArgs{DeliveryIDs: []string{"2"}}); err != nil {
		t.Fatal(err)
	}
	if got, want := states(), "1 ignored, 2 ignored, 3 ignored, "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if _, err := q.decide(t.Context(), decideArgs{DeliveryIDs: []string{"1", "2", "3"}}); err != nil || len(order) != 2 {
		t.Errorf("read %q again, error %v", order, err)
	}
}

// TestDecideAfterAnotherReplica: a job whose delivery another replica is deciding is not
// done, because that replica can die before its commit.
func TestDecideAfterAnotherReplica(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{Postgres: storetest.Postgres(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	q := &Queue{store: s, log: zap.NewNop(), now: time.Now, deciding: make(chan struct{}, 1), opts: Options{
		Parse:   func(event.Delivery) (event.Event, error) { return event.Ignored("not wanted"), nil },
		Metrics: NewMetrics(prometheus.NewRegistry()),
	}}
	packed, err := s.Pack(event.Delivery{ID: "one", Connection: "github", Host: event.GitHub, Key: "one"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.AddDeliveries(t.Context(), []store.Packed{packed})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	decide := func(want time.Duration) {
		t.Helper()
		if wait, err := q.decide(t.Context(), decideArgs{DeliveryIDs: []string{"one"}}); wait != want || err != nil {
			t.Errorf("wait %v, error %v; want a wait of %v", wait, err, want)
		}
	}
	died := errors.New("died")
	if err := s.Update(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.LockUndecided(t.Context(), []string{"one"}); err != nil {
			return err
		}
		decide(othersWait)
		return died
	}); !errors.Is(err, died) {
		t.Fatal(err)
	}
	decide(0)
	if err := s.View(t.Context(), func(tx *store.Tx) error {
		d, err := tx.Delivery(t.Context(), "one")
		if d.State != event.DeliveryIgnored {
			t.Errorf("the delivery is %s", d.State)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestReplicasDecideWithoutDeadlock: two replicas decide batches that name the same
// branches in opposite orders, again and again.
func TestReplicasDecideWithoutDeadlock(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{Postgres: storetest.Postgres(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	policy, complaints := rules.Load(rules.Source{Name: "rules.yaml", Data: []byte("version: 1\nrules: [{name: none, on: [tag], ignore: true}]")})
	if len(complaints) > 0 {
		t.Fatal(complaints)
	}
	q := &Queue{store: s, log: zap.NewNop(), now: time.Now, deciding: make(chan struct{}, 1), opts: Options{
		Parse: func(d event.Delivery) (event.Event, error) {
			return event.Event{Connection: "github", Kind: event.Push, Branch: d.HostID, HeadSHA: d.ID, Repository: event.Repository{ID: "1"}}, nil
		},
		Policy:  func() *rules.Policy { return policy },
		Metrics: NewMetrics(prometheus.NewRegistry()),
	}}
	const branches = 16
	for round := range 20 {
		batches := make([][]string, 2)
		for i := range batches {
			list := make([]store.Packed, branches)
			for branch := range list {
				id := fmt.Sprintf("%d %d %d", round, i, branch)
				if list[branch], err = s.Pack(event.Delivery{ID: id, Connection: "github", Host: event.GitHub, Key: id, HostID: fmt.Sprint(branch)}); err != nil {
					t.Fatal(err)
				}
				batches[i] = append(batches[i], id)
			}
			if err := s.Update(t.Context(), func(tx *store.Tx) error { _, err := tx.AddDeliveries(t.Context(), list); return err }); err != nil {
				t.Fatal(err)
			}
		}
		slices.Reverse(batches[1])
		var wg sync.WaitGroup
		for _, ids := range batches {
			wg.Go(func() {
				if _, err := q.decideBatch(t.Context(), ids); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	if err := s.View(t.Context(), func(tx *store.Tx) error {
		decided, err := tx.Deliveries(t.Context(), store.Filter{States: []string{string(event.DeliveryDecided)}, Limit: 1000})
		if want := 20 * 2 * branches; len(decided) != want {
			t.Errorf("%d deliveries are decided, want %d", len(decided), want)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
