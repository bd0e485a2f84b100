package release

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/rules"
)

// Options configures an Operator. Client and ProjectID are mandatory.
type Options struct {
	// Client speaks to ServiceStage.
	Client *huaweicloud.Client
	// Pipeline speaks to CodeArts Pipeline. Default: none, and releases by it fail.
	Pipeline *huaweicloud.Client
	// ProjectID gives the IAM region project in whose pipelines the releases
	// are: the configured one, or the one of the token.
	ProjectID func(ctx context.Context) (string, error)
	// Poll bounds the wait between two reads of a pipeline. Default 5 and 30 seconds.
	Poll Poll
	// EffectTimeout is how long after an action was sent its effect may take to
	// show. When the answer was lost the effect is looked for that long before a
	// person is asked, and an execution whose start is further than that from
	// ours, by the service's clock, is not ours. So it also bounds by how much
	// the two clocks may differ. Default 60 seconds.
	EffectTimeout time.Duration
	// Startable are the statuses in which a pipeline is started; in any other,
	// also in one that we do not know, the start waits. The service documents
	// only that it refuses while the pipeline is releasing
	// (specs/servicestage-release.md 2). Default: never run, succeeded, failed,
	// skipped, rolled back, rollback failed, canceled.
	Startable []Status
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Poll bounds the wait between two reads of a pipeline; it grows from Min to Max.
type Poll struct{ Min, Max time.Duration }

// Operator starts pipelines, decides checkpoints and follows executions. It
// keeps no state of its own: all of it is in the releases. It is safe for
// concurrent use with different releases.
type Operator struct {
	options Options
	// services make each service for one step of a release.
	services map[rules.ReleaseTarget]func(ctx context.Context, r Release, poll bool) (service, error)
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
	if o.EffectTimeout <= 0 {
		o.EffectTimeout = 60 * time.Second
	}
	if len(o.Startable) == 0 {
		o.Startable = []Status{StatusInitial, StatusSucceeded, StatusFailed, StatusSkipped, StatusRolledBack, StatusRollbackFailed, StatusCanceled}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	op := &Operator{options: o}
	op.services = map[rules.ReleaseTarget]func(context.Context, Release, bool) (service, error){
		rules.TargetServiceStage:     op.serviceStage,
		rules.TargetCodeArtsPipeline: op.codeArtsPipeline,
	}
	return op, nil
}

// Prepare takes a release that is starting up to the request that acts. It reads
// the pipeline and does one of three things:
//
//   - send is true: the pipeline is free, or the checkpoint waits. next carries a
//     fresh Intent; commit it, then call Send with it at once.
//   - next is still starting: save it and call Prepare again after wait.
//   - next is past starting or has ended: save it.
//
// A release that comes with an intent had its answer lost, or the process died.
// Then Prepare looks for the effect and sends nothing: it adopts what it finds,
// and without a clear sign within EffectTimeout the release ends as Unknown. So
// does one whose process died between the commit of the intent and the request,
// because that looks the same.
//
// For a release with After the caller puts the execution of that release into
// ExecutionID as soon as it is known, and ends this one when that one ends
// without; until then Prepare waits. Without After the execution that is under
// way when Prepare first sees one is the one that is decided: next comes with its
// ExecutionID and the shortest wait. In both cases no other execution's
// checkpoint is ever decided.
//
// Prepare and Send must not run twice at a time for one release. No two releases
// of one pipeline may have a start whose answer is not known, or one could adopt
// the other's execution: the caller refuses to commit the second intent, and puts
// the executions that others have begun into Intent.Taken.
//
// A release past starting is returned as it is; a held one is an error. Any other
// error is one to try again after (see huaweicloud.Error); nothing is to be saved
// then. The deadline ends the release as Failed when nothing was sent, or as Expired
// when a person did not act in time; a release without a deadline is past it.
func (o *Operator) Prepare(ctx context.Context, r Release) (next Release, send bool, wait time.Duration, err error) {
	if r.State.Ended() || r.State.Followed() {
		return r, false, 0, nil
	}
	if r.State != Starting {
		return r, false, 0, fmt.Errorf("prepare release %q: it is %s", r.ID, r.State)
	}
	next, wait, err = o.prepare(ctx, r)
	return next, r.Intent == nil && next.Intent != nil, wait, err
}

func (o *Operator) prepare(ctx context.Context, r Release) (Release, time.Duration, error) {
	s, err := o.service(ctx, r, false)
	if err != nil {
		return o.readFailed(ctx, r, err)
	}
	switch r.Plan.Action {
	case rules.ReleaseStart:
		if r.Intent != nil {
			return o.findStart(ctx, s, r)
		}
		return o.prepareStart(ctx, s, r)
	case rules.ReleaseApprove, rules.ReleaseRefuse:
		if r.Intent != nil {
			return o.findDecision(ctx, s, r)
		}
		return o.prepareDecision(ctx, s, r)
	}
	return o.end(r, Failed, fmt.Sprintf("action %q is not known", r.Plan.Action))
}

// Send sends the one request that the committed intent of r announces, or its operation,
// and returns the release as the answer makes it; it is always to be saved, also
// when ctx has ended. A start ends up Running (then Follow it), a decision of a
// checkpoint Succeeded; after an operation the release is followed further. When the answer was lost the intent stays, and Prepare
// looks for the effect after wait. When the service certainly did not act the
// intent is gone, and Prepare begins again after wait, or the release has ended
// as Failed because the refusal is final.
//
// Call it once, right after the commit, and never with an intent that was loaded:
// that may have been sent. Give it time of its own: a request that is cut off is a
// lost answer. When the process dies after a refusal and before its save, the
// release ends as Unknown, as after any other lost answer.
//
// The error is a caller's mistake: r has no intent, or one that Send or Prepare
// has already dealt with. Then nothing was sent.
func (o *Operator) Send(ctx context.Context, r Release) (next Release, wait time.Duration, err error) {
	// An intent that was dealt with has been polled for, or is answered.
	if !r.Unanswered() || r.Polls > 0 {
		return r, 0, fmt.Errorf("send action of release %q: it is %s and has no fresh intent", r.ID, r.State)
	}
	s, err := o.service(ctx, r, false)
	switch {
	case err != nil && r.operationUnanswered():
		return o.waitAfter(r.TakenBack(), err)
	case err != nil:
		return o.readFailedAfterRefusal(ctx, withoutIntent(r), err)
	case r.operationUnanswered():
		return o.sendOperation(ctx, s, r)
	case r.Intent.Action == rules.ReleaseStart:
		return o.sendStart(ctx, s, r)
	}
	return o.sendDecision(ctx, s, r)
}

func (o *Operator) serviceStage(ctx context.Context, _ Release, poll bool) (service, error) {
	project, err := o.options.ProjectID(ctx)
	if err != nil {
		return nil, fmt.Errorf("get project id: %w", err)
	}
	return serviceStage{client: o.options.Client, project: project, poll: poll}, nil
}

func (o *Operator) codeArtsPipeline(_ context.Context, r Release, poll bool) (service, error) {
	if o.options.Pipeline == nil {
		return nil, errors.New("CodeArts Pipeline has no endpoint: write huaweicloud.region or huaweicloud.endpoints.pipeline")
	}
	return codeArtsPipeline{client: o.options.Pipeline, project: r.Plan.ProjectID, poll: poll}, nil
}

// readFailed is for a release whose pipeline could not be read. What may pass is
// an error to try again after. The rest ends a release for which nothing was
// sent; where something was, reading goes on until the deadline, because the
// pipeline moves whether we can see it or not.
func (o *Operator) readFailed(ctx context.Context, r Release, err error) (Release, time.Duration, error) {
	sent := r.Intent != nil || r.State != Starting
	switch {
	case ctx.Err() != nil && (!o.expired(r) || errors.Is(ctx.Err(), context.Canceled)):
		// A service that never answers takes all the time of every step: after the
		// deadline only a step that was cancelled is tried again.
		return r, 0, err
	case o.expired(r) && r.Unanswered():
		action := r.unanswered()
		if r.operationUnanswered() {
			r = withoutOperation(withOperationResult(r, ResultUnknown, "", "the pipeline could not be read"))
		} else {
			r = withResult(r, ResultUnknown, "", "the pipeline could not be read")
		}
		return o.end(r, Unknown, fmt.Sprintf("the answer to %s was lost and the pipeline could not be read before the deadline: %s", action, err))
	case o.expired(r) && !r.WaitsForPersonSince.IsZero():
		return o.end(r, Expired, fmt.Sprintf("nobody acted in time, and the pipeline cannot be read: %s", err))
	case o.expired(r):
		return o.end(r, Failed, fmt.Sprintf("the deadline passed and the pipeline cannot be read: %s", err))
	case retryable(err):
		return r, 0, err
	case sent:
		return o.wait(r, fmt.Sprintf("the pipeline cannot be read: %s", err))
	}
	return o.end(r, Failed, fmt.Sprintf("the pipeline cannot be read: %s", err))
}

// readFailedAfterRefusal is readFailed inside Send, for an action that certainly
// had no effect: the release has lost its intent and must be saved, so what may
// pass is a wait and no error.
func (o *Operator) readFailedAfterRefusal(ctx context.Context, r Release, err error) (Release, time.Duration, error) {
	if retryable(err) || ctx.Err() != nil {
		return o.waitAfter(r, err)
	}
	return o.end(r, Failed, fmt.Sprintf("the pipeline cannot be read: %s", err))
}

// end ends r.
func (o *Operator) end(r Release, state State, reason string) (Release, time.Duration, error) {
	r.State, r.Reason, r.Waiting, r.WaitingAlso, r.Operation, r.FinishedAt = state, reason, nil, nil, nil, o.options.Now()
	return r, 0, nil
}

// wait keeps r in its state until the next step.
func (o *Operator) wait(r Release, reason string) (Release, time.Duration, error) {
	return o.waitAtLeast(r, 0, reason)
}

// waitAfter is wait after a failure that may pass, for at least the time that
// the service asked for.
func (o *Operator) waitAfter(r Release, err error) (Release, time.Duration, error) {
	var asked time.Duration
	var service interface{ RetryAfter() time.Duration }
	if errors.As(err, &service) {
		asked = service.RetryAfter()
	}
	return o.waitAtLeast(r, asked, err.Error())
}

// waitAtLeast waits longer with each poll: by half, shortened by up to a tenth so
// that releases which began together do not poll together. It ends at the
// deadline.
func (o *Operator) waitAtLeast(r Release, least time.Duration, reason string) (Release, time.Duration, error) {
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
	d = max(d, least)
	if left := r.Deadline.Sub(o.options.Now()); left > 0 && left < d {
		d = left
	}
	r.Reason = reason
	r.Polls++
	return r, d, nil
}

// expired reports whether r's deadline has passed.
func (o *Operator) expired(r Release) bool { return !o.options.Now().Before(r.Deadline) }

// effectMayShow reports whether the effect of r's action may still show. After a
// clock that was set back further than that it may not: nothing waits for a
// clock to catch up.
func (o *Operator) effectMayShow(r Release) bool {
	return o.options.Now().Sub(r.sentAt()).Abs() < o.options.EffectTimeout
}
