package dashboard

import (
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/view"
)

// partyText says whom a part of a timeline waited for.
func partyText(p *page, party view.Party) string {
	switch party {
	case view.ForUs:
		return "Gatewright"
	case view.ForHost:
		return p.T("the git host")
	case view.ForCodeCheck:
		return "CodeArts Check"
	case view.ForPipeline:
		return p.T("the pipeline")
	case view.ForPerson:
		return p.T("a person")
	case view.ForWindow:
		return p.T("a window or the end of a freeze")
	case view.ForNewer:
		return p.T("a newer commit")
	case view.ForOther:
		return p.T("the pipeline to be free")
	case view.ForSharedRun:
		return p.T("the run whose execution it shares")
	case view.ForTheStarter:
		return p.T("the pipeline to reach the checkpoint")
	}
	return ""
}

// spanName is the rule, pipeline or action of a part, as far as it is not a host's own word.
func spanName(p *page, s view.Span) string {
	if s.Kind == view.SpanAction || s.Kind == view.SpanReport {
		return p.word(s.Name)
	}
	return s.Name
}

// spanLabel is a part of a timeline in words.
func spanLabel(p *page, s view.Span) string {
	parts := []string{strings.TrimSpace(p.word(string(s.Kind)) + " " + spanName(p, s)), p.clock(s.From)}
	switch {
	case s.To == nil:
		parts = append(parts, p.T("goes on"))
	case s.To.After(s.From):
		parts = append(parts, took(s.To.Sub(s.From)))
	}
	if s.State != "" {
		parts = append(parts, p.word(s.State))
	}
	if s.Text != "" {
		parts = append(parts, s.Text)
	}
	return strings.Join(parts, ", ")
}

func clauseTone(holds bool) tone {
	if holds {
		return good
	}
	return bad
}

// checkText says in short what a rule asks CodeArts Check to do.
func checkText(c rules.Check) string {
	var limits []string
	for _, l := range []struct {
		name string
		max  *int
	}{{"critical", c.Gate.Critical}, {"major", c.Gate.Major}, {"minor", c.Gate.Minor}, {"suggestion", c.Gate.Suggestion}} {
		if l.max != nil {
			limits = append(limits, fmt.Sprintf("%s ≤ %d", l.name, *l.max))
		}
	}
	text := fmt.Sprintf("%s scan", c.Scan)
	if c.TaskName != "" {
		text += ", task " + c.TaskName
	}
	if len(limits) > 0 {
		text += "; gate " + strings.Join(limits, ", ")
		if c.Gate.NewOnly {
			text += " (new)"
		}
	}
	return text
}

// releaseText names the pipeline and the checkpoint of a release.
func releaseText(r rules.Release) string {
	name := r.PipelineName
	if name == "" {
		name = r.Pipeline
	}
	return strings.TrimSpace(name + " " + r.Task)
}

// severities are those of findings, the worst first.
func severities() []string { return []string{"critical", "major", "minor", "suggestion"} }

// severityState is the state whose tone a severity has.
func severityState(severity string) string {
	switch severity {
	case "critical":
		return "failed"
	case "major":
		return "waits"
	}
	return ""
}

// numbersText names merge requests.
func numbersText(numbers []int) string {
	var words []string
	for _, n := range numbers {
		words = append(words, "!"+itoa(n))
	}
	return strings.Join(words, ", ")
}

// place is the file and the line of a finding.
func place(f shownFinding) string {
	if f.Line > 0 {
		return fmt.Sprintf("%s:%d", f.Path, f.Line)
	}
	return f.Path
}
