package jobs

import (
	"errors"
	"fmt"
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
	for range maxBatch + 10 {
		if _, err := g.add(packed(fmt.Sprint(len(g.pending) % 2))); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{maxBatch, 10} {
		if batch := g.batch(<-g.pending); len(batch) != want {
			t.Errorf("a batch of %d, want %d", len(batch), want)
		}
	}
}

// TestPendingShare holds that one connection cannot take the places of the others, and
// gets its own back when its deliveries are committed.
func TestPendingShare(t *testing.T) {
	g := newGroupCommit()
	for range maxPendingShare {
		if _, err := g.add(packed("loud")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.add(packed("loud")); !errors.Is(err, ErrOverloaded) {
		t.Errorf("one more of the loud connection: %v", err)
	}
	if _, err := g.add(packed("quiet")); err != nil {
		t.Errorf("the quiet connection: %v", err)
	}
	g.release("loud")
	if _, err := g.add(packed("loud")); err != nil {
		t.Errorf("after a commit: %v", err)
	}
}

// TestStopCommitsWhatIsPending holds that every delivery which was taken gets its answer,
// and that none is taken after the end.
func TestStopCommitsWhatIsPending(t *testing.T) {
	g := newGroupCommit()
	var list []*pending
	for range 3 * maxBatch {
		p, err := g.add(packed("github"))
		if errors.Is(err, ErrOverloaded) {
			break
		}
		list = append(list, p)
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
	if _, err := g.add(packed("github")); !errors.Is(err, ErrOverloaded) {
		t.Errorf("after the end: %v", err)
	}
}
