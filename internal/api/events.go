package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/store"
)

const (
	// pollEvery is how often changes are looked for while anybody listens.
	pollEvery = time.Second
	// heartbeatEvery is how often a comment is sent on a stream on which nothing happens.
	heartbeatEvery = 15 * time.Second
	// idBefore is how long before the begin of a stream the changes begin that are sent again to a client that got none.
	idBefore = 5 * time.Second
	// streamLasts is how long a stream is open: a client that has lost its rights gets nothing for longer.
	streamLasts = time.Minute
	// writeTimeout ends the stream of a client that does not read.
	writeTimeout = 10 * time.Second
	// maxStreams bounds the streams of a process, maxStreamsEach those of one user.
	maxStreams, maxStreamsEach = 32, 8
	// maxChanges bounds what is read at once, maxWaiting the changes that wait for a slow client.
	maxChanges, maxWaiting = 500, 1000
	// overlap is how far a look goes back behind the newest change that is known: transactions commit
	// in another order than that of their times, and the clocks of replicas differ.
	overlap = 5 * time.Second
	// maxReplay is how old the last change that a client has seen may be for those since to be sent.
	maxReplay = time.Hour
)

// Change is the data of an event of the stream.
type Change struct {
	// Kind is delivery, run or release.
	Kind store.RecordKind `json:"kind"`
	ID   string           `json:"id"`
	// State is what it is in now; empty where an action of a person or a remark was noted with it.
	State string    `json:"state"`
	At    time.Time `json:"at"`
}

// hub looks for changes once for all streams of the process.
type hub struct {
	store *store.Store
	log   *zap.Logger

	mu      sync.Mutex
	streams map[*clientStream]bool
	closed  bool
	// joined wakes the hub when there is a first stream.
	joined chan struct{}
}

// clientStream is one client that listens.
type clientStream struct {
	// changes are those that it is still to be sent; closed when it was too slow, or the service stops.
	changes chan Change
}

func newHub(s *store.Store, log *zap.Logger) *hub {
	return &hub{store: s, log: log, streams: map[*clientStream]bool{}, joined: make(chan struct{}, 1)}
}

// join adds a stream; nil when the service stops.
func (h *hub) join() *clientStream {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	s := &clientStream{changes: make(chan Change, maxWaiting)}
	h.streams[s] = true
	select {
	case h.joined <- struct{}{}:
	default:
	}
	return s
}

func (h *hub) leave(s *clientStream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.streams[s] {
		delete(h.streams, s)
		close(s.changes)
	}
}

func (h *hub) listened() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams) > 0
}

// tell gives changes to every stream. One that does not keep up is ended: its client comes back with
// Last-Event-ID.
func (h *hub) tell(changes []Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.streams {
		for _, c := range changes {
			select {
			case s.changes <- c:
				continue
			default:
			}
			delete(h.streams, s)
			close(s.changes)
			break
		}
	}
}

// run looks for changes while anybody listens, until ctx is done.
func (h *hub) run(ctx context.Context) {
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.closed = true
		for s := range h.streams {
			delete(h.streams, s)
			close(s.changes)
		}
	}()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.joined:
		}
		look := newLook(time.Now())
		for h.listened() {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			changes, err := look.next(ctx, h.store)
			if err != nil && ctx.Err() == nil {
				h.log.Warn("looking for changes failed, will try again", zap.Error(err))
			}
			h.tell(changes)
		}
	}
}

// look remembers which changes were seen.
type look struct {
	newest time.Time
	seen   map[Change]bool
}

func newLook(since time.Time) *look { return &look{newest: since, seen: map[Change]bool{}} }

// next reads the changes that were not seen yet.
func (l *look) next(ctx context.Context, s *store.Store) ([]Change, error) {
	var fresh []Change
	since := l.newest.Add(-overlap)
	for c := range l.seen {
		if c.At.Before(since) {
			delete(l.seen, c)
		}
	}
	for {
		list, err := readChanges(ctx, s, since)
		if err != nil {
			return fresh, err
		}
		for _, c := range list {
			if !l.seen[c] {
				l.seen[c] = true
				fresh = append(fresh, c)
			}
			if c.At.After(l.newest) {
				l.newest = c.At
			}
		}
		// As many at one moment as are read at once do not happen.
		if len(list) < maxChanges || !list[len(list)-1].At.After(since) {
			return fresh, nil
		}
		since = list[len(list)-1].At
	}
}

// readChanges reads the changes since a time, the oldest first, at most maxChanges.
func readChanges(ctx context.Context, s *store.Store, since time.Time) (list []Change, err error) {
	var stored []store.Change
	err = s.View(ctx, func(tx *store.Tx) error {
		stored, err = tx.Changes(ctx, since, maxChanges)
		return err
	})
	for _, c := range stored {
		list = append(list, Change(c))
	}
	return list, err
}

// stream sends the changes as they happen.
func (a *API) stream(c echo.Context) error {
	since, resumes, err := lastEvent(c)
	if err != nil {
		return err
	}
	done, err := a.streams.Open(c)
	switch {
	case errors.Is(err, access.ErrTooManyOfUser):
		return problem{http.StatusTooManyRequests, "too_many", err.Error()}
	case err != nil:
		return problem{http.StatusServiceUnavailable, "unavailable", err.Error()}
	}
	defer done()
	s := a.events.join()
	if s == nil {
		return problem{http.StatusServiceUnavailable, "unavailable", "the service stops: ask again later"}
	}
	defer a.events.leave(s)
	w := eventWriter{answer: c.Response(), control: http.NewResponseController(c.Response())}
	header := c.Response().Header()
	header.Set("Content-Type", "text/event-stream")
	// A proxy must not gather events.
	header.Set("X-Accel-Buffering", "no")
	// The request has no end: the deadline of the server for its arrival would end it.
	if err := w.control.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("keep stream open: %w", err)
	}
	c.Response().WriteHeader(http.StatusOK)
	begun := w.write("retry: 2000\n\n")
	if begun == nil && resumes {
		begun = a.resume(c, &w, since)
	}
	if begun == nil {
		// A client that comes back misses nothing, also when nothing had happened. Clocks of replicas differ a little.
		begun = w.write(fmt.Sprintf("id: %d\n\n", a.now().Add(-idBefore).UnixMicro()))
	}
	if begun != nil {
		return nil // The client has gone.
	}
	heartbeat := time.NewTicker(heartbeatEvery)
	defer heartbeat.Stop()
	// A client that comes back says who it is again.
	end := time.NewTimer(streamLasts)
	defer end.Stop()
	for {
		var err error
		select {
		case <-c.Request().Context().Done():
			return nil
		case <-end.C:
			return nil
		case <-heartbeat.C:
			err = w.write(": heartbeat\n\n")
		case change, open := <-s.changes:
			if !open {
				return nil
			}
			err = w.change(change)
		}
		if err != nil {
			return nil
		}
	}
}

// resume sends the changes since the last that the client has seen, or says that it must read everything again.
func (a *API) resume(c echo.Context, w *eventWriter, since time.Time) error {
	list, err := readChanges(c.Request().Context(), a.opts.Store, since)
	if err != nil || len(list) == maxChanges || a.now().Sub(since) > maxReplay {
		return w.write("event: reset\ndata: {}\n\n")
	}
	for _, change := range list {
		if err := w.change(change); err != nil {
			return err
		}
	}
	return nil
}

// lastEvent is the time of the last change that a client has seen.
func lastEvent(c echo.Context) (since time.Time, resumes bool, err error) {
	text := c.Request().Header.Get("Last-Event-ID")
	if text == "" {
		return time.Time{}, false, nil
	}
	micros, err := strconv.ParseInt(text, 10, 64)
	if err != nil || micros < 0 {
		return time.Time{}, false, badRequest("Last-Event-ID: send the id of an event of this stream")
	}
	return time.UnixMicro(micros), true, nil
}

// eventWriter writes events, each at once.
type eventWriter struct {
	answer  *echo.Response
	control *http.ResponseController
}

func (w *eventWriter) write(text string) error {
	if err := w.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := w.answer.Write([]byte(text)); err != nil {
		return err
	}
	return w.control.Flush()
}

func (w *eventWriter) change(c Change) error {
	// Texts and a time, which JSON has.
	data, _ := json.Marshal(c)
	return w.write(fmt.Sprintf("id: %d\nevent: change\ndata: %s\n\n", c.At.UnixMicro(), data))
}
