// Package report puts into words what the git hosts are told: the status of a commit, made
// of all its runs or releases, and the comment on a merge request. It is pure: it reads no
// clock and calls nobody.
package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/release"
)

// Settings say what a connection is told.
type Settings struct {
	// Statuses and Comment switch reports on.
	Statuses bool
	Comment  CommentMode
	// Context is what the contexts of all statuses begin with, such as gatewright.
	Context string
	// Ignored is what is said of a commit that a rule asks for no check of.
	Ignored IgnoredMode
	// Language is that of the words: en or zh.
	Language string
	// Dashboard is the address of the pages that statuses link to; empty for no links.
	Dashboard string
	// Commands is what commands in comments begin with, such as /; empty where none are carried
	// out.
	Commands string
}

// Comments reports whether merge requests may get a comment.
func (s Settings) Comments() bool { return s.Comment == CommentAlways || s.Comment == CommentOnFailure }

// CommentMode says when a merge request gets a comment.
type CommentMode string

// The values of report.comment.
const (
	CommentAlways    CommentMode = "always"
	CommentOnFailure CommentMode = "on_failure"
	CommentOff       CommentMode = "off"
)

// IgnoredMode says what becomes of a commit that a rule ignores.
type IgnoredMode string

// The values of report.ignored.
const (
	IgnoredSuccess IgnoredMode = "success"
	IgnoredNeutral IgnoredMode = "neutral"
	IgnoredNone    IgnoredMode = "none"
)

// severity orders states by how much they ask for: the first of a commit's is its status.
func severity(state forge.StatusState) int {
	return slices.Index([]forge.StatusState{forge.StateError, forge.StateCanceled, forge.StateFailure, forge.StateRunning, forge.StatePending, forge.StateSuccess, forge.StateNeutral}, state)
}

// part is what one record says.
type part struct {
	state forge.StatusState
	text  string
	// name tells it from the others: the rule, or the action.
	name string
	page string
}

// Check is the status of a commit: the worst of what its runs say, of each rule and branch
// or merge request the newest. ignored is why a rule asks for no check; empty when none
// said so. needsTrust: nothing is checked until somebody vouches for the commit of a fork, which is
// pending, because a required check may take any other state for an end. said is false when there
// is nothing to say.
func (s Settings) Check(runs []codecheck.Run, ignored string, needsTrust bool) (status forge.Status, said bool) {
	words := s.words()
	var parts []part
	for _, run := range withoutPassedOver(newestRuns(runs)) {
		state, text := words.run(run)
		if run.Event.Recovered != event.NotRecovered {
			text += words.recovered
		}
		parts = append(parts, part{state, text, run.Rule, "/runs/" + run.ID})
	}
	if ignored != "" && s.Ignored != IgnoredNone {
		state := forge.StateNeutral
		if s.Ignored == IgnoredSuccess {
			state = forge.StateSuccess
		}
		parts = append(parts, part{state: state, text: words.ignored + ignored})
	}
	if needsTrust {
		parts = append(parts, part{state: forge.StatePending, text: s.needsTrust(words)})
	}
	return s.worst(s.Context+"/check", parts)
}

// withoutPassedOver leaves out superseded runs whose commit was announced later for another branch or merge
// request, where it is checked: as when a merge request was merged before its check ended.
func withoutPassedOver(runs []codecheck.Run) []codecheck.Run {
	return slices.DeleteFunc(slices.Clone(runs), func(r codecheck.Run) bool {
		return r.State == codecheck.Superseded && slices.ContainsFunc(runs, func(other codecheck.Run) bool {
			return other.State != codecheck.Superseded && other.Event.RefKey() != r.Event.RefKey() && other.CreatedAt.After(r.CreatedAt)
		})
	})
}

// needsTrust says that somebody must vouch for the commit of a fork, and how.
func (s Settings) needsTrust(words words) string {
	how := words.okByCommand
	if s.Commands != "" {
		how = fmt.Sprintf(words.okByComment, s.Commands)
	}
	return fmt.Sprintf(words.needsTrust, how)
}

// Release is the status of a commit's releases by one pipeline: the worst of what they say.
// Its context names the pipeline as the server file does, or else by its id.
func (s Settings) Release(releases []release.Release) (status forge.Status, said bool) {
	words := s.words()
	context := ""
	var parts []part
	for _, r := range releases {
		context = s.Context + "/release/" + cmp.Or(r.Plan.PipelineName, r.Plan.Pipeline)
		state, text := words.release(r)
		parts = append(parts, part{state, text, strings.TrimSpace(string(r.Plan.Action) + " " + r.Plan.Task), "/releases/" + r.ID})
	}
	return s.worst(context, parts)
}

func (s Settings) worst(context string, parts []part) (forge.Status, bool) {
	if len(parts) == 0 {
		return forge.Status{}, false
	}
	slices.SortFunc(parts, func(a, b part) int {
		return cmp.Or(cmp.Compare(severity(a.state), severity(b.state)), cmp.Compare(a.name, b.name), cmp.Compare(a.page, b.page))
	})
	worst := parts[0]
	status := forge.Status{Context: context, State: worst.state, Description: worst.text}
	if len(parts) > 1 && worst.name != "" && !strings.HasSuffix(worst.text, worst.name) {
		status.Description = worst.name + ": " + worst.text
	}
	status.Description = OneLine(status.Description)
	if s.Dashboard != "" && worst.page != "" {
		status.URL = s.Dashboard + worst.page
	}
	return status, true
}

// Final reports whether a state is the last that is said, unless something new happens.
func Final(state forge.StatusState) bool {
	return state != forge.StatePending && state != forge.StateRunning
}

// MaxAnnotations is how many findings are shown beside the code, and in a comment.
const MaxAnnotations = 50

// Annotations are the new findings, the most severe first, at most MaxAnnotations; all
// findings where they could not be compared.
func Annotations(findings []codecheck.Finding) []forge.Annotation {
	var list []forge.Annotation
	for _, f := range findings {
		if f.Baseline == codecheck.BaselineUnchanged || f.Path == "" || len(list) == MaxAnnotations {
			continue
		}
		list = append(list, forge.Annotation{Path: f.Path, Line: max(f.Line, 1), Severity: f.Severity, Rule: f.Rule, Message: f.Message})
	}
	return list
}
