package dashboard

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/view"
)

// TestHeldOffers: a page offers of a held release what the groups of whoever looks at it allow, and no more.
func TestHeldOffers(t *testing.T) {
	load := func(breakGlass string) *rules.Policy {
		policy, complaints := rules.Load(rules.Source{Name: "rules.yaml", Data: []byte("version: 1\n" + breakGlass + "rules: [{name: all, on: [push], ignore: true}]\n" +
			`freezes: [{name: f, from: "2020-01-01T00:00:00Z", to: "2120-01-01T00:00:00Z", reason: r}]` + "\n")})
		if complaints != nil {
			t.Fatal(complaints)
		}
		return policy
	}
	none, owners := load(""), load("break_glass: {groups: [owners]}\n")
	asked := view.Hold{Wanted: 2, Missing: 2, Groups: []string{"leads"}, Approved: []string{}}
	frozen := asked
	frozen.Freeze = "f is in force"
	half := asked
	half.Missing, half.Approved = 1, []string{"lea"}
	own := asked
	own.Excluded = []string{"lea"}
	for name, c := range map[string]struct {
		policy *rules.Policy
		person string
		state  release.State
		hold   view.Hold
		want   string
	}{
		"a lead":                            {none, "lea", release.Held, asked, "approve_held refuse_held"},
		"a lead, once they have approved":   {none, "lea", release.Held, half, "refuse_held"},
		"a lead whose commit it is":         {none, "lea", release.Held, own, "refuse_held"},
		"another lead":                      {none, "leo", release.Held, half, "approve_held refuse_held"},
		"somebody of another group":         {none, "olga", release.Held, asked, ""},
		"an owner, who may break the glass": {owners, "olga", release.Held, frozen, "refuse_held break_glass"},
		"an owner without a freeze":         {owners, "olga", release.Held, asked, "refuse_held"},
		"a lead during a freeze":            {owners, "lea", release.Held, frozen, "approve_held refuse_held"},
		"nobody is asked":                   {none, "olga", release.Held, view.Hold{Window: "w is closed"}, "refuse_held"},
		"a lead, before it acts":            {none, "lea", release.Starting, half, "refuse_held"},
		"nobody's entry":                    {owners, "", release.Held, frozen, ""},
	} {
		t.Run(name, func(t *testing.T) {
			groups := func(person string, _ []string) []string {
				return map[string][]string{"lea": {"leads"}, "leo": {"leads"}, "olga": {"owners"}}[person]
			}
			p := &page{d: &Dashboard{opts: Options{Policy: func() *rules.Policy { return c.policy }, Groups: groups, Orders: noOrders{}}}, user: access.User{Person: c.person, Roles: []access.Role{access.Viewer}}}
			r := view.ReleaseDetail{}
			r.ID, r.State, r.Hold = "id", c.state, &c.hold
			var got []string
			for _, o := range p.releaseOffers(r, changeAbout{}) {
				got = append(got, string(o.action))
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("offers %q, want %q", got, c.want)
			}
		})
	}
}

type noOrders struct{ access.Orders }

// TestHeldCheckpointIsNotOffered holds that a checkpoint which a rule holds is not offered beside the release that is held.
func TestHeldCheckpointIsNotOffered(t *testing.T) {
	p := &page{d: &Dashboard{opts: Options{Policy: func() *rules.Policy { return &rules.Policy{} }, Orders: noOrders{}}}}
	p.user.Roles = access.Roles()
	for name, c := range map[string]struct {
		held []string
		want string
	}{
		"none is held":   {nil, "approve [a b] refuse [a b] pipeline_stop []"},
		"one is held":    {[]string{"a"}, "approve [b] refuse [b] pipeline_stop []"},
		"both are held":  {[]string{"a", "b"}, "pipeline_stop []"},
		"another's held": {[]string{"c"}, "approve [a b] refuse [a b] pipeline_stop []"},
	} {
		r := view.ReleaseDetail{}
		r.ID, r.State, r.Waiting = "id", release.AwaitingApproval, []string{"a", "b"}
		var got []string
		for _, o := range p.releaseOffers(r, changeAbout{held: map[string][]string{"id": c.held}}) {
			got = append(got, fmt.Sprint(o.action, " ", o.tasks))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
