package tasks

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// need is a check that a rule asks for.
type need struct {
	event event.Event
	match rules.Match
}

// branch is that of the full task.
func (n need) branch() string { return n.full().Branch }

// full is the event whose full task is needed: that of the target branch for a merge
// request that is scanned incrementally.
func (n need) full() event.Event {
	ev := n.event
	if ev.Number != 0 && n.match.Check.Scan == rules.ScanFull {
		ev.Branch = ev.SourceBranch
	}
	ev.Number = 0
	return ev
}

func (n need) sameRepository(address string) bool {
	return codecheck.SameRepository(address, n.event.Repository.HTTPSURL) || codecheck.SameRepository(address, n.event.Repository.SSHURL)
}

// needs are the checks that the rules ask for: for the repositories and branches that they
// name, and for the branches and merge requests that deliveries were received of.
func (i Inventory) needs(ctx context.Context) ([]need, error) {
	events := i.named()
	if i.Store != nil {
		err := i.Store.View(ctx, func(tx *store.Tx) error {
			heads, err := tx.OpenHeads(ctx)
			for _, h := range heads {
				if ev, ok := i.announced(h); ok {
					events = append(events, ev)
				}
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	var needs []need
	for _, ev := range events {
		for _, match := range i.Policy.Possible(ev) {
			n := need{ev, match}
			if n.branch() != "" {
				needs = append(needs, n)
			}
		}
	}
	return needs, nil
}

// named are events of the repositories and branches that the rules name without a
// wildcard.
func (i Inventory) named() []event.Event {
	var events []event.Event
	for _, t := range i.Policy.Targets() {
		kind := event.Push
		if !slices.Contains(t.On, event.Push) {
			if !slices.Contains(t.On, event.MergeRequest) {
				continue
			}
			kind = event.MergeRequest
		}
		for _, connection := range i.Connections {
			if len(t.Connections) > 0 && !slices.Contains(t.Connections, connection) {
				continue
			}
			for _, repository := range t.Repositories {
				for _, branch := range t.Branches {
					ev := event.Event{Connection: connection, Kind: kind, Action: event.Updated, Branch: branch, NewCode: true, Repository: i.Repository(connection, repository)}
					if kind == event.MergeRequest {
						ev.Number = 1 // any
					}
					events = append(events, ev)
				}
			}
		}
	}
	return events
}

// announced is the event of a head that deliveries told of; ok is false for a tag, for which
// no task is planned, and for a connection that is not configured any more.
func (i Inventory) announced(h store.RememberedHead) (ev event.Event, ok bool) {
	connection, id, _ := strings.Cut(h.RepositoryKey, " ")
	kind, name, _ := strings.Cut(strings.TrimPrefix(h.RefKey, h.RepositoryKey+" "), " ")
	if !slices.Contains(i.Connections, connection) {
		return event.Event{}, false
	}
	ev = event.Event{Connection: connection, Kind: event.Kind(kind), Action: event.Updated, Branch: h.Head.Branch, HeadSHA: h.Head.SHA,
		NewCode: true, Repository: i.Repository(connection, h.Repository)}
	ev.Repository.ID = id
	switch ev.Kind {
	case event.Push:
		return ev, true
	case event.MergeRequest:
		number, err := strconv.Atoi(name)
		ev.Number = number
		return ev, err == nil
	}
	return event.Event{}, false
}
