package jobs

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
)

func packed(connection string) store.Packed {
	return store.Packed{Delivery: event.Delivery{Connection: connection}}
}

// TestBatch takes what is pending, up to the size of one commit.
func TestBatch(t *testing.T) {
	g := newGroupCommit()
	add := func(number int) {
		for range number {
			if _, err := g.add(t.Context(), packed("github")); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(maxBatch)
	first := <-g.pending
	add(1)
	if batch := g.batch(first); len(batch) != maxBatch || len(g.pending) != 1 {
		t.Errorf("a batch of %d, and %d left", len(batch), len(g.pending))
	}
}

// TestStopCommitsWhatIsPending holds that every delivery which was taken gets its answer,
// and that none is taken after the end.
func TestStopCommitsWhatIsPending(t *testing.T) {
	g := newGroupCommit()
	var list []*pending
	for range maxBatch {
		p, err := g.add(t.Context(), packed("github"))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	full, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.add(full, packed("github")); !errors.Is(err, context.Canceled) {
		t.Errorf("with no room, and nobody who waits: %v", err)
	}
	g.start(func(batch []*pending) {
		for _, p := range batch {
			p.committed <- committed{id: "stored"}
		}
	})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(g.stop)
	}
	wg.Wait()
	for i, p := range list {
		select {
		case got := <-p.committed:
			if got.id != "stored" {
				t.Errorf("delivery %d: %+v", i, got)
			}
		default:
			t.Fatalf("delivery %d of %d has no answer", i, len(list))
		}
	}
	if _, err := g.add(t.Context(), packed("github")); !errors.Is(err, errStopped) {
		t.Errorf("after the end: %v", err)
	}
}
