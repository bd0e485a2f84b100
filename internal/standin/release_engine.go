package standin

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"sync"
	"time"
)

// status is ServiceStage's number of where a release, a stage or a task stands
// (specs/servicestage-release.md 3).
type status int

const (
	statusInitialized    status = 1
	statusSucceeded      status = 2
	statusFailed         status = 3
	statusReleasing      status = 4
	statusToBeApproved   status = 5
	statusPaused         status = 7
	statusSkipped        status = 9
	statusRollingBack    status = 10
	statusRolledBack     status = 11
	statusRollbackFailed status = 12
	statusStopping       status = 13
	statusRestarting     status = 14
)

// done reports whether a task needs nothing more.
func (s status) done() bool { return s == statusSucceeded || s == statusSkipped }

// release is one execution of a pipeline. All fields but id and pipeline are
// guarded by releaseService.mu.
type release struct {
	id       int64
	pipeline *releasePipeline
	trigger  string
	at       time.Time
	status   status
	stages   []*stageState

	// stop ends the tasks that run, idle is closed when all of them have ended.
	stop context.CancelFunc
	idle chan struct{}
}

type stageState struct {
	id     int64
	spec   Stage
	groups [][]*taskState
}

type taskState struct {
	id     int64
	spec   PipelineTask
	status status
	// problem says why the task failed.
	problem string
	// decided is closed when the checkpoint is decided; then status says how.
	decided chan struct{}
}

// tasks calls visit for every task of the release.
func (r *release) tasks(visit func(*taskState)) {
	for _, stage := range r.stages {
		stage.tasks(visit)
	}
}

func (s *stageState) tasks(visit func(*taskState)) {
	for _, group := range s.groups {
		for _, task := range group {
			visit(task)
		}
	}
}

// next is the execution in which an action on r goes on: r itself, or a new one with the
// same tasks where the settings want that. The caller holds mu.
func (s *releaseService) next(r *release) *release {
	if !s.opts.Release.NewExecutions {
		return r
	}
	made := &release{id: s.nextID, pipeline: r.pipeline, trigger: r.trigger, at: s.opts.Now(), status: r.status, stop: r.stop, idle: r.idle}
	s.nextID++
	for _, stage := range r.stages {
		state := &stageState{id: s.part(), spec: stage.spec}
		for _, group := range stage.groups {
			var tasks []*taskState
			for _, t := range group {
				tasks = append(tasks, &taskState{id: s.part(), spec: t.spec, status: t.status, problem: t.problem})
			}
			state.groups = append(state.groups, tasks)
		}
		made.stages = append(made.stages, state)
	}
	r.pipeline.releases = append(r.pipeline.releases, made)
	return made
}

// replace gives every task in one of the old states the new one.
func (r *release) replace(to status, from ...status) {
	r.tasks(func(t *taskState) {
		for _, old := range from {
			if t.status == old {
				t.status = to
				return
			}
		}
	})
}

// any reports whether a task has one of the states.
func (s *stageState) any(states ...status) bool {
	found := false
	s.tasks(func(t *taskState) {
		for _, state := range states {
			found = found || t.status == state
		}
	})
	return found
}

// status rolls the tasks of a stage up into one number
// (specs/servicestage-release.md 7).
func (s *stageState) status() status {
	for _, state := range []status{
		statusRollingBack, statusRollbackFailed, statusRolledBack,
		statusReleasing, statusToBeApproved, statusPaused, statusFailed,
	} {
		if s.any(state) {
			return state
		}
	}
	switch {
	case s.any(statusInitialized):
		return statusInitialized
	case s.any(statusSucceeded):
		return statusSucceeded
	default:
		return statusSkipped
	}
}

// settle sets the status of a release whose tasks move: 5 while a checkpoint
// waits, else 4. The caller holds mu.
func (r *release) settle() {
	if r.status != statusReleasing && r.status != statusToBeApproved {
		return
	}
	r.status = statusReleasing
	for _, stage := range r.stages {
		if stage.any(statusToBeApproved) {
			r.status = statusToBeApproved
		}
	}
}

// drive runs what is left of a release in a goroutine of its own. The caller
// holds mu and has set the status to 4; the driver before has ended.
func (s *releaseService) drive(r *release) {
	idle := make(chan struct{})
	r.idle = idle
	r.stop = s.spawn.start(func(ctx context.Context) {
		defer close(idle)
		for _, stage := range r.stages {
			if !s.driveStage(ctx, r, stage) {
				break
			}
		}
		s.finish(r)
	})
}

// driveStage runs the groups of a stage at the same time. It reports whether the
// next stage follows.
func (s *releaseService) driveStage(ctx context.Context, r *release, stage *stageState) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var groups sync.WaitGroup
	for _, group := range stage.groups {
		groups.Go(func() {
			for _, task := range group {
				if ok := s.driveTask(ctx, r, task); !ok && r.pipeline.spec.FailMode != failContinue {
					cancel()
				}
				if ctx.Err() != nil {
					return
				}
			}
		})
	}
	groups.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return ctx.Err() == nil && (r.status == statusReleasing || r.status == statusToBeApproved)
}

// driveTask runs one task to its end; it reports whether it did not fail. A task
// that is ended from outside is not done: paused when the release is being
// stopped, else as if it had not begun.
func (s *releaseService) driveTask(ctx context.Context, r *release, t *taskState) bool {
	s.mu.Lock()
	if t.status.done() || t.status == statusFailed || ctx.Err() != nil {
		defer s.mu.Unlock()
		return t.status != statusFailed
	}
	t.status, t.problem = statusReleasing, ""
	if t.spec.checkpoint() {
		t.status, t.decided = statusToBeApproved, make(chan struct{})
	}
	r.settle()
	decided := t.decided
	s.mu.Unlock()

	var err error
	if t.spec.checkpoint() {
		select {
		case <-decided:
		case <-ctx.Done():
		}
	} else {
		err = t.spec.work(ctx)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && ctx.Err() == nil && !t.spec.checkpoint() && r.pipeline.fails(t.spec) {
		err = errors.New("the task is configured to fail")
	}
	defer r.settle()
	switch {
	case t.status != statusReleasing && t.status != statusToBeApproved: // decided
	case ctx.Err() != nil && r.status == statusStopping:
		t.status = statusPaused
	case ctx.Err() != nil:
		t.status = statusInitialized
	case err != nil:
		t.status, t.problem = statusFailed, err.Error()
	default:
		t.status = statusSucceeded
	}
	return t.status != statusFailed
}

// work does what a task that is not a checkpoint does.
func (t PipelineTask) work(ctx context.Context) error {
	if len(t.Command) == 0 {
		timer := time.NewTimer(t.time())
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		return nil
	}
	return t.runCommand(ctx)
}

// runCommand runs the command with little more than a PATH in its environment.
// Its output is dropped.
func (t PipelineTask) runCommand(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.time())
	defer cancel()
	command := exec.CommandContext(ctx, t.Command[0], t.Command[1:]...)
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "GATEWRIGHT_TASK=" + t.Name}
	command.WaitDelay = time.Second
	if err := command.Run(); err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return errors.New("the command took longer than " + t.time().String())
		}
		return err
	}
	return nil
}

// finish ends a release whose driver has nothing left to do, unless somebody
// stopped or refused it.
func (s *releaseService) finish(r *release) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.status != statusReleasing && r.status != statusToBeApproved {
		return
	}
	failed, open := false, false
	r.tasks(func(t *taskState) {
		failed = failed || t.status == statusFailed
		open = open || !t.status.done() && t.status != statusFailed
	})
	switch {
	case open && !failed: // the server is being closed
	case failed && (r.pipeline.spec.FailMode != failContinue || !s.opts.Release.FailuresEndGood):
		r.status = statusFailed
	default:
		r.status = statusSucceeded
	}
}

// later does work under mu when the tasks of a release have ended and a delay
// has passed, unless the server is closed first.
func (s *releaseService) later(r *release, delay time.Duration, work func()) {
	idle := r.idle
	s.spawn.after(delay, func() {
		<-idle // the tasks end when they are told to, and with the server
		s.mu.Lock()
		defer s.mu.Unlock()
		work()
	})
}
