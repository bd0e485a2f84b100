package rules

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

// What holds where neither the rule nor the defaults say otherwise.
const (
	defaultCheckTimeout   = 45 * time.Minute
	defaultReleaseTimeout = 2 * time.Hour
	// defaultApprovalTimeout is a weekend and a working day.
	defaultApprovalTimeout = 72 * time.Hour
	defaultTaskName        = "{repository}-{branch}"
	// defaultDebounceMax is how long a series can put off its check.
	defaultDebounceMax = time.Minute
	// defaultLimit is the gate for critical and major defects where no limit is
	// given at all; minor defects and suggestions are allowed in any number.
	defaultLimit = 0
)

// fillCheck returns the check of a rule with every key given: the rule's own
// value, else that of the defaults, else ours. The project is taken as a whole,
// because a name belongs to its id; create and gate go key by key. Scan stays
// empty where it depends on the event.
func (l *loader) fillCheck(d *decodedFile, path string, on []event.Kind, own *checkSpec) *checkSpec {
	defaults := l.defaults.Check
	if defaults == nil {
		defaults = &checkSpec{}
	}
	full := &checkSpec{
		Account:    orWord(own.Account, defaults.Account, ""),
		TaskID:     own.TaskID,
		CheckMode:  orWord(own.CheckMode, defaults.CheckMode, ""),
		Repository: orWord(own.Repository, defaults.Repository, ""),

		Project:   or(own.Project, defaults.Project, nil),
		Scan:      orWord(own.Scan, defaults.Scan, ""),
		Ref:       orWord(own.Ref, defaults.Ref, string(RefAuto)),
		Languages: or(own.Languages, defaults.Languages, &languages{}),
		Supersede: or(own.Supersede, defaults.Supersede, new(supersedeAll)),
		Priority:  orWord(own.Priority, defaults.Priority, ""),
		Debounce:  fillDebounce(or(own.Debounce, defaults.Debounce, nil)),
		Timeout:   or(own.Timeout, defaults.Timeout, new(defaultCheckTimeout)),
		Gate:      fillGate(own.Gate, l.defaults.Gate),
	}
	switch {
	case !slices.Contains(on, event.MergeRequest):
		full.Scan, full.Ref, full.CheckMode = string(ScanFull), string(RefAuto), ""
	case len(on) == 1:
		full.Scan = orWord(full.Scan, string(ScanIncremental), "")
	}
	ownCreate, defaultCreate := or(own.Create, &createSpec{}, nil), or(defaults.Create, &createSpec{}, nil)
	full.Create = &createSpec{
		Name:     orWord(ownCreate.Name, defaultCreate.Name, defaultTaskName),
		AuthID:   orWord(ownCreate.AuthID, defaultCreate.AuthID, ""),
		RepoType: orWord(ownCreate.RepoType, defaultCreate.RepoType, ""),
		AuthType: orWord(ownCreate.AuthType, defaultCreate.AuthType, ""),
		RuleSets: ownCreate.RuleSets,
	}
	if full.Create.RuleSets == nil && own.Languages == nil {
		full.Create.RuleSets = defaultCreate.RuleSets
	}
	if len(full.Create.RuleSets) > 0 {
		// The rule sets name the languages, and the service the task.
		full.Languages, full.Create.Name = nil, ""
	}
	if full.Project == nil {
		l.complain(d, path+".check.project", "is missing", "write project: {id: …} here or in defaults.check")
		full.Project = &projectSpec{}
	}
	if *full.Gate.NewOnly && full.Gate.New != nil {
		l.complain(d, path+".check", "has a gate with new_only: true and limits of its own for new defects",
			"write new: {…} alone, which limits new defects beside all; new_only: false switches off what the defaults say")
	}
	return full
}

// fillDebounce returns a debounce with every key given; nil where nothing is waited for.
func fillDebounce(d *debounceSpec) *debounceSpec {
	if d == nil || d.Quiet == nil || *d.Quiet == 0 {
		return nil
	}
	return &debounceSpec{Quiet: d.Quiet, Max: or(d.Max, new(max(defaultDebounceMax, *d.Quiet)), nil)}
}

func fillGate(own, defaults *gateSpec) *gateSpec {
	none := &gateSpec{}
	own, defaults = or(own, none, nil), or(defaults, none, nil)
	allowed := &limit{Any: true}
	full := &gateSpec{
		Critical:   or(own.Critical, defaults.Critical, nil),
		Major:      or(own.Major, defaults.Major, nil),
		Minor:      or(own.Minor, defaults.Minor, nil),
		Suggestion: or(own.Suggestion, defaults.Suggestion, nil),
		NewOnly:    or(own.NewOnly, defaults.NewOnly, new(bool)),
		New:        fillNew(own.New, defaults.New),

		CodeArtsGate: orWord(own.CodeArtsGate, defaults.CodeArtsGate, string(AccessShow)),
	}
	if full.Critical == nil && full.Major == nil && full.Minor == nil && full.Suggestion == nil && full.New == nil {
		full.Critical, full.Major = &limit{Max: defaultLimit}, &limit{Max: defaultLimit}
	}
	full.Critical, full.Major = or(full.Critical, allowed, nil), or(full.Major, allowed, nil)
	full.Minor, full.Suggestion = or(full.Minor, allowed, nil), or(full.Suggestion, allowed, nil)
	return full
}

// fillNew returns the limits of new defects; nil where there are none.
func fillNew(own, defaults *limitsSpec) *limitsSpec {
	if own == nil && defaults == nil {
		return nil
	}
	none, allowed := &limitsSpec{}, &limit{Any: true}
	own, defaults = or(own, none, nil), or(defaults, none, nil)
	return &limitsSpec{
		Critical:   or(own.Critical, defaults.Critical, allowed),
		Major:      or(own.Major, defaults.Major, allowed),
		Minor:      or(own.Minor, defaults.Minor, allowed),
		Suggestion: or(own.Suggestion, defaults.Suggestion, allowed),
	}
}

func or[T any](own, defaults, ours *T) *T {
	if own != nil {
		return own
	}
	if defaults != nil {
		return defaults
	}
	return ours
}

func orWord(own, defaults, ours string) string {
	if own != "" {
		return own
	}
	if defaults != "" {
		return defaults
	}
	return ours
}

// fillFrom compiles a check with every key given into the rule.
func (r *rule) fillFrom(check *checkSpec) {
	r.scan, r.ref = Scan(check.Scan), RefMode(check.Ref)
	r.taskName, _ = parseTemplate(check.Create.Name)
	r.check = Check{
		ProjectID:   check.Project.ID,
		ProjectName: check.Project.Name,
		Account:     accountName(check.Account),
		AuthID:      check.Create.AuthID,
		RepoType:    check.Create.RepoType,
		AuthType:    check.Create.AuthType,
		CheckMode:   CheckMode(check.CheckMode),
		TaskID:      check.TaskID,
		Supersede:   *check.Supersede != supersedeNone,
		LetFinish:   *check.Supersede == supersedeWaiting,
		Priority:    Priority(check.Priority),
		Timeout:     *check.Timeout,
		Gate: Gate{
			Critical:   check.Gate.Critical.number(),
			Major:      check.Gate.Major.number(),
			Minor:      check.Gate.Minor.number(),
			Suggestion: check.Gate.Suggestion.number(),
			NewOnly:    *check.Gate.NewOnly,

			CodeArtsGate: AccessMode(check.Gate.CodeArtsGate),
		},
	}
	if d := check.Debounce; d != nil {
		r.check.Debounce = &Debounce{Quiet: *d.Quiet, Max: *d.Max}
	}
	if n := check.Gate.New; n != nil {
		r.check.Gate.New = &Limits{Critical: n.Critical.number(), Major: n.Major.number(), Minor: n.Minor.number(), Suggestion: n.Suggestion.number()}
	}
	if check.Repository == string(RepositoryTemporary) {
		r.check.Repository = RepositoryTemporary
	}
	if check.Languages != nil && len(*check.Languages) > 0 {
		r.check.Languages = *check.Languages
	}
	for _, set := range check.Create.RuleSets {
		r.check.RuleSets = append(r.check.RuleSets, RuleSet(set))
	}
}

// MainAccount is the name of the account that has the empty name elsewhere: that of the
// server file's huaweicloud. Rules write it where they would take over another one.
const MainAccount = "huaweicloud"

func accountName(written string) string {
	if written == MainAccount {
		return ""
	}
	return written
}

// number returns the limit as a Gate has it: nil allows any number.
func (l *limit) number() *int {
	if l.Any {
		return nil
	}
	return &l.Max
}

// compileRelease fills in what a release takes over from the check, and its timeouts, and
// returns it compiled.
func (l *loader) compileRelease(spec *releaseSpec, check Check) Release {
	target := ReleaseTarget(spec.Target).facts()
	spec.Timeout = or(spec.Timeout, new(defaultReleaseTimeout), nil)
	spec.ApprovalTimeout = or(spec.ApprovalTimeout, new(defaultApprovalTimeout), nil)
	spec.Account = orWord(spec.Account, check.Account, "")
	compiled := Release{
		Account:  accountName(spec.Account),
		Target:   ReleaseTarget(spec.Target),
		Pipeline: l.pipelineID(spec.Pipeline),
		Action:   ReleaseAction(spec.Action),
		Task:     spec.Task,
		Message:  spec.Message,
		Timeout:  *spec.Timeout,

		ApprovalTimeout: *spec.ApprovalTimeout,
		OnDeadline:      Reaction(spec.OnDeadline),
		OnSuperseded:    Reaction(spec.OnSuperseded),
		Hold:            spec.Hold.compile(),
	}
	if target.hasProject {
		if spec.Project == nil {
			spec.Project = &releaseProjectSpec{ID: check.ProjectID}
		}
		compiled.ProjectID = spec.Project.ID
	}
	for _, step := range spec.OnFailure {
		compiled.OnFailure = append(compiled.OnFailure, FailureStep(step))
	}
	if !target.isID(compiled.Pipeline) {
		compiled.Pipeline, compiled.PipelineName = "", spec.Pipeline
	}
	for name, id := range l.pipelines {
		if strings.EqualFold(id, compiled.Pipeline) {
			compiled.PipelineName = name
		}
	}
	for _, s := range spec.Select {
		compiled.Select = append(compiled.Select, Select{Stage: s.Stage, Tasks: append([]string{}, s.Tasks...)})
	}
	return compiled
}

// template is the name for a new task: text and placeholders, one after another.
type template []templatePart

type templatePart struct{ text, placeholder string }

// placeholders lists what may be in braces in create.name.
func placeholders() []string {
	return []string{"owner", "repository", "branch", "number", "connection", "host"}
}

// parseTemplate reads create.name; fault says what is wrong with it.
func parseTemplate(text string) (parsed template, fault string) {
	for text != "" {
		plainText, rest, open := strings.Cut(text, "{")
		if strings.Contains(plainText, "}") {
			return nil, "has a } without {"
		}
		if plainText != "" {
			parsed = append(parsed, templatePart{text: plainText})
		}
		if !open {
			break
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return nil, "has a { without }"
		}
		if !slices.Contains(placeholders(), name) {
			return nil, quote("{"+name+"}") + " is not a placeholder"
		}
		parsed = append(parsed, templatePart{placeholder: name})
		text = after
	}
	return parsed, ""
}

// expand returns the template with the event's values. {repository} is the last
// segment of the repository's path and {owner} what precedes it; {branch} of a merge group is
// its own; {number}
// is empty when the event is not about a merge request.
func (t template) expand(ev *event.Event) string {
	cut := strings.LastIndex(ev.Repository.FullName, "/")
	var b strings.Builder
	for _, part := range t {
		b.WriteString(part.text)
		switch part.placeholder {
		case "owner":
			b.WriteString(ev.Repository.FullName[:max(cut, 0)])
		case "repository":
			b.WriteString(ev.Repository.FullName[cut+1:])
		case "branch":
			if ev.Kind == event.MergeGroup {
				b.WriteString(ev.SourceBranch)
			} else {
				b.WriteString(ev.Branch)
			}
		case "number":
			if ev.Number != 0 {
				fmt.Fprint(&b, ev.Number)
			}
		case "connection":
			b.WriteString(ev.Connection)
		case "host":
			b.WriteString(string(ev.Repository.Host))
		}
	}
	return b.String()
}
