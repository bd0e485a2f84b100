package jobs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// inForce are the people of a server file that can be loaded again.
type inForce struct{ atomic.Pointer[config.Config] }

func (f *inForce) Subject(person string) string {
	found, _ := f.Load().PersonByName(person)
	return found.OIDC
}

func (f *inForce) Groups(person string, claims []string) []string {
	return f.Load().GroupsOfPerson(person, claims)
}

func (f *inForce) Account(person, connection string) (string, bool) {
	found, _ := f.Load().PersonByName(person)
	id, known := found.Connections[connection]
	return fmt.Sprint(id), known
}

func (f *inForce) ByAccount(connection, id string) (string, bool) {
	found, known := f.Load().PersonByAccount(connection, id)
	return found.Name, known
}

// staff are the people of the tests: ann 11, bob 12, carol 13 and dave, who has no account. extra are further groups of a person.
func staff(groups map[string][]string) *config.Config {
	cfg := &config.Config{People: config.People{
		{Name: "ann", OIDC: "subject-ann", Connections: map[string]int64{"github": 11}}, {Name: "bob", Connections: map[string]int64{"github": 12}},
		{Name: "carol", Connections: map[string]int64{"github": 13}}, {Name: "dave", OIDC: "subject-dave"},
	}, Groups: config.Groups{}}
	for name, people := range groups {
		cfg.Groups[name] = config.Group{People: people}
	}
	cfg.Groups["claimed"] = config.Group{Claim: "release-managers"}
	return cfg
}

// fullSHA makes a commit of one letter.
func fullSHA(letter string) string { return strings.Repeat(letter, 40) }

// holdCase runs the script of a file in testdata/hold.
type holdCase struct {
	*world
	bench
	t       *testing.T
	people  *inForce
	policy  atomic.Pointer[rules.Policy]
	files   map[string][]byte
	seconds [2]*jobs.Inserter
	// run and release are those of the last push.
	run, release string
}

func (c *holdCase) loadRules(name string) { c.policy.Store(c.readRules(name)) }

func (c *holdCase) readRules(name string) *rules.Policy {
	c.t.Helper()
	text := strings.NewReplacer("$PIPELINE", pipelineID(0), "$GATE", gateID(0),
		"$BEGUN", c.clock.now().Add(-time.Hour).UTC().Format(time.RFC3339), "$ENDS", c.clock.now().Add(time.Hour).UTC().Format(time.RFC3339)).Replace(string(c.files[name]))
	policy, complaints := rules.Load(rules.Source{Name: name, Data: []byte(text)})
	if len(complaints) > 0 {
		c.t.Fatal(complaints)
	}
	return policy
}

// parseHold reads a host id such as "push a b 12" (who pushed) or "merge b 11 12" (author, who pushed).
func parseHold(id string) (event.Event, error) {
	words := strings.Fields(id)
	ev, err := parsePush("0 " + fullSHA(words[1]) + " " + fullSHA(words[2]))
	if len(words) > 3 {
		ev.SenderID = strings.TrimPrefix(words[3], "-")
	}
	if words[0] == "merge" {
		ev.Kind, ev.Action, ev.Number, ev.SourceBranch, ev.AuthorID = event.MergeRequest, event.Updated, 7, "feature", words[4]
		ev.UpdatedAt = time.Now().UTC().Format(time.RFC3339Nano)
	}
	return ev, err
}

// serveRequests answers as a Gitea, of which pulls.json has the merge requests by the commits that they made.
func (c *holdCase) serveRequests(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/")
	var pulls map[string]json.RawMessage
	if err := json.Unmarshal(c.files["pulls.json"], &pulls); err != nil && c.files["pulls.json"] != nil {
		c.t.Error(err)
	}
	for i, part := range parts {
		if part == "commits" && i+1 < len(parts) {
			if pull, known := pulls[parts[i+1][:1]]; known {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(strings.ReplaceAll(string(pull), "SHA", parts[i+1])))
				return
			}
		}
	}
	if strings.HasSuffix(r.URL.Path, "/repos/acme/0") {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"id": 100, "full_name": "acme/0"}`))
		return
	}
	http.Error(w, "{}", http.StatusNotFound)
}

// TestHold runs each file of testdata/hold: rules.yaml, and a script with one step a line. See holdCase.step.
func TestHold(t *testing.T) {
	files, err := filepath.Glob("testdata/hold/*.txtar")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, error %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db storetest.Database) { testHold(t, db, file) })
		})
	}
}

func testHold(t *testing.T, db storetest.Database, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := &holdCase{world: newWorld(t, db), t: t, people: &inForce{}, files: map[string][]byte{}}
	for _, f := range archive.Files {
		c.files[f.Name] = f.Data
	}
	c.people.Store(staff(map[string][]string{"leads": {"ann", "bob", "dave"}, "on-call": {"carol"}}))
	c.loadRules("rules.yaml")
	opts, client, err := queueOptions(c.world.store, c.services.url, policyText, c.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	host := httptest.NewServer(http.HandlerFunc(c.serveRequests))
	t.Cleanup(host.Close)
	f, err := forge.New(forge.Options{Now: c.clock.now, Connections: []forge.Connection{{Name: "github", Host: event.Gitea, APIURL: host.URL, Token: "token"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.CloseIdle)
	opts.Policy, opts.People, opts.Forge = c.policy.Load, c.people, f
	opts.Parse = func(d event.Delivery) (event.Event, error) { return parseHold(d.HostID) }
	opts.ReconcileEvery, opts.ReconcileAfter = 100*time.Millisecond, time.Minute
	q, err := jobs.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	c.bench = bench{q, c.world.store}
	if err := q.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(q.Stop(t.Context()), q.Close()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
		client.CloseIdle()
	})
	for i := range c.seconds {
		in, err := jobs.NewInserter(c.world.store, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		c.seconds[i] = in.WithPeople(c.people, c.policy.Load)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(c.files["script"])), "\n") {
		if line, _, _ = strings.Cut(line, "#"); strings.TrimSpace(line) == "" {
			continue
		}
		before, want, refuses := strings.Cut(line, "->")
		err := c.step(strings.Fields(before))
		_, refused := jobs.Refusal(err)
		switch {
		case refuses && (err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) || !refused):
			t.Errorf("line %d, %s: error %v", i+1, line, err)
		case !refuses && err != nil:
			t.Errorf("line %d, %s: %v", i+1, line, err)
		}
		if t.Failed() {
			return
		}
	}
}

// step carries out a line of a script. Commits are letters.
//
//	push A B [ID]            a push from A to B by account ID; its release is the one that is spoken of from then on
//	push-only A B            the same, and the release that is spoken of stays
//	merge A B PUSHER AUTHOR  new commits of a merge request
//	is STATE TEXT            waits until the release has that state, and its reason has the text
//	approve|refuse|glass PERSON COMMIT [IDENTITY]
//	approve-by FILE PERSON COMMIT    approves by a process that has these rules, which the others have not loaded yet
//	both PERSON PERSON COMMIT    approve at the same moment, by two processes
//	one PERSON PERSON COMMIT     approve what they both saw, at the same moment: one may
//	groups NAME=PERSON,…     loads the server file with these groups
//	claims PERSON VALUE      somebody logs in
//	subject PERSON SUBJECT   loads a server file that gives the name to somebody else
//	rules FILE               loads rules
//	clock DURATION           sets the clock ahead of the true one
//	rerun                    repeats the run; rejudge judges it again; again repeats the release
//	decide approve|refuse    decides the checkpoint that waits
//	starts N|any WORDS       the pipeline was started so often, or any number of times; its checkpoint was decided so
//	jobs N                   so many jobs look at the release or wait for it
//	excluded PEOPLE          the record names those whose own commit it is
//	said TEXT                what people said of the release, as "person state", with why where voided
func (c *holdCase) step(words []string) error {
	t := c.t
	t.Helper()
	rest := strings.Join(words[1:], " ")
	who := func(name string) jobs.Approver {
		by := jobs.Approver{Person: name, Identity: "shell:" + name, Via: "command"}
		if name == "stranger" {
			by.Person = ""
		}
		if len(words) > 3 {
			by.Identity = words[3]
		}
		return by
	}
	switch words[0] {
	case "push", "push-only", "merge":
		id := strings.Join(words, " ")
		d := event.Delivery{ID: fmt.Sprintf("%020d", c.clock.now().UnixMicro()), Connection: "github", Host: event.GitHub, Key: id, HostID: id, ReceivedAt: c.clock.now()}
		_, _, err := c.Accept(t.Context(), d)
		for try := 0; err != nil && try < 3; try++ {
			// The host sends again what was not taken in time.
			_, _, err = c.Accept(t.Context(), d)
		}
		if err != nil {
			return err
		}
		c.ended(t, d.ID)
		if words[0] != "push-only" {
			c.followRun(c.runs(t, d.ID)[0].ID)
		}
	case "is":
		now := c.world.until(t, c.release, func(now record) bool {
			return now.state == words[1] && strings.Contains(now.reason, strings.Join(words[2:], " ")) || now.ended && now.state != words[1]
		})
		if now.state != words[1] || !strings.Contains(now.reason, strings.Join(words[2:], " ")) {
			return fmt.Errorf("it is %s: %s", now.state, now.reason)
		}
	case "approve":
		_, err := c.seconds[0].ApproveHeld(t.Context(), c.release, fullSHA(words[2]), who(words[1]), "read it")
		return err
	case "approve-by":
		newer := c.readRules(words[1])
		_, err := c.seconds[0].WithPeople(c.people, func() *rules.Policy { return newer }).ApproveHeld(t.Context(), c.release, fullSHA(words[3]),
			jobs.Approver{Person: words[2], Identity: "shell:" + words[2], Via: "command"}, "read it")
		return err
	case "refuse":
		_, err := c.seconds[0].RefuseHeld(t.Context(), c.release, fullSHA(words[2]), who(words[1]), "not today")
		return err
	case "glass":
		_, err := c.seconds[0].BreakGlass(t.Context(), c.release, fullSHA(words[2]), who(words[1]), "incident 7")
		return err
	case "both":
		return errors.Join(c.together(words, "")...)
	case "one":
		var version string
		if err := c.world.store.View(t.Context(), func(tx *store.Tx) (err error) {
			version, err = tx.VersionOf(t.Context(), store.RecordRelease, c.release)
			return err
		}); err != nil {
			return err
		}
		errs := c.together(words, version)
		if errors.Is(errs[0], jobs.ErrChanged) == errors.Is(errs[1], jobs.ErrChanged) {
			return fmt.Errorf("%w, %w", errs[0], errs[1])
		}
	case "groups":
		groups := map[string][]string{}
		for _, word := range words[1:] {
			name, people, _ := strings.Cut(word, "=")
			groups[name] = strings.Split(people, ",")
		}
		c.people.Store(staff(groups))
	case "subject":
		next := *c.people.Load()
		next.People = slices.Clone(next.People)
		i := slices.IndexFunc(next.People, func(p config.Person) bool { return p.Name == words[1] })
		next.People[i].OIDC = words[2]
		c.people.Store(&next)
	case "claims":
		return c.world.store.SaveClaims(t.Context(), "subject-"+words[1], words[2:])
	case "rules":
		c.loadRules(words[1])
	case "clock":
		d, err := time.ParseDuration(words[1])
		c.clock.jump(d)
		return err
	case "rerun":
		done, err := c.seconds[0].RerunRun(t.Context(), c.run, ann)
		if err != nil {
			return err
		}
		old := c.release
		c.world.until(t, old, func(now record) bool { return now.ended })
		c.followRun(done.Runs[0].ID)
	case "rejudge":
		_, err := c.seconds[0].Rejudge(t.Context(), c.run, rules.Gate{}, "ann")
		return err
	case "again":
		done, err := c.seconds[0].RerunRelease(t.Context(), c.release, ann)
		if err == nil {
			c.release = done.Releases[0].ID
		}
		return err
	case "decide":
		_, err := c.seconds[0].Decide(t.Context(), c.release, rules.ReleaseAction(words[1]), "", ann)
		return err
	case "other": // the other release of the run
		for _, r := range c.releasesOf(c.run) {
			if r.ID != c.release {
				c.release = r.ID
				return nil
			}
		}
		return errors.New("there is no other one")
	case "starts":
		if starts, decisions := c.startsOf(); words[1] != "any" && fmt.Sprint(starts) != words[1] || !slices.Equal(decisions, words[2:]) && len(words) > 2 {
			return fmt.Errorf("started %d times, decisions %q", starts, decisions)
		}
	case "jobs":
		if n := c.world.count(t, fmt.Sprintf(`args->>'release_id' = '%s' AND finalized_at IS NULL`, c.release)); fmt.Sprint(n) != words[1] {
			return fmt.Errorf("%d jobs", n)
		}
	case "excluded":
		for _, r := range c.releasesOf(c.run) {
			if r.ID == c.release && !slices.Equal(r.Hold.Excluded, words[1:]) {
				return fmt.Errorf("%q", r.Hold.Excluded)
			}
		}
	case "said":
		var said []string
		err := c.world.store.View(t.Context(), func(tx *store.Tx) error {
			approvals, err := tx.ApprovalsOf(t.Context(), c.release)
			for _, a := range approvals {
				said = append(said, strings.TrimSpace(fmt.Sprint(a.Person, " ", a.State(), " ", a.Voided)))
			}
			return err
		})
		if slices.Sort(said); err == nil && !strings.Contains(strings.Join(said, "; "), rest) {
			err = fmt.Errorf("people said %q", said)
		}
		return err
	default:
		return fmt.Errorf("there is no step %q", words[0])
	}
	return nil
}

// followRun waits for the verdict of a run and for its first release.
func (c *holdCase) followRun(run string) {
	c.t.Helper()
	c.run = run
	now := c.world.until(c.t, run, func(now record) bool { return now.ended })
	list := c.releasesOf(run)
	if len(list) == 0 {
		c.t.Fatalf("run %s is %s: %s", run, now.state, now.reason)
	}
	c.release = list[0].ID
}

func (c *holdCase) releasesOf(run string) (list []release.Release) {
	c.t.Helper()
	if err := c.world.store.View(c.t.Context(), func(tx *store.Tx) (err error) { list, err = tx.ReleasesOf(c.t.Context(), run); return err }); err != nil {
		c.t.Fatal(err)
	}
	return list
}

func (c *holdCase) startsOf() (starts int, decisions []string) {
	for _, pipeline := range []string{pipelineID(0), gateID(0)} {
		n, decided := c.services.operated(pipeline)
		starts, decisions = starts+n, append(decisions, decided...)
	}
	return starts, decisions
}

// TestHeldReason says what a held release waits for, and after the last approval that it goes on.
func TestHeldReason(t *testing.T) {
	until := time.Date(2026, time.March, 2, 9, 30, 0, 0, time.UTC)
	for want, h := range map[string]release.Hold{
		"waits for 2 of leads; until 2026-03-02T09:30:00Z":                       {Until: until, Wanted: 2, Missing: 2, Groups: []string{"leads"}},
		"waits for 1 more of leads; approved by ann; until 2026-03-02T09:30:00Z": {Until: until, Wanted: 2, Missing: 1, Groups: []string{"leads"}, Approved: []string{"ann"}},
		"goes on: approved by ann, bob":                                          {Until: until, Wanted: 2, Groups: []string{"leads"}, Approved: []string{"ann", "bob"}},
		"waits for window working-hours; until 2026-03-02T09:30:00Z":             {Until: until, Wanted: 1, Approved: []string{"ann"}, Window: "working-hours"},
		"goes on: nothing holds it any more":                                     {Until: until},
	} {
		if got := jobs.HeldReason(h); got != want {
			t.Errorf("%+v: %q, want %q", h, got, want)
		}
	}
}

// together has two people approve a version of the release at the same moment, by two processes.
func (c *holdCase) together(words []string, version string) []error {
	errs := make([]error, 2)
	var wait sync.WaitGroup
	for i := range errs {
		wait.Go(func() {
			by := jobs.Approver{Person: words[1+i], Identity: fmt.Sprint("page", i), Via: "page", Version: version}
			_, errs[i] = c.seconds[i].ApproveHeld(c.t.Context(), c.release, fullSHA(words[3]), by, "read it")
		})
	}
	wait.Wait()
	return errs
}
