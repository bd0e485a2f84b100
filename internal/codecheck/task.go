package codecheck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/rules"
)

// TaskKey names the task that an event's check needs: project, repository and
// branch, and for an incremental scan also the merge request and its source
// branch. Two runs with the same key compete for one task, which runs one
// execution at a time.
func TaskKey(ev event.Event, c rules.Check) string {
	key := fullKey(ev, c.ProjectID, scanned(ev, c))
	if c.Scan == rules.ScanIncremental {
		key += " " + ev.SourceBranch + " #" + strconv.Itoa(ev.Number)
	}
	return key
}

// fullKey names the full task of a branch. Branch names have no spaces.
func fullKey(ev event.Event, project, branch string) string {
	return strings.Join([]string{project, RepositoryKey(address(ev.Repository)), branch}, " ")
}

// address is the repository's http form, or what there is instead.
func address(r event.Repository) string {
	if r.HTTPSURL != "" {
		return r.HTTPSURL
	}
	return r.SSHURL
}

// scanned is the branch of the full task: the target of a merge request that is
// scanned incrementally, because its changes are compared with that; the source
// of one that is scanned in full; else the branch or tag of the event. A tag
// stands in the place of a branch, as the API has no other field for it.
func scanned(ev event.Event, c rules.Check) string {
	if ev.Number != 0 && c.Scan == rules.ScanFull {
		return ev.SourceBranch
	}
	return ev.Branch
}

// unfit says why the event's check cannot be run at all; nil when it can.
func unfit(run Run) error {
	ev, check := run.Event, run.Check
	if check.Scan == rules.ScanIncremental && ev.Number == 0 {
		return hopeless(fmt.Sprintf("an incremental scan needs a merge request, and the event is a %s: use scan: full", ev.Kind))
	}
	if check.Scan == rules.ScanFull && ev.Number != 0 && ev.Fork {
		return hopeless(fmt.Sprintf("a full scan of merge request %d needs its source branch, which is in a fork: use scan: incremental", ev.Number))
	}
	branch := scanned(ev, check)
	if n := utf8.RuneCountInString(branch); n == 0 || n > 200 {
		return hopeless(fmt.Sprintf("branch %.40q has %d characters, and CodeArts Check takes 1 to 200", branch, n))
	}
	if RepositoryKey(address(ev.Repository)) == "" {
		return hopeless("the event has no address of its repository")
	}
	if check.ProjectID == "" {
		return hopeless("the rule names no CodeArts project: set check.project.id")
	}
	return nil
}

// task gives the task that the run needs, and where it came from: what an
// earlier run saved, unless afresh; else found or created.
func (c *Checker) task(ctx context.Context, run Run, afresh bool) (Task, Origin, error) {
	key := TaskKey(run.Event, run.Check)
	if !afresh {
		if t, ok, err := c.remembered(ctx, key); ok || err != nil {
			return t, Remembered, err
		}
	}
	if run.Check.Scan == rules.ScanIncremental {
		return c.mergeRequestTask(ctx, run, key, afresh)
	}
	return c.fullTask(ctx, run, key, afresh)
}

func (c *Checker) remembered(ctx context.Context, key string) (Task, bool, error) {
	t, ok, err := c.options.Memory.Task(ctx, key)
	if err != nil {
		return Task{}, false, fmt.Errorf("recall task: %w", err)
	}
	if ok {
		c.options.Metrics.lookups.WithLabelValues(string(Remembered)).Inc()
	}
	return t, ok, nil
}

// learned saves a task that was found or created.
func (c *Checker) learned(ctx context.Context, key string, t Task, origin Origin) (Task, Origin, error) {
	c.options.Metrics.lookups.WithLabelValues(string(origin)).Inc()
	if err := c.options.Memory.SaveTask(ctx, key, t); err != nil {
		return Task{}, "", fmt.Errorf("save task: %w", err)
	}
	return t, origin, nil
}

// fullTask finds the full task of a branch in the project's list, or creates
// it. One caller at a time does so for a key; who waited takes what the one
// before has found.
func (c *Checker) fullTask(ctx context.Context, run Run, key string, afresh bool) (Task, Origin, error) {
	unlock, err := c.creating.lock(ctx, key)
	if err != nil {
		return Task{}, "", err
	}
	defer unlock()
	if !afresh {
		if t, ok, err := c.remembered(ctx, key); ok || err != nil {
			return t, Remembered, err
		}
	}

	branch := scanned(run.Event, run.Check)
	t, index, err := c.lookUp(ctx, run, branch, afresh)
	if err != nil {
		return Task{}, "", err
	}
	if t.ID != "" {
		return c.learned(ctx, key, t, Found)
	}
	t, err = c.createFull(ctx, run, branch, index)
	if err == nil {
		c.listings.created(run.Check.ProjectID, listedTask{ID: text(t.ID), Name: text(t.Name), URL: text(t.URL), Branch: text(branch)})
		return c.learned(ctx, key, t, Created)
	}
	// The task may have been created although the answer says nothing of it.
	if !uncertain(err) {
		return Task{}, "", err
	}
	t, _, lookErr := c.lookUp(ctx, run, branch, true)
	if lookErr != nil {
		return Task{}, "", lookErr
	}
	if t.ID != "" {
		return c.learned(ctx, key, t, Created)
	}
	return Task{}, "", err
}

// lookUp finds the full task of a branch among the project's listed tasks, which it
// returns too; without an id, it is not there. A kept listing may show that there
// is a task, unless afresh; only one that is begun after the call shows that there
// is none.
func (c *Checker) lookUp(ctx context.Context, run Run, branch string, afresh bool) (Task, *taskIndex, error) {
	project, mark := run.Check.ProjectID, c.listings.mark()
	if !afresh {
		recent, err := c.listings.recent(ctx, project)
		if err != nil {
			return Task{}, nil, err
		}
		if t, ok := recent.index.match(run.Event.Repository, branch, run.Check.TaskName); ok || recent.number > mark {
			return t, recent.index, nil
		}
	}
	fresh, err := c.listings.after(ctx, project, mark)
	if err != nil {
		return Task{}, nil, err
	}
	t, _ := fresh.index.match(run.Event.Repository, branch, run.Check.TaskName)
	return t, fresh.index, nil
}

// uncertain reports that a creation may have worked: its answer was lost or
// names nothing, or it says that creating failed (CC.00050005, CC.00050016), for
// which the documents ask to look first (specs/codearts-check.md 5.2).
func uncertain(err error) bool {
	var remote *huaweicloud.Error
	if errors.As(err, &remote) {
		return !remote.NotSent()
	}
	return errors.Is(err, errNoID)
}

// devCloud is the repo_type of CodeArts Repo, which alone is addressed in the
// ssh form and needs no extension point.
const devCloud = "DevCloud"

// createFull makes the full task of a branch: by V3, or by V2 where the service
// is of 2023 and has no V3.
func (c *Checker) createFull(ctx context.Context, run Run, branch string, index *taskIndex) (Task, error) {
	repository, check := run.Event.Repository, run.Check
	repoType := c.repoType(run)
	source, err := sourceURL(repository, repoType)
	if err != nil {
		return Task{}, err
	}
	if check.AuthID == "" && repoType != devCloud {
		return Task{}, hopeless(fmt.Sprintf("the task for branch %q of %s does not exist, and creating it needs the id of the project's code-source extension point: set check.create.auth_id in the rule or in its defaults", branch, repository.FullName))
	}
	if c.options.Dialect == Dialect2023 {
		id, err := c.api.createV2(ctx, check.ProjectID, taskV2{GitURL: source, GitBranch: branch,
			Languages: c.languages(check), TaskType: "full", EndpointID: check.AuthID})
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
		body.Template.AuthType = repoType
	}
	for _, language := range c.languages(check) {
		body.Template.RuleSets = append(body.Template.RuleSets, ruleSet{language})
	}
	id, err := c.api.createV3(ctx, body)
	return Task{ID: id, Name: body.Name, URL: source, Branch: branch}, err
}

// mergeRequestTask makes the incremental task of a merge request, under the full
// task of its target branch. These tasks do not stand in the list
// (specs/codearts-check.md 1.1), so one whose creation was not answered is not
// found again: a second one is made and the first stays unused.
//
// git_branch is the parent's branch, as in the documented example of the flow
// (1.3), and because the source branch of a fork is not in this repository.
func (c *Checker) mergeRequestTask(ctx context.Context, run Run, key string, afresh bool) (Task, Origin, error) {
	parent, origin, err := c.fullTask(ctx, run, fullKey(run.Event, run.Check.ProjectID, run.Event.Branch), afresh)
	if err != nil {
		return Task{}, "", err
	}
	t, origin, err := c.createOnce(ctx, run, parent, key, origin, afresh)
	// The parent that was known may have been deleted since.
	if notFound(err) && !afresh && origin != Created {
		return c.mergeRequestTask(ctx, run, key, true)
	}
	return t, origin, err
}

// createOnce makes the incremental task of the run's merge request; one caller at a
// time does so for a key, and who waited takes what the one before has made. With an
// error the origin is that of the parent.
func (c *Checker) createOnce(ctx context.Context, run Run, parent Task, key string, parentOrigin Origin, afresh bool) (Task, Origin, error) {
	unlock, err := c.creating.lock(ctx, key)
	if err != nil {
		return Task{}, parentOrigin, err
	}
	defer unlock()
	if !afresh {
		if t, ok, err := c.remembered(ctx, key); ok || err != nil {
			return t, Remembered, err
		}
	}
	t, err := c.createUnder(ctx, run, parent)
	if err != nil {
		return Task{}, parentOrigin, err
	}
	return c.learned(ctx, key, t, Created)
}

// createUnder makes the incremental task of the run's merge request.
func (c *Checker) createUnder(ctx context.Context, run Run, parent Task) (Task, error) {
	ev, check := run.Event, run.Check
	source, err := sourceURL(ev.Repository, c.repoType(run))
	if err != nil {
		return Task{}, err
	}
	action := "open"
	if ev.Action == event.Updated {
		action = "update"
	}
	id, err := c.api.createV2(ctx, check.ProjectID, taskV2{
		GitURL:     source,
		GitBranch:  parent.Branch,
		Languages:  c.languages(check),
		TaskType:   "inc",
		EndpointID: check.AuthID,
		Increment: &increment{
			ParentTaskID: parent.ID,
			SourceBranch: ev.SourceBranch,
			TargetBranch: ev.Branch,
			MergeID:      strconv.Itoa(ev.Number),
			EventType:    "merge_request",
			Action:       action,
			Title:        ev.Title,
		},
	})
	return Task{ID: id, URL: source, Branch: parent.Branch, ParentID: parent.ID}, err
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
			return "", hopeless(fmt.Sprintf("repo_type DevCloud needs an ssh address that starts with git, and %s has %q", r.FullName, r.SSHURL))
		}
		return r.SSHURL, nil
	}
	if !strings.HasPrefix(r.HTTPSURL, "http") {
		return "", hopeless(fmt.Sprintf("repo_type %s needs an http address, and %s has none", repoType, r.FullName))
	}
	return r.HTTPSURL, nil
}

// languages are the rule's or the default ones, in the spelling of the dialect:
// the 2023 edition has lower-case names (specs/codearts-check.md 1.3).
func (c *Checker) languages(check rules.Check) []string {
	languages := check.Languages
	if len(languages) == 0 {
		languages = c.options.DefaultLanguages
	}
	if c.options.Dialect != Dialect2023 {
		return languages
	}
	old := make([]string, len(languages))
	for i, language := range languages {
		switch language {
		case "C++":
			old[i] = "cpp"
		case "C#":
			old[i] = "csharp"
		case "JAVASCRIPT":
			old[i] = "js"
		default:
			old[i] = strings.ToLower(language)
		}
	}
	return old
}
