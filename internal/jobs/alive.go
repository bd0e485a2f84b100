package jobs

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"
)

// alive keeps the running jobs of this process its own, on a PostgreSQL database
// that it shares with others, and gives those of a process that is gone back to the
// queue.
//
// A running job belongs to its process for a time, after the moment that stands in
// its attempted_at: the queue writes it when the job is fetched, and renew again and
// again while the step lasts. A step that could not be renewed for two thirds of that
// time is cancelled, by this process; only after all of it may any process give the
// job back. So it does not matter why a job was not renewed: its process was killed,
// was cut off, or the database was away. Nothing depends on one connection, so this
// also works behind a pooler. Of clocks only the database's is read, and compared
// with itself.
//
// A process that was paused for longer can still be at its step when it wakes up.
// Then the versions of the records let one of the two steps save, and none sends
// before it has saved its intent.
type alive struct {
	pool *pgxpool.Pool
	// owner is what the queue writes into attempted_by for this process.
	owner string
	// holds is how long a job is its process's own, see [Options.AliveFor].
	holds time.Duration
	log   *zap.Logger

	mu sync.Mutex
	// steps are those under way, by the ids of their jobs: the timer cancels the step.
	steps map[int64]*time.Timer

	stop  context.CancelFunc
	ended sync.WaitGroup
}

// aliveMark begins the names of processes that renew their jobs. The jobs of others,
// of an older version while this one is rolled out, are left to River's rescuer.
const aliveMark = "alive_"

// newOwner is the name of a new process; River takes 100 characters.
func newOwner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return aliveMark + host[:min(len(host), 50)] + "_" + uuid.NewString()
}

// start looks for the jobs of processes that are gone, now and until end is called.
func (a *alive) start(ctx context.Context) error {
	if err := a.giveBack(ctx); err != nil {
		return err
	}
	ctx, a.stop = context.WithCancel(context.WithoutCancel(ctx))
	a.ended.Go(func() { a.run(ctx) })
	return nil
}

// end is called when the last step has ended. What is still under way then is not
// renewed any more.
func (a *alive) end() {
	if a.stop != nil {
		a.stop()
	}
	a.ended.Wait()
}

func (a *alive) run(ctx context.Context) {
	every := a.holds / 6
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		err := within(ctx, every, a.renew)
		if err == nil {
			err = within(ctx, every, a.giveBack)
		}
		if err != nil && ctx.Err() == nil {
			a.log.Warn("running jobs were not looked after", zap.Error(err))
		}
	}
}

func within(ctx context.Context, d time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return do(ctx)
}

// hold gives the step of a job a context that is cancelled when the job could not be
// renewed. done must be called when the step has ended.
func (a *alive) hold(ctx context.Context, job int64) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(a.unrenewed(), func() {
		a.log.Warn("step was cancelled, because its job could not be renewed")
		cancel()
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	a.steps[job] = timer
	return ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		timer.Stop()
		cancel()
		// The job may have come back to this process while its step went on.
		if a.steps[job] == timer {
			delete(a.steps, job)
		}
	}
}

// unrenewed is how long a step goes on without being renewed. The rest of holds is for
// its last save; by default it is as long as saveTimeout.
func (a *alive) unrenewed() time.Duration { return a.holds * 2 / 3 }

// renewQuery waits for no row: one that is locked is just changing its state, and if
// not there is time for another try.
const renewQuery = `UPDATE river_job SET attempted_at = now() WHERE id IN (
		SELECT id FROM river_job WHERE id = ANY($1) AND state = 'running' AND attempted_by[array_upper(attempted_by, 1)] = $2 FOR UPDATE SKIP LOCKED)
	RETURNING id`

// renew makes the jobs of the steps under way this process's own for another while.
// A job that has been given to another process is not renewed.
func (a *alive) renew(ctx context.Context) error {
	a.mu.Lock()
	ids := make([]int64, 0, len(a.steps))
	for id := range a.steps {
		ids = append(ids, id)
	}
	a.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	began := time.Now()
	rows, err := a.pool.Query(ctx, renewQuery, ids, a.owner)
	if err != nil {
		return fmt.Errorf("renew jobs: %w", err)
	}
	renewed, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return fmt.Errorf("renew jobs: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range renewed {
		if timer, ok := a.steps[id]; ok {
			timer.Reset(a.unrenewed() - time.Since(began))
		}
	}
	return nil
}

const giveBackQuery = `UPDATE river_job SET state = 'available' WHERE id IN (
	SELECT id FROM river_job WHERE state = 'running' AND attempted_at < now() - make_interval(secs => $1)
		AND starts_with(attempted_by[array_upper(attempted_by, 1)], $2) FOR UPDATE SKIP LOCKED)`

// giveBack makes available what is running and has not been renewed.
func (a *alive) giveBack(ctx context.Context) error {
	tag, err := a.pool.Exec(ctx, giveBackQuery, a.holds.Seconds(), aliveMark)
	if err != nil {
		return fmt.Errorf("give back jobs: %w", err)
	}
	if found := tag.RowsAffected(); found > 0 {
		a.log.Warn("jobs of a process that is gone were given back", zap.Int64("found", found))
	}
	return nil
}
