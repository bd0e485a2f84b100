package jobs_test

import (
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/storetest"
)

// TestForeignIDHidesNothing: an old body that is sent again under the id of a genuine
// delivery does not make that one a duplicate. Both are stored and decided, and the log
// names them.
func TestForeignIDHidesNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		core, logs := observer.New(zapcore.WarnLevel)
		b := newBenchLogging(t, db, events, time.Now, zap.New(core))
		accept := func(id, hostID, body string) (string, bool) {
			stored, duplicate, err := b.Accept(t.Context(), event.Delivery{
				ID: id, Connection: "github", Host: event.GitHub, Key: hostID + " " + body, HostID: hostID, Body: []byte(body), ReceivedAt: time.Now(),
			})
			if err != nil {
				t.Fatal(err)
			}
			return stored, duplicate
		}
		accept("replayed", "b", "an old body")
		b.ended(t, "replayed")
		if stored, duplicate := accept("genuine", "b", "its own body"); duplicate || stored != "genuine" {
			t.Errorf("the genuine delivery is stored as %q, duplicate %v", stored, duplicate)
		}
		if d := b.ended(t, "genuine"); d.State == event.DeliveryReceived {
			t.Errorf("the genuine delivery is %s: %s", d.State, d.Reason)
		}
		if stored, duplicate := accept("again", "b", "its own body"); !duplicate || stored != "genuine" {
			t.Errorf("sent again it is stored as %q, duplicate %v", stored, duplicate)
		}
		found := logs.FilterMessage("suspicious delivery accepted").All()
		if len(found) != 1 {
			t.Fatalf("%d warnings, want 1", len(found))
		}
		for name, want := range map[string]any{
			event.LogDelivery: "genuine", event.LogOtherDelivery: "replayed", event.LogHostID: "b", event.LogConnection: "github",
		} {
			if got := found[0].ContextMap()[name]; got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
	})
}
