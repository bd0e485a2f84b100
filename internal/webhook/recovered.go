package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/gatewright/gatewright/internal/event"
)

// ParseRecovered is Parse for a delivery that says what was read from a host: its body is an
// event.Event. What a host answers to a question is bound, checked and cut as what it sends by itself.
func ParseRecovered(c Connection, body []byte) (event.Event, error) {
	ev, err := parseRecovered(c, body)
	if err != nil {
		return event.Event{}, fmt.Errorf("read recovered event of %q: %w", c.Name, err)
	}
	return ev, nil
}

func parseRecovered(c Connection, body []byte) (event.Event, error) {
	h, known := hostOf(c.Host)
	if !known {
		return event.Event{}, fmt.Errorf("unknown host %q", c.Host)
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	var ev event.Event
	if err := decoder.Decode(&ev); err != nil {
		return event.Event{}, fmt.Errorf("it is not an event: %w", err)
	}
	ev.Connection, ev.Repository.Host, ev.IgnoredReason = c.Name, c.Host, ""
	var err error
	switch ev.Kind {
	case event.Push:
		ev.NewCode = !ev.Deleted
		ev, err = settlePush(ev)
	case event.MergeRequest:
		ev.NewCode = false
		ev, err = settleMergeRequest(ev, string(ev.Action), false)
	default:
		return event.Event{}, fmt.Errorf("%.20q is neither a push nor a merge request", ev.Kind)
	}
	if err == nil {
		err = bind(c, h, &ev, places{})
	}
	if err == nil {
		ev, err = bounded(ev)
	}
	if err != nil {
		return event.Event{}, err
	}
	ev.Files = settledFiles(ev)
	if ev.Labels == nil {
		ev.Labels = []string{}
	}
	return ev, nil
}
