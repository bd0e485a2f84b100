package jobs

import (
	"context"
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
	}
	// startRunArgs: find or create the task and run it.
	startRunArgs struct {
		RunID string `json:"run_id"`
	}
	// pollRunArgs: poll the run until it has its verdict.
	pollRunArgs struct {
		RunID string `json:"run_id"`
	}
	// stopRunArgs: stop the execution of a run that was superseded.
	stopRunArgs struct {
		RunID  string `json:"run_id"`
		ExecID string `json:"exec_id"`
	}
	// actReleaseArgs: start a pipeline or decide a checkpoint.
	actReleaseArgs struct {
		ReleaseID string `json:"release_id"`
	}
	// followReleaseArgs: follow a started pipeline to its end.
	followReleaseArgs struct {
		ReleaseID string `json:"release_id"`
	}
	// watchReleaseArgs: look whether the pipeline of an expired release goes on.
	watchReleaseArgs struct {
		ReleaseID string `json:"release_id"`
	}
)

func (decideArgs) Kind() string        { return "decide" }
func (startRunArgs) Kind() string      { return "start_run" }
func (pollRunArgs) Kind() string       { return "poll_run" }
func (stopRunArgs) Kind() string       { return "stop_run" }
func (actReleaseArgs) Kind() string    { return "act_release" }
func (followReleaseArgs) Kind() string { return "follow_release" }
func (watchReleaseArgs) Kind() string  { return "watch_release" }

// InsertOpts puts decisions into their own queue.
func (decideArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: decisionQueue} }

func (q *Queue) addWorkers(workers *river.Workers) error {
	for _, add := range []error{
		addWorker(workers, q, q.decide),
		addWorker(workers, q, q.startRun),
		addWorker(workers, q, q.pollRun),
		addWorker(workers, q, q.stopRun),
		addWorker(workers, q, q.actRelease),
		addWorker(workers, q, q.followRelease),
		addWorker(workers, q, q.watchRelease),
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
	case decideArgs, reconcileArgs, expireArgs:
		return localTimeout
	}
	return remoteTimeout
}

// Work does one step and tells River what comes next.
func (w *worker[A]) Work(ctx context.Context, job *river.Job[A]) error {
	started := time.Now()
	wait, err := w.work(ctx, job.Args)
	w.queue.opts.Metrics.observeJob(job.Kind, err, time.Since(started))
	if err != nil {
		w.queue.log.Warn("job failed, will be retried", zap.String(event.LogOperation, job.Kind),
			zap.ByteString(event.LogJob, job.EncodedArgs[:min(len(job.EncodedArgs), 200)]), zap.Int(event.LogAttempt, job.Attempt), zap.Error(err))
		return retry(err)
	}
	if wait > 0 {
		return river.JobSnooze(wait)
	}
	return nil
}
