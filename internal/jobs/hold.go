package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// A release is held while its rule wants approvals that it has not, its window is closed, or a freeze covers it. What keeps
// it is evaluated when it is about to act, and again in the transaction that commits its intent. Between,
// nothing polls: its job waits for the next moment at which that changes by itself, and whoever changes something
// inserts another job.

// People says who is who, by the server file.
type People interface {
	// Subject is what a person's logins prove; empty for somebody who does not log in.
	Subject(person string) string
	// Groups are those that a person is in, by the server file and by the values of their groups claim.
	Groups(person string, claims []string) []string
	// Account is the number of a person's account on a connection; known is false where people has none.
	Account(person, connection string) (id string, known bool)
	// ByAccount is the person with an account.
	ByAccount(connection, id string) (person string, known bool)
}

// nobody is for a server file without people.
type nobody struct{}

func (nobody) Subject(string) string                   { return "" }
func (nobody) Groups(string, []string) []string        { return nil }
func (nobody) Account(string, string) (string, bool)   { return "", false }
func (nobody) ByAccount(string, string) (string, bool) { return "", false }

// errHeld is returned by the commit of an intent when something keeps the release from acting.
var errHeld = errors.New("something keeps the release from acting")

const (
	// afterFreeze is how long a release is held after the end of a freeze that kept it, where its rule says nothing of
	// holding.
	afterFreeze = 24 * time.Hour
	// askOriginEvery is how often a host that could not be asked whose commit a release is of is asked again.
	askOriginEvery = 5 * time.Minute
	// mostOpenings bounds the windows and freezes that are looked at for the next moment without either.
	mostOpenings = 100
)

// keeping is what keeps a release from acting at one moment.
type keeping struct {
	// hold is what its record says of that, and keeps whether anything does.
	hold  release.Hold
	keeps bool
	// voided are the approvals that do not count any more, each with why.
	voided []store.Approval
}

// keeps says what keeps the release of b from acting now. It changes nothing. A refusal is kept by nothing.
func (q *Queue) keeps(ctx context.Context, tx *store.Tx, b basis) (k keeping, err error) {
	r, policy, now := b.release, q.opts.Policy(), q.now().UTC()
	if r.Plan.Action == rules.ReleaseRefuse || r.Withdrawn != "" {
		return k, nil
	}
	k.hold = release.Hold{Since: now, Basis: b.digest(policy)}
	if r.Hold != nil {
		k.hold.Until, k.hold.Origin, k.hold.BreakGlass = r.Hold.Until, r.Hold.Origin, r.Hold.BreakGlass
		if !r.Hold.Since.IsZero() {
			k.hold.Since = r.Hold.Since
		}
	}
	if hold := r.Plan.Hold; hold != nil && hold.Approvals != nil {
		if err := q.countApprovals(ctx, tx, b, &k); err != nil {
			return k, err
		}
	}
	broken, err := q.brokenGlass(ctx, tx, k.hold, policy)
	if err != nil {
		return k, err
	}
	freezeEnds := time.Time{}
	if !broken {
		freezeEnds = closedBy(policy, r, now, &k.hold)
	}
	if k.hold.Until.IsZero() {
		switch {
		case r.Plan.Hold != nil:
			k.hold.Until = k.hold.Since.Add(r.Plan.Hold.Expires)
		case !freezeEnds.IsZero():
			k.hold.Until = freezeEnds.Add(afterFreeze)
		}
	}
	k.keeps = k.hold.Missing > 0 || k.hold.Window != "" || k.hold.Freeze != ""
	return k, nil
}

// kept reports whether something keeps the release of b from acting now.
func (q *Queue) kept(ctx context.Context, b basis) (kept bool, err error) {
	err = q.store.View(ctx, func(tx *store.Tx) error {
		k, err := q.keeps(ctx, tx, b)
		kept = k.keeps
		return err
	})
	return kept, err
}

// closed is what keeps an operation from being sent now that lets the execution of a release go on: its window or a
// freeze. The approvals were for the execution.
func (q *Queue) closed(ctx context.Context, tx *store.Tx, b basis) (h release.Hold, err error) {
	policy := q.opts.Policy()
	h.Basis = b.digest(policy)
	if b.release.Hold != nil {
		h.BreakGlass = b.release.Hold.BreakGlass
	}
	broken, err := q.brokenGlass(ctx, tx, h, policy)
	if err == nil && !broken {
		closedBy(policy, b.release, q.now().UTC(), &h)
	}
	return h, err
}

// holdOperation lets a release wait whose operation, that of next, a window or a freeze keeps from being sent.
func (q *Queue) holdOperation(ctx context.Context, b basis, next release.Release) (time.Duration, error) {
	var h release.Hold
	if err := q.store.View(ctx, func(tx *store.Tx) (err error) { h, err = q.closed(ctx, tx, b); return err }); err != nil {
		return 0, err
	}
	next.Reason = "the next action on its execution " + waitsFor(h)
	h.Until = next.Deadline
	return q.saveReleaseStep(ctx, b, next, min(nextLook(h).Sub(q.now()), askOriginEvery), nil)
}

// closedBy notes in h which window and which freeze keep a release from acting now, and when neither does any more.
// It returns when the freeze ends.
func closedBy(policy *rules.Policy, r release.Release, now time.Time, h *release.Hold) (freezeEnds time.Time) {
	frozen := func(t time.Time) (rules.Freeze, bool) {
		return policy.Frozen(t, r.Plan.Pipeline, r.Plan.PipelineName, r.Event.Repository.FullName)
	}
	if f, yes := frozen(now); yes {
		h.Freeze, freezeEnds = f.Name+": "+f.Reason, f.To.UTC()
	}
	var window *rules.Window
	if r.Plan.Hold != nil && r.Plan.Hold.Window != "" {
		found, known := policy.Window(r.Plan.Hold.Window)
		if !known {
			h.Window = r.Plan.Hold.Window + ", which the rules do not have any more"
			return freezeEnds
		}
		if open, _ := found.Open(now); !open {
			h.Window = r.Plan.Hold.Window
		}
		window = &found
	}
	if h.Window == "" && h.Freeze == "" {
		return freezeEnds
	}
	at := now
	for range mostOpenings {
		f, covered := frozen(at)
		if covered {
			at = f.To.UTC()
		}
		if window != nil {
			from, _, found := window.Next(at)
			if !found {
				return freezeEnds
			}
			covered = covered || from.After(at)
			at = from.UTC()
		}
		if !covered {
			h.OpensAt = at
			return freezeEnds
		}
	}
	return freezeEnds
}

// countApprovals notes in k how many people must approve the release of b, who has, and whose approvals do not count.
// Who is in which group is that of this moment.
func (q *Queue) countApprovals(ctx context.Context, tx *store.Tx, b basis, k *keeping) error {
	wanted := b.release.Plan.Hold.Approvals
	k.hold.Wanted, k.hold.Groups = wanted.Count, wanted.Groups
	if k.hold.Origin == nil {
		k.hold.Origin = unaskedOrigin()
	}
	k.hold.Unknown = unknownOrigin(*wanted, k.hold.Origin)
	k.hold.Excluded = q.excluded(*wanted, b.release.Event.Connection, k.hold.Origin)
	approvals, err := tx.ApprovalsOf(ctx, b.release.ID)
	if err != nil {
		return err
	}
	for _, a := range approvals {
		if a.State() != store.ApprovalApproved {
			continue
		}
		if why := b.voids(a, k.hold.Basis); why != "" {
			a.Voided = why
			k.voided = append(k.voided, a)
			continue
		}
		no, _, err := q.mayNotApprove(ctx, tx, b.release, k.hold.Origin, a.Person)
		switch {
		case err != nil:
			return err
		case no != "":
			k.hold.NotCounted = append(k.hold.NotCounted, no)
		case !slices.Contains(k.hold.Approved, a.Person):
			k.hold.Approved = append(k.hold.Approved, a.Person)
		}
	}
	k.hold.Missing = max(0, wanted.Count-len(k.hold.Approved))
	return nil
}

// excluded are the people whose own commit it is, as far as people has their accounts and what is wanted leaves them out.
func (q *Queue) excluded(wanted rules.Approvals, connection string, o *release.Origin) (people []string) {
	var accounts []string
	if wanted.ExcludeAuthor {
		accounts = append(accounts, o.Authors...)
	}
	if wanted.ExcludePusher {
		accounts = append(accounts, o.Pusher)
	}
	for _, account := range accounts {
		if person, known := q.opts.People.ByAccount(connection, account); known && !slices.Contains(people, person) {
			people = append(people, person)
		}
	}
	return people
}

func unaskedOrigin() *release.Origin {
	return &release.Origin{NoAuthor: "its host was not asked yet", NoPusher: "its host was not asked yet", AskAgain: true}
}

// voids says why an approval does not count any more; empty while it does. It is bound to the full commit, the run, its
// verdict and the rule.
func (b basis) voids(a store.Approval, digest string) string {
	verdict, rule, _ := strings.Cut(digest, "-")
	verdictThen, ruleThen, _ := strings.Cut(a.Basis, "-")
	switch {
	case a.Commit == "" || a.Commit != b.release.Event.HeadSHA:
		return "it is for commit " + short(a.Commit)
	case a.RunID != b.run.ID:
		return "it is for run " + a.RunID
	case verdictThen != verdict:
		return "the verdict of run " + b.run.ID + " is another one since"
	case ruleThen != rule:
		return fmt.Sprintf("rule %q, or a window of it, was changed since", b.release.Rule)
	}
	return ""
}

// digest is a hash of the verdict and one of the rule as it is now.
func (b basis) digest(policy *rules.Policy) string {
	// What is hashed has nothing that cannot be written as JSON.
	verdict, _ := json.Marshal([]any{b.run.ID, b.run.State, b.run.Verdict, b.run.Event.HeadSHA})
	rule, _ := json.Marshal([]any{b.release.Rule, policy.RuleDigest(b.release.Rule)})
	hash := func(text []byte) string { sum := sha256.Sum256(text); return hex.EncodeToString(sum[:16]) }
	return hash(verdict) + "-" + hash(rule)
}

// mayNotApprove says why a person may not approve a release now; empty when they may. groups are those that they are in.
// What is not known does not count in their favour.
func (q *Queue) mayNotApprove(ctx context.Context, tx *store.Tx, r release.Release, o *release.Origin, person string) (no string, groups []string, err error) {
	wanted := *r.Plan.Hold.Approvals
	groups, err = q.groupsOf(ctx, tx, person)
	if err != nil {
		return "", nil, err
	}
	unknown := unknownOrigin(wanted, o)
	account, hasAccount := q.opts.People.Account(person, r.Event.Connection)
	switch {
	case !anyIn(groups, wanted.Groups):
		no = fmt.Sprintf("%s is in none of the groups that may approve: %s", person, strings.Join(wanted.Groups, ", "))
	case unknown != "":
		no = "nobody can approve, because " + unknown
	case (wanted.ExcludeAuthor || wanted.ExcludePusher) && !hasAccount:
		no = fmt.Sprintf("people has no account of %s on %s, so that nobody knows whether it is their own commit", person, r.Event.Connection)
	case wanted.ExcludeAuthor && slices.Contains(o.Authors, account):
		no = person + " is the author of the merge request, and the rule excludes the author"
	case wanted.ExcludePusher && o.Pusher == account:
		no = person + " pushed the commit, and the rule excludes who pushed"
	}
	return no, groups, nil
}

func (q *Queue) groupsOf(ctx context.Context, tx *store.Tx, person string) (groups []string, err error) {
	if person == "" {
		return nil, nil
	}
	var claims []string
	if subject := q.opts.People.Subject(person); subject != "" {
		if claims, err = tx.Claims(ctx, subject); err != nil {
			return nil, err
		}
	}
	return q.opts.People.Groups(person, claims), nil
}

func anyIn(list, of []string) bool {
	return slices.ContainsFunc(list, func(one string) bool { return slices.Contains(of, one) })
}

// unknownOrigin says what must be known of a commit for anybody to approve it, and is not; empty when all is.
func unknownOrigin(wanted rules.Approvals, o *release.Origin) string {
	switch {
	case wanted.ExcludeAuthor && len(o.Authors) == 0:
		return "the author is not known: " + o.NoAuthor
	case wanted.ExcludePusher && o.Pusher == "":
		return "who pushed is not known: " + o.NoPusher
	}
	return ""
}

// brokenGlass reports whether somebody opened windows and freezes for a release who still may, and nothing that they
// looked at has changed since.
func (q *Queue) brokenGlass(ctx context.Context, tx *store.Tx, h release.Hold, policy *rules.Policy) (bool, error) {
	if h.BreakGlass == nil || h.BreakGlass.Basis != h.Basis {
		return false, nil
	}
	groups, err := q.groupsOf(ctx, tx, h.BreakGlass.Person)
	return anyIn(groups, policy.BreakGlass()), err
}

// hold is the step of a release that is held, or that something keeps from acting: it is saved as held with what is
// missing, goes on where nothing is, or ends where nothing can come of it any more. It returns when to look again.
func (q *Queue) hold(ctx context.Context, b basis) (wait time.Duration, err error) {
	origin, err := q.originOf(ctx, b.release)
	if err != nil {
		return 0, err
	}
	err = q.save(ctx, func(ctx context.Context, tx *transaction) error {
		if b.starter != nil {
			// The head first, as where an intent is committed.
			if _, _, err := tx.LockHead(ctx, b.run.Event.RefKey()); err != nil {
				return err
			}
			if _, err := tx.LockRelease(ctx, b.starter.ID); err != nil {
				return err
			}
		}
		b, err := readBasis(ctx, tx.Tx, b.release.ID, tx.LockHead)
		if err != nil || b.release.Unanswered() || !slices.Contains([]release.State{release.Held, release.Starting}, b.release.State) {
			wait = soon // the step that acts finds out more
			return err
		}
		before := b.release
		b.release = withOrigin(b.release, origin)
		next, voided, err := q.holdStep(ctx, tx.Tx, b)
		if err != nil {
			return err
		}
		for _, a := range voided {
			if err := q.void(ctx, tx, a); err != nil {
				return err
			}
		}
		if !sameRelease(before, next) {
			if err := q.saveRelease(ctx, tx, before, next, &b.version); err != nil {
				return err
			}
		}
		switch {
		case next.State.Ended():
			wait = 0
		case next.State != release.Held:
			wait = soon
		default:
			wait = max(soon, nextLook(*next.Hold).Sub(q.now()))
			if b.starter != nil {
				// It ends with the execution that it decides about.
				return tx.ReleaseWaits(ctx, next.ID, b.starter.ID)
			}
		}
		return nil
	})
	if err != nil {
		return afterRefusedSave(err)
	}
	return wait, nil
}

// holdStep is what becomes of a release that is held or is about to be, and the approvals that do not count any more.
func (q *Queue) holdStep(ctx context.Context, tx *store.Tx, b basis) (next release.Release, voided []store.Approval, err error) {
	now := q.now().UTC()
	goOn := func(reason string) {
		next.State, next.Reason, next.Deadline = release.Starting, reason, now.Add(next.Plan.Timeout)
	}
	end := func(state release.State, reason string) {
		next.State, next.Reason, next.FinishedAt = state, reason, now
	}
	if reason := b.notAllowed(); reason != "" {
		withdrawn := b.withdraw(reason)
		if next = b.release; withdrawn {
			goOn(reason)
		} else {
			end(release.Refused, reason)
		}
		return next, nil, nil
	}
	k, err := q.keeps(ctx, tx, b)
	if next = b.release; err != nil {
		return next, nil, err
	}
	next.Hold = &k.hold
	switch s := b.starter; {
	case s != nil && s.State.Ended():
		state := release.Failed
		if slices.Contains([]release.State{release.Refused, release.Stopped, release.Expired}, s.State) {
			state = s.State
		}
		end(state, fmt.Sprintf("release %s, whose execution it decides, ended as %s before it could: %s", s.ID, s.State, s.Reason))
	case !now.Before(k.hold.Until) && (k.keeps || b.release.State == release.Held):
		end(release.Expired, strings.TrimSuffix(fmt.Sprintf("held since %s and not released in time: %s", stamp(k.hold.Since), waitsFor(k.hold)), ": "))
	case !k.keeps && b.release.State == release.Held:
		goOn(released(k.hold))
	case !k.keeps:
		return b.release, k.voided, nil
	default:
		next.State, next.Reason, next.Deadline = release.Held, heldReason(k.hold), k.hold.Until
	}
	return next, k.voided, nil
}

// heldReason is the reason of a release that is held.
func heldReason(h release.Hold) string {
	if waits := waitsFor(h); waits != "" {
		return waits + "; until " + stamp(h.Until)
	}
	return "goes on: " + released(h)
}

// waitsFor says what keeps a release from acting.
func waitsFor(h release.Hold) string {
	var parts []string
	if h.Missing > 0 {
		more := ""
		if len(h.Approved) > 0 {
			more = " more"
		}
		text := fmt.Sprintf("waits for %d%s of %s", h.Missing, more, strings.Join(h.Groups, " or "))
		if len(h.Approved) > 0 {
			text += "; approved by " + strings.Join(h.Approved, ", ")
		}
		parts = append(parts, text)
		if h.Unknown != "" {
			parts = append(parts, "nobody can approve it, because "+h.Unknown)
		}
	}
	for _, no := range h.NotCounted {
		parts = append(parts, "an approval does not count: "+no)
	}
	if h.Window != "" {
		parts = append(parts, "waits for window "+h.Window)
	}
	if h.Freeze != "" {
		parts = append(parts, "waits for the end of freeze "+h.Freeze)
	}
	if !h.OpensAt.IsZero() {
		parts = append(parts, "goes on at "+stamp(h.OpensAt)+" at the earliest")
	}
	return strings.Join(parts, "; ")
}

// released says why a release that was held goes on.
func released(h release.Hold) string {
	text := "nothing holds it any more"
	if len(h.Approved) > 0 {
		text = "approved by " + strings.Join(h.Approved, ", ")
	}
	if h.BreakGlass != nil && h.BreakGlass.Basis == h.Basis {
		text += fmt.Sprintf("; windows and freezes were opened by %s: %s", h.BreakGlass.Person, h.BreakGlass.Reason)
	}
	return text
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// nextLook is when what keeps a release changes by itself, or its host is asked again.
func nextLook(h release.Hold) time.Time {
	next := h.Until
	if !h.OpensAt.IsZero() && h.OpensAt.Before(next) {
		next = h.OpensAt
	}
	if o := h.Origin; o != nil && o.AskAgain && o.AskedAt.Add(askOriginEvery).Before(next) {
		next = o.AskedAt.Add(askOriginEvery)
	}
	return next
}

// void notes that an approval does not count any more.
func (q *Queue) void(ctx context.Context, tx *transaction, a store.Approval) error {
	tx.AfterCommit(func() {
		q.log.Info("approval voided", zap.String(event.LogRelease, a.ReleaseID), zap.String(event.LogPerson, a.Person), zap.String(event.LogReason, a.Voided))
	})
	return tx.VoidApproval(ctx, a, a.Voided)
}

// voidAll voids the approvals of a release that ends without acting, or whose run is judged again.
func (q *Queue) voidAll(ctx context.Context, tx *transaction, releaseID, why string) error {
	approvals, err := tx.ApprovalsOf(ctx, releaseID)
	for _, a := range approvals {
		if a.State() != store.ApprovalApproved || err != nil {
			continue
		}
		a.Voided = why
		err = q.void(ctx, tx, a)
	}
	return err
}

// sameRelease reports whether two versions of a release are stored as the same.
func sameRelease(a, b release.Release) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// withOrigin is r with whose commit it is.
func withOrigin(r release.Release, o *release.Origin) release.Release {
	if o == nil {
		return r
	}
	held := release.Hold{}
	if r.Hold != nil {
		held = *r.Hold
	}
	held.Origin, r.Hold = o, &held
	return r
}

// originOf finds out whose commit a release is of, as far as its approvals need that: for a push its host is asked which
// merge requests brought it. nil where nobody is asked to approve.
func (q *Queue) originOf(ctx context.Context, r release.Release) (*release.Origin, error) {
	if r.Plan.Hold == nil || r.Plan.Hold.Approvals == nil {
		return nil, nil
	}
	now := q.now().UTC()
	if r.Hold != nil && r.Hold.Origin != nil && !(r.Hold.Origin.AskAgain && !now.Before(r.Hold.Origin.AskedAt.Add(askOriginEvery))) {
		return r.Hold.Origin, nil
	}
	o := &release.Origin{AskedAt: now, Pusher: r.Event.SenderID}
	if pushed := r.Event.Kind != event.MergeRequest || r.Event.Action == event.Updated; o.Pusher == "" || !pushed {
		o.Pusher, o.NoPusher = "", "no signed delivery said it"
	}
	if r.Event.Number > 0 {
		o.MergeRequests = []int{r.Event.Number}
		if r.Event.AuthorID != "" {
			o.Authors = []string{r.Event.AuthorID}
			return o, nil
		}
	}
	if q.opts.Forge == nil {
		o.NoAuthor = "no git host is asked"
		return o, nil
	}
	asking, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	err := q.askOrigin(asking, r.Event, o)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		o.NoAuthor, o.AskAgain = shortened(err.Error()), true
	}
	return o, nil
}

// askOrigin asks the host who wrote the merge requests that brought the commit of an event.
func (q *Queue) askOrigin(ctx context.Context, ev event.Event, o *release.Origin) error {
	if ev.Number > 0 {
		request, err := q.opts.Forge.MergeRequest(ctx, ev)
		if err == nil && request.Author.ID != "" && elsewhere(ev, request) == "" {
			o.Authors = []string{request.Author.ID}
		} else {
			o.NoAuthor = "its host does not tell it"
		}
		return err
	}
	requests, err := q.opts.Forge.MergeRequestsOf(ctx, ev.Connection, ev.Repository.FullName, ev.HeadSHA)
	if err != nil {
		return err
	}
	for _, request := range requests {
		if brought(ev, request) {
			o.MergeRequests = append(o.MergeRequests, request.Number)
			o.Authors = append(o.Authors, request.AuthorID)
		}
	}
	switch {
	case len(o.MergeRequests) == 0:
		o.NoAuthor = fmt.Sprintf("its host knows no merge request that brought commit %s", short(ev.HeadSHA))
	case slices.Contains(o.Authors, ""):
		o.Authors, o.NoAuthor = nil, "its host does not tell who wrote the merge request"
	}
	return nil
}

// brought reports whether a merge request brought the commit of a push or tag: its merge made the branch that commit. One
// that just has the commit among its own says nothing.
func brought(ev event.Event, request forge.MergeRequestRef) bool {
	return request.State == forge.RequestMerged && request.MergedSHA == ev.HeadSHA && (ev.Kind == event.Tag || request.Branch == ev.Branch)
}

// reviewHolds has the held releases evaluated again for which something changed that nobody told of.
func (q *Queue) reviewHolds(ctx context.Context) error {
	var changed []string
	if err := q.store.View(ctx, func(tx *store.Tx) (err error) { changed, err = q.changedHolds(ctx, tx); return err }); err != nil {
		return err
	}
	for batch := range slices.Chunk(changed, reconcileBatch) {
		err := q.update(ctx, func(tx *transaction) error {
			for _, id := range batch {
				tx.enqueue(actReleaseArgs{ReleaseID: id})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// changedHolds lists the releases that are held and that something changed for which nobody told: the rules or groups
// were loaded again, or a moment has come whose job is lost.
func (q *Queue) changedHolds(ctx context.Context, tx *store.Tx) (ids []string, err error) {
	held, err := tx.HeldReleases(ctx, "")
	for _, r := range held {
		b, err := readBasis(ctx, tx, r.ID, tx.Head)
		if err != nil {
			return nil, err
		}
		next, voided, err := q.holdStep(ctx, tx, b)
		if err != nil {
			return nil, err
		}
		if len(voided) > 0 || !sameRelease(b.release, next) {
			ids = append(ids, r.ID)
		}
	}
	return ids, err
}
