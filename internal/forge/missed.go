package forge

import (
	"context"
	"net/http"
	"slices"
	"time"
)

// MissedHook is a webhook with what it could not deliver.
type MissedHook struct {
	ID string
	// Stopped says how the host has switched it off because of failures; empty when it has not.
	Stopped string
	// Failed are the deliveries of which no attempt had success, the oldest first.
	Failed []HookDelivery
	// PerMinute is how many of them, and tests, the host sends in a minute; 0 for any number.
	PerMinute int
}

// HookDelivery is the newest attempt at a delivery.
type HookDelivery struct {
	// ID is that of the attempt, GUID what the receiver is told.
	ID, GUID string
	At       time.Time
}

// attempt is one attempt at a delivery, as a host lists it.
type attempt struct {
	HookDelivery
	ok bool
}

// deliveryKeeper is what a kind of host does that remembers the deliveries of webhooks.
type deliveryKeeper interface {
	// attempts are those of a page, the newest first; cursor is empty for the first page, and next
	// for the last.
	attempts(ctx context.Context, o HookOwner, hook, cursor string) (list []attempt, next string, err error)
	redeliver(ctx context.Context, o HookOwner, hook, delivery string) error
	// testHook has the host send a test delivery, which makes a hook that it switched off work again.
	testHook(ctx context.Context, o HookOwner, hook string) error
	// kept is for how long deliveries are kept, and perMinute is MissedHook.PerMinute.
	kept() (age time.Duration, perMinute int)
}

const (
	readsDeliveries, redelivers, testsHook = "read deliveries", "redeliver", "test webhook"
	// maxAttemptPages bounds how many attempts of a webhook are read.
	maxAttemptPages = 10
)

// Missed reads, of the webhooks of a repository or organisation that send to an address, those that the host has
// switched off, or that could not deliver something since a time. A host that does not remember deliveries has
// none. registered: there is such a webhook, or the host remembers nothing of it. The errors are as those of Hooks.
func (f *Forge) Missed(ctx context.Context, o HookOwner, address string, since time.Time) (missed []MissedHook, registered bool, err error) {
	c, err := f.connected(o.Connection, readsDeliveries)
	if err != nil {
		return nil, false, err
	}
	keeper, keeps := c.client.(deliveryKeeper)
	if !keeps {
		return nil, true, nil
	}
	all, err := f.Hooks(ctx, o)
	if err != nil {
		return nil, false, err
	}
	age, perMinute := keeper.kept()
	if oldest := f.now().Add(-age); since.Before(oldest) {
		since = oldest
	}
	for _, hook := range all {
		if hook.URL != address {
			continue
		}
		if registered = true; !hook.Active {
			continue
		}
		found := MissedHook{ID: hook.ID, Stopped: hook.Stopped, PerMinute: perMinute}
		err := f.onHooks(ctx, readsDeliveries, o, func(ctx context.Context, _ *connected) (err error) {
			found.Failed, err = failedSince(ctx, keeper, o, hook.ID, since)
			return err
		})
		if err != nil {
			return nil, true, err
		}
		if found.Stopped != "" || len(found.Failed) > 0 {
			missed = append(missed, found)
		}
	}
	return missed, registered, nil
}

// failedSince are the deliveries since a time of which no attempt had success.
func failedSince(ctx context.Context, keeper deliveryKeeper, o HookOwner, hook string, since time.Time) ([]HookDelivery, error) {
	seen := map[string]bool{} // by their ids, whether an attempt had success
	newest := map[string]HookDelivery{}
	cursor := ""
	for range maxAttemptPages {
		list, next, err := keeper.attempts(ctx, o, hook, cursor)
		if err != nil {
			return nil, err
		}
		for _, a := range list {
			if a.At.Before(since) {
				next = ""
				continue
			}
			if a.GUID == "" || len(a.GUID) > 200 || !isHookID(a.ID) {
				continue // nothing could be expected under it
			}
			if seen[a.GUID] = seen[a.GUID] || a.ok; newest[a.GUID].ID == "" {
				newest[a.GUID] = a.HookDelivery
			}
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	var failed []HookDelivery
	for guid, ok := range seen {
		if !ok {
			failed = append(failed, newest[guid])
		}
	}
	slices.SortFunc(failed, func(a, b HookDelivery) int { return a.At.Compare(b.At) })
	return failed, nil
}

// Redeliver asks the host to send a delivery of a webhook again, under the same id. Whether that had success
// it does not tell.
func (f *Forge) Redeliver(ctx context.Context, o HookOwner, hook, delivery string) error {
	return f.onDeliveries(ctx, redelivers, o, func(ctx context.Context, keeper deliveryKeeper) error {
		if !isHookID(hook) || !isHookID(delivery) {
			return noSuchHook(hook)
		}
		return keeper.redeliver(ctx, o, hook, delivery)
	})
}

// TestHook has the host send a test delivery by a webhook, which switches it on again where the host had
// switched it off.
func (f *Forge) TestHook(ctx context.Context, o HookOwner, hook string) error {
	return f.onDeliveries(ctx, testsHook, o, func(ctx context.Context, keeper deliveryKeeper) error {
		if !isHookID(hook) {
			return noSuchHook(hook)
		}
		return keeper.testHook(ctx, o, hook)
	})
}

func (f *Forge) onDeliveries(ctx context.Context, name string, o HookOwner, call func(context.Context, deliveryKeeper) error) error {
	return f.onHooks(ctx, name, o, func(ctx context.Context, c *connected) error {
		keeper, keeps := c.client.(deliveryKeeper)
		if !keeps {
			return &Error{message: "this kind of host does not remember deliveries"}
		}
		return call(ctx, keeper)
	})
}

// succeeded reports whether the status of an answer is a success.
func succeeded(status int) bool {
	return status >= http.StatusOK && status < http.StatusMultipleChoices
}
