package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/report"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// A command in a comment is stored with the delivery that announced it, once for each comment. What the
// payload says is a hint: one job reads the comment back from its host, asks who its author is
// there, and carries the command out in one transaction with what is to be answered. Then it
// answers.

// Conversation is what commands ask of the git hosts beside [Forge]; see [forge.Forge].
type Conversation interface {
	// Account is the number of the account that we write as.
	Account(ctx context.Context, connection string) (id string, err error)
	ReadComment(ctx context.Context, t forge.Target, id string) (forge.Comment, error)
	React(ctx context.Context, t forge.Target, id string) (done bool, err error)
}

// CommandSettings say which commands of a connection are carried out.
type CommandSettings struct {
	// Prefix is what a command begins with, with the blank behind it where it has one; empty: there are none.
	Prefix string
	// May are those who may give a command, by its name: groups of the server file, or MayWrite.
	May map[string][]string
}

// MayWrite stands for the accounts that the host lets write to the repository.
const MayWrite = "write"

const (
	// obeyFor is how long a command is tried to be carried out and answered.
	obeyFor = 24 * time.Hour
	// commandsAtMost is how many commands of an account are heard within commandsWithin.
	commandsAtMost, commandsWithin = 30, time.Hour
)

// addCommand stores the command in the comment that e announces, where there is one, with its job.
func (q *Queue) addCommand(ctx context.Context, tx *transaction, e evaluation, r *result) error {
	ev := e.event
	if ev.Kind != event.Comment || ev.CommentID == "" || ev.Comment == "" {
		return nil
	}
	settings := q.opts.Commands(ev.Connection)
	if settings.Prefix == "" {
		return nil
	}
	c, found := parseCommand(settings.Prefix, ev.Comment)
	if !found {
		return nil
	}
	given := store.Command{
		Connection: ev.Connection, Repository: ev.Repository, Number: ev.Number, CommentID: ev.CommentID, DeliveryID: e.delivery.ID,
		AuthorID: ev.AuthorID, Author: ev.Author, Digest: digest(plainText(ev.Comment)), Name: c.name, State: store.CommandReceived,
	}
	added, err := tx.AddCommand(ctx, given)
	if err != nil || !added {
		return err
	}
	r.reason += fmt.Sprintf("; the comment has the command %s", c.name)
	tx.enqueue(obeyArgs{Key: given.Key(), Announced: given.DeliveryID})
	return nil
}

// plainText is a comment without what hosts write in more than one way.
func plainText(text string) string {
	return strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n"))
}

// obey carries a command out and answers it.
func (q *Queue) obey(ctx context.Context, args obeyArgs) (time.Duration, error) {
	c, err := q.store.Command(ctx, args.Key)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if c.State == store.CommandReceived {
		heard, err := q.hear(ctx, c)
		if err != nil {
			return q.obeyLater(ctx, c, err)
		}
		decided, err := q.carryOutCommand(ctx, heard)
		if err != nil {
			return q.obeyLater(ctx, c, err)
		}
		c = decided
	}
	if c.State != store.CommandDecided {
		return 0, nil
	}
	if err := q.answerCommand(ctx, &c); err != nil {
		return q.obeyLater(ctx, c, err)
	}
	c.State = store.CommandEnded
	return 0, q.save(ctx, func(ctx context.Context, tx *transaction) error {
		_, err := tx.SaveCommand(ctx, c)
		return err
	})
}

// obeyLater notes why a command could not be carried out or answered, and says when to try again; after
// obeyFor nothing does.
func (q *Queue) obeyLater(ctx context.Context, c store.Command, failure error) (time.Duration, error) {
	waited := q.now().Sub(c.GivenAt)
	wait := min(max(waited/4, 2*time.Second), 10*time.Minute)
	var said *forge.Error
	if errors.As(failure, &said) {
		wait = max(wait, said.RetryAfter())
	}
	c.Problem = shortened(failure.Error())
	state := c.State
	if waited > obeyFor {
		wait = 0
		if c.State == store.CommandReceived {
			c.Outcome, c.Reason = store.CommandIgnored, fmt.Sprintf("given up after %s", obeyFor)
		}
		c.State = store.CommandEnded
		q.log.Error("command given up", q.commandFields(c)...)
	}
	return wait, q.save(ctx, func(ctx context.Context, tx *transaction) error {
		current, err := tx.LockCommand(ctx, c.Key())
		if err != nil || current.State != state {
			return err // another job got further
		}
		_, err = tx.SaveCommand(ctx, c)
		return err
	})
}

// heard is a command as its host confirms it.
type heard struct {
	store.Command
	command
	// head is the newest commit of the merge request.
	head string
	// by is how the author is called in records.
	by string
	// ignored says why it is not heard at all; denied that its author may not give it. no is why it is refused, and tried
	// what came of an attempt that was undone.
	ignored string
	denied  string
	no      string
	tried   string
	// account is the number of the author's account.
	account string
}

// hear reads the comment of a command back from its host, with who wrote it, what the host says of the merge
// request, and whether the author may give the command. Nothing that the delivery said counts where
// the host says something else.
func (q *Queue) hear(ctx context.Context, c store.Command) (h heard, err error) {
	h.Command = c
	settings := q.opts.Commands(c.Connection)
	if settings.Prefix == "" {
		h.ignored = "commands are off"
		return h, nil
	}
	given := 0
	if err := q.store.View(ctx, func(tx *store.Tx) (err error) {
		given, err = tx.CommandsSince(ctx, c.Connection, c.AuthorID, c.GivenAt.Add(-commandsWithin))
		return err
	}); err != nil {
		return h, err
	}
	if given >= commandsAtMost {
		h.ignored = fmt.Sprintf("its author gave %d commands within %s before", commandsAtMost, commandsWithin)
		return h, nil
	}
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	target := targetOf(store.Report{Connection: c.Connection, Repository: c.Repository, Number: c.Number})
	own, err := q.opts.Conversation.Account(ctx, c.Connection)
	if err != nil {
		return h, err
	}
	comment, err := q.opts.Conversation.ReadComment(ctx, target, c.CommentID)
	if final(err) {
		h.ignored = "the comment cannot be read back: " + err.Error()
		return h, nil
	}
	if err != nil {
		return h, err
	}
	if h.ignored = unlike(c, comment, own); h.ignored != "" {
		return h, nil
	}
	h.Confirmed = true
	h.command, _ = parseCommand(settings.Prefix, comment.Text)
	h.account = comment.AuthorID
	h.by = fmt.Sprintf("%s (account %s of %s)", report.OneLine(shortened(comment.Author)), comment.AuthorID, c.Connection)
	request, err := q.opts.Forge.MergeRequest(ctx, event.Event{Connection: c.Connection, Kind: event.MergeRequest, Repository: c.Repository, Number: c.Number})
	switch {
	case final(err):
		h.ignored = "the merge request cannot be read: " + err.Error()
		return h, nil
	case err != nil:
		return h, err
	case request.RepositoryID != c.Repository.ID:
		h.ignored = fmt.Sprintf("its host says that %s is another repository", c.Repository.FullName)
		return h, nil
	}
	h.head = request.HeadSHA
	words := q.commandWords(c.Connection)
	if h.denied, err = q.mayNotGive(ctx, settings, words, h.command.name, c, comment); err != nil || h.denied != "" {
		return h, err
	}
	if !request.Open {
		h.no = words.Answer(report.AnswerClosed)
	}
	return h, nil
}

// unlike says how a comment differs from what its delivery said, or that it is our own; empty when it is
// somebody's as they wrote it.
func unlike(c store.Command, comment forge.Comment, own string) string {
	switch {
	case comment.AuthorID == own:
		return "it is our own comment"
	case comment.AuthorID == "" || comment.AuthorID != c.AuthorID:
		return fmt.Sprintf("its host says that account %q wrote the comment, and the delivery said %q", comment.AuthorID, c.AuthorID)
	case comment.Number != c.Number:
		return fmt.Sprintf("its host says that the comment is not on merge request %d", c.Number)
	case comment.Edited:
		return "the comment was edited"
	case digest(plainText(comment.Text)) != c.Digest:
		return "its host says that the comment reads something else"
	}
	return ""
}

func (q *Queue) commandWords(connection string) report.Settings {
	settings, _ := q.reportSettings(connection)
	return settings
}

// mayNotGive says what is answered to an author who may not give a command; empty when they may. Groups are
// looked at first, because they cost no question.
func (q *Queue) mayNotGive(ctx context.Context, settings CommandSettings, words report.Settings, name string, c store.Command, comment forge.Comment) (answer string, err error) {
	if name == commandUnknown {
		name = commandHelp // who may ask what there is
	}
	who := settings.May[name]
	if slices.ContainsFunc(q.opts.Groups(c.Connection, comment.AuthorID), func(group string) bool { return slices.Contains(who, group) }) {
		return "", nil
	}
	if slices.Contains(who, MayWrite) {
		may, err := q.opts.Forge.CanWrite(ctx, c.Connection, c.Repository, forge.User{ID: comment.AuthorID, Login: comment.Author})
		var said *forge.Error
		switch {
		case may && err == nil:
			return "", nil
		case errors.As(err, &said) && (said.Forbidden() || final(err)):
			q.log.Warn("who may give a command cannot be found out", append(q.commandFields(c), zap.Error(err))...)
			return words.Answer(report.AnswerRightsUnknown), nil
		case err != nil:
			return "", err
		}
	}
	groups := slices.DeleteFunc(slices.Clone(who), func(name string) bool { return name == MayWrite })
	return words.Answer(report.AnswerDenied, words.Who(groups, len(groups) < len(who))), nil
}

// carryOutCommand does what a command asks for and saves it with its answer. A command that another job dealt with
// meanwhile stays as that left it.
func (q *Queue) carryOutCommand(ctx context.Context, h heard) (c store.Command, err error) {
	err = q.save(ctx, func(ctx context.Context, tx *transaction) error { return q.saveHeard(ctx, tx, h, &c) })
	var no refusal
	if errors.As(err, &no) {
		// What it had changed before it found out is undone.
		h.tried = q.commandWords(h.Connection).Answer(report.AnswerNo, report.Text(no.Error(), 300))
		err = q.save(ctx, func(ctx context.Context, tx *transaction) error { return q.saveHeard(ctx, tx, h, &c) })
	}
	return c, err
}

func (q *Queue) saveHeard(ctx context.Context, tx *transaction, h heard, c *store.Command) (err error) {
	if *c, err = tx.LockCommand(ctx, h.Key()); err != nil || c.State != store.CommandReceived {
		return err
	}
	c.State, c.Problem, c.Confirmed = store.CommandDecided, "", h.Confirmed
	held, other, err := q.heldFor(ctx, tx.Tx, h)
	if err != nil {
		return err
	}
	switch {
	case h.ignored != "":
		c.State, c.Outcome, c.Reason = store.CommandEnded, store.CommandIgnored, h.ignored
	case len(held) > 0 && h.tried == "":
		// Who may is for the rule of the release to say, and not for the settings of commands.
		if err := q.decideHeld(ctx, tx, h, held, c); err != nil {
			return err
		}
	case h.denied != "" && other != "":
		// The settings of commands say nothing of who approves what a rule holds.
		no := q.commandWords(h.Connection).Answer(report.AnswerOtherCommit, h.command.commit, other)
		c.Outcome, c.Reason, c.Reply = store.CommandRefused, no, no
	case h.tried != "":
		c.Outcome, c.Reason, c.Reply = store.CommandRefused, h.tried, h.tried
	case h.denied != "":
		c.Outcome, c.Reason, c.Reply = store.CommandDenied, h.denied, h.denied
	case h.no != "":
		c.Outcome, c.Reason, c.Reply = store.CommandRefused, h.no, h.no
	default:
		if err := q.act(ctx, tx, h, c); err != nil {
			return err
		}
	}
	if h.command.name != "" {
		c.Name = h.command.name
	}
	first, err := tx.SaveCommand(ctx, *c)
	if err == nil && !first {
		// They were told today.
		c.State, c.Reply = store.CommandEnded, ""
		_, err = tx.SaveCommand(ctx, *c)
	}
	tx.AfterCommit(func() {
		q.opts.Metrics.commands.WithLabelValues(c.Name, string(c.Outcome)).Inc()
		q.log.Info("command "+string(c.Outcome), q.commandFields(*c)...)
	})
	return err
}

// act does what a command asks for, and sets its outcome and its answer. A refusal undoes everything.
func (q *Queue) act(ctx context.Context, tx *transaction, h heard, c *store.Command) (err error) {
	words := q.commandWords(h.Connection)
	answer := func(outcome store.CommandOutcome, reply string) {
		c.Outcome, c.Reply, c.Reason = outcome, reply, reply
	}
	switch h.command.name {
	case commandHelp:
		answer(store.CommandDone, words.Answer(report.AnswerHelp, q.opts.Commands(h.Connection).Prefix))
		c.Reason = ""
		return nil
	case commandUnknown:
		prefix := q.opts.Commands(h.Connection).Prefix
		answer(store.CommandRefused, words.Answer(report.AnswerUnknown, prefix+commandOurs+" "+commandHelp))
		return nil
	case commandWhy:
		answer(store.CommandDone, "")
		c.Reply, err = q.why(ctx, tx, h, words)
		return err
	case commandRecheck:
		var no string
		if no, err = q.recheck(ctx, tx, h, words, c); err == nil && no != "" {
			answer(store.CommandRefused, no)
		}
		return err
	}
	switch commit := h.command.commit; {
	case !h.command.fullCommit():
		answer(store.CommandRefused, words.Answer(report.AnswerFullCommit, h.head))
		return nil
	case commit != h.head:
		answer(store.CommandRefused, words.Answer(report.AnswerOtherCommit, commit, h.head))
		return nil
	}
	if h.command.name == commandOK {
		ev := event.Event{Connection: h.Connection, Kind: event.MergeRequest, Repository: h.Repository, Number: h.Number, HeadSHA: h.head}
		trusted, err := q.inserter().giveTrust(ctx, tx, ev, "", h.order())
		switch {
		case err != nil:
			return err
		case len(trusted.Deliveries) == 0:
			answer(store.CommandDone, nothingWaits(words))
		default:
			done(c, "trusted "+h.head, words.Answer(report.AnswerTrusted))
		}
		return nil
	}
	no, err := q.decideWaiting(ctx, tx, h, words, c)
	if err == nil && no != "" {
		answer(store.CommandRefused, no)
	}
	return err
}

// nothingWaits is the answer to somebody who vouches for a commit that no delivery waits with.
func nothingWaits(words report.Settings) string {
	if words.Language == "zh" {
		return "已信任此提交，但没有事件在等待，因此现在不会检查任何内容。"
	}
	return "this commit is trusted now. Nothing waited for that, so nothing is checked now."
}

// done is answered by a reaction, and by a text where there is none.
func done(c *store.Command, what, text string) {
	c.Outcome, c.Reason, c.React, c.Reply = store.CommandDone, what, true, text
}

// inserter does what people order, in the transactions of the queue.
func (q *Queue) inserter() *Inserter { return &Inserter{queue: q, store: q.store, engine: q.engine} }

// order is who ordered an action by a command, and why.
func (h heard) order() Order {
	reason := fmt.Sprintf("%s in comment %s on merge request %d", h.command.name, h.CommentID, h.Number)
	if h.command.reason != "" && h.command.name == commandRefuse {
		reason = h.command.reason + " (" + reason + ")"
	}
	return Order{Actor: h.by, Reason: reason}
}

func (h heard) refKey() string {
	return event.Event{Connection: h.Connection, Repository: h.Repository, Number: h.Number}.RefKey()
}

// recheck repeats the newest run of each rule for the newest commit.
func (q *Queue) recheck(ctx context.Context, tx *transaction, h heard, words report.Settings, c *store.Command) (no string, err error) {
	runs, err := tx.NewestRuns(ctx, h.refKey())
	switch {
	case err != nil:
		return "", err
	case len(runs) == 0 || runs[0].Event.HeadSHA != h.head:
		return words.Answer(report.AnswerNotChecked, h.head), nil
	case slices.ContainsFunc(runs, func(run codecheck.Run) bool { return !run.State.Ended() }):
		return words.Answer(report.AnswerRunning), nil
	}
	var ids []string
	for _, run := range runs {
		in := q.inserter()
		made, err := in.carryOut(ctx, tx, h.order(), store.ActionRerun, store.RecordRun, run.ID, in.rerunRun(ctx, run.ID))
		if err != nil {
			return "", err
		}
		ids = append(ids, made.Runs[0].ID)
	}
	done(c, "checked again as run "+strings.Join(ids, ", "), words.Answer(report.AnswerRechecked))
	return "", nil
}

// why says what became of the newest commit.
func (q *Queue) why(ctx context.Context, tx *transaction, h heard, words report.Settings) (string, error) {
	runs, err := tx.NewestRuns(ctx, h.refKey())
	if err != nil || len(runs) > 0 && runs[0].Event.HeadSHA == h.head {
		return words.Why(runs, ""), err
	}
	text := words.Answer(report.AnswerNotChecked, h.head)
	head, known, err := tx.Head(ctx, h.refKey())
	if err != nil || !known || head.SHA != h.head {
		return text, err
	}
	delivery, err := tx.DeliveryWithoutBody(ctx, head.DeliveryID)
	if errors.Is(err, store.ErrNotFound) || err == nil && delivery.Reason == "" {
		return text, nil
	}
	return text + " " + words.Why(nil, delivery.Reason), err
}

// decideWaiting gives a person's decision of the one checkpoint that waits for the newest commit.
func (q *Queue) decideWaiting(ctx context.Context, tx *transaction, h heard, words report.Settings, c *store.Command) (no string, err error) {
	waiting, err := tx.ReleasesAwaiting(ctx, h.Connection, h.Repository.ID, h.head)
	if err != nil {
		return "", err
	}
	var points []string
	for _, r := range waiting {
		name := r.Plan.PipelineName
		if name == "" {
			name = r.Plan.Pipeline
		}
		for range max(len(r.Waiting), 1) {
			points = append(points, report.Text(name, 60))
		}
	}
	switch len(points) {
	case 0:
		return words.Answer(report.AnswerNothingWaits, h.head), nil
	case 1:
	default:
		return words.Answer(report.AnswerSeveralWait, strings.Join(points, ", ")), nil
	}
	decision, text := rules.ReleaseApprove, words.Answer(report.AnswerApproved)
	if h.command.name == commandRefuse {
		decision, text = rules.ReleaseRefuse, words.Answer(report.AnswerRefused)
	}
	in, id := q.inserter(), waiting[0].ID
	if _, err := in.carryOut(ctx, tx, h.order(), nameOf(decision), store.RecordRelease, id, in.decideCheckpoint(ctx, id, decision, "", h.order())); err != nil {
		return "", err
	}
	done(c, pastOf(decision)+" release "+id, text)
	return "", nil
}

// heldFor are the held releases that a command decides about: of the commit that it names, on the merge request itself or
// on one that brought the commit of a push.
func (q *Queue) heldFor(ctx context.Context, tx *store.Tx, h heard) (held []release.Release, other string, err error) {
	if h.ignored != "" || h.command.name != commandApprove && h.command.name != commandRefuse || !h.command.fullCommit() {
		return nil, "", nil
	}
	all, err := tx.HeldReleases(ctx, "")
	for _, r := range all {
		ev := r.Event
		if ev.Connection != h.Connection || ev.Repository.ID != h.Repository.ID {
			continue
		}
		here := ev.Number == h.Number || ev.Number == 0 && r.Hold.Origin != nil && slices.Contains(r.Hold.Origin.MergeRequests, h.Number)
		switch {
		case here && ev.HeadSHA == h.command.commit:
			held = append(held, r)
		case here:
			other = ev.HeadSHA
		}
	}
	return held, other, err
}

// decideHeld approves or refuses the held release of a commit for the author of a comment.
func (q *Queue) decideHeld(ctx context.Context, tx *transaction, h heard, held []release.Release, c *store.Command) error {
	words := q.commandWords(h.Connection)
	person, known := q.opts.People.ByAccount(h.Connection, h.account)
	switch {
	case !known:
		c.Outcome, c.Reply = store.CommandDenied, words.Answer(report.AnswerNobody)
		c.Reason = c.Reply
		return nil
	case len(held) > 1:
		var names []string
		for _, r := range held {
			names = append(names, report.Text(cmp.Or(r.Plan.PipelineName, r.Plan.Pipeline), 60))
		}
		c.Outcome, c.Reply = store.CommandRefused, words.Answer(report.AnswerSeveralWait, strings.Join(names, ", "))
		c.Reason = c.Reply
		return nil
	}
	by := Approver{Person: person, Identity: h.Connection + ":" + h.account, Via: "comment"}
	in, id, reason := q.inserter(), held[0].ID, h.order().Reason
	decision, do := rules.ReleaseApprove, in.approveHeld(ctx, id, h.command.commit, by, reason)
	if h.command.name == commandRefuse {
		decision, do = rules.ReleaseRefuse, in.refuseHeld(ctx, id, h.command.commit, by, reason)
	}
	var made Done
	if err := do(tx, &made); err != nil {
		return err
	}
	text := words.Answer(report.AnswerRefused)
	if next := made.Releases[0]; decision == rules.ReleaseApprove {
		text = words.Answer(report.AnswerHeldApproved, id, report.Text(next.Reason, 300))
	}
	done(c, pastOf(decision)+" release "+id, text)
	return nil
}

// answerCommand tells the host what came of a command: by a reaction, or else by a reply, which is found again when its
// answer was lost. That nobody can be told any more is not an error.
func (q *Queue) answerCommand(ctx context.Context, c *store.Command) error {
	target := targetOf(store.Report{Connection: c.Connection, Repository: c.Repository, Number: c.Number})
	if c.React {
		done, err := q.opts.Conversation.React(ctx, target, c.CommentID)
		switch {
		case err != nil && !final(err) && !isForbidden(err):
			return err
		case done:
			c.Answered, c.Problem = "reaction", ""
			return nil
		case isNotFound(err):
			c.Problem = err.Error()
			return nil
		}
	}
	if c.Reply == "" {
		return nil
	}
	words := q.commandWords(c.Connection)
	name := c.Name
	if name == commandUnknown {
		name = "…"
	}
	body := words.Reply(c.CommentID, q.opts.Commands(c.Connection).Prefix+name, c.Author, c.Reply)
	_, err := q.opts.Reporter.SaveComment(ctx, target, report.AnswerMarker(c.CommentID), body, "")
	switch {
	case err == nil:
		c.Answered, c.Problem = "reply", ""
	case final(err):
		c.Problem = err.Error()
	default:
		return err
	}
	return nil
}

// isForbidden: a token may have the right to comment and none to react.
func isForbidden(err error) bool {
	var said *forge.Error
	return errors.As(err, &said) && said.Forbidden()
}

func isNotFound(err error) bool {
	var said *forge.Error
	return errors.As(err, &said) && said.NotFound()
}

func (q *Queue) commandFields(c store.Command) []zap.Field {
	fields := []zap.Field{zap.String(event.LogCommand, c.Key()), zap.String(event.LogDelivery, c.DeliveryID), zap.String(event.LogConnection, c.Connection),
		zap.String(event.LogRepository, c.Repository.FullName), zap.String(event.LogOperation, c.Name), zap.String(event.LogAuthor, c.AuthorID),
		zap.String(event.LogReason, c.Reason)}
	if c.Problem != "" {
		fields = append(fields, zap.String(event.LogError, c.Problem))
	}
	return fields
}
