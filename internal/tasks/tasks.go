// Package tasks compares the CodeArts Check tasks that exist with those that the rules
// need, and removes those that were made for merge requests and are left over.
package tasks

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// Options say what is compared. All but Store are mandatory.
type Options struct {
	Policy *rules.Policy
	// Connections are the names of the configured connections.
	Connections []string
	// Repository is a repository of a connection by its full name.
	Repository func(connection, fullName string) event.Repository
	// Checkers are those of the accounts, by their names.
	Checkers map[string]*codecheck.Checker
	// Store is nil before there is a database.
	Store *store.Store
}

// Inventory reads tasks. It changes nothing but by Prune.
type Inventory struct{ Options }

// Listed is a task that a project's list has, and what it is to us.
type Listed struct {
	// Account is the account of the project; empty: the server file's huaweicloud.
	Account string `json:"account"`
	Project string `json:"project"`
	codecheck.ListedTask
	// Reading says what the task is to us; never empty.
	Reading string `json:"reading"`
}

// List reads the tasks of the CodeArts projects that the rules name, or of one.
func (i Inventory) List(ctx context.Context, project string) ([]Listed, error) {
	needs, err := i.needs(ctx)
	if err != nil {
		return nil, err
	}
	all := []Listed{}
	for _, p := range i.projects(project) {
		listed, err := i.Checkers[p.account].ListTasks(ctx, p.id)
		if err != nil {
			return nil, err
		}
		for _, t := range listed {
			reading, err := i.reading(ctx, p.id, t, needs)
			if err != nil {
				return nil, err
			}
			all = append(all, Listed{p.account, p.id, t, reading})
		}
	}
	return all, nil
}

// reading says what a listed task is to us.
func (i Inventory) reading(ctx context.Context, project string, t codecheck.ListedTask, needs []need) (string, error) {
	var known codecheck.Task
	var ok bool
	var err error
	if i.Store != nil {
		known, ok, err = i.Store.TaskByID(ctx, t.ID)
	}
	switch {
	case err != nil:
		return "", err
	case ok && known.ParentID != "":
		return "we made it for a merge request, under task " + known.ParentID, nil
	case ok:
		return "runs use it for branch " + known.Branch, nil
	}
	ours := false
	for _, n := range needs {
		if n.match.Check.ProjectID != project || !n.sameRepository(t.URL) {
			continue
		}
		ours = true
		if n.branch() == t.Branch {
			return fmt.Sprintf("fits rule %q for branch %s; not used yet", n.match.Rule, t.Branch), nil
		}
	}
	if ours {
		return "a repository of the rules, and no branch that they need", nil
	}
	return "no repository of the rules", nil
}

// State is how a need is met.
type State string

const (
	// Exists: a task is there, and is as the rule wants it.
	Exists State = "exists"
	// Missing: the first run creates it.
	Missing State = "missing"
	// Blocked: it is not there, and cannot be created or found.
	Blocked State = "blocked"
	// WrongBranch: the task that the rule names, by its id or its name, is another branch's.
	WrongBranch State = "wrong_branch"
	// Languages: the task checks other languages than the rule names.
	Languages State = "languages"
	// Ambiguous: several tasks fit, and nothing tells which is meant.
	Ambiguous State = "ambiguous"
)

// Planned is a task that a rule needs.
type Planned struct {
	State      State  `json:"state"`
	Connection string `json:"connection"`
	Repository string `json:"repository"`
	// Branch is that of the full task: of merge requests mostly the target.
	Branch string `json:"branch"`
	Rule   string `json:"rule"`
	// Account is the account of the project; empty: the server file's huaweicloud.
	Account string `json:"account"`
	Project string `json:"project"`
	// TaskID and TaskName are of the task that is there; empty when there is none.
	TaskID   string `json:"task_id"`
	TaskName string `json:"task_name"`
	// Detail says what differs, or what will be done; empty when nothing is to be said.
	Detail string `json:"detail"`
}

// Plan says which tasks the rules need for the branches that they name and for those that
// deliveries were received of, and how each is met.
func (i Inventory) Plan(ctx context.Context) ([]Planned, error) {
	needs, err := i.needs(ctx)
	if err != nil {
		return nil, err
	}
	plan := []Planned{}
	seen := map[string]bool{}
	for _, n := range needs {
		check := n.match.Check
		key := strings.Join([]string{n.event.Connection, strings.ToLower(n.event.Repository.FullName), n.branch(), check.ProjectID, check.TaskID}, " ")
		if seen[key] {
			continue
		}
		seen[key] = true
		p := Planned{Connection: n.event.Connection, Repository: n.event.Repository.FullName, Branch: n.branch(), Rule: n.match.Rule, Account: check.Account, Project: check.ProjectID}
		if err := i.compare(ctx, n, needs, &p); err != nil {
			return nil, err
		}
		plan = append(plan, p)
	}
	return plan, nil
}

// compare fills in how a need is met.
func (i Inventory) compare(ctx context.Context, n need, needs []need, p *Planned) error {
	check := n.match.Check
	l, err := i.Checkers[check.Account].LookupTask(ctx, n.full(), check)
	p.TaskID, p.TaskName = l.Task.ID, l.Task.Name
	// A namesake that another branch needs is that branch's: names need not tell branches
	// apart.
	other := l.Namesake
	needed := slices.ContainsFunc(needs, func(o need) bool { return o.branch() == other.Branch && o.sameRepository(other.URL) })
	switch {
	case err != nil && !codecheck.Permanent(err):
		return err
	case other.ID != "" && (other.ID == check.TaskID || !l.Found && !needed):
		p.State, p.TaskID, p.TaskName = WrongBranch, other.ID, other.Name
		p.Detail = fmt.Sprintf("this task is of branch %s", other.Branch)
	case err != nil:
		p.State, p.Detail = Blocked, err.Error()
	case !l.Found:
		p.State, p.Detail = Missing, "the first run creates it, for "+strings.Join(l.Languages, ", ")
	case l.Remark != "":
		p.State, p.Detail = Ambiguous, l.Remark
	default:
		return i.compareLanguages(ctx, check, p)
	}
	return nil
}

// compareLanguages compares the languages of a task with those that the rule names, if it
// does.
func (i Inventory) compareLanguages(ctx context.Context, check rules.Check, p *Planned) error {
	p.State = Exists
	wanted := slices.Clone(check.Languages)
	for _, set := range check.RuleSets {
		wanted = append(wanted, set.Language)
	}
	if len(wanted) == 0 {
		return nil
	}
	has, err := i.Checkers[check.Account].TaskLanguages(ctx, check.ProjectID, p.TaskID)
	if err != nil || len(has) == 0 {
		return err
	}
	missing := slices.DeleteFunc(wanted, func(w string) bool {
		return slices.ContainsFunc(has, func(h string) bool { return codecheck.SameLanguage(w, h) })
	})
	if len(missing) > 0 {
		p.State, p.Detail = Languages, fmt.Sprintf("the rule names %s, which the task does not check; it checks %s", strings.Join(missing, ", "), strings.Join(has, ", "))
	}
	return nil
}

// Leftover is a task that we made for a merge request that is not open any more.
type Leftover struct {
	Connection string `json:"connection"`
	Repository string `json:"repository"`
	Number     int    `json:"number"`
	TaskID     string `json:"task_id"`
	// Deleted: it was deleted at CodeArts Check; Error says why it was not.
	Deleted bool   `json:"deleted"`
	Error   string `json:"error"`
}

// Prune lists the tasks that were made for merge requests which are not open any more, and
// with remove deletes them at CodeArts Check. One that a run occupies is left out.
func (i Inventory) Prune(ctx context.Context, remove bool) ([]Leftover, error) {
	var tasks []store.RememberedTask
	err := i.Store.View(ctx, func(tx *store.Tx) (err error) {
		if tasks, err = tx.LeftoverTasks(ctx); err != nil {
			return err
		}
		tasks = slices.DeleteFunc(tasks, func(t store.RememberedTask) bool {
			_, occupied, occupantErr := tx.Occupant(ctx, t.Task.ID, "")
			err = cmp.Or(err, occupantErr)
			return occupied
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	all := []Leftover{}
	for _, t := range tasks {
		left := Leftover{Repository: t.Repository, TaskID: t.Task.ID}
		left.Connection, _, _ = strings.Cut(t.RepositoryKey, " ")
		left.Number, _ = strconv.Atoi(t.RefKey[strings.LastIndex(t.RefKey, " ")+1:])
		if remove {
			if err := i.remove(ctx, t); err != nil {
				left.Error = err.Error()
			} else {
				left.Deleted = true
			}
		}
		all = append(all, left)
	}
	return all, nil
}

func (i Inventory) remove(ctx context.Context, t store.RememberedTask) error {
	checker, found := i.Checkers[t.Task.Account]
	if !found {
		return fmt.Errorf("the server file has no account %q any more", t.Task.Account)
	}
	if err := checker.Delete(ctx, t.Task); err != nil {
		return err
	}
	return i.Store.Update(ctx, func(tx *store.Tx) error { return tx.ForgetTask(ctx, t) })
}

// project is a CodeArts project and its account.
type project struct{ account, id string }

// projects are the CodeArts projects that the rules name, or the one with this id, which is
// one of the first account where no rule names it.
func (i Inventory) projects(only string) []project {
	var projects []project
	for _, t := range i.Policy.Targets() {
		p := project{t.Account, t.Project}
		if t.Project != "" && (only == "" || only == t.Project) && !slices.Contains(projects, p) {
			projects = append(projects, p)
		}
	}
	if only != "" && len(projects) == 0 {
		return []project{{id: only}}
	}
	return projects
}
