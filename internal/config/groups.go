package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/gatewright/gatewright/internal/strictyaml"
)

// Groups are groups of people by their names.
type Groups map[string]Group

// Group says who is in a group: people of the server file, accounts of git hosts, and whoever the
// provider of logins says it of. A person is in it by any of these.
type Group struct {
	// People are names of entries of people.
	People []string
	// Claim is what the groups claim of a login must have; empty: nobody is in it by a claim.
	Claim string
	// Accounts are the numbers that the hosts give accounts, by the names of connections: a login
	// can pass to another account, a number cannot.
	Accounts map[string][]int64
}

// The keys of a group beside the names of connections.
const (
	groupPeople = "people"
	groupClaim  = "claim"
)

// UnmarshalYAMLNode reads a mapping of names to groups.
func (g *Groups) UnmarshalYAMLNode(node strictyaml.Node) (err error) {
	*g, err = strictyaml.Mapping(node, func() Group { return Group{} })
	return err
}

// entry is a value of a group, which is read once its key is known.
type entry struct{ strictyaml.Node }

// UnmarshalYAMLNode keeps the value.
func (e *entry) UnmarshalYAMLNode(node strictyaml.Node) error {
	e.Node = node
	return nil
}

// UnmarshalYAMLNode reads people, claim, and numbers by the names of connections.
func (g *Group) UnmarshalYAMLNode(node strictyaml.Node) error {
	entries, err := strictyaml.Mapping(node, func() entry { return entry{} })
	complaints, _ := errors.AsType[strictyaml.Complaints](err)
	*g = Group{Accounts: map[string][]int64{}}
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		if entries[key] == (entry{}) {
			continue // complained of
		}
		switch key {
		case groupPeople:
			err = entries[key].Decode(&g.People)
		case groupClaim:
			err = entries[key].Decode(&g.Claim)
		default:
			var ids []int64
			err = entries[key].Decode(&ids)
			g.Accounts[key] = ids
		}
		more, _ := errors.AsType[strictyaml.Complaints](err)
		complaints = append(complaints, more...)
	}
	return complaints.Err()
}

// MarshalYAML writes what UnmarshalYAMLNode reads.
func (g Group) MarshalYAML() (any, error) {
	keys := map[string]any{}
	for connection, ids := range g.Accounts {
		keys[connection] = ids
	}
	if g.People != nil {
		keys[groupPeople] = g.People
	}
	if g.Claim != "" {
		keys[groupClaim] = g.Claim
	}
	return keys, nil
}

// has reports whether an account is listed in the group by its number.
func (g Group) has(connection, userID string) bool {
	id, err := strconv.ParseInt(userID, 10, 64)
	return err == nil && slices.Contains(g.Accounts[connection], id)
}

// GroupsOf returns the names of the groups that an account is in, sorted: by its number, or as an
// account of a person who is in them. Claims are not known of an account.
func (c *Config) GroupsOf(connection, userID string) []string {
	if person, known := c.PersonByAccount(connection, userID); known {
		return c.GroupsOfPerson(person.Name, nil)
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(c.Groups)) {
		if c.Groups[name].has(connection, userID) {
			names = append(names, name)
		}
	}
	return names
}

// hostRoles are the words that stand for roles of a host wherever groups are named.
func hostRoles() []string { return []string{"write", "maintain", "admin"} }

func (k *checker) groups(c *Config) {
	for _, name := range slices.Sorted(maps.Keys(c.Groups)) {
		if !namePattern.MatchString(name) || slices.Contains(hostRoles(), name) {
			k.complain(fmt.Sprintf("groups[%q]", name), fmt.Sprintf("%q is not a name for a group", name), "write lower-case letters, digits and -, at most 63; write, maintain and admin are roles of the hosts")
			continue
		}
		path, group := "groups."+name, c.Groups[name]
		if len(group.Accounts) == 0 && len(group.People) == 0 && group.Claim == "" {
			k.warn(path, "nobody is in this group", "write people: [NAME], a claim, or a connection and the numbers of accounts, such as {github: [583231]}, or remove it")
		}
		for i, person := range group.People {
			at := fmt.Sprintf("%s.people[%d]", path, i)
			if _, known := c.PersonByName(person); !known {
				k.complain(at, fmt.Sprintf("%q is nobody in people", person), suggestPerson(person, c.People))
			} else if slices.Contains(group.People[:i], person) {
				k.complain(at, fmt.Sprintf("%q is listed twice", person), "keep one of them")
			}
		}
		if len(group.Claim) > longestClaim {
			k.complain(path+".claim", fmt.Sprintf("this is longer than %d bytes", longestClaim), "write one value of the groups claim")
		}
		for _, connection := range slices.Sorted(maps.Keys(group.Accounts)) {
			k.accountsOf(path+"."+connection, connection, group.Accounts[connection], c)
		}
	}
}

// accountsOf checks the numbers of accounts of one connection.
func (k *checker) accountsOf(path, connection string, ids []int64, c *Config) {
	if !k.knownConnection(path, connection, c) {
		return
	}
	for i, id := range ids {
		at := fmt.Sprintf("%s[%d]", path, i)
		k.accountNumber(at, id)
		if slices.Contains(ids[:i], id) {
			k.complain(at, fmt.Sprintf("%d is listed twice", id), "keep one of them")
		}
	}
}

func (k *checker) knownConnection(path, connection string, c *Config) bool {
	var known []string
	for _, other := range c.Connections {
		known = append(known, other.Name)
	}
	if slices.Contains(known, connection) {
		return true
	}
	k.complain(path, fmt.Sprintf("there is no connection %q", connection), strictyaml.Suggest(connection, known))
	return false
}

func (k *checker) accountNumber(path string, id int64) {
	if id <= 0 {
		k.complain(path, fmt.Sprintf("%d is not the number of an account", id), "write the number that the host gives the account; docs/githosts.md says where to find it")
	}
}
