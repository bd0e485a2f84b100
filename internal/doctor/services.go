package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

const (
	// clockTolerance is how far our clock may be off. GitLab's signatures are refused
	// after 5 minutes, Huawei Cloud's after 15 (specs/codearts-check.md 4.3); a clock
	// that is a minute off is not synchronized.
	clockTolerance = time.Minute
	// askTimeout bounds one question.
	askTimeout = 30 * time.Second
	// listTimeout bounds the reading of all tasks of one project.
	listTimeout = 2 * time.Minute
)

// account is the examination of one account.
type account struct {
	*examination
	Account
	// unreachable are the endpoints that do not answer.
	unreachable []string
	// readable are the projects whose tasks were read.
	readable []string
	// refused is why the credentials do not work; then nothing else is asked with them.
	refused string
}

// named adds the name of the account to a subject.
func (e *account) named(subject string) string {
	if e.Name == "" {
		return subject
	}
	return subject + " (account " + e.Name + ")"
}

func (e *account) ok(subject, detail string) { e.examination.ok(e.named(subject), detail) }

func (e *account) wrong(subject, detail, advice string) {
	e.examination.wrong(e.named(subject), detail, advice)
}

func (e *account) unchecked(subject, why string) { e.examination.unchecked(e.named(subject), why) }

// path is where the settings of the account stand.
func (e *account) path() string { return config.AccountPath(e.Name) }

// endpoints asks each service that is used for anything, without credentials.
func (e *account) endpoints(ctx context.Context) {
	services := e.Account.Config.Endpoints
	asked := []string{services.CodeCheck}
	if e.Account.Config.Auth.UsesIAM() {
		asked = append(asked, services.IAM)
	}
	for _, named := range e.pipelines() {
		asked = append(asked, e.releaseService(named).endpoint)
	}
	slices.Sort(asked)
	for _, endpoint := range slices.Compact(asked) {
		sent := e.Now()
		date, err := e.date(ctx, endpoint)
		if err != nil {
			e.unreachable = append(e.unreachable, endpoint)
			e.wrong("endpoint "+endpoint, "does not answer: "+err.Error(), "compare "+e.path()+".region and endpoints with the console, and the way there: DNS, proxy, firewall, ca_file")
			continue
		}
		e.ok("endpoint "+endpoint, "answers")
		if theirs, err := http.ParseTime(date); err == nil && !e.timed {
			e.timed = true
			e.clock(endpoint, sent, theirs)
		}
	}
}

// date is the Date of an endpoint's answer, whatever else it answers.
func (e *account) date(ctx context.Context, endpoint string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
	if err != nil {
		return "", err
	}
	response, err := e.HTTP.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	return response.Header.Get("Date"), nil
}

// clock compares our clock with that of a service, which answered just now a request
// that was sent at sent.
func (e *account) clock(endpoint string, sent, theirs time.Time) {
	// The header has whole seconds, and the answer took its time.
	off := max(sent.Sub(theirs.Add(time.Second)), theirs.Sub(e.Now()), 0)
	if off > clockTolerance {
		e.wrong("clock", fmt.Sprintf("this machine's clock and that of %s differ by %s", endpoint, off.Round(time.Second)),
			"synchronize this machine's clock (NTP): signatures with a wrong time are refused")
		return
	}
	e.ok("clock", "agrees with "+endpoint)
}

// services checks the credentials, and what the rules name at the services.
func (e *account) services(ctx context.Context) {
	var targets []rules.Target
	for _, t := range e.Policy.Targets() {
		if t.Project != "" && t.Account == e.Name {
			targets = append(targets, t)
		}
	}
	place := len(e.findings)
	e.refused = e.paused(ctx)
	asked := e.refused == "" && e.token(ctx)
	for _, project := range projectsOf(targets) {
		asked = e.project(ctx, project) || asked
	}
	e.tasks(ctx, targets)
	for _, named := range e.pipelines() {
		asked = e.pipeline(ctx, named) || asked
	}
	// What was asked with the credentials shows whether they work; they come first.
	switch {
	case e.refused != "":
		e.wrong("credentials", e.refused, "compare "+e.path()+".auth with the console (My Credentials), and the clock; a refused key or user may be locked for some minutes")
	case asked:
		e.ok("credentials", "are accepted")
	default:
		e.unchecked("credentials", "no service answered a call with them")
	}
	last := len(e.findings) - 1
	finding := e.findings[last]
	e.findings = slices.Insert(e.findings[:last], place, finding)
}

// paused says why the servers on this database use no credentials for a while: then one
// more refusal could lock them. Empty when they do, or when that cannot be read, which the
// check of the database tells.
func (e *account) paused(ctx context.Context) string {
	options := e.Database
	options.ReadOnly = true
	if path := options.SQLite; path != "" {
		if _, err := os.Stat(path); err != nil {
			return ""
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	s, err := store.Open(ctx, options)
	if err != nil {
		return ""
	}
	defer s.Close()
	pauses, err := s.Pauses(ctx)
	if err != nil {
		return ""
	}
	for _, p := range pauses {
		if p.InForce(e.Now()) && p.Refusals > 0 {
			return "all replicas pause until " + p.Until.Format(time.RFC3339) + ", or until a server gets SIGHUP, so that they are not locked: " + p.Reason
		}
	}
	return ""
}

// token gets a token where IAM gives them, and reports whether IAM answered.
func (e *account) token(ctx context.Context) (answered bool) {
	if !e.Account.Config.Auth.UsesIAM() {
		return false
	}
	if slices.Contains(e.unreachable, e.Account.Config.Endpoints.IAM) {
		return false
	}
	_, err := e.ProjectID(ctx)
	return e.note(err)
}

// note keeps the first refusal of the credentials, and reports whether err, or its
// absence, shows that they are accepted.
func (e *account) note(err error) (accepted bool) {
	if err == nil {
		return true
	}
	var remote *huaweicloud.Error
	if !errors.As(err, &remote) {
		return false
	}
	if remote.CredentialsRefused() && e.refused == "" {
		e.refused = err.Error()
	}
	return !remote.CredentialsRefused() && remote.Status != 0 && !remote.Retryable()
}

// ask asks a service with the credentials, unless it does not answer or they are
// refused: each refusal is a step towards their lock. accepted reports that the answer
// shows that they are not, done that nothing is left to say about the subject.
func (e *account) ask(subject, endpoint string, question func() error) (accepted, done bool, err error) {
	down := slices.Contains(e.unreachable, endpoint)
	if e.refused == "" && !down {
		err = question()
		accepted = e.note(err)
	}
	var remote *huaweicloud.Error
	switch {
	case down:
		e.unchecked(subject, endpoint+" does not answer")
	case e.refused != "":
		e.unchecked(subject, "the credentials are refused")
	case err == nil:
		return accepted, false, nil
	case errors.As(err, &remote) && (remote.Retryable() || remote.Undecodable()):
		e.unchecked(subject, err.Error())
	default:
		return accepted, false, err
	}
	return accepted, true, err
}

// projectsOf returns the CodeArts projects of the targets.
func projectsOf(targets []rules.Target) []string {
	var projects []string
	for _, t := range targets {
		if !slices.Contains(projects, t.Project) {
			projects = append(projects, t.Project)
		}
	}
	return projects
}

func (e *account) project(ctx context.Context, id string) (answered bool) {
	subject := "project " + id
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	answered, done, err := e.ask(subject, e.Account.Config.Endpoints.CodeCheck, func() error { return e.Checker.ReadProject(ctx, id) })
	var remote *huaweicloud.Error
	switch {
	case done:
	case err == nil:
		e.readable = append(e.readable, id)
		e.ok(subject, "its tasks can be read")
	case errors.As(err, &remote) && remote.Forbidden():
		e.wrong(subject, err.Error(), "make the user of the credentials a member of this CodeArts project, with the right to run checks")
	case errors.As(err, &remote):
		e.wrong(subject, err.Error(), "compare check.project.id in the rules with the project's URL in CodeArts; it is not the IAM project")
	default:
		e.unchecked(subject, err.Error())
	}
	return answered
}

// tasks looks for the task of each rule that names a repository and a branch.
func (e *account) tasks(ctx context.Context, targets []rules.Target) {
	seen := map[string]bool{}
	for _, t := range targets {
		found := false
		for _, ev := range e.events(t) {
			for _, match := range e.Policy.Possible(ev) {
				if match.Rule == t.Rule {
					found = true
					e.task(ctx, ev, match.Check, seen)
				}
			}
		}
		if t.Open || !found {
			e.unchecked("tasks of rule "+t.Rule, "it matches by patterns: which repositories and branches there are is known when they are pushed to")
		}
	}
}

// events are pushes, or merge requests, of the repositories and branches that a rule
// names.
func (e *examination) events(t rules.Target) []event.Event {
	kind := event.MergeRequest
	if slices.Contains(t.On, event.Push) {
		kind = event.Push
	} else if !slices.Contains(t.On, event.MergeRequest) {
		return nil
	}
	var events []event.Event
	for _, c := range e.Config.Connections {
		if len(t.Connections) > 0 && !slices.Contains(t.Connections, c.Name) {
			continue
		}
		for _, repository := range t.Repositories {
			for _, branch := range t.Branches {
				events = append(events, event.Event{Connection: c.Name, Kind: kind, Repository: e.Repository(c, repository), Branch: branch, NewCode: true})
			}
		}
	}
	return events
}

func (e *account) task(ctx context.Context, ev event.Event, check rules.Check, seen map[string]bool) {
	subject := fmt.Sprintf("task of %s %s (%s)", ev.Repository.FullName, ev.Branch, ev.Connection)
	if seen[subject+check.ProjectID] {
		return
	}
	seen[subject+check.ProjectID] = true
	if !slices.Contains(e.readable, check.ProjectID) {
		e.unchecked(subject, "the tasks of project "+check.ProjectID+" cannot be read")
		return
	}
	l, err := e.Checker.LookupTask(ctx, ev, check)
	switch {
	case err != nil:
		e.wrong(subject, err.Error(), "create the task in CodeArts Check, or give the rule what creating it needs")
	case l.Found && l.Remark != "":
		e.wrong(subject, l.Remark, "write the task that is meant as check.task_id, or delete the other one")
	case l.Found:
		e.ok(subject, "is "+cmp.Or(l.Task.Name, l.Task.ID))
	default:
		e.ok(subject, "is not there yet: the first run creates it")
	}
}

// namedRelease is a release of a rule.
type namedRelease struct {
	rule string
	rules.Release
}

// pipelines returns the releases of the rules in the account, each once.
func (e *account) pipelines() []namedRelease {
	var named []namedRelease
	for _, t := range e.Policy.Targets() {
		for _, r := range t.Releases {
			same := func(other namedRelease) bool {
				return len(r.Select) == 0 && len(other.Select) == 0 && r.Pipeline == other.Pipeline && r.Task == other.Task
			}
			if r.Account == e.Name && !slices.ContainsFunc(named, same) {
				named = append(named, namedRelease{t.Rule, r})
			}
		}
	}
	return named
}

// releaseService is how doctor speaks of a service that releases.
type releaseService struct{ endpoint, rights, compare string }

func (e *account) releaseService(r namedRelease) releaseService {
	endpoints := e.Account.Config.Endpoints
	if r.Target == rules.TargetCodeArtsPipeline {
		return releaseService{endpoints.Pipeline, "make the user of the credentials a member of CodeArts project " + r.ProjectID + ", with the right to view and run the pipeline",
			"compare the pipeline's id in rule " + r.rule + " with its URL in CodeArts, and its project, " + r.ProjectID + ", with the project's"}
	}
	return releaseService{endpoints.ServiceStage, "give the user of the credentials the rights servicestage:pipeline:get, list and modify",
		"compare the pipeline's id in rule " + r.rule + " with its URL in ServiceStage, and huaweicloud.project_id with the region's project"}
}

// pipeline checks that a pipeline is there, with the checkpoint or the tasks that the
// rule names.
func (e *account) pipeline(ctx context.Context, r namedRelease) (answered bool) {
	pipeline := r.Pipeline
	if r.PipelineName != "" {
		pipeline = fmt.Sprintf("%s (%s)", r.PipelineName, r.Pipeline)
	}
	service := e.releaseService(r)
	subject := "pipeline " + pipeline
	switch {
	case r.Task != "":
		subject = fmt.Sprintf("checkpoint %s of pipeline %s", r.Task, pipeline)
	case len(r.Select) > 0:
		subject = fmt.Sprintf("pipeline %s with the tasks that rule %s selects", pipeline, r.rule)
	}
	answered, done, err := e.ask(subject, service.endpoint, func() error { return e.Operator.Inspect(ctx, r.Release) })
	var remote *huaweicloud.Error
	switch {
	case done:
	case err == nil:
		e.ok(subject, "is there")
	case errors.Is(err, release.ErrNoTasks):
		e.unchecked(subject, err.Error())
	case errors.As(err, &remote) && remote.Forbidden():
		e.wrong(subject, err.Error(), service.rights)
	case errors.As(err, &remote):
		e.wrong(subject, err.Error(), service.compare)
	default:
		e.wrong(subject, err.Error(), "correct rule "+r.rule+", or "+service.compare)
	}
	return answered
}

// connections reads with each API token what the rules name on its host.
func (e *examination) connections(ctx context.Context) {
	for _, c := range e.Config.Connections {
		subject := "token of connection " + c.Name
		switch {
		case !c.CallsHost():
			e.unchecked(subject, "it has none, so nothing is read from this host, and nothing reported there")
		default:
			e.connection(ctx, subject, c)
		}
	}
}

func (e *examination) connection(ctx context.Context, subject string, c config.Connection) {
	var events []event.Event
	for _, t := range e.Policy.Targets() {
		for _, ev := range e.events(t) {
			// The branch is read; the rule may be for its merge requests.
			ev.Kind = event.Push
			known := func(other event.Event) bool {
				return other.Repository.FullName == ev.Repository.FullName && other.Branch == ev.Branch
			}
			if ev.Connection == c.Name && !slices.ContainsFunc(events, known) {
				events = append(events, ev)
			}
		}
	}
	if len(events) == 0 {
		e.unchecked(subject, "no rule names a repository and a branch of this connection without patterns, so there is nothing to read")
	}
	var reported []string
	for _, ev := range events {
		on := fmt.Sprintf("%s: %s %s", subject, ev.Repository.FullName, ev.Branch)
		sha, err := e.Hosts.Head(ctx, ev)
		if err != nil {
			e.wrong(on, err.Error(), "give the connection a token that may read this repository, and a way to its host; or correct the rule, where there is no such repository or branch")
			continue
		}
		e.ok(on, "can be read, at "+sha[:min(len(sha), 8)])
		if !slices.Contains(reported, ev.Repository.FullName) {
			reported = append(reported, ev.Repository.FullName)
			e.reports(ctx, ev)
		}
	}
}

// reports checks, without writing, that the status of a commit and the comment on a merge request can
// be written to the event's repository.
func (e *examination) reports(ctx context.Context, ev event.Event) {
	subject := "reports of connection " + ev.Connection + ": " + ev.Repository.FullName
	if c, _ := e.Config.Connection(ev.Connection); c.Report.Statuses == "off" && c.Report.Comment == "off" {
		return
	}
	told, err := e.Hosts.CanReport(ctx, ev)
	switch right := e.Hosts.RightToReport(ev.Connection); {
	case err != nil:
		e.wrong(subject, err.Error(), "docs/githosts.md has the least rights of each host; reports can be switched off, too (report: {statuses: off, comment: off})")
	case told:
		e.ok(subject, "statuses and comments can be written")
	default:
		e.unchecked(subject, "the host does not tell whether statuses and comments can be written: that takes "+right)
	}
}
