package config

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/strictyaml"
)

// Commands says which commands in comments on merge requests are carried out, on every connection with an
// API token or an App. Each command has the list of those who may give it: write, which is whoever
// the host lets write to the repository, and names of groups; an empty one switches it off.
type Commands struct {
	// Enabled is on or off. A connection may say otherwise. Default: on.
	Enabled string `yaml:"enabled"`
	// Prefix is what a command begins with: one of / ! : . ? and letters, digits and "-", at most 30.
	// Behind a letter or digit a blank follows. Default: /.
	Prefix string `yaml:"prefix"`
	// Recheck, Why, Help and OK are, by default, for whoever may write.
	Recheck []string `yaml:"recheck,flow"`
	Why     []string `yaml:"why,flow"`
	Help    []string `yaml:"help,flow"`
	OK      []string `yaml:"ok,flow"`
	// Approve and Refuse decide about releases. Default: nobody.
	Approve []string `yaml:"approve,flow"`
	Refuse  []string `yaml:"refuse,flow"`
}

// May are those who may give a command, by its name.
func (c Commands) May() map[string][]string {
	return map[string][]string{"recheck": c.Recheck, "why": c.Why, "help": c.Help, "ok": c.OK, "approve": c.Approve, "refuse": c.Refuse}
}

// Before is what stands before the name of a command: the prefix, and a blank behind a letter or digit.
func (c Commands) Before() string {
	if strings.Trim(c.Prefix[max(len(c.Prefix)-1, 0):], "/!:.?-") != "" {
		return c.Prefix + " "
	}
	return c.Prefix
}

// mayWrite stands for the accounts that the host lets write.
const mayWrite = "write"

func defaultCommands() Commands {
	write := func() []string { return []string{mayWrite} }
	return Commands{Enabled: "on", Prefix: "/", Recheck: write(), Why: write(), Help: write(), OK: write(), Approve: []string{}, Refuse: []string{}}
}

var prefixPattern = regexp.MustCompile(`^[/!:.?][A-Za-z0-9-]{0,29}$`)

// HearsCommands reports whether commands in comments are carried out on this connection.
func (c *Config) HearsCommands(connection Connection) bool {
	enabled := c.Commands.Enabled
	if connection.Commands != "" {
		enabled = connection.Commands
	}
	return enabled == "on" && connection.CallsHost()
}

func (k *checker) commands(c *Config) {
	k.oneOf("commands.enabled", c.Commands.Enabled, "on", "off")
	if !prefixPattern.MatchString(c.Commands.Prefix) {
		k.complain("commands.prefix", fmt.Sprintf("%q cannot begin a command", c.Commands.Prefix), "write one of / ! : . ? and then letters, digits and -, at most 30 in all, such as / or /gate")
	}
	heard := false
	for i := range c.Connections {
		connection := &c.Connections[i]
		path := fmt.Sprintf("connections[%d].commands", i)
		if connection.Commands != "" && k.oneOf(path, connection.Commands, "on", "off") && connection.Commands == "on" && !connection.CallsHost() {
			k.complain(path, "without a token no comment can be read back, and so no command is carried out", "write token: {env: NAME}, or leave this out")
		}
		heard = heard || c.HearsCommands(*connection)
	}
	if !heard && !reflect.DeepEqual(c.Commands, defaultCommands()) && c.Commands.Enabled == "on" {
		k.warn("commands", "no connection carries out commands, because none has a token", "write token: {env: NAME} at a connection, or leave this out")
	}
	for name, who := range c.Commands.May() {
		for i, word := range who {
			k.mayGive(fmt.Sprintf("commands.%s[%d]", name, i), word, c)
		}
	}
}

// mayGive checks one of those who may give a command.
func (k *checker) mayGive(path, word string, c *Config) {
	_, known := c.Groups[word]
	switch {
	case word == mayWrite:
	case slices.Contains(hostRoles(), word):
		k.complain(path, fmt.Sprintf("%q is a role that is not told apart here", word), "write the word write, which is for whoever may write, or the name of a group")
	case !known:
		k.complain(path, fmt.Sprintf("there is no group %q", word), strictyaml.Suggest(word, append(slices.Sorted(maps.Keys(c.Groups)), mayWrite)))
	case !slices.ContainsFunc(c.Connections, func(connection Connection) bool {
		return c.HearsCommands(connection) && c.hasAccounts(word, connection.Name)
	}):
		k.warn(path, fmt.Sprintf("group %q has nobody on a connection that carries out commands", word), "write the number of an account there, or remove it")
	}
}

// hasAccounts reports whether a group has an account of a connection, or whoever a claim puts in it.
func (c *Config) hasAccounts(group, connection string) bool {
	g := c.Groups[group]
	return g.Claim != "" || len(g.Accounts[connection]) > 0 || slices.ContainsFunc(c.People, func(p Person) bool {
		return g.lists(p) && p.Connections[connection] > 0
	})
}
