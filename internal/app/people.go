package app

import (
	"strconv"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/jobs"
)

// People says who is who by a server file.
func People(cfg *config.Config) jobs.People {
	return people(func() *config.Config { return cfg })
}

// people implements [jobs.People] by the server file in force.
type people func() *config.Config

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
