package jobs

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
)

const (
	// tellingAtOnce is how many reports of a connection are being written at the same time in
	// this process.
	tellingAtOnce = 10
	// lookEvery is how often reports are looked for that nobody announced: those of other
	// processes, and those that were delayed. leastPause is between two rounds, so that one
	// round takes several reports when many come.
	lookEvery, leastPause = 500 * time.Millisecond, 20 * time.Millisecond
	// claimReport is longer than the writing of a report may take until it is saved, by clocks of
	// replicas that differ by as much as those of deliveries may.
	claimReport = remoteTimeout + 2*saveTimeout + time.Minute
)

// outbox writes the reports. They stand in the database until they are written, and need
// no job: a round is one transaction that saves what became of those which were written, and
// claims others. Who has claimed a report is its one writer, so that no older word follows a
// newer one; the claim of a process that died ends by itself.
type outbox struct {
	queue *Queue
	// id is that of this process as a writer.
	id string
	// news says that there may be something to write, or to save.
	news  chan struct{}
	hosts map[string]*turn
	// writing are the keys of the reports that are being written, or that are not saved yet: no jump
	// of the clock gives them a second writer here.
	writing map[string]bool
	// stopping is closed when nothing more is to be claimed, and ended when nothing is
	// being written any more. cancel ends what is being written.
	stopping, ended chan struct{}
	cancel          context.CancelFunc

	mu      sync.Mutex
	written []writtenReport
}

// turn is what the outbox knows of a connection.
type turn struct {
	// writing is how many of its reports are being written.
	writing int
	// until is before when its host wants to hear nothing.
	until time.Time
	// refused are the ids of repositories for which it is logged that the token may not write, and
	// nothing was written since.
	refused map[string]bool
}

// writtenReport is a report that was written, or why it was not.
type writtenReport struct {
	store.Outgoing
	failure error
}

func newOutbox(q *Queue) *outbox {
	return &outbox{queue: q, id: newID(), news: make(chan struct{}, 1), hosts: map[string]*turn{}, writing: map[string]bool{},
		stopping: make(chan struct{}), ended: make(chan struct{})}
}

// look makes the outbox look for reports. A command has none: the server finds them.
func (b *outbox) look() {
	if b == nil {
		return
	}
	select {
	case b.news <- struct{}{}:
	default: // it is about to
	}
}

// start begins to write. On SQLite the reports are free that an earlier process has claimed: no
// other uses the file.
func (b *outbox) start(ctx context.Context) error {
	if b.queue.store.SQLite() != nil {
		if err := b.queue.store.Update(ctx, func(tx *store.Tx) error { return tx.FreeReports(ctx) }); err != nil {
			return err
		}
	}
	ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go b.run(ctx)
	return nil
}

// stop waits until what is being written is written and saved, and cancels it when ctx ends
// first.
func (b *outbox) stop(ctx context.Context) {
	if b.cancel == nil {
		return // never started
	}
	close(b.stopping)
	defer b.cancel()
	select {
	case <-b.ended:
	case <-ctx.Done():
		b.cancel()
		<-b.ended
	}
}

func (b *outbox) run(ctx context.Context) {
	defer close(b.ended)
	stop, stopping := b.stopping, false
	var unsaved []store.Outgoing
	for !stopping || len(b.writing) > len(unsaved) {
		select {
		case <-b.news:
		case <-time.After(lookEvery):
		case <-stop:
			stop, stopping = nil, true
		}
		time.Sleep(leastPause)
		for _, w := range b.takeWritten() {
			unsaved = append(unsaved, b.settle(w))
		}
		claimed, err := b.round(ctx, unsaved, stopping)
		if err != nil {
			b.queue.log.Warn("what became of reports could not be saved, or others not be read; will be retried", zap.Error(err))
			continue
		}
		for _, o := range unsaved {
			delete(b.writing, o.Key())
		}
		unsaved = nil
		for _, o := range claimed {
			if b.writing[o.Key()] {
				continue
			}
			b.writing[o.Key()] = true
			b.hosts[o.Connection].writing++
			go b.write(ctx, o)
		}
	}
}

func (b *outbox) takeWritten() []writtenReport {
	b.mu.Lock()
	defer b.mu.Unlock()
	written := b.written
	b.written = nil
	return written
}

// settle takes a report back that was written, or could not be.
func (b *outbox) settle(w writtenReport) store.Outgoing {
	host := b.hosts[w.Connection]
	host.writing--
	b.queue.settle(&w.Outgoing, w.failure, host)
	return w.Outgoing
}

// round saves what became of reports and claims others, where there are any.
func (b *outbox) round(ctx context.Context, unsaved []store.Outgoing, stopping bool) (claimed []store.Outgoing, err error) {
	q := b.queue
	var connections []string
	if !stopping {
		view, cancel := context.WithTimeout(ctx, saveTimeout)
		defer cancel()
		err := q.store.View(view, func(tx *store.Tx) (err error) {
			connections, err = tx.ConnectionsToTell(view)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	room := map[string]int{}
	for _, connection := range connections {
		if n := b.room(connection); n > 0 {
			room[connection] = n
		}
	}
	if len(unsaved)+len(room) == 0 {
		return nil, nil
	}
	// In one order, as they are wanted, so that transactions wait for each other.
	slices.SortFunc(unsaved, func(a, b store.Outgoing) int { return strings.Compare(a.Key(), b.Key()) })
	err = q.save(ctx, func(ctx context.Context, tx *transaction) error {
		claimed = nil
		for _, o := range unsaved {
			if err := tx.SaveReport(ctx, o, b.id); err != nil {
				return err
			}
		}
		for connection, n := range room {
			if _, told := q.reportSettings(connection); !told || q.opts.Reporter == nil {
				if err := tx.ForgetReports(ctx, connection); err != nil {
					return err
				}
				continue
			}
			of, err := tx.ClaimReports(ctx, connection, b.id, q.now().Add(claimReport), n)
			if err != nil {
				return err
			}
			claimed = append(claimed, of...)
		}
		return nil
	})
	return claimed, err
}

// room is how many more reports of a connection may be written now.
func (b *outbox) room(connection string) int {
	host := b.hosts[connection]
	if host == nil {
		host = &turn{refused: map[string]bool{}}
		b.hosts[connection] = host
	}
	if b.queue.now().Before(host.until) {
		return 0
	}
	return tellingAtOnce - host.writing
}

// write writes one report that is claimed.
func (b *outbox) write(ctx context.Context, o store.Outgoing) {
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	w := writtenReport{Outgoing: o}
	defer func() {
		if p := recover(); p != nil {
			w.failure = fmt.Errorf("panic: %v", p)
			b.queue.log.Error("writing a report failed", zap.String(event.LogReport, o.Key()), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
		}
		b.mu.Lock()
		b.written = append(b.written, w)
		b.mu.Unlock()
		b.look()
	}()
	ctx = context.WithValue(ctx, idsKey{}, []zap.Field{zap.String(event.LogReport, o.Key())})
	settings, _ := b.queue.reportSettings(o.Connection)
	w.failure = b.queue.tell(ctx, settings, &w.Outgoing)
}
