package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"github.com/gatewright/gatewright/internal/strictyaml"
)

// Person is one human with the identities that are theirs, so that two accounts of one human count
// once. Who is no entry of people approves nothing.
type Person struct {
	// Name is how groups, pages and records call the person; unique.
	Name string `yaml:"name"`
	// OIDC is the subject (claim sub) that the provider of logins gives. Default: no login.
	OIDC string `yaml:"oidc,omitempty"`
	// Connections are the numbers that the hosts give the person's accounts, by the names of
	// connections. Default: none.
	Connections map[string]int64 `yaml:"-"`
}

// People are the entries of people.
type People []Person

// personSpec is a Person as it is written.
type personSpec struct {
	Name        string     `yaml:"name"`
	OIDC        string     `yaml:"oidc,omitempty"`
	Connections accountIDs `yaml:"connections,flow,omitempty"`
}

// accountIDs are numbers of accounts by the names of connections.
type accountIDs map[string]int64

// UnmarshalYAMLNode reads a mapping of names of connections to numbers.
func (a *accountIDs) UnmarshalYAMLNode(node strictyaml.Node) (err error) {
	*a, err = strictyaml.Mapping(node, func() int64 { return 0 })
	return err
}

// UnmarshalYAMLNode reads a person.
func (p *Person) UnmarshalYAMLNode(node strictyaml.Node) error {
	var spec personSpec
	err := node.Decode(&spec)
	*p = Person{Name: spec.Name, OIDC: spec.OIDC, Connections: spec.Connections}
	return err
}

// MarshalYAML writes what UnmarshalYAMLNode reads.
func (p Person) MarshalYAML() (any, error) {
	return personSpec{Name: p.Name, OIDC: p.OIDC, Connections: p.Connections}, nil
}

// PersonByOIDC returns the person with a subject of the provider of logins.
func (c *Config) PersonByOIDC(subject string) (Person, bool) {
	return c.person(func(p Person) bool { return subject != "" && p.OIDC == subject })
}

// PersonByAccount returns the person with an account of a connection's host, by its number.
func (c *Config) PersonByAccount(connection, userID string) (Person, bool) {
	id, err := strconv.ParseInt(userID, 10, 64)
	return c.person(func(p Person) bool { return err == nil && id > 0 && p.Connections[connection] == id })
}

// PersonByName returns the person of that name.
func (c *Config) PersonByName(name string) (Person, bool) {
	return c.person(func(p Person) bool { return name != "" && p.Name == name })
}

func (c *Config) person(is func(Person) bool) (Person, bool) {
	i := slices.IndexFunc(c.People, is)
	if i < 0 {
		return Person{}, false
	}
	return c.People[i], true
}

// GroupsOfPerson returns the names of the groups that a person is in, sorted: by name, by the number
// of any of their accounts, or by one of the groups that the provider of logins claims of them.
// None for who is nobody in people.
func (c *Config) GroupsOfPerson(name string, claims []string) []string {
	person, known := c.PersonByName(name)
	if !known {
		return nil
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(c.Groups)) {
		group := c.Groups[name]
		if group.lists(person) || group.Claim != "" && slices.Contains(claims, group.Claim) {
			names = append(names, name)
		}
	}
	return names
}

// lists reports whether the group lists a person, by name or by an account.
func (g Group) lists(person Person) bool {
	if slices.Contains(g.People, person.Name) {
		return true
	}
	for connection, id := range person.Connections {
		if slices.Contains(g.Accounts[connection], id) {
			return true
		}
	}
	return false
}

// PeopleOf returns the names of the people whom a group lists, in the order of people. Those who are
// in it by a claim alone are not known before they log in.
func (c *Config) PeopleOf(group string) []string {
	var names []string
	for _, person := range c.People {
		if c.Groups[group].lists(person) {
			names = append(names, person.Name)
		}
	}
	return names
}

const (
	// longestSubject is what OpenID Connect allows of a subject.
	longestSubject = 255
	longestClaim   = 255
)

// personPattern: letters of any alphabet, because a name is shown to people.
var personPattern = regexp.MustCompile(`^[\p{L}\p{N}][\p{L}\p{N} ._@'-]{0,62}$`)

func (k *checker) people(c *Config) {
	names, subjects, accounts := map[string]bool{}, map[string]string{}, map[string]string{}
	for i, person := range c.People {
		path := fmt.Sprintf("people[%d]", i)
		switch {
		case person.Name == "":
			k.complain(path+".name", "this setting is missing", "write the name by which groups and records call the person")
		case !personPattern.MatchString(person.Name):
			k.complain(path+".name", fmt.Sprintf("%q is not a name for a person", person.Name), "write letters, digits, blanks and . _ @ ' -, at most 63, beginning with a letter or digit")
		case names[person.Name]:
			k.complain(path+".name", fmt.Sprintf("%q is listed twice", person.Name), "write one entry with all identities of the person")
		}
		names[person.Name] = true
		if person.OIDC == "" && len(person.Connections) == 0 {
			k.complain(path, "this person has no identity, and so can do nothing", "write oidc: SUBJECT, or connections: {NAME: NUMBER}")
		}
		if len(person.OIDC) > longestSubject {
			k.complain(path+".oidc", fmt.Sprintf("this is longer than %d bytes", longestSubject), "write the subject (claim sub) that the provider gives the person")
		}
		if other, taken := subjects[person.OIDC]; taken && person.OIDC != "" {
			k.complain(path+".oidc", fmt.Sprintf("this is the identity of %q too", other), "one human is one entry: keep it at the one whose it is")
		}
		subjects[person.OIDC] = person.Name
		for _, connection := range slices.Sorted(maps.Keys(person.Connections)) {
			id := person.Connections[connection]
			at := path + ".connections." + connection
			if !k.knownConnection(at, connection, c) {
				continue
			}
			k.accountNumber(at, id)
			key := fmt.Sprint(connection, " ", id)
			if other, taken := accounts[key]; taken {
				k.complain(at, fmt.Sprintf("account %d is the identity of %q too", id, other), "one human is one entry: keep it at the one whose it is")
			}
			accounts[key] = person.Name
		}
	}
}

func suggestPerson(name string, people People) string {
	var known []string
	for _, person := range people {
		if person.Name != "" && !slices.Contains(known, person.Name) {
			known = append(known, person.Name)
		}
	}
	if len(known) == 0 {
		return "write people: [{name: " + name + ", …}]"
	}
	return strictyaml.Suggest(name, known)
}
