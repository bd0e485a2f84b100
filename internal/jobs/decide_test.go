package jobs

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
)

// TestDecideWhatCanBeDecided: of deliveries that came together one is damaged, and one
// can never be saved. The first ends as failed; the second waits, with those that
// share its commit and no others.
func TestDecideWhatCanBeDecided(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{SQLite: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	q := &Queue{store: s, log: zap.NewNop(), now: time.Now, intake: newIntake(), opts: Options{
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
			CREATE TRIGGER never BEFORE UPDATE ON deliveries WHEN NEW.id = '3' BEGIN SELECT RAISE(ABORT, 'never'); END`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := q.decide(t.Context(), decideArgs{DeliveryIDs: ids}); err == nil {
		t.Error("no error, although a delivery could not be saved")
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
	if found[event.DeliveryReceived] != decidedTogether || found[event.DeliveryFailed] != 1 || found[event.DeliveryIgnored] != maxBatch-decidedTogether-1 {
		t.Errorf("the deliveries are %v", found)
	}
}
