package rules

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/gatewright/gatewright/internal/strictyaml"
)

// Server is what the rules have to know of the server file.
type Server struct {
	Connections []Connection
	// Accounts are the accounts of Huawei Cloud by their names; the empty name is that of
	// rules which name none.
	Accounts map[string]Account
	// Groups are the groups of people by their names.
	Groups map[string]Group
}

// Group is what the rules have to know of a group of people.
type Group struct {
	// People are the names of those who are in it for certain.
	People []string
	// Claim: the provider of logins may put others in it.
	Claim bool
}

// Account is what the rules have to know of an account.
type Account struct {
	// CreateV3: new tasks are created by V3.
	CreateV3 bool
	// TemporaryRepository: a run may name the repository that it scans.
	TemporaryRepository bool
	// Pipelines are its pipelines that have names.
	Pipelines map[string]string
}

// Connection is a configured connection.
type Connection struct {
	Name string
	// RepoType is what CodeArts Check calls the connection's host, when the rule
	// does not say it.
	RepoType string
	// Token: its host can be asked.
	Token bool
}

// CheckFor complains of each rule that cannot do what it says with this server file.
func (p *Policy) CheckFor(server Server) strictyaml.Complaints {
	var complaints strictyaml.Complaints
	told := map[strictyaml.Complaint]bool{} // one value in the defaults is used by many rules
	complain := func(place strictyaml.Complaint, problem string) {
		if place.Problem = problem; !told[place] {
			told[place] = true
			complaints = append(complaints, place)
		}
	}
	for _, r := range p.rules {
		at := func(key, instead string) strictyaml.Complaint {
			return strictyaml.Complaint{File: r.file, Line: r.line, Path: "rule " + quote(r.name) + "." + key, Instead: instead}
		}
		account, known := server.Accounts[r.check.Account]
		if !known && !r.ignores {
			complain(at("check.account", server.suggestAccount(r.check.Account)), "the server file has no account "+quote(r.check.Account))
			continue
		}
		for i, release := range r.releases {
			key := fmt.Sprintf("release[%d].account", i)
			of, known := server.Accounts[release.Account]
			switch owner := server.owner(release.PipelineName); {
			case !known:
				complain(at(key, server.suggestAccount(release.Account)), "the server file has no account "+quote(release.Account))
			case owner != nil && of.Pipelines[release.PipelineName] == "":
				complain(at(key, "write account: "+cmp.Or(*owner, MainAccount)), "the server file has pipeline "+quote(release.PipelineName)+" in another account")
			}
			if problem, instead := release.Hold.unmet(server); problem != "" {
				complain(at(fmt.Sprintf("release[%d].hold.approvals", i), instead), problem)
			}
		}
		matched := r.matched(server.Connections)
		if len(matched) == 0 {
			var names []string
			for _, c := range server.Connections {
				names = append(names, c.Name)
			}
			complain(at("match.connection", "write one of "+quoteAll(names)), "no configured connection matches, so the rule never can")
		}
		if r.check.TaskID != "" && r.check.Repository != RepositoryTemporary && len(matched) > 1 {
			complain(at("check.task_id", "write match.connection with the one that is meant"),
				"a task scans one repository, and several connections may have one of this name")
		}
		if r.check.Repository == RepositoryTemporary && !account.TemporaryRepository {
			complain(at("check.repository", `leave it out, or write huaweicloud.dialect: "2023" if that is what the service speaks`),
				"the service knows no temporary repository: the 2023 edition alone has it")
		}
		if r.unnamedProject != nil && account.CreateV3 && len(r.check.RuleSets) == 0 && slices.ContainsFunc(matched, r.creates) {
			complain(*r.unnamedProject, "the project has no name, which the creation of a task needs")
		}
	}
	for i, place := range p.breakGlassAt {
		if problem, instead := server.groupFault(p.breakGlass.Groups[i]); problem != "" {
			place.Instead = instead
			complain(place, problem)
		}
	}
	return complaints.Sorted()
}

func (s Server) suggestAccount(name string) string {
	if len(s.Accounts) < 2 {
		return "leave it out, or add the account to accounts of the server file"
	}
	names := slices.Sorted(maps.Keys(s.Accounts))
	names[0] = MainAccount // the empty one
	return strictyaml.Suggest(name, names)
}

// owner is the account that names a pipeline; nil where none does.
func (s Server) owner(pipeline string) *string {
	for _, name := range slices.Sorted(maps.Keys(s.Accounts)) {
		if _, found := s.Accounts[name].Pipelines[pipeline]; found {
			return &name
		}
	}
	return nil
}

// creates reports whether the rule can create tasks for a connection.
func (r *rule) creates(c Connection) bool {
	return r.check.TaskID == "" && (r.check.AuthID != "" || cmp.Or(r.check.RepoType, c.RepoType) == codeArtsRepo)
}

// matched are the connections that the rule may match.
func (r *rule) matched(connections []Connection) []Connection {
	g := r.connections()
	if g == nil {
		return connections
	}
	return slices.DeleteFunc(slices.Clone(connections), func(c Connection) bool { return !g.holds(c.Name) })
}

// WarningsFor returns the warnings that need the server file: patterns for connections
// that match none, rules that say how tasks are created and lack an auth_id, and rules that
// compare changed files of a connection without a token, or want trust there.
func (p *Policy) WarningsFor(server Server) strictyaml.Complaints {
	var warnings strictyaml.Complaints
	told := map[strictyaml.Complaint]bool{}
	for _, r := range p.rules {
		if g := r.connections(); g != nil {
			warnings = append(warnings, r.unknownConnections(g, server.Connections)...)
		}
		warnings = append(warnings, r.hostNotAsked(server.Connections)...)
		warnings = append(warnings, r.scarceApprovers(server)...)
		for _, c := range r.matched(server.Connections) {
			if r.createWithoutID == nil || r.creates(c) || told[*r.createWithoutID] {
				continue
			}
			told[*r.createWithoutID] = true
			warning := *r.createWithoutID
			warning.Problem = fmt.Sprintf("a task cannot be created for connection %q: repo_type %s needs an auth_id", c.Name, cmp.Or(r.check.RepoType, c.RepoType))
			warnings = append(warnings, warning)
		}
	}
	return warnings.Sorted()
}

// hostNotAsked warns of what a rule compares and only the host tells, where the host of a connection
// that the rule matches cannot be asked.
func (r *rule) hostNotAsked(connections []Connection) (warnings strictyaml.Complaints) {
	var without []string
	for _, c := range r.matched(connections) {
		if !c.Token {
			without = append(without, c.Name)
		}
	}
	if len(without) == 0 {
		return nil
	}
	warn := func(key, problem, instead string) {
		warnings = append(warnings, strictyaml.Complaint{
			File: r.file, Line: r.line, Path: "rule " + quote(r.name) + ".match." + key,
			Problem: "the host of " + quoteAll(without) + " cannot be asked " + problem, Instead: instead,
		})
	}
	if r.spec.Match.Paths != nil {
		warn("paths", "for changed files, so that the rule matches there whenever a payload does not list all of them, as for each merge request",
			"give the connection a token that may read its repositories")
	}
	if r.wantsTrust() {
		warn("fork", "where a merge request comes from and who may write, so that each one waits there until somebody vouches for it by gatewright ok",
			"give the connection a token that may read its repositories and who may write to them (docs/githosts.md)")
	}
	return warnings
}

// connections returns the patterns for connections; nil when there are none.
func (r *rule) connections() *globs {
	for _, c := range r.clauses {
		if g, ok := c.(*globClause); ok && g.name == "connection" {
			return &g.globs
		}
	}
	return nil
}

// unknownConnections warns of each pattern that matches no connection, when another
// one does; else CheckConnections complains.
func (r *rule) unknownConnections(g *globs, connections []Connection) strictyaml.Complaints {
	var warnings strictyaml.Complaints
	for _, pattern := range slices.Concat(g.include, g.exclude) {
		if slices.ContainsFunc(connections, func(c Connection) bool { return pattern.matches(c.Name) }) {
			continue
		}
		warnings = append(warnings, strictyaml.Complaint{
			File: r.file, Line: r.line, Path: "rule " + quote(r.name) + ".match.connection",
			Problem: quote(pattern.text) + " matches no configured connection", Instead: "remove it, or write the name of a connection",
		})
	}
	return warnings
}
