package jobs

import (
	"context"
	"slices"
	"time"

	"github.com/riverqueue/river"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
)

// The kinds of jobs, in the order of the way of one push. A job names a record
// of ours and nothing else: what is to be done stands in the record.
type (
	// decideArgs: read deliveries and evaluate them by the rules.
	decideArgs struct {
		DeliveryIDs []string `json:"delivery_ids"`
		// again: the job was begun before and did not end.
		again bool
	}
	// gatherArgs: find out what the decision of a delivery depends on.
	gatherArgs struct {
		DeliveryID string `json:"delivery_id"`
		// Since is when the delivery began to wait: it may wait again before the job of an earlier
		// time has ended.
		Since time.Time `json:"since"`
	}
	// startRunArgs: find or create the task and run it.
	startRunArgs struct {
		RunID string `json:"run_id"`
	}
	// pollRunArgs: poll the run until it has its verdict.
	pollRunArgs struct {
		RunID string `json:"run_id"`
	}
	// placeRunsArgs: let the runs go on for which a place is free (max_runs).
	placeRunsArgs struct{}
	// stopRunArgs: stop the execution of a run that was superseded.
	stopRunArgs struct {
		RunID  string `json:"run_id"`
		ExecID string `json:"exec_id"`
	}
	// closeTasksArgs: delete the tasks of a merge request that was closed or merged.
	closeTasksArgs struct {
		RefKey string    `json:"ref_key"`
		Until  time.Time `json:"until"`
	}
	// actReleaseArgs: start a pipeline or decide a checkpoint.
	actReleaseArgs struct {
		ReleaseID string `json:"release_id"`
	}
	// followReleaseArgs: follow a started pipeline to its end.
	followReleaseArgs struct {
		ReleaseID string `json:"release_id"`
	}
	// recoverArgs: ask the git hosts what no webhook told.
	recoverArgs struct {
		// Begun is when the round began: what was asked for since is not asked for again.
		Begun time.Time `json:"begun"`
	}
	// obeyArgs: carry out a command of a comment, and answer it.
	obeyArgs struct {
		Key string `json:"key"`
		// Announced is the delivery that announced it, so that a command that takes the place of one whose job is just
		// ending has its own.
		Announced string `json:"announced,omitempty"`
	}
	// watchReleaseArgs: look whether the pipeline of an expired release goes on.
	watchReleaseArgs struct {
		ReleaseID string `json:"release_id"`
	}
)

func (decideArgs) Kind() string        { return "decide" }
func (gatherArgs) Kind() string        { return "gather" }
func (startRunArgs) Kind() string      { return "start_run" }
func (pollRunArgs) Kind() string       { return "poll_run" }
func (placeRunsArgs) Kind() string     { return "place_runs" }
func (stopRunArgs) Kind() string       { return "stop_run" }
func (closeTasksArgs) Kind() string    { return "close_tasks" }
func (actReleaseArgs) Kind() string    { return "act_release" }
func (followReleaseArgs) Kind() string { return "follow_release" }
func (watchReleaseArgs) Kind() string  { return "watch_release" }
func (recoverArgs) Kind() string       { return "recover" }
func (obeyArgs) Kind() string          { return "obey" }

// InsertOpts puts decisions into their own queue.
func (decideArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: decisionQueue} }

// InsertOpts keeps it apart from remote calls.
func (placeRunsArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: decisionQueue} }

// InsertOpts lets one job at a time carry out a command, beside what else is asked of the hosts.
func (obeyArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: gatherQueue, UniqueOpts: untilEnded()}
}

func (q *Queue) addWorkers(workers *river.Workers) error {
	for _, add := range []error{
		addWorker(workers, q, q.decide),
		addWorker(workers, q, q.gather),
		addWorker(workers, q, q.startRun),
		addWorker(workers, q, q.pollRun),
		addWorker(workers, q, q.placeRuns),
		addWorker(workers, q, q.stopRun),
		addWorker(workers, q, q.closeTasks),
		addWorker(workers, q, q.actRelease),
		addWorker(workers, q, q.followRelease),
		addWorker(workers, q, q.watchRelease),
		addWorker(workers, q, q.recoverMissed),
		addWorker(workers, q, q.obey),
		addWorker(workers, q, q.makeEvidence),
		addWorker(workers, q, q.announce),
		addWorker(workers, q, q.notify),
		addWorker(workers, q, q.reconcile),
		addWorker(workers, q, q.expire),
	} {
		if add != nil {
			return add
		}
	}
	return nil
}

// worker gives the jobs of one kind to one function. The function returns how
// long to wait before it is called again for the same job; zero: the job is done.
type worker[A river.JobArgs] struct {
	river.WorkerDefaults[A]
	queue *Queue
	work  func(ctx context.Context, args A) (wait time.Duration, err error)
}

func addWorker[A river.JobArgs](workers *river.Workers, q *Queue, work func(context.Context, A) (time.Duration, error)) error {
	return river.AddWorkerSafely(workers, &worker[A]{queue: q, work: work})
}

// Timeout bounds one step of this kind.
func (w *worker[A]) Timeout(*river.Job[A]) time.Duration {
	var args A
	switch any(args).(type) {
	case decideArgs, placeRunsArgs, reconcileArgs, expireArgs, evidenceArgs, announceArgs:
		return localTimeout
	}
	return remoteTimeout
}

// Work does one step and tells River what comes next.
func (w *worker[A]) Work(ctx context.Context, job *river.Job[A]) error {
	started := time.Now()
	if args, ok := any(&job.Args).(*decideArgs); ok {
		args.again = job.Attempt > 1
	}
	ids := idFields(job.Args)
	wait, err := w.work(context.WithValue(ctx, idsKey{}, ids), job.Args)
	w.queue.opts.Metrics.observeJob(job.Kind, err, time.Since(started))
	if err != nil {
		w.queue.log.Warn("job failed, will be retried", append(slices.Clone(ids),
			zap.String(event.LogOperation, job.Kind), zap.Int(event.LogAttempt, job.Attempt), zap.Error(err))...)
		return retry(err)
	}
	if wait > 0 {
		return river.JobSnooze(wait)
	}
	return nil
}

// idsKey is the key under which a job's context has the log fields of its records.
type idsKey struct{}

// LogFields returns the log fields that name the records of the job that ctx belongs to;
// none when it belongs to no job.
func LogFields(ctx context.Context) []zap.Field {
	ids, _ := ctx.Value(idsKey{}).([]zap.Field)
	return ids
}

// idFields are the log fields that name the records of a job.
func idFields(args river.JobArgs) []zap.Field {
	field := func(field zap.Field) []zap.Field { return []zap.Field{field} }
	switch args := args.(type) {
	case decideArgs:
		if len(args.DeliveryIDs) == 1 {
			return field(zap.String(event.LogDelivery, args.DeliveryIDs[0]))
		}
		return field(zap.Strings(event.LogDeliveries, args.DeliveryIDs))
	case gatherArgs:
		return field(zap.String(event.LogDelivery, args.DeliveryID))
	case startRunArgs:
		return field(zap.String(event.LogRun, args.RunID))
	case pollRunArgs:
		return field(zap.String(event.LogRun, args.RunID))
	case stopRunArgs:
		return field(zap.String(event.LogRun, args.RunID))
	case closeTasksArgs:
		return field(zap.String(event.LogRefKey, args.RefKey))
	case obeyArgs:
		return field(zap.String(event.LogCommand, args.Key))
	case actReleaseArgs:
		return field(zap.String(event.LogRelease, args.ReleaseID))
	case announceArgs:
		return field(zap.String(event.LogRelease, args.ReleaseID))
	case notifyArgs:
		return field(zap.String(event.LogNotice, args.Key))
	case evidenceArgs:
		return field(zap.String(event.LogRelease, args.ReleaseID))
	case followReleaseArgs:
		return field(zap.String(event.LogRelease, args.ReleaseID))
	}
	return nil
}
