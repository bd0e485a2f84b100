package jobs

import (
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
)

// TestDecisionThatEndsTheProcess: a delivery whose decision ends the process is decided
// alone when its job comes again, does not take others with it, fails after five ends,
// and can be replayed. A step that ends in the middle, without another word, is what the
// database sees of a process that ends.
func TestDecisionThatEndsTheProcess(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{SQLite: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	deadly := true
	var read []string
	q := &Queue{store: s, log: zap.NewNop(), now: time.Now, deciding: make(chan struct{}, 1), opts: Options{
		Parse: func(d event.Delivery) (event.Event, error) {
			read = append(read, d.ID)
			if deadly && d.ID == "deadly" {
				runtime.Goexit()
			}
			return event.Ignored("not wanted"), nil
		},
		Metrics: NewMetrics(prometheus.NewRegistry()),
	}}
	add := func(id string, size int) {
		t.Helper()
		packed, err := s.Pack(event.Delivery{ID: id, Connection: "github", Host: event.GitHub, Key: id, Body: make([]byte, size)})
		if err == nil {
			err = s.Update(t.Context(), func(tx *store.Tx) error {
				_, err := tx.AddDeliveries(t.Context(), []store.Packed{packed})
				return err
			})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// decide reports whether the step came to its end.
	decide := func(again bool, ids ...string) (survived bool) {
		done := make(chan bool, 1)
		read = nil
		go func() {
			defer close(done)
			if _, err := q.decide(t.Context(), decideArgs{DeliveryIDs: ids, again: again}); err != nil {
				t.Error(err)
			}
			done <- true
		}()
		return <-done
	}
	state := func(id string) (state event.DeliveryState, reason string) {
		t.Helper()
		if err := s.View(t.Context(), func(tx *store.Tx) error {
			d, err := tx.Delivery(t.Context(), id)
			state, reason = d.State, d.Reason
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return state, reason
	}

	add("a", 10)
	add("deadly", 10)
	if decide(false, "a", "deadly") {
		t.Fatal("the process did not end")
	}
	if decide(true, "a", "deadly") {
		t.Fatal("the process did not end the second time")
	}
	if got, _ := state("a"); got != event.DeliveryIgnored {
		t.Errorf("the other delivery is %s", got)
	}
	// It is in nobody's batch any more.
	add("b", 10)
	if !decide(false, "b") || !slices.Equal(read, []string{"b"}) {
		t.Errorf("read %q", read)
	}
	for range maxEnds - 1 {
		if decide(true, "deadly") {
			t.Fatal("the process did not end")
		}
	}
	if got, _ := state("deadly"); got != event.DeliveryReceived {
		t.Fatalf("too early the delivery is %s", got)
	}
	if !decide(true, "deadly") || len(read) != 0 {
		t.Errorf("read %q again", read)
	}
	if got, reason := state("deadly"); got != event.DeliveryFailed || !strings.Contains(reason, "5 times") {
		t.Errorf("the delivery is %s: %s", got, reason)
	}
	deadly = false
	if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.Replay(t.Context(), "deadly") }); err != nil {
		t.Fatal(err)
	}
	if !decide(false, "deadly") {
		t.Error("the replayed delivery ended the process")
	}
	if got, _ := state("deadly"); got != event.DeliveryIgnored {
		t.Errorf("after the replay it is %s", got)
	}

	// What an earlier process may have ended over is in nobody's batch.
	add("old", 10)
	add("c", 10)
	q.started = time.Now()
	if !decide(false, "c") || !slices.Equal(read, []string{"c"}) {
		t.Errorf("read %q", read)
	}
	q.started = time.Time{}
	if !decide(false, "old") {
		t.Error("the old delivery ended the process")
	}

	// A large body is alone from the first time on, and in nobody's batch.
	deadly = true
	add("small", 10)
	add("large", smallBody+1)
	if !decide(false, "small") || !slices.Equal(read, []string{"small"}) {
		t.Errorf("read %q", read)
	}
	if !decide(false, "large") || !slices.Equal(read, []string{"large"}) {
		t.Errorf("read %q", read)
	}
}
