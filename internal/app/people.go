package app

import (
	"maps"
	"slices"
	"strconv"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/jobs"
)

// People says who is who by a server file.
func People(cfg *config.Config) jobs.People {
	return people(func() *config.Config { return cfg })
}

// people implements [jobs.People] and [access.People] by the server file in force.
type people func() *config.Config

func (p people) Subject(person string) string {
	found, _ := p().PersonByName(person)
	return found.OIDC
}

func (p people) Groups(person string, claims []string) []string {
	return p().GroupsOfPerson(person, claims)
}

func (p people) Account(person, connection string) (id string, known bool) {
	found, _ := p().PersonByName(person)
	number, known := found.Connections[connection]
	return strconv.FormatInt(number, 10), known
}

func (p people) ByAccount(connection, id string) (person string, known bool) {
	found, known := p().PersonByAccount(connection, id)
	return found.Name, known
}

// PersonOf implements [access.People].
func (p people) PersonOf(subject string) string {
	person, _ := p().PersonByOIDC(subject)
	return person.Name
}

// GroupsOf implements [access.People]. A claim is in a group that names it, also of somebody who is
// nobody in people: such a one may have a role and approves nothing.
func (p people) GroupsOf(person string, claims []string) []string {
	cfg := p()
	names := cfg.GroupsOfPerson(person, claims)
	for _, name := range slices.Sorted(maps.Keys(cfg.Groups)) {
		if claim := cfg.Groups[name].Claim; claim != "" && slices.Contains(claims, claim) {
			names = append(names, name)
		}
	}
	for _, claim := range claims {
		if _, isGroup := cfg.Groups[claim]; !isGroup {
			names = append(names, claim)
		}
	}
	return names
}
