package jobs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/audit"
	"github.com/gatewright/gatewright/internal/report"
	"github.com/gatewright/gatewright/internal/store"
)

// Inserter gives jobs to the queue of a database and works on none itself; a server may
// use the same database at the same time. What it does to records it does by the same
// transitions as the server; the counters of the server do not count it.
type Inserter struct {
	// actor is in whose name it acts where an order names nobody.
	actor  string
	queue  *Queue
	store  *store.Store
	engine engine
}

// NewInserter makes an inserter. The queue's tables must exist.
func NewInserter(s *store.Store, log *zap.Logger) (*Inserter, error) {
	engine, err := newEngine(s, &river.Config{MaxAttempts: maxAttempts, Logger: riverLog(log)})
	if err != nil {
		return nil, fmt.Errorf("new inserter: %w", err)
	}
	queue := &Queue{store: s, engine: engine, log: log, now: time.Now, limited: true, opts: Options{
		Store: s, Log: log, Metrics: NewMetrics(prometheus.NewRegistry()), NewID: newID,
		// What connections are told is known by the server, which drops the rest.
		Report: func(string) report.Settings { return report.Settings{Statuses: true, Comment: report.CommentAlways} },
	}}
	return &Inserter{actor: store.Gatewright, queue: queue, store: s, engine: engine}, nil
}

// As returns an inserter that replays in the name of actor.
func (in *Inserter) As(actor string) *Inserter {
	named := *in
	named.actor = actor
	return &named
}

// Replayed says what became of one delivery that was to be replayed.
type Replayed struct {
	ID string
	// Err is nil when the delivery waits for its decision again; otherwise it wraps
	// [store.ErrNotFound], [store.ErrPayloadRemoved] or [store.ErrUndecided].
	Err error
}

// Replay makes deliveries wait for their decision again and inserts the jobs that
// decide them, in one transaction. It returns the result of each, in the order of
// ids. A delivery that cannot be replayed does not prevent the others.
func (in *Inserter) Replay(ctx context.Context, ids []string) ([]Replayed, error) {
	results := make([]Replayed, len(ids))
	err := in.store.Update(ctx, func(tx *store.Tx) error {
		var undecided []string
		for i, id := range ids {
			err := tx.Replay(ctx, id)
			results[i] = Replayed{ID: id, Err: err}
			switch {
			case err == nil:
				if err := tx.Audit(ctx, audit.Entry{Kind: audit.Action, Actor: in.actor, Action: "replay", RecordKind: string(store.RecordDelivery), RecordID: id}); err != nil {
					return err
				}
				undecided = append(undecided, id)
			case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrPayloadRemoved), errors.Is(err, store.ErrUndecided):
			default:
				return err
			}
		}
		return in.decide(ctx, tx, undecided)
	})
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	return results, nil
}

// ReplayFor is Replay of one delivery by a person, who says why.
func (in *Inserter) ReplayFor(ctx context.Context, id string, o Order) (Done, error) {
	return in.order(ctx, o, store.ActionReplay, store.RecordDelivery, id, func(tx *transaction, done *Done) (string, error) {
		err := tx.Replay(ctx, id)
		switch {
		case errors.Is(err, store.ErrUndecided), errors.Is(err, store.ErrPayloadRemoved):
			return "", refusal(err.Error())
		case err != nil:
			return "", err
		}
		tx.enqueue(decideArgs{DeliveryIDs: []string{id}})
		done.Deliveries = []string{id}
		return "", nil
	})
}

// Resume inserts the job that each unfinished record needs, for a database whose
// queue is empty, and returns how many.
func (in *Inserter) Resume(ctx context.Context, tx *store.Tx) (int, error) {
	// Whatever was saved until the year 36812, without a limit.
	const all = math.MaxInt32
	future := time.Unix(1<<40, 0)
	deliveries, err := tx.StaleDeliveries(ctx, future, all)
	if err != nil {
		return 0, fmt.Errorf("resume: %w", err)
	}
	runs, err := tx.StaleRuns(ctx, future, all)
	if err != nil {
		return 0, fmt.Errorf("resume: %w", err)
	}
	releases, err := tx.StaleReleases(ctx, future, all)
	if err != nil {
		return 0, fmt.Errorf("resume: %w", err)
	}
	var jobs []river.InsertManyParams
	for id, state := range runs {
		jobs = append(jobs, river.InsertManyParams{Args: runJob(id, state)})
	}
	for id, state := range releases {
		jobs = append(jobs, river.InsertManyParams{Args: releaseJob(id, state)})
	}
	evidence, err := tx.EvidenceToMake(ctx, future, all)
	if err != nil {
		return 0, fmt.Errorf("resume: %w", err)
	}
	for _, id := range evidence {
		jobs = append(jobs, evidenceJob(id))
	}
	notices, err := tx.WaitingNotices(ctx, future, all)
	if err != nil {
		return 0, fmt.Errorf("resume: %w", err)
	}
	for _, key := range notices {
		jobs = append(jobs, noticeJob(key))
	}
	for chunk := range slices.Chunk(jobs, reconcileBatch) {
		if err := in.engine.insert(ctx, tx, chunk); err != nil {
			return 0, fmt.Errorf("resume: %w", err)
		}
	}
	if err := in.decide(ctx, tx, deliveries); err != nil {
		return 0, fmt.Errorf("resume: %w", err)
	}
	return len(deliveries) + len(runs) + len(releases), nil
}

// decide inserts the jobs that decide deliveries.
func (in *Inserter) decide(ctx context.Context, tx *store.Tx, ids []string) error {
	var jobs []river.InsertManyParams
	for chunk := range slices.Chunk(ids, maxBatch) {
		jobs = append(jobs, river.InsertManyParams{Args: decideArgs{DeliveryIDs: chunk}})
	}
	if len(jobs) == 0 {
		return nil
	}
	return in.engine.insert(ctx, tx, jobs)
}
