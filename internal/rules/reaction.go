package rules

import (
	"fmt"
	"slices"

	"github.com/gatewright/gatewright/internal/strictyaml"
)

// failureSteps are what is done after a failure: retry, {retry: N}, rollback, or a list of
// them.
type failureSteps []failureStep

type failureStep struct {
	Action ReleaseAction
	Times  int
}

// mostRetries bounds how often a rule retries.
const mostRetries = 10

const failureStepForm = "write retry, {retry: 2} or rollback"

// UnmarshalYAMLNode reads a step or a list of steps.
func (s *failureSteps) UnmarshalYAMLNode(node strictyaml.Node) error {
	if node.Kind() == strictyaml.List {
		return node.Decode((*[]failureStep)(s))
	}
	*s = make(failureSteps, 1)
	return node.Decode(&(*s)[0])
}

// UnmarshalYAMLNode reads a word, or retry with a number.
func (s *failureStep) UnmarshalYAMLNode(node strictyaml.Node) error {
	switch node.Kind() {
	case strictyaml.Text:
		*s = failureStep{Action: ReleaseAction(node.Scalar()), Times: 1}
		if s.Action != ReleaseRetry && s.Action != ReleaseRollback {
			return node.Complain(quote(node.Scalar())+" is not known", failureStepForm)
		}
		return nil
	case strictyaml.Map:
		var retry struct {
			Times *int `yaml:"retry"`
		}
		if err := node.Decode(&retry); err != nil {
			return err
		}
		if retry.Times == nil || *retry.Times < 1 || *retry.Times > mostRetries {
			return node.Complain("is not a number of retries", fmt.Sprintf("write {retry: N}, with N from 1 to %d", mostRetries))
		}
		*s = failureStep{Action: ReleaseRetry, Times: *retry.Times}
		return nil
	}
	return node.Complain("is not a step", failureStepForm)
}

// MarshalYAML writes what UnmarshalYAMLNode reads.
func (s failureStep) MarshalYAML() (any, error) {
	if s.Action == ReleaseRetry {
		return map[string]int{string(s.Action): s.Times}, nil
	}
	return string(s.Action), nil
}

// checkReactions checks what a release says of failures, the deadline and newer commits, and
// fills in what it leaves out.
func (l *loader) checkReactions(d *decodedFile, path string, release *releaseSpec) {
	if release.Action != string(ReleaseStart) {
		for _, key := range []struct {
			name  string
			given bool
		}{
			{".on_failure", release.OnFailure != nil}, {".on_deadline", release.OnDeadline != ""}, {".on_superseded", release.OnSuperseded != ""},
		} {
			if key.given {
				l.complain(d, path+key.name, "goes with start only, because it acts on the execution that the rule starts", "write it at the entry with action: start, or remove it")
			}
		}
		return
	}
	rollback := slices.IndexFunc(release.OnFailure, func(s failureStep) bool { return s.Action == ReleaseRollback })
	retries := len(release.OnFailure)
	if rollback >= 0 {
		retries = rollback
	}
	switch {
	case release.OnFailure != nil && len(release.OnFailure) == 0:
		l.complain(d, path+".on_failure", "names no step", failureStepForm+", or remove the key")
	case rollback >= 0 && rollback < len(release.OnFailure)-1:
		l.complain(d, path+".on_failure", "has a step after rollback, which would never be taken", "write rollback last, and once")
	case retries > 1:
		l.complain(d, path+".on_failure", "has several steps that retry", "write one, such as {retry: 2}")
	}
	for key, word := range map[string]*string{".on_deadline": &release.OnDeadline, ".on_superseded": &release.OnSuperseded} {
		l.oneOf(d, path+key, *word, string(ReactionStop), string(ReactionLeave))
		if *word == "" {
			*word = string(ReactionLeave)
		}
	}
}
