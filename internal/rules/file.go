package rules

import (
	"strconv"
	"time"

	"github.com/gatewright/gatewright/internal/strictyaml"
)

// file is a rules file as it is written. With the defaults filled in it is also
// what Effective prints. Pointers tell what was not given from what was given as
// zero. Where a list may be empty, the option omitempty for JSON makes the policy's
// hash the same as without the list.
type file struct {
	// Version is 1.
	Version  *int          `yaml:"version"`
	Defaults *defaultsSpec `yaml:"defaults,omitempty"`
	// Windows, Freezes and BreakGlass are for the releases of all files.
	Windows    windowSpecs     `yaml:"windows,omitempty"`
	Freezes    []freezeSpec    `yaml:"freezes,omitempty"`
	BreakGlass *breakGlassSpec `yaml:"break_glass,omitempty"`
	Rules      []ruleSpec      `yaml:"rules"`
}

// defaultsSpec fills in what a rule's check does not give, key by key.
type defaultsSpec struct {
	Check *checkSpec `yaml:"check,omitempty"`
	Gate  *gateSpec  `yaml:"gate,omitempty"`
}

type ruleSpec struct {
	// Name is unique over all files: lower-case letters, digits, _ and -.
	Name string `yaml:"name"`
	// On lists the kinds of events that the rule is for; at least one.
	On []string `yaml:"on,flow"`
	// Match narrows the rule; absent: every event of those kinds.
	Match matchSpec `yaml:"match,omitempty"`
	// Check and Ignore: exactly one of them.
	Check  *checkSpec `yaml:"check,omitempty"`
	Ignore bool       `yaml:"ignore,omitempty"`
	// Release is what is done after the verdict, in this order.
	Release []releaseSpec `yaml:"release,omitempty" json:",omitempty"`
	// Continue tries the rules below too, although this one matched.
	Continue bool `yaml:"continue,omitempty"`
}

// matchSpec is the conditions of a rule; all that are given must hold.
type matchSpec struct {
	Connection []string `yaml:"connection,flow,omitempty"`
	// Repository is compared without regard to case, as the hosts do.
	Repository []string `yaml:"repository,flow,omitempty"`
	// Branch is the pushed branch or tag, or the target of a merge request.
	Branch       []string    `yaml:"branch,flow,omitempty"`
	SourceBranch []string    `yaml:"source_branch,flow,omitempty"`
	Labels       *labelsSpec `yaml:"labels,omitempty"`
	Draft        *bool       `yaml:"draft,omitempty"`
	// Fork is true, false, or trusted: a merge request from a fork then only when it is trusted.
	Fork *forkWord `yaml:"fork,omitempty"`
	// Paths: at least one of the files that the event changes must match.
	Paths []string `yaml:"paths,flow,omitempty"`
	If    *later   `yaml:"if,omitempty" hidden:"true"`
}

// labelsSpec compares labels without regard to case.
type labelsSpec struct {
	Any  []string `yaml:"any,flow,omitempty" json:",omitempty"`
	All  []string `yaml:"all,flow,omitempty" json:",omitempty"`
	None []string `yaml:"none,flow,omitempty" json:",omitempty"`
}

type checkSpec struct {
	Project *projectSpec `yaml:"project,omitempty"`
	// Account is a name in accounts of the server file; or huaweicloud, the default.
	Account string `yaml:"account,omitempty" json:",omitempty"`
	// TaskID is the task that is run, whatever the project's list shows: 32 hex digits.
	TaskID string `yaml:"task_id,omitempty" json:",omitempty"`
	// Repository is task or temporary; empty: task.
	Repository string `yaml:"repository,omitempty" json:",omitempty"`
	Scan       string `yaml:"scan,omitempty"`
	Ref        string `yaml:"ref,omitempty"`
	// CheckMode is changed_code, changed_files or full; empty: as the service has it.
	CheckMode string      `yaml:"check_mode,omitempty" json:",omitempty"`
	Languages *languages  `yaml:"languages,omitempty"`
	Create    *createSpec `yaml:"create,omitempty"`
	Supersede *supersede  `yaml:"supersede,omitempty"`
	// Priority is high, normal or low; empty: high for merge requests, normal for the rest.
	Priority string         `yaml:"priority,omitempty" json:",omitempty"`
	Debounce *debounceSpec  `yaml:"debounce,flow,omitempty" json:",omitempty"`
	Timeout  *time.Duration `yaml:"timeout,omitempty"`
	Gate     *gateSpec      `yaml:"gate,omitempty"`
}

type projectSpec struct {
	// ID is the CodeArts project: 32 hex digits.
	ID   string `yaml:"id,omitempty"`
	Name string `yaml:"name,omitempty"`
}

// createSpec says how a missing task is made.
type createSpec struct {
	Name     string `yaml:"name,omitempty"`
	AuthID   string `yaml:"auth_id,omitempty"`
	RepoType string `yaml:"repo_type,omitempty"`
	AuthType string `yaml:"auth_type,omitempty" json:",omitempty"`
	// RuleSets choose the rule set of a language by its id; then the task is created by V2,
	// which alone takes the id, and chooses the task's name itself.
	RuleSets []ruleSetSpec `yaml:"rule_sets,omitempty" json:",omitempty"`
}

type ruleSetSpec struct {
	Language string `yaml:"language"`
	ID       string `yaml:"id,omitempty"`
}

type gateSpec struct {
	Critical   *limit `yaml:"critical,omitempty"`
	Major      *limit `yaml:"major,omitempty"`
	Minor      *limit `yaml:"minor,omitempty"`
	Suggestion *limit `yaml:"suggestion,omitempty"`
	NewOnly    *bool  `yaml:"new_only,omitempty"`
	// New limits new defects beside all open ones; not together with new_only: true.
	New *limitsSpec `yaml:"new,omitempty"`
	// CodeArtsGate is show or require.
	CodeArtsGate string `yaml:"codearts_gate,omitempty"`
}

// limitsSpec is the limits of the four severities.
type limitsSpec struct {
	Critical   *limit `yaml:"critical,omitempty"`
	Major      *limit `yaml:"major,omitempty"`
	Minor      *limit `yaml:"minor,omitempty"`
	Suggestion *limit `yaml:"suggestion,omitempty"`
}

type releaseSpec struct {
	// Target is servicestage or codearts_pipeline; empty: servicestage.
	Target string `yaml:"target,omitempty" json:",omitempty"`
	// Account is a name in accounts of the server file, or huaweicloud; empty: that of the
	// check.
	Account string `yaml:"account,omitempty" json:",omitempty"`
	// Project is the CodeArts project of a pipeline of CodeArts Pipeline; absent: that of
	// the check.
	Project *releaseProjectSpec `yaml:"project,omitempty" json:",omitempty"`
	// Pipeline is the id of the pipeline, at ServiceStage of a release task, or the name
	// that the server file gives it.
	Pipeline string         `yaml:"pipeline"`
	Action   string         `yaml:"action"`
	Select   []selectSpec   `yaml:"select,omitempty" json:",omitempty"`
	Task     string         `yaml:"task,omitempty"`
	Message  string         `yaml:"message,omitempty"`
	Timeout  *time.Duration `yaml:"timeout,omitempty"`
	// ApprovalTimeout is for the time in which the pipeline waits for a person.
	ApprovalTimeout *time.Duration `yaml:"approval_timeout,omitempty"`
	// OnFailure is what is done after the execution has failed, OnDeadline when it takes
	// longer than it may, OnSuperseded when the branch has a newer commit.
	OnFailure    failureSteps `yaml:"on_failure,flow,omitempty" json:",omitempty"`
	OnDeadline   string       `yaml:"on_deadline,omitempty" json:",omitempty"`
	OnSuperseded string       `yaml:"on_superseded,omitempty" json:",omitempty"`
	// Hold is what the release waits for before it acts.
	Hold *holdSpec `yaml:"hold,omitempty" json:",omitempty"`
}

type releaseProjectSpec struct {
	// ID is the CodeArts project: 32 hex digits.
	ID string `yaml:"id"`
}

type selectSpec struct {
	Stage string `yaml:"stage"`
	// Tasks are tasks of the stage, at CodeArts Pipeline its jobs; there none stand for the
	// whole stage.
	Tasks []string `yaml:"tasks,flow,omitempty"`
}

// debounceSpec is taken as a whole; quiet: 0s switches off what the defaults say.
type debounceSpec struct {
	Quiet *time.Duration `yaml:"quiet"`
	Max   *time.Duration `yaml:"max,omitempty"`
}

// supersede is true, waiting or false.
type supersede string

const (
	supersedeAll     supersede = "true"
	supersedeWaiting supersede = "waiting"
	supersedeNone    supersede = "false"
)

// UnmarshalYAMLNode reads true, false or the word waiting.
func (s *supersede) UnmarshalYAMLNode(node strictyaml.Node) error {
	switch {
	case node.Kind() == strictyaml.Text && node.Scalar() == string(supersedeWaiting):
		*s = supersedeWaiting
	case node.Kind() == strictyaml.Bool:
		var all bool
		if err := node.Decode(&all); err != nil {
			return err
		}
		if *s = supersedeNone; all {
			*s = supersedeAll
		}
	default:
		return node.Complain(strconv.Quote(node.Scalar())+" is not known", "write true, waiting or false")
	}
	return nil
}

// MarshalYAML writes what UnmarshalYAMLNode reads.
func (s supersede) MarshalYAML() (any, error) {
	if s == supersedeWaiting {
		return string(s), nil
	}
	return s == supersedeAll, nil
}

// limit is a number of defects from 0, or the word any. Its fields are exported
// for the policy's hash.
type limit struct {
	Any bool
	Max int
}

const anyNumber = "any"

// UnmarshalYAMLNode reads a number from 0, or the word any.
func (l *limit) UnmarshalYAMLNode(node strictyaml.Node) error {
	const instead = "write the highest number that passes, from 0, or any"
	if node.Kind() == strictyaml.Text && node.Scalar() == anyNumber {
		l.Any = true
		return nil
	}
	if node.Kind() != strictyaml.Int {
		return node.Complain("is not a limit", instead)
	}
	if err := node.Decode(&l.Max); err != nil {
		return err
	}
	if l.Max < 0 {
		return node.Complain(strconv.Itoa(l.Max)+" is less than 0", instead)
	}
	return nil
}

// MarshalYAML writes what UnmarshalYAMLNode reads.
func (l limit) MarshalYAML() (any, error) {
	if l.Any {
		return anyNumber, nil
	}
	return l.Max, nil
}

// languages is the word auto, or a list of CodeArts Check's names. Any name is
// taken, because a project can have languages of its own.
type languages []string

const autoLanguages = "auto"

// UnmarshalYAMLNode reads the word auto, one name, or a list of names.
func (l *languages) UnmarshalYAMLNode(node strictyaml.Node) error {
	if node.Kind() == strictyaml.Text && node.Scalar() == autoLanguages {
		*l = languages{}
		return nil
	}
	var names []string
	if err := node.Decode(&names); err != nil {
		return err
	}
	if len(names) == 0 {
		return node.Complain("names no language", "write auto, or names such as [GO, JAVA]")
	}
	for _, name := range names {
		if name == "" || name == autoLanguages {
			return node.Complain(strconv.Quote(name)+" is not a language", "write auto alone, or names such as [GO, JAVA]")
		}
	}
	*l = names
	return nil
}

// MarshalYAML writes what UnmarshalYAMLNode reads.
func (l languages) MarshalYAML() (any, error) {
	if len(l) == 0 {
		return autoLanguages, nil
	}
	return []string(l), nil
}

// later is the value of a key that the language has a place for and this
// version does not act upon. To accept it silently would be to match more than
// was asked for.
type later struct{}

// UnmarshalYAMLNode refuses any value.
func (*later) UnmarshalYAMLNode(node strictyaml.Node) error {
	return node.Complain("is not supported yet", "remove the key; the rule does not do what it says without it, so reconsider the rule too")
}
