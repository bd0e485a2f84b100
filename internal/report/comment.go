package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/escape"
)

// Marker is the hidden line by which our comment on a merge request is found again.
const Marker = "<!-- gatewright: check -->"

// Commented is what a comment is about.
type Commented struct {
	// Runs are those of the newest commit of the merge request, the oldest first.
	Runs []codecheck.Run
	// Findings are those that are kept of a run, by its id.
	Findings map[string][]codecheck.Finding
	// FileURL is the address of a line of a file at a commit on the host; "" when there is none.
	FileURL func(sha, path string, line int) string
}

// CommentFor returns the comment on a merge request whose newest commit has these runs.
// said is false when there is none to write: nothing has ended, or nothing has failed and
// there is no comment yet.
func (s Settings) CommentFor(c Commented, exists bool) (body string, said bool) {
	runs := newestRuns(c.Runs)
	failed := slices.ContainsFunc(runs, func(r codecheck.Run) bool { return r.State != codecheck.Passed })
	decided := func(r codecheck.Run) bool {
		return r.State == codecheck.Passed || r.State == codecheck.Failed || r.State == codecheck.Errored
	}
	if len(runs) == 0 || slices.ContainsFunc(runs, func(r codecheck.Run) bool { return !decided(r) }) {
		return "", false
	}
	if s.Comment == CommentOff || s.Comment == CommentOnFailure && !failed && !exists {
		return "", false
	}
	w := s.words()
	var b strings.Builder
	b.WriteString(Marker + "\n")
	for i, run := range runs {
		if i > 0 {
			b.WriteString("\n---\n\n")
		}
		w.writeRun(&b, run, c, s.Commands)
	}
	if s.Dashboard != "" {
		fmt.Fprintf(&b, "\n%s/runs/%s\n", s.Dashboard, runs[0].ID)
	}
	return b.String(), true
}

// newestRuns are the newest run of each rule for each branch or merge request, in the order of
// their first runs; runs are given by age.
func newestRuns(runs []codecheck.Run) []codecheck.Run {
	var newest []codecheck.Run
	for _, run := range runs {
		i := slices.IndexFunc(newest, func(other codecheck.Run) bool {
			return other.Rule == run.Rule && other.Event.RefKey() == run.Event.RefKey()
		})
		if i < 0 {
			newest = append(newest, run)
		} else {
			newest[i] = run
		}
	}
	return newest
}

func (w words) writeRun(b *strings.Builder, run codecheck.Run, c Commented, commands string) {
	title, next := w.titlePassed, w.nextPassed
	switch run.State {
	case codecheck.Failed:
		title, next = w.titleFailed, w.nextFailed
	case codecheck.Errored:
		title, next = w.titleErrored, w.nextErrored
	}
	_, verdict := w.run(run)
	fmt.Fprintf(b, "### %s\n\n%s\n\n%s %s, %s %s\n\n", title, Text(verdict, longestSentence), w.commit, run.Event.HeadSHA[:min(8, len(run.Event.HeadSHA))], w.rule, Text(run.Rule, longestCell))
	if run.Verdict != nil {
		if compared := strings.Join(append(slices.Clone(run.Verdict.Reasons), run.Verdict.Remarks...), ", "); compared != verdict {
			fmt.Fprintf(b, "%s%s%s\n\n", w.gate, w.colon, Text(compared, longestSentence))
		}
	}
	w.writeFindings(b, run, c)
	again := w.againRun
	if commands != "" {
		again = fmt.Sprintf(w.againComment, commands) + " " + again
	}
	fmt.Fprintf(b, "**%s** %s\n\n%s%s%s `gatewright rerun run %s --reason …`\n", w.next, next, w.again, w.colon, again, run.ID)
}

// writeFindings writes a table of the new findings of a run.
func (w words) writeFindings(b *strings.Builder, run codecheck.Run, c Commented) {
	kept := c.Findings[run.FindingsKeptWith()]
	var list []codecheck.Finding
	compared := false
	for _, f := range kept {
		compared = compared || f.Baseline != ""
		if f.Baseline != codecheck.BaselineUnchanged {
			list = append(list, f)
		}
	}
	switch {
	case len(kept) == 0:
		return
	case len(list) == 0:
		fmt.Fprintf(b, "%s\n\n", w.nothingNew)
		return
	}
	title := w.newFindings
	if !compared {
		title = w.allFindings
	}
	fmt.Fprintf(b, "**%s%s%d**\n\n| %s | %s | %s | %s |\n|---|---|---|---|\n", title, w.colon, len(list), w.severity, w.ruleColumn, w.where, w.message)
	for _, f := range list[:min(len(list), MaxAnnotations)] {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", Text(f.Severity, longestCell), Text(f.Rule, longestCell), where(f, run.Event.HeadSHA, c), Text(f.Message, longestSentence))
	}
	if more := len(list) - MaxAnnotations; more > 0 {
		fmt.Fprintf(b, "\n"+w.more+"\n", more)
	}
	b.WriteString("\n")
}

// where is the place of a finding, as a link where there is an address.
func where(f codecheck.Finding, sha string, c Commented) string {
	place := f.Path
	if f.Line > 0 {
		place = fmt.Sprintf("%s:%d", f.Path, f.Line)
	}
	text := Text(place, longestCell)
	if address := c.FileURL(sha, f.Path, f.Line); address != "" {
		return "[" + text + "](" + address + ")"
	}
	return text
}

// The longest texts from outside in a comment, in characters.
const (
	longestCell     = 160
	longestSentence = 300
)

// Text makes text from outside safe to stand in Markdown of every host: on one line, with
// every character escaped that means something, with no mention, reference or address that
// a host would turn into a notice or a link, and cut to a number of characters.
func Text(text string, most int) string {
	var b strings.Builder
	runes := []rune(OneLine(text))
	if len(runes) > most {
		runes = append(runes[:most:most], '…')
	}
	for i, r := range runes {
		if r < 0x80 && strings.ContainsRune("\\`*_{}[]()<>#+-.!|~$^&=:/@\"'%", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
		before, after := string(runes[max(0, i-3):i]), i+1 < len(runes) && runes[i+1] == '/'
		if strings.ContainsRune("@#!~%&$", r) || r == ':' && after || r == '.' && strings.EqualFold(before, "www") {
			b.WriteRune('\u200b') // breaks @name, #1, !1, ~label, %1, https://…, www.…
		}
	}
	return b.String()
}

// OneLine puts text on one line, without characters that act.
func OneLine(text string) string { return escape.Line(strings.Join(strings.Fields(text), " ")) }
