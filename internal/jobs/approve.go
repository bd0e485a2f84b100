package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// Approver is a person as they were recognised.
type Approver struct {
	// Person is an entry of people in the server file; empty: nobody's.
	Person string
	// Identity is what they were recognised by, such as oidc:SUBJECT, and Via how they speak: page, api, command or
	// comment.
	Identity, Via string
	// Claims are the values of the groups claim, as of ClaimsAt, of somebody who has logged in. They count unless a
	// later login was kept by [store.Tx.SaveClaims]. ClaimsAt is zero where there was no login.
	Claims   []string
	ClaimsAt time.Time
	// Version is the one that the release must have; empty: any. See [Order].
	Version string
}

// WithPeople is an inserter that knows who is who and the rules in force, which approving held releases needs.
func (in *Inserter) WithPeople(people People, policy func() *rules.Policy) *Inserter {
	old := in.queue
	queue := &Queue{opts: old.opts, store: old.store, engine: old.engine, log: old.log, now: old.now, limited: old.limited}
	queue.opts.People, queue.opts.Policy = people, policy
	return &Inserter{queue: queue, store: in.store, engine: in.engine}
}

// ApproveHeld notes that a person approves a held release. commit is the full one, which must be that of the release. It
// counts while the verdict, the rule and the groups of the person are as they are, and the release goes on once enough
// have. [Refusal] reports an error that says why that person cannot approve that commit now; it wraps
// [store.ErrNotFound] where there is no such release.
func (in *Inserter) ApproveHeld(ctx context.Context, releaseID, commit string, by Approver, reason string) (Done, error) {
	return in.ofHeld(ctx, store.ActionApprove, releaseID, by, reason, in.approveHeld(ctx, releaseID, commit, by, reason))
}

// RefuseHeld notes that a person refuses a held release, or one that was approved and has not acted: it ends as refused,
// and where it would approve a checkpoint that is refused. One person of the groups that may approve is enough, or of
// those that may break the glass; where nobody is asked to approve, anybody who is in people.
func (in *Inserter) RefuseHeld(ctx context.Context, releaseID, commit string, by Approver, reason string) (Done, error) {
	return in.ofHeld(ctx, store.ActionRefuse, releaseID, by, reason, in.refuseHeld(ctx, releaseID, commit, by, reason))
}

// BreakGlass lets a release act in spite of closed windows and freezes, for a person of a group that may. It takes the
// place of no approval, and ends with a change of the verdict or the rule, as approvals do.
func (in *Inserter) BreakGlass(ctx context.Context, releaseID, commit string, by Approver, reason string) (Done, error) {
	return in.ofHeld(ctx, store.ActionBreakGlass, releaseID, by, reason, func(tx *transaction, done *Done) error {
		before, b, err := in.heldRelease(ctx, tx, releaseID, commit)
		if err != nil {
			return err
		}
		groups, err := in.groupsNow(ctx, tx, by)
		if err != nil {
			return err
		}
		may := in.queue.opts.Policy().BreakGlass()
		switch {
		case len(may) == 0:
			return refusal("nobody may: the rules have no break_glass")
		case !anyIn(groups, may):
			return refuse("%s is in none of the groups that may: %s", by.Person, strings.Join(may, ", "))
		case b.release.Plan.Action == rules.ReleaseRefuse:
			return refusal("nothing holds a refusal")
		case b.release.Unanswered():
			return refusal("it is being sent: nothing holds it")
		}
		if reason := b.notAllowed(); reason != "" {
			return refusal(reason)
		}
		next := b.release
		held := release.Hold{}
		if next.Hold != nil {
			held = *next.Hold
		}
		held.BreakGlass = &release.BreakGlass{Person: by.Person, Identity: by.Identity, Reason: reason, Basis: b.digest(in.queue.opts.Policy()), At: in.queue.now().UTC()}
		next.Hold = &held
		if next.State == release.Held {
			// What holds it now is told at once.
			b.release = next
			k, err := in.queue.keeps(ctx, tx.Tx, b)
			if err != nil {
				return err
			}
			next.Hold, next.Reason = &k.hold, heldReason(k.hold)
		}
		done.Action, err = in.addAction(ctx, tx, Order{Actor: by.Person, Reason: reason}, store.ActionBreakGlass, store.RecordRelease, releaseID, b.release.Event.HeadSHA)
		if err != nil {
			return err
		}
		return in.saveHeld(ctx, tx, before, next, done)
	})
}

// ofHeld carries out what a person decides about a held release, in one transaction.
func (in *Inserter) ofHeld(ctx context.Context, name store.ActionName, id string, by Approver, reason string, do func(*transaction, *Done) error) (done Done, err error) {
	switch {
	case in.queue.opts.People == nil || in.queue.opts.Policy == nil:
		return Done{}, errors.New("nobody is known: the server file is needed")
	case strings.TrimSpace(reason) == "":
		err = refusal("say why")
	case by.Person == "":
		err = refuse("%s is nobody's identity: an administrator adds it to people in the server file", by.Identity)
	default:
		err = in.queue.update(ctx, func(tx *transaction) error {
			if err := unchanged(ctx, tx, Order{Version: by.Version}, store.RecordRelease, id); err != nil {
				return err
			}
			done = Done{Action: store.Action{Kind: store.RecordRelease, RecordID: id, Name: name, Actor: by.Person, Reason: reason, At: in.queue.now().UTC()}}
			return do(tx, &done)
		})
	}
	if err != nil {
		return Done{}, fmt.Errorf("%s release %q: %w", name, id, err)
	}
	return done, nil
}

func (in *Inserter) approveHeld(ctx context.Context, id, commit string, by Approver, reason string) func(*transaction, *Done) error {
	return func(tx *transaction, done *Done) error {
		before, b, err := in.heldRelease(ctx, tx, id, commit)
		if err != nil {
			return err
		}
		r := b.release
		switch {
		case r.State != release.Held:
			return refuse("it is %s, and not held", r.State)
		case r.Plan.Hold == nil || r.Plan.Hold.Approvals == nil:
			return refusal("it waits for no approval: it " + waitsFor(*r.Hold))
		}
		if reason := b.notAllowed(); reason != "" {
			return refusal(reason)
		}
		if why := b.voids(store.Approval{Commit: r.Event.HeadSHA, RunID: r.RunID, Basis: r.Hold.Basis}, b.digest(in.queue.opts.Policy())); why != "" {
			// Nobody has been shown what it would be for.
			return refusal(why + ": it is being evaluated again, look at it and approve then")
		}
		if _, err := in.groupsNow(ctx, tx, by); err != nil {
			return err
		}
		no, groups, err := in.queue.mayNotApprove(ctx, tx.Tx, r, originKnown(r), by.Person)
		switch {
		case err != nil:
			return err
		case no != "":
			return refusal(no)
		}
		said, err := in.addApproval(ctx, tx, r, by, reason, groups, false)
		if err != nil {
			return err
		}
		done.Action.ID = said.ID
		k, err := in.queue.keeps(ctx, tx.Tx, b)
		if err != nil {
			return err
		}
		next := r
		next.Hold, next.Reason = &k.hold, heldReason(k.hold)
		if k.keeps && len(k.voided) == 0 && b.starter == nil && nextLook(k.hold).Equal(nextLook(*r.Hold)) {
			// There is nothing to do for its job, which looks again at the same time as before. One that decides a
			// checkpoint must be noted again as waiting for its starter.
			return in.saveRelease(ctx, tx, before, next, done)
		}
		return in.saveHeld(ctx, tx, before, next, done)
	}
}

// originKnown is whose commit a release is of, as far as that was found out.
func originKnown(r release.Release) *release.Origin {
	if r.Hold == nil || r.Hold.Origin == nil {
		return unaskedOrigin()
	}
	return r.Hold.Origin
}

func (in *Inserter) refuseHeld(ctx context.Context, id, commit string, by Approver, reason string) func(*transaction, *Done) error {
	return func(tx *transaction, done *Done) error {
		before, b, err := in.heldRelease(ctx, tx, id, commit)
		if err != nil {
			return err
		}
		r := b.release
		groups, err := in.groupsNow(ctx, tx, by)
		if err != nil {
			return err
		}
		may := slices.Clone(in.queue.opts.Policy().BreakGlass())
		asked := r.Plan.Hold != nil && r.Plan.Hold.Approvals != nil
		if asked {
			may = append(may, r.Plan.Hold.Approvals.Groups...)
		}
		switch {
		case r.Hold == nil || r.State != release.Held && r.State != release.Starting:
			return refuse("it is %s, and not held", r.State)
		case r.Intent != nil || r.Withdrawn != "" || r.Plan.Action == rules.ReleaseRefuse:
			return refusal("it is too late: " + r.Reason)
		case asked && !anyIn(groups, may):
			return refuse("%s is in none of the groups that may: %s", by.Person, strings.Join(may, ", "))
		}
		said, err := in.addApproval(ctx, tx, r, by, reason, groups, true)
		if err != nil {
			return err
		}
		done.Action.ID = said.ID
		now := in.queue.now().UTC()
		next, why := r, fmt.Sprintf("refused by %s: %s", by.Person, reason)
		if r.Plan.Action.Decides() {
			// Its execution waits at the checkpoint.
			next.State, next.Reason, next.Deadline = release.Starting, why, now.Add(r.Plan.Timeout)
			if b.starter != nil {
				next.ExecutionID, next.OtherIDs = b.starter.ExecutionID, b.starter.OtherIDs
			}
			next.Withdrawn, next.Plan.Action, next.Plan.Message = why, rules.ReleaseRefuse, "Gatewright: "+why
			return in.saveHeld(ctx, tx, before, next, done)
		}
		next.State, next.Reason, next.FinishedAt = release.Refused, why, now
		return in.saveHeld(ctx, tx, before, next, done)
	}
}

// heldRelease locks a release that a person speaks of, and checks that it has not ended and that they mean its commit.
func (in *Inserter) heldRelease(ctx context.Context, tx *transaction, id, commit string) (before store.Versioned[release.Release], b basis, err error) {
	// The head first and then the release, as when an intent is committed.
	if b, err = readBasis(ctx, tx.Tx, id, tx.LockHead); err != nil {
		return before, b, err
	}
	if before, err = tx.LockRelease(ctx, id); err != nil {
		return before, b, err
	}
	b.release, b.version = before.Record, before.Version
	r, commit := b.release, strings.ToLower(commit)
	switch {
	case r.State.Ended():
		return before, b, refuse("it has ended as %s: %s", r.State, r.Reason)
	case r.State == release.Held && !in.queue.now().Before(r.Hold.Until):
		return before, b, refuse("it expired at %s", stamp(r.Hold.Until))
	case commit == "":
		return before, b, refuse("name the commit in full: the release is for %s", r.Event.HeadSHA)
	case commit != r.Event.HeadSHA && strings.HasPrefix(r.Event.HeadSHA, commit):
		return before, b, refuse("%s is not a full commit: write %s", commit, r.Event.HeadSHA)
	case commit != r.Event.HeadSHA:
		return before, b, refuse("it is for commit %s, and not for %s", r.Event.HeadSHA, commit)
	}
	return before, b, nil
}

// groupsNow are the groups that a person is in. What their login says is kept, unless a later one is.
func (in *Inserter) groupsNow(ctx context.Context, tx *transaction, by Approver) ([]string, error) {
	if !by.ClaimsAt.IsZero() {
		_, subject, _ := strings.Cut(by.Identity, ":")
		if err := tx.SaveClaims(ctx, subject, by.Claims, by.ClaimsAt); err != nil {
			return nil, err
		}
	}
	return in.queue.groupsOf(ctx, tx.Tx, by.Person)
}

// addApproval stores what a person said of a release.
func (in *Inserter) addApproval(ctx context.Context, tx *transaction, r release.Release, by Approver, reason string, groups []string, refuses bool) (store.Approval, error) {
	a, added, err := tx.AddApproval(ctx, store.Approval{
		ID: in.queue.opts.NewID(), ReleaseID: r.ID, Person: by.Person, Identity: by.Identity, Via: by.Via, Reason: reason,
		Commit: r.Event.HeadSHA, RunID: r.RunID, Basis: r.Hold.Basis, Refuses: refuses, Groups: groups,
		Connection: r.Event.Connection, Repository: r.Event.Repository.FullName, Branch: r.Event.Branch, Number: r.Event.Number, Rule: r.Rule,
	})
	if err == nil && !added {
		err = refuse("%s has approved it already, and one person counts once", by.Person)
	}
	return a, err
}

// saveHeld saves a release about which somebody decided, and has its job look at it.
func (in *Inserter) saveHeld(ctx context.Context, tx *transaction, before store.Versioned[release.Release], next release.Release, done *Done) error {
	if job := releaseJob(next.ID, next.State); job != nil {
		tx.enqueue(job)
	}
	return in.saveRelease(ctx, tx, before, next, done)
}

func (in *Inserter) saveRelease(ctx context.Context, tx *transaction, before store.Versioned[release.Release], next release.Release, done *Done) error {
	done.Releases = []release.Release{next}
	return in.queue.saveRelease(ctx, tx, before.Record, next, &before.Version)
}
