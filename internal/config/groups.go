package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/gatewright/gatewright/internal/strictyaml"
)

// Groups are groups of people by their names. The accounts of a group are the numbers that their host
// gives them, by the names of connections: a login can pass to another account, a number cannot.
type Groups map[string]Group

// Group are the numbers of accounts by the names of connections.
type Group map[string][]int64

// UnmarshalYAMLNode reads a mapping of names to groups.
func (g *Groups) UnmarshalYAMLNode(node strictyaml.Node) (err error) {
	*g, err = strictyaml.Mapping(node, func() Group { return Group{} })
	return err
}

// UnmarshalYAMLNode reads a mapping of names of connections to numbers.
func (g *Group) UnmarshalYAMLNode(node strictyaml.Node) (err error) {
	*g, err = strictyaml.Mapping(node, func() []int64 { return nil })
	return err
}

// In reports whether the account with that number on the connection's host is in the group.
func (g Groups) In(group, connection, userID string) bool {
	id, err := strconv.ParseInt(userID, 10, 64)
	return err == nil && slices.Contains(g[group][connection], id)
}

// Of returns the names of the groups that the account is in, sorted.
func (g Groups) Of(connection, userID string) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(g)) {
		if g.In(name, connection, userID) {
			names = append(names, name)
		}
	}
	return names
}

// hostRoles are the words that stand for roles of a host wherever groups are named.
func hostRoles() []string { return []string{"write", "maintain", "admin"} }

func (k *checker) groups(groups Groups, connections []Connection) {
	var known []string
	for _, c := range connections {
		known = append(known, c.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		if !namePattern.MatchString(name) || slices.Contains(hostRoles(), name) {
			k.complain(fmt.Sprintf("groups[%q]", name), fmt.Sprintf("%q is not a name for a group", name), "write lower-case letters, digits and -, at most 63; write, maintain and admin are roles of the hosts")
			continue
		}
		path := "groups." + name
		if len(groups[name]) == 0 {
			k.warn(path, "nobody is in this group", "write a connection and the numbers of accounts, such as {github: [583231]}, or remove it")
		}
		for _, connection := range slices.Sorted(maps.Keys(groups[name])) {
			k.group(path+"."+connection, connection, groups[name][connection], known)
		}
	}
}

// group checks the accounts of one connection.
func (k *checker) group(path, connection string, ids []int64, known []string) {
	if !slices.Contains(known, connection) {
		k.complain(path, fmt.Sprintf("there is no connection %q", connection), strictyaml.Suggest(connection, known))
		return
	}
	for i, id := range ids {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case id <= 0:
			k.complain(at, fmt.Sprintf("%d is not the number of an account", id), "write the number that the host gives the account; docs/githosts.md says where to find it")
		case slices.Contains(ids[:i], id):
			k.complain(at, fmt.Sprintf("%d is listed twice", id), "keep one of them")
		}
	}
}
