package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"

	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/test/harness"
)

// noRun is a job that finds nothing to do: it follows a run that is not there, which
// costs one look into the database.
type noRun struct {
	RunID string `json:"run_id"`
}

// Kind is the queue's kind of the job that follows a run.
func (noRun) Kind() string { return "poll_run" }

// jobsDone is the metric of jobs that found nothing to do.
const jobsDone = `gatewright_job_seconds_count{kind="poll_run"`

// insertAtOnce is how many jobs are inserted by one statement.
const insertAtOnce = 1000

// jobs measures how many jobs without work the queue does a second, in one process
// and, on PostgreSQL, in two; a SQLite file has one.
func (m *measurer) jobs(ctx context.Context) error {
	for range m.rounds {
		for _, database := range m.databases {
			most := 1
			if database == harness.Postgres {
				most = 2
			}
			for processes := 1; processes <= most; processes++ {
				rate, err := m.jobRate(ctx, database, processes)
				if err != nil {
					return err
				}
				m.add(fmt.Sprintf("jobs_per_second_%s_%d", database, processes), rate, "jobs/s")
			}
		}
	}
	return nil
}

// jobRate inserts jobs while no server runs, starts a number of servers, and returns
// the rate at which the middle of the jobs was done.
func (m *measurer) jobRate(ctx context.Context, database string, processes int) (rate float64, err error) {
	number := m.sizes.jobs[database]
	b, err := harness.New(ctx, harness.Options{
		Database: database, Binary: m.binary, Repositories: 1, Replicas: processes, Rules: unconcerned, Profiles: m.profiles,
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	// The first start makes the tables.
	server, err := b.StartServer(ctx)
	if err == nil {
		err = server.Stop()
	}
	if err == nil {
		err = b.Database.Write(ctx, func(s *store.Store) error { return insertJobs(ctx, s, number) })
	}
	if err != nil {
		return 0, err
	}
	for i := range processes {
		if _, err := b.StartReplica(ctx, i); err != nil {
			return 0, err
		}
	}
	return timeJobs(ctx, b.Addrs(), float64(number))
}

// timeJobs watches the jobs being done and returns their rate between the first
// tenth and the last.
func timeJobs(ctx context.Context, addrs []string, number float64) (rate float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, drainWithin)
	defer cancel()
	var began time.Time
	var first float64
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		done := 0.0
		for _, addr := range addrs {
			own, err := metric(ctx, addr, jobsDone)
			if err != nil {
				return 0, err
			}
			done += own
		}
		switch {
		case done < number/10:
		case began.IsZero():
			began, first = time.Now(), done
		case done >= number*9/10:
			return (done - first) / time.Since(began).Seconds(), nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("%.0f of %.0f jobs done: %w", done, number, ctx.Err())
		}
	}
}

func insertJobs(ctx context.Context, s *store.Store, number int) error {
	var insert func([]river.InsertManyParams) error
	if db := s.SQLite(); db != nil {
		client, err := river.NewClient(riversqlite.New(db), &river.Config{})
		if err != nil {
			return err
		}
		insert = func(jobs []river.InsertManyParams) error { _, err := client.InsertManyFast(ctx, jobs); return err }
	} else {
		client, err := river.NewClient(riverpgxv5.New(s.Postgres()), &river.Config{})
		if err != nil {
			return err
		}
		insert = func(jobs []river.InsertManyParams) error { _, err := client.InsertManyFast(ctx, jobs); return err }
	}
	for number > 0 {
		jobs := make([]river.InsertManyParams, min(number, insertAtOnce))
		for i := range jobs {
			jobs[i].Args = noRun{RunID: fmt.Sprint(number - i)}
		}
		if err := insert(jobs); err != nil {
			return fmt.Errorf("insert jobs: %w", err)
		}
		number -= len(jobs)
	}
	return nil
}
