package release

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/rules"
)

// Options configures an Operator. Client and ProjectID are mandatory.
type Options struct {
	// Client speaks to ServiceStage.
	Client *huaweicloud.Client
	// ProjectID gives the IAM region project in whose pipelines the releases
	// are: the configured one, or the one of the token.
	ProjectID func(ctx context.Context) (string, error)
	// Poll bounds the wait between two looks. Default 5 and 30 seconds.
	Poll Poll
	// SettleFor is how long after an action was sent its effect may take to show.
	// When its answer was lost we look for that long before a person is asked,
	// and an execution whose start is further than that from ours, by the
	// service's clock, is not ours. So it also bounds by how much the two clocks
	// may differ. Default 60 seconds.
	SettleFor time.Duration
	// Startable are the statuses in which a pipeline is started; in any other,
	// also in one that we do not know, the start waits. The service documents
	// only that it refuses while the pipeline is releasing
	// (specs/servicestage-release.md 2). Default: never run, succeeded, failed,
	// skipped, rolled back, rollback failed.
	Startable []Status
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Log is told of every action and end. Default: none.
	Log *zap.Logger
	// Metrics counts actions and ends. Default: counters that nobody reads.
	Metrics *Metrics
}

// Poll bounds the wait between two looks; it grows from Min to Max.
type Poll struct{ Min, Max time.Duration }

// Operator starts pipelines, decides checkpoints and follows executions. It
// keeps no state of its own: all of it is in the releases. It is safe for
// concurrent use with different releases.
type Operator struct {
	options Options
}

// New returns an operator, or an error that names the first wrong option.
func New(o Options) (*Operator, error) {
	if o.Client == nil || o.ProjectID == nil {
		return nil, errors.New("create release operator: client or project id is missing")
	}
	if o.Poll.Min <= 0 {
		o.Poll.Min = 5 * time.Second
	}
	if o.Poll.Max <= 0 {
		o.Poll.Max = max(30*time.Second, o.Poll.Min)
	}
	if o.Poll.Max < o.Poll.Min {
		return nil, fmt.Errorf("create release operator: poll max %s is below poll min %s", o.Poll.Max, o.Poll.Min)
	}
	if o.SettleFor <= 0 {
		o.SettleFor = 60 * time.Second
	}
	if len(o.Startable) == 0 {
		o.Startable = []Status{StatusInitial, StatusSucceeded, StatusFailed, StatusSkipped, StatusRolledBack, StatusRollbackFailed}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(prometheus.NewRegistry())
	}
	return &Operator{options: o}, nil
}

// Act takes the next step of a release that is starting. A start ends up running
// (then Follow it), an approval or a refusal in an end state: succeeded when the
// checkpoint was decided as asked. It returns the release to be saved and how
// long to wait before the next step (0 when the release has ended). A release that
// is already past starting is returned as it is; a held one is an error.
//
// save commits the release, with its intent, before anything is sent; when it
// fails nothing is sent. An action whose intent was committed is never sent
// again, unless the answer proves that the service did not act. When the answer
// was lost, or the process died, the next Act looks for the effect: it adopts
// what it finds, and after SettleFor what cannot be told is Unknown. A process
// that dies between the commit and the request ends as Unknown too, because
// nothing tells the two apart.
//
// For a release with After the caller puts the execution of that release into
// ExecutionID as soon as it is known, and ends this one when that one ends
// without; until then Act waits. Without After the execution that is under way at
// the first look is the one that is decided; it is saved in ExecutionID. In both
// cases no other execution's checkpoint is ever decided.
//
// Act must not run twice at a time for one release. No two releases of one
// pipeline may have a start whose answer is not known, or one could adopt the
// other's execution: the caller runs them one after the other, or save refuses.
//
// The error is one to try again after (see huaweicloud.Error); what is to be kept
// then has been saved. The deadline ends the release as Failed when nothing was
// sent; a release without a deadline is over it.
func (o *Operator) Act(ctx context.Context, r Release, save func(context.Context, Release) error) (Release, time.Duration, error) {
	if r.State.Ended() || r.State == Running || r.State == AwaitingApproval {
		return r, 0, nil
	}
	if r.State != Starting {
		return r, 0, fmt.Errorf("act on release %q: it is %s", r.ID, r.State)
	}
	s, err := o.service(ctx)
	if err != nil {
		return o.lookFailed(ctx, r, err)
	}
	switch r.Plan.Action {
	case rules.ReleaseStart:
		if r.Intent != nil {
			return o.settleStart(ctx, s, r)
		}
		return o.start(ctx, s, r, save)
	case rules.ReleaseApprove, rules.ReleaseRefuse:
		if r.Intent != nil {
			return o.settleDecision(ctx, s, r)
		}
		return o.decide(ctx, s, r, save)
	}
	return o.finish(r, Failed, fmt.Sprintf("action %q is not known", r.Plan.Action))
}

func (o *Operator) service(ctx context.Context) (service, error) {
	project, err := o.options.ProjectID(ctx)
	if err != nil {
		return service{}, fmt.Errorf("get project id: %w", err)
	}
	return service{client: o.options.Client, project: project}, nil
}

// lookFailed is for a release whose pipeline could not be read. What may pass is
// an error to try again after. The rest ends a release for which nothing was
// sent; where something was, looking goes on until the deadline, because the
// pipeline moves whether we can see it or not.
func (o *Operator) lookFailed(ctx context.Context, r Release, err error) (Release, time.Duration, error) {
	sent := r.Intent != nil || r.State != Starting
	switch {
	case ctx.Err() != nil && (!o.expired(r) || errors.Is(ctx.Err(), context.Canceled)):
		// A service that never answers takes all the time of the step, each time: after
		// the deadline only one that was cancelled looks again.
		return r, 0, err
	case o.expired(r) && r.State == Starting && sent:
		return o.finish(o.settled(r, outcomeUnknown, "", "the pipeline could not be read"), Unknown,
			fmt.Sprintf("the answer to %s was lost and the pipeline could not be read before the deadline: %s", r.Intent.Action, err))
	case o.expired(r):
		return o.finish(r, Failed, fmt.Sprintf("the deadline passed and the pipeline cannot be read: %s", err))
	case retryable(err):
		return r, 0, err
	case sent:
		return o.wait(r, fmt.Sprintf("the pipeline cannot be read: %s", err))
	}
	return o.finish(r, Failed, fmt.Sprintf("the pipeline cannot be read: %s", err))
}

// intend returns r with the intent to send its action, to be committed before it
// is sent. Until an answer is known the action's outcome is unknown, and the
// looks for its effect begin with the shortest wait.
func (o *Operator) intend(r Release, last record, p pipeline) Release {
	now := o.options.Now()
	r.Intent = &Intent{
		SentAt:          now,
		Action:          actionName(r.Plan.Action),
		LastExecutionID: string(last.ID),
		LastTriggerAt:   int64(p.LastTriggerAt),
	}
	r.Polls = 0
	r.Reason = fmt.Sprintf("%s is sent; its answer is not known yet", r.Intent.Action)
	r.Actions = append(slices.Clone(r.Actions), Action{
		Name: r.Intent.Action, Task: r.Plan.Task, At: now, ExecutionID: r.ExecutionID, Outcome: outcomeUnknown,
	})
	return r
}

// settled returns r with the outcome of its last action, and with the execution
// that it began.
func (o *Operator) settled(r Release, outcome, execution, detail string) Release {
	r.Actions = slices.Clone(r.Actions)
	if len(r.Actions) == 0 { // an intent that was restored without its entry
		r.Actions = []Action{{Name: r.Intent.Action, Task: r.Plan.Task, At: r.Intent.SentAt}}
	}
	last := &r.Actions[len(r.Actions)-1]
	last.Outcome, last.Detail = outcome, detail
	if execution != "" {
		last.ExecutionID = execution
	}
	if r.ExecutionID == "" {
		r.ExecutionID = last.ExecutionID
	}
	o.options.Metrics.actions.WithLabelValues(last.Name, outcome).Inc()
	o.options.Log.Info("release action settled", append(fields(r),
		zap.String(event.LogOperation, last.Name), zap.String(event.LogReason, outcome))...)
	return r
}

// takenBack returns r without its intent, for an action that certainly had no
// effect. One that never reached the service, or that it put off, leaves no
// entry; of refusals in a row only the last does.
func (o *Operator) takenBack(r Release, err error) Release {
	if retryable(err) {
		r.Actions = slices.Clone(r.Actions[:len(r.Actions)-1])
	} else {
		r = o.settled(r, outcomeRefused, "", err.Error())
		if n := len(r.Actions); n > 1 && r.Actions[n-2].Outcome == outcomeRefused {
			r.Actions = slices.Delete(r.Actions, n-2, n-1)
		}
	}
	r.Intent = nil
	r.Reason = err.Error()
	return r
}

// finish ends r.
func (o *Operator) finish(r Release, state State, reason string) (Release, time.Duration, error) {
	r.State, r.Reason, r.Waiting, r.FinishedAt = state, reason, nil, o.options.Now()
	o.options.Metrics.finished.WithLabelValues(string(state)).Inc()
	level := zap.InfoLevel
	if state == Unknown {
		level = zap.ErrorLevel // a person must look
	}
	o.options.Log.Log(level, "release finished", append(fields(r), zap.String(event.LogReason, reason))...)
	return r, 0, nil
}

// wait keeps r in its state until the next look. The wait grows by half with
// each look and is shortened by up to a tenth, so that releases which began
// together do not look together; it ends at the deadline.
func (o *Operator) wait(r Release, reason string) (Release, time.Duration, error) {
	d := o.options.Poll.Min
	for range r.Polls {
		if d = d * 3 / 2; d >= o.options.Poll.Max {
			d = o.options.Poll.Max
			break
		}
	}
	spread := fnv.New32a()
	fmt.Fprintf(spread, "%s %d", r.ID, r.Polls)
	d -= d / 10 * time.Duration(spread.Sum32()%100) / 100
	if left := r.Deadline.Sub(o.options.Now()); left > 0 && left < d {
		d = left
	}
	r.Reason = reason
	r.Polls++
	return r, d, nil
}

// expired reports whether r's deadline has passed.
func (o *Operator) expired(r Release) bool { return !o.options.Now().Before(r.Deadline) }

// settling reports whether the effect of r's action may still show. After a
// clock that was set back further than that it may not: nothing waits for a
// clock to catch up.
func (o *Operator) settling(r Release) bool {
	return o.options.Now().Sub(r.Intent.SentAt).Abs() < o.options.SettleFor
}

func fields(r Release) []zap.Field {
	return []zap.Field{
		zap.String(event.LogRelease, r.ID), zap.String(event.LogRun, r.RunID), zap.String(event.LogRule, r.Rule),
		zap.String(event.LogRepository, r.Event.Repository.FullName), zap.String(event.LogSHA, r.Event.HeadSHA),
		zap.String(event.LogPipeline, r.Plan.Pipeline), zap.String(event.LogExecution, r.ExecutionID),
		zap.String(event.LogState, string(r.State)),
	}
}
