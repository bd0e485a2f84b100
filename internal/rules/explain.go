package rules

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gatewright/gatewright/internal/event"
)

// Write writes the decision for a reader in a terminal: what happened, each rule
// with why it matched or did not, and what the rules that matched ask for. Values
// from the event that could break the lines are quoted. Errors of w are dropped.
func (d Decision) Write(w io.Writer) {
	d.WriteWith(w, func(string, int) string { return "" })
}

// WriteWith is Write for a decision that was carried out. became says what became of the
// release at a place of a rule's list; empty while that is undecided.
func (d Decision) WriteWith(w io.Writer, became func(rule string, place int) string) {
	fmt.Fprintln(w, subjectLine(&d.Event))
	if d.Event.IgnoredReason != "" {
		fmt.Fprintf(w, "  %-10s%s\n", "ignored", plainText(d.Event.IgnoredReason))
		return
	}
	width := 0
	for _, t := range d.Trace {
		width = max(width, len(t.Rule))
	}
	matches := d.Matches
	for _, t := range d.Trace {
		result := strings.ReplaceAll(string(t.Result), "_", " ")
		fmt.Fprintf(w, "  %-10s%-*s   %s\n", result, width, t.Rule, t.Reason)
		if t.Result != RuleMatched {
			continue
		}
		if d.NeedsTrust != nil && slices.Contains(d.NeedsTrust.Held, t.Rule) {
			fmt.Fprintf(w, "    %-10s%s\n", "waits", "for trust in the commit, with "+quoteAll(d.NeedsTrust.Rules))
			continue
		}
		if len(matches) == 0 || matches[0].Rule != t.Rule {
			fmt.Fprintf(w, "    %-10s%s\n", "ignore", "asks for no check")
			continue
		}
		matches[0].write(w, became)
		matches = matches[1:]
	}
	if d.Omitted > 0 {
		fmt.Fprintf(w, "  %-10s%s\n", "omitted", d.omitted())
	}
	if d.Outcome == NoMatch {
		fmt.Fprintf(w, "  %-10s%s\n", "no match", d.Reason)
	}
}

// omitted says what the rules are that the trace leaves out: unless the trace is
// full, those that the index excluded.
func (d *Decision) omitted() string {
	text := fmt.Sprintf("%d rules for other repositories or branches", d.Omitted)
	if d.Omitted == 1 {
		text = "1 rule for other repositories or branches"
	}
	if len(d.Trace) >= traceLimit {
		text += ", without a match, or not tried"
	}
	return text
}

// subjectLine says what happened, where and at which commit.
func subjectLine(ev *event.Event) string {
	var b strings.Builder
	switch ev.Kind {
	case event.Push:
		b.WriteString("push to " + plain(ev.Branch))
	case event.Tag:
		b.WriteString("tag " + plain(ev.Branch))
	case event.MergeRequest:
		fmt.Fprintf(&b, "merge request %d (%s) of %s into %s", ev.Number, plain(string(ev.Action)), plain(ev.SourceBranch), plain(ev.Branch))
	case event.MergeGroup:
		fmt.Fprintf(&b, "merge group %s into %s", plain(ev.SourceBranch), plain(ev.Branch))
	case event.Comment:
		b.WriteString("comment")
		if ev.Number != 0 {
			fmt.Fprintf(&b, " on merge request %d", ev.Number)
		}
	default:
		b.WriteString("event")
	}
	if ev.Repository.FullName != "" {
		separator := " of "
		if ev.Kind == event.MergeRequest || ev.Kind == event.MergeGroup {
			separator = " in "
		}
		b.WriteString(separator + plain(ev.Repository.FullName))
	}
	if ev.HeadSHA != "" {
		b.WriteString(" at " + plain(ev.HeadSHA[:min(7, len(ev.HeadSHA))]))
	}
	if ev.Repository.Host != "" {
		b.WriteString(" (" + plain(string(ev.Repository.Host)) + ")")
	}
	return b.String()
}

// plainText returns a sentence as it is, and quoted when it would break the line.
func plainText(sentence string) string {
	unprintable := func(r rune) bool { return !strconv.IsPrint(r) }
	if !utf8.ValidString(sentence) || strings.ContainsFunc(sentence, unprintable) {
		return quote(sentence)
	}
	return sentence
}

func (m *Match) write(w io.Writer, became func(rule string, place int) string) {
	ref := "ref " + string(m.Check.Ref)
	if m.Check.Ref == RefOmit {
		ref = "ref omitted"
	}
	mode := ""
	if m.Check.Scan == ScanIncremental && m.Check.CheckMode != "" {
		mode = " of " + strings.ReplaceAll(string(m.Check.CheckMode), "_", " ")
		if m.Check.CheckMode == CheckFull {
			mode = " in full"
		}
	}
	fmt.Fprintf(w, "    %-10s%s, %s scan%s, %s; gate %s%s\n", "check", m.Check.task(), m.Check.Scan, mode, ref, m.Check.Gate.text(), m.Check.order())
	for place, release := range m.Releases {
		outcome := became(m.Rule, place)
		if outcome == "" {
			outcome = "undecided: waits for the verdict, " + release.afterVerdict()
		}
		fmt.Fprintf(w, "    %-10s%s   %s\n", "release", release.text(), outcome)
	}
}

// task names the task of the check, e.g. `task "api-main"`.
func (c *Check) task() string {
	text := "task " + quote(c.TaskName)
	switch {
	case c.TaskID != "":
		text = "task " + c.TaskID
	case c.TaskName == "":
		text = "a task that the service names"
	}
	if c.Repository == RepositoryTemporary {
		text += " on a temporary repository"
	}
	return text
}

// order says when a run starts and what it supersedes, where the rule says something about
// that.
func (c *Check) order() string {
	text := ""
	if c.Priority != "" {
		text += "; priority " + string(c.Priority)
	}
	if c.Debounce != nil {
		text += fmt.Sprintf("; waits %s for a newer commit, at most %s", c.Debounce.Quiet, c.Debounce.Max)
	}
	switch {
	case !c.Supersede:
		text += "; is not superseded"
	case c.LetFinish:
		text += "; is superseded only while it waits"
	}
	return text
}

// text returns the limits on one line, e.g. `critical = 0, major ≤ 5`.
func (g *Gate) text() string {
	limits := g.All().text("")
	switch {
	case g.NewOnly && len(limits) > 0:
		limits = append(limits, "new defects only")
	case g.New != nil:
		limits = append(limits, g.New.text("new ")...)
	}
	if len(limits) == 0 {
		limits = []string{"allows any number"}
	}
	if g.CodeArtsGate == AccessRequire {
		limits = append(limits, "is_access must be passed")
	}
	return strings.Join(limits, ", ")
}

// text returns the limits in words, each beginning with prefix.
func (l Limits) text(prefix string) []string {
	var limits []string
	for _, l := range []struct {
		name string
		max  *int
	}{{"critical", l.Critical}, {"major", l.Major}, {"minor", l.Minor}, {"suggestion", l.Suggestion}} {
		switch {
		case l.max == nil:
		case *l.max == 0:
			limits = append(limits, prefix+l.name+" = 0")
		default:
			limits = append(limits, fmt.Sprintf("%s%s ≤ %d", prefix, l.name, *l.max))
		}
	}
	return limits
}

// afterVerdict says what follows the verdict, e.g. `then for 2 of leads, in working-hours`.
func (r *Release) afterVerdict() string {
	switch {
	case r.Action == ReleaseRefuse:
		return "acts when it is failed"
	case r.Hold == nil:
		return "acts when it is passed"
	case r.Hold.Approvals == nil:
		return "then acts " + r.Hold.text()
	}
	return "then " + r.Hold.text()
}

// text returns the release on one line, e.g. `caf409b1… start deploy[api]`, or with the
// name of the pipeline.
func (r *Release) text() string {
	text := r.Pipeline[:min(8, len(r.Pipeline))] + "…"
	switch {
	case r.Pipeline == "":
		text = plain(r.PipelineName) + " (a name that cannot be resolved without the server file: --config)"
	case r.PipelineName != "":
		text = plain(r.PipelineName)
	}
	text += " " + string(r.Action)
	for _, s := range r.Select {
		tasks := make([]string, 0, len(s.Tasks))
		for _, task := range s.Tasks {
			tasks = append(tasks, plain(task))
		}
		text += " " + plain(s.Stage)
		if len(tasks) > 0 {
			text += "[" + strings.Join(tasks, ", ") + "]"
		}
	}
	if r.Task != "" {
		text += " " + plain(r.Task)
	}
	return text + r.reactions()
}

// reactions says what the rule does with the execution later, e.g. `, on failure retry 2
// times, then roll back`; empty for nothing.
func (r *Release) reactions() string {
	var steps []string
	for _, step := range r.OnFailure {
		switch {
		case step.Action == ReleaseRollback:
			steps = append(steps, "roll back")
		case step.Times == 1:
			steps = append(steps, "retry once")
		default:
			steps = append(steps, fmt.Sprintf("retry up to %d times", step.Times))
		}
	}
	text := ""
	if len(steps) > 0 {
		text += ", on failure " + strings.Join(steps, ", then ")
	}
	if r.OnDeadline == ReactionStop {
		text += ", stop at the deadline"
	}
	if r.OnSuperseded == ReactionStop {
		text += ", stop when superseded"
	}
	return text
}
