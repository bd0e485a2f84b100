package harness

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/gatewright/gatewright/internal/webhook"
)

// Line is a branch, or the merge request, of one repository: its changes follow
// each other.
type Line struct {
	repository repository
	branch     string
	// request says that the line is the repository's merge request, from branch.
	request bool
	changes []*Change
}

// Name tells lines apart.
func (l *Line) Name() string {
	return fmt.Sprintf("%s %s %s %t", l.repository.connection.name, l.repository.fullName(), l.branch, l.request)
}

// Change is a new commit on a line, with a hash of its own. It may be announced by
// several deliveries.
type Change struct {
	line *Line
	// N counts the changes of the line from 1.
	N           int
	SHA, Before string
	made        time.Time
	// Acknowledged is when the first delivery of it was answered with a 2xx; zero:
	// none was. It is to be read when no sender is at work.
	Acknowledged time.Time
}

// Line is the line that the change is on.
func (c *Change) Line() *Line { return c.line }

// Answer is what became of one request.
type Answer struct {
	Change *Change
	// Delivery is the id that a 202 gave.
	Delivery string
}

// Load sends deliveries, and records what was acknowledged. Its workers share the
// lines out among themselves. On a line the next change is sent when the one before
// is acknowledged; until then that is sent again, with the same delivery id, as a
// host redelivers. Each request goes to any of the replicas, dead or alive.
type Load struct {
	bases   []string
	secrets map[string]string // by their variables
	client  *http.Client
	workers []*worker

	mu       sync.Mutex
	statuses map[int]int
	accepted []Answer
}

// workers is how many deliveries are under way at a time.
const workers = 8

type worker struct {
	load   *Load
	lines  []*Line
	random *rand.Rand
	// pending is a request without an answer, to be sent again.
	pending *request
}

// request is a delivery, signed and ready.
type request struct {
	change *Change
	header http.Header
	body   []byte
}

func newLoad(w world, addrs []string, secrets map[string]string, seed uint64) *Load {
	l := &Load{
		secrets: secrets, statuses: map[int]int{},
		client: &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 4 * workers}},
	}
	for i := range workers {
		l.workers = append(l.workers, &worker{load: l, random: rand.New(rand.NewPCG(seed, uint64(i)))})
	}
	for _, addr := range addrs {
		l.bases = append(l.bases, "http://"+addr)
	}
	n := 0
	add := func(line *Line) {
		w := l.workers[n%workers]
		w.lines = append(w.lines, line)
		n++
	}
	for _, r := range w.repositories {
		for _, branch := range append(checkedBranches(), "scratch") {
			add(&Line{repository: r, branch: branch})
		}
		add(&Line{repository: r, branch: "feature/discount", request: true})
	}
	return l
}

// Run sends about rate deliveries a second until ctx is done; what is under way
// then counts as not answered. Two Runs must not overlap.
func (l *Load) Run(ctx context.Context, rate int) {
	var running sync.WaitGroup
	for _, w := range l.workers {
		running.Go(func() { w.run(ctx, time.Duration(workers)*time.Second/time.Duration(rate)) })
	}
	running.Wait()
}

// CloseIdle closes the connections that carry nothing.
func (l *Load) CloseIdle() { l.client.CloseIdleConnections() }

// Statuses counts the answers by HTTP status; 0 stands for no answer.
func (l *Load) Statuses() map[int]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.statuses)
}

// Accepted are the deliveries that were answered with 202, in that order.
func (l *Load) Accepted() []Answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted
}

// Changes are all changes that were ever sent, each line's in their order.
func (l *Load) Changes() []*Change {
	var all []*Change
	for _, w := range l.workers {
		for _, line := range w.lines {
			all = append(all, line.changes...)
		}
	}
	return all
}

// run sends one delivery after the other, one each interval.
func (w *worker) run(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if w.step(ctx); ctx.Err() != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// step sends what is pending, else something new or something known.
func (w *worker) step(ctx context.Context) {
	if w.pending == nil {
		w.pending = w.next()
	}
	bases := w.load.bases
	replica := w.random.IntN(len(bases))
	// Some deliveries come twice at the same moment, at two replicas if there are.
	var twin sync.WaitGroup
	if w.random.IntN(10) == 0 {
		twin.Go(func() { w.load.send(ctx, bases[(replica+1)%len(bases)], w.pending) })
	}
	acknowledged := w.load.send(ctx, bases[replica], w.pending)
	twin.Wait()
	if acknowledged {
		w.pending = nil
	}
}

// next is a new change of one of the worker's lines, or now and then one of the
// last changes of a line, announced once more under another delivery id.
func (w *worker) next() *request {
	line := w.lines[w.random.IntN(len(w.lines))]
	if n := len(line.changes); n > 0 && w.random.IntN(10) == 0 {
		return w.deliver(line.changes[n-1-w.random.IntN(min(n, 3))])
	}
	change := &Change{line: line, N: len(line.changes) + 1, made: time.Now().UTC()}
	if change.N > 1 {
		change.Before = line.changes[change.N-2].SHA
	}
	sum := sha1.Sum([]byte(fmt.Sprint(line.Name(), change.N)))
	change.SHA = hex.EncodeToString(sum[:])
	line.changes = append(line.changes, change)
	return w.deliver(change)
}

// deliver signs a new delivery of a change.
func (w *worker) deliver(c *Change) *request {
	connection := c.line.repository.connection
	id := fmt.Sprintf("%08x-%04x-4000-8000-%012x", w.random.Uint32(), w.random.Uint32()&0xffff, w.random.Uint64()&0xffffffffffff)
	r := &request{change: c, header: c.header(id)}
	var err error
	if r.body, err = webhook.Sign(connection.webhook(w.load.secrets[connection.variable()]), r.header, c.body(), time.Now()); err != nil {
		// Every connection has a secret.
		panic("sign delivery: " + err.Error())
	}
	return r
}

// send posts a delivery to a replica and reports whether it was acknowledged.
func (l *Load) send(ctx context.Context, base string, r *request) bool {
	status, delivery := l.post(ctx, base, r)
	l.mu.Lock()
	defer l.mu.Unlock()
	if status == 0 && ctx.Err() != nil {
		return false
	}
	l.statuses[status]++
	if status < 200 || status > 299 {
		return false
	}
	if r.change.Acknowledged.IsZero() {
		r.change.Acknowledged = time.Now()
	}
	if status == http.StatusAccepted {
		l.accepted = append(l.accepted, Answer{Change: r.change, Delivery: delivery})
	}
	return true
}

// post returns status 0 when there was no whole answer.
func (l *Load) post(ctx context.Context, base string, r *request) (status int, delivery string) {
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/webhooks/"+r.change.line.repository.connection.name, bytes.NewReader(r.body))
	if err != nil {
		return 0, ""
	}
	post.Header = r.header.Clone()
	response, err := l.client.Do(post)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return 0, ""
	}
	var answer struct {
		Delivery string `json:"delivery"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return 0, ""
	}
	return response.StatusCode, answer.Delivery
}
