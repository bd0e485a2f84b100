package huaweicloud

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
)

const (
	// syncEvery is how old what a replica knows of the others may be: a call reads it from
	// the database when nobody did for that long.
	syncEvery = 2 * time.Second
	// syncTimeout bounds that reading; without it calls go on with what is known.
	syncTimeout = time.Second
	// sharedRefusals of credentials pause them in all replicas. An access key is locked
	// after five (specs/codearts-check.md 4.3).
	sharedRefusals = 2
	// leastPause is how long nothing is sent to an endpoint that said "too many requests"
	// and not how long to wait.
	// When that happens again within throttledAgain after the pause, the next one is twice
	// as long, up to longestPause.
	leastPause     = time.Second
	throttledAgain = 10 * time.Second
	longestPause   = time.Minute
	// clockTolerance is how far ahead of ours the clock of another replica may be.
	clockTolerance = 10 * time.Second
)

// Pause is a time in which no replica sends what the key names.
type Pause struct {
	// Key is the word "credentials" and a hash of their id, or a service and its endpoint.
	Key string
	// Reason is what a service answered first, at Since.
	Reason string
	Since  time.Time
	Until  time.Time
	// Refusals is how often credentials were refused since they last worked; 0 for an
	// endpoint.
	Refusals int
}

// What is the first word of the key: credentials, or a service.
func (p Pause) What() string {
	what, _, _ := strings.Cut(p.Key, " ")
	return what
}

// InForce reports whether the pause lasts at a time. One refusal of credentials pauses them
// only in the replica that got it.
func (p Pause) InForce(at time.Time) bool {
	return at.Before(p.Until) && (p.What() != credentialsWord || p.Refusals >= sharedRefusals)
}

const credentialsWord = "credentials"

// credentialsKey names credentials by a hash of their ids, none of which is a secret.
func credentialsKey(ids ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(ids, "\x00")))
	return credentialsWord + " " + hex.EncodeToString(sum[:8])
}

// Shared is what the replicas of an installation have in common: their database. Times are
// those of the replica that writes.
type Shared interface {
	// SyncReplica notes that a replica calls services, and returns all pauses, also those
	// that are over, and how many replicas call services: this one and those that said so
	// in the last 15 seconds.
	SyncReplica(ctx context.Context, replica string) (pauses []Pause, replicas int, err error)
	// SavePause saves a pause. Refusals are added to those of the pause that the key has,
	// whose reason and beginning stay while it lasts; the later end counts.
	SavePause(ctx context.Context, p Pause) error
	// EndPause removes the pause of a key.
	EndPause(ctx context.Context, key string) error
}

// Replicas is what one replica knows of all. It is safe for concurrent use. A nil *Replicas
// and one without Shared know of this replica alone.
type Replicas struct {
	shared Shared
	id     string
	log    *zap.Logger
	now    func() time.Time

	// syncing is held by who reads the database; the others wait for it.
	syncing sync.Mutex
	mu      sync.Mutex
	pauses  map[string]Pause
	// ahead are the pauses, as read, whose beginning lay in the future.
	ahead  map[string]Pause
	count  int
	syncAt time.Time
}

// NewReplicas returns a replica that tells the others by shared; nil when there are none.
// now is the clock; nil means time.Now.
func NewReplicas(shared Shared, log *zap.Logger, now func() time.Time) *Replicas {
	if now == nil {
		now = time.Now
	}
	if log == nil {
		log = zap.NewNop()
	}
	return &Replicas{shared: shared, id: uuid.NewString(), log: log, now: now, pauses: map[string]Pause{}, count: 1}
}

// live is how many replicas call services, as last read.
func (r *Replicas) live() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// find returns the pause of a key, over or not, and whether there is one.
func (r *Replicas) find(ctx context.Context, key string) (Pause, bool) {
	if r == nil || key == "" {
		return Pause{}, false
	}
	r.sync(ctx)
	return r.cached(key)
}

func (r *Replicas) cached(key string) (Pause, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, known := r.pauses[key]
	return p, known
}

// sync reads what the others did, unless that was done a short while ago.
func (r *Replicas) sync(ctx context.Context) {
	if r.shared == nil || r.fresh() {
		return
	}
	r.syncing.Lock()
	defer r.syncing.Unlock()
	if r.fresh() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	pauses, count, err := r.shared.SyncReplica(ctx, r.id)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.syncAt = r.now()
	if err != nil {
		r.log.Warn("reading pauses of the other replicas failed", zap.Error(err))
		return
	}
	r.count, r.pauses = max(count, 1), r.byOurClock(pauses)
}

// byOurClock are pauses with those moved to now that begin later than any replica's clock should
// be ahead: one wrong clock must not keep all of them waiting. r.mu is held.
func (r *Replicas) byOurClock(pauses []Pause) map[string]Pause {
	now, known, ahead := r.now(), map[string]Pause{}, map[string]Pause{}
	for _, p := range pauses {
		read := p
		if p.Since.Sub(now) > clockTolerance {
			if r.ahead[p.Key] == read {
				p = r.pauses[p.Key] // it was moved when it was seen first
			} else {
				p.Since, p.Until = now, now.Add(min(p.Until.Sub(p.Since), longestRetryAfter))
			}
			ahead[p.Key] = read
		}
		known[p.Key] = p
	}
	r.ahead = ahead
	return known
}

func (r *Replicas) fresh() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	age := r.now().Sub(r.syncAt)
	return !r.syncAt.IsZero() && age >= 0 && age < syncEvery
}

// pause begins a pause in all replicas, or lengthens it.
func (r *Replicas) pause(ctx context.Context, p Pause) {
	if r == nil || p.Key == "" {
		return
	}
	r.mu.Lock()
	known, again := r.pauses[p.Key]
	if again && p.Refusals == 0 && !p.Until.After(known.Until) {
		r.mu.Unlock()
		return // one of many calls in flight that were answered alike
	}
	merged := p
	if again && r.now().Before(known.Until) {
		merged.Reason, merged.Since = known.Reason, known.Since
	}
	merged.Refusals += known.Refusals
	r.pauses[p.Key] = merged
	r.mu.Unlock()
	if merged.InForce(r.now()) {
		r.log.Warn("calls paused", zap.String("operation", p.What()), zap.Duration("duration", p.Until.Sub(r.now())), zap.String("reason", merged.Reason))
	}
	r.tell(ctx, func(ctx context.Context) error { return r.shared.SavePause(ctx, p) })
}

// end ends the pause of a key, if there is one.
func (r *Replicas) end(ctx context.Context, key string) {
	if r == nil || key == "" {
		return
	}
	r.mu.Lock()
	delete(r.pauses, key)
	r.mu.Unlock()
	r.tell(ctx, func(ctx context.Context) error { return r.shared.EndPause(ctx, key) })
}

// tell writes to the database, also when the call that it is about has ended.
func (r *Replicas) tell(ctx context.Context, write func(context.Context) error) {
	if r.shared == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), syncTimeout)
	defer cancel()
	if err := write(ctx); err != nil {
		r.log.Warn("telling the other replicas of a pause failed", zap.Error(err))
	}
}
