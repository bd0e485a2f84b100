package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/event"
)

// subject is an event made ready for comparing.
type subject struct {
	ev *event.Event
	// repository and labels are in lower case.
	repository string
	labels     []string
}

func newSubject(ev *event.Event) *subject {
	s := &subject{ev: ev, repository: strings.ToLower(ev.Repository.FullName)}
	for _, label := range ev.Labels {
		s.labels = append(s.labels, strings.ToLower(label))
	}
	return s
}

// clause is one condition of a rule. Holding and explaining are apart, because
// most rules are only asked whether they hold.
type clause interface {
	// field is the key in the rules file.
	field() string
	holds(s *subject) bool
	// explain says which values were compared, on one line.
	explain(s *subject) string
	// always says that the clause holds for every event.
	always() bool
}

// onClause holds when the event is of one of the kinds.
type onClause []event.Kind

func (c onClause) field() string         { return "on" }
func (c onClause) holds(s *subject) bool { return slices.Contains(c, s.ev.Kind) }
func (c onClause) always() bool          { return false }

func (c onClause) explain(s *subject) string {
	text := "event is " + plain(string(s.ev.Kind))
	if c.holds(s) {
		return text
	}
	words := make([]string, 0, len(c))
	for _, kind := range c {
		words = append(words, string(kind))
	}
	return text + ", rule wants " + strings.Join(words, " or ")
}

// globClause compares one name with patterns.
type globClause struct {
	name  string
	globs globs
	// value returns the name in its own spelling, and as it is compared.
	value func(*subject) (shown, compared string)
}

func (c *globClause) field() string { return c.name }
func (c *globClause) always() bool  { return c.globs.all() }

func (c *globClause) holds(s *subject) bool {
	_, compared := c.value(s)
	return c.globs.holds(compared)
}

func (c *globClause) explain(s *subject) string {
	shown, compared := c.value(s)
	return c.globs.explain(c.name, shown, compared)
}

func connectionOf(s *subject) (shown, compared string) { return s.ev.Connection, s.ev.Connection }
func repositoryOf(s *subject) (shown, compared string) {
	return s.ev.Repository.FullName, s.repository
}
func branchOf(s *subject) (shown, compared string) { return s.ev.Branch, s.ev.Branch }
func sourceBranchOf(s *subject) (shown, compared string) {
	return s.ev.SourceBranch, s.ev.SourceBranch
}

// labelsClause compares the labels of a merge request; an event that has none,
// like a push, has an empty set. The lists are in lower case.
type labelsClause struct{ any, all, none []string }

func newLabelsClause(spec *labelsSpec) *labelsClause {
	lower := func(labels []string) []string {
		lowered := make([]string, 0, len(labels))
		for _, label := range labels {
			lowered = append(lowered, strings.ToLower(label))
		}
		return lowered
	}
	return &labelsClause{any: lower(spec.Any), all: lower(spec.All), none: lower(spec.None)}
}

func (c *labelsClause) field() string { return "labels" }
func (c *labelsClause) always() bool  { return false }

func (c *labelsClause) holds(s *subject) bool {
	has := func(label string) bool { return slices.Contains(s.labels, label) }
	if len(c.any) > 0 && !slices.ContainsFunc(c.any, has) {
		return false
	}
	for _, label := range c.all {
		if !has(label) {
			return false
		}
	}
	return !slices.ContainsFunc(c.none, has)
}

func (c *labelsClause) explain(s *subject) string {
	subject := "event has no labels"
	if len(s.ev.Labels) > 0 {
		subject = "labels are " + quoteAll(s.ev.Labels)
	}
	var missing, forbidden []string
	for _, label := range c.all {
		if !slices.Contains(s.labels, label) {
			missing = append(missing, label)
		}
	}
	for _, label := range c.none {
		if slices.Contains(s.labels, label) {
			forbidden = append(forbidden, label)
		}
	}
	hasAny := slices.ContainsFunc(c.any, func(label string) bool { return slices.Contains(s.labels, label) })
	switch {
	case len(c.any) > 0 && !hasAny:
		return subject + ", rule wants any of " + quoteAll(c.any)
	case len(missing) > 0:
		return subject + ", rule wants all of " + quoteAll(c.all) + " (missing: " + quoteAll(missing) + ")"
	case len(forbidden) > 0:
		return subject + ", rule wants none of " + quoteAll(forbidden)
	}
	return subject + ", as the rule wants"
}

// flagClause compares one yes or no.
type flagClause struct {
	name  string
	want  bool
	value func(*subject) bool
}

func (c *flagClause) field() string         { return c.name }
func (c *flagClause) always() bool          { return false }
func (c *flagClause) holds(s *subject) bool { return c.value(s) == c.want }

func (c *flagClause) explain(s *subject) string {
	text := fmt.Sprintf("%s is %t", c.name, c.value(s))
	if c.holds(s) {
		return text
	}
	return fmt.Sprintf("%s, rule wants %t", text, c.want)
}

func draftOf(s *subject) bool { return s.ev.Draft }
func forkOf(s *subject) bool  { return s.ev.Fork }
