package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/riverqueue/river"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/notify"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
)

// Notifier sends notices; see [notify.Sender].
type Notifier interface {
	Send(ctx context.Context, t notify.Target, m notify.Message) error
}

// announceArgs: store what the targets are told of an event of a release.
type announceArgs struct {
	Event     notify.Event `json:"event"`
	ReleaseID string       `json:"release_id"`
	// Occasion tells apart what is told of one release more than once: the checkpoints that wait; empty otherwise.
	Occasion string `json:"occasion,omitempty"`
}

// notifyArgs: send a notice.
type notifyArgs struct {
	Key string `json:"key"`
}

func (announceArgs) Kind() string { return "announce" }
func (notifyArgs) Kind() string   { return "notify" }

const (
	noticeQueue   = "notices"
	noticeWorkers = 4
	noticePoll    = 500 * time.Millisecond
	// giveUpNotice is how long a notice is tried to be sent.
	giveUpNotice = 24 * time.Hour
	// noticeWindow is the time in which a target gets no more messages than its limit; maxSummary is how many
	// notices one of them may carry.
	noticeWindow = time.Minute
	maxSummary   = 500
	// maxFound bounds what one look for missing verdicts and failing credentials finds.
	maxFound = 200
)

// InsertOpts keeps it apart from remote calls.
func (announceArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: noticeQueue} }

// InsertOpts lets slow targets delay nothing else.
func (notifyArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: noticeQueue} }

// noticeJob is the job of a notice that may have one already.
func noticeJob(key string) river.InsertManyParams {
	return river.InsertManyParams{Args: notifyArgs{Key: key}, InsertOpts: &river.InsertOpts{Queue: noticeQueue, UniqueOpts: untilEnded()}}
}

// announceRelease notes that targets may be told of a release's new state. A command does not know
// the targets: the server does, when it comes to the job.
func (q *Queue) announceRelease(tx *transaction, before, r release.Release) {
	if q.opts.Targets != nil && len(q.opts.Targets()) == 0 {
		return
	}
	what, occasion := notify.Event(""), waitsAt(r)
	switch {
	case occasion != "" && occasion != waitsAt(before):
		what = notify.ApprovalWanted
	case r.State == before.State:
	case r.State == release.Failed:
		what = notify.Failed
	case r.State == release.Unknown:
		what = notify.Unknown
	case r.State == release.Expired:
		what = notify.Expired
	}
	if what != "" {
		tx.enqueue(announceArgs{Event: what, ReleaseID: r.ID, Occasion: occasion})
	}
}

// waitsAt says for what a release waits for a person; empty when it does not.
func waitsAt(r release.Release) string {
	switch {
	case r.State == release.Held:
		return "held"
	case r.State.Followed() && !r.WaitsForPersonSince.IsZero():
		return "waits " + strings.Join(r.Waiting, ", ")
	}
	return ""
}

// announce stores the notices about a release for the targets that want them.
func (q *Queue) announce(ctx context.Context, args announceArgs) (time.Duration, error) {
	return 0, q.update(ctx, func(tx *transaction) error {
		r, err := tx.Release(ctx, args.ReleaseID)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return q.addNotices(ctx, tx, notify.Notice{
			Event: args.Event, RecordKind: string(store.RecordRelease), RecordID: r.ID, Connection: r.Event.Connection, Repository: r.Event.Repository.FullName,
			Branch: r.Event.Branch, Commit: r.Event.HeadSHA, Pipeline: pipelineName(r), Reason: r.Reason, Link: q.link("/releases/" + r.ID), At: q.now().UTC(),
			Occasion: args.Occasion,
		})
	})
}

func pipelineName(r release.Release) string {
	if r.Plan.PipelineName != "" {
		return r.Plan.PipelineName
	}
	return r.Plan.Pipeline
}

// link is the address of a page; empty without dashboard.url.
func (q *Queue) link(page string) string {
	if q.opts.Dashboard == "" {
		return ""
	}
	return q.opts.Dashboard + page
}

// addNotices stores notices for the targets that want them and did not get them yet, with the jobs that
// send them.
func (q *Queue) addNotices(ctx context.Context, tx *transaction, notices ...notify.Notice) error {
	for _, n := range notices {
		data, err := json.Marshal(n)
		if err != nil {
			return err
		}
		for _, target := range q.opts.Targets() {
			if !target.Wants(n) {
				continue
			}
			stored := store.Notice{Target: target.Name, Event: string(n.Event), RecordID: strings.TrimSpace(n.RecordID + " " + n.Occasion), Data: string(data)}
			added, err := tx.AddNotice(ctx, stored)
			if err != nil {
				return err
			}
			if added {
				tx.enqueue(notifyArgs{Key: stored.Key()})
			}
		}
	}
	return nil
}

// announceFound stores notices about what no transition tells: missing verdicts and failing credentials.
func (q *Queue) announceFound(ctx context.Context) error {
	targets := q.opts.Targets()
	wants := func(e notify.Event) bool {
		return slices.ContainsFunc(targets, func(t notify.Target) bool { return t.Wants(notify.Notice{Event: e}) })
	}
	var found []notify.Notice
	if wants(notify.MissingVerdict) && q.opts.MissingAfter > 0 {
		err := q.store.View(ctx, func(tx *store.Tx) error {
			missing, err := tx.MissingVerdicts(ctx, q.now().Add(-q.opts.MissingAfter), maxFound)
			for _, h := range missing {
				found = append(found, notify.Notice{
					Event: notify.MissingVerdict, RecordKind: "ref", RecordID: h.RefKey + " " + h.SHA, Connection: h.Connection, Repository: h.Repository, Branch: h.Branch, Commit: h.SHA,
					Reason: "a rule covers it, and it has had no verdict for " + q.opts.MissingAfter.String(), At: q.now().UTC(),
				})
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if wants(notify.CredentialFailing) {
		pauses, err := q.store.Pauses(ctx)
		if err != nil {
			return err
		}
		for _, p := range pauses {
			if p.Refusals > 0 && q.now().Before(p.Until) {
				found = append(found, notify.Notice{
					Event: notify.CredentialFailing, RecordKind: "credential", RecordID: p.Key, Occasion: p.Since.UTC().Format(time.DateOnly), Reason: p.Reason, At: q.now().UTC(),
				})
			}
		}
		for connection, reason := range q.opts.RefusedTokens() {
			found = append(found, notify.Notice{
				Event: notify.CredentialFailing, RecordKind: "credential", RecordID: "token of connection " + connection, Occasion: q.now().UTC().Format(time.DateOnly),
				Connection: connection, Reason: reason, At: q.now().UTC(),
			})
		}
	}
	if len(found) == 0 {
		return nil
	}
	return q.update(ctx, func(tx *transaction) error { return q.addNotices(ctx, tx, found...) })
}

// notify sends a notice, alone or with others in a summary: a message of a target's last place in a minute
// carries all that wait. Each notice has its job, which ends with it.
func (q *Queue) notify(ctx context.Context, args notifyArgs) (wait time.Duration, err error) {
	var claimed []store.Notice
	var target notify.Target
	err = q.update(ctx, func(tx *transaction) error {
		claimed, wait, target, err = q.claimNotices(ctx, tx, args.Key)
		return err
	})
	if err != nil || len(claimed) == 0 {
		return wait, err
	}
	message := notify.Message{ID: claimed[0].Message, At: q.now().UTC()}
	for _, n := range claimed {
		var notice notify.Notice
		if err := json.Unmarshal([]byte(n.Data), &notice); err != nil {
			return 0, err
		}
		message.Notices = append(message.Notices, notice)
	}
	failure := q.opts.Notifier.Send(ctx, target, message)
	err = q.save(ctx, func(ctx context.Context, tx *transaction) error {
		if _, _, err := tx.LockTarget(ctx, target.Name); err != nil {
			return err
		}
		for _, n := range claimed {
			n.State, n.Problem, n.ClaimedUntil = store.NoticeSent, "", time.Time{}
			if failure != nil {
				wait = noticeBackoff(n.Attempts)
				n.State, n.Problem, n.DueAt = store.NoticeWaiting, failure.Error(), q.now().Add(wait)
			}
			if err := tx.SaveNotice(ctx, n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	outcome := noticeSent
	if failure != nil {
		outcome = noticeRetried
		q.log.Warn("notice not sent, will be retried", zap.String(event.LogTarget, target.Name), zap.Int(event.LogAttempt, claimed[0].Attempts), zap.Error(failure))
	}
	for _, n := range claimed {
		q.opts.Metrics.observeNotice(n.Event, outcome)
	}
	return wait, nil
}

// claimNotices claims a notice, and those that go with it in one message. Without any, wait says when to try
// again; 0: the notice has ended.
func (q *Queue) claimNotices(ctx context.Context, tx *transaction, key string) (claimed []store.Notice, wait time.Duration, target notify.Target, err error) {
	n, err := tx.Notice(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, 0, target, nil
	}
	if err != nil {
		return nil, 0, target, err
	}
	since, sent, err := tx.LockTarget(ctx, n.Target)
	if err != nil {
		return nil, 0, target, err
	}
	// It may have changed until the lock was had.
	if n, err = tx.Notice(ctx, key); err != nil || n.State != store.NoticeWaiting {
		return nil, 0, target, err
	}
	now := q.now()
	targets := q.opts.Targets()
	place := slices.IndexFunc(targets, func(t notify.Target) bool { return t.Name == n.Target })
	switch {
	case place < 0:
		return nil, 0, target, q.giveUpNotice(ctx, tx, n, "the server file has no such target any more")
	case now.Sub(n.CreatedAt) > giveUpNotice:
		return nil, 0, target, q.giveUpNotice(ctx, tx, n, "given up after "+giveUpNotice.String()+": "+n.Problem)
	case now.Before(n.ClaimedUntil):
		return nil, max(min(n.ClaimedUntil.Sub(now), 5*time.Second), soon), target, nil
	case now.Before(n.DueAt):
		return nil, n.DueAt.Sub(now), target, nil
	}
	target = targets[place]
	if now.Sub(since).Abs() >= noticeWindow {
		since, sent = now, 0
	}
	if sent >= target.PerMinute {
		return nil, max(since.Add(noticeWindow).Sub(now), soon), target, nil
	}
	sent++
	claimed = []store.Notice{n}
	switch {
	case n.Message != "":
		claimed, err = tx.NoticesOfMessage(ctx, n.Message)
	case sent == target.PerMinute:
		claimed, err = tx.UnsentNotices(ctx, n.Target, maxSummary)
	}
	if err != nil {
		return nil, 0, target, err
	}
	id := n.Message
	if id == "" {
		id = "msg_" + q.opts.NewID()
	}
	for i := range claimed {
		claimed[i].Message, claimed[i].ClaimedUntil = id, now.Add(claimReport)
		claimed[i].Attempts++
		if err := tx.SaveNotice(ctx, claimed[i]); err != nil {
			return nil, 0, target, err
		}
	}
	return claimed, 0, target, tx.SaveTarget(ctx, n.Target, since, sent)
}

func (q *Queue) giveUpNotice(ctx context.Context, tx *transaction, n store.Notice, why string) error {
	n.State, n.Problem = store.NoticeGivenUp, why
	tx.AfterCommit(func() {
		q.opts.Metrics.observeNotice(n.Event, noticeGivenUp)
		q.log.Error("notice given up", zap.String(event.LogTarget, n.Target), zap.String(event.LogReason, why))
	})
	return tx.SaveNotice(ctx, n)
}

// noticeBackoff is how long to wait after a try: 2, 4, 8 … seconds, up to ten minutes.
func noticeBackoff(attempts int) time.Duration {
	return min(time.Second<<min(attempts, 10), 10*time.Minute)
}
