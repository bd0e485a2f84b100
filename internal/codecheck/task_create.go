package codecheck

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
)

// devCloud is the repo_type of CodeArts Repo, which alone is addressed in the
// ssh form and needs no extension point.
const devCloud = "DevCloud"

// createFull makes the full task of a branch: by V3, or by V2 where the service has no V3.
func (c *Checker) createFull(ctx context.Context, run Run, branch string, index *taskIndex) (Task, error) {
	check, repoType := run.Check, c.repoType(run)
	source, err := c.creatable(run, branch)
	if err != nil {
		return Task{}, err
	}
	if !c.createsByV3(check) {
		body := c.bodyV2(run, source, branch, "full")
		if check.AuthID == "" && check.Repository == rules.RepositoryTemporary {
			// Instead of an extension point; the service makes one of its own.
			body.Login = c.options.Login(run.Event.Connection)
		}
		id, err := c.api.createV2(ctx, check.ProjectID, body)
		return Task{ID: id, URL: source, Branch: branch}, err
	}

	body := taskV3{
		RepoURL:     source,
		Branch:      branch,
		Name:        uniqueName(check.TaskName, RepositoryKey(source), branch, index.taken),
		ProjectID:   check.ProjectID,
		ProjectName: check.ProjectName,
		Template: template{RepoType: repoType, Branch: branch, ProjectID: check.ProjectID, ProjectName: check.ProjectName,
			AuthID: check.AuthID},
	}
	if check.AuthID != "" {
		body.Template.AuthType = cmp.Or(check.AuthType, repoType)
	}
	for _, language := range c.languages(check, run.Languages) {
		body.Template.RuleSets = append(body.Template.RuleSets, ruleSet{language})
	}
	id, err := c.api.createV3(ctx, body)
	if notOffered(err) && c.options.CreateV3 != On {
		// This service has no V3, whatever the dialect says.
		id, err := c.api.createV2(ctx, check.ProjectID, c.bodyV2(run, source, branch, "full"))
		return Task{ID: id, URL: source, Branch: branch}, err
	}
	return Task{ID: id, Name: body.Name, URL: source, Branch: branch}, err
}

// createsByV3 reports whether the full task of a check is created by V3; V2 alone takes the
// id of a rule set.
func (c *Checker) createsByV3(check rules.Check) bool {
	return len(check.RuleSets) == 0 && c.options.CreateV3.In(c.options.Dialect)
}

// bodyV2 is what all creations by V2 have in common.
func (c *Checker) bodyV2(run Run, source, branch, taskType string) taskV2 {
	check := run.Check
	body := taskV2{GitURL: source, GitBranch: branch, TaskType: taskType, EndpointID: check.AuthID}
	if len(check.RuleSets) == 0 {
		body.Languages = c.languages(check, run.Languages)
	}
	for _, set := range check.RuleSets {
		body.RuleSets = append(body.RuleSets, ruleSetV2{ID: set.ID, Language: set.Language})
	}
	return body
}

// creatable returns the address with which the full task of a branch is created, or why
// it cannot be.
func (c *Checker) creatable(run Run, branch string) (source string, err error) {
	repository, repoType := run.Event.Repository, c.repoType(run)
	if source, err = sourceURL(repository, repoType); err != nil {
		return "", err
	}
	if run.Check.ProjectName == "" && c.createsByV3(run.Check) {
		return "", permanentError(fmt.Sprintf("the task for branch %q of %s does not exist, and creating it needs the name of the CodeArts project: set check.project.name in the rule or in its defaults", branch, repository.FullName))
	}
	byLogin := !c.createsByV3(run.Check) && run.Check.Repository == rules.RepositoryTemporary && c.options.Login(run.Event.Connection).Token != ""
	if run.Check.AuthID == "" && repoType != devCloud && !byLogin {
		return "", permanentError(fmt.Sprintf("the task for branch %q of %s does not exist, and creating it needs the id of the project's code-source extension point: set check.create.auth_id in the rule or in its defaults", branch, repository.FullName))
	}
	return source, nil
}

// createIncremental makes the incremental task of the run's merge request under its
// full task. git_branch is the parent's branch, as in the documented example of the
// flow (specs/codearts-check.md 1.3), and because the source branch of a fork is not
// in this repository.
func (c *Checker) createIncremental(ctx context.Context, run Run, parent Task) (Task, error) {
	ev, check := run.Event, run.Check
	source, err := sourceURL(ev.Repository, c.repoType(run))
	if err != nil {
		return Task{}, err
	}
	action := "open"
	if ev.Action == event.Updated {
		action = "update"
	}
	body := c.bodyV2(run, source, parent.Branch, "inc")
	if err := withoutFullOnly(&body); err != nil {
		return Task{}, err
	}
	body.Increment = &increment{
		ParentTaskID: parent.ID,
		SourceBranch: ev.SourceBranch,
		TargetBranch: ev.Branch,
		MergeID:      strconv.Itoa(ev.Number),
		EventType:    "merge_request",
		Action:       action,
		Title:        ev.Title,
	}
	id, err := c.api.createV2(ctx, check.ProjectID, body)
	return Task{ID: id, URL: source, Branch: parent.Branch, ParentID: parent.ID}, err
}

// withoutFullOnly leaves out of an incremental task the language that cannot be scanned
// incrementally: C# (specs/codearts-check.md 1.14).
func withoutFullOnly(body *taskV2) error {
	fullOnly := func(language string) bool { return SameLanguage(language, "C#") }
	body.Languages = slices.DeleteFunc(slices.Clone(body.Languages), fullOnly)
	body.RuleSets = slices.DeleteFunc(body.RuleSets, func(set ruleSetV2) bool { return fullOnly(set.Language) })
	if len(body.Languages)+len(body.RuleSets) == 0 {
		return permanentError("C# cannot be scanned incrementally, and the rule names no other language: use scan: full")
	}
	return nil
}

// repoType is the V3 repo_type (specs/codearts-check.md 1.4): the rule's, the
// connection's, or that of any repository with an http address.
func (c *Checker) repoType(run Run) string {
	return cmp.Or(run.Check.RepoType, c.options.RepoType(run.Event.Connection), "GitPub")
}

// sourceURL is the form of the address that a repo_type wants.
func sourceURL(r event.Repository, repoType string) (string, error) {
	if repoType == devCloud {
		if !strings.HasPrefix(r.SSHURL, "git") {
			return "", permanentError(fmt.Sprintf("repo_type DevCloud needs an ssh address that starts with git, and %s has %q", r.FullName, r.SSHURL))
		}
		return r.SSHURL, nil
	}
	if !strings.HasPrefix(r.HTTPSURL, "http") {
		return "", permanentError(fmt.Sprintf("repo_type %s needs an http address, and %s has none", repoType, r.FullName))
	}
	return r.HTTPSURL, nil
}
