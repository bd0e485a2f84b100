package dashboard

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
)

// What live pages may cost.
const (
	// maxStreams is how many there are at a time, maxStreamsEach of one user.
	maxStreams, maxStreamsEach = 24, 8
	// streamEvery is how often a page is read again, streamFor how long one request is answered:
	// the next one is asked again who it comes from.
	streamEvery = 2 * time.Second
	streamFor   = 2 * time.Minute
	// writeWithin is how long a browser may take to read what is sent.
	writeWithin = 15 * time.Second
)

// stream sends the live sections of a page when they change, as server-sent events: "section" with
// the id and the HTML of one, "end" when the browser is to ask again.
func (d *Dashboard) stream(c echo.Context, p *page, show show) error {
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, "text/event-stream")
	header.Set("X-Accel-Buffering", "no")
	control := http.NewResponseController(c.Response().Writer)
	// The server's own limits are those of short answers.
	if err := errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Now().Add(writeWithin))); err != nil {
		return fmt.Errorf("prepare live page: %w", err)
	}
	done, err := d.streams.Open(c)
	if err != nil {
		return d.sendEvent(c, "end", "busy")
	}
	defer done()
	ctx, cancel := context.WithTimeout(c.Request().Context(), streamFor)
	defer cancel()
	c.SetRequest(c.Request().WithContext(ctx))
	ticker := time.NewTicker(streamEvery)
	defer ticker.Stop()
	sent := map[string][sha256.Size]byte{}
	for {
		if err := d.sendChanged(c, p, show, sent); err != nil {
			if ctx.Err() == nil {
				d.opts.Log.Warn("live page ended", zap.String(event.LogOperation, c.Path()), zap.Error(err))
			}
			return nil
		}
		select {
		case <-ticker.C:
		case <-d.stopped:
			return d.sendEvent(c, "end", "stopped")
		case <-ctx.Done():
			if c.Request().Context().Err() != nil && ctx.Err() == context.Canceled {
				return nil
			}
			return d.sendEvent(c, "end", "again")
		}
	}
}

// sendChanged sends the live sections that are not as they were sent last; of a page that was just
// loaded all of them, because it may have changed since. It always sends something, by which a
// browser that is gone is noticed.
func (d *Dashboard) sendChanged(c echo.Context, p *page, show show, sent map[string][sha256.Size]byte) error {
	p.now = d.opts.Now()
	sections, err := show(c, p)
	if err != nil {
		return err
	}
	for _, s := range sections {
		if !s.live {
			continue
		}
		var html bytes.Buffer
		if err := sectionOf(s).Render(c.Request().Context(), &html); err != nil {
			return err
		}
		sum := sha256.Sum256(html.Bytes())
		if sent[s.id] == sum {
			continue
		}
		sent[s.id] = sum
		data, err := json.Marshal(map[string]string{"id": s.id, "html": html.String()})
		if err != nil {
			return err
		}
		if err := d.sendEvent(c, "section", string(data)); err != nil {
			return err
		}
	}
	return d.sendEvent(c, "alive", fmt.Sprint(p.now.Unix()))
}

// sendEvent sends one event; data has no line break.
func (d *Dashboard) sendEvent(c echo.Context, name, data string) error {
	control := http.NewResponseController(c.Response().Writer)
	if err := control.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c.Response(), "event: %s\ndata: %s\n\n", name, data); err != nil {
		return err
	}
	return control.Flush()
}

// Close ends the live pages and waits for them.
func (d *Dashboard) Close() {
	close(d.stopped)
	d.streams.Close()
}
