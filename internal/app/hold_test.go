package app_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

// heldRules hold each release of main. HOLD is what for.
const heldRules = `
version: 1
defaults:
  check: {project: {id: "${PROJECT}", name: demo}, languages: [GO], create: {auth_id: 6f1d0c52-8a0e-4a57-9a4d-2f7d3c9be001}, timeout: 2m}
windows:
  hours: {time_zone: UTC, weekdays: none, also: [2999-01-01]}
rules:
  - name: release-main
    on: [push]
    match: {connection: github, repository: acme/shop, branch: main}
    check: {}
    release: [{pipeline: shop, action: start, timeout: 2m, hold: {HOLD}}]
`

// heldBy are the options of a demo that holds releases; each person of it has an account on GitHub but carol.
func heldBy(hold string) demo.Options {
	return demo.Options{Rules: strings.Replace(heldRules, "HOLD", hold, 1), Server: func(text string) string {
		return text + `people:
  - {name: mona, connections: {github: 11}}
  - {name: ada, connections: {github: 12}}
  - {name: ravi, connections: {github: 13}}
  - {name: carol, oidc: subject-carol}
groups: {leads: {people: [mona, ada, ravi, carol]}}
`
	}}
}

// held pushes the commit of a merged merge request to main, and waits until its release is held.
func held(t *testing.T, d apptest.Service) demo.Records {
	t.Helper()
	d.Standin.SetMergeRequest("github", demo.MergeRequest, standin.HostMergeRequest{Author: demo.Mona().ID, MergedSHA: d.World.Clean})
	sent, err := d.Send(t.Context(), demo.Delivery{Host: event.GitHub, Kind: "push", ID: "held", Change: demo.Change{
		Branch: "main", Before: d.World.Parent, SHA: d.World.Clean,
	}})
	if err != nil || sent.Status != 202 {
		t.Fatalf("sent %+v, error %v", sent, err)
	}
	return d.Until(t, "the release is held", func(r demo.Records) bool { return len(r.Releases) == 1 && r.Releases[0].State == release.Held })
}

// TestApproveHeldByComment: two people approve the release of a merged commit by comments on its merge request. The
// author, who is excluded, an account that is nobody's and an older commit approve nothing, nor does a second comment
// of one person.
func TestApproveHeldByComment(t *testing.T) {
	apptest.Each(t, heldBy("approvals: {count: 2, groups: [leads], exclude_author: true}"), func(t *testing.T, d apptest.Service) {
		r := held(t, d)
		if h := r.Releases[0].Hold; h == nil || h.Missing != 2 || !slices.Equal(h.MergeRequests, []int{demo.MergeRequest}) {
			t.Fatalf("hold %+v", h)
		}
		ada, approve := demo.Person{ID: 12, Login: "ada"}, "/approve "+d.World.Clean
		for _, step := range []struct {
			name, text, want string
			who              demo.Person
			outcome          store.CommandOutcome
			missing          int
		}{
			{"the author", approve, "mona is the author of the merge request", demo.Mona(), store.CommandRefused, 2},
			{"nobody's account", approve, "", demo.Person{ID: demo.Stranger, Login: "tova"}, store.CommandDenied, 2},
			{"an older commit", "/approve " + d.World.Parent, d.World.Clean, ada, store.CommandRefused, 2},
			{"one person", approve, "", ada, store.CommandDone, 1},
			{"the same person", approve, "ada has approved it already", ada, store.CommandRefused, 1},
			{"another person", approve, "", demo.Ravi(), store.CommandDone, 0},
		} {
			comment := say(t, d, event.GitHub, demo.MergeRequest, step.who, d.World.Clean, step.text, nil)
			c := commandOf(t, d, event.GitHub, comment)
			_, replies := answers(d, event.GitHub, comment)
			if c.Outcome != step.outcome || !strings.Contains(strings.Join(replies, "\n")+c.Reason, step.want) {
				t.Errorf("%s: %+v, replies %q, want %q", step.name, c, replies, step.want)
			}
			r, err := d.Records(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Releases[0]; got.Hold.Missing != step.missing || step.missing > 0 && (got.State != release.Held || got.ExecutionID != "") {
				t.Errorf("%s: release %s lacks %d approvals, want %d", step.name, got.State, got.Hold.Missing, step.missing)
			}
		}
		r = d.Until(t, "the release has acted", func(r demo.Records) bool { return r.Releases[0].ExecutionID != "" })
		var said []string
		for _, a := range r.Releases[0].Approvals {
			said = append(said, a.Person+" by "+a.Via+" as "+a.Identity)
		}
		if want := []string{"ada by comment as github:12", "ravi by comment as github:13"}; !slices.Equal(said, want) {
			t.Errorf("approvals %q, want %q", said, want)
		}
	})
}

// TestReloadReviewsHeld: a release that waits for a window acts as soon as the rules that are loaded open it, long before
// records are reconciled.
func TestReloadReviewsHeld(t *testing.T) {
	s := reloadingOf(apptest.OnSQLiteWith(t, heldBy("window: hours")))
	held(t, s.Service)
	changed := time.Now()
	s.edit(t, "rules.yaml", "weekdays: none, also: [2999-01-01]", "weekdays: mon-sun")
	r := s.Until(t, "the release has acted", func(r demo.Records) bool { return r.Releases[0].ExecutionID != "" })
	if took := r.Releases[0].StartedAt.Sub(changed); took > 20*time.Second {
		t.Errorf("it acted %s after the window was opened", took)
	}
}

// TestDecideHeldByAPI: what a person says of a held release by the API is answered as the action that it is. The
// commit has to be the whole one of the release.
func TestDecideHeldByAPI(t *testing.T) {
	opts := heldBy("approvals: {count: 2, groups: [leads]}")
	people := opts.Server
	opts.Server = func(text string) string {
		return strings.Replace(people(text), "auth: ${AUTH}", "auth: {none: {person: ada}}", 1)
	}
	apptest.Each(t, opts, func(t *testing.T, d apptest.Service) {
		r := held(t, d).Releases[0]
		c := newAPIClient(t, d, "")
		order := func(want int, route, commit string) string {
			return string(c.ask(t, want, http.MethodPost, route, "", `{"reason": "read <b>it</b>", "commit": "`+commit+`"}`, map[string]string{"If-Match": "*"}, r.ID))
		}
		approve, refuse := "/releases/{id}/approve", "/releases/{id}/refuse"
		order(422, approve, "")
		order(409, approve, d.World.Clean[:12])
		order(409, approve, d.World.Parent)
		for _, step := range []struct{ route, name, state string }{{approve, "approve", "held"}, {refuse, "refuse", "refused"}} {
			var done view.Done
			if err := json.Unmarshal([]byte(order(200, step.route, d.World.Clean)), &done); err != nil {
				t.Fatal(err)
			}
			if a := done.Action; a == nil || string(a.Name) != step.name || a.Actor != "ada" || a.RecordID != r.ID || a.Reason != "read <b>it</b>" || a.At.IsZero() {
				t.Errorf("%s: action %+v", step.name, a)
			}
			if len(done.Releases) != 1 || string(done.Releases[0].State) != step.state {
				t.Errorf("%s: releases %+v", step.name, done.Releases)
			}
			order(409, step.route, d.World.Clean)
		}
	})
}
