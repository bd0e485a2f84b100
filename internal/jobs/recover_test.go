package jobs_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/golden"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
	"github.com/gatewright/gatewright/internal/webhook"
)

const recoveryPolicy = `
version: 1
defaults:
  check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07, name: demo}}
rules:
  - name: main
    on: push
    match: {repository: acme/*, branch: main}
    check: {}
  - name: requests
    on: merge_request
    match: {repository: acme/*}
    check: {}
`

// hostRefs is a small Gitee that lists branches and open merge requests.
type hostRefs struct {
	mu sync.Mutex
	// refs are commits by the names of branches, and by "!" and the numbers of merge requests.
	refs map[string]string
	// id is that of the repository, changedAt when a merge request was changed last, and status the answer to everything, 0 for 200.
	id, status int
	targets    map[string]string
	changedAt  time.Time
	// asked counts the reads of the repository.
	asked int
	// failed are the statuses with which it answers when it is asked to send a delivery again that failed, by the
	// ids of the deliveries, and failedAt when they failed. It has webhooks when there are any.
	failed   map[string]int
	failedAt time.Time
	// above: the webhook is that of the organisation, and askedAbove counts how often its webhooks were read. above is
	// the status of the answer then.
	above, askedAbove int
	// slow: webhooks, or everything, is not told before the caller gives up.
	slow string
	// sentAgain are the deliveries that it was asked for.
	sentAgain []string
}

func (h *hostRefs) set(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

func (h *hostRefs) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	if h.slow == "all" || h.slow == "hooks" && strings.Contains(r.URL.Path, "/hooks") {
		h.mu.Unlock()
		<-r.Context().Done()
		return
	}
	defer h.mu.Unlock()
	if h.status != 0 {
		if h.status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "300")
		}
		w.WriteHeader(h.status)
		return
	}
	if path, hooks := strings.CutPrefix(r.URL.Path, "/repos/acme/api/hooks"); hooks {
		if h.above != 0 {
			_, _ = w.Write([]byte("[]"))
			return
		}
		h.serveHooks(w, path)
		return
	}
	if path, hooks := strings.CutPrefix(r.URL.Path, "/orgs/acme/hooks"); hooks && h.above != 0 {
		if path == "" {
			h.askedAbove++
		}
		if h.above != http.StatusOK {
			w.WriteHeader(h.above)
			return
		}
		h.serveHooks(w, path)
		return
	}
	var answer any
	list := []map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(h.refs)) {
		number, request := strings.CutPrefix(name, "!")
		switch {
		case request && strings.HasSuffix(r.URL.Path, "/pulls"):
			n, _ := strconv.Atoi(number) // the cases write numbers
			target := h.targets[name]
			if target == "" {
				target = "main"
			}
			list = append(list, map[string]any{
				"number": n, "updated_at": h.changedAt.UTC().Format(time.RFC3339), "head": map[string]any{"ref": "feature", "sha": h.refs[name], "repo": map[string]any{"id": h.id}},
				"base": map[string]any{"ref": target, "repo": map[string]any{"id": h.id}},
			})
		case !request && strings.HasSuffix(r.URL.Path, "/branches"):
			list = append(list, map[string]any{"name": name, "commit": map[string]any{"sha": h.refs[name]}})
		}
	}
	if answer = list; r.URL.Path == "/repos/acme/api" {
		h.asked++
		answer = map[string]any{"id": h.id, "full_name": "acme/api", "default_branch": "main"}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// hookAddress is where the webhook of the host sends to.
const hookAddress = "https://gatewright.example.com/webhooks/gitee"

// serveHooks answers about webhooks as GitHub does: Gitee remembers no deliveries.
func (h *hostRefs) serveHooks(w http.ResponseWriter, path string) {
	list := []map[string]any{}
	switch id, again := strings.CutPrefix(strings.TrimSuffix(path, "/attempts"), "/1/deliveries/"); {
	case again:
		h.sentAgain = append(h.sentAgain, id)
		w.WriteHeader(h.failed[id])
		return
	case path == "":
		list = append(list, map[string]any{"id": 1, "active": true, "events": []string{"push"}, "config": map[string]any{"url": hookAddress}})
	default:
		for i, id := range slices.Sorted(maps.Keys(h.failed)) {
			list = append(list, map[string]any{"id": id, "guid": "guid-" + id, "delivered_at": h.failedAt.Add(time.Duration(i) * time.Millisecond), "status_code": 502})
		}
	}
	_ = json.NewEncoder(w).Encode(list)
}

// TestRecoveryCases lets webhooks come, the host change, time go by, and recovery look, as each case file says.
//
//	host REF=COMMIT…        what the host has now; a ref is a branch, or ! and the number of a merge request
//	target REF BRANCH       a merge request has another target there
//	status CODE             the host answers everything with it; 200: as usual
//	id N                    the repository has this id there
//	webhook KIND REF A B    a webhook of a push or merge_request comes, from commit A ("-" for none) to B ("-": it ended);
//	                        with a DURATION after B it came so long ago, and is decided now
//	test REF A              the host is asked for a test delivery, which is a push of this branch at this commit
//	wait DURATION           time goes by
//	failed ID=CODE…         the host could not deliver these, and answers CODE when it is asked to send one again
//	above STATUS            the webhook is that of the organisation, and the host answers so when its webhooks are read
//	slow hooks|all|nothing  the host does not answer in time about its webhooks, or at all
//	look                    recovery asks the host, in a new round
//	look on                 it does in the last round
//	rules for KIND          the service starts again with rules for this kind of events alone
func TestRecoveryCases(t *testing.T) {
	files, err := filepath.Glob("testdata/recovery/*.txtar")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d case files, error %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db storetest.Database) { testRecoveryCase(t, db, file) })
		})
	}
}

func testRecoveryCase(t *testing.T, db storetest.Database, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil || len(archive.Files) != 2 {
		t.Fatalf("%d parts, error %v", len(archive.Files), err)
	}
	oneFor := 10 * time.Minute
	if strings.Contains(string(archive.Files[0].Data), "slow ") {
		oneFor = 6 * time.Second
	}
	c := newRecoveryCase(t, db, oneFor)
	for line := range strings.Lines(string(archive.Files[0].Data)) {
		c.step(t, strings.Fields(line))
	}
	golden.Section(t, file, archive, archive.Files[1].Name, c.said.String())
}

type recoveryCase struct {
	w      *world
	q      *jobs.Queue
	opts   jobs.Options
	stop   func()
	host   *hostRefs
	offset time.Duration
	begun  time.Time // the last round
	starts int
	// seen are the deliveries that were told, number counts the webhooks.
	seen   map[string]bool
	number int
	said   strings.Builder
}

func newRecoveryCase(t *testing.T, db storetest.Database, oneFor time.Duration) *recoveryCase {
	c := &recoveryCase{w: newWorld(t, db), host: &hostRefs{refs: map[string]string{}, targets: map[string]string{}, id: 5001, changedAt: time.Now()}, seen: map[string]bool{}}
	server := httptest.NewServer(http.HandlerFunc(c.host.serve))
	t.Cleanup(server.Close)
	f, err := forge.New(forge.Options{Now: c.w.clock.now, Connections: []forge.Connection{{Name: "gitee", Host: event.Gitee, APIURL: server.URL, Token: "token"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.CloseIdle)
	// The same host, as one that remembers deliveries.
	keeper, err := forge.New(forge.Options{Now: c.w.clock.now, Connections: []forge.Connection{{Name: "gitee", Host: event.GitHub, APIURL: server.URL, Token: "token"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keeper.CloseIdle)
	hookURL := func(string) (address string) {
		c.host.set(func() {
			if c.host.failed != nil {
				address = hookAddress
			}
		})
		return address
	}
	c.w.services.setFaults(t, down())
	c.w.policy = recoveryPolicy
	c.w.parseWhole = func(d event.Delivery) (ev event.Event, err error) {
		if d.Recovered == event.Compared {
			return webhook.ParseRecovered(webhook.Connection{Name: "gitee", Host: event.Gitee, URL: "https://gitee.com"}, d.Body)
		}
		return ev, json.Unmarshal(d.Body, &ev)
	}
	c.opts = jobs.Options{Recovery: jobs.Recovery{
		Lister: f, Redeliverer: keeper, Every: 1000 * time.Hour, OneFor: oneFor, Grace: 2 * time.Minute, Share: 20, Connections: func() []string { return []string{"gitee"} },
		InScope: func(string, string) bool { return true }, HookURL: hookURL, Limit: f.Limit, Remaining: f.Remaining,
	}}
	c.start(t)
	return c
}

// start starts the service, and waits for the round of its start: it is not to look beside the steps.
func (c *recoveryCase) start(t *testing.T) {
	t.Helper()
	c.q, c.stop = c.w.start(t, c.opts)
	c.starts++
	for deadline := time.Now().Add(time.Minute); c.w.count(t, `kind = 'recover' AND state = 'completed'`) < c.starts; {
		if time.Now().After(deadline) {
			t.Fatal("no round of recovery at the start")
		}
		<-time.After(10 * time.Millisecond)
	}
}

// commitNamed is the commit that a letter stands for.
func commitNamed(letter string) string {
	if letter == "-" {
		return ""
	}
	return strings.Repeat(letter, 40)
}

func (c *recoveryCase) step(t *testing.T, words []string) {
	t.Helper()
	switch words[0] {
	case "host":
		refs := map[string]string{}
		for _, word := range words[1:] {
			name, letter, _ := strings.Cut(word, "=")
			refs[name] = commitNamed(letter)
		}
		c.host.set(func() { c.host.refs, c.host.changedAt = refs, c.w.clock.now() })
	case "target":
		c.host.set(func() { c.host.targets[words[1]], c.host.changedAt = words[2], c.w.clock.now() })
	case "status":
		status, _ := strconv.Atoi(words[1])
		c.host.set(func() {
			if c.host.status = status; status == http.StatusOK {
				c.host.status = 0
			}
		})
	case "id":
		c.host.set(func() { c.host.id, _ = strconv.Atoi(words[1]) })
	case "wait":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			t.Fatal(err)
		}
		c.offset += d
		c.w.clock.jump(c.offset)
	case "webhook":
		c.webhook(t, words[1:])
	case "test":
		err := c.w.store.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.ExpectDelivery(t.Context(), "gitee", jobs.HookTestID("5001", words[1], commitNamed(words[2])), time.Minute)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	case "rules":
		c.stop()
		c.w.policy = strings.NewReplacer("on: push", "on: "+words[2], "on: merge_request", "on: "+words[2]).Replace(recoveryPolicy)
		c.start(t)
	case "failed":
		failed := map[string]int{}
		for _, word := range words[1:] {
			id, status, _ := strings.Cut(word, "=")
			failed[id], _ = strconv.Atoi(status)
		}
		c.host.set(func() { c.host.failed, c.host.failedAt = failed, c.w.clock.now() })
	case "above":
		c.host.set(func() { c.host.above, _ = strconv.Atoi(words[1]) })
	case "slow":
		c.host.set(func() { c.host.slow = words[1] })
	case "look":
		if len(words) == 1 {
			c.begun = c.q.RoundBegin()
		}
		wait, err := c.q.Look(t.Context(), c.begun)
		if err != nil {
			t.Fatal(err)
		}
		again := "in " + wait.Round(10*time.Second).String()
		if wait > 0 && wait < 5*time.Second {
			again = "soon"
		}
		fmt.Fprintf(&c.said, "look, again %s\n", again)
		c.host.set(func() {
			if len(c.host.sentAgain) > 0 {
				fmt.Fprintf(&c.said, "  the host was asked to send again: %s\n", strings.Join(c.host.sentAgain, ", "))
			}
			c.host.sentAgain = nil
			if c.host.above != 0 {
				fmt.Fprintf(&c.said, "  the organisation was asked %d times\n", c.host.askedAbove)
			}
		})
	default:
		t.Fatalf("unknown step %q", words)
	}
	c.tell(t)
}

func (c *recoveryCase) webhook(t *testing.T, words []string) {
	t.Helper()
	c.number++
	ev := event.Event{
		Connection: "gitee", Kind: event.Kind(words[0]), Action: event.Updated, Branch: words[1], Before: commitNamed(words[2]), HeadSHA: commitNamed(words[3]), NewCode: true,
		Repository: event.Repository{Host: event.Gitee, ID: "5001", FullName: "acme/api"}, Labels: []string{},
	}
	switch number, request := strings.CutPrefix(words[1], "!"); {
	case request:
		ev.Number, _ = strconv.Atoi(number)
		ev.Branch, ev.UpdatedAt = "main", c.w.clock.now().UTC().Format(time.RFC3339)
		if ev.HeadSHA == "" {
			ev.Action, ev.NewCode, ev.HeadSHA, ev.IgnoredReason = event.Closed, false, ev.Before, "merge request was closed: nothing to check"
		}
	case ev.HeadSHA == "":
		ev.Action, ev.Deleted, ev.NewCode, ev.IgnoredReason = event.Deleted, true, false, "branch was deleted: nothing to check"
	case ev.Before == "":
		ev.Action = event.Created
	}
	body, err := json.Marshal(ev)
	if err != nil {
		t.Fatal(err)
	}
	received := c.w.clock.now()
	if len(words) > 4 {
		age, err := time.ParseDuration(words[4])
		if err != nil {
			t.Fatal(err)
		}
		received = received.Add(-age)
	}
	id := fmt.Sprintf("webhook %d", c.number)
	d := event.Delivery{ID: uuid.Must(uuid.NewV7()).String(), Connection: "gitee", Host: event.Gitee, Key: id, HostID: id, ReceivedAt: received, Body: body}
	if _, _, err := c.q.Accept(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

// tell waits until all deliveries are decided, and says what became of new ones.
func (c *recoveryCase) tell(t *testing.T) {
	t.Helper()
	var list []store.Delivery
	deadline := time.Now().Add(time.Minute)
	for {
		err := c.w.store.View(t.Context(), func(tx *store.Tx) (err error) {
			list, err = tx.Deliveries(t.Context(), store.Filter{OldestFirst: true, Limit: 1000})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(list, func(d store.Delivery) bool { return d.State == event.DeliveryReceived }) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a delivery is never decided")
		}
		<-time.After(5 * time.Millisecond)
	}
	for _, d := range list {
		if c.seen[d.ID] {
			continue
		}
		c.seen[d.ID] = true
		runs := 0
		err := c.w.store.View(t.Context(), func(tx *store.Tx) error {
			all, err := tx.RunsOf(t.Context(), d.ID)
			runs = len(all)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		how := string(d.Recovered)
		if how == "" {
			how = "webhook"
		}
		ref := d.Said.Branch
		if d.Said.Number > 0 {
			ref = fmt.Sprintf("!%d into %s", d.Said.Number, d.Said.Branch)
		}
		fmt.Fprintf(&c.said, "  %s of %s %.2s: %s, %d runs; %s\n", how, ref, d.Said.SHA, d.State, runs, uuids.ReplaceAllString(d.Reason, "ID"))
	}
}

var uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)

// TestRecoveryOfTwoReplicas: of two replicas one asks the host.
func TestRecoveryOfTwoReplicas(t *testing.T) {
	t.Parallel()
	c := newRecoveryCase(t, storetest.Database{Postgres: storetest.Postgres(t)}, 0)
	c.step(t, strings.Fields("host main=a"))
	c.step(t, strings.Fields("webhook push main - a"))
	c.stop()
	opts := c.opts
	opts.Recovery.Every = time.Second
	began, before := time.Now(), 0
	c.host.set(func() { before = c.host.asked })
	first, _ := c.w.start(t, opts)
	second, _ := c.w.start(t, opts)
	if first == second {
		t.Fatal("there is one replica")
	}
	for {
		asked := 0
		c.host.set(func() { asked = c.host.asked - before })
		if rounds := int(time.Since(began)/time.Second) + 2; asked > rounds {
			t.Fatalf("the host was asked %d times in %d rounds", asked, rounds)
		}
		if asked >= 5 {
			return
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("the host was asked %d times in a minute", asked)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// TestRecoveryAfterRefusal: once deliveries were refused, the next one that is accepted has one round begin.
func TestRecoveryAfterRefusal(t *testing.T) { storetest.Each(t, testRecoveryAfterRefusal) }

func testRecoveryAfterRefusal(t *testing.T, db storetest.Database) {
	c := newRecoveryCase(t, db, 0)
	for c.w.count(t, `kind = 'recover' AND state = 'completed'`) == 0 {
		<-time.After(10 * time.Millisecond)
	}
	c.step(t, strings.Fields("webhook push main - a"))
	if n := c.w.count(t, `kind = 'recover' AND state <> 'completed'`); n != 0 {
		t.Errorf("%d rounds without a refusal", n)
	}
	before := c.w.count(t, `kind = 'recover'`)
	c.q.Missed()
	c.q.Missed()
	c.step(t, strings.Fields("webhook push main a b"))
	c.step(t, strings.Fields("webhook push main b c"))
	// It has begun already where the webhooks took half a minute.
	if n := c.w.count(t, `kind = 'recover'`); n != before+1 {
		t.Errorf("%d rounds after a refusal", n-before)
	}
}
