package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// origin finds out where a merge request comes from and, where trust is wanted, whether the commit of a
// fork is trusted: somebody vouches for it, or its author may write to the repository or is in a group
// of the server file. Author and fork are those that the host tells; of the payload only the
// commit counts, which must be the one that the host has. What nobody tells is not trusted.
func (q *Queue) origin(ctx context.Context, delivery store.Delivery, ev event.Event, trust bool) (o event.Origin, err error) {
	if trust {
		if o.Trusted, err = q.vouched(ctx, ev); err != nil {
			return o, err
		}
	}
	if !q.opts.Confirm(ev.Connection).Asks {
		o.Unknown = withoutToken(ev)
		return q.untrusted(o, trust, o.Unknown, delivery), nil
	}
	var request forge.MergeRequest
	o.Unknown, err = q.askHost(ctx, delivery, func() (err error) {
		request, err = q.opts.Forge.MergeRequest(ctx, ev)
		// Where nothing hangs on the commit, an event without one, or of a fork as it is, is told all the same.
		bound := !request.Fork && ev.HeadSHA != "" || request.Fork && trust && o.Trusted == ""
		if err == nil && bound && request.HeadSHA != ev.HeadSHA && elsewhere(ev, request) == "" {
			err = errors.New(moved(ev, request.HeadSHA)) // the host may lag behind its webhook
		}
		return err
	})
	if err == nil && o.Unknown == "" {
		o.Unknown = elsewhere(ev, request)
	}
	if err != nil || o.Unknown != "" {
		return q.untrusted(o, trust, o.Unknown, delivery), err
	}
	if o.Told, o.Fork = true, request.Fork; !o.Fork || !trust || o.Trusted != "" {
		return o, nil
	}
	author := request.Author
	if author.ID == "" {
		return q.untrusted(o, trust, "it comes from a fork, and its author has no account any more", delivery), nil
	}
	name := fmt.Sprintf("its author %.100q (account %s)", author.Login, author.ID)
	if groups := q.opts.Groups(ev.Connection, author.ID); len(groups) > 0 {
		o.Trusted = name + " is in group " + groups[0]
		return o, nil
	}
	may := false
	unknown, err := q.askHost(ctx, delivery, func() (err error) {
		may, err = q.opts.Forge.CanWrite(ctx, ev.Connection, ev.Repository, author)
		return err
	})
	switch {
	case err != nil:
		return o, err
	case may:
		o.Trusted = name + " may write to " + ev.Repository.FullName
		return o, nil
	case unknown != "":
		unknown = fmt.Sprintf("it comes from a fork, and whether %s may write to %s is not known: %s", name, ev.Repository.FullName, unknown)
	default:
		unknown = fmt.Sprintf("it comes from a fork, and %s may not write to %s and is in no group", name, ev.Repository.FullName)
	}
	return q.untrusted(o, trust, unknown, delivery), nil
}

// untrusted is o with why nobody is trusted, and who may change that; where trust is wanted and not given.
func (q *Queue) untrusted(o event.Origin, trust bool, why string, delivery store.Delivery) event.Origin {
	if trust && o.Trusted == "" {
		byComment := ""
		if commands := q.opts.Commands(delivery.Connection); commands.Prefix != "" && len(commands.May[commandOK]) > 0 {
			byComment = fmt.Sprintf("the comment %s and the full commit, or ", commands.Prefix+commandOK)
		}
		o.Missing = fmt.Sprintf("%s; it is checked once somebody who may write to the repository vouches for this commit, by %sgatewright ok %s --reason …", why, byComment, delivery.ID)
	}
	return o
}

// vouched says who vouches for the commit of an event; empty when nobody does.
func (q *Queue) vouched(ctx context.Context, ev event.Event) (who string, err error) {
	err = q.store.View(ctx, func(tx *store.Tx) error {
		t, found, err := tx.Trust(ctx, ev)
		if found {
			who = fmt.Sprintf("%s vouches for commit %s: %s", t.Actor, short(ev.HeadSHA), t.Reason)
		}
		return err
	})
	return who, err
}

// waitForTrust ends a delivery as ignored until somebody vouches for its commit. again is true when
// somebody has, since that was looked up: then it is to be decided once more.
func (q *Queue) waitForTrust(ctx context.Context, tx *transaction, e evaluation, r *result) (again bool, err error) {
	if r.decision == nil || r.state != event.DeliveryDecided {
		return false, nil
	}
	if r.decision.NeedsTrust == nil {
		if e.event.Kind == event.MergeRequest && !r.outdated {
			return false, tx.ForgetWaiting(ctx, e.event)
		}
		return false, nil
	}
	r.state = event.DeliveryIgnored
	if e.event.HeadSHA == "" {
		return false, nil // of no commit
	}
	return tx.AwaitTrust(ctx, e.event, e.delivery.ID)
}

// Commit is one commit of a merge request. Repository needs its host's id.
type Commit struct {
	Connection string
	Repository event.Repository
	Number     int
	SHA        string
}

// Trust notes that the one who orders it vouches for a commit of a merge request, and has the delivery
// decided again that waits for that. Whoever calls it has made sure that they may. The commit must be
// the newest of its merge request; for an older one the error names that, and nothing is changed. It is an
// error, too, when somebody vouches for the commit already.
func (in *Inserter) Trust(ctx context.Context, c Commit, o Order) (Done, error) {
	ev := event.Event{Connection: c.Connection, Kind: event.MergeRequest, Repository: c.Repository, Number: c.Number, HeadSHA: c.SHA}
	return in.trust(ctx, ev, "", o)
}

// TrustDelivery is Trust for the commit of a delivery that waits for that.
func (in *Inserter) TrustDelivery(ctx context.Context, id string, o Order) (Done, error) {
	var delivery store.Delivery
	err := in.store.View(ctx, func(tx *store.Tx) (err error) {
		delivery, err = tx.DeliveryWithoutBody(ctx, id)
		return err
	})
	switch {
	case err != nil:
	case delivery.State == event.DeliveryReceived:
		err = store.ErrUndecided
	case delivery.Decision == nil || delivery.Decision.NeedsTrust == nil:
		err = refuse("it does not wait for somebody who vouches for its commit: it is %s", delivery.State)
	case delivery.Decision.Event.HeadSHA == "":
		err = refusal("it names no commit that could be vouched for: take the delivery that announced the commit")
	}
	if err != nil {
		return Done{}, fmt.Errorf("%s %s %q: %w", store.ActionOK, store.RecordDelivery, id, err)
	}
	return in.trust(ctx, delivery.Decision.Event, id, o)
}

// trust gives trust for the commit of an event; id is the delivery that was named, or empty.
func (in *Inserter) trust(ctx context.Context, ev event.Event, id string, o Order) (Done, error) {
	if strings.TrimSpace(o.Actor) == "" || strings.TrimSpace(o.Reason) == "" {
		return Done{}, errors.New("say who acts and why")
	}
	var done Done
	err := in.queue.update(ctx, func(tx *transaction) (err error) {
		if err = unchanged(ctx, tx, o, store.RecordDelivery, id); err == nil {
			done, err = in.giveTrust(ctx, tx, ev, id, o)
		}
		return err
	})
	if err != nil {
		return Done{}, fmt.Errorf("vouch for commit %s of merge request %d: %w", short(ev.HeadSHA), ev.Number, err)
	}
	return done, nil
}

// giveTrust is trust in a transaction that others end.
func (in *Inserter) giveTrust(ctx context.Context, tx *transaction, ev event.Event, id string, o Order) (done Done, err error) {
	head, known, err := tx.LockHead(ctx, ev.RefKey())
	switch {
	case err != nil:
		return done, err
	case known && head.Ended:
		return done, refuse("merge request %d was closed or merged", ev.Number)
	case known && head.SHA != ev.HeadSHA:
		return done, refuse("merge request %d has the newer commit %s: vouch for that one", ev.Number, head.SHA)
	}
	waits, isNew, err := tx.GiveTrust(ctx, ev, o.Actor, o.Reason)
	if err == nil && !isNew {
		err = refuse("somebody vouches for commit %s already", ev.HeadSHA)
	}
	if err != nil {
		return done, err
	}
	if done.Action, err = in.addAction(ctx, tx, o, store.ActionOK, store.RecordDelivery, cmp.Or(id, waits), ev.HeadSHA); err != nil || waits == "" {
		return done, err
	}
	err = in.decideAgain(ctx, tx, waits, &done)
	return done, err
}

// decideAgain has a delivery decided again that waited for trust. One that does not wait any more stays as
// it is.
func (in *Inserter) decideAgain(ctx context.Context, tx *transaction, id string, done *Done) error {
	delivery, err := tx.DeliveryWithoutBody(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	case delivery.State != event.DeliveryIgnored || !waits(delivery.Decision):
		return nil
	}
	err = tx.Replay(ctx, id)
	if errors.Is(err, store.ErrPayloadRemoved) {
		return refuse("the payload of delivery %s, which waits for that, was removed after store.payload_retention: push a new commit, or have the host send it again", id)
	}
	if err != nil {
		return err
	}
	tx.enqueue(decideArgs{DeliveryIDs: []string{id}})
	done.Deliveries = []string{id}
	return nil
}

// waits reports whether a decision waits for trust.
func waits(d *rules.Decision) bool { return d != nil && d.NeedsTrust != nil }
