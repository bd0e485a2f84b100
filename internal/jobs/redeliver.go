package jobs

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/store"
)

// Redeliverer is what recovery asks of hosts that remember the deliveries of webhooks; see [forge.Forge].
type Redeliverer interface {
	Missed(ctx context.Context, o forge.HookOwner, address string, since time.Time) (missed []forge.MissedHook, registered bool, err error)
	HookKind(connection string) forge.HookKind
	Redeliver(ctx context.Context, o forge.HookOwner, hook, delivery string) error
	TestHook(ctx context.Context, o forge.HookOwner, hook string) error
}

const (
	// maxRedelivered bounds what one look at a repository asks a host to send again.
	maxRedelivered = 50
	// askAgainAfter is when a host is asked for a delivery once more whose next attempt failed, too; then
	// after twice as long each time.
	askAgainAfter = 10 * time.Minute
	// testFor is within what time a test delivery is received: the host sends it before it answers.
	testFor = 5 * time.Minute
)

// redeliveries remember, by the keys of repositories, what was told of webhooks that cannot be read, so that it
// is told once, and when there is more to be asked for again; and when organisations were asked last.
type redeliveries struct {
	mu    sync.Mutex
	told  map[string]string
	next  map[string]time.Time
	asked map[forge.HookOwner]time.Time
}

// turn reports whether an organisation is to be asked now: once a minute for all of its repositories.
func (d *redeliveries) turn(o forge.HookOwner, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if last, asked := d.asked[o]; asked && now.Sub(last) < time.Minute && !now.Before(last) {
		return false
	}
	if d.asked == nil {
		d.asked = map[forge.HookOwner]time.Time{}
	}
	d.asked[o] = now
	return true
}

// nextAsk is when a repository is to be asked about although its turn in this round is over; zero for not.
func (d *redeliveries) nextAsk(key string) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.next[key]
}

// setNext notes that there is more to be asked for at a time; the zero time for none.
func (d *redeliveries) setNext(key string, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at.IsZero() {
		delete(d.next, key)
		return
	}
	if d.next == nil {
		d.next = map[string]time.Time{}
	}
	d.next[key] = at
}

// redeliver asks the host of a repository to send again what it could not deliver since the repository was read
// first, and switches a webhook on that it had switched off. What the host
// refuses is logged once, and does not stop the comparison.
func (q *Queue) redeliver(ctx context.Context, r store.HostRepository, read readings) error {
	address := q.opts.Recovery.HookURL(r.Connection)
	if address == "" || r.Since.IsZero() {
		return nil
	}
	more, registered, err := q.redeliverOf(ctx, forge.HookOwner{Connection: r.Connection, Repository: r.FullName}, address, r, read)
	if err == nil && !registered {
		more, err = q.redeliverAbove(ctx, address, r)
	}
	var asked failure
	switch {
	case err == nil:
	case isSlow(ctx):
		err = context.Cause(ctx)
	case ctx.Err() != nil || !errors.As(err, &asked):
		return err
	}
	next := time.Time{}
	if more {
		next = q.now().Add(time.Minute)
	}
	q.redeliveries.setNext(r.Key, next)
	q.tellRedelivery(r.Key, zapcore.WarnLevel, forge.HookOwner{Connection: r.Connection, Repository: r.FullName}, err)
	return nil
}

// redeliverOf asks for what the webhooks of a repository or organisation could not deliver.
func (q *Queue) redeliverOf(ctx context.Context, owner forge.HookOwner, address string, r store.HostRepository, read readings) (more, registered bool, err error) {
	q.shares.use(r.Connection, 2)
	hooks, registered, err := q.opts.Recovery.Redeliverer.Missed(ctx, owner, address, r.Since)
	for _, hook := range hooks {
		again, failed := q.redeliverHook(ctx, owner, r, hook, read)
		more = more || again
		if err = cmp.Or(failed, err); failed != nil && !onlyThis(failed) {
			break
		}
	}
	return more, registered, err
}

// redeliverAbove asks for what the organisations of a repository that has no webhook itself could not deliver, of any of
// their repositories. That an organisation's webhooks cannot be read is told once: there may be none.
func (q *Queue) redeliverAbove(ctx context.Context, address string, r store.HostRepository) (more bool, err error) {
	for _, name := range q.opts.Recovery.Redeliverer.HookKind(r.Connection).OrganizationsOf(r.FullName) {
		owner := forge.HookOwner{Connection: r.Connection, Organization: name}
		if !q.redeliveries.turn(owner, q.now()) {
			continue
		}
		again, registered, err := q.redeliverOf(ctx, owner, address, r, readings{})
		if err != nil && !final(err) {
			return more, err
		}
		q.tellRedelivery(ownerKey(owner), zapcore.InfoLevel, owner, err)
		if more = more || again; registered {
			break
		}
	}
	return more, nil
}

// onlyThis reports whether a host refused one request for good, and may take the next.
func onlyThis(err error) bool {
	var refused interface{ Forbidden() bool }
	return final(err) && !(errors.As(err, &refused) && refused.Forbidden())
}

// redeliverHook asks for what one webhook could not deliver. What the host refuses for good does not stop the
// rest; the error is the last.
func (q *Queue) redeliverHook(ctx context.Context, owner forge.HookOwner, r store.HostRepository, hook forge.MissedHook, read readings) (more bool, err error) {
	left := maxRedelivered
	if hook.PerMinute > 0 {
		left = hook.PerMinute
	}
	if owner.Repository == "" {
		// Of which repository its test delivery would be is not known, so that it could not be expected.
		if q.redeliveries.news(ownerKey(owner)+" "+hook.ID, hook.Stopped) {
			q.log.Warn("webhook switched off by its host: switch it on there, or run gatewright hooks install", zap.String(event.LogConnection, owner.Connection), zap.String(event.LogRepository, owner.String()), zap.String(event.LogReason, "switched off "+hook.Stopped))
		}
	} else if hook.Stopped != "" {
		left--
		if err = q.switchOn(ctx, owner, r, hook, read); err != nil && !onlyThis(err) {
			return false, err
		}
	}
	guids := make([]string, len(hook.Failed))
	for i, failed := range hook.Failed {
		guids[i] = failed.GUID
	}
	var received map[string]bool
	unread := q.store.View(ctx, func(tx *store.Tx) (err error) {
		received, err = tx.ReceivedHostIDs(ctx, r.Connection, guids)
		return err
	})
	if unread != nil {
		return false, unread
	}
	for _, failed := range hook.Failed {
		if received[failed.GUID] {
			continue // the host did not get our answer
		}
		asked, refused := q.redeliverOne(ctx, owner, r, hook.ID, failed)
		if err = cmp.Or(refused, err); refused != nil && !onlyThis(refused) {
			return false, err
		}
		if !asked {
			continue
		}
		if left--; left <= 0 {
			return true, err
		}
	}
	return false, err
}

// redeliverOne asks for a delivery, unless it is too early to do so again.
func (q *Queue) redeliverOne(ctx context.Context, owner forge.HookOwner, r store.HostRepository, hook string, failed forge.HookDelivery) (asked bool, err error) {
	err = q.store.Update(ctx, func(tx *store.Tx) (err error) {
		asked, err = tx.ExpectDelivery(ctx, r.Connection, failed.GUID, askAgainAfter)
		return err
	})
	if err != nil || !asked {
		return false, err
	}
	q.shares.use(r.Connection, 1)
	if err := q.opts.Recovery.Redeliverer.Redeliver(ctx, owner, hook, failed.ID); err != nil {
		return true, err
	}
	q.log.Info("delivery asked for again", zap.String(event.LogConnection, r.Connection), zap.String(event.LogRepository, owner.String()), zap.String(event.LogHostID, failed.GUID))
	return true, nil
}

// switchOn switches a webhook on that its host has switched off, by a test delivery. That looks like a push of the
// newest commit of the default branch, and is expected.
func (q *Queue) switchOn(ctx context.Context, owner forge.HookOwner, r store.HostRepository, hook forge.MissedHook, read readings) error {
	branch, sha := "", ""
	if read.branches != nil {
		i := slices.IndexFunc(read.branches.List, func(ref forge.Ref) bool { return ref.Branch == read.repository.DefaultBranch })
		if i < 0 {
			return nil // there is nothing to test with
		}
		branch, sha = read.branches.List[i].Branch, read.branches.List[i].SHA
	}
	ask := false
	err := q.store.Update(ctx, func(tx *store.Tx) (err error) {
		ask, err = tx.ExpectDelivery(ctx, r.Connection, testID(r.ID, branch, sha), askAgainAfter)
		return err
	})
	if err != nil || !ask {
		return err
	}
	q.shares.use(r.Connection, 1)
	if err := q.opts.Recovery.Redeliverer.TestHook(ctx, owner, hook.ID); err != nil {
		return err
	}
	q.log.Info("webhook switched on again", zap.String(event.LogConnection, r.Connection), zap.String(event.LogRepository, r.FullName), zap.String(event.LogReason, "its host had switched it off "+hook.Stopped))
	return nil
}

// testID is what a test delivery is expected under: it has no id that is known before.
func testID(repositoryID, branch, sha string) string {
	return "test " + repositoryID + " " + branch + " " + sha
}

// noteTest notes of a push that a rule matches that it is the test delivery that was asked for, and of one that
// may be, but comes too late to be sure, that it came because its host was asked.
func (q *Queue) noteTest(ctx context.Context, tx *transaction, e *evaluation) error {
	if q.opts.Recovery.Every <= 0 || q.opts.Recovery.HookURL(e.event.Connection) == "" {
		return nil
	}
	if e.event.Kind != event.Push || e.event.Recovered == event.Compared || len(e.decision.Matches) == 0 || e.event.HeadSHA == "" {
		return nil
	}
	var late bool
	var err error
	id := testID(e.event.Repository.ID, e.event.Branch, e.event.HeadSHA)
	e.onlyTests, late, err = tx.TakeExpected(ctx, e.event.Connection, id, e.delivery.ReceivedAt.Add(-testFor))
	if err != nil || !late {
		return err
	}
	e.event.Recovered, e.delivery.Recovered = event.Redelivered, event.Redelivered
	return tx.NoteRedelivered(ctx, e.delivery.ID)
}

// tellRedelivery logs once that webhooks cannot be read or used, and why.
func (q *Queue) tellRedelivery(key string, level zapcore.Level, owner forge.HookOwner, err error) {
	text := ""
	if err != nil {
		text = shortened(err.Error())
	}
	if q.redeliveries.news(key, text) {
		q.log.Log(level, "failed deliveries not asked for again, only heads are compared", zap.String(event.LogConnection, owner.Connection), zap.String(event.LogRepository, owner.String()), zap.String(event.LogReason, text))
	}
}

// ownerKey is the key of an organisation among those of repositories.
func ownerKey(o forge.HookOwner) string { return o.Connection + " " + o.Organization }

// news notes what is to be told under a key, empty for nothing, and reports whether it was not told yet.
func (d *redeliveries) news(key, text string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.told == nil {
		d.told = map[string]string{}
	}
	before := d.told[key]
	d.told[key] = text
	return text != "" && text != before
}
