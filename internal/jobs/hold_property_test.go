package jobs_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// said is an approval as the model of the test has it.
type said struct{ person, commit, rules, run string }

// TestHoldProperty: for every interleaving of approvals, refusals, new commits, changes of rules, groups and clocks, expiries, reruns and
// the steps of the queue, nothing is released without as many valid approvals of exactly its commit as the rule wants,
// from different people who may give them at that moment, during an open window and no freeze. GATEWRIGHT_SEED repeats a sequence.
func TestHoldProperty(t *testing.T) { storetest.Each(t, testHoldProperty) }

func testHoldProperty(t *testing.T, db storetest.Database) {
	seed, err := strconv.ParseUint(os.Getenv("GATEWRIGHT_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Logf("GATEWRIGHT_SEED=%d", seed)
	m := newHoldModel(t, db, rand.New(rand.NewPCG(seed, 1)))
	rounds := 60
	if db.Postgres != "" {
		rounds = 40
	}
	for range rounds {
		m.sequence()
	}
	t.Logf("%d releases acted, %d did not", m.released, m.heldBack)
	if m.released == 0 || m.heldBack == 0 {
		t.Errorf("%d releases acted and %d did not: nothing was tried", m.released, m.heldBack)
	}
}

// holdModel runs random sequences, and keeps what must hold beside the database.
type holdModel struct {
	*world
	t      *testing.T
	random *rand.Rand
	queue  *jobs.Queue
	in     *jobs.Inserter
	people inForce
	// leads are who is in the group of leads now.
	leads map[string]bool
	// policies are rules that differ in the rule; frozen has a freeze, shut a closed window.
	policies []*rules.Policy
	policy   int
	number   int

	ref                string
	commit             string
	commits            int
	runs               []string
	said               []said
	refused            map[string]bool
	released, heldBack int
}

const holdRules = `
version: 1
defaults: {check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07, name: demo}}}
windows: {hours: {time_zone: UTC, hours: ["06:00-18:00"]}}
%s
rules:
  - name: release
    on: push
    check: {timeout: %s}
    release: [{pipeline: caf409b1-10df-483a-b14d-7b05f7e12c88, action: start, hold: {approvals: {count: 2, groups: [leads], exclude_author: false}, window: hours, expires: 20h}}]
`

func newHoldModel(t *testing.T, db storetest.Database, random *rand.Rand) *holdModel {
	m := &holdModel{world: newWorld(t, db), t: t, random: random, leads: map[string]bool{}}
	for _, p := range [][2]string{{"", "40m"}, {"", "50m"}, {"freezes: [{name: audit, from: 2026-03-01T00:00:00Z, to: 2099-01-01T00:00:00Z, reason: audit}]", "40m"}} {
		policy, complaints := rules.Load(rules.Source{Name: "rules.yaml", Data: fmt.Appendf(nil, holdRules, p[0], p[1])})
		if len(complaints) > 0 {
			t.Fatal(complaints)
		}
		m.policies = append(m.policies, policy)
	}
	opts, client, err := queueOptions(m.store, m.services.url, policyText, m.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	inForce := func() *rules.Policy { return m.policies[m.policy] }
	opts.Policy, opts.People = inForce, &m.people
	if m.queue, err = jobs.New(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	in, err := jobs.NewInserter(m.store, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	m.in = in.WithPeople(&m.people, inForce)
	return m
}

// setLead says whether a person is in the group of leads from now on.
func (m *holdModel) setLead(person string, is bool) {
	m.leads[person] = is
	var leads []string
	for _, person := range slices.Sorted(maps.Keys(m.leads)) {
		if m.leads[person] {
			leads = append(leads, person)
		}
	}
	m.people.Store(staff(map[string][]string{"leads": leads}))
}

// advance sets the clock ahead.
func (m *holdModel) advance(d time.Duration) {
	m.clock.jump(time.Duration(m.clock.difference.Load()) + d)
}

// push makes a new commit of the branch, with a run that passed and its release.
func (m *holdModel) push() {
	before := m.commit
	m.commits++
	m.commit = fmt.Sprintf("%040x", m.number*1000+m.commits)
	ev := event.Event{Connection: "github", Kind: event.Push, Action: event.Updated, Branch: m.ref, Before: before, HeadSHA: m.commit, NewCode: true,
		SenderID: "99", Repository: event.Repository{ID: "1", FullName: "acme/api"}}
	if err := m.store.Update(m.t.Context(), func(tx *store.Tx) error {
		_, err := tx.AdvanceHead(m.t.Context(), ev, fmt.Sprintf("%09d", m.number*1000+m.commits))
		return err
	}); err != nil {
		m.t.Fatal(err)
	}
	now := m.clock.now().UTC()
	run := codecheck.Run{ID: fmt.Sprintf("run-%d-%d", m.number, m.commits), DeliveryID: "d", Rule: "release", Event: ev, CreatedAt: now, Deadline: now.Add(time.Hour),
		Releases: []rules.Release{{Pipeline: pipelineID(m.number - 1), Action: rules.ReleaseStart, Timeout: 30 * time.Hour,
			Hold: &rules.Hold{Approvals: &rules.Approvals{Count: 2, Groups: []string{"leads"}}, Window: "hours", Expires: 20 * time.Hour}}}}
	if err := m.queue.Pass(m.t.Context(), run); err != nil {
		m.t.Fatal(err)
	}
	m.runs = append(m.runs, run.ID)
}

func (m *holdModel) releases() (list []release.Release) {
	for _, run := range m.runs {
		if err := m.store.View(m.t.Context(), func(tx *store.Tx) error {
			of, err := tx.ReleasesOf(m.t.Context(), run)
			list = append(list, of...)
			return err
		}); err != nil {
			m.t.Fatal(err)
		}
	}
	return list
}

// sequence takes random steps on a branch of its own, and looks after each at what acted.
func (m *holdModel) sequence() {
	m.number++
	m.ref, m.commit, m.commits, m.runs, m.said, m.refused = fmt.Sprint("branch-", m.number), "", 0, nil, nil, map[string]bool{}
	// Eight o'clock of the next day.
	now := m.clock.now()
	m.advance(now.Truncate(24 * time.Hour).Add(32 * time.Hour).Sub(now))
	m.policy = 0
	for _, person := range []string{"ann", "bob", "carol"} {
		m.setLead(person, true)
	}
	var trace []string
	m.push()
	acted := map[string]bool{}
	for range 40 {
		trace = append(trace, m.step())
		for _, r := range m.releases() {
			if r.Intent != nil && !acted[r.ID] {
				acted[r.ID] = true
				m.released++
				if why := m.mustNot(r); why != "" {
					m.t.Fatalf("release of %s acted, but %s\n%s", r.Event.HeadSHA, why, strings.Join(trace, "\n"))
				}
			}
		}
	}
	for _, r := range m.releases() {
		if r.Intent == nil {
			m.heldBack++
		}
	}
}

// mustNot says why a release must not have acted in the last step.
func (m *holdModel) mustNot(r release.Release) string {
	people := map[string]bool{}
	for _, s := range m.said {
		if s.commit == r.Event.HeadSHA && s.run == r.RunID && s.rules == m.policies[m.policy].RuleDigest("release") && m.leads[s.person] {
			people[s.person] = true
		}
	}
	now := m.clock.now().UTC()
	switch {
	case r.Event.HeadSHA != m.commit:
		return "the branch has commit " + m.commit
	case len(people) < 2:
		return fmt.Sprintf("only %d people approve it", len(people))
	case m.refused[r.ID]:
		return "somebody refused it"
	case m.policy == 2:
		return "a freeze covers it"
	case now.Hour() < 6 || now.Hour() >= 18:
		return "the window is closed"
	case r.Hold != nil && !now.Before(r.Hold.Until.Add(30*time.Hour)):
		return "it expired"
	}
	return ""
}

// step takes one of the steps that can happen at any time, and says which.
func (m *holdModel) step() string {
	ctx := m.t.Context()
	list := m.releases()
	r := list[m.random.IntN(len(list))]
	person := []string{"ann", "bob", "carol", "dave"}[m.random.IntN(4)]
	by := jobs.Approver{Person: person, Identity: "test:" + person, Via: "api"}
	switch n := m.random.IntN(20); {
	case n < 6:
		commit := r.Event.HeadSHA
		if m.random.IntN(6) == 0 {
			commit = m.commit
		}
		_, err := m.in.ApproveHeld(ctx, r.ID, commit, by, "read it")
		if err == nil {
			m.said = append(m.said, said{person, commit, m.policies[m.policy].RuleDigest("release"), r.RunID})
		}
		return fmt.Sprintf("%s approves %s: %v", person, commit, err)
	case n < 7 && m.random.IntN(3) == 0:
		_, err := m.in.RefuseHeld(ctx, r.ID, r.Event.HeadSHA, by, "no")
		m.refused[r.ID] = m.refused[r.ID] || err == nil
		return fmt.Sprintf("%s refuses: %v", person, err)
	case n < 8 && m.random.IntN(4) == 0:
		m.push()
		return "push of " + m.commit
	case n < 9 && m.random.IntN(3) == 0:
		m.policy = m.random.IntN(len(m.policies))
		return fmt.Sprint("rules ", m.policy)
	case n < 10 && m.random.IntN(2) == 0:
		m.setLead(person, person != "dave" && m.random.IntN(3) > 0)
		return fmt.Sprintf("%s is a lead: %t", person, m.leads[person])
	case n < 11 && m.random.IntN(3) == 0:
		m.advance(time.Duration(m.random.IntN(10)) * time.Hour)
		return "clock " + m.clock.now().UTC().String()
	case n < 12 && m.random.IntN(4) == 0:
		run := r.RunID
		done, err := m.in.Rejudge(ctx, run, rules.Gate{}, "ann")
		if err == nil {
			m.said = slices.DeleteFunc(m.said, func(s said) bool { return s.run == done.Run.ID })
		}
		return fmt.Sprintf("run %s is judged again: %v", run, err)
	case n < 13 && m.random.IntN(6) == 0:
		_, err := m.in.RerunRun(ctx, r.RunID, jobs.Order{Actor: "ann", Reason: "again"})
		if err == nil {
			m.said = slices.DeleteFunc(m.said, func(s said) bool { return s.run == r.RunID })
		}
		return fmt.Sprintf("run %s is repeated: %v", r.RunID, err)
	}
	wait, err := m.queue.Act(ctx, r.ID)
	if err != nil {
		m.t.Fatal(err)
	}
	now := m.releases()
	i := slices.IndexFunc(now, func(other release.Release) bool { return other.ID == r.ID })
	return fmt.Sprintf("the job of the release of %s: it is %s: %s (again in %s)", r.Event.HeadSHA, now[i].State, now[i].Reason, wait)
}
