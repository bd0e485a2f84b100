package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/fatih/color"
	"golang.org/x/term"

	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/escape"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

// narrator prints the story, one line a step. It escapes by itself what it tells, and
// writes past an escape.Writer, which would escape its colours.
type narrator struct {
	w       io.Writer
	silent  bool
	colour  bool
	started time.Time
}

func newNarrator(w io.Writer, silent bool) *narrator {
	if escaping, ok := w.(*escape.Writer); ok {
		w = escaping.Unwrap()
	}
	file, isFile := w.(*os.File)
	colour := isFile && term.IsTerminal(int(file.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return &narrator{w: w, silent: silent, colour: colour, started: time.Now()}
}

func (n *narrator) say(host event.Host, step, format string, args ...any) {
	if n.silent {
		return
	}
	label := fmt.Sprintf("%-10s", step)
	if n.colour {
		c := color.New(colourOf(step))
		c.EnableColor()
		label = c.Sprint(label)
	}
	fmt.Fprintf(n.w, "%6.2fs  %-6s  %s  %s\n", time.Since(n.started).Seconds(), host, label, escape.Line(fmt.Sprintf(format, args...)))
}

func colourOf(step string) color.Attribute {
	switch step {
	case "delivery", "start":
		return color.FgCyan
	case "passed", "approved", "approval", "released", "recovered", "done":
		return color.FgGreen
	case "failed", "broken", "rolled_back", "dropped":
		return color.FgRed
	}
	return color.FgYellow
}

// watcher remembers what it has told.
type watcher struct {
	*narrator
	seen map[string]string
	// hosts are those of deliveries and of runs, by their ids.
	hosts map[string]event.Host
}

func newWatcher(n *narrator) *watcher {
	return &watcher{narrator: n, seen: map[string]string{}, hosts: map[string]event.Host{}}
}

// news reports whether a record has changed since it was told last.
func (w *watcher) news(id, state string) bool {
	if w.seen[id] == state {
		return false
	}
	w.seen[id] = state
	return true
}

// tell tells what is new.
func (w *watcher) tell(r demo.Records) {
	for _, d := range r.Deliveries {
		w.hosts[d.ID] = d.Host
		if d.State != event.DeliveryReceived && w.news(d.ID, string(d.State)) {
			w.tellDecision(d)
		}
		if c := d.Command; c != nil && c.State == store.CommandEnded && w.news(d.ID+" command", string(c.Outcome)) {
			w.say(d.Host, "command", "%s of %s on merge request %d: %s, answered by a %s", c.Name, c.Author, c.Number, c.Outcome, cmp.Or(c.Answer, "nothing"))
		}
	}
	for _, run := range r.Runs {
		w.hosts[run.ID] = w.hosts[run.DeliveryID]
		w.tellRun(run)
	}
	for _, rel := range r.Releases {
		w.tellRelease(rel.Release)
	}
}

func (w *watcher) tellDecision(d view.DeliveryDetail) {
	if d.Decision == nil {
		w.say(d.Host, string(d.State), "%s", d.Reason)
		return
	}
	if d.Recovered != event.NotRecovered {
		w.say(d.Host, "recovered", "no webhook came: it was read from the host")
	}
	ev := d.Decision.Event
	what := fmt.Sprintf("%s to %s", ev.Kind, ev.Branch)
	switch ev.Kind {
	case event.MergeRequest:
		what = fmt.Sprintf("merge request %d (%s into %s)", ev.Number, ev.SourceBranch, ev.Branch)
	case event.Comment:
		w.say(d.Host, "decision", "comment on merge request %d: %s", ev.Number, d.Reason)
		return
	}
	if d.Decision.Outcome == rules.Matched {
		w.say(d.Host, "decision", "%s at %s: rule %q matched", what, command.ShortSHA(ev.HeadSHA), d.Rules[0])
		return
	}
	w.say(d.Host, "decision", "%s at %s: %s", what, command.ShortSHA(ev.HeadSHA), d.Reason)
}

func (w *watcher) tellRun(run view.RunDetail) {
	host := w.hosts[run.ID]
	if run.Task.ID != "" && w.news(run.ID+" task", run.Task.ID) {
		w.say(host, "task", "%s is %s (%s)", taskName(run), run.Task.Origin, command.ShortSHA(run.Task.ID))
	}
	if run.ExecutionID != "" && w.news(run.ID+" execution", run.ExecutionID) {
		ref := "no ref"
		if run.Ref != "" {
			ref = fmt.Sprintf("ref %q", run.Ref)
		}
		w.say(host, "run", "execution %s with %s: %s", command.ShortSHA(run.ExecutionID), ref, strings.TrimPrefix(run.RefReason, "none: "))
	}
	if !run.State.Ended() || !w.news(run.ID, string(run.State)) {
		return
	}
	if run.Verdict == nil {
		w.say(host, string(run.State), "%s", run.Reason)
		return
	}
	w.say(host, "defects", "critical %d, major %d, minor %d, suggestion %d", run.Counts.Critical, run.Counts.Major, run.Counts.Minor, run.Counts.Suggestion)
	for _, defect := range run.Defects {
		w.say(host, "defect", "%s %s:%d %s", defect.Severity, defect.File, defect.Line, defect.Text)
	}
	w.say(host, string(run.State), "gate: %s", strings.Join(run.Verdict.Reasons, ", "))
}

func (w *watcher) tellRelease(rel view.Release) {
	host := w.hosts[rel.RunID]
	for i, action := range rel.Actions {
		step, what := "release", "started pipeline "+rel.PipelineLabel()
		switch {
		case action.Name.Decides():
			step, what = "approved", fmt.Sprintf("checkpoint %q", action.Task)
		case action.Name != rules.ReleaseStart:
			step, what = string(action.Name), fmt.Sprintf("pipeline %s, because of %s", rel.PipelineLabel(), action.Reason)
		}
		// Until its answer is known, the result of an action is unknown.
		answered := action.Result != release.ResultUnknown || rel.State.Ended()
		if answered && w.news(fmt.Sprintf("%s action %d", rel.ID, i), string(action.Result)) {
			w.say(host, step, "%s, execution %s: %s", what, action.ExecutionID, action.Result)
		}
	}
	if rel.State == release.Held && w.news(rel.ID+" held", rel.Reason) {
		w.say(host, "held", "release of %s at %s %s", rel.PipelineLabel(), command.ShortSHA(rel.Commit), rel.Reason)
	}
	if rel.State == release.AwaitingApproval && w.news(rel.ID+" waits", strings.Join(rel.Waiting, ",")) {
		w.say(host, "checkpoint", "execution %s waits at %s", rel.ExecutionID, strings.Join(rel.Waiting, ", "))
	}
	if !rel.State.Ended() || !w.news(rel.ID, string(rel.State)) {
		return
	}
	if rel.State == release.Succeeded && rel.Action == rules.ReleaseStart {
		w.say(host, "released", "%s at %s by execution %s", rel.Repository, command.ShortSHA(rel.Commit), rel.ExecutionID)
		return
	}
	w.say(host, string(rel.State), "%s", rel.Reason)
}

// tellProof tells what proves what people decided.
func (n *narrator) tellProof(r demoReport) {
	e, verified := r.Evidence, map[bool]string{true: "verified", false: "NOT verified"}
	signature := map[bool]string{true: "signed", false: "not signed"}
	n.say("", "audit", "%d rows, the newest hash is %s: %s", r.Audit.Rows, r.Audit.Hash, verified[r.Audit.Verified])
	n.say("", "evidence", "of release %s, %s, its hash is %s: %s", e.Release, signature[e.Signed], e.Root, verified[e.Verified])
	n.say("", "evidence", "the same with one byte changed: %s, the part %q: %s", verified[e.Changed.Verified], e.Changed.Part, e.Changed.Problem)
}

// taskName is how people call a run's task; that of a merge request has no name.
func taskName(run view.RunDetail) string {
	if run.Task.Name == "" {
		return fmt.Sprintf("the task of merge request %d", run.Number)
	}
	return fmt.Sprintf("task %q", run.Task.Name)
}
