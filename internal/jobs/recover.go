package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/riverqueue/river"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// A webhook that never came is found by asking the git hosts. One job at a time in all replicas, which
// River's leader inserts, asks about one repository after the other; what it finds becomes a delivery
// that is decided like any other (recover_refs.go).

// RefLister is what recovery asks of the git hosts; see [forge.Forge].
type RefLister interface {
	Repository(ctx context.Context, connection, fullName string) (event.Repository, error)
	Branches(ctx context.Context, connection, repository string) (forge.Refs, error)
	MergeRequests(ctx context.Context, connection, repository string) (forge.Refs, error)
}

// Recovery says how to look for what no webhook told. The zero value looks for nothing.
type Recovery struct {
	// Lister and Redeliverer ask the hosts. Mandatory where Every is more than 0.
	Lister      RefLister
	Redeliverer Redeliverer
	// Every is how often; 0: never.
	Every time.Duration
	// Grace is for how long a webhook may still come.
	Grace time.Duration
	// Share is how much of a host's limit of requests may be used, in percent.
	Share int
	// OneFor is for how long a host is asked about one repository; default 25 seconds, which is less than a
	// step may take.
	OneFor time.Duration
	// Release: what was recovered is released like anything else.
	Release bool
	// Connections are those whose hosts can be asked, and InScope reports whether one may speak of a
	// repository. Limit is how many requests a host takes between two resets, and Remaining how many
	// are left; 0 and false where it does not say. Mandatory like Lister.
	Connections func() []string
	InScope     func(connection, fullName string) bool
	Limit       func(connection string) int
	// HookURL is the address of a connection's webhooks; empty where it is not known. Then no host is
	// asked to send anything again.
	HookURL   func(connection string) string
	Remaining func(connection string) (requests int, reset time.Time, known bool)
}

const (
	recoveryQueue = "recovery"
	// recoveryPoll is how often such jobs are looked for that nobody announced.
	recoveryPoll = 500 * time.Millisecond
	// recoverFor is how long one step begins to ask about further repositories, and
	// recoverOneFor how long it asks about one: both together are less than a step may take.
	recoverFor    = 10 * time.Second
	recoverOneFor = 25 * time.Second
	// missedPause is how long after deliveries were refused recovery begins at the earliest:
	// what is refused once often is for a while.
	missedPause = 30 * time.Second
	// downAfter is after how many repositories in a row a host that does not answer is not asked
	// again for downPause.
	downAfter = 3
	downPause = time.Minute
)

// InsertOpts keeps it apart from what a person waits for, and lets one such job be there at a time.
func (recoverArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: recoveryQueue, UniqueOpts: river.UniqueOpts{ByState: untilEnded().ByState}}
}

// recoverPeriodically has a round begin at the start, and at intervals.
func (q *Queue) recoverPeriodically() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(q.opts.Recovery.Every),
		func() (river.JobArgs, *river.InsertOpts) { return recoverArgs{Begun: q.roundBegin()}, nil }, &river.PeriodicJobOpts{RunOnStart: true})
}

func (q *Queue) roundBegin() time.Time { return q.now().UTC().Truncate(time.Microsecond) }

// Missed notes that a delivery was refused which may have been authentic: the next one that is
// accepted has a round of recovery begin.
func (q *Queue) Missed() { q.missed.Store(true) }

// recoverAfterRefusal adds a round of recovery when deliveries were refused since the last call.
func (q *Queue) recoverAfterRefusal(tx *transaction) {
	if q.opts.Recovery.Every <= 0 || !q.missed.CompareAndSwap(true, false) {
		return
	}
	opts := recoverArgs{}.InsertOpts()
	opts.ScheduledAt = time.Now().Add(missedPause) // River's own clock
	tx.jobs = append(tx.jobs, river.InsertManyParams{Args: recoverArgs{Begun: q.roundBegin().Add(missedPause)}, InsertOpts: &opts})
}

// recoverMissed asks about the repositories whose turn it is, those first that were asked about the
// longest time ago. It goes on until the round has ended, within the share of each host's limit; one
// repository's error does not stop the others.
func (q *Queue) recoverMissed(ctx context.Context, args recoverArgs) (time.Duration, error) {
	if q.opts.Recovery.Every <= 0 {
		return 0, nil
	}
	policy := q.opts.Policy()
	if args.Begun.Before(q.started) {
		args.Begun = q.started // an earlier process left this round unfinished
	}
	// A round that lasts longer than an interval, because a host is left alone, does not keep the others from their turns.
	if missed := q.now().Sub(args.Begun) / q.opts.Recovery.Every; missed > 0 {
		args.Begun = args.Begun.Add(missed * q.opts.Recovery.Every)
	}
	if err := q.addRepositories(ctx, policy); err != nil {
		return 0, err
	}
	if err := q.uncover(ctx, policy); err != nil {
		return 0, err
	}
	var list []store.HostRepository
	var waiting map[string]time.Time
	err := q.store.View(ctx, func(tx *store.Tx) (err error) {
		if list, err = tx.HostRepositories(ctx); err == nil {
			waiting, err = tx.FoundRefs(ctx)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	wait := time.Duration(0)
	sooner := func(d time.Duration) {
		if wait == 0 || d < wait {
			wait = max(d, soon)
		}
	}
	began, paused, down := q.now(), map[string]bool{}, map[string]int{}
	for _, r := range list {
		if !q.asks(policy, r) || paused[r.Connection] {
			continue
		}
		if at := q.redeliveries.nextAsk(r.Key); !at.IsZero() {
			if left := at.Sub(began); left > 0 && left <= time.Minute && !r.AskedAt.Before(args.Begun) {
				sooner(left)
				continue
			}
		} else if found, ok := waiting[r.Key]; ok && !r.AskedAt.Before(args.Begun) && !r.AskedAt.After(began) {
			// Its webhook may still come.
			if left := found.Add(q.opts.Recovery.Grace).Sub(began); left > 0 && left <= q.opts.Recovery.Grace {
				sooner(left)
				continue
			}
		} else if !r.AskedAt.Before(args.Begun) && !r.AskedAt.After(began) {
			continue
		}
		if q.now().Sub(began) >= recoverFor || q.now().Before(began) {
			return soon, nil
		}
		if pause := q.shares.wait(q.opts.Recovery, r.Connection, q.now()); pause > 0 {
			paused[r.Connection] = true
			sooner(min(pause, downPause))
			continue
		}
		pending, err := q.recoverRepository(ctx, policy, r)
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err != nil {
			q.redeliveries.setNext(r.Key, time.Time{})
			if err := q.saveProblem(ctx, r, err); err != nil {
				return 0, err
			}
		}
		var asked failure
		var refused interface{ Forbidden() bool }
		switch {
		case errors.As(err, &asked) && asked.RetryAfter() > 0:
			paused[r.Connection] = true
			sooner(min(asked.RetryAfter(), downPause))
		case asked != nil && asked.Retryable() && !(errors.As(err, &refused) && refused.Forbidden()):
			if down[r.Connection]++; down[r.Connection] >= downAfter {
				paused[r.Connection] = true
				sooner(downPause)
			}
		case err == nil || asked != nil:
			down[r.Connection] = 0
		}
		if pending {
			sooner(q.opts.Recovery.Grace)
		}
		if at := q.redeliveries.nextAsk(r.Key); !at.IsZero() {
			sooner(at.Sub(q.now()))
		}
	}
	return wait, nil
}

// asks reports whether a rule that checks may be for a repository, and its host can be asked about it.
func (q *Queue) asks(policy *rules.Policy, r store.HostRepository) bool {
	return len(policy.Kinds(r.Connection, r.FullName)) > 0 && slices.Contains(q.opts.Recovery.Connections(), r.Connection) && q.opts.Recovery.InScope(r.Connection, r.FullName)
}

// addRepositories adds the repositories that the rules name and that are not known yet: those that
// deliveries spoke of, and those whose names stand in the rules.
func (q *Queue) addRepositories(ctx context.Context, policy *rules.Policy) error {
	var known, spoken []store.HostRepository
	err := q.store.View(ctx, func(tx *store.Tx) (err error) {
		if known, err = tx.HostRepositories(ctx); err == nil {
			spoken, err = tx.KnownRepositories(ctx)
		}
		return err
	})
	if err != nil {
		return err
	}
	has := map[string]bool{}
	for _, r := range known {
		has[r.Key], has[store.NamedKey(r.Connection, r.FullName)] = true, true
	}
	var added []store.HostRepository
	add := func(r store.HostRepository) {
		named := store.NamedKey(r.Connection, r.FullName)
		if has[r.Key] || !q.asks(policy, r) {
			return
		}
		has[r.Key], has[named] = true, true
		added = append(added, r)
	}
	for _, r := range spoken {
		add(r)
	}
	for _, target := range policy.Targets() {
		for _, connection := range q.opts.Recovery.Connections() {
			for _, name := range target.Repositories {
				if target.Project != "" && (len(target.Connections) == 0 || slices.Contains(target.Connections, connection)) {
					add(store.HostRepository{Key: store.NamedKey(connection, name), Connection: connection, FullName: name})
				}
			}
		}
	}
	if len(added) == 0 {
		return nil
	}
	return q.store.Update(ctx, func(tx *store.Tx) error {
		for _, r := range added {
			if err := tx.AddHostRepository(ctx, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// uncover notes which refs no rule covers any more because none names their repository, or because its
// host cannot be asked any more.
func (q *Queue) uncover(ctx context.Context, policy *rules.Policy) error {
	var uncovered []string
	err := q.store.View(ctx, func(tx *store.Tx) error {
		covered, err := tx.CoveredRepositories(ctx)
		if err != nil || len(covered) == 0 {
			return err
		}
		list, err := tx.HostRepositories(ctx)
		if err != nil {
			return err
		}
		asked := map[string]bool{}
		for _, r := range list {
			asked[r.Key] = q.asks(policy, r)
		}
		uncovered = slices.DeleteFunc(covered, func(key string) bool { return asked[key] })
		return nil
	})
	if err != nil || len(uncovered) == 0 {
		return err
	}
	return q.store.Update(ctx, func(tx *store.Tx) error { return tx.Uncover(ctx, uncovered) })
}

// slowHost is the error for a host that takes too long to tell all about a repository.
type slowHost struct{ after time.Duration }

func (e slowHost) Error() string { return fmt.Sprintf("its host has not told all within %s", e.after) }

// isSlow reports whether ctx has ended because a host took too long.
func isSlow(ctx context.Context) bool {
	_, slow := context.Cause(ctx).(slowHost)
	return slow
}

// recoverRepository asks the host of a repository about it, and saves what that says. pending: there
// are refs whose webhook may still come.
func (q *Queue) recoverRepository(ctx context.Context, policy *rules.Policy, r store.HostRepository) (pending bool, err error) {
	oneFor := cmp.Or(q.opts.Recovery.OneFor, recoverOneFor)
	ctx, cancel := context.WithTimeoutCause(ctx, oneFor, slowHost{oneFor})
	defer cancel()
	before := r
	read, err := q.readRefs(ctx, policy, r)
	r.AskedAt = q.now()
	if err != nil {
		if isSlow(ctx) {
			err = context.Cause(ctx)
		}
		return false, err
	}
	r.ID, r.FullName, r.Problem = read.repository.ID, read.repository.FullName, ""
	r.Key = event.Event{Connection: r.Connection, Repository: read.repository}.RepositoryKey()
	if err := q.redeliver(ctx, r, read); err != nil {
		return false, err
	}
	err = q.save(ctx, func(ctx context.Context, tx *transaction) error {
		if r.Key != before.Key {
			if err := tx.ForgetHostRepository(ctx, before.Key); err != nil {
				return err
			}
		}
		pending, err = q.compareRefs(ctx, tx, policy, r, read)
		if err != nil {
			return err
		}
		if r.Since.IsZero() {
			r.Since = r.AskedAt
		}
		return tx.SaveHostRepository(ctx, r)
	})
	if err == nil {
		q.tellProblem(before, r)
	}
	return pending, err
}

// saveProblem saves why a repository was not compared, and has its turn be over, unless its host asks to wait.
func (q *Queue) saveProblem(ctx context.Context, r store.HostRepository, err error) error {
	var asked failure
	if errors.As(err, &asked) && asked.RetryAfter() > 0 {
		return nil
	}
	before := r
	r.AskedAt, r.Problem = q.now(), shortened(err.Error())
	q.tellProblem(before, r)
	return q.save(ctx, func(ctx context.Context, tx *transaction) error { return tx.SaveHostRepository(ctx, r) })
}

// tellProblem logs once that a repository cannot be read, and why, and once that it can again. A name in
// a rule may be that of a repository of another connection.
func (q *Queue) tellProblem(before, after store.HostRepository) {
	fields := []zap.Field{zap.String(event.LogConnection, after.Connection), zap.String(event.LogRepository, after.FullName)}
	switch {
	case before.Problem == after.Problem || after.ID == "":
	case after.Problem == "":
		q.log.Info("repository read again", fields...)
	default:
		q.log.Warn("repository not read, so that lost webhooks are not recovered", append(fields, zap.String(event.LogReason, after.Problem))...)
	}
}

// otherRepository is the error for a name that now is another repository's.
type otherRepository struct{ name, id string }

func (e otherRepository) Error() string {
	return fmt.Sprintf("%.200q is another repository now: the one with the id %s was renamed or deleted, and is known again by its next webhook", e.name, e.id)
}

func (otherRepository) Retryable() bool           { return false }
func (otherRepository) RetryAfter() time.Duration { return 0 }

// readings are what a host says of a repository.
type readings struct {
	repository event.Repository
	// branches and mergeRequests are nil where no rule asks for them.
	branches, mergeRequests *forge.Refs
}

// readRefs asks a host. An error is the host's, but for one of the context.
func (q *Queue) readRefs(ctx context.Context, policy *rules.Policy, r store.HostRepository) (read readings, err error) {
	lister := q.opts.Recovery.Lister
	q.shares.use(r.Connection, 1)
	if read.repository, err = lister.Repository(ctx, r.Connection, r.FullName); err != nil {
		return read, err
	}
	if r.ID != "" && read.repository.ID != r.ID {
		return read, otherRepository{r.FullName, r.ID}
	}
	kinds := policy.Kinds(r.Connection, read.repository.FullName)
	ask := func(list func(context.Context, string, string) (forge.Refs, error)) (*forge.Refs, error) {
		refs, err := list(ctx, r.Connection, read.repository.FullName)
		q.shares.use(r.Connection, 1+len(refs.List)/100)
		return &refs, err
	}
	if slices.Contains(kinds, event.Push) {
		if read.branches, err = ask(lister.Branches); err != nil {
			return read, err
		}
	}
	if slices.Contains(kinds, event.MergeRequest) {
		read.mergeRequests, err = ask(lister.MergeRequests)
	}
	return read, err
}

// recoveredDelivery is a delivery of what was read from a host. because says more of why no webhook
// told it; found is when it was seen first.
func (q *Queue) recoveredDelivery(ev event.Event, because string, found time.Time) (store.Packed, error) {
	body, err := json.Marshal(ev)
	if err != nil {
		return store.Packed{}, fmt.Errorf("recover %s: %w", refOf(ev), err)
	}
	header := map[string][]string{}
	if because != "" {
		header[becauseHeader] = []string{because}
	}
	return q.store.Pack(event.Delivery{
		ID: q.opts.NewID(), Connection: ev.Connection, Host: ev.Repository.Host, Event: "recovered", ReceivedAt: q.now(), Header: header, Body: body, Recovered: event.Compared,
		Key: strings.Join([]string{"recovered", ev.RefKey(), ev.HeadSHA, found.UTC().Format(time.RFC3339Nano)}, " "),
	})
}

// becauseHeader is where a recovered delivery says more.
const becauseHeader = "Recovered-Because"

// recoveredReason says of a decision that the event was recovered, and what that means.
func (q *Queue) recoveredReason(e evaluation) string {
	text := ""
	switch e.event.Recovered {
	case event.NotRecovered:
		return ""
	case event.Compared:
		text = "; recovered: no webhook came, it was read from the host"
		if because := e.delivery.Header[becauseHeader]; len(because) > 0 {
			text += " (" + because[0] + ")"
		}
	case event.Redelivered:
		text = "; recovered: the host sent its webhook again, because it was asked to"
	}
	if !q.opts.Recovery.Release && slices.ContainsFunc(e.decision.Matches, func(m rules.Match) bool { return len(m.Releases) > 0 }) {
		text += "; it is not released, because recovery.release is false: gatewright rerun run checks and releases it"
	}
	return text
}
