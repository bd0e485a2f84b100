package config_test

import (
	"slices"
	"testing"

	"github.com/gatewright/gatewright/internal/config"
)

// TestGroups: who is in a group, by the number of an account, by name, by another account of the same
// person, and by what the provider of logins claims.
func TestGroups(t *testing.T) {
	cfg := &config.Config{
		People: config.People{
			{Name: "mei", OIDC: "248289761001", Connections: map[string]int64{"github": 11, "gitlab": 21}},
			{Name: "ana", Connections: map[string]int64{"github": 12}},
			{Name: "tom", OIDC: "tom"},
		},
		Groups: config.Groups{
			"leads": {Accounts: map[string][]int64{"github": {11, 15}}}, "owners": {People: []string{"ana"}, Claim: "gatewright-owners"}, "none": {},
		},
	}
	for _, test := range []struct {
		connection, id string
		groups         []string
	}{
		{"github", "11", []string{"leads"}}, {"gitlab", "21", []string{"leads"}}, {"github", "12", []string{"owners"}},
		{"github", "15", []string{"leads"}}, // an account that is nobody's
		{"gitlab", "11", nil}, {"gitee", "11", nil}, {"github", "", nil}, {"github", "mona", nil}, {"github", "0x0b", nil}, {"github", "0", nil},
	} {
		if got := cfg.GroupsOf(test.connection, test.id); !slices.Equal(got, test.groups) {
			t.Errorf("account %q of %s is in %q, want %q", test.id, test.connection, got, test.groups)
		}
	}
	for _, test := range []struct {
		person string
		claims []string
		groups []string
	}{
		{"mei", nil, []string{"leads"}}, {"mei", []string{"gatewright-owners", "others"}, []string{"leads", "owners"}}, {"ana", nil, []string{"owners"}},
		{"tom", nil, nil}, {"tom", []string{"gatewright-owners"}, []string{"owners"}}, {"tom", []string{""}, nil},
		{"nobody", []string{"gatewright-owners"}, nil}, {"", []string{"gatewright-owners"}, nil},
	} {
		if got := cfg.GroupsOfPerson(test.person, test.claims); !slices.Equal(got, test.groups) {
			t.Errorf("%q with claims %q is in %q, want %q", test.person, test.claims, got, test.groups)
		}
	}
	if got := cfg.PeopleOf("owners"); !slices.Equal(got, []string{"ana"}) {
		t.Errorf("owners are %q", got)
	}
}

// TestPeople: who an identity is.
func TestPeople(t *testing.T) {
	cfg := &config.Config{People: config.People{{Name: "mei", OIDC: "248289761001", Connections: map[string]int64{"github": 11}}, {Name: "ana"}}}
	find := func(person config.Person, known bool) string {
		if !known {
			return ""
		}
		return person.Name
	}
	for _, test := range []struct{ what, got, want string }{
		{"subject", find(cfg.PersonByOIDC("248289761001")), "mei"}, {"no subject", find(cfg.PersonByOIDC("")), ""}, {"another subject", find(cfg.PersonByOIDC("mei")), ""},
		{"account", find(cfg.PersonByAccount("github", "11")), "mei"}, {"another host", find(cfg.PersonByAccount("gitlab", "11")), ""},
		{"no number", find(cfg.PersonByAccount("github", "")), ""}, {"a login", find(cfg.PersonByAccount("github", "mei")), ""}, {"zero", find(cfg.PersonByAccount("gitlab", "0")), ""},
		{"name", find(cfg.PersonByName("ana")), "ana"}, {"no name", find(cfg.PersonByName("")), ""}, {"another case", find(cfg.PersonByName("Ana")), ""},
	} {
		if test.got != test.want {
			t.Errorf("%s: %q, want %q", test.what, test.got, test.want)
		}
	}
}
