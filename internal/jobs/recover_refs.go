package jobs

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// maxRecovered bounds the deliveries that one look at a repository makes; the next look goes on.
const maxRecovered = 100

// comparison compares what a host says of a repository with what is known.
type comparison struct {
	repository store.HostRepository
	event      event.Event // what all events of the repository have in common
	policy     *rules.Policy
	now        time.Time
	grace      time.Duration
	// recent is since when a head counts that is known by a delivery alone.
	recent time.Time
	known  map[string]store.HostRef
	heads  map[string]store.KnownHead

	saved     []store.HostRef
	forgotten []string
	events    []event.Event
	found     []time.Time // of each event
	// pending: there are refs whose webhook may still come.
	pending bool
}

// compareRefs compares the refs of a repository with what is known of them, and saves what follows:
//
// A ref that is seen for the first time is noted and starts nothing. One that is at another commit than
// the one that is known, and is still so after the grace, becomes a delivery where a rule asks for a check
// of it, and is noted otherwise. What is known is what recovery noted, or what a delivery told since; a
// ref that recovery has not noted yet counts as known when a delivery told it within max_event_age.
func (q *Queue) compareRefs(ctx context.Context, tx *transaction, policy *rules.Policy, r store.HostRepository, read readings) (pending bool, err error) {
	c := comparison{
		repository: r, policy: policy, now: q.now(), grace: q.opts.Recovery.Grace, recent: q.now().Add(-q.opts.MaxEventAge),
		event: event.Event{Connection: r.Connection, Repository: read.repository, Recovered: event.Compared, Labels: []string{}},
	}
	if c.known, err = tx.HostRefs(ctx, r.Key); err != nil {
		return false, err
	}
	listed := map[string]event.Event{}
	for _, refs := range []*forge.Refs{read.branches, read.mergeRequests} {
		if refs != nil {
			for _, ref := range refs.List {
				ev := c.eventOf(ref)
				listed[ev.RefKey()] = ev
			}
		}
	}
	keys := make([]string, 0, len(listed)+len(c.known))
	for key := range listed {
		keys = append(keys, key)
	}
	for key := range c.known {
		if _, also := listed[key]; !also {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	if c.heads, err = tx.HeadsOf(ctx, keys); err != nil {
		return false, err
	}
	for _, key := range keys {
		if ev, there := listed[key]; there {
			c.compare(key, ev)
		} else if known := c.known[key]; known.Kind == event.Push && whole(read.branches, 1) || known.Kind == event.MergeRequest && whole(read.mergeRequests, 0) {
			c.gone(key, known)
		} else if known.Covered && (known.Kind == event.Push && read.branches == nil || known.Kind == event.MergeRequest && read.mergeRequests == nil) {
			known.Covered = false
			c.saved = append(c.saved, known)
		}
	}
	return c.pending, q.saveComparison(ctx, tx, c, read)
}

// whole reports whether a list says that what is not in it is not there. A repository without any
// branch is taken for a host in trouble.
func whole(refs *forge.Refs, least int) bool {
	return refs != nil && refs.Complete && len(refs.List) >= least
}

// eventOf is the event that a ref would be, as far as the ref alone tells.
func (c *comparison) eventOf(ref forge.Ref) event.Event {
	ev := c.event
	ev.Branch, ev.HeadSHA, ev.NewCode = ref.Branch, ref.SHA, true
	if ev.Kind, ev.Action = event.Push, event.Updated; ref.Number > 0 {
		ev.Kind, ev.Number = event.MergeRequest, ref.Number
		ev.SourceBranch, ev.Title, ev.UpdatedAt, ev.Draft, ev.Fork = ref.SourceBranch, ref.Title, ref.UpdatedAt, ref.Draft, ref.Fork
		ev.Author, ev.AuthorID = ref.Author, ref.AuthorID
		ev.Labels = append(ev.Labels, ref.Labels...)
	}
	return ev
}

// compare compares one ref that the host has.
func (c *comparison) compare(key string, ev event.Event) {
	known, watched := c.known[key]
	head, announced := c.heads[key]
	covered := len(c.policy.Possible(ev)) > 0
	next := known
	switch {
	case watched:
	case announced && head.At.After(c.recent):
		next = c.newRef(key, ev)
		if next.SHA, next.Branch = head.SHA, head.Branch; head.Ended {
			next.SHA = ""
		}
	default:
		next = c.newRef(key, ev)
		next.Covered = covered
		c.saved = append(c.saved, next)
		return
	}
	ev.Before, ev.Action = next.SHA, event.Updated
	ended, since := false, c.now
	if announced && (head.At.After(next.SettledAt) || !watched) {
		ev.Before, ended, next.Branch, since = head.SHA, head.Ended, head.Branch, head.At
	}
	next.Covered, next.Repository = covered, ev.Repository.FullName
	same := !ended && ev.Before == ev.HeadSHA
	switch {
	case same && (ev.Number == 0 || next.Branch == ev.Branch):
		next = c.settled(next, ev, since)
	case next.FoundAt.IsZero() || next.Found != ev.HeadSHA || next.FoundAt.After(c.now):
		next.Found, next.FoundAt = ev.HeadSHA, c.now
	}
	if !next.FoundAt.IsZero() {
		switch {
		case c.now.Sub(next.FoundAt) < c.grace || covered && len(c.events) == maxRecovered:
			c.pending = true
		default:
			switch {
			case (ended || ev.Before == "") && ev.Number > 0:
				ev.Action = event.Reopened
			case ended || ev.Before == "":
				ev.Before, ev.Action = "", event.Created
			case same:
				ev.Action = event.Retargeted
			}
			if covered {
				c.events, c.found = append(c.events, ev), append(c.found, next.FoundAt)
			}
			next = c.settled(next, ev, next.FoundAt)
		}
	}
	if next != known {
		c.saved = append(c.saved, next)
	}
}

// newRef is a ref that was not noted yet.
func (c *comparison) newRef(key string, ev event.Event) store.HostRef {
	return store.HostRef{
		RefKey: key, RepositoryKey: c.repository.Key, Connection: ev.Connection, Repository: ev.Repository.FullName, Kind: ev.Kind, Branch: ev.Branch, Number: ev.Number,
		SHA: ev.HeadSHA, SettledAt: c.now, Since: c.now, First: c.repository.Since.IsZero(),
	}
}

// settled is a ref at the commit and target of an event, which it has had since a time.
func (c *comparison) settled(ref store.HostRef, ev event.Event, since time.Time) store.HostRef {
	if ref.SHA != ev.HeadSHA {
		ref.SHA, ref.SettledAt, ref.Since, ref.Answered, ref.First = ev.HeadSHA, c.now, since, false, false
	} else if !ref.FoundAt.IsZero() {
		ref.SettledAt = c.now
	}
	ref.Branch, ref.Found, ref.FoundAt = ev.Branch, "", time.Time{}
	return ref
}

// gone notes a ref that the host has no longer. After the grace, what is left of it here ends.
func (c *comparison) gone(key string, known store.HostRef) {
	if known.FoundAt.IsZero() || known.Found != "" || known.FoundAt.After(c.now) {
		known.Found, known.FoundAt = "", c.now
		c.saved = append(c.saved, known)
	}
	if c.now.Sub(known.FoundAt) < c.grace || len(c.events) == maxRecovered {
		c.pending = true
		return
	}
	c.forgotten = append(c.forgotten, key)
	head, announced := c.heads[key]
	if !announced || head.Ended {
		return
	}
	ev := c.event
	ev.Kind, ev.Branch, ev.Number, ev.Before = known.Kind, head.Branch, known.Number, head.SHA
	if ev.Kind == event.Push {
		ev.Action, ev.Deleted = event.Deleted, true
	} else {
		// Whether it was merged is not told by its absence, and makes no difference here.
		ev.Action, ev.HeadSHA = event.Closed, head.SHA
	}
	c.events, c.found = append(c.events, ev), append(c.found, known.FoundAt)
}

// saveComparison writes what follows from a comparison.
func (q *Queue) saveComparison(ctx context.Context, tx *transaction, c comparison, read readings) error {
	// Decisions, too, lock heads before host refs.
	if err := tx.KeepHeads(ctx, c.repository.Key); err != nil {
		return err
	}
	for _, ref := range c.saved {
		if err := tx.SaveHostRef(ctx, ref); err != nil {
			return err
		}
	}
	for _, key := range c.forgotten {
		if err := tx.ForgetHostRef(ctx, key); err != nil {
			return err
		}
	}
	because := ""
	if read.branches != nil && read.branches.MostInPush > 0 {
		changed := 0
		for _, ev := range c.events {
			if ev.Kind == event.Push {
				changed++
			}
		}
		if changed > read.branches.MostInPush {
			because = fmt.Sprintf("%d branches changed: the host sends no webhook for a push of more than %d", changed, read.branches.MostInPush)
		}
	}
	var packed []store.Packed
	for i, ev := range c.events {
		reason := because
		if ev.Kind != event.Push {
			reason = ""
		}
		delivery, err := q.recoveredDelivery(ev, reason, c.found[i])
		if err != nil {
			return err
		}
		packed = append(packed, delivery)
	}
	if len(packed) > 0 {
		if _, err := storeBatch(ctx, tx, packed); err != nil {
			return err
		}
	}
	return tx.NoteAnswered(ctx, c.repository.Key)
}
